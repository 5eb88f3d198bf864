/* SPDX-License-Identifier: MIT */
/*
 * The command line: what it prints, returns and hands to the server.  A server of the control
 * socket runs in a thread where a command needs one to ask.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/cli.h"
#include "config/config.h"
#include "net/unix_sock.h"
#include "proc/ctl.h"

#define ARGS_MAX 12

static const char right_config[] = "listen \"127.0.0.1:8090\" { }\n"
				   "site \"*\" { route \"/\" { respond = \"hello\" } }\n";

/* One call of the program and what came of it. */
struct outcome {
	char *out, *err;
	int status;
};

struct fixture {
	char folder[64];
	bool is_root;
	struct outcome last;
};

/* What the server was given. */
static struct {
	unsigned calls, workers;
	char control[256], pin[256], listen[64], path[256], server[128];
	int status;
} served;

static void keep(char *to, size_t room, const char *from)
{
	snprintf(to, room, "%s", from ? from : "(none)");
}

static int fake_serve(struct config *config)
{
	served.calls++;
	served.workers = config->workers;
	keep(served.control, sizeof(served.control), config->control);
	keep(served.pin, sizeof(served.pin), config->pin);
	keep(served.path, sizeof(served.path), config->path);
	keep(served.listen, sizeof(served.listen), config->listens[0].text);
	keep(served.server, sizeof(served.server),
	     config->upstream_count ? config->upstreams[0].servers[0].text : NULL);
	return served.status;
}

static void forget(struct outcome *o)
{
	free(o->out);
	free(o->err);
	memset(o, 0, sizeof(*o));
}

/* Arguments separated by blanks; "@" stands for the test's folder. */
static void call(struct fixture *f, const char *line)
{
	char text[512] = "", *argv[ARGS_MAX + 1] = {(char *)"sluice"};
	char *save = NULL;
	size_t out_len, err_len, len = 0;
	int argc = 1;
	struct cli_env env = {.is_root = f->is_root, .serve = fake_serve};

	for (const char *c = line; *c; c++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, *c == '@' ? "%s" : "%.1s",
					*c == '@' ? f->folder : c);
	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		assert_true(argc < ARGS_MAX);
		argv[argc++] = word;
	}
	forget(&f->last);
	env.out = open_memstream(&f->last.out, &out_len);
	env.err = open_memstream(&f->last.err, &err_len);
	f->last.status = cli_run(&env, argc, argv);
	fclose(env.out);
	fclose(env.err);
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' is not in:\n%s", part, text);
}

static void write_file(struct fixture *f, const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", f->folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->folder, sizeof(f->folder), "/tmp/sluice-cli-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	f->is_root = true;
	memset(&served, 0, sizeof(served));
	assert_int_equal(setenv("XDG_RUNTIME_DIR", f->folder, 1), 0);
	write_file(f, "right.conf", right_config);
	write_file(f, "wrong.conf", "listne \"127.0.0.1:8090\" { }\nworkers = many\n");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = {"right.conf", "wrong.conf", "own.conf"};
	struct fixture *f = *state;
	char path[128];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", f->folder, names[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(f->folder), 0);
	forget(&f->last);
	free(f);
	return 0;
}

