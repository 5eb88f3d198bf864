/* SPDX-License-Identifier: MIT */
/* What a faulty configuration is told: every fault, its line, and what to do; and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "config/config.h"
#include "config_cases.h"

#define TEXT_OF(x) #x
#define TEXT(x)	   TEXT_OF(x)
#define SLOTS_TEXT TEXT(STEER_MAX_SLOTS)

static void config_errors__name_the_nearest_key(void **state)
{
	static const struct error_case cases[] = {
		{"listen :1 { backlogg = 3 }",
		 .want = {"1: unknown key 'backlogg' in listen; did you mean 'backlog'?"}},
		{"wokers = 3", .want = {"1: unknown key 'wokers' at top level; did you mean "
					"'workers'?"}},
		{"Workers = 3", .want = {"1: did you mean 'workers'?"}},
		{"backlog = 3", .want = {"1: unknown key 'backlog' at top level; it belongs in "
					 "listen"}},
		{"keepalive = 3s", .want = {"1: it belongs in listen or in upstream or in "
					    "timeouts"}},
		{"steering { user = root }", .want = {"1: unknown key 'user' in steering; it "
						      "belongs at top level"}},
		{"log { backlogg = 3 }", .want = {"1: unknown key 'backlogg' in log; did you "
						  "mean 'backlog' in listen?"}},
		{"limits { zzzzzz = 3 }", .want = {"1: unknown key 'zzzzzz' in limits; known "
						   "here: request_line, header"}},
		{"site a { files = '/' }",
		 .want = {"1: unknown key 'files' in site; it belongs in route"}},
		{"route / { respond = x }",
		 .want = {"1: unknown key 'route' at top level; it belongs in site"}},
		{"stering { policy = least }",
		 .want = {"1: unknown key 'stering' at top level; did you mean 'steering'?"}},
		{"include('x')",
		 .want = {"1: unknown key 'include'", "1: '(' must stand", "1: ')' must stand"}},
		{"location / { root /srv; }",
		 .want = {"1: unknown key 'location'", "1: unexpected ';'"}},
		{"stall|x = 3", .want = {"1: unknown key 'stall|x'"}},
		{"@ = x", .want = {"1: unknown key '@'"}},
		{"? = x", .want = {"1: unknown key '?'"}},
		{"site a { @ = b route / { respond = x } }", .want = {"1: unknown key '@'"}},
	};

	CHECK(cases);
}

static void config_errors__list_the_choices(void **state)
{
	static const struct error_case cases[] = {
		{"steering { policy = leest }",
		 .want = {"1: policy: 'leest' is unknown; did you mean 'least'? known: hash "
			  "least rr p2c weighted cpu busy"}},
		{"steering { policy = random }",
		 .want = {"1: policy: 'random' is unknown; known: hash least rr p2c "
			  "weighted cpu busy"}},
		{"log { level = warning }", .want = {"1: known: error warn info debug"}},
		{"log { format = clf }", .want = {"1: known: combined json"}},
	};

	CHECK(cases);
}

static void config_errors__check_values(void **state)
{
	static const struct error_case cases[] = {
		{"workers = 0",
		 .want = {"1: workers: '0' is out of range: expected 1 to " SLOTS_TEXT
			  ", or auto"}},
		{"workers = 100000", .want = {"1: out of range: expected 1 to " SLOTS_TEXT}},
		{"workers = -1", .want = {"1: is no whole number: expected 1 to " SLOTS_TEXT}},
		{"workers = 1.5", .want = {"1: is no whole number"}},
		{"workers = \"\"", .want = {"1: is no whole number"}},
		{"workers = 18446744073709551617", .want = {"1: out of range"}},
		{"workers = off",
		 .want = {"1: is no whole number: expected 1 to " SLOTS_TEXT ", or auto"}},
		{"steering { stall = 20 }",
		 .want = {"1: stall: '20' needs a unit (ns us ms s m h d), such as 20ms"}},
		{"steering { stall = 2h }", .want = {"1: out of range: expected 1ms to 1m, or "
						     "off"}},
		{"steering { stall = 20msec }", .want = {"1: unknown unit"}},
		{"steering { enabled = maybe }", .want = {"1: neither true nor false"}},
		{"steering { enabled = 1 }", .want = {"1: neither true nor false"}},
		{"steering { enabled = no required = yes }",
		 .want = {"1: steering cannot be required and not enabled"}},
		{"files_cache { content = 64m }", .want = {"1: may not be larger than all"}},
		{"timeouts { header = 0 }", .want = {"1: out of range"}},
		{"timeouts { linger = 1ms }", .want = {"1: out of range: expected 10ms to 1m"}},
		{"timeouts { header = 1500us }", .want = {"1: too fine: expected a multiple of "
							  "1ms"}},
		{"listen :1 { defer_accept = 1500ms }", .want = {"1: a multiple of 1s"}},
		{"listen :1 { keepalive = 10h }", .want = {"1: expected 1s to 32767s, or off"}},
		{"user = no-such-user-here", .want = {"1: user: 'no-such-user-here' is no user "
						      "of this system"}},
		{"user = \"\"", .want = {"1: is empty"}},
		{"control = run/x", .want = {"1: must be an absolute path"}},
		{"control = /run/", .want = {"1: is a folder"}},
		{"control = /0123456789012345678901234567890123456789012345678901234567890123456"
		 "789012345678901234567890123456789012345678",
		 .want = {"1: is too long for a socket: 110 bytes, at most 107"}},
		{"pin = sluice", .want = {"1: must be an absolute path"}},
		{"server_name = 0123456789012345678901234567890123456789012345678901234567890123",
		 .want = {"1: is too long: at most 63 bytes"}},
		{"server_name = \"a\\nb\"", .want = {"1: printable ASCII"}},
		{"log { access = /no/such/folder/x }",
		 .want = {"1: access: '/no/such/folder/x' cannot be: the folder "
			  "'/no/such/folder': No such file or directory"}},
		{"log { access = /tmp }", .want = {"1: is a folder"}},
		{"log { access = /etc/passwd/x }", .want = {"1: is not a folder"}},
		{"log { access = x.log }", .want = {"1: must be an absolute path"}},
	};

	CHECK(cases);
}

static void config_errors__check_limits(void **state)
{
	static const struct error_case cases[] = {
		{"limits { body = 1q }", .want = {"1: body: '1q' has an unknown unit: known are "
						  "b k m g"}},
		{"limits { header = 64k }", .want = {"1: out of range: expected 256b to 16k"}},
		{"limits { rate = 5 }", .want = {"1: rate: '5' needs a unit (r/s r/m r/h), such as 10r/s"}},
		{"limits { rate = 200000r/s }", .want = {"1: out of range: expected 1r/h to 100000r/s, or off"}},
		{"limits { rate = 1r/h burst = 13 }",
		 .want = {"1: burst: 13 requests at this rate take more than 12 hours to come back"}},
		{"limits { burst = 13 }\nsite a { route / { respond = x rate = 1r/h } }",
		 .want = {"2: burst: 13 requests at this rate"}},
		{"limits { rate = 1r/h }\nsite a { route / { respond = x burst = 13 } }",
		 .want = {"2: burst: 13 requests at this rate"}},
		{"limits { exempt = { \"10.0.0.0/33\" } }", .want = {"1: exempt: '10.0.0.0/33'"}},
		{"limits { memory = 1k }", .want = {"1: out of range: expected 1m to 1024g, or off"}},
		{"limits { header_count = 129 }", .want = {"1: expected 1 to 128"}},
		{"limits { header = 1k }", .want = {"1: the request line (8192 bytes) is a part "
						    "of the header"}},
	};

	CHECK(cases);
}

static void config_errors__check_addresses(void **state)
{
	static const struct error_case cases[] = {
		{"listen nonsense {}", .want = {"1: 'nonsense' is no address: expected "
						"ADDR:PORT"}},
		{"listen 8080 {}", .want = {"1: is no address"}},
		{"listen localhost:80 {}", .want = {"1: with a numeric address"}},
		{"listen 127.0.0.1:65536 {}", .want = {"1: a port from 0 to 65535"}},
		{"listen ::1:80 {}", .want = {"1: an IPv6 address stands in brackets"}},
		{"listen \"\" {}", .want = {"1: is no address"}},
		{"listen {}", .want = {"1: listen needs an address: expected 'listen "
				       "\"ADDR:PORT\" { ... }'"}},
		{"listen :80 {}\nlisten :80 {}",
		 .want = {"2: ':80' is the same address as ':80' on line 1"}},
		{"listen 0.0.0.0:80 {}\n\nlisten :80 {}",
		 .want = {"3: ':80' is the same address as '0.0.0.0:80' on line 1"}},
		{"listen [::1]:80 {} listen [0::1]:80 {} listen [0:0::1]:80 {}",
		 .want = {"1: '[0::1]:80' is the same", "1: '[0:0::1]:80' is the same"}},
		{"listen 1.2.3.4:80 { v6only = yes }",
		 .want = {"1: v6only goes with an IPv6 address, not with '1.2.3.4:80'"}},
		{"listen a {} listen b { backlog = 0 }",
		 .want = {"1: 'a' is no", "1: 'b' is no", "1: backlog: '0' is out of range"}},
	};

	CHECK(cases);
}

static void config_errors__check_sites_and_routes(void **state)
{
	static const struct error_case cases[] = {
		{"site '*' { route / { respond = x } }",
		 .want = {"3: the name '*' is taken by the site on line 1"}},
		{"site 'a b' { route / { respond = x } }\nsite 'c B.' { route / { respond = x } }",
		 .want = {"2: the name 'b' is taken by the site on line 1"}},
		{"site 'a a' { route / { respond = x } }", .want = {"1: the name 'a' is taken"}},
		{"site a {}", .want = {"1: site has no route"}},
		{"site \"\" { route / { respond = x } }", .want = {"1: site has no name"}},
		{"site { route / { respond = x } }", .want = {"1: site needs a name"}},
		{"site a:80 { route / { respond = x } }", .want = {"1: has a port"}},
		{"site 'a/b' { route / { respond = x } }", .want = {"1: is no host name"}},
		{"site 'a.*.b' { route / { respond = x } }", .want = {"1: is no host name"}},
		{"site 'a' 'b' { route / { respond = x } }",
		 .want = {"1: unexpected 'b': what site is called goes into one pair"}},
		{"site a { route / {} }", .want = {"1: route '/' has no handler: expected files"}},
		{"site a { route / { fils = / } }",
		 .want = {"1: unknown key 'fils' in route; did you mean 'files'?"}},
		{"site a { route / { files = } }", .want = {"1: missing value"}},
		{"site a { route / { files = / \n respond = x } }",
		 .want = {"2: route '/' has two handlers, 'files' and 'respond': keep one"}},
		{"site a { route / { files = www } }", .want = {"1: must be an absolute path"}},
		{"site a { route / { files = /no/such } }",
		 .want = {"1: files: '/no/such' cannot be served: No such file or directory"}},
		{"site a { route / { files = /etc/passwd } }", .want = {"1: is not a folder"}},
		{"site a { route x { respond = x } }", .want = {"1: 'x' must begin with '/'"}},
		{"site a { route '/a?b' { respond = x } }", .want = {"1: is no path"}},
		{"site a { route /a/../b { respond = x } }", .want = {"1: can never match"}},
		{"site a { route /a { respond = x }\nroute \"/\\x61\" { respond = \"y\" } }",
		 .want = {"2: the prefix '/a' is taken by the route on line 1"}},
		{"site a { route / { redirect = foo } }", .want = {"1: is no target"}},
		{"site a { route / { redirect = '/$hots' } }",
		 .want = {"1: unknown variable: known are $host $path $query $uri"}},
		{"site a { route / { redirect = '/a b' } }", .want = {"1: holds a blank"}},
		{"site a { route / { redirect = / status = 200 } }",
		 .want = {"1: status: 200 is no redirect: expected 301, 302, 303, 307 or 308"}},
		{"site a { route / { respond = x status = 99 } }", .want = {"1: 200 to 599"}},
		{"site a { route / { respond = x index = y } }",
		 .want = {"1: 'index' has no effect on a route with 'respond'"}},
		{"site a { route / { files = / status = 200 } }",
		 .want = {"1: 'status' has no effect on a route with 'files'"}},
		{"site a { route / { files = / index = {a, b/c} } }",
		 .want = {"1: index: 'b/c' is no file name"}},
		{"site a { route / { respond = x type = html } }", .want = {"1: media type"}},
	};

	CHECK(cases);
}

static void config_errors__check_the_shape(void **state)
{
	static const struct error_case cases[] = {
		{"workers 4", .want = {"1: missing '=': expected 'workers = VALUE'"}},
		{"workers = 4;", .want = {"1: unexpected ';': a setting ends by itself"}},
		{"workers = 4 8", .want = {"1: unexpected '8' behind the value of 'workers'"}},
		{"workers =\nuser = nobody", .want = {"1: missing value: expected 'workers = "
						      "VALUE'"}},
		{"workers =", .is_whole = true,
		 .want = {"0: no address to listen on", "0: no site", "1: missing value"}},
		{"workers = {1, 2}", .want = {"1: 'workers' takes one value, not a list"}},
		{"workers += 1", .want = {"1: '+=' is not used here"}},
		{"workers { x = 1 }", .want = {"1: 'workers' is a key, not a section"}},
		{"workers = 1\n\nworkers = 2", .want = {"3: 'workers' is set twice: first on "
							"line 1"}},
		{"workers = 1, user = nobody", .want = {"1: unexpected ','"}},
		{"= 3", .want = {"1: unexpected '='", "1: unknown key '3'"}},
		{"\"workers\" = 3", .want = {"1: unexpected 'workers': expected a key",
					     "1: unexpected '='", "1: unknown key '3'"}},
		{"log {}\nlog {}", .want = {"2: log is given twice: first on line 1"}},
		{"log x {}", .want = {"1: log takes no name: expected 'log { ... }'"}},
		{"log = { level = info }", .want = {"1: log is a section: expected 'log { ... "
						    "}', without '='"}},
		{"listen = ':80'", .want = {"1: listen is a section: expected 'listen "
					    "\"ADDR:PORT\" { ... }', without '='"}},
		{"listen :80", .want = {"1: missing '{': expected 'listen \"ADDR:PORT\" { ... }'"}},
		{"listen 8080;",
		 .want = {"1: missing '{'", "1: '8080' is no address", "1: unexpected ';'"}},
		{"site a { route / { files = / index = { a b } } }",
		 .want = {"1: expected ',' or '}' in the list of 'index'"}},
		{"{ workers = 3 }", .want = {"1: unexpected '{'"}},
		{"user = a(b", .want = {"1: '(' must stand in quotes"}},
		{"listen *:80 { }", .want = {"1: '*' must stand in quotes"}},
		{"site * { }", .want = {"1: site has no route", "1: '*' must stand in quotes"}},
		{"site * { route / { files = www } }\nlisten *:1 { backlog = 0 }",
		 .want = {"1: '*' must stand in quotes", "1: must be an absolute path",
			  "2: '*' must stand in quotes", "2: backlog: '0' is out of range"}},
		{"log { level = info }\nlog { level = x flush = 1 }",
		 .want = {"2: log is given twice: first on line 1", "2: level: 'x' is unknown",
			  "2: flush: '1' needs a unit"}},
	};

	CHECK(cases);
}

static void config_errors__find_open_braces(void **state)
{
	static const struct error_case cases[] = {
		{"log {\n level = info\n", .want = {"1: the '{' of log is not closed: expected "
						    "'}' before line 4"}},
		{"listen :0 {\nbacklog = 3\nsite a { route / { respond = x } }", .is_whole = true,
		 .want = {"1: the '{' of listen is not closed: expected '}' before line 3"}},
		{"listen :0 {}\nsite a {\n route / { respond = x\n}\nlog { levl = x }",
		 .is_whole = true,
		 .want = {"2: the '{' of site is not closed: expected '}' before line 5",
			  "5: unknown key 'levl' in log; did you mean 'level'?"}},
		{"listen :0 {}\nsite a { route / { respond = x } ", .is_whole = true,
		 .want = {"2: the '{' of site is never closed: expected '}'"}},
		{"listen :0 {}\nsite a { route / {\n respond = x\n", .is_whole = true,
		 .want = {"2: the '{' of site is never closed",
			  "2: the '{' of route is never closed"}},
		{"listen :0 {}\nsite a { route /\n respond = x } }", .is_whole = true,
		 .want = {"2: missing '{': expected 'route \"/PREFIX\" { ... }'"}},
		{"log { }\n}\nworkers = x", .want = {"2: unexpected '}': nothing is open here",
						     "3: workers: 'x' is no whole number"}},
		{"nonsense {\n { {", .is_whole = true,
		 .want = {"1: unknown key 'nonsense'", "1: this '{' is never closed"}},
		{"site a { route / { files = / index = { a,\n", .is_whole = true,
		 .want = {"0: no address", "1: the '{' of site is never",
			  "1: the '{' of route is never", "1: in the list of 'index'",
			  "1: this '{' is never closed"}},
	};

	CHECK(cases);
}

static void config_errors__check_strings(void **state)
{
	static const struct error_case cases[] = {
		{"user = \"nobody\ncontrol = \"x\"",
		 .want = {"1: this quote is never closed: expected \" before the end of the line",
			  "2: control: 'x' must be an absolute path"}},
		{"user = 'nobody\nworkers = 0", .want = {"1: expected ' before the end of the "
							 "line",
							 "2: workers: '0' is out"}},
		{"listen \":80 {}\nworkers = 0",
		 .want = {"1: this quote", "1: missing '{'", "2: workers: '0' is out"}},
		{"user = \"", .is_whole = true,
		 .want = {"0: no address", "0: no site", "1: this quote"}},
		{"user = \"a\\", .is_whole = true,
		 .want = {"0: no address", "0: no site", "1: this quote"}},
		{"workers = 1\n/* a\nb", .is_whole = true,
		 .want = {"0: no address", "0: no site", "2: this comment is never closed"}},
		{"user = \"a\\qb\"", .want = {"1: unknown escape '\\q'"}},
		{"user = \"a\\0b\"", .want = {"1: bad escape '\\0'"}},
		{"user = \"a\\400b\"", .want = {"1: bad escape '\\400'"}},
		{"user = \"a\\189\"", .want = {"1: bad escape '\\189'"}},
		{"user = \"a\\1234567890123456\"", .want = {"1: bad escape"}},
		{"user = \"a\\x00\"", .want = {"1: bad escape: expected \\x01"}},
		{"user = \"a\\xg\"", .want = {"1: bad escape: expected \\x01"}},
		{"user = \"${SLUICE_NOT_SET}\"",
		 .want = {"1: environment variable 'SLUICE_NOT_SET' is not set; "
			  "${SLUICE_NOT_SET:-default} gives it a default"}},
		{"user = \"a${b\"\nlog { } # }", .want = {"1: expected ${NAME}"}},
		{"user = \"${}\"", .want = {"1: expected ${NAME}"}},
		{"user = \"${A:x}\"", .want = {"1: expected ${NAME}"}},
		{"user = ${HOME}",
		 .want = {"1: must stand in quotes: \"${NAME}\"", "1: unexpected '{'"}},
		{"site a { route / { redirect = https://a/b } }",
		 .want = {"1: a value with '//' must stand in quotes"}},
		{"user = \xe2\x80\x9cnobody\xe2\x80\x9d", .want = {"1: outside ASCII must stand "
								   "in quotes"}},
		{"user = a;b", .want = {"1: a value with ';' must stand in quotes"}},
		{"workers = 3 \x01", .want = {"1: control character 0x01"}},
	};

	CHECK(cases);
}

static void config_errors__miss_what_is_not_there(void **state)
{
	static const struct error_case cases[] = {
		{"", .is_whole = true,
		 .want = {"0: no address to listen on: expected at least "
			  "one section such as listen \"127.0.0.1:8080\"",
			  "0: no site"}},
		{" \n\t\r\n# nothing\n", .is_whole = true, .want = {"0: no address", "0: no site"}},
		{"\xef\xbb\xbf", .is_whole = true, .want = {"0: no address", "0: no site"}},
		{"listen :0 {}", .is_whole = true, .want = {"0: no site"}},
		{"site a { route / { respond = x } }", .is_whole = true,
		 .want = {"0: no address to listen on"}},
		{"listn :0 {} site a { route / { respond = x } }", .is_whole = true,
		 .want = {"1: unknown key 'listn'"}},
		{"workerz = 1", .is_whole = true,
		 .want = {"0: no address", "0: no site", "1: unknown key 'workerz'"}},
	};

	CHECK(cases);
}

/* The fault the file must end with, on line 0 and alone. */
static void check_file(const char *path, const char *want)
{
	static struct config_errors errors;
	struct config *c = (struct config *)1;

	assert_int_equal(config_load(path, &c, &errors), -EINVAL);
	assert_null(c);
	if (errors.count != 1 || !strstr(errors.items[0].message, want))
		print_errors(&errors, path);
	assert_int_equal(errors.count, 1);
	assert_non_null(strstr(errors.items[0].message, want));
	assert_string_equal(errors.items[0].file, path);
	config_errors_free(&errors);
}

