/* SPDX-License-Identifier: MIT */
/*
 * What a handler answers with.  A handler never sees a connection: it fills a reply, and whoever carries the request
 * (the HTTP/1 session today) implements reply_ops.
 *
 *   reply_set_status, reply_add ...   collect; spans need to live until reply_begin returns
 *   reply_begin(r, length)            the head is serialised
 *   reply_write* ...                  content, as long as announced; dropped for HEAD, 204 and 304
 *   reply_end                         the handler is done; the reply may still be in flight
 *
 * A handler that cannot go on after reply_begin calls reply_abort.
 *
 * What a handler that relays needs besides: reply_pause_body stops the request's content from coming, reply_interim sends a
 * 1xx before the reply, reply_write_pipe and reply_splice_body move content through pipes, and reply_detach takes the
 * connection over once a 101, or the head of an answer that only its connection ends, has been sent.
 */
#ifndef SLUICE_HTTP_REPLY_H
#define SLUICE_HTTP_REPLY_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/hold.h"
#include "http/message.h"
#include "net/conn.h"
#include "net/pipe.h"

#define REPLY_FIELDS_MAX     32
#define REPLY_SCRATCH_SIZE   1024
#define REPLY_LENGTH_UNKNOWN UINT64_MAX	/* chunked in 1.1, until close in 1.0 */

struct reply;

/* Who has taken a connection over; they are called at most until the connection is given back by reply_detach's close. */
struct detached_ops {
	/* An event; conn_note_events was called already. */
	void (*on_ready)(void *ctx);
	/* The server closes the connection (it stops): let go of it, call nothing.  How many bytes the client was sent. */
	uint64_t (*on_abort)(void *ctx);
	/* It is to end soon, at the latest by on_abort: say goodbye.  NULL: it is closed at once instead. */
	void (*on_leave)(void *ctx);
};

/* A connection that is no longer HTTP. */
struct detached {
	struct conn *conn;
	struct span early;	/* bytes that came behind the request's head; valid until on_detached returns */
	void *handle;		/* for `close` */
	/* The connection has ended, for this reason (enum close_reason), after that many bytes to the client. */
	void (*close)(void *handle, int reason, uint64_t bytes_sent);
};

struct reply_ops {
	void (*begin)(struct reply *r);
	void (*write)(struct reply *r, const void *data, size_t len);
	void (*write_held)(struct reply *r, struct span data, struct hold *hold);
	void (*write_file)(struct reply *r, int fd, off_t offset, uint64_t len, struct hold *hold);
	void (*end)(struct reply *r);
	void (*abort)(struct reply *r);
	uint64_t (*queued)(const struct reply *r);
	void (*write_pipe)(struct reply *r, struct pipe *pipe, unsigned len, struct hold *hold);
	void (*interim)(struct reply *r, unsigned status, struct span block);
	void (*pause_body)(struct reply *r, bool is_paused);
	ssize_t (*splice_body)(struct reply *r, int pipe_fd, size_t len);
	void (*detach)(struct reply *r, const struct detached_ops *ops, void *ctx,
		       void *(*on_detached)(void *ctx, const struct detached *d));
	int (*local_addr)(struct reply *r, union sock_addr *ret_addr);
	void (*run)(struct reply *r);
};

#define ORIGIN_ID_SIZE 40

/* What a handler tells the access log about where its answer came from. */
struct reply_origin {
	char server[48];	/* "" if none was asked */
	uint32_t connect_us, first_byte_us;	/* since the request's head was complete; 0: not so far */
	uint16_t tries;		/* servers asked */
	char request_id[ORIGIN_ID_SIZE];	/* as it was sent on; "" if it was not, or is longer */
};

struct reply {
	const struct reply_ops *ops;
	const struct request *req;
	uint16_t status;
	bool is_begun;
	bool is_ended;
	bool must_close;	/* no other request on this connection */
	bool has_no_content;	/* HEAD, 204, 304: writes are dropped */
	bool is_unsized;		/* REPLY_LENGTH_UNKNOWN */
	bool has_overflown;	/* more fields or scratch than there is room for: 500 at reply_begin */
	uint64_t length;	/* bytes of content announced, or REPLY_LENGTH_UNKNOWN */
	uint64_t written;	/* bytes of content given so far */
	uint64_t sent;		/* bytes of head and content given to the socket so far */
	bool is_relayed;	/* Date and Server are among the fields already, where they are wanted */
	bool is_upgrade;	/* 101: the connection is to be detached */
	bool is_until_close;	/* of unknown length, not chunked in 1.1 either; the connection may be detached */
	bool wants_splice;	/* on_body_ready instead of on_body, while the content is sized and can be spliced */
	bool ends_with_client;	/* an answer without end: a client that has ended its side reads no more of it */
	bool wants_pause_note;	/* on_body_pause is to be called once the session has no more content at hand */
	struct buf *request_trailers;	/* where those of chunked content go (parser.trailers); NULL: dropped */
	const char *why;	/* for the log, instead of how the session sees the end; a constant */
	void *ctx;		/* the handler's */
	struct span block;	/* more field lines as they shall be sent, "Name: value\r\n"...; until reply_begin returns */
	struct span trailers;	/* likewise, of the trailer section of chunked content; until reply_end returns */
	struct reply_origin origin;
	unsigned field_count;
	struct field fields[REPLY_FIELDS_MAX];
	struct buf scratch;	/* for values made on the way; free after reply_begin */
	char scratch_memory[REPLY_SCRATCH_SIZE];
};