static void cli__refuses_wrong_usage(void **state)
{
	static const struct {
		const char *line, *error;
	} cases[] = {
		{"statsu", "sluice: unknown command 'statsu', did you mean 'status'?\n"},
		{"frobnicate", "sluice: unknown command 'frobnicate'\nTry 'sluice help'.\n"},
		{"status --jsn", "sluice status: unknown option '--jsn', did you mean '--json'?\n"},
		{"status --jsn=1", "unknown option '--jsn', did you mean '--json'?"},
		{"status --frobnicate", "unknown option '--frobnicate'\nTry 'sluice help status'"},
		{"status --dump", "sluice status: unknown option '--dump'\n"},
		{"status -x", "sluice status: unknown option '-x'\n"},
		{"status --json=yes", "sluice status: option '--json' takes no value\n"},
		{"status --control", "sluice status: option '--control' needs a value: PATH\n"},
		{"run -c", "sluice run: option '--config' needs a value: FILE\n"},
		{"status now", "sluice status: unexpected argument 'now'\n"},
		{"status -- --json", "sluice status: unexpected argument '--json'\n"},
		{"--jsn status", "sluice: unknown option '--jsn'\n"},
		{"--contrl x status", "did you mean '--control'?"},
		{"-c x", "sluice: which command?\n"},
		{"-c x version", "sluice version: takes no option '--config'\n"},
		{"--control x check", "sluice check: takes no option '--control'\n"},
		{"files", "sluice files: DIR is missing\n"},
		{"files a b", "sluice files: unexpected argument 'b'\n"},
		{"files @ -l nonsense", "'nonsense' is no address: expected HOST:PORT"},
		{"files @ -l 99999", "'99999' is no address"},
		{"files @ -w 0", "--workers '0' is no number from 1 to "},
		{"files @ -w 100000", "--workers '100000' is no number"},
		{"files @ -w -1", "--workers '-1' is no number"},
		{"files @ -w many", "--workers 'many' is no number"},
		{"stop --timeout soon", "--timeout 'soon'"},
		{"stop --timeout 0", "--timeout '0' is less than 1ms"},
		{"stop --timeout -5", "--timeout '-5'"},
		{"top --interval soon", "--interval 'soon'"},
		{"top --interval 5ms", "--interval '5ms' is not within 100ms and 1h"},
		{"top --interval 2h", "--interval '2h' is not within 100ms and 1h"},
		{"top --interval 0", "--interval 0 goes with --once only"},
		{"top --json", "sluice top: unknown option '--json'"},
		{"stop --timeout 99999999999999999999", "--timeout '99999999999999999999'"},
		{"help frobnicate", "unknown command 'frobnicate'"},
		{"help stoop", "did you mean 'stop'?"},
		{"check --dmup", "did you mean '--dump'?"},
		{"proxy", "sluice proxy: TO is missing\n"},
		{"proxy 1 2", "sluice proxy: unexpected argument '2'\n"},
		{"proxy app", "sluice proxy: 'app' is no server: expected a port, HOST:PORT or "
			      "unix:/PATH"},
		{"proxy https://app:443", "'https://app:443' is no server"},
		{"proxy 3000 -l nonsense", "'nonsense' is no address: expected HOST:PORT"},
		{"proxy 3000 -w 0", "--workers '0' is no number"},
		{"proxy 3000 --json", "sluice proxy: unknown option '--json'"},
		{"proxi 3000", "unknown command 'proxi', did you mean 'proxy'?"},
		{"upstream frobnicate", "sluice upstream: unknown action 'frobnicate'\n"},
		{"upstream drian app x", "unknown action 'drian', did you mean 'drain'?"},
		{"upstream drain", "sluice upstream: drain wants NAME SERVER\n"},
		{"upstream undrain app", "sluice upstream: undrain wants NAME SERVER\n"},
		{"upstream show app", "sluice upstream: unexpected argument 'app'\n"},
		{"upstream drain app x y", "sluice upstream: unexpected argument 'y'\n"},
		{"upstream drain app \xff", "the name of the upstream or the server is not UTF-8"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		call(f, cases[i].line);
		assert_has(f->last.err, cases[i].error);
		assert_has(f->last.err, "\nTry 'sluice help");
		assert_string_equal(f->last.out, "");
		assert_int_equal(f->last.status, CLI_USAGE);
	}
	assert_int_equal(served.calls, 0);
}

static void cli__bears_an_overlong_word(void **state)
{
	struct fixture *f = *state;
	char line[400] = "status --";

	memset(line + strlen(line), 'x', 300);
	call(f, line);
	assert_int_equal(f->last.status, CLI_USAGE);
	assert_has(f->last.err, "unknown option '--xxx");
	call(f, line + strlen("status --"));
	assert_int_equal(f->last.status, CLI_USAGE);
}

static void cli__helps(void **state)
{
	static const char *const names[] = {"run",  "check",  "files",	 "status",
					    "stop", "reopen", "version", "help",
					    "top",  "proxy",  "upstream"};
	struct fixture *f = *state;
	char line[64];

	call(f, "");
	assert_int_equal(f->last.status, CLI_OK);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_has(f->last.out, names[i]);
	assert_has(f->last.out, "usage: sluice COMMAND");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char usage[64];

		snprintf(usage, sizeof(usage), "usage: sluice %s", names[i]);
		snprintf(line, sizeof(line), "help %s", names[i]);
		call(f, line);
		assert_has(f->last.out, usage);
		snprintf(line, sizeof(line), "%s --help", names[i]);
		call(f, line);
		assert_has(f->last.out, usage);
		snprintf(line, sizeof(line), "--help %s", names[i]);
		call(f, line);
		assert_has(f->last.out, usage);
		assert_int_equal(f->last.status, CLI_OK);
		assert_string_equal(f->last.err, "");
	}
	call(f, "help files");
	assert_has(f->last.out, "usage: sluice files DIR [--control PATH] [-l ADDR] [-w N]\n");
	call(f, "help proxy");
	assert_has(f->last.out, "usage: sluice proxy TO [--control PATH] [-l ADDR] [-w N]\n");
	call(f, "help upstream");
	assert_has(f->last.out, "  drain     NAME SERVER  no new requests for a server");
}