static void write_file(const char *path, const char *bytes, size_t len, unsigned times)
{
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	for (unsigned i = 0; i < times; i++)
		assert_int_equal(fwrite(bytes, 1, len, out), len);
	assert_int_equal(fclose(out), 0);
}

static void config_errors__refuse_unfit_files(void **state)
{
	char path[] = "/tmp/sluice-config-XXXXXX", rubbish[4096];
	uint32_t seed = 1;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	check_file("/no/such/file", "cannot be read: No such file or directory");
	check_file("/tmp", "cannot be read: Is a directory");
	write_file(path, "listen :0 {}\0", 13, 1);
	check_file(path, "byte 0x00: this is not a text file");
	for (size_t i = 0; i < sizeof(rubbish); i++) {
		seed = seed * 1664525 + 1013904223;
		rubbish[i] = (char)(seed >> 24);
	}
	write_file(path, rubbish, sizeof(rubbish), 1);
	check_file(path, "this is not a text file");
	write_file(path, "\x1b\x02\x03\x04\x05\x06\x07\x08\x0e\x0f", 10, 1);
	check_file(path, "this is not a text file");
	write_file(path, "# ten million bytes\n", 20, 500000);
	check_file(path, "is larger than 1048576 bytes");
	write_file(path, "################", 16, 65536); /* the largest, in one line */
	check_case(&(struct error_case){"", .is_whole = true, .want = {"0: no a", "0: no s"}});
	if (geteuid() != 0) {
		chmod(path, 0);
		check_file(path, "cannot be read: Permission denied");
	}
	unlink(path);
}

