/* SPDX-License-Identifier: MIT */
/* What a good configuration becomes: defaults, every key, the forms a file may have, the round
 * trip. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "config/config.h"

#define REST "listen \"127.0.0.1:0\" {}\nsite \"*\" { route \"/\" { respond = \"x\" } }\n"

/* Fails with the errors when the text is refused. */
static struct config *parse(const char *text)
{
	struct config_errors errors;
	struct config *c = NULL;

	if (config_parse("test.conf", text, &c, &errors) != 0) {
		config_errors_print(&errors, stderr);
		fail_msg("refused:\n%s", text);
	}
	assert_int_equal(errors.count, 0);
	config_errors_free(&errors);
	return c;
}

static char *dump(const struct config *c)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	config_dump(c, out);
	fclose(out);
	return text;
}

static void config__has_defaults(void **state)
{
	struct config *c = config_new();

	assert_int_equal(c->workers, 0);
	assert_string_equal(c->user, "nobody");
	assert_string_equal(c->control, "/run/sluice/control.sock");
	assert_string_equal(c->pin, "/sys/fs/bpf/sluice");
	assert_string_equal(c->server_name, "sluice");
	assert_int_equal(c->steering.policy, STEER_LEAST);
	assert_int_equal(c->steering.stall_ns, 20000000);
	assert_int_equal(c->steering.stall_kill_ms, 0);
	assert_int_equal(c->steering.reservation_ns, 500000000);
	assert_false(c->steering.is_required);
	assert_false(c->steering.is_disabled);
	assert_int_equal(c->limits.request_line, 8192);
	assert_int_equal(c->limits.header, 16384);
	assert_int_equal(c->limits.header_count, 100);
	assert_int_equal(c->limits.body, 1048576);
	assert_int_equal(c->limits.requests, 0);
	assert_int_equal(c->limits.connections, 0);
	assert_int_equal(c->timeouts.header, 10000);
	assert_int_equal(c->timeouts.body, 30000);
	assert_int_equal(c->timeouts.keepalive, 75000);
	assert_int_equal(c->timeouts.write, 30000);
	assert_int_equal(c->timeouts.linger, 2000);
	assert_int_equal(c->timeouts.drain, 30000);
	assert_null(c->log.access);
	assert_int_equal(c->log.format, LOG_FORMAT_COMBINED);
	assert_int_equal(c->log.level, LOG_INFO);
	assert_int_equal(c->log.flush_ms, 1000);
	assert_int_equal(c->cache.entries, 1024);
	assert_int_equal(c->cache.memory, 32 << 20);
	assert_int_equal(c->cache.content, 64 << 10);
	assert_int_equal(c->cache.valid_ms, 1000);
	config_free(c);
	config_free(NULL);
}