static void cli__prints_the_version(void **state)
{
	static const char *const lines[] = {"version", "--version", "-V"};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		call(f, lines[i]);
		assert_int_equal(f->last.status, CLI_OK);
		assert_int_equal(strncmp(f->last.out, "sluice ", 7), 0);
		assert_int_equal(strspn(f->last.out + 7, "0123456789.\n"), strlen(f->last.out + 7));
	}
}

static void cli__fails_when_the_output_cannot_be_written(void **state)
{
	char *argv[] = {(char *)"sluice", (char *)"version", NULL};
	struct cli_env env = {.out = fopen("/dev/full", "w"), .serve = fake_serve};
	char *err = NULL;
	size_t len;

	assert_non_null(env.out);
	env.err = open_memstream(&err, &len);
	assert_int_equal(cli_run(&env, 2, argv), CLI_FAILURE);
	fclose(env.err);
	assert_has(err, "cannot write the output: No space left on device");
	fclose(env.out);
	free(err);
	env.err = stderr;
	assert_int_equal(cli_run(&(struct cli_env){.out = stdout, .err = stderr}, 0, argv),
			 CLI_USAGE);
}

static void cli__checks_a_configuration(void **state)
{
	struct fixture *f = *state;

	call(f, "check -c @/right.conf");
	assert_int_equal(f->last.status, CLI_OK);
	assert_has(f->last.out,
		   "right.conf: correct; addresses: 1, upstreams: 0, sites: 1, routes: 1\n");
	write_file(f, "own.conf",
		   "listen \":0\" { }\nupstream \"app\" { server \"127.0.0.1:1\" { } }\n"
		   "site \"*\" { route \"/\" { proxy = \"app\" } "
		   "route \"/x\" { respond = \"x\" } }\n");
	call(f, "check -c @/own.conf");
	assert_has(f->last.out, "correct; addresses: 1, upstreams: 1, sites: 1, routes: 2\n");
	call(f, "-c @/right.conf check --dump");
	assert_int_equal(f->last.status, CLI_OK);
	assert_has(f->last.out, "listen \"127.0.0.1:8090\"");
	assert_has(f->last.out, "control");
	call(f, "check -c @/wrong.conf");
	assert_int_equal(f->last.status, CLI_FAILURE);
	assert_has(f->last.err, "wrong.conf:1: error: ");
	assert_has(f->last.err, "'listen'");
	assert_has(f->last.err, "wrong.conf:2: error: ");
	assert_has(f->last.err, " errors in '");
	assert_string_equal(f->last.out, "");
	call(f, "check -c @/none.conf");
	assert_int_equal(f->last.status, CLI_FAILURE);
	assert_has(f->last.err, "No such file or directory");
	assert_has(f->last.err, "1 error in '");
}

static void cli__runs_a_configuration(void **state)
{
	struct fixture *f = *state;

	served.status = CLI_FAILURE;
	call(f, "run -c @/right.conf");
	assert_int_equal(f->last.status, CLI_FAILURE);
	assert_int_equal(served.calls, 1);
	assert_has(served.path, "/right.conf");
	assert_string_equal(served.control, "/run/sluice/control.sock");
	assert_string_equal(served.pin, "/sys/fs/bpf/sluice");
	served.status = CLI_OK;
	call(f, "-c @/right.conf --control /x/y run");
	assert_int_equal(f->last.status, CLI_OK);
	assert_string_equal(served.control, "/x/y");
	assert_string_equal(served.pin, "/sys/fs/bpf/sluice");
	call(f, "run -c @/wrong.conf");
	assert_int_equal(f->last.status, CLI_FAILURE);
	assert_int_equal(served.calls, 2);
	assert_has(f->last.err, "wrong.conf:2: error: ");
}

