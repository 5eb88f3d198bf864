/* SPDX-License-Identifier: MIT */
/* Connections and the plain transport; see conn.h. */
#include "net/conn.h"

#include "base/err.h"

static ssize_t plain_read(struct conn *c, void *to, size_t len)
{
	return sock_read(c->io.fd, to, len);
}

static ssize_t plain_writev(struct conn *c, const struct iovec *iov, int count, bool has_more)
{
	return sock_writev(c->io.fd, iov, count, has_more);
}

static ssize_t plain_sendfile(struct conn *c, int fd, off_t *offset, size_t len)
{
	return sock_sendfile(c->io.fd, fd, offset, len);
}

static ssize_t plain_splice_in(struct conn *c, int pipe_fd, size_t len)
{
	return sock_splice(c->io.fd, pipe_fd, len, false);
}

static ssize_t plain_splice_out(struct conn *c, int pipe_fd, size_t len, bool has_more)
{
	return sock_splice(pipe_fd, c->io.fd, len, has_more);
}

static int plain_shutdown_write(struct conn *c)
{
	return sock_shutdown_write(c->io.fd);
}

const struct transport_ops transport_plain = {
	.name = "plain",
	.read = plain_read,
	.writev = plain_writev,
	.sendfile = plain_sendfile,
	.splice_in = plain_splice_in,
	.splice_out = plain_splice_out,
	.shutdown_write = plain_shutdown_write,
};

#define CONN_EVENTS (EPOLLIN | EPOLLRDHUP | EPOLLPRI)

void conn_open(struct conn *c, struct loop *loop, int fd, const union sock_addr *peer,
	       void (*on_ready)(struct io *io, uint32_t events))
{
	io_init(&c->io, fd, on_ready);
	c->transport = &transport_plain;
	c->loop = loop;
	c->peer = *peer;
	c->transport_peer = *peer;
	memset(&c->announced_local, 0, sizeof(c->announced_local));
	c->is_readable = false;
	c->is_writable = true;
	c->has_peer_closed = false;
	c->has_read_end = false;
	c->has_failed = false;
	c->has_urgent = false;
	c->wants_write = false;
}

static bool is_watched(const struct conn *c)
{
	return c->io.generation != 0;
}

int conn_watch(struct conn *c)
{
	return is_watched(c) ? 0 : loop_add(c->loop, &c->io, CONN_EVENTS, false);
}

void conn_note_events(struct conn *c, uint32_t events)
{
	if (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->is_readable = true;
	if (events & EPOLLPRI)
		c->has_urgent = true;
	if (events & EPOLLOUT)
		c->is_writable = true;
	if (events & EPOLLRDHUP)
		c->has_peer_closed = true;
	/*
	 * EPOLLERR: a reset or a send that timed out.  EPOLLHUP alone: both sides have ended, in good order; what the peer
	 * sent before is still to be read, for closing with it unread would reset the connection.
	 */
	if (events & EPOLLHUP)
		c->has_peer_closed = true;
	if (events & EPOLLERR)
		c->has_failed = true;
}

/* What a result that brought no bytes says of the connection. */
static void note_no_bytes(struct conn *c, ssize_t n)
{
	c->is_readable = false;
	if (n == 0)
		c->has_read_end = true;
	else if (n != -EAGAIN)
		c->has_failed = true;
}

int conn_local_addr(const struct conn *c, union sock_addr *ret_addr)
{
	if (!c->announced_local.any.sa_family)
		return sock_local_addr(c->io.fd, ret_addr);
	*ret_addr = c->announced_local;
	return 0;
}

ssize_t conn_read(struct conn *c, void *to, size_t len)
{
	ssize_t n = c->transport->read(c, to, len);

	if (n <= 0) {
		note_no_bytes(c, n);
	} else if ((size_t)n < len && !c->has_peer_closed && !c->has_urgent) {
		/*
		 * Short: the queue is empty, and what comes later makes a new edge (epoll(7)); saves a read.  But a read also
		 * ends in front of an urgent byte (tcp(7)), whatever stands behind it.
		 */
		c->is_readable = false;
	}
	return n;
}

static ssize_t note_write(struct conn *c, ssize_t n)
{
	if (n == -EAGAIN)
		c->is_writable = false;
	else if (n < 0)
		c->has_failed = true;
	return n;
}

ssize_t conn_writev(struct conn *c, const struct iovec *iov, int count, bool has_more)
{
	return note_write(c, c->transport->writev(c, iov, count, has_more));
}

ssize_t conn_sendfile(struct conn *c, int fd, off_t *offset, size_t len)
{
	return note_write(c, c->transport->sendfile(c, fd, offset, len));
}

ssize_t conn_splice_in(struct conn *c, int pipe_fd, size_t len)
{
	ssize_t n = c->transport->splice_in(c, pipe_fd, len);

	/* A short splice says nothing: it may have ended at the pipe's last page. */
	if (n <= 0)
		note_no_bytes(c, n);
	return n;
}

ssize_t conn_splice_out(struct conn *c, int pipe_fd, size_t len, bool has_more)
{
	return note_write(c, c->transport->splice_out(c, pipe_fd, len, has_more));
}

int conn_want_write(struct conn *c)
{
	int err;

	if (c->wants_write)
		return 0;
	if (is_watched(c))
		err = loop_modify(c->loop, &c->io, CONN_EVENTS | EPOLLOUT, false);
	else
		err = loop_add(c->loop, &c->io, CONN_EVENTS | EPOLLOUT, false);
	if (!err)
		c->wants_write = true;
	return err;
}

int conn_shutdown_write(struct conn *c)
{
	return c->transport->shutdown_write(c);
}

void conn_close(struct conn *c, bool is_reset)
{
	int fd = c->io.fd;

	if (fd < 0)
		return;
	if (c->transport->close)
		c->transport->close(c);
	loop_forget(c->loop, &c->io);
	c->io.fd = -1;
	if (is_reset)
		sock_reset(fd);
	else
		sock_close(fd);
}
