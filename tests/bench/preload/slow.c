/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into a server under test: a request for /slow costs its worker 50 ms, whatever the
 * server.  Where the worker reads the request, it stands still for $SLOW_MS (blocked, as by a cold
 * disk), or, with SLOW_BURN=1, computes for as long.
 *
 * Blocking lets two CPUs stand for many: what is measured is who is given a connection, not who
 * gets a CPU.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SLOW_REQUEST "GET /slow"

static double now_ms(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void stand_still(void)
{
	const char *text = getenv("SLOW_MS");
	int ms = text ? atoi(text) : 50;
	double end = now_ms(CLOCK_THREAD_CPUTIME_ID) + ms;

	if (!getenv("SLOW_BURN")) {
		poll(NULL, 0, ms);
		return;
	}
	while (now_ms(CLOCK_THREAD_CPUTIME_ID) < end)
		;
}

static ssize_t look_at(const void *data, ssize_t len)
{
	int saved = errno;

	if (len >= (ssize_t)strlen(SLOW_REQUEST) &&
	    !memcmp(data, SLOW_REQUEST, strlen(SLOW_REQUEST)))
		stand_still();
	errno = saved;
	return len;
}

ssize_t read(int fd, void *data, size_t len)
{
	static ssize_t (*next)(int, void *, size_t);

	if (!next)
		next = (ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
	return look_at(data, next(fd, data, len));
}

ssize_t recv(int fd, void *data, size_t len, int flags)
{
	static ssize_t (*next)(int, void *, size_t, int);

	if (!next)
		next = (ssize_t(*)(int, void *, size_t, int))dlsym(RTLD_NEXT, "recv");
	return look_at(data, next(fd, data, len, flags));
}
