/* SPDX-License-Identifier: MIT */
/* Every write of the module passes __wrap_write, which can interrupt it, cut it short or refuse it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/logfile.h"

#define PATH_SIZE 128

static char folder[] = "/tmp/test_logfile.XXXXXX";
static char path[PATH_SIZE], other_path[PATH_SIZE];

/* What the writes to come do: at most so many bytes, even none, or -errno; beyond the script they
 * are let through. */
static const int *script;
static size_t script_len;
static size_t longest_write;
static bool are_writes_whole_lines;
static bool is_random;
static uint64_t seed;

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static int random_verdict(void)
{
	static const int errors[] = {-EINTR, -EAGAIN, -ENOSPC, -EIO};
	unsigned dice = (unsigned)(next_random() % 16);

	if (dice < ARRAY_LEN(errors))
		return errors[dice];
	return dice < 10 ? 1 + (int)(next_random() % 300) : INT_MAX;
}

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
	int verdict = INT_MAX;

	longest_write = MAX(longest_write, len);
	are_writes_whole_lines &= ((const char *)data)[len - 1] == '\n';
	if (is_random) {
		verdict = random_verdict();
	} else if (script_len) {
		verdict = *script++;
		script_len--;
	}
	if (verdict < 0) {
		errno = -verdict;
		return -1;
	}
	return __real_write(fd, data, MIN(len, (size_t)verdict));
}

static void play(const int *verdicts, size_t count)
{
	script = verdicts;
	script_len = count;
}

static int setup(void **state)
{
	unlink(path);
	unlink(other_path);
	play(NULL, 0);
	is_random = false;
	seed = 88172645463325252ull;
	longest_write = 0;
	are_writes_whole_lines = true;
	return 0;
}

static void add_line(struct logfile *f, const char *text)
{
	buf_add_span(logfile_line(f), span_str(text));
	logfile_commit(f);
}

/* "00042 xxxx...": the number tells which, the length follows from it. */
static void add_numbered_line(struct logfile *f, unsigned number, char letter)
{
	struct buf *b = logfile_line(f);

	buf_printf(b, "%05u ", number);
	for (unsigned i = 0; i < number * 37 % 200; i++)
		buf_add_char(b, letter);
	logfile_commit(f);
}

/* The whole file, which has to be released. */
static char *contents(const char *name, size_t *ret_len)
{
	FILE *in = fopen(name, "r");
	char *text = malloc(1 << 22);

	assert_non_null(in);
	assert_non_null(text);
	*ret_len = fread(text, 1, (1 << 22) - 1, in);
	text[*ret_len] = '\0';
	fclose(in);
	return text;
}

static void assert_contents(const char *name, const char *expected)
{
	size_t len;
	char *text = contents(name, &len);

	assert_string_equal(text, expected);
	free(text);
}

/* Five digits.  Not sscanf(): where sanitizers are strict each call walks over all of the rest of the text. */
static unsigned read_number(const char *text)
{
	unsigned number = 0;

	for (unsigned i = 0; i < 5; i++) {
		assert_in_range(text[i], '0', '9');
		number = number * 10 + (unsigned)(text[i] - '0');
	}
	assert_int_equal(text[5], ' ');
	return number;
}

/* Counts the lines that add_numbered_line wrote; each must be whole, and its number above the one
 * before. */
static unsigned check_numbered_lines(const char *text, char letter)
{
	const char *last_byte = text + strlen(text);
	int last = -1;
	unsigned count = 0;

	while (*text) {
		const char *end = memchr(text, '\n', (size_t)(last_byte - text));
		unsigned number;

		assert_non_null(end);
		assert_true(end - text >= 6);
		number = read_number(text);
		assert_true((int)number > last);
		assert_int_equal(end - text, 6 + number * 37 % 200);
		for (text += 6; text < end; text++)
			assert_int_equal(*text, letter);
		text = end + 1;
		last = (int)number;
		count++;
	}
	return count;
}

static void logfile__writes_many_lines_at_once(void **state)
{
	struct logfile f;
	struct stat st;

	umask(0);
	assert_int_equal(logfile_open(&f, path), 0);
	add_line(&f, "one");
	add_line(&f, "two");
	add_line(&f, "");
	assert_contents(path, "");
	logfile_flush(&f);
	assert_contents(path, "one\ntwo\n");
	assert_int_equal(f.write_count, 1);
	logfile_flush(&f);
	assert_int_equal(f.write_count, 1);
	add_line(&f, "three");
	assert_int_equal(f.line_count, 3);
	logfile_close(&f);
	logfile_close(&f);
	assert_int_equal(f.fd, -1);
	assert_contents(path, "one\ntwo\nthree\n");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
}

