/* SPDX-License-Identifier: MIT */
/*
 * The floor of a server: what the kernel takes for itself when a small reply goes out, whatever server sends it.
 *
 *   limit PORT WORKERS [BYTES [close]]      PORT 0: any; prints "port N" when it listens
 *
 * One process for each CPU, pinned, with a listening socket of its own (SO_REUSEPORT) and an edge-triggered epoll.  It
 * looks for the end of each head and for nothing else, and sends a constant reply of BYTES (default 5): the same to
 * everybody, whatever was asked.  Heads that were read together are answered in one send.  close: each connection ends
 * after the first reply, as `Connection: close` asks for.
 *
 * A reply costs the two system calls that no server can do without, recv and send, and its share of an epoll_wait.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/wire.h"
#include "proc/cpus.h"

#define EVENTS	    512
#define BYTES_MAX   (64 << 10)
#define WORKERS_MAX 256
#define BATCH	    16 /* replies in one send; more that are due take several */
#define TAIL	    3  /* bytes of "\r\n\r\n" that may lie in an earlier piece */

struct side {
	bool is_open;
	unsigned char tail_len;
	char tail[TAIL];
	size_t left; /* bytes of replies that are due */
};

static struct side *sides; /* by descriptor */
static size_t side_count;
static char *replies;
static size_t reply_len;
static bool is_closing;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void make_replies(size_t bytes)
{
	static const char form[] = "HTTP/1.1 200 OK\r\nServer: limit\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
				   "Content-Type: text/plain\r\nContent-Length: %zu\r\n%s\r\n";
	char head[256];
	int len = snprintf(head, sizeof(head), form, bytes, is_closing ? "Connection: close\r\n" : "");

	reply_len = (size_t)len + bytes;
	replies = malloc(BATCH * reply_len);
	if (!replies)
		die("malloc");
	memset(replies, 'x', BATCH * reply_len);
	for (size_t i = 0; i < BATCH; i++)
		memcpy(replies + i * reply_len, head, (size_t)len);
}

static void end(int fd)
{
	close(fd);
	sides[fd].is_open = false;
}

/* All replies are the same: how many bytes are left says where to go on. */
static void flush(int fd)
{
	struct side *s = &sides[fd];

	while (s->left) {
		size_t at = (reply_len - s->left % reply_len) % reply_len, room = BATCH * reply_len - at;
		ssize_t n = send(fd, replies + at, s->left < room ? s->left : room, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0) {
			if (errno != EAGAIN)
				end(fd);
			return;
		}
		s->left -= (size_t)n;
		if (!s->left && is_closing) {
			end(fd);
			return;
		}
	}
}

/* How many heads end in data[0..len); what follows the last one is kept as far as it may be part of an end. */
static size_t count_heads(struct side *s, const char *data, size_t len)
{
	const char *at = data, *stop = data + len, *found;
	size_t count = 0;

	while ((found = memmem(at, (size_t)(stop - at), "\r\n\r\n", 4))) {
		at = found + 4;
		count++;
	}
	s->tail_len = (unsigned char)(stop - at < TAIL ? stop - at : TAIL);
	memcpy(s->tail, stop - s->tail_len, s->tail_len);
	return count;
}

/* A short read has emptied the socket; only an end of the client that came with it is still there: no event will tell. */
static void take(int fd, bool is_ending)
{
	static char data[TAIL + (64 << 10)];
	struct side *s = &sides[fd];
	ssize_t n, room = sizeof(data) - TAIL;

	do {
		char *begin = data + TAIL - s->tail_len;

		n = recv(fd, data + TAIL, (size_t)room, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN)) {
			end(fd);
			return;
		}
		if (n < 0)
			break;
		memcpy(begin, s->tail, s->tail_len);
		s->left += count_heads(s, begin, s->tail_len + (size_t)n) * reply_len;
	} while (n == room || is_ending);
	flush(fd);
}

static void accept_all(int epoll, int listener)
{
	int fd, on = 1;

	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd};

		if ((size_t)fd >= side_count || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev))
			die("limit: too many connections");
		sides[fd] = (struct side){.is_open = true};
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
}

static void serve(int listener)
{
	struct epoll_event ev[EVENTS] = {{.events = EPOLLIN, .data.fd = listener}};
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, ev))
		die("epoll");
	for (;;) {
		int count = epoll_wait(epoll, ev, EVENTS, -1);

		for (int i = 0; i < count; i++) {
			int fd = ev[i].data.fd;

			/* One that was closed and given anew in this batch: there is nothing to read yet, no harm. */
			if (fd == listener)
				accept_all(epoll, listener);
			else if (sides[fd].is_open && ev[i].events & ~(unsigned)EPOLLOUT)
				take(fd, ev[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
			else if (sides[fd].is_open)
				flush(fd);
		}
	}
}

static int listen_on(struct sockaddr_in *addr)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
	socklen_t len = sizeof(*addr);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)addr, len) || listen(fd, 4096) ||
	    getsockname(fd, (struct sockaddr *)addr, &len))
		die("limit");
	return fd;
}

static void start_worker(const struct cpus *cpus, const int *listeners, unsigned count, unsigned i)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		die("fork");
	if (pid)
		return;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent || cpus_pin(cpus->ids[i % cpus->count]))
		die("limit: worker");
	for (unsigned other = 0; other < count; other++) {
		if (other != i)
			close(listeners[other]);
	}
	serve(listeners[i]);
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	unsigned count = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
	size_t bytes = argc > 3 ? strtoul(argv[3], NULL, 10) : 5;
	int listeners[WORKERS_MAX];
	struct cpus cpus;

	if (!count || count > WORKERS_MAX || bytes > BYTES_MAX) {
		fprintf(stderr, "usage: limit PORT WORKERS [BYTES [close]]\n");
		return 2;
	}
	is_closing = argc > 4 && strcmp(argv[4], "close") == 0;
	addr.sin_port = htons((uint16_t)atoi(argv[1]));
	make_replies(bytes);
	side_count = wire_raise_files(100000);
	sides = calloc(side_count, sizeof(*sides));
	if (!sides)
		die("calloc");
	cpus_detect(&cpus);
	for (unsigned i = 0; i < count; i++)
		listeners[i] = listen_on(&addr);
	for (unsigned i = 0; i < count; i++)
		start_worker(&cpus, listeners, count, i);
	printf("port %u\n", ntohs(addr.sin_port));
	fflush(stdout);
	for (;;)
		pause();
}
