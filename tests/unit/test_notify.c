/* SPDX-License-Identifier: MIT */
/* Messages to a service manager, which is a socket of the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "net/notify.h"

/* A manager at "@NAME" or a path. */
static int open_manager(const char *address)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(address));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(a.sun_path, address, strlen(address));
	if (address[0] == '@')
		a.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	return fd;
}

static void assert_told(int manager, const char *message)
{
	char got[256] = "";
	ssize_t len = recv(manager, got, sizeof(got) - 1, 0);

	assert_int_equal(len, strlen(message));
	assert_string_equal(got, message);
}

static void tell_at(const char *address)
{
	struct notify n;
	int manager = open_manager(address);

	assert_int_equal(notify_open(&n, address), 0);
	assert_true(n.fd >= 0);
	assert_int_equal(notify_send(&n, "READY=1\nSTATUS=fine"), 0);
	assert_told(manager, "READY=1\nSTATUS=fine");
	assert_int_equal(notify_send(&n, "WATCHDOG=1"), 0);
	assert_told(manager, "WATCHDOG=1");
	close(manager);
	assert_int_equal(notify_send(&n, "STOPPING=1"), -ECONNREFUSED);
	notify_close(&n);
}

static void notify__tells_at_a_path(void **state)
{
	char path[64];

	snprintf(path, sizeof(path), "/tmp/sluice-notify-%d", (int)getpid());
	tell_at(path);
	unlink(path);
}

static void notify__tells_at_an_abstract_name(void **state)
{
	char name[64];

	snprintf(name, sizeof(name), "@sluice-notify-%d", (int)getpid());
	tell_at(name);
}

static void notify__is_silent_where_nobody_listens(void **state)
{
	static const char *const addresses[] = {NULL, ""};
	struct notify n;

	for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
		assert_int_equal(notify_open(&n, addresses[i]), 0);
		assert_int_equal(n.fd, -1);
		assert_int_equal(notify_send(&n, "READY=1"), 0);
		notify_close(&n);
	}
}

static void notify__refuses_what_it_does_not_know(void **state)
{
	static const struct {
		const char *address;
		int err;
	} cases[] = {
		{"vsock:2:1234", -EAFNOSUPPORT},
		{"relative", -EAFNOSUPPORT},
		{"@", -EAFNOSUPPORT},
		{"/", -EAFNOSUPPORT},
	};
	char name[200];
	struct notify n;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(notify_open(&n, cases[i].address), cases[i].err);
		assert_int_equal(n.fd, -1);
		assert_int_equal(notify_send(&n, "READY=1"), 0);
	}
	memset(name, 'a', sizeof(name));
	name[0] = '/';
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(notify_open(&n, name), -ENAMETOOLONG);
}

/* The manager does not read: its queue is full after some messages, and we go on. */
static void notify__does_not_wait_for_ever(void **state)
{
	char name[64];
	uint64_t began_ns;
	struct notify n;
	int manager, err = 0;

	snprintf(name, sizeof(name), "@sluice-notify-full-%d", (int)getpid());
	manager = open_manager(name);
	assert_int_equal(notify_open(&n, name), 0);
	began_ns = clock_ns();
	for (unsigned i = 0; i < 100000 && !err; i++)
		err = notify_send(&n, "WATCHDOG=1");
	assert_int_equal(err, -EAGAIN);
	assert_true(clock_ns() - began_ns < 20 * NS_PER_SEC);
	notify_close(&n);
	close(manager);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(notify__tells_at_a_path),
		cmocka_unit_test(notify__tells_at_an_abstract_name),
		cmocka_unit_test(notify__is_silent_where_nobody_listens),
		cmocka_unit_test(notify__refuses_what_it_does_not_know),
		cmocka_unit_test(notify__does_not_wait_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
