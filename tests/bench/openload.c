/* SPDX-License-Identifier: MIT */
/*
 * Load with a new connection for each request, or with kept ones, and the time of each answer.
 *
 *   openload PORT RATE SECONDS [SLOW_EVERY [KEEP]]
 *
 * RATE > 0 is an open loop: requests fall due at random (exponential gaps), whatever the server
 * does, and their time counts from when they were due.  RATE < 0 is a closed loop: -RATE
 * connections at once, until SECONDS are over, or until as many as SLOW_EVERY were made where
 * SECONDS is 0.  In an open loop one request in SLOW_EVERY, drawn at random, is for /slow, the
 * others are for /hello.  With KEEP there are as many keep-alive connections at most, the last used
 * first; a request that finds all of them busy waits for one, and its time counts all the same.
 *
 * One line of JSON on standard output; `local` are connections that could not be made at all, for want of a descriptor
 * or a port.  A connection counts as failed when it is refused, reset or
 * closed before a status of 200, or has none 10 s after the end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <math.h>

#include "lib/wire.h"

#define REQUEST(target, more) "GET " target " HTTP/1.1\r\nHost: t\r\n" more "\r\n"
#define CLOSE		      "Connection: close\r\n"
#define PATIENCE_S	      10.0
#define FAILED_MAX	      10000 /* of which it is said who they were */
#define SOURCES		      60 /* 127.0.1.1 and on: ports in TIME_WAIT are no hindrance */

enum fault { REFUSED, RESET, CLOSED, BAD_STATUS, NO_ANSWER, LOCAL, FAULTS };

static const char *const fault_names[FAULTS] = {"refused",    "reset",	   "closed",
						"bad status", "no answer", "local"};

struct connection {
	double due;
	bool is_open, is_slow, is_sent, has_answer, is_idle;
	uint64_t left; /* of an answer on a kept connection */
};

struct times {
	double *values;
	size_t count, room;
};

static struct {
	struct sockaddr_in to;
	double rate, seconds, start, next_due, max_late;
	unsigned long slow_every, made, done, limit;
	int epoll;
	unsigned open_count, keep, idle_count;
	int *idle; /* kept connections without a request */
	struct connection *by_fd;
	size_t fd_max;
	struct times fast, slow;
	unsigned long faults[FAULTS];
	struct sockaddr_in failed[FAILED_MAX];
	unsigned failed_count;
} load;

static void note(struct times *t, double value)
{
	if (t->count == t->room) {
		t->room = t->room ? t->room * 2 : 4096;
		t->values = realloc(t->values, t->room * sizeof(*t->values));
		if (!t->values)
			exit(3);
	}
	t->values[t->count++] = value;
}

static void note_failed(int fd)
{
	socklen_t len = sizeof(load.failed[0]);

	if (load.failed_count < FAILED_MAX &&
	    !getsockname(fd, (struct sockaddr *)&load.failed[load.failed_count], &len))
		load.failed_count++;
}

/* Abortive: neither side keeps the port in TIME_WAIT. */
static void finish(int fd, int fault)
{
	struct linger abort_it = {.l_onoff = 1};

	if (fault >= 0) {
		load.faults[fault]++;
		note_failed(fd);
	}
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_it, sizeof(abort_it));
	close(fd);
	load.by_fd[fd].is_open = false;
	load.open_count--;
	load.done++;
}

static int fault_of(int err)
{
	switch (err) {
	case ECONNREFUSED:
		return REFUSED;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
	case EADDRNOTAVAIL:
		return LOCAL;
	default:
		return RESET;
	}
}

static void send_request(int fd, struct connection *c)
{
	static const char *const texts[2][2] = {{REQUEST("/hello", CLOSE), REQUEST("/hello", "")},
						{REQUEST("/slow", CLOSE), REQUEST("/slow", "")}};
	const char *text = texts[c->is_slow][load.keep > 0];
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0) {
		if (errno != EAGAIN)
			finish(fd, fault_of(errno));
		return;
	}
	if (!c->is_sent)
		epoll_ctl(load.epoll, EPOLL_CTL_MOD, fd, &ev);
	c->is_sent = true;
}

static bool draw_slow(void)
{
	return load.rate > 0 && load.slow_every && (unsigned long)random() % load.slow_every == 0;
}

