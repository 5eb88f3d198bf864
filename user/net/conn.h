/* SPDX-License-Identifier: MIT */
/*
 * One accepted connection: descriptor, peer, readiness, and the transport its bytes go through.  The transport is the
 * seam for TLS: whoever reads and writes calls conn_read and friends and never the socket.
 *
 * Readiness under edge triggering: is_readable and is_writable say what the kernel last told; a call that would block,
 * or a read that came back short, clears its flag, an event sets it again.
 */
#ifndef SLUICE_NET_CONN_H
#define SLUICE_NET_CONN_H

#include "net/loop.h"
#include "net/sock.h"

struct conn;

/*
 * Results: bytes, 0 (read: the peer has ended its side; sendfile: the file has ended), -EAGAIN, or another -errno.
 * `has_more` says that more output follows at once (the transport may hold back a partial segment).
 */
struct transport_ops {
	const char *name;
	ssize_t (*read)(struct conn *c, void *to, size_t len);
	ssize_t (*writev)(struct conn *c, const struct iovec *iov, int count, bool has_more);
	ssize_t (*sendfile)(struct conn *c, int fd, off_t *offset, size_t len);
	/* Between connection and pipe, without a copy.  NULL: the bytes have to be looked at (TLS). */
	ssize_t (*splice_in)(struct conn *c, int pipe_fd, size_t len);
	ssize_t (*splice_out)(struct conn *c, int pipe_fd, size_t len, bool has_more);
	int (*shutdown_write)(struct conn *c);
	/* Frees what the transport holds; the descriptor is closed by conn_close. NULL: nothing. */
	void (*close)(struct conn *c);
};

extern const struct transport_ops transport_plain;

struct conn {
	struct io io;
	const struct transport_ops *transport;
	struct loop *loop;
	union sock_addr peer;		/* the client; of a connection with a PROXY protocol header, whom it announced */
	union sock_addr transport_peer;	/* who holds the other end of the socket; mostly the same */
	union sock_addr announced_local;/* what the client connected to, by that header; family 0: ask the socket */
	bool is_readable;
	bool is_writable;
	bool has_peer_closed;	/* the peer has ended its side (FIN): a read will return 0 when all is read */
	bool has_read_end;	/* a read has returned 0 */
	bool has_failed;	/* reset or another error: neither direction works */
	bool has_urgent;	/* urgent data has come (MSG_OOB): a short read says nothing any more */
	bool wants_write;	/* EPOLLOUT is asked for */
};

/* Takes the descriptor, which is non-blocking.  No event comes before conn_watch. */
void conn_open(struct conn *c, struct loop *loop, int fd, const union sock_addr *peer,
	       void (*on_ready)(struct io *io, uint32_t events));
/* Events from now on, also for what is ready already; harmless twice.  0 or -errno. */
int conn_watch(struct conn *c);
/* To be called first in on_ready: translates the events into the flags. */
void conn_note_events(struct conn *c, uint32_t events);
/* What the client connected to: as announced, else the socket's own address.  0 or -errno. */
int conn_local_addr(const struct conn *c, union sock_addr *ret_addr);
ssize_t conn_read(struct conn *c, void *to, size_t len);
ssize_t conn_writev(struct conn *c, const struct iovec *iov, int count, bool has_more);
ssize_t conn_sendfile(struct conn *c, int fd, off_t *offset, size_t len);
static inline bool conn_can_splice(const struct conn *c)
{
	return c->transport->splice_in && c->transport->splice_out;
}

/*
 * Results as of conn_read and conn_writev.  -EAGAIN of splice_in may come from a full pipe: the caller, who knows how much
 * is in it, must not ask then.
 */
ssize_t conn_splice_in(struct conn *c, int pipe_fd, size_t len);
ssize_t conn_splice_out(struct conn *c, int pipe_fd, size_t len, bool has_more);
/* Asks for an event when the kernel takes bytes again; called after -EAGAIN, costs nothing when asked already. */
int conn_want_write(struct conn *c);
int conn_shutdown_write(struct conn *c);
/* Closes; harmless twice.  `is_reset`: the peer gets RST instead of FIN. */
void conn_close(struct conn *c, bool is_reset);

#endif