static char *printed(const char *text)
{
	static struct config_errors errors;
	struct config *c = NULL;
	char *out_text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&out_text, &len);

	assert_non_null(out);
	assert_int_equal(config_parse("s.conf", text, &c, &errors), -EINVAL);
	config_errors_print(&errors, out);
	fclose(out);
	config_errors_free(&errors);
	return out_text;
}

static void config_errors__print_line_and_caret(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"listen :0 {\n\tbacklogg = 3 }\r\nsite a { route / { respond = x } }",
		 "s.conf:2: error: unknown key 'backlogg' in listen; did you mean 'backlog'?\n"
		 "    \tbacklogg = 3 }\n"
		 "    \t^\n"},
		{"listen :0 { backlog = 0 }\nsite a { route / { respond = x } }",
		 "s.conf:1: error: backlog: '0' is out of range: expected 1 to 1048576\n"
		 "    listen :0 { backlog = 0 }\n"
		 "                          ^\n"},
		{"listen :0 {}\nsite a { route / { respond = \"\xc3\xbc\" status = 1 } }",
		 "s.conf:2: error: status: '1' is out of range: expected 200 to 599\n"
		 "    site a { route / { respond = \"\xc3\xbc\" status = 1 } }\n"
		 "                                              ^\n"},
		{"listen :0 {}",
		 "s.conf: error: no site: expected at least one section such as site \"*\" { route "
		 "\"/\" { files = \"/srv/www\" } }\n"},
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		char *text = printed(cases[i].text);

		assert_string_equal(text, cases[i].want);
		free(text);
	}
}

