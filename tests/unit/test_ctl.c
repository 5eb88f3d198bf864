/* SPDX-License-Identifier: MIT */
/*
 * The control socket: server in this thread's loop, clients as raw non-blocking descriptors; the
 * blocking client of the command line runs in a thread of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "net/unix_sock.h"
#include "proc/ctl.h"
#include "proc/ctl_client.h"

#define TIMEOUT_MS 30000
#define TURNS	   8

struct fixture {
	char folder[64];
	char path[96];
	struct loop loop;
	struct ctl *ctl;
	struct ctl_request *deferred[64];
	unsigned deferred_count;
	unsigned run_count;
};

static void run_echo(struct ctl_request *rq, const json_t *args, void *owner)
{
	struct fixture *f = owner;

	f->run_count++;
	ctl_reply(rq, json_pack("{s:b, s:O}", "ok", 1, "text", json_object_get(args, "text")));
}

static void run_defer(struct ctl_request *rq, const json_t *args, void *owner)
{
	struct fixture *f = owner;

	f->deferred[f->deferred_count++] = rq;
}

/* `length` bytes of text. */
static void run_fill(struct ctl_request *rq, const json_t *args, void *owner)
{
	size_t len = (size_t)json_integer_value(json_object_get(args, "length"));
	char *text = malloc(len + 1);

	memset(text, 'x', len);
	text[len] = '\0';
	ctl_reply(rq, json_pack("{s:b, s:s}", "ok", 1, "text", text));
	free(text);
}

static void run_fail(struct ctl_request *rq, const json_t *args, void *owner)
{
	ctl_reply_error(rq, "cannot open '%s': %d", "\xff\xfe", 7);
}

static void run_nothing(struct ctl_request *rq, const json_t *args, void *owner)
{
	ctl_reply(rq, NULL);
}