static void logfile__appends_to_what_is_there(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct logfile f;

		assert_int_equal(logfile_open(&f, path), 0);
		add_line(&f, i ? "second" : "first");
		logfile_close(&f);
	}
	assert_contents(path, "first\nsecond\n");
}

static void logfile__flushes_when_its_buffer_is_full(void **state)
{
	struct logfile f;
	size_t len;
	char *text;

	assert_int_equal(logfile_open(&f, path), 0);
	for (unsigned i = 0; i < 5000; i++)
		add_numbered_line(&f, i, 'x');
	assert_true(f.write_count > 5);
	assert_true(f.write_count < 40);
	logfile_close(&f);
	text = contents(path, &len);
	assert_int_equal(check_numbered_lines(text, 'x'), 5000);
	free(text);
	assert_true(are_writes_whole_lines);
	assert_int_equal(f.lost_count, 0);
}

static void logfile__cuts_long_lines_and_ends_them(void **state)
{
	static char big[LOGFILE_LINE * 2];
	struct logfile f;
	struct buf *b;
	size_t len;
	char *text;

	memset(big, 'x', sizeof(big));
	assert_int_equal(logfile_open(&f, path), 0);
	/* The longest that fits, one byte more, and one that is cut in its middle. */
	buf_add(logfile_line(&f), big, LOGFILE_LINE - 1);
	logfile_commit(&f);
	b = logfile_line(&f);
	buf_add(b, big, LOGFILE_LINE - 1);
	buf_add_char(b, 'y');
	logfile_commit(&f);
	b = logfile_line(&f);
	buf_add_lit(b, "head");
	buf_add(b, big, sizeof(big));
	buf_add_lit(b, "tail");
	logfile_commit(&f);
	add_line(&f, "next");
	logfile_close(&f);
	text = contents(path, &len);
	assert_int_equal(len, 2 * LOGFILE_LINE + strlen("head\nnext\n"));
	assert_memory_equal(text, big, LOGFILE_LINE - 1);
	assert_int_equal(text[LOGFILE_LINE - 1], '\n');
	assert_memory_equal(text + LOGFILE_LINE, big, LOGFILE_LINE - 1);
	assert_string_equal(text + 2 * LOGFILE_LINE - 1, "\nhead\nnext\n");
	free(text);
	assert_int_equal(f.line_count, 4);
}

static void logfile__drops_a_line_without_commit(void **state)
{
	struct logfile f;

	assert_int_equal(logfile_open(&f, path), 0);
	buf_add_lit(logfile_line(&f), "given up");
	add_line(&f, "one");
	/* A flush between the two halves of a line takes nothing of it and loses nothing. */
	buf_add_lit(logfile_line(&f), "two");
	logfile_flush(&f);
	assert_contents(path, "one\n");
	logfile_commit(&f);
	logfile_commit(&f);
	logfile_close(&f);
	assert_contents(path, "one\ntwo\n");
	assert_int_equal(f.line_count, 2);
}

static void logfile__goes_on_after_short_and_interrupted_writes(void **state)
{
	static const int verdicts[] = {-EINTR, 1, -EINTR, -EINTR, 5, 1, 1, -EINTR, 9};
	struct logfile f;

	assert_int_equal(logfile_open(&f, path), 0);
	for (unsigned i = 0; i < 4; i++)
		add_line(&f, "0123456789");
	play(verdicts, ARRAY_LEN(verdicts));
	logfile_flush(&f);
	assert_int_equal(script_len, 0);
	assert_contents(path, "0123456789\n0123456789\n0123456789\n0123456789\n");
	assert_int_equal(f.lost_count, 0);
	logfile_close(&f);
}

/* Refused in the middle of a line: that line becomes whole later, those behind it are lost, none is
 * glued. */
static void logfile__completes_the_line_that_was_cut(void **state)
{
	static const int verdicts[] = {7, -ENOSPC, -ENOSPC};
	struct logfile f;

	assert_int_equal(logfile_open(&f, path), 0);
	add_line(&f, "aaa");
	add_line(&f, "bbbbbb");
	add_line(&f, "ccc");
	play(verdicts, ARRAY_LEN(verdicts));
	logfile_flush(&f);
	assert_contents(path, "aaa\nbbb");
	assert_int_equal(f.lost_count, 1);
	logfile_flush(&f);
	assert_int_equal(f.lost_count, 1);
	add_line(&f, "ddd");
	logfile_flush(&f);
	assert_contents(path, "aaa\nbbbbbb\nddd\n");
	assert_int_equal(f.lost_count, 1);
	logfile_close(&f);
	assert_int_equal(f.lost_count, 1);
}