static void config__reads_every_top_level_value(void **state)
{
	struct config *c =
		parse("workers = 3\nuser = root\ncontrol = \"/tmp/c.sock\"\npin = off\n"
		      "server_name = \"\"\n"
		      "steering { enabled = no required = no policy = hash stall = off "
		      "reservation = 250ms stall_kill = 10s }\n"
		      "limits { request_line = 4k header = 8k header_count = 50 body = 0\n"
		      "requests = 1000 connections = 200 total_connections = 5000\n"
		      "client_connections = 20 rate = 90r/m burst = 7 clients = 1000 age = 1h\n"
		      "header_rate = 1 body_rate = 2k write_rate = 3k rate_grace = 4s memory = 5m }\n"
		      "timeouts { header = 1s body = 2s keepalive = 3s write = 4s "
		      "linger = 1s drain = 1m }\n"
		      "log { access = \"-\" format = json level = debug flush = 250ms }\n"
		      "files_cache { entries = 7 memory = 1m content = 4k valid = 2s }\n" REST);

	assert_int_equal(c->workers, 3);
	assert_string_equal(c->user, "root");
	assert_string_equal(c->control, "/tmp/c.sock");
	assert_null(c->pin);
	assert_string_equal(c->server_name, "");
	assert_true(c->steering.is_disabled);
	assert_int_equal(c->steering.policy, STEER_HASH);
	assert_int_equal(c->steering.stall_ns, 0);
	assert_int_equal(c->steering.stall_kill_ms, 10000);
	assert_int_equal(c->steering.reservation_ns, 250000000);
	assert_int_equal(c->limits.request_line, 4096);
	assert_int_equal(c->limits.header, 8192);
	assert_int_equal(c->limits.header_count, 50);
	assert_int_equal(c->limits.body, 0);
	assert_int_equal(c->limits.requests, 1000);
	assert_int_equal(c->limits.connections, 200);
	assert_int_equal(c->limits.total_connections, 5000);
	assert_int_equal(c->limits.client_connections, 20);
	assert_int_equal(c->limits.rate, 5400);
	assert_int_equal(c->limits.burst, 7);
	assert_int_equal(c->limits.clients, 1000);
	assert_int_equal(c->limits.age, 3600000);
	assert_int_equal(c->limits.header_rate, 1);
	assert_int_equal(c->limits.body_rate, 2048);
	assert_int_equal(c->limits.write_rate, 3072);
	assert_int_equal(c->limits.rate_grace, 4000);
	assert_int_equal(c->limits.memory, 5 << 20);
	assert_int_equal(c->timeouts.header, 1000);
	assert_int_equal(c->timeouts.body, 2000);
	assert_int_equal(c->timeouts.keepalive, 3000);
	assert_int_equal(c->timeouts.write, 4000);
	assert_int_equal(c->timeouts.linger, 1000);
	assert_int_equal(c->timeouts.drain, 60000);
	assert_string_equal(c->log.access, "-");
	assert_int_equal(c->log.format, LOG_FORMAT_JSON);
	assert_int_equal(c->log.level, LOG_DEBUG);
	assert_int_equal(c->log.flush_ms, 250);
	assert_int_equal(c->cache.entries, 7);
	assert_int_equal(c->cache.memory, 1 << 20);
	assert_int_equal(c->cache.content, 4096);
	assert_int_equal(c->cache.valid_ms, 2000);
	config_free(c);
}

static void config__reads_listen_options(void **state)
{
	struct config *c = parse("\nlisten \"[::1]:8081\" {\n backlog = 17 nodelay = off\n"
				 "defer_accept = 1m keepalive = 2m fastopen = 5 busy_poll = 50us\n"
				 "v6only = true rcvbuf = 64k sndbuf = 128k unsent = off }\n"
				 "listen :8080 { }\n"
				 "site \"*\" { route \"/\" { respond = \"x\" } }\n");
	const struct sock_options *o = &c->listens[0].sock;

	assert_int_equal(c->listen_count, 2);
	assert_int_equal(c->listens[0].place.line, 2);
	assert_string_equal(c->listens[0].place.file, "test.conf");
	assert_string_equal(c->listens[0].text, "[::1]:8081");
	assert_int_equal(c->listens[0].addr.any.sa_family, AF_INET6);
	assert_int_equal(sock_addr_port(&c->listens[0].addr), 8081);
	assert_int_equal(o->backlog, 17);
	assert_false(o->has_nodelay);
	assert_int_equal(o->defer_accept_s, 60);
	assert_int_equal(o->keepalive_s, 120);
	assert_int_equal(o->fastopen, 5);
	assert_int_equal(o->busy_poll_us, 50);
	assert_true(o->is_v6only);
	assert_int_equal(o->rcvbuf, 65536);
	assert_int_equal(o->sndbuf, 131072);
	assert_int_equal(o->unsent, 0);
	assert_true(o->has_reuseport);
	o = &c->listens[1].sock;
	assert_int_equal(c->listens[1].place.line, 6);
	assert_int_equal(c->listens[1].addr.any.sa_family, AF_INET);
	assert_int_equal(o->backlog, 4096);
	assert_true(o->has_nodelay);
	assert_true(o->has_reuseport);
	assert_false(o->is_v6only);
	assert_int_equal(o->defer_accept_s + o->keepalive_s + o->fastopen + o->busy_poll_us, 0);
	assert_int_equal(o->rcvbuf + o->sndbuf, 0);
	assert_int_equal(o->unsent, 131072);
	config_free(c);
}