static const struct ctl_command commands[] = {
	{"echo", run_echo}, {"defer", run_defer},     {"fill", run_fill},
	{"fail", run_fail}, {"nothing", run_nothing}, {NULL, NULL},
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char error[CTL_ERROR_TEXT] = "";
	struct ctl_options opt = {
		.commands = commands, .owner = f, .client_max = 4, .timeout_ms = TIMEOUT_MS};

	snprintf(f->folder, sizeof(f->folder), "/tmp/sluice-test-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof(f->path), "%s/run/control.sock", f->folder);
	opt.path = f->path;
	assert_int_equal(loop_init(&f->loop), 0);
	assert_int_equal(ctl_open(&f->loop, &opt, &f->ctl, error), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char folder[80];

	ctl_close(f->ctl);
	loop_fini(&f->loop);
	assert_int_equal(access(f->path, F_OK), -1);
	snprintf(folder, sizeof(folder), "%s/run", f->folder);
	rmdir(folder);
	assert_int_equal(rmdir(f->folder), 0);
	free(f);
	return 0;
}

static void turn(struct fixture *f)
{
	for (int i = 0; i < TURNS; i++)
		assert_int_equal(loop_turn(&f->loop, 0), 0);
}

/* Time passes for the loop, not for the test (--wrap=clock_gettime). */
static uint64_t ahead_ms;

int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
	int result = __real_clock_gettime(clock, ts);

	ts->tv_sec += (time_t)(ahead_ms / 1000);
	return result;
}

static void pass_ms(struct fixture *f, uint64_t ms)
{
	turn(f);
	ahead_ms += ms;
	turn(f);
}

static int dial(struct fixture *f)
{
	int fd = unix_connect(f->path, 1000);

	assert_true(fd >= 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(unix_write(fd, text, strlen(text)), strlen(text));
}

/* Everything the server sent so far; *ret_end: it has ended the connection. */
static size_t hear(struct fixture *f, int fd, char *out, size_t room, bool *ret_end)
{
	size_t len = 0;
	ssize_t got;

	*ret_end = false;
	for (;;) {
		turn(f);
		got = unix_read(fd, out + len, room - 1 - len);
		if (got <= 0)
			break;
		len += (size_t)got;
	}
	/* ECONNRESET: the server closed with bytes of ours unread. */
	*ret_end = got == 0 || got == -ECONNRESET;
	out[len] = '\0';
	return len;
}

/* Exactly this answer, then the end. */
static void expect_answer(struct fixture *f, int fd, const char *answer)
{
	char out[4096];
	bool is_end;

	hear(f, fd, out, sizeof(out), &is_end);
	assert_string_equal(out, answer);
	assert_true(is_end);
}

static void expect_silence(struct fixture *f, int fd)
{
	char out[256];
	bool is_end;

	assert_int_equal(hear(f, fd, out, sizeof(out), &is_end), 0);
	assert_false(is_end);
}

static unsigned open_descriptors(void)
{
	unsigned count = 0;
	DIR *dir = opendir("/proc/self/fd");

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void ctl__answers_a_command(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f);

	say(fd, "{\"command\":\"echo\",\"text\":\"a\\nb\"}\n");
	expect_answer(f, fd, "{\"ok\":true,\"text\":\"a\\nb\"}\n");
	close(fd);
	assert_int_equal(ctl_stats(f->ctl)->answered, 1);
	assert_int_equal(ctl_stats(f->ctl)->client_count, 0);
}

static void ctl__makes_a_private_socket(void **state)
{
	struct fixture *f = *state;
	char folder[80];
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0600);
	snprintf(folder, sizeof(folder), "%s/run", f->folder);
	assert_int_equal(stat(folder, &st), 0);
	assert_int_equal(st.st_mode & 07777 & ~022, 0755 & ~022);
}

static void ctl__refuses_bad_questions(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *line, *error;
	} cases[] = {
		{"\n", "malformed JSON"},
		{"{\"command\":\"echo\"\n", "malformed JSON"},
		{"{\"command\":\"echo\"} x\n", "malformed JSON"},
		{"{\"command\":\"echo\",\"command\":\"fail\"}\n", "malformed JSON"},
		{"{\"command\":\"ec\\u0000ho\"}\n", "malformed JSON"},
		{"{\"command\":\"\xff\"}\n", "malformed JSON"},
		{"{}\n", "expected an object"},
		{"[]\n", "expected an object"},
		{"[\"command\",\"echo\"]\n", "expected an object"},
		{"{\"command\":7}\n", "expected an object"},
		{"{\"command\":null}\n", "expected an object"},
		{"{\"command\":\"ecko\"}\n", "unknown command 'ecko', did you mean 'echo'?"},
		{"{\"command\":\"\"}\n", "unknown command ''"},
		{"{\"command\":\"frobnicate\"}\n", "unknown command 'frobnicate'"},
		{"{\"command\":\"%s%n\"}\n", "unknown command '%s%n'"},
		{"{\"command\":\"fail\"}\n", "not valid UTF-8"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char out[4096];
		bool is_end;
		int fd = dial(f);
		json_t *answer;

		say(fd, cases[i].line);
		hear(f, fd, out, sizeof(out), &is_end);
		assert_true(is_end);
		answer = json_loads(out, 0, NULL);
		assert_true(json_is_false(json_object_get(answer, "ok")));
		assert_non_null(strstr(json_string_value(json_object_get(answer, "error")),
				       cases[i].error));
		json_decref(answer);
		close(fd);
	}
	assert_int_equal(f->run_count, 0);
}

static void ctl__survives_deep_nesting(void **state)
{
	struct fixture *f = *state;
	char *line = malloc(CTL_QUESTION_MAX);
	char out[4096];
	bool is_end;
	size_t sent = 0;
	int fd = dial(f);

	memset(line, '[', CTL_QUESTION_MAX - 1);
	line[CTL_QUESTION_MAX - 1] = '\n';
	while (sent < CTL_QUESTION_MAX) {
		ssize_t n = unix_write(fd, line + sent, CTL_QUESTION_MAX - sent);

		assert_true(n > 0 || n == -EAGAIN);
		sent += n > 0 ? (size_t)n : 0;
		turn(f);
	}
	hear(f, fd, out, sizeof(out), &is_end);
	assert_non_null(strstr(out, "malformed JSON"));
	close(fd);
	free(line);
}

static void ctl__takes_a_line_in_pieces(void **state)
{
	struct fixture *f = *state;
	const char *line = "{\"command\":\"echo\",\"text\":1}\n";
	int fd = dial(f);

	for (const char *c = line; *c; c++) {
		assert_int_equal(unix_write(fd, c, 1), 1);
		if (c[1])
			expect_silence(f, fd);
	}
	expect_answer(f, fd, "{\"ok\":true,\"text\":1}\n");
	close(fd);
}

static void ctl__takes_the_end_of_a_half_for_a_newline(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f), cut = dial(f), empty = dial(f);
	char out[256];
	bool is_end;

	say(fd, "{\"command\":\"echo\",\"text\":2}");
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	expect_answer(f, fd, "{\"ok\":true,\"text\":2}\n");
	say(cut, "{\"command\":\"ec");
	assert_int_equal(shutdown(cut, SHUT_WR), 0);
	hear(f, cut, out, sizeof(out), &is_end);
	assert_non_null(strstr(out, "malformed JSON"));
	assert_int_equal(shutdown(empty, SHUT_WR), 0);
	expect_answer(f, empty, "");
	close(fd);
	close(cut);
	close(empty);
}