static void cli__serves_a_folder(void **state)
{
	struct fixture *f = *state;

	call(f, "files @");
	assert_int_equal(f->last.status, CLI_OK);
	assert_string_equal(served.listen, "127.0.0.1:8080");
	assert_string_equal(served.control, "/run/sluice/control.sock");
	assert_string_equal(served.pin, "/sys/fs/bpf/sluice");
	assert_string_equal(served.path, "(none)");
	assert_int_equal(served.workers, 0);
	call(f, "files -l [::1]:9000 @ -w 3 --control /x/y");
	assert_int_equal(f->last.status, CLI_OK);
	assert_string_equal(served.listen, "[::1]:9000");
	assert_string_equal(served.control, "/x/y");
	assert_string_equal(served.pin, "(none)");
	assert_int_equal(served.workers, 3);
	call(f, "files @ -l 9001");
	assert_string_equal(served.listen, "127.0.0.1:9001");
	assert_int_equal(served.calls, 3);
	call(f, "files @/none");
	assert_int_equal(f->last.status, CLI_FAILURE);
	assert_has(f->last.err, "sluice files: cannot serve '/tmp/sluice-cli-");
	assert_has(f->last.err, "/none': No such file or directory\n");
	call(f, "files @/right.conf");
	assert_has(f->last.err, "Not a directory");
	assert_int_equal(f->last.status, CLI_FAILURE);
	assert_int_equal(served.calls, 3);
}

static void cli__proxies_to_a_server(void **state)
{
	struct fixture *f = *state;

	call(f, "proxy 3000");
	assert_int_equal(f->last.status, CLI_OK);
	assert_string_equal(served.server, "127.0.0.1:3000");
	assert_string_equal(served.listen, "127.0.0.1:8080");
	assert_string_equal(served.control, "/run/sluice/control.sock");
	assert_string_equal(served.path, "(none)");
	assert_int_equal(served.workers, 0);
	call(f, "proxy -l 9000 http://app.internal:81/ -w 2 --control /x/y");
	assert_int_equal(f->last.status, CLI_OK);
	assert_string_equal(served.server, "app.internal:81");
	assert_string_equal(served.listen, "127.0.0.1:9000");
	assert_string_equal(served.control, "/x/y");
	assert_string_equal(served.pin, "(none)");
	assert_int_equal(served.workers, 2);
	served.status = CLI_FAILURE;
	call(f, "proxy unix:/run/app.sock");
	assert_int_equal(f->last.status, CLI_FAILURE);
	assert_string_equal(served.server, "unix:/run/app.sock");
	assert_int_equal(served.calls, 3);
}

static void cli__gives_other_users_a_socket_of_their_own(void **state)
{
	struct fixture *f = *state;
	char expected[256];

	f->is_root = false;
	call(f, "files @ -l 127.0.0.1:9000");
	snprintf(expected, sizeof(expected), "%s/sluice-9000.sock", f->folder);
	assert_string_equal(served.control, expected);
	assert_string_equal(served.pin, "(none)");
	call(f, "run -c @/right.conf");
	snprintf(expected, sizeof(expected), "%s/sluice-8090.sock", f->folder);
	assert_string_equal(served.control, expected);
	assert_string_equal(served.pin, "(none)");
	/* What the configuration says itself stays. */
	write_file(f, "own.conf",
		   "control = \"/x/own.sock\"\npin = \"/x/pin\"\n"
		   "listen \"127.0.0.1:8090\" { }\n"
		   "site \"*\" { route \"/\" { respond = \"hello\" } }\n");
	call(f, "run -c @/own.conf");
	assert_string_equal(served.control, "/x/own.sock");
	assert_string_equal(served.pin, "/x/pin");
	/* A folder that others may write to is not trusted. */
	assert_int_equal(chmod(f->folder, 0777), 0);
	call(f, "files @ -l 127.0.0.1:9000");
	snprintf(expected, sizeof(expected), "/tmp/sluice-%u/sluice-9000.sock",
		 (unsigned)geteuid());
	assert_string_equal(served.control, expected);
	assert_int_equal(chmod(f->folder, 0700), 0);
	assert_int_equal(unsetenv("XDG_RUNTIME_DIR"), 0);
	call(f, "files @ -l 127.0.0.1:9000");
	assert_string_equal(served.control, expected);
	snprintf(expected, sizeof(expected), "/tmp/sluice-%u", (unsigned)geteuid());
	rmdir(expected); /* unless a server of this user has its socket there */
}