static void logfile__counts_a_cut_line_as_lost_at_the_end(void **state)
{
	static const int verdicts[] = {2, -ENOSPC, -ENOSPC};
	struct logfile f;

	assert_int_equal(logfile_open(&f, path), 0);
	add_line(&f, "aaa");
	play(verdicts, ARRAY_LEN(verdicts));
	logfile_flush(&f);
	assert_int_equal(f.lost_count, 0);
	logfile_close(&f);
	assert_int_equal(f.lost_count, 1);
}

/* write() may return 0 for a device; taking that for progress would never end. */
static void logfile__takes_no_bytes_for_a_refusal(void **state)
{
	static const int verdicts[] = {0};
	struct logfile f;

	assert_int_equal(logfile_open(&f, path), 0);
	add_line(&f, "aaa");
	play(verdicts, ARRAY_LEN(verdicts));
	logfile_flush(&f);
	assert_int_equal(f.write_count, 1);
	assert_int_equal(f.lost_count, 1);
	logfile_close(&f);
	assert_contents(path, "");
}

static void logfile__survives_a_full_disk(void **state)
{
	struct logfile f;

	assert_int_equal(logfile_open(&f, "/dev/full"), 0);
	for (unsigned i = 0; i < 3000; i++)
		add_numbered_line(&f, i, 'x');
	logfile_flush(&f);
	assert_int_equal(f.line_count, 3000);
	assert_int_equal(f.lost_count, 3000);
	assert_int_equal(f.pending_len, 0);
	logfile_close(&f);
}

/* The limit cuts a real write short and then refuses; once it is gone the file has whole lines
 * only. */
static void logfile__survives_a_file_size_limit(void **state)
{
	struct rlimit saved, limit;
	struct logfile f;
	unsigned number = 0, found;
	size_t len;
	char *text;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &saved), 0);
	limit = (struct rlimit){.rlim_cur = 10007, .rlim_max = saved.rlim_max};
	assert_int_equal(logfile_open(&f, path), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	while (number < 500)
		add_numbered_line(&f, number++, 'x');
	logfile_flush(&f);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &saved), 0);
	assert_true(f.lost_count > 0);
	while (number < 600)
		add_numbered_line(&f, number++, 'x');
	logfile_close(&f);
	text = contents(path, &len);
	found = check_numbered_lines(text, 'x');
	assert_int_equal(found + f.lost_count, 600);
	assert_true(found > 150);
	free(text);
}

static void logfile__survives_a_reader_that_went_away(void **state)
{
	struct logfile f;
	int fds[2];

	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(logfile_open_fd(&f, fds[1]), 0);
	close(fds[0]);
	add_line(&f, "one");
	add_line(&f, "two");
	logfile_flush(&f);
	assert_int_equal(f.lost_count, 2);
	logfile_close(&f);
}

/* What the pipe holds, without waiting for more. */
static size_t drain(int fd, char *into, size_t size)
{
	size_t len = 0;
	ssize_t n;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while ((n = read(fd, into + len, size - len)) > 0)
		len += (size_t)n;
	return len;
}

/* The descriptor blocks, as one of a shell does: the module itself must not. */
static void logfile__never_waits_for_a_full_pipe(void **state)
{
	static char text[1 << 21];
	struct logfile f;
	unsigned number = 0;
	size_t len;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(logfile_open_fd(&f, fds[1]), 0);
	/* Nobody reads: the pipe fills, then the buffer, nothing is lost yet. */
	while (number < 750)
		add_numbered_line(&f, number++, 'x');
	logfile_flush(&f);
	assert_int_equal(f.lost_count, 0);
	assert_true(f.pending_len > 0);
	while (number < 5000)
		add_numbered_line(&f, number++, 'x');
	assert_true(f.lost_count > 3000);
	len = drain(fds[0], text, sizeof(text));
	assert_true(len > 30000);
	/* Somebody reads again. */
	for (unsigned i = 0; i < 20 && f.pending_len; i++) {
		logfile_flush(&f);
		len += drain(fds[0], text + len, sizeof(text) - len);
	}
	assert_int_equal(f.pending_len, 0);
	text[len] = '\0';
	assert_int_equal(check_numbered_lines(text, 'x') + f.lost_count, 5000);
	assert_true(are_writes_whole_lines);
	assert_true(longest_write <= PIPE_BUF);
	logfile_close(&f);
	close(fds[0]);
}