static void ctl__ignores_what_follows_the_line(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f);

	say(fd, "{\"command\":\"echo\",\"text\":1}\n{\"command\":\"echo\",\"text\":2}\n");
	expect_answer(f, fd, "{\"ok\":true,\"text\":1}\n");
	assert_int_equal(f->run_count, 1);
	close(fd);
}

/* Sends `len` bytes that are no newline, or as many as the server takes. */
static void flood(struct fixture *f, int fd, size_t len)
{
	char chunk[4096];

	memset(chunk, 'a', sizeof(chunk));
	while (len > 0) {
		ssize_t n = unix_write(fd, chunk, MIN(len, sizeof(chunk)));

		if (n == -EPIPE || n == -ECONNRESET)
			return;
		assert_true(n > 0 || n == -EAGAIN);
		len -= n > 0 ? (size_t)n : 0;
		turn(f);
	}
}

static void ctl__refuses_a_line_that_is_too_long(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f);

	flood(f, fd, CTL_QUESTION_MAX - 1);
	expect_silence(f, fd);
	flood(f, fd, 100000);
	expect_answer(f, fd, "{\"ok\":false,\"error\":\"line too long: at most 65536 bytes\"}\n");
	close(fd);
}

static void ctl__sends_long_answers_to_slow_readers(void **state)
{
	struct fixture *f = *state;
	size_t room = CTL_LINE_MAX + 4096, len;
	char *out = malloc(room);
	bool is_end;
	int fd = dial(f);

	/* More than a socket's buffer takes at once, so that EPOLLOUT has to bring the rest. */
	say(fd, "{\"command\":\"fill\",\"length\":1048000}\n");
	turn(f);
	assert_int_equal(ctl_stats(f->ctl)->answered, 0);
	len = hear(f, fd, out, room, &is_end);
	assert_int_equal(len, 1048000 + strlen("{\"ok\":true,\"text\":\"\"}\n"));
	assert_true(is_end);
	assert_int_equal(out[len - 1], '\n');
	close(fd);
	fd = dial(f);
	say(fd, "{\"command\":\"fill\",\"length\":4194304}\n");
	expect_answer(f, fd, "{\"ok\":false,\"error\":\"the answer is too long\"}\n");
	close(fd);
	free(out);
}

static void ctl__gives_up_on_who_does_not_finish_a_line(void **state)
{
	struct fixture *f = *state;
	int silent = dial(f), slow = dial(f), good;

	say(slow, "{\"command\":");
	pass_ms(f, TIMEOUT_MS - 5000);
	expect_silence(f, silent);
	/* Another byte does not buy more time. */
	say(slow, "\"");
	expect_silence(f, slow);
	pass_ms(f, 5000);
	expect_answer(f, silent, "{\"ok\":false,\"error\":\"no whole line within 30000 ms\"}\n");
	expect_answer(f, slow, "{\"ok\":false,\"error\":\"no whole line within 30000 ms\"}\n");
	assert_int_equal(ctl_stats(f->ctl)->timeouts, 2);
	assert_int_equal(ctl_stats(f->ctl)->client_count, 0);
	good = dial(f);
	say(good, "{\"command\":\"echo\",\"text\":1}\n");
	expect_answer(f, good, "{\"ok\":true,\"text\":1}\n");
	close(silent);
	close(slow);
	close(good);
}