static void cli__says_that_no_server_answers(void **state)
{
	struct fixture *f = *state;

	call(f, "status --control @/none.sock");
	assert_int_equal(f->last.status, CLI_FAILURE);
	assert_has(f->last.err, "sluice status: no sluice answers at '/tmp/sluice-cli-");
	assert_has(f->last.err, "/none.sock': No such file or directory; is it running?\n");
	call(f, "stop --control @/none.sock");
	assert_int_equal(f->last.status, CLI_FAILURE);
	assert_has(f->last.err, "is it running?");
	call(f, "status -c @/wrong.conf");
	assert_int_equal(f->last.status, CLI_FAILURE);
	assert_has(f->last.err, "wrong.conf:2: error: ");
}

/* A server in a thread: answers status and stop as the master does. */
struct server {
	char path[128];
	struct loop loop;
	struct ctl *ctl;
	pthread_t thread;
	unsigned reopen_count, reload_count;
	char asked[PATH_MAX + 16]; /* of upstream: action, upstream, server; of upgrade: binary, timeout */
	bool is_deaf;	 /* takes questions, never answers */
	bool was_hard;
	bool must_end; /* atomic */
};

static void run_status(struct ctl_request *rq, const json_t *args, void *owner)
{
	ctl_reply(rq, json_pack("{s:b, s:{s:s, s:i, s:[{s:i, s:i}]}}", "ok", 1, "status", "version",
				"7.7", "pid", 4711, "workers", "slot", 0, "live", 12));
}

static void run_stop(struct ctl_request *rq, const json_t *args, void *owner)
{
	struct server *s = owner;

	s->was_hard = json_is_true(json_object_get(args, "hard"));
	if (s->is_deaf)
		return;
	ctl_reply_last(rq, json_pack("{s:b}", "ok", 1));
	loop_stop(&s->loop);
}

static void run_reopen(struct ctl_request *rq, const json_t *args, void *owner)
{
	((struct server *)owner)->reopen_count++;
	ctl_reply(rq, json_pack("{s:b}", "ok", 1));
}

/* The first time it goes well. */
static void run_reload(struct ctl_request *rq, const json_t *args, void *owner)
{
	static const char answer[] =
		"{\"ok\":true,\"reload\":{\"generation\":3,\"config\":\"/etc/x.conf\",\"took_ms\":12.4,"
		"\"workers\":{\"before\":2,\"after\":4},\"sites\":{\"before\":1,\"after\":1},"
		"\"routes\":{\"before\":2,\"after\":2},\"upstreams\":{\"before\":0,\"after\":1},"
		"\"listen\":{\"added\":[\"127.0.0.1:81\"],\"removed\":[]},\"moved\":20,"
		"\"draining\":{\"workers\":1,\"connections\":2},\"warnings\":[\"not now\"]}}";
	struct server *s = owner;

	if (s->reload_count++ == 0)
		ctl_reply(rq, json_loads(answer, 0, NULL));
	else
		ctl_reply(rq, json_pack("{s:b, s:s, s:s}", "ok", 0, "error", "1 error in 'x'", "details",
					"x:1: error: no\n    a = b\n"));
}

static const char *string_in(const json_t *args, const char *name)
{
	const char *text = json_string_value(json_object_get(args, name));

	return text ? text : "-";
}

/* As it is asked for; "/none" fails. */
static void run_upgrade(struct ctl_request *rq, const json_t *args, void *owner)
{
	static const char answer[] =
		"{\"ok\":true,\"upgrade\":{\"generation\":2,\"config\":\"\",\"took_ms\":45.6,"
		"\"binary\":\"/opt/sluice\",\"version\":\"9.9\",\"pid\":4321,"
		"\"workers\":{\"before\":2,\"after\":2},\"moved\":1,"
		"\"draining\":{\"workers\":0,\"connections\":0},\"warnings\":[]}}";
	struct server *s = owner;

	snprintf(s->asked, sizeof(s->asked), "%s %d", string_in(args, "binary"),
		 (int)json_integer_value(json_object_get(args, "timeout_ms")));
	if (strcmp(string_in(args, "binary"), "/none") == 0)
		ctl_reply(rq, json_pack("{s:b, s:s, s:s}", "ok", 0, "error", "it ended", "details", "a\nb\n"));
	else
		ctl_reply(rq, json_loads(answer, 0, NULL));
}