/* Whatever stands in the file, what is printed is short lines of UTF-8 without control characters.
 */
static void config_errors__are_safe_to_print(void **state)
{
	size_t len = 100000;
	char *text = malloc(len + 100), *out;

	assert_non_null(text);
	memset(text, 'x', len);
	memcpy(text + len, " = \"\xff\x1b[31m\xe2\x82\" }", 15);
	text[len + 15] = '\0';
	out = printed(text);
	assert_true(strlen(out) < 4000);
	for (const char *at = out; *at; at++)
		assert_true(*at == '\n' || (*at >= 0x20 && *at < 0x7f));
	free(out);
	free(text);
}

static void config_errors__stop_at_a_limit(void **state)
{
	static struct config_errors errors;
	struct config *c = NULL;
	char text[4096] = "listen :0 {}\nsite a { route / { respond = x } }\n", *out;
	size_t len = strlen(text);

	for (unsigned i = 0; i < CONFIG_ERRORS_MAX + 7; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "zzzzzz%u = 1\n", i);
	assert_int_equal(config_parse("t", text, &c, &errors), -EINVAL);
	assert_int_equal(errors.count, CONFIG_ERRORS_MAX);
	assert_int_equal(errors.omitted, 7);
	config_errors_free(&errors);
	out = printed(text);
	assert_non_null(strstr(out, "\nand 7 further errors\n"));
	free(out);
}