static void reuse_one(double due)
{
	int fd = load.idle[--load.idle_count];

	load.made++;
	load.by_fd[fd] = (struct connection){
		.due = due, .is_open = true, .is_sent = true, .is_slow = draw_slow()};
	send_request(fd, &load.by_fd[fd]);
}

static void start_one(double due)
{
	struct sockaddr_in from = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT, .data.fd = fd};

	load.made++;
	if (fd < 0 || (size_t)fd >= load.fd_max) {
		load.faults[LOCAL]++;
		load.done++;
		if (fd >= 0)
			close(fd);
		return;
	}
	load.by_fd[fd] = (struct connection){.due = due, .is_open = true, .is_slow = draw_slow()};
	load.open_count++;
	from.sin_addr.s_addr = htonl(0x7f000101 + (uint32_t)(load.made % SOURCES));
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)) ||
	    (connect(fd, (struct sockaddr *)&load.to, sizeof(load.to)) && errno != EINPROGRESS) ||
	    epoll_ctl(load.epoll, EPOLL_CTL_ADD, fd, &ev))
		finish(fd, fault_of(errno));
}

static void make_idle(int fd)
{
	load.by_fd[fd].is_idle = true; /* and still has_answer */
	load.idle[load.idle_count++] = fd;
	load.done++;
}

/* A kept connection that the server closed while nothing was under way: its right. */
static void forget_idle(int fd)
{
	unsigned i = 0;

	while (load.idle[i] != fd)
		i++;
	load.idle[i] = load.idle[--load.idle_count];
	finish(fd, -1);
}

/* The answer's first bytes on a kept connection: small answers, whose head comes as a whole. */
static void take_kept(int fd, struct connection *c, const char *data, size_t len)
{
	struct wire_head head;
	ssize_t n = wire_parse(data, len, false, &head);

	if (n <= 0 || head.framing != WIRE_SIZED) {
		load.faults[BAD_STATUS]++;
		finish(fd, -1);
		return;
	}
	c->left = head.length - (len - (size_t)n);
	if (head.is_close)
		finish(fd, -1);
	else if (!c->left)
		make_idle(fd);
}

