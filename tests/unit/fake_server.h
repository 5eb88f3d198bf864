/* SPDX-License-Identifier: MIT */
/*
 * A server of one answer for tests, on a free port of loopback, served by the loop under test: it reads until an empty
 * line, says what it was told to say, and closes or not.
 */
#ifndef SLUICE_TESTS_FAKE_SERVER_H
#define SLUICE_TESTS_FAKE_SERVER_H

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "net/loop.h"
#include "net/sock.h"

#define FAKE_SERVER_CLIENTS 16

struct fake_server;

struct fake_client {
	struct io io;		/* fd -1: free */
	struct fake_server *server;
};

struct fake_server {
	struct loop *loop;
	struct io io;
	struct fake_client clients[FAKE_SERVER_CLIENTS];
	union sock_addr addr;
	const char *answer;	/* NULL: says nothing and keeps the connection */
	bool closes_at_once, keeps_open;
	unsigned accept_count, request_count;
	char request[4096];	/* the last one, as far as it came */
	size_t request_len;
};

static inline void fake_server_drop(struct fake_client *c)
{
	loop_remove(c->server->loop, &c->io);
	sock_close(c->io.fd);
	c->io.fd = -1;
}

static inline void fake_server_on_client(struct io *io, uint32_t events)
{
	struct fake_client *c = container_of(io, struct fake_client, io);
	struct fake_server *s = c->server;
	ssize_t n = sock_read(io->fd, s->request + s->request_len, sizeof(s->request) - 1 - s->request_len);
	struct iovec iov;

	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		fake_server_drop(c);
		return;
	}
	s->request_len += (size_t)n;
	s->request[s->request_len] = '\0';
	if (!strstr(s->request, "\r\n\r\n"))
		return;
	s->request_count++;
	if (!s->answer)
		return;
	iov = (struct iovec){ (void *)s->answer, strlen(s->answer) };
	sock_writev(io->fd, &iov, 1, false);
	if (!s->keeps_open)
		fake_server_drop(c);
}

static inline void fake_server_on_accept(struct io *io, uint32_t events)
{
	struct fake_server *s = container_of(io, struct fake_server, io);
	struct fake_client *c = s->clients;
	union sock_addr peer;
	int fd = sock_accept(io->fd, &peer);

	if (fd < 0)
		return;
	s->accept_count++;
	while (c < &s->clients[FAKE_SERVER_CLIENTS] && c->io.fd >= 0)
		c++;
	if (s->closes_at_once || c == &s->clients[FAKE_SERVER_CLIENTS]) {
		sock_close(fd);
		return;
	}
	s->request_len = 0;
	s->request[0] = '\0';
	io_init(&c->io, fd, fake_server_on_client);
	loop_add(s->loop, &c->io, EPOLLIN, true);
}

/* `text`: "127.0.0.1:0".  0 or -errno. */
static inline int fake_server_open(struct fake_server *s, struct loop *loop, const char *text)
{
	struct sock_options opt = { 0 };
	const char *step;
	int fd;

	memset(s, 0, sizeof(*s));
	s->loop = loop;
	for (unsigned i = 0; i < FAKE_SERVER_CLIENTS; i++) {
		s->clients[i].io.fd = -1;
		s->clients[i].server = s;
	}
	sock_addr_parse(span_str(text), &s->addr);
	fd = sock_listen(&s->addr, &opt, &step);
	if (fd < 0)
		return fd;
	sock_local_addr(fd, &s->addr);
	io_init(&s->io, fd, fake_server_on_accept);
	return loop_add(loop, &s->io, EPOLLIN, true);
}

/* Nobody listens there any more; the address stays in s->addr. */
static inline void fake_server_close(struct fake_server *s)
{
	for (unsigned i = 0; i < FAKE_SERVER_CLIENTS; i++)
		if (s->clients[i].io.fd >= 0)
			fake_server_drop(&s->clients[i]);
	if (s->io.fd < 0)
		return;
	loop_remove(s->loop, &s->io);
	sock_close(s->io.fd);
	s->io.fd = -1;
}

#endif