/* Any order of refusals: the file holds whole lines in order, and every other one was counted. */
static void logfile__keeps_its_books_over_random_faults(void **state)
{
	for (unsigned round = 0; round < 60; round++) {
		struct logfile f;
		unsigned found;
		size_t len;
		char *text;

		unlink(path);
		assert_int_equal(logfile_open(&f, path), 0);
		is_random = true;
		for (unsigned i = 0; i < 2000; i++) {
			add_numbered_line(&f, i, 'x');
			if (next_random() % 20 == 0)
				logfile_flush(&f);
		}
		is_random = false;
		logfile_close(&f);
		text = contents(path, &len);
		found = check_numbered_lines(text, 'x');
		assert_int_equal(f.line_count, 2000);
		assert_int_equal(found + f.lost_count, 2000);
		assert_true(found > 0 && f.lost_count > 0);
		free(text);
	}
}

/* Takes the lines of one letter out of a file that several processes wrote. */
static unsigned check_process(const char *text, char letter)
{
	static char own[1 << 20];
	const char *last_byte = text + strlen(text);
	size_t len = 0;

	for (const char *end; (end = memchr(text, '\n', (size_t)(last_byte - text))); text = end + 1) {
		if (*text != letter)
			continue;
		memcpy(own + len, text + 1, (size_t)(end - text));
		len += (size_t)(end - text);
	}
	own[len] = '\0';
	return check_numbered_lines(own, letter);
}

static void write_as_process(char letter)
{
	struct logfile f;

	if (logfile_open(&f, path) < 0)
		_exit(1);
	for (unsigned i = 0; i < 3000; i++) {
		struct buf *b = logfile_line(&f);

		buf_add_char(b, letter);
		buf_printf(b, "%05u ", i);
		for (unsigned k = 0; k < i * 37 % 200; k++)
			buf_add_char(b, letter);
		logfile_commit(&f);
		if (i % 50 == 0)
			logfile_flush(&f);
	}
	logfile_close(&f);
	_exit(f.lost_count != 0);
}

static void logfile__shares_a_file_between_processes(void **state)
{
	enum { PROCESSES = 4 };
	pid_t pids[PROCESSES];
	size_t len;
	char *text;

	for (unsigned i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0)
			write_as_process((char)('A' + i));
	}
	for (unsigned i = 0; i < PROCESSES; i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	text = contents(path, &len);
	assert_int_equal(text[len - 1], '\n');
	for (unsigned i = 0; i < PROCESSES; i++)
		assert_int_equal(check_process(text, (char)('A' + i)), 3000);
	free(text);
}

static void logfile__opens_anew_after_a_rotation(void **state)
{
	struct logfile f;

	assert_int_equal(logfile_open(&f, path), 0);
	add_line(&f, "one");
	logfile_flush(&f);
	assert_int_equal(rename(path, other_path), 0);
	add_line(&f, "two");
	assert_int_equal(logfile_reopen(&f), 0);
	add_line(&f, "three");
	logfile_close(&f);
	assert_contents(other_path, "one\ntwo\n");
	assert_contents(path, "three\n");
	assert_int_equal(f.lost_count, 0);
}