static void config__reads_sites(void **state)
{
	struct config *c = parse("listen \":0\" {}\n"
				 "site \"WWW.Example.org. example.org\t *.Example.org \" {\n"
				 "  route \"/\" { respond = \"x\" }\n"
				 "}\n"
				 "site '*' { route / { respond = \"x\" } }\n");

	assert_int_equal(c->site_count, 2);
	assert_int_equal(c->sites[0].place.line, 2);
	assert_int_equal(c->sites[0].name_count, 3);
	assert_string_equal(c->sites[0].names[0], "www.example.org");
	assert_string_equal(c->sites[0].names[1], "example.org");
	assert_string_equal(c->sites[0].names[2], "*.example.org");
	assert_int_equal(c->sites[1].name_count, 1);
	assert_string_equal(c->sites[1].names[0], "*");
	assert_string_equal(c->sites[1].routes[0].prefix, "/");
	config_free(c);
}

static void config__reads_file_routes(void **state)
{
	struct config *c =
		parse("listen \":0\" {}\nsite \"*\" {\n"
		      "route \"/\" {\n files = \"/tmp\" index = {a.html, \"b c.html\",}\n"
		      "  listing = yes symlinks = on precompressed = true hidden = yes\n"
		      "  type = text/plain }\n"
		      "route \"/none\" { files = \"/\" index = {} }\n"
		      "route \"/one\" { files = \"/\" index = one.html }\n"
		      "route \"/def\" { files = \"/\" }\n}\n");
	const struct config_route *r = c->sites[0].routes;

	assert_int_equal(c->sites[0].route_count, 4);
	assert_int_equal(r->kind, ROUTE_FILES);
	assert_int_equal(r->place.line, 3);
	assert_string_equal(r->value, "/tmp");
	assert_string_equal(r->type, "text/plain");
	assert_int_equal(r->index_count, 2);
	assert_string_equal(r->index[0], "a.html");
	assert_string_equal(r->index[1], "b c.html");
	assert_true(r->has_listing && r->allows_symlinks && r->has_precompressed);
	assert_true(r->shows_hidden);
	assert_int_equal(r[1].index_count, 0);
	assert_non_null(r[1].index); /* NULL would mean the default */
	assert_int_equal(r[2].index_count, 1);
	assert_string_equal(r[2].index[0], "one.html");
	assert_int_equal(r[3].index_count, 1);
	assert_string_equal(r[3].index[0], "index.html");
	assert_null(r[3].type);
	assert_false(r[3].has_listing || r[3].allows_symlinks || r[3].has_precompressed);
	assert_false(r[3].shows_hidden);
	config_free(c);
}

static void config__reads_constant_routes(void **state)
{
	struct config *c =
		parse("listen \":0\" {}\nsite \"*\" {\n"
		      "route \"/t\" { respond = \"text\" type = \"text/html\" status = 404 }\n"
		      "route \"/e\" { respond = \"\" }\n"
		      "route \"/r\" { redirect = \"https://$host$uri\" status = 308 }\n"
		      "route \"/s\" { redirect = \"$path$query\" }\n}\n");
	const struct config_route *r = c->sites[0].routes;

	assert_int_equal(r[0].kind, ROUTE_RESPOND);
	assert_string_equal(r[0].value, "text");
	assert_string_equal(r[0].type, "text/html");
	assert_int_equal(r[0].status, 404);
	assert_string_equal(r[1].value, "");
	assert_int_equal(r[1].status, 0);
	assert_int_equal(r[2].kind, ROUTE_REDIRECT);
	assert_string_equal(r[2].value, "https://$host$uri");
	assert_int_equal(r[2].status, 308);
	assert_int_equal(r[3].status, 0);
	config_free(c);
}