/* A file as large as one may be, of nothing but faults, takes CPU time in proportion to its length.
 */
static void config_errors__take_little_time(void **state)
{
	static const char *const lines[] = {"workers = 1\n", "} = {\n", "log {\n", "\"\n",
					    "listen :1\n"};
	static struct config_errors errors;
	size_t room = 1 << 20;
	char *text = malloc(room + 16);

	assert_non_null(text);
	for (unsigned i = 0; i < ARRAY_LEN(lines); i++) {
		struct config *c = NULL;
		clock_t start = clock();

		for (size_t len = 0; len < room; len += strlen(lines[i]))
			memcpy(text + len, lines[i], strlen(lines[i]) + 1);
		assert_int_equal(config_parse("t", text, &c, &errors), -EINVAL);
		config_errors_free(&errors);
		/* 0.1 s at most here, 1.5 s for the addresses; a minute when it was quadratic */
		assert_true(clock() - start < 20 * CLOCKS_PER_SEC);
	}
	free(text);
}

/* The order in the file, not the order in which they are found; the same only once. */
static void config_errors__are_in_order(void **state)
{
	static const struct error_case cases[] = {
		{"workers = x\nuzer = y\nlisten a {}\nlog { = }\nuser = \"",
		 .want = {"1: workers", "2: unknown key 'uzer'", "3: 'a' is no address",
			  "4: unexpected '='", "5: this quote"}},
		{"steering { stall = 5 reservation = 6 }", .want = {"1: stall", "1: reservation"}},
	};

	CHECK(cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_errors__name_the_nearest_key),
		cmocka_unit_test(config_errors__list_the_choices),
		cmocka_unit_test(config_errors__check_values),
		cmocka_unit_test(config_errors__check_limits),
		cmocka_unit_test(config_errors__check_addresses),
		cmocka_unit_test(config_errors__check_sites_and_routes),
		cmocka_unit_test(config_errors__check_the_shape),
		cmocka_unit_test(config_errors__find_open_braces),
		cmocka_unit_test(config_errors__check_strings),
		cmocka_unit_test(config_errors__miss_what_is_not_there),
		cmocka_unit_test(config_errors__refuse_unfit_files),
		cmocka_unit_test(config_errors__print_line_and_caret),
		cmocka_unit_test(config_errors__are_safe_to_print),
		cmocka_unit_test(config_errors__stop_at_a_limit),
		cmocka_unit_test(config_errors__take_little_time),
		cmocka_unit_test(config_errors__are_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