/* Status 200, nothing added. */
void reply_init(struct reply *r, const struct reply_ops *ops, const struct request *req);

static inline void reply_set_status(struct reply *r, unsigned status)
{
	r->status = (uint16_t)status;
}

/*
 * Content-Length, Transfer-Encoding, Connection, Date and Server are the session's; add none of them.
 * More than REPLY_FIELDS_MAX fields: the reply becomes a 500 at reply_begin.
 */
void reply_add(struct reply *r, struct span name, struct span value);
/* Formats into the reply's scratch; too much of it: 500 at reply_begin. */
void reply_addf(struct reply *r, struct span name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* An HTTP date (RFC 9110 5.6.7) of seconds since the epoch. */
void reply_add_date(struct reply *r, struct span name, int64_t unix_s);

/* `length`: bytes of content that follow (for HEAD and 304: that would follow), or REPLY_LENGTH_UNKNOWN. */
void reply_begin(struct reply *r, uint64_t length);

static inline void reply_write(struct reply *r, const void *data, size_t len)
{
	r->ops->write(r, data, len);
}

/* The bytes stay valid until `hold` is released (NULL: for as long as the process lives); a reference is taken. */
static inline void reply_write_held(struct reply *r, struct span data, struct hold *hold)
{
	r->ops->write_held(r, data, hold);
}

/* `fd` stays open until `hold` is released; a reference is taken. A file that turns out shorter aborts the connection. */
static inline void reply_write_file(struct reply *r, int fd, off_t offset, uint64_t len,
				    struct hold *hold)
{
	r->ops->write_file(r, fd, offset, len, hold);
}

/* The next `len` bytes in the pipe are content; the pipe stays until `hold` is released (output_add_pipe). */
static inline void reply_write_pipe(struct reply *r, struct pipe *pipe, unsigned len,
				    struct hold *hold)
{
	r->ops->write_pipe(r, pipe, len, hold);
}

/* An interim response (RFC 9110 15.2), before reply_begin; `block` as reply->block.  Dropped for a client of HTTP/1.0. */
static inline void reply_interim(struct reply *r, unsigned status, struct span block)
{
	r->ops->interim(r, status, block);
}

/* Paused: on_body is not called and the client's bytes stay in the kernel.  May be called within on_body. */
static inline void reply_pause_body(struct reply *r, bool is_paused)
{
	r->ops->pause_body(r, is_paused);
}

/*
 * Moves up to `len` bytes of content into a pipe, from on_body_ready only.  Bytes moved; 0: all of the content has been
 * taken (is_last comes by on_body); -EAGAIN: nothing there now; another -errno: the client is gone, on_abort follows.
 */
static inline ssize_t reply_splice_body(struct reply *r, int pipe_fd, size_t len)
{
	return r->ops->splice_body(r, pipe_fd, len);
}

/*
 * After reply_begin of a 101 with is_upgrade, or with is_until_close: as soon as the head is sent, `on_detached` gives the
 * connection away, and what it returns is the context of `ops`; everything of the request is gone afterwards.  If the
 * client is gone before, on_abort of the handler comes instead.
 */
static inline void reply_detach(struct reply *r, const struct detached_ops *ops, void *ctx,
				void *(*on_detached)(void *ctx, const struct detached *d))
{
	r->ops->detach(r, ops, ctx, on_detached);
}

/*
 * Goes on with the session now rather than in the next iteration.  Only from an event of the handler's own, never from a
 * call of the session; the request and its reply may be gone afterwards.
 */
static inline void reply_run(struct reply *r)
{
	r->ops->run(r);
}

/* The address that the client has connected to.  0 or -errno. */
static inline int reply_local_addr(struct reply *r, union sock_addr *ret_addr)
{
	return r->ops->local_addr(r, ret_addr);
}

static inline void reply_end(struct reply *r)
{
	r->ops->end(r);
}

static inline void reply_abort(struct reply *r)
{
	r->ops->abort(r);
}

/* Bytes given and not yet taken by the kernel: a producer waits for on_writable above some 64 KiB. */
static inline uint64_t reply_queued(const struct reply *r)
{
	return r->ops->queued(r);
}

/* A whole small reply: text/html page naming the status.  Fields added before (Allow, Location) are kept. */
void reply_status_page(struct reply *r, unsigned status);

/* "Sun, 06 Nov 1994 08:49:37 GMT": exactly 29 bytes, not terminated.  */
#define HTTP_DATE_LEN 29
void http_date_print(int64_t unix_s, char out[HTTP_DATE_LEN]);
/* The three forms of RFC 9110 5.6.7.  0 or -EINVAL. */
int http_date_parse(struct span text, int64_t *ret_unix_s);

#endif