static void logfile__keeps_the_old_file_when_the_new_one_fails(void **state)
{
	struct logfile f;

	assert_int_equal(logfile_open(&f, path), 0);
	assert_int_equal(rename(path, other_path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	add_line(&f, "one");
	assert_int_equal(logfile_reopen(&f), -EISDIR);
	add_line(&f, "two");
	logfile_close(&f);
	assert_int_equal(rmdir(path), 0);
	assert_contents(other_path, "one\ntwo\n");
}

/* Half a line belongs to the file that has its first half; in the new one it would mean nothing. */
static void logfile__takes_no_half_line_to_the_next_file(void **state)
{
	static const int verdicts[] = {2, -ENOSPC, -ENOSPC};
	struct logfile f;

	assert_int_equal(logfile_open(&f, path), 0);
	add_line(&f, "aaa");
	play(verdicts, ARRAY_LEN(verdicts));
	logfile_flush(&f);
	logfile_replace_fd(&f, open(other_path, O_WRONLY | O_CREAT | O_APPEND, 0600));
	add_line(&f, "bbb");
	logfile_close(&f);
	assert_contents(other_path, "bbb\n");
	assert_int_equal(f.lost_count, 1);
}

static void logfile__takes_over_descriptors(void **state)
{
	struct logfile f;
	int first = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	int second = open(other_path, O_WRONLY | O_CREAT | O_APPEND, 0600);

	assert_int_equal(logfile_open_fd(&f, first), 0);
	add_line(&f, "one");
	assert_int_equal(logfile_reopen(&f), 0);
	assert_contents(path, "one\n");
	add_line(&f, "two");
	logfile_replace_fd(&f, second);
	assert_int_equal(fcntl(first, F_GETFD), -1);
	add_line(&f, "three");
	logfile_close(&f);
	assert_int_equal(fcntl(second, F_GETFD), -1);
	assert_contents(path, "one\ntwo\n");
	assert_contents(other_path, "three\n");
}

/* An all-zero one is off too: nothing of it may close descriptor 0. */
static void logfile__is_switched_on_by_a_descriptor(void **state)
{
	struct logfile files[] = {{.fd = -1}, {.fd = 0}};

	for (unsigned i = 0; i < ARRAY_LEN(files); i++) {
		int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);

		logfile_close(&files[i]);
		logfile_flush(&files[i]);
		logfile_replace_fd(&files[i], fd);
		assert_int_not_equal(fcntl(STDIN_FILENO, F_GETFD), -1);
		add_line(&files[i], "line");
		logfile_close(&files[i]);
		assert_int_equal(fcntl(fd, F_GETFD), -1);
	}
	assert_contents(path, "line\nline\n");
}

static void logfile__writes_to_standard_output(void **state)
{
	int saved = dup(STDOUT_FILENO);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	struct logfile f;
	int err;

	fflush(stdout);
	dup2(fd, STDOUT_FILENO);
	err = logfile_open(&f, "-");
	add_line(&f, "one");
	if (!err)
		err = logfile_reopen(&f);
	add_line(&f, "two");
	logfile_close(&f);
	/* It has closed a copy: standard output is still there. */
	if (__real_write(STDOUT_FILENO, "three\n", 6) != 6)
		err = -EIO;
	dup2(saved, STDOUT_FILENO);
	close(saved);
	close(fd);
	assert_int_equal(err, 0);
	assert_contents(path, "one\ntwo\nthree\n");
}

static void assert_does_nothing(struct logfile *f)
{
	struct buf *b = logfile_line(f);

	buf_add_lit(b, "x");
	assert_true(b->is_truncated);
	logfile_commit(f);
	logfile_flush(f);
	assert_int_equal(f->line_count + f->lost_count + f->write_count, 0);
	logfile_close(f);
}

static void logfile__does_nothing_when_switched_off(void **state)
{
	struct logfile f = {.fd = -1};
	char missing[PATH_SIZE + 16];

	assert_does_nothing(&f);
	snprintf(missing, sizeof(missing), "%s/no/file", folder);
	assert_int_equal(logfile_open(&f, missing), -ENOENT);
	assert_int_equal(f.fd, -1);
	assert_does_nothing(&f);
	assert_int_equal(logfile_open(&f, folder), -EISDIR);
	assert_does_nothing(&f);
}

/* A FIFO that nobody reads would block an open that may wait. */
static void logfile__does_not_wait_for_a_reader_of_a_fifo(void **state)
{
	struct logfile f;

	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(logfile_open(&f, path), -ENXIO);
	assert_does_nothing(&f);
}

static int make_folder(void **state)
{
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/a.log", folder);
	snprintf(other_path, sizeof(other_path), "%s/b.log", folder);
	return 0;
}

static int remove_folder(void **state)
{
	setup(state);
	return rmdir(folder);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(logfile__writes_many_lines_at_once),
		TEST(logfile__appends_to_what_is_there),
		TEST(logfile__flushes_when_its_buffer_is_full),
		TEST(logfile__cuts_long_lines_and_ends_them),
		TEST(logfile__drops_a_line_without_commit),
		TEST(logfile__goes_on_after_short_and_interrupted_writes),
		TEST(logfile__completes_the_line_that_was_cut),
		TEST(logfile__counts_a_cut_line_as_lost_at_the_end),
		TEST(logfile__takes_no_bytes_for_a_refusal),
		TEST(logfile__survives_a_full_disk),
		TEST(logfile__is_switched_on_by_a_descriptor),
		TEST(logfile__survives_a_file_size_limit),
		TEST(logfile__survives_a_reader_that_went_away),
		TEST(logfile__never_waits_for_a_full_pipe),
		TEST(logfile__keeps_its_books_over_random_faults),
		TEST(logfile__shares_a_file_between_processes),
		TEST(logfile__opens_anew_after_a_rotation),
		TEST(logfile__keeps_the_old_file_when_the_new_one_fails),
		TEST(logfile__takes_no_half_line_to_the_next_file),
		TEST(logfile__takes_over_descriptors),
		TEST(logfile__writes_to_standard_output),
		TEST(logfile__does_nothing_when_switched_off),
		TEST(logfile__does_not_wait_for_a_reader_of_a_fifo),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