/* Knows the upstream "app" alone; "none" stands for a server without upstreams, "old" for one whose
 * answer says nothing. */
static void run_upstream(struct ctl_request *rq, const json_t *args, void *owner)
{
	static const char answer[] =
		"{\"ok\":true,\"upstreams\":[{\"name\":\"app\",\"balance\":\"least\",\"servers\":["
		"{\"server\":\"127.0.0.1:9001\",\"address\":\"127.0.0.1:9001\",\"state\":\"up\","
		"\"weight\":2,\"backup\":false,\"active\":3,\"connections\":4,\"requests\":5000,"
		"\"failures\":6,\"timeouts\":7,\"retries\":8,\"ejections\":9,"
		"\"check_error\":\"\"},"
		"{\"server\":\"app.internal:80\",\"address\":\"\",\"state\":\"unresolved\","
		"\"backup\":true,\"check_error\":\"no address\"}]},"
		"{\"name\":\"b\",\"balance\":\"rr\",\"servers\":[]}]}";
	const char *name = string_in(args, "upstream");
	struct server *s = owner;

	snprintf(s->asked, sizeof(s->asked), "%s %s %s", string_in(args, "action"), name,
		 string_in(args, "server"));
	if (strcmp(name, "none") == 0)
		ctl_reply(rq, json_pack("{s:b, s:[]}", "ok", 1, "upstreams"));
	else if (strcmp(name, "old") == 0)
		ctl_reply(rq, json_pack("{s:b}", "ok", 1));
	else if (strcmp(name, "-") == 0 || strcmp(name, "app") == 0)
		ctl_reply(rq, json_loads(answer, 0, NULL));
	else
		ctl_reply_error(rq, "there is no upstream '%s'", name);
}

static const struct ctl_command commands[] = {{"status", run_status},
					      {"stop", run_stop},
					      {"reopen", run_reopen},
					      {"reload", run_reload},
					      {"upgrade", run_upgrade},
					      {"upstream", run_upstream},
					      {NULL, NULL}};

static void *serve(void *arg)
{
	struct server *s = arg;

	while (!s->loop.is_stopping && !__atomic_load_n(&s->must_end, __ATOMIC_ACQUIRE))
		loop_turn(&s->loop, 5);
	ctl_close(s->ctl);
	loop_fini(&s->loop);
	return NULL;
}

