/* SPDX-License-Identifier: MIT */
/*
 * The floor of a reverse proxy: bytes from one socket to the other and back, and nothing else.  What a proxy that reads
 * HTTP costs beyond this is its own doing; what this costs is the kernel's.
 *
 *   relay PORT BACK_PORT           both on 127.0.0.1; PORT 0: any; prints "port N" when it listens
 *
 * One process, edge-triggered epoll, one connection to the back end for each client.  A reply takes the four system calls
 * that no proxy can do without: recv and send on either side.  It is for small replies: what a socket does not take at
 * once ends the connection.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 512

struct side {
	int fd;
	struct side *other;
};

static char data[64 << 10];
static struct side *dead[2 * EVENTS];
static unsigned dead_count;
static int epoll;

static struct sockaddr_in loopback(const char *port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(port)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

/* Freed after the batch: events of it may still follow. */
static void end(struct side *s)
{
	struct side *pair[2] = {s, s->other};

	for (int i = 0; i < 2; i++) {
		close(pair[i]->fd);
		pair[i]->fd = -1;
		dead[dead_count++] = pair[i];
	}
}

static void move(struct side *s)
{
	ssize_t n;

	if (s->fd < 0)
		return;
	n = recv(s->fd, data, sizeof(data), MSG_DONTWAIT);
	if (n <= 0 || send(s->other->fd, data, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) != n)
		end(s);
}

static bool watch(struct side *s, struct side *other, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.ptr = s};
	int on = 1;

	s->fd = fd;
	s->other = other;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) == 0;
}

static void pair_up(int client, const struct sockaddr_in *back)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct side *c = calloc(1, sizeof(*c)), *b = calloc(1, sizeof(*b));

	if (fd < 0 || !c || !b || connect(fd, (const struct sockaddr *)back, sizeof(*back)) ||
	    !watch(c, b, client) || !watch(b, c, fd)) {
		perror("relay");
		exit(1);
	}
}

static int listen_on(const char *port)
{
	struct sockaddr_in addr = loopback(port);
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) || listen(fd, 4096) ||
	    getsockname(fd, (struct sockaddr *)&addr, &len)) {
		perror("relay");
		exit(1);
	}
	printf("port %u\n", ntohs(addr.sin_port));
	fflush(stdout);
	return fd;
}

static void serve(int listener, const struct sockaddr_in *back)
{
	struct epoll_event ev[EVENTS];
	int count = epoll_wait(epoll, ev, EVENTS, -1), client;

	for (int i = 0; i < count; i++) {
		if (ev[i].data.ptr)
			move(ev[i].data.ptr);
		else
			while ((client = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
				pair_up(client, back);
	}
	while (dead_count)
		free(dead[--dead_count]);
}

int main(int argc, char **argv)
{
	struct epoll_event ev = {.events = EPOLLIN};
	struct sockaddr_in back;
	int listener;

	if (argc != 3) {
		fprintf(stderr, "usage: relay PORT BACK_PORT\n");
		return 2;
	}
	back = loopback(argv[2]);
	listener = listen_on(argv[1]);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev)) {
		perror("relay");
		return 1;
	}
	for (;;)
		serve(listener, &back);
}