static void ctl__gives_up_on_who_does_not_read(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f);

	say(fd, "{\"command\":\"fill\",\"length\":1048000}\n");
	turn(f);
	assert_int_equal(ctl_stats(f->ctl)->client_count, 1);
	pass_ms(f, TIMEOUT_MS);
	assert_int_equal(ctl_stats(f->ctl)->client_count, 0);
	assert_int_equal(ctl_stats(f->ctl)->timeouts, 1);
	close(fd);
}

static void ctl__defers_an_answer(void **state)
{
	struct fixture *f = *state;
	int slow = dial(f), quick;

	say(slow, "{\"command\":\"defer\"}\n");
	expect_silence(f, slow);
	/* No time limit while the command runs, and others are served meanwhile. */
	pass_ms(f, 100 * TIMEOUT_MS);
	expect_silence(f, slow);
	quick = dial(f);
	say(quick, "{\"command\":\"echo\",\"text\":1}\n");
	expect_answer(f, quick, "{\"ok\":true,\"text\":1}\n");
	assert_int_equal(f->deferred_count, 1);
	ctl_reply(f->deferred[0], json_pack("{s:b}", "ok", 1));
	expect_answer(f, slow, "{\"ok\":true}\n");
	close(slow);
	close(quick);
}

static void ctl__drops_the_answer_of_who_left(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f);

	say(fd, "{\"command\":\"defer\"}\n");
	turn(f);
	close(fd);
	turn(f);
	assert_int_equal(ctl_stats(f->ctl)->abandoned, 1);
	assert_int_equal(ctl_stats(f->ctl)->client_count, 1);
	ctl_reply(f->deferred[0], json_pack("{s:b}", "ok", 1));
	turn(f);
	assert_int_equal(ctl_stats(f->ctl)->client_count, 0);
	assert_int_equal(ctl_stats(f->ctl)->answered, 0);
}

static void ctl__runs_the_command_of_who_left_at_once(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f);

	say(fd, "{\"command\":\"echo\",\"text\":1}\n");
	close(fd);
	fd = dial(f);
	say(fd, "{\"command\":\"defer\"}\n");
	close(fd);
	fd = dial(f);
	say(fd, "{\"comm");
	close(fd);
	close(dial(f));
	turn(f);
	assert_int_equal(f->run_count, 1);
	assert_int_equal(f->deferred_count, 1);
	assert_int_equal(ctl_stats(f->ctl)->client_count, 1);
	ctl_reply_error(f->deferred[0], "too late");
	assert_int_equal(ctl_stats(f->ctl)->client_count, 0);
	assert_int_equal(ctl_stats(f->ctl)->answered, 0);
}

static void ctl__limits_the_clients(void **state)
{
	struct fixture *f = *state;
	unsigned before = open_descriptors();
	int fds[40], fd;

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = dial(f);
	turn(f);
	assert_int_equal(ctl_stats(f->ctl)->client_count, 4);
	assert_int_equal(ctl_stats(f->ctl)->refused, 36);
	expect_answer(f, fds[39], "{\"ok\":false,\"error\":\"too many clients at once\"}\n");
	say(fds[0], "{\"command\":\"echo\",\"text\":1}\n");
	expect_answer(f, fds[0], "{\"ok\":true,\"text\":1}\n");
	fd = dial(f);
	say(fd, "{\"command\":\"echo\",\"text\":2}\n");
	expect_answer(f, fd, "{\"ok\":true,\"text\":2}\n");
	close(fd);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	turn(f);
	assert_int_equal(ctl_stats(f->ctl)->client_count, 0);
	assert_int_equal(open_descriptors(), before);
}

static void ctl__closes_without_an_answer_when_memory_ran_out(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f);

	say(fd, "{\"command\":\"nothing\"}\n");
	expect_answer(f, fd, "");
	close(fd);
}