/* What `respond` gets out of each way of writing a string. */
static void config__unquotes_strings(void **state)
{
	static const struct {
		const char *written, *meant;
	} cases[] = {
		{"word", "word"},
		{"\"two words\"", "two words"},
		{"'single $x ${HOME} \\n'", "single $x ${HOME} \\n"},
		{"'it\\'s \\\\'", "it's \\"},
		{"\"say \\\"hi\\\"\"", "say \"hi\""},
		{"\"a\\nb\\tc\\x41\\102\\e\"", "a\nb\tcAB\033"},
		{"\"goes \\\non\"", "goes on"},
		{"\"goes \\\r\non\"", "goes on"},
		{"\"a # b // c /* d\"", "a # b // c /* d"},
		{"\"{ } = , ( ) *\"", "{ } = , ( ) *"},
		{"\"\\${HOME} $HOME $\"", "${HOME} $HOME $"},
		{"\"<${SLUICE_TEST}>\"", "<a \" } # b>"},
		{"\"<${SLUICE_NOT_SET:-de fault}>\"", "<de fault>"},
		{"\"<${SLUICE_TEST:-x}>\"", "<a \" } # b>"},
		{"\"gr\xc3\xbc\xc3\x9f\"", "gr\xc3\xbc\xc3\x9f"},
		{"a/b:c.d-e_f~g@h%i&j!k", "a/b:c.d-e_f~g@h%i&j!k"},
		{"\"\"", ""},
	};
	char text[256];

	setenv("SLUICE_TEST", "a \" } # b", 1);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct config *c;

		snprintf(text, sizeof(text), "listen :0 {} site a { route / { respond = %s } }",
			 cases[i].written);
		c = parse(text);
		assert_string_equal(c->sites[0].routes[0].value, cases[i].meant);
		config_free(c);
	}
	unsetenv("SLUICE_TEST");
}

