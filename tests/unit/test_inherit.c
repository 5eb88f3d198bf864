/* SPDX-License-Identifier: MIT */
/* Sockets from a service manager.  Their numbers begin at 3, so each case runs in a child that puts them there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "net/inherit.h"
#include "net/listener.h"

static union sock_addr loopback(uint16_t port)
{
	return (union sock_addr){ .v4 = { .sin_family = AF_INET, .sin_port = htons(port),
					  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) } };
}

static int open_tcp(bool is_listening)
{
	union sock_addr a = loopback(0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, &a.any, sizeof(a.v4)) < 0 || (is_listening && listen(fd, 8) < 0))
		abort();
	return fd;
}

/* Descriptors 3 and on become these; everything else that is open stays where it is or is lost. */
static void give(const int *fds, unsigned count)
{
	int high[8];
	char text[16];

	for (unsigned i = 0; i < count; i++)
		high[i] = fcntl(fds[i], F_DUPFD, 100);
	for (unsigned i = 0; i < count; i++)
		dup2(high[i], 3 + (int)i);
	snprintf(text, sizeof(text), "%u", count);
	setenv("LISTEN_FDS", text, 1);
	snprintf(text, sizeof(text), "%d", (int)getpid());
	setenv("LISTEN_PID", text, 1);
	setenv("LISTEN_FDNAMES", "a:b", 1);
}

/* The number of the line at which the child stopped. */
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			return __LINE__ % 250 + 1;                                                 \
	} while (0)

static void run(int (*child)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(child());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("wait status 0x%x: line %d or 250 further on", status, WEXITSTATUS(status) - 1);
}

static int take_by_address(void)
{
	int fds[] = { open_tcp(true), open_tcp(true) };
	union sock_addr a, b, elsewhere = loopback(1);
	struct inherited in;
	int taken;

	sock_local_addr(fds[0], &a);
	sock_local_addr(fds[1], &b);
	give(fds, 2);
	CHECK(inherit_open(&in) == 0 && in.count == 2);
	CHECK(!getenv("LISTEN_FDS") && !getenv("LISTEN_PID") && !getenv("LISTEN_FDNAMES"));
	CHECK(fcntl(3, F_GETFD) == FD_CLOEXEC && fcntl(4, F_GETFD) == FD_CLOEXEC);
	CHECK(inherit_take(&in, &elsewhere) == -1);
	taken = inherit_take(&in, &b);
	CHECK(taken > 4 && fcntl(taken, F_GETFD) == FD_CLOEXEC);
	CHECK(!in.socks[0].is_taken && in.socks[1].is_taken);
	/* It comes back after it has gone. */
	close(taken);
	taken = inherit_take(&in, &b);
	CHECK(taken > 4 && sock_local_addr(taken, &a) == 0 && sock_addr_port(&a) == sock_addr_port(&b));
	inherit_close(&in);
	CHECK(fcntl(3, F_GETFD) < 0 && fcntl(4, F_GETFD) < 0 && fcntl(taken, F_GETFD) >= 0);
	return 0;
}

static void inherit__gives_each_socket_by_its_address(void **state)
{
	run(take_by_address);
}

static int leave_what_is_not_ours(void)
{
	int fds[] = { open_tcp(true) };
	struct inherited in;

	give(fds, 1);
	setenv("LISTEN_PID", "1", 1);
	CHECK(inherit_open(&in) == 0 && in.count == 0);
	CHECK(!getenv("LISTEN_FDS") && fcntl(3, F_GETFD) == 0);
	give(fds, 1);
	setenv("LISTEN_FDS", "many", 1);
	CHECK(inherit_open(&in) == 0 && in.count == 0);
	give(fds, 1);
	unsetenv("LISTEN_PID");
	CHECK(inherit_open(&in) == 0 && in.count == 0);
	return 0;
}

static void inherit__takes_nothing_that_is_meant_for_another(void **state)
{
	run(leave_what_is_not_ours);
}

