/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/log.h"

static int pipe_fds[2];
static unsigned write_count;
static unsigned interrupt_count; /* so many writes to come fail with EINTR */
static int write_error;

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
	write_count++;
	if (interrupt_count) {
		interrupt_count--;
		errno = EINTR;
		return -1;
	}
	if (write_error) {
		errno = write_error;
		return -1;
	}
	return __real_write(fd, data, len);
}

static int setup(void **state)
{
	assert_int_equal(pipe(pipe_fds), 0);
	log_set_fd(pipe_fds[1]);
	log_set_name("worker 3");
	log_set_level(LOG_INFO);
	write_count = 0;
	return 0;
}

static int teardown(void **state)
{
	log_set_fd(-1);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return 0;
}

/* What was logged since; "" when nothing was. */
static const char *logged(void)
{
	static char text[65536];
	ssize_t len;

	/* A mark makes the pipe readable without waiting. */
	assert_int_equal(__real_write(pipe_fds[1], "\x01", 1), 1);
	len = read(pipe_fds[0], text, sizeof(text) - 1);
	assert_true(len > 0 && text[len - 1] == '\x01');
	text[len - 1] = '\0';
	return text;
}

static void assert_matches(const char *text, const char *pattern)
{
	regex_t regex;

	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&regex, text, 0, NULL, 0) != 0)
		fail_msg("'%s' does not match '%s'", text, pattern);
	regfree(&regex);
}

#define STAMP "^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z "

static void log__writes_one_line_in_one_write(void **state)
{
	char pattern[256];

	log_error("cannot bind '%s': %s", "127.0.0.1:80", strerror(EACCES));
	snprintf(pattern, sizeof(pattern),
		 STAMP "worker 3\\[%d\\] error: cannot bind '127.0.0.1:80': Permission denied\n$",
		 (int)getpid());
	assert_matches(logged(), pattern);
	assert_int_equal(write_count, 1);
	log_warn("a");
	assert_matches(logged(), "\\] warn: a\n$");
	log_info("b");
	assert_matches(logged(), "\\] info: b\n$");
}

static void log__keeps_to_its_level(void **state)
{
	for (int threshold = LOG_ERROR; threshold <= LOG_DEBUG; threshold++) {
		log_set_level((enum log_level)threshold);
		for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
			log_at((enum log_level)level, "x");
			assert_int_equal(*logged() != '\0', level <= threshold);
		}
	}
}

static void log__knows_the_names_of_levels(void **state)
{
	static const struct {
		const char *name;
		int err;
		enum log_level level;
	} cases[] = {
		{"error", 0, LOG_ERROR}, {"warn", 0, LOG_WARN}, {"info", 0, LOG_INFO},
		{"debug", 0, LOG_DEBUG}, {"", -EINVAL, 0},	{"Error", -EINVAL, 0},
		{"warning", -EINVAL, 0}, {"inf", -EINVAL, 0},
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		enum log_level level = LOG_DEBUG;

		assert_int_equal(log_level_parse(cases[i].name, &level), cases[i].err);
		assert_int_equal(level, cases[i].err ? LOG_DEBUG : cases[i].level);
	}
}

/* A peer's bytes must not forge a line nor reach a terminal. */
static void log__escapes_controls(void **state)
{
	log_error("a\nb\r\x1b[31m\x7f\t\\ \xc3\xa9");
	assert_matches(logged(),
		       "error: a\\\\nb\\\\x0d\\\\x1b\\[31m\\\\x7f\\\\x09\\\\ \xc3\xa9\n$");
}