static void ctl__holds_the_last_answers_connection_to_the_end(void **state)
{
	struct fixture *f = *state;
	char out[64];
	bool is_end;
	int fd = dial(f), gone = dial(f);

	say(fd, "{\"command\":\"defer\"}\n");
	say(gone, "{\"command\":\"defer\"}\n");
	turn(f);
	ctl_reply_last(f->deferred[0], json_pack("{s:b}", "ok", 1));
	ctl_reply_last(f->deferred[1], json_pack("{s:b}", "ok", 1));
	hear(f, fd, out, sizeof(out), &is_end);
	assert_string_equal(out, "{\"ok\":true}\n");
	assert_false(is_end);
	pass_ms(f, 100 * TIMEOUT_MS);
	expect_silence(f, fd);
	assert_int_equal(ctl_stats(f->ctl)->client_count, 2);
	close(gone);
	turn(f);
	assert_int_equal(ctl_stats(f->ctl)->client_count, 1);
	ctl_close(f->ctl);
	f->ctl = NULL;
	expect_answer(f, fd, "");
	assert_int_equal(access(f->path, F_OK), -1);
	close(fd);
}

static void ctl__close_ends_clients_in_every_state(void **state)
{
	struct fixture *f = *state;
	unsigned before = open_descriptors();
	int reading = dial(f), running = dial(f), writing = dial(f), orphan = dial(f);

	say(running, "{\"command\":\"defer\"}\n");
	say(orphan, "{\"command\":\"defer\"}\n");
	say(reading, "{\"comm");
	say(writing, "{\"command\":\"fill\",\"length\":1048000}\n");
	turn(f);
	close(orphan);
	turn(f);
	assert_int_equal(ctl_stats(f->ctl)->client_count, 4);
	ctl_close(f->ctl);
	f->ctl = NULL;
	turn(f);
	close(reading);
	close(running);
	close(writing);
	assert_int_equal(open_descriptors(), before - 1); /* the listening one is gone too */
}

static int open_second(struct fixture *f, const char *path, struct ctl **ret_ctl,
		       char error[CTL_ERROR_TEXT])
{
	const struct ctl_options opt = {.path = path, .commands = commands, .owner = f};

	return ctl_open(&f->loop, &opt, ret_ctl, error);
}

static void ctl__refuses_the_place_of_a_live_server(void **state)
{
	struct fixture *f = *state;
	char error[CTL_ERROR_TEXT] = "";
	struct ctl *second = NULL;
	int fd;

	assert_int_equal(open_second(f, f->path, &second, error), -EADDRINUSE);
	assert_non_null(strstr(error, "another sluice answers at '/tmp/sluice-test-"));
	assert_non_null(strstr(error, "--control PATH"));
	assert_null(second);
	fd = dial(f);
	say(fd, "{\"command\":\"echo\",\"text\":1}\n");
	expect_answer(f, fd, "{\"ok\":true,\"text\":1}\n");
	close(fd);
}

static void ctl__replaces_the_socket_of_a_dead_server(void **state)
{
	struct fixture *f = *state;
	char error[CTL_ERROR_TEXT] = "", path[128];
	struct unix_listener dead;
	const char *step;
	struct ctl *second = NULL;

	snprintf(path, sizeof(path), "%s/dead.sock", f->folder);
	assert_int_equal(unix_listen(&dead, path, 1, &step), 0);
	close(dead.fd);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(open_second(f, path, &second, error), 0);
	ctl_close(second);
	turn(f);
	assert_int_equal(access(path, F_OK), -1);
}

static void ctl__leaves_its_successors_socket(void **state)
{
	struct fixture *f = *state;
	char error[CTL_ERROR_TEXT] = "";
	struct ctl *second = NULL;

	/* Somebody removed the file of a live server, and the next one made its own there. */
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(open_second(f, f->path, &second, error), 0);
	ctl_close(f->ctl);
	turn(f);
	f->ctl = second;
	assert_int_equal(access(f->path, F_OK), 0);
}

static void ctl__leaves_other_files_alone(void **state)
{
	struct fixture *f = *state;
	char error[CTL_ERROR_TEXT] = "", path[128], text[8] = "";
	struct ctl *second = NULL;
	int fd;

	snprintf(path, sizeof(path), "%s/precious", f->folder);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	assert_int_equal(write(fd, "data", 4), 4);
	assert_int_equal(open_second(f, path, &second, error), -ENOTSOCK);
	assert_non_null(strstr(error, "another kind of file"));
	assert_int_equal(pread(fd, text, sizeof(text), 0), 4);
	close(fd);
	assert_int_equal(unlink(path), 0);
}