static int pass_over_other_kinds(void)
{
	int fds[] = { open_tcp(false), socket(AF_INET, SOCK_DGRAM, 0), open("/dev/null", O_RDONLY),
		      socket(AF_UNIX, SOCK_STREAM, 0) };
	union sock_addr a;
	struct inherited in;

	sock_local_addr(fds[0], &a);
	give(fds, 4);
	CHECK(inherit_open(&in) == 0 && in.count == 4);
	for (unsigned i = 0; i < 4; i++)
		CHECK(!in.socks[i].is_listening);
	CHECK(inherit_take(&in, &a) == -1);
	inherit_close(&in);
	return 0;
}

static void inherit__passes_over_what_does_not_listen(void **state)
{
	run(pass_over_other_kinds);
}

/* More are announced than there are: the numbers go to others later on. */
static int leave_numbers_without_a_descriptor(void)
{
	int fds[] = { open_tcp(true) };
	struct inherited in;

	give(fds, 1);
	setenv("LISTEN_FDS", "3", 1);
	close(4);
	close(5);
	CHECK(inherit_open(&in) == 0 && in.count == 3);
	CHECK(in.socks[0].is_listening && !in.socks[1].is_listening && !in.socks[2].is_listening);
	CHECK(dup2(3, 4) == 4);
	inherit_close(&in);
	CHECK(fcntl(3, F_GETFD) < 0 && fcntl(4, F_GETFD) >= 0);
	return 0;
}

static void inherit__leaves_numbers_without_a_descriptor(void **state)
{
	run(leave_numbers_without_a_descriptor);
}

/* Bound and listening without SO_REUSEPORT, as a socket unit has it by default: siblings may join all the same. */
static void inherit__siblings_join_a_socket_without_reuseport(void **state)
{
	const struct sock_options opt = { .backlog = 64 };
	int fd = open_tcp(true);
	union sock_addr a;
	struct listener l;
	const char *step;

	sock_local_addr(fd, &a);
	assert_int_equal(listener_open_inherited(&l, fd, &a, &opt, 3, NULL, &step), 0);
	assert_int_equal(l.count, 3);
	assert_int_equal(l.fds[0], fd);
	assert_false(l.is_shared);
	for (unsigned i = 0; i < l.count; i++) {
		union sock_addr own;

		sock_local_addr(l.fds[i], &own);
		assert_int_equal(sock_addr_port(&own), sock_addr_port(&a));
		assert_true(fcntl(l.fds[i], F_GETFL) & O_NONBLOCK);
	}
	listener_close(&l, NULL);
}

/* What one master had goes to the next by number, with a gap where one could not be passed. */
static void inherit__is_restored_in_another_process(void **state)
{
	int listening = open_tcp(true), fd;
	union sock_addr a;
	struct inherited in = { 0 };

	sock_local_addr(listening, &a);
	assert_int_equal(inherit_restore(&in, 3), 0);
	inherit_set(&in, 0, -1);
	inherit_set(&in, 1, listening);
	inherit_set(&in, 2, open_tcp(false));
	fd = inherit_take(&in, &a);
	assert_true(fd >= 0 && fd != listening);
	assert_true(in.socks[0].is_taken && !in.socks[0].is_listening && !in.socks[2].is_listening);
	inherit_close(&in);
	assert_int_equal(fcntl(listening, F_GETFD), -1);
	close(fd);
	assert_int_equal(inherit_restore(&in, 0), 0);
	inherit_close(&in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inherit__gives_each_socket_by_its_address),
		cmocka_unit_test(inherit__takes_nothing_that_is_meant_for_another),
		cmocka_unit_test(inherit__passes_over_what_does_not_listen),
		cmocka_unit_test(inherit__leaves_numbers_without_a_descriptor),
		cmocka_unit_test(inherit__siblings_join_a_socket_without_reuseport),
		cmocka_unit_test(inherit__is_restored_in_another_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