static void log__cuts_long_lines_and_ends_them(void **state)
{
	static char text[8192];

	for (size_t len = 1900; len < 2100; len++) {
		const char *line;

		memset(text, 'x', len);
		text[len] = '\0';
		log_error("%s", text);
		line = logged();
		assert_true(strlen(line) <= 2048);
		assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
		if (len < 1950)
			assert_matches(line, "xxx\n$");
		if (len > 2040)
			assert_matches(line, "x\\.\\.\\.\n$");
		assert_true(strspn(strstr(line, "error: ") + 7, "x") > 1850);
	}
	memset(text, '\n', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_error("%s", text);
	assert_matches(logged(), "(\\\\n)+\\.\\.\\.\n$");
}

static void log__cuts_long_names(void **state)
{
	log_set_name("0123456789012345678901234567890123456789");
	log_error("x");
	assert_matches(logged(), STAMP "0123456789012345678901234567890\\[[0-9]+\\] error: x\n$");
}

static void log__leaves_errno_alone(void **state)
{
	errno = ENOTBLK;
	write_error = ENOSPC;
	log_error("lost");
	write_error = 0;
	assert_int_equal(errno, ENOTBLK);
	assert_int_equal(write_count, 1);
	errno = EACCES;
	log_error("%m");
	assert_int_equal(errno, EACCES);
	assert_matches(logged(), "error: Permission denied\n$");
}

static void log__repeats_an_interrupted_write(void **state)
{
	interrupt_count = 3;
	log_error("once");
	assert_matches(logged(), "^[^\n]* error: once\n$");
	assert_int_equal(write_count, 4);
}

static void log__goes_back_to_stderr(void **state)
{
	int saved = dup(STDERR_FILENO);

	dup2(pipe_fds[1], STDERR_FILENO);
	log_set_fd(-1);
	log_error("to stderr");
	dup2(saved, STDERR_FILENO);
	close(saved);
	assert_matches(logged(), "error: to stderr\n$");
}

/* Long lines of four processes through one pipe: each is in one piece. */
static void log__does_not_mix_lines_of_processes(void **state)
{
	enum { PROCESSES = 4, LINES = 100 };
	static char line[LINE_MAX * 2];
	unsigned counts[PROCESSES] = {0};
	pid_t pids[PROCESSES];
	FILE *in;

	for (unsigned i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0) {
			char text[1700];

			memset(text, (int)('A' + i), sizeof(text));
			for (unsigned k = 0; k < LINES; k++)
				log_error("%.*s", (int)sizeof(text), text);
			_exit(0);
		}
	}
	log_set_fd(-1);
	close(pipe_fds[1]);
	in = fdopen(dup(pipe_fds[0]), "r");
	while (fgets(line, sizeof(line), in)) {
		const char *text = strstr(line, "error: ") + 7;
		const char letter[] = {*text, '\0'};

		assert_int_equal(strspn(text, letter), 1700);
		assert_int_equal(text[1700], '\n');
		counts[*text - 'A']++;
	}
	fclose(in);
	for (unsigned i = 0; i < PROCESSES; i++) {
		assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
		assert_int_equal(counts[i], LINES);
	}
	pipe_fds[1] = dup(pipe_fds[0]);
}

static void keep_message(void *ctx, enum log_level level, const char *message)
{
	snprintf(ctx, 64, "%d %s", (int)level, message);
}

/* Whoever listens hears what the level keeps from the log. */
static void log__has_a_tap(void **state)
{
	char heard[64] = "";

	log_set_level(LOG_ERROR);
	log_set_tap(keep_message, heard);
	log_info("port %d", 80);
	assert_string_equal(heard, "2 port 80");
	assert_int_equal(write_count, 0);
	log_error("no");
	assert_string_equal(heard, "0 no");
	assert_int_equal(write_count, 1);
	log_set_tap(NULL, NULL);
	log_error("more");
	assert_string_equal(heard, "0 no");
	log_set_level(LOG_INFO);
}

/* What every request may run into is told once a second, and how often in between. */
static void log__tells_seldom(void **state)
{
	struct log_seldom seldom = { 0 };

	assert_string_equal(log_seldom(&seldom), "");
	assert_null(log_seldom(&seldom));
	assert_null(log_seldom(&seldom));
	seldom.next_ns = 0;
	assert_string_equal(log_seldom(&seldom), ", and 2 times since the last line");
	seldom.next_ns = 0;
	assert_string_equal(log_seldom(&seldom), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(log__writes_one_line_in_one_write, setup, teardown),
		cmocka_unit_test_setup_teardown(log__keeps_to_its_level, setup, teardown),
		cmocka_unit_test_setup_teardown(log__has_a_tap, setup, teardown),
		cmocka_unit_test_setup_teardown(log__knows_the_names_of_levels, setup, teardown),
		cmocka_unit_test_setup_teardown(log__escapes_controls, setup, teardown),
		cmocka_unit_test_setup_teardown(log__cuts_long_lines_and_ends_them, setup,
						teardown),
		cmocka_unit_test_setup_teardown(log__cuts_long_names, setup, teardown),
		cmocka_unit_test_setup_teardown(log__leaves_errno_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(log__repeats_an_interrupted_write, setup, teardown),
		cmocka_unit_test_setup_teardown(log__goes_back_to_stderr, setup, teardown),
		cmocka_unit_test_setup_teardown(log__does_not_mix_lines_of_processes, setup,
						teardown),
		cmocka_unit_test(log__tells_seldom),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