static void receive(int fd, struct connection *c)
{
	char data[4096];
	ssize_t n = recv(fd, data, sizeof(data), 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (c->is_idle) {
		forget_idle(fd);
		return;
	}
	if (n <= 0) {
		finish(fd, c->has_answer && !c->left ? -1 : n == 0 ? CLOSED : fault_of(errno));
		return;
	}
	if (c->has_answer) {
		c->left -= load.keep ? (uint64_t)n : 0;
		if (load.keep && !c->left)
			make_idle(fd);
		return;
	}
	if (n < 12 || memcmp(data, "HTTP/1.1 200", 12)) {
		finish(fd, BAD_STATUS);
		return;
	}
	c->has_answer = true;
	note(c->is_slow ? &load.slow : &load.fast, wire_now_s() - c->due);
	if (load.keep)
		take_kept(fd, c, data, (size_t)n);
}

static bool are_all_busy(void)
{
	return load.keep && !load.idle_count && load.open_count >= load.keep;
}

static bool may_start(double now)
{
	if (load.rate < 0)
		return load.open_count < (unsigned)-load.rate &&
		       (load.limit ? load.made < load.limit : now < load.start + load.seconds);
	return !are_all_busy() && load.next_due <= now && load.next_due < load.start + load.seconds;
}

static void start_due(void)
{
	double now = wire_now_s();

	/* A few at a time: answers that are there are read at once. */
	for (int i = 0; i < 64 && may_start(now); i++, now = wire_now_s()) {
		if (load.rate < 0) {
			start_one(now);
			continue;
		}
		load.max_late = fmax(load.max_late, now - load.next_due);
		if (load.idle_count)
			reuse_one(load.next_due);
		else
			start_one(load.next_due);
		load.next_due -= log(1 - drand48()) / load.rate;
	}
}

static bool is_over(double now)
{
	double end = load.start + load.seconds;

	if (load.rate < 0 && load.limit)
		return load.done >= load.limit;
	if (load.rate > 0 && load.next_due < end)
		return false;
	return now >= end && (load.open_count == load.idle_count || now > end + PATIENCE_S);
}

/* How many events there were. */
static int wait_some(double now)
{
	struct epoll_event events[256];
	double gap = load.rate > 0 && !are_all_busy() ? load.next_due - now : 0.01;
	struct timespec limit = {.tv_nsec = (long)(fmin(fmax(gap, 0), 0.01) * 1e9)};
	int n = epoll_pwait2(load.epoll, events, 256, &limit, NULL);

	for (int i = 0; i < n; i++) {
		int fd = events[i].data.fd;
		struct connection *c = &load.by_fd[fd];

		if (c->is_open && !c->is_sent && events[i].events & (EPOLLOUT | EPOLLERR))
			send_request(fd, c);
		if (c->is_open && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			receive(fd, c);
	}
	return n;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print_times(const char *name, struct times *t)
{
	static const double parts[] = {0.5, 0.9, 0.99, 0.999, 1};
	static const char *const names[] = {"p50", "p90", "p99", "p999", "max"};

	if (t->count)
		qsort(t->values, t->count, sizeof(double), by_value);
	printf(", \"%s\": {\"n\": %zu", name, t->count);
	for (size_t i = 0; i < 5 && t->count; i++) {
		size_t at = (size_t)ceil(parts[i] * (double)t->count);

		printf(", \"%s_ms\": %.3f", names[i], t->values[at ? at - 1 : 0] * 1e3);
	}
	printf("}");
}

/* Our ends of the connections. */
static void print_failed(void)
{
	char host[INET_ADDRSTRLEN];

	printf(", \"failed_from\": [");
	for (unsigned i = 0; i < load.failed_count; i++)
		printf("%s\"%s:%u\"", i ? ", " : "",
		       inet_ntop(AF_INET, &load.failed[i].sin_addr, host, sizeof(host)),
		       ntohs(load.failed[i].sin_port));
	printf("]");
}

static void report(double end)
{
	unsigned long failed = 0;
	double oldest = end;

	for (size_t fd = 0; fd < load.fd_max; fd++) {
		if (!load.by_fd[fd].is_open)
			continue;
		if (!load.by_fd[fd].has_answer)
			oldest = fmin(oldest, load.by_fd[fd].due);
		finish((int)fd, load.by_fd[fd].has_answer ? -1 : NO_ANSWER);
	}
	printf("{\"made\": %lu, \"seconds\": %.3f, \"late_ms\": %.3f, \"unanswered_s\": %.3f, "
	       "\"faults\": {",
	       load.made, end - load.start, load.max_late * 1e3, end - oldest);
	for (int i = 0; i < FAULTS; i++) {
		printf("%s\"%s\": %lu", i ? ", " : "", fault_names[i], load.faults[i]);
		failed += load.faults[i];
	}
	printf("}, \"failed\": %lu", failed);
	print_failed();
	print_times("fast", &load.fast);
	print_times("slow", &load.slow);
	printf("}\n");
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "openload PORT RATE SECONDS [SLOW_EVERY [KEEP]]\n");
		return 2;
	}
	load.to.sin_family = AF_INET;
	load.to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	load.to.sin_port = htons((uint16_t)atoi(argv[1]));
	load.rate = atof(argv[2]);
	load.seconds = atof(argv[3]);
	load.slow_every = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
	load.keep = argc > 5 && load.rate > 0 ? (unsigned)atoi(argv[5]) : 0;
	load.idle = calloc(load.keep + 1, sizeof(*load.idle));
	if (load.rate < 0 && load.seconds <= 0)
		load.limit = load.slow_every;
	load.fd_max = wire_raise_files(100000);
	load.by_fd = calloc(load.fd_max, sizeof(*load.by_fd));
	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!load.by_fd || !load.idle || load.epoll < 0)
		return 3;
	srandom((unsigned)getpid());
	srand48(getpid());
	load.start = load.next_due = wire_now_s();
	while (!is_over(wire_now_s())) {
		start_due();
		wait_some(wire_now_s());
	}
	/* Where others have the CPU for seconds: what has come meanwhile has come. */
	while (wait_some(wire_now_s()) > 0)
		;
	report(wire_now_s());
	return 0;
}