static void ctl__names_what_is_wrong_with_a_path(void **state)
{
	struct fixture *f = *state;
	char error[CTL_ERROR_TEXT], longer[200];
	struct ctl *second = NULL;

	memset(longer, 'a', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(open_second(f, longer, &second, error), -ENAMETOOLONG);
	assert_non_null(strstr(error, "File name too long"));
	assert_int_equal(open_second(f, "", &second, error), -ENOENT);
	assert_int_equal(open_second(f, "/nonexistent-sluice/deeper/x.sock", &second, error),
			 -ENOENT);
	assert_non_null(strstr(error, "mkdir: No such file or directory"));
	assert_int_equal(open_second(f, "/dev/null/x.sock", &second, error), -ENOTDIR);
}

static void ctl__child_abandons_without_harm(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f), status;
	pid_t pid;

	turn(f);
	pid = fork();
	if (pid == 0) {
		ctl_abandon(f->ctl);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	say(fd, "{\"command\":\"echo\",\"text\":1}\n");
	expect_answer(f, fd, "{\"ok\":true,\"text\":1}\n");
	close(fd);
}

/* The blocking client, in a thread of its own while this one turns the loop. */
struct asker {
	struct fixture *f;
	const char *command;
	uint64_t timeout_ms;
	struct ctl_client client;
	json_t *answer;
	int result, end_result;
	bool waits_for_end, is_done;
};

static void *ask(void *arg)
{
	struct asker *a = arg;

	a->result = ctl_client_ask(&a->client, a->f->path, a->command, &a->answer, a->timeout_ms);
	if (a->waits_for_end)
		a->end_result = ctl_client_wait_end(&a->client, a->timeout_ms);
	ctl_client_close(&a->client);
	__atomic_store_n(&a->is_done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void finish_asking(struct asker *a, pthread_t thread)
{
	while (!__atomic_load_n(&a->is_done, __ATOMIC_ACQUIRE))
		assert_int_equal(loop_turn(&a->f->loop, 1), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void ctl_client__asks_and_hears(void **state)
{
	struct asker a = {.f = *state, .command = "echo", .timeout_ms = 10000};
	pthread_t thread;

	a.waits_for_end = true;
	a.end_result = -1;
	assert_int_equal(pthread_create(&thread, NULL, ask, &a), 0);
	finish_asking(&a, thread);
	/* "text" is missing in the question, so the command has nothing to answer with and just
	 * closes. */
	assert_int_equal(a.result, -EPIPE);
	assert_non_null(strstr(a.client.error, "left without an answer"));
	assert_int_equal(a.end_result, 0);
}

static void ctl_client__passes_on_the_servers_error(void **state)
{
	struct asker a = {.f = *state, .command = "stpo", .timeout_ms = 10000};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, ask, &a), 0);
	finish_asking(&a, thread);
	assert_int_equal(a.result, -EREMOTEIO);
	assert_string_equal(a.client.error, "unknown command 'stpo'");
}

static void ctl_client__waits_for_the_end(void **state)
{
	struct fixture *f = *state;
	struct asker a = {.f = f, .command = "defer", .timeout_ms = 10000};
	pthread_t thread;

	a.waits_for_end = true;
	a.end_result = -1;
	assert_int_equal(pthread_create(&thread, NULL, ask, &a), 0);
	while (f->deferred_count == 0)
		assert_int_equal(loop_turn(&f->loop, 1), 0);
	ctl_reply_last(f->deferred[0], json_pack("{s:b, s:s}", "ok", 1, "note", "bye"));
	ctl_close(f->ctl);
	f->ctl = NULL;
	finish_asking(&a, thread);
	assert_int_equal(a.result, 0);
	assert_int_equal(a.client.pid, getpid());
	assert_string_equal(json_string_value(json_object_get(a.answer, "note")), "bye");
	assert_int_equal(a.end_result, 0);
	json_decref(a.answer);
}

/* A server whose connection ends while its process lives: the pipe says when it may exit. */
static pid_t fork_lingering_server(struct fixture *f, const char *path, int gate[2])
{
	struct ctl *second = NULL;
	char error[CTL_ERROR_TEXT];
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		/* A loop of its own: that of the parent is shared. */
		close(gate[1]);
		if (loop_init(&f->loop) < 0 || open_second(f, path, &second, error) < 0)
			_exit(1);
		(void)!write(ready[1], "x", 1);
		while (f->deferred_count == 0)
			loop_turn(&f->loop, -1);
		ctl_reply_last(f->deferred[0], json_pack("{s:b}", "ok", 1));
		ctl_close(second);
		(void)!read(gate[0], &byte, 1);
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void ctl_client__waits_for_the_exit(void **state)
{
	struct fixture *f = *state;
	struct ctl_client c;
	json_t *answer = NULL;
	char path[128];
	int gate[2], status;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/lingering.sock", f->folder);
	assert_int_equal(pipe(gate), 0);
	pid = fork_lingering_server(f, path, gate);
	assert_int_equal(ctl_client_ask(&c, path, "defer", &answer, 10000), 0);
	json_decref(answer);
	assert_int_equal(c.pid, pid);
	if (c.pid_fd < 0)
		print_message("no pidfd_open here: the exit cannot be waited for\n");
	else
		assert_int_equal(ctl_client_wait_end(&c, 50), -ETIMEDOUT);
	close(gate[0]);
	close(gate[1]);
	assert_int_equal(ctl_client_wait_end(&c, 10000), 0);
	ctl_client_close(&c);
	/* It has exited: there is nothing to wait for. */
	assert_int_equal(waitpid(pid, &status, c.pid_fd < 0 ? 0 : WNOHANG), pid);
	assert_int_equal(status, 0);
}

static void ctl_client__gives_up_in_time(void **state)
{
	struct fixture *f = *state;
	struct asker a = {.f = f, .command = "defer", .timeout_ms = 20};

	ask(&a); /* nobody turns the loop */
	assert_int_equal(a.result, -ETIMEDOUT);
	assert_non_null(strstr(a.client.error, "does not answer in time"));
	turn(f);
	if (f->deferred_count)
		ctl_reply_error(f->deferred[0], "late");
}

static void ctl_client__gives_up_on_a_full_queue(void **state)
{
	struct fixture *f = *state;
	struct ctl_client c;
	struct unix_listener busy, second;
	const char *step;
	char path[128];
	int fds[2];

	snprintf(path, sizeof(path), "%s/busy.sock", f->folder);
	assert_int_equal(unix_listen(&busy, path, 1, &step), 0);
	fds[0] = unix_connect(path, 1000);
	fds[1] = unix_connect(path, 1000);
	assert_true(fds[0] >= 0 && fds[1] >= 0);
	assert_int_equal(ctl_client_open(&c, path, 20), -ETIMEDOUT);
	assert_non_null(strstr(c.error, "does not answer in time"));
	/* A full queue is a sign of life. */
	assert_int_equal(unix_listen(&second, path, 1, &step), -EADDRINUSE);
	close(fds[0]);
	close(fds[1]);
	unix_unlisten(&busy);
}

static void ctl_client__says_that_nobody_is_there(void **state)
{
	struct ctl_client c;
	struct fixture *f = *state;
	struct unix_listener dead;
	const char *step;
	char path[128];
	int fd;

	assert_int_equal(ctl_client_open(&c, "/nonexistent/control.sock", 100), -ENOENT);
	assert_string_equal(c.error, "no sluice answers at '/nonexistent/control.sock': "
				     "No such file or directory; is it running?");
	ctl_client_close(&c);
	snprintf(path, sizeof(path), "%s/dead.sock", f->folder);
	assert_int_equal(unix_listen(&dead, path, 1, &step), 0);
	fd = dead.fd;
	assert_int_equal(shutdown(fd, SHUT_RDWR), 0);
	assert_int_equal(ctl_client_open(&c, path, 100), -ECONNREFUSED);
	assert_non_null(strstr(c.error, "Connection refused; is it running?"));
	unix_unlisten(&dead);
}

/* An upgrade: another process has the socket, and with it whoever has not asked yet. */
struct move {
	struct ctl *to;
	bool must_fail;
	unsigned count;
};

static int give_client(void *ctx, int fd, const char *text, size_t len)
{
	struct move *m = ctx;

	m->count++;
	if (m->must_fail)
		return -EAGAIN;
	ctl_take(m->to, dup(fd), text, len);
	return 0;
}

static void ctl__goes_to_another_master(void **state)
{
	struct fixture *f = *state;
	struct ctl_options opt = {.path = f->path, .commands = commands, .owner = f, .timeout_ms = TIMEOUT_MS};
	struct move move = {0};
	char error[CTL_ERROR_TEXT];
	int early = dial(f), half = dial(f), waiting = dial(f), late;
	struct ctl *old = f->ctl;

	say(half, "{\"command\":\"echo\",\"te");
	say(waiting, "{\"command\":\"defer\"}\n");
	turn(f);
	assert_int_equal(ctl_adopt(&f->loop, &opt, dup(ctl_fd(old)), &move.to, error), 0);
	ctl_leave(old, give_client, &move);
	assert_int_equal(move.count, 2);
	say(early, "{\"command\":\"echo\",\"text\":\"a\"}\n");
	expect_answer(f, early, "{\"ok\":true,\"text\":\"a\"}\n");
	say(half, "xt\":\"b\"}\n");
	expect_answer(f, half, "{\"ok\":true,\"text\":\"b\"}\n");
	late = dial(f);
	say(late, "{\"command\":\"echo\",\"text\":\"c\"}\n");
	expect_answer(f, late, "{\"ok\":true,\"text\":\"c\"}\n");
	/* Who has asked the old one hears it. */
	ctl_reply_error(f->deferred[0], "no");
	expect_answer(f, waiting, "{\"ok\":false,\"error\":\"no\"}\n");
	ctl_close(old);
	assert_int_equal(access(f->path, F_OK), 0);
	f->ctl = move.to;
	close(early);
	close(half);
	close(waiting);
	close(late);
}

static void ctl__leaves_nobody_waiting(void **state)
{
	struct fixture *f = *state;
	struct move move = {.must_fail = true};
	int fd = dial(f);

	turn(f);
	ctl_leave(f->ctl, give_client, &move);
	expect_answer(f, fd, "");
	assert_int_equal(move.count, 1);
	/* The file is another's; here nobody has taken it. */
	assert_int_equal(unlink(f->path), 0);
	close(fd);
}

#define ctl_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ctl_test(ctl__answers_a_command),
		ctl_test(ctl__makes_a_private_socket),
		ctl_test(ctl__refuses_bad_questions),
		ctl_test(ctl__survives_deep_nesting),
		ctl_test(ctl__takes_a_line_in_pieces),
		ctl_test(ctl__takes_the_end_of_a_half_for_a_newline),
		ctl_test(ctl__ignores_what_follows_the_line),
		ctl_test(ctl__refuses_a_line_that_is_too_long),
		ctl_test(ctl__sends_long_answers_to_slow_readers),
		ctl_test(ctl__gives_up_on_who_does_not_finish_a_line),
		ctl_test(ctl__gives_up_on_who_does_not_read),
		ctl_test(ctl__defers_an_answer),
		ctl_test(ctl__drops_the_answer_of_who_left),
		ctl_test(ctl__runs_the_command_of_who_left_at_once),
		ctl_test(ctl__limits_the_clients),
		ctl_test(ctl__closes_without_an_answer_when_memory_ran_out),
		ctl_test(ctl__holds_the_last_answers_connection_to_the_end),
		ctl_test(ctl__goes_to_another_master),
		ctl_test(ctl__leaves_nobody_waiting),
		ctl_test(ctl__close_ends_clients_in_every_state),
		ctl_test(ctl__refuses_the_place_of_a_live_server),
		ctl_test(ctl__replaces_the_socket_of_a_dead_server),
		ctl_test(ctl__leaves_its_successors_socket),
		ctl_test(ctl__leaves_other_files_alone),
		ctl_test(ctl__names_what_is_wrong_with_a_path),
		ctl_test(ctl__child_abandons_without_harm),
		ctl_test(ctl_client__asks_and_hears),
		ctl_test(ctl_client__passes_on_the_servers_error),
		ctl_test(ctl_client__waits_for_the_end),
		ctl_test(ctl_client__waits_for_the_exit),
		ctl_test(ctl_client__gives_up_in_time),
		ctl_test(ctl_client__gives_up_on_a_full_queue),
		ctl_test(ctl_client__says_that_nobody_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