static void server_start(struct fixture *f, struct server *s, const char *name, bool is_deaf)
{
	struct ctl_options opt = {.path = s->path, .commands = commands, .owner = s};
	char error[CTL_ERROR_TEXT];

	memset(s, 0, sizeof(*s));
	s->is_deaf = is_deaf;
	snprintf(s->path, sizeof(s->path), "%s/%s", f->folder, name);
	assert_int_equal(loop_init(&s->loop), 0);
	assert_int_equal(ctl_open(&s->loop, &opt, &s->ctl, error), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_end(struct server *s)
{
	__atomic_store_n(&s->must_end, true, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(s->thread, NULL), 0);
}

static void cli__shows_the_status(void **state)
{
	struct fixture *f = *state;
	struct server s;
	json_t *status;

	server_start(f, &s, "control.sock", false);
	call(f, "status --control @/control.sock");
	assert_int_equal(f->last.status, CLI_OK);
	assert_has(f->last.out, "sluice 7.7, pid 4711,");
	assert_has(f->last.out, "slot cpu     pid state");
	call(f, "--control @/control.sock status --json");
	assert_int_equal(f->last.status, CLI_OK);
	status = json_loads(f->last.out, 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(status, "pid")), 4711);
	json_decref(status);
	call(f, "reopen --control @/control.sock");
	assert_int_equal(f->last.status, CLI_OK);
	server_end(&s);
	assert_int_equal(s.reopen_count, 1);
}

static void cli__shows_upstreams(void **state)
{
	struct fixture *f = *state;
	struct server s;
	json_t *report;

	server_start(f, &s, "control.sock", false);
	call(f, "upstream --control @/control.sock");
	assert_int_equal(f->last.status, CLI_OK);
	assert_string_equal(s.asked, "show - -");
	assert_string_equal(f->last.out,
			    "upstream app, balance least\n"
			    "  server           address         state      weight active "
			    "connections   requests "
			    "failures timeouts retries ejections\n"
			    "  127.0.0.1:9001   127.0.0.1:9001  up              2      3           "
			    "4       5000 "
			    "       6        7       8         9\n"
			    "  app.internal:80                  unresolved      0      0           "
			    "0          0 "
			    "       0        0       0         0  backup  check: no address\n"
			    "\n"
			    "upstream b, balance rr\n"
			    "  server           address         state      weight active "
			    "connections   requests "
			    "failures timeouts retries ejections\n");
	call(f, "upstream show --json --control @/control.sock");
	assert_int_equal(f->last.status, CLI_OK);
	report = json_loads(f->last.out, 0, NULL);
	assert_int_equal(json_array_size(json_object_get(report, "upstreams")), 2);
	assert_null(json_object_get(report, "ok"));
	json_decref(report);
	server_end(&s);
}

static void cli__drains_a_server(void **state)
{
	struct fixture *f = *state;
	struct server s;

	server_start(f, &s, "control.sock", false);
	call(f, "upstream drain app 127.0.0.1:9001 --control @/control.sock");
	assert_int_equal(f->last.status, CLI_OK);
	assert_string_equal(s.asked, "drain app 127.0.0.1:9001");
	assert_has(f->last.out, "upstream app, balance least\n");
	call(f, "upstream undrain app unix:/x --control @/control.sock");
	assert_int_equal(f->last.status, CLI_OK);
	assert_string_equal(s.asked, "undrain app unix:/x");
	call(f, "upstream drain ap 127.0.0.1:9001 --control @/control.sock");
	assert_int_equal(f->last.status, CLI_FAILURE);
	assert_has(f->last.err, "sluice upstream: there is no upstream 'ap'\n");
	assert_string_equal(f->last.out, "");
	call(f, "upstream drain none x --control @/control.sock");
	assert_int_equal(f->last.status, CLI_OK);
	assert_string_equal(f->last.out, "there are no upstreams\n");
	call(f, "upstream drain old x --control @/control.sock");
	assert_int_equal(f->last.status, CLI_FAILURE);
	assert_has(f->last.err, "the server's answer holds no upstreams");
	server_end(&s);
}

static void cli__finds_the_server_of_a_configuration(void **state)
{
	struct fixture *f = *state;
	struct server s;

	f->is_root = false;
	server_start(f, &s, "sluice-8090.sock", false);
	call(f, "status -c @/right.conf");
	assert_int_equal(f->last.status, CLI_OK);
	assert_has(f->last.out, "pid 4711");
	server_end(&s);
}

static void cli__finds_the_only_server_of_a_user(void **state)
{
	struct fixture *f = *state;
	struct unix_listener dead;
	struct server one, two;
	const char *step;
	char path[128];

	f->is_root = false;
	if (access("/run/sluice/control.sock", F_OK) == 0)
		skip();
	/* The file of a dead server does not count. */
	snprintf(path, sizeof(path), "%s/sluice-1.sock", f->folder);
	assert_int_equal(unix_listen(&dead, path, 1, &step), 0);
	assert_int_equal(close(dead.fd), 0);
	call(f, "status");
	assert_int_equal(f->last.status, CLI_FAILURE);
	assert_has(f->last.err, "no sluice answers at '/run/sluice/control.sock'");
	server_start(f, &one, "sluice-8001.sock", false);
	call(f, "status");
	assert_int_equal(f->last.status, CLI_OK);
	assert_has(f->last.out, "pid 4711");
	server_start(f, &two, "sluice-8002.sock", false);
	call(f, "status");
	assert_int_equal(f->last.status, CLI_FAILURE);
	assert_has(f->last.err, "several servers run");
	assert_has(f->last.err, "/sluice-8001.sock\n");
	assert_has(f->last.err, "/sluice-8002.sock\n");
	server_end(&one);
	server_end(&two);
	unlink(path);
}

static void cli__stops_a_server(void **state)
{
	struct fixture *f = *state;
	struct server s;
	char expected[64];

	server_start(f, &s, "control.sock", false);
	call(f, "stop --control @/control.sock");
	snprintf(expected, sizeof(expected), "sluice (pid %d) has stopped\n", (int)getpid());
	assert_string_equal(f->last.out, expected);
	assert_int_equal(f->last.status, CLI_OK);
	/* The command returns only when the socket is gone. */
	assert_int_equal(access(s.path, F_OK), -1);
	server_end(&s);
	assert_false(s.was_hard);
	server_start(f, &s, "control.sock", false);
	call(f, "stop --now --control @/control.sock --timeout 1m");
	assert_int_equal(f->last.status, CLI_OK);
	server_end(&s);
	assert_true(s.was_hard);
}

static void cli__reloads(void **state)
{
	struct fixture *f = *state;
	struct server s;

	server_start(f, &s, "control.sock", false);
	call(f, "reload --control @/control.sock");
	assert_int_equal(f->last.status, CLI_OK);
	assert_string_equal(f->last.out, "/etc/x.conf: generation 3 serves after 12 ms\n"
					 "  listen     127.0.0.1:81 added\n"
					 "  workers    4, before 2\n"
					 "  sites      1\n"
					 "  routes     2\n"
					 "  upstreams  1, before 0\n"
					 "  moved      20 connections; 2 of old workers (1) end by themselves\n"
					 "  warning: not now\n");
	call(f, "reload --control @/control.sock");
	assert_int_equal(f->last.status, CLI_FAILURE);
	assert_string_equal(f->last.out, "");
	/* As sluice check prints it. */
	assert_string_equal(f->last.err, "x:1: error: no\n    a = b\nsluice reload: 1 error in 'x'\n");
	server_end(&s);
}

static void cli__upgrades(void **state)
{
	struct fixture *f = *state;
	char asked[PATH_MAX + 16], folder[PATH_MAX - 64];
	struct server s;

	server_start(f, &s, "control.sock", false);
	call(f, "upgrade --control @/control.sock");
	assert_int_equal(f->last.status, CLI_OK);
	assert_string_equal(s.asked, "- 30000");
	assert_has(f->last.out, "/opt/sluice (version 9.9, pid 4321) serves after 46 ms\n  workers    2\n");
	call(f, "upgrade --control @/control.sock --json --timeout 5s --binary /opt/new");
	assert_int_equal(f->last.status, CLI_OK);
	assert_string_equal(s.asked, "/opt/new 5000");
	assert_has(f->last.out, "\"pid\": 4321");
	/* The server may stand elsewhere. */
	call(f, "upgrade --control @/control.sock --binary new");
	assert_non_null(getcwd(folder, sizeof(folder)));
	snprintf(asked, sizeof(asked), "%s/new 30000", folder);
	assert_string_equal(s.asked, asked);
	call(f, "upgrade --control @/control.sock --binary /none");
	assert_int_equal(f->last.status, CLI_FAILURE);
	assert_string_equal(f->last.out, "");
	assert_string_equal(f->last.err, "a\nb\nsluice upgrade: it ended\n");
	call(f, "upgrade --control @/control.sock --binary");
	assert_int_equal(f->last.status, CLI_USAGE);
	server_end(&s);
}

static void cli__gives_up_on_a_slow_stop(void **state)
{
	struct fixture *f = *state;
	struct server s;

	server_start(f, &s, "control.sock", true);
	call(f, "stop --control @/control.sock --timeout 30ms");
	assert_int_equal(f->last.status, CLI_FAILURE);
	assert_has(f->last.err, "is still stopping after 0.03 s");
	assert_string_equal(f->last.out, "");
	server_end(&s);
}

#define cli_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cli_test(cli__refuses_wrong_usage),
		cli_test(cli__bears_an_overlong_word),
		cli_test(cli__helps),
		cli_test(cli__prints_the_version),
		cli_test(cli__fails_when_the_output_cannot_be_written),
		cli_test(cli__checks_a_configuration),
		cli_test(cli__runs_a_configuration),
		cli_test(cli__serves_a_folder),
		cli_test(cli__proxies_to_a_server),
		cli_test(cli__gives_other_users_a_socket_of_their_own),
		cli_test(cli__says_that_no_server_answers),
		cli_test(cli__shows_the_status),
		cli_test(cli__shows_upstreams),
		cli_test(cli__drains_a_server),
		cli_test(cli__finds_the_server_of_a_configuration),
		cli_test(cli__finds_the_only_server_of_a_user),
		cli_test(cli__stops_a_server),
		cli_test(cli__reloads),
		cli_test(cli__upgrades),
		cli_test(cli__gives_up_on_a_slow_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
