/* SPDX-License-Identifier: MIT */
/* Descriptors over Unix sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/fd_pass.h"

static int pair[2];

static int open_pair(void **state)
{
	return fd_pass_pair(pair);
}

static int close_pair(void **state)
{
	close(pair[0]);
	close(pair[1]);
	return 0;
}

static void fd_pass__carries_bytes_and_a_descriptor(void **state)
{
	int pipe_fds[2], fd;
	char text[8];

	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(fd_pass_send(pair[0], "L", 1, pipe_fds[1]), 1);
	assert_int_equal(fd_pass_send(pair[0], "abc", 3, -1), 3);
	assert_int_equal(fd_pass_receive(pair[1], text, sizeof(text), &fd), 1);
	assert_int_equal(text[0], 'L');
	assert_true(fd >= 0 && fd != pipe_fds[1]);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(read(pipe_fds[0], text, 1), 1);
	close(fd);
	/* Messages stay apart. */
	assert_int_equal(fd_pass_receive(pair[1], text, sizeof(text), &fd), 3);
	assert_int_equal(fd, -1);
	assert_int_equal(fd_pass_receive(pair[1], text, sizeof(text), &fd), -EAGAIN);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void fd_pass__closes_a_descriptor_that_nobody_expects(void **state)
{
	int pipe_fds[2];
	char text[8];

	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(fd_pass_send(pair[0], "M", 1, pipe_fds[1]), 1);
	assert_int_equal(fd_pass_send(pair[0], "N", 1, -1), 1);
	close(pipe_fds[1]);
	assert_int_equal(fd_pass_receive(pair[1], text, sizeof(text), NULL), 1);
	assert_int_equal(text[0], 'M');
	/* Of the end to write to there is no copy left: its end is read. */
	assert_int_equal(fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(read(pipe_fds[0], text, 1), 0);
	assert_int_equal(fd_pass_receive(pair[1], text, sizeof(text), NULL), 1);
	assert_int_equal(text[0], 'N');
	close(pipe_fds[0]);
}

static void fd_pass__sees_the_end_and_raises_no_signal(void **state)
{
	char byte;
	int fd;

	assert_int_equal(fd_pass_send(pair[0], "z", 1, -1), 1);
	close(pair[0]);
	assert_int_equal(fd_pass_receive(pair[1], &byte, 1, &fd), 1);
	assert_int_equal(fd_pass_receive(pair[1], &byte, 1, &fd), 0);
	assert_int_equal(fd, -1);
	assert_int_equal(fd_pass_send(pair[1], "y", 1, -1), -EPIPE);
	pair[0] = -1;
}

static void fd_pass__delivers_the_byte_when_descriptors_are_short(void **state)
{
	struct rlimit old, none;
	char byte = 0;
	int fd;
	ssize_t n;

	assert_int_equal(fd_pass_send(pair[0], "L", 1, pair[0]), 1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	n = fd_pass_receive(pair[1], &byte, 1, &fd);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(n, 1);
	assert_int_equal(byte, 'L');
	assert_int_equal(fd, -1);
}

/* The kernel has room for two where one was meant: who sends two must not fill our table. */
static void fd_pass__keeps_one_descriptor_of_a_message(void **state)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(2 * sizeof(int))];
	} control = {.head = {CMSG_LEN(2 * sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	struct iovec iov = {"L", 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	int fds[2] = {pair[0], pair[1]}, first, fd;
	char byte;

	memcpy(CMSG_DATA(&control.head), fds, sizeof(fds));
	first = dup(pair[0]);
	close(first);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(sendmsg(pair[0], &msg, 0), 1);
		assert_int_equal(fd_pass_receive(pair[1], &byte, 1, &fd), 1);
		assert_int_equal(fd, first);
		close(fd);
	}
}

static void fd_pass__does_not_block_on_a_peer_that_does_not_read(void **state)
{
	ssize_t n = 0;

	for (unsigned i = 0; i < 100000 && n >= 0; i++)
		n = fd_pass_send(pair[0], "L", 1, -1);
	assert_int_equal(n, -EAGAIN);
}

static void fd_pass__carries_several_descriptors(void **state)
{
	int sent[FD_PASS_MAX + 1], got[FD_PASS_MAX];
	unsigned count;
	char byte = 0;

	for (unsigned i = 0; i < FD_PASS_MAX + 1; i++)
		sent[i] = i % 2 ? pair[0] : pair[1];
	assert_int_equal(fd_pass_send_all(pair[0], "P", 1, sent, FD_PASS_MAX + 1), -EINVAL);
	assert_int_equal(fd_pass_send_all(pair[0], "P", 1, sent, FD_PASS_MAX), 1);
	assert_int_equal(fd_pass_send_all(pair[0], "Q", 1, sent, 3), 1);
	assert_int_equal(fd_pass_send_all(pair[0], "R", 1, NULL, 0), 1);
	assert_int_equal(fd_pass_receive_all(pair[1], &byte, 1, got, &count), 1);
	assert_int_equal(byte, 'P');
	assert_int_equal(count, FD_PASS_MAX);
	for (unsigned i = 0; i < count; i++) {
		assert_true(fcntl(got[i], F_GETFD) & FD_CLOEXEC);
		close(got[i]);
	}
	assert_int_equal(fd_pass_receive_all(pair[1], &byte, 1, got, &count), 1);
	assert_int_equal(count, 3);
	while (count)
		close(got[--count]);
	assert_int_equal(fd_pass_receive_all(pair[1], &byte, 1, got, &count), 1);
	assert_int_equal(byte, 'R');
	assert_int_equal(count, 0);
}

/* Half of a list would be taken for all of it. */
static void fd_pass__takes_all_descriptors_or_none(void **state)
{
	int sent[4] = { pair[0], pair[0], pair[1], pair[1] }, got[FD_PASS_MAX], next = dup(pair[0]);
	struct rlimit old, few;
	unsigned count;
	char byte = 0;
	ssize_t n;

	close(next);
	assert_int_equal(fd_pass_send_all(pair[0], "P", 1, sent, 4), 1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	few.rlim_cur = (rlim_t)next + 2;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	n = fd_pass_receive_all(pair[1], &byte, 1, got, &count);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(n, -EMFILE);
	assert_int_equal(count, 0);
	assert_int_equal(dup(pair[0]), next);
	close(next);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_pair, close_pair)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(fd_pass__carries_bytes_and_a_descriptor),
		TEST(fd_pass__closes_a_descriptor_that_nobody_expects),
		TEST(fd_pass__sees_the_end_and_raises_no_signal),
		TEST(fd_pass__delivers_the_byte_when_descriptors_are_short),
		TEST(fd_pass__carries_several_descriptors),
		TEST(fd_pass__takes_all_descriptors_or_none),
		TEST(fd_pass__keeps_one_descriptor_of_a_message),
		TEST(fd_pass__does_not_block_on_a_peer_that_does_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