static void config__takes_every_form_of_a_file(void **state)
{
	static const char *const cases[] = {
		REST,
		"\xef\xbb\xbf" REST,
		"workers = 2\r\n# note\r\n/* and\r\n more */\r\nuser = \"nobody\"\r\n" REST,
		"# note\n// note\n#### note ####\n/* a /* b */ /**/\n" REST,
		"workers=2 user=nobody steering{policy=least stall=1ms}" REST,
		"workers\t=\t2\n\n\nsteering\n{\n}\n" REST,
		"workers =\n2\n" REST,
		"log {} limits {} timeouts {} files_cache {} steering {} " REST,
		"listen :0 {} listen :0 {}" REST, /* port 0 is another one each time */
		"listen 127.0.0.1:80 {} listen 127.0.0.2:80 {} listen [::]:80 {}" REST,
		"site [::1] { route /a {respond=a} route /a/ {respond=a} }" REST,
		REST "# no line end",
		REST "// no line end",
		REST "/* no line end */",
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		config_free(parse(cases[i]));
}

/* Comments, strings over several lines and line ends must not shift what later errors name. */
static void config__keeps_lines(void **state)
{
	struct config *c = parse("# one\n/* two\n three */ // three\n\n"
				 "listen :0 {} # five\r\n"
				 "site a { route /x { respond = \"a\\\nb\\\nc\" } # eight\n"
				 "  route /y { respond = x } } site\n"
				 "b\n{ # eleven\n route\n/z { respond = x } }\n");

	assert_int_equal(c->listens[0].place.line, 5);
	assert_int_equal(c->sites[0].place.line, 6);
	assert_int_equal(c->sites[0].routes[0].place.line, 6);
	assert_int_equal(c->sites[0].routes[1].place.line, 9);
	assert_int_equal(c->sites[1].place.line, 10);
	assert_int_equal(c->sites[1].routes[0].place.line, 13);
	config_free(c);
}

static void config__dump_reads_back_as_the_same(void **state)
{
	static const char *const cases[] = {
		REST,
		"workers = 64 pin = off server_name = off log { access = - format = json }"
		"steering { enabled = off stall = off reservation = off policy = hash }"
		"limits { body = 1000000 requests = 5 } timeouts { linger = 1s drain = 1500ms }"
		"listen \"[::1]:1\" { v6only = on keepalive = 1h busy_poll = 1500us rcvbuf = 3000 }"
		"site \"a b *.c\" { route / { files = / index = {} } "
		"route /1 { files = /tmp index = { \"a\\\"b\", 'c\\\\d' } type = a/b listing = yes "
		"}"
		"route \"/sp ace\\\\\\${}\" { respond = \"\\x01\\n\\t\\r\\${x} $ \\\\ '\\\"\\x7f\" "
		"}"
		"route /3 { redirect = '$path' status = 307 } }" REST,
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct config *c = parse(cases[i]), *again;
		char *first = dump(c), *second;

		again = parse(first);
		second = dump(again);
		assert_string_equal(first, second);
		assert_int_equal(again->site_count, c->site_count);
		assert_int_equal(again->listen_count, c->listen_count);
		config_free(c);
		config_free(again);
		free(first);
		free(second);
	}
}

static void config__dump_keeps_values(void **state)
{
	struct config *c = parse("workers = 7 pin = off timeouts { linger = 1s header = 90s }\n"
				 "limits { body = 1536 }" REST);
	char *text = dump(c);

	assert_non_null(strstr(text, "workers = 7\n"));
	assert_non_null(strstr(text, "pin = \"off\"\n"));
	assert_non_null(strstr(text, "\theader = 90s\n"));
	assert_non_null(strstr(text, "\tlinger = 1s\n"));
	assert_non_null(strstr(text, "\tbody = 1536b\n"));
	assert_non_null(strstr(text, "\tenabled = true\n"));
	assert_non_null(strstr(text, "listen \"127.0.0.1:0\" {\n"));
	assert_non_null(strstr(text, "site \"*\" {\n\troute \"/\" {\n\t\trespond = \"x\"\n"));
	free(text);
	config_free(c);
}

static void config__makes_one_line_configurations(void **state)
{
	char folder[] = "/tmp/sluice-config-XXXXXX", file[64], cwd[4096], real[4096];
	struct config *c = NULL;

	assert_non_null(mkdtemp(folder));
	assert_non_null(realpath(folder, real));
	snprintf(file, sizeof(file), "%s/file", folder);
	fclose(fopen(file, "w"));
	assert_int_equal(config_for_files(folder, NULL, &c), 0);
	assert_null(c->path);
	assert_string_equal(c->listens[0].text, "127.0.0.1:8080");
	assert_int_equal(sock_addr_port(&c->listens[0].addr), 8080);
	assert_true(c->listens[0].sock.has_reuseport);
	assert_string_equal(c->sites[0].names[0], "*");
	assert_int_equal(c->sites[0].routes[0].kind, ROUTE_FILES);
	assert_string_equal(c->sites[0].routes[0].prefix, "/");
	assert_string_equal(c->sites[0].routes[0].value, real);
	assert_true(c->sites[0].routes[0].has_listing);
	assert_string_equal(c->sites[0].routes[0].index[0], "index.html");
	config_free(c);
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_int_equal(config_for_files(".", "[::1]:0", &c), 0);
	assert_string_equal(c->sites[0].routes[0].value, cwd);
	config_free(c);
	assert_int_equal(config_for_files(folder, "nowhere", &c), -EINVAL);
	assert_null(c);
	assert_int_equal(config_for_files("/no/such/folder", NULL, &c), -ENOENT);
	assert_int_equal(config_for_files(file, NULL, &c), -ENOTDIR);
	assert_int_equal(config_for_files("", NULL, &c), -ENOENT);
	unlink(file);
	rmdir(folder);
}

/* Dumping what the command line made gives a file that serves the same. */
static void config__dumps_one_line_configurations(void **state)
{
	struct config *c = NULL, *again;
	char *text;

	assert_int_equal(config_for_files("/tmp", ":0", &c), 0);
	text = dump(c);
	again = parse(text);
	assert_string_equal(again->sites[0].routes[0].value, c->sites[0].routes[0].value);
	assert_true(again->sites[0].routes[0].has_listing);
	free(text);
	config_free(again);
	config_free(c);
}

static void config__loads_a_file(void **state)
{
	char path[] = "/tmp/sluice-config-XXXXXX";
	int fd = mkstemp(path);
	struct config_errors errors;
	struct config *c = NULL;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, REST, strlen(REST)), strlen(REST));
	close(fd);
	assert_int_equal(config_load(path, &c, &errors), 0);
	assert_string_equal(c->path, path);
	assert_string_equal(c->sites[0].place.file, path);
	config_free(c);
	config_errors_free(&errors);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config__has_defaults),
		cmocka_unit_test(config__reads_every_top_level_value),
		cmocka_unit_test(config__reads_listen_options),
		cmocka_unit_test(config__reads_sites),
		cmocka_unit_test(config__reads_file_routes),
		cmocka_unit_test(config__reads_constant_routes),
		cmocka_unit_test(config__unquotes_strings),
		cmocka_unit_test(config__takes_every_form_of_a_file),
		cmocka_unit_test(config__keeps_lines),
		cmocka_unit_test(config__dump_reads_back_as_the_same),
		cmocka_unit_test(config__dump_keeps_values),
		cmocka_unit_test(config__makes_one_line_configurations),
		cmocka_unit_test(config__dumps_one_line_configurations),
		cmocka_unit_test(config__loads_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
