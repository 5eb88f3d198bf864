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
 */
#ifndef SLUICE_HTTP_REPLY_H
#define SLUICE_HTTP_REPLY_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/hold.h"
#include "http/message.h"

#define REPLY_FIELDS_MAX     32
#define REPLY_SCRATCH_SIZE   1024
#define REPLY_LENGTH_UNKNOWN UINT64_MAX	/* chunked in 1.1, until close in 1.0 */

struct reply;

struct reply_ops {
	void (*begin)(struct reply *r);
	void (*write)(struct reply *r, const void *data, size_t len);
	void (*write_held)(struct reply *r, struct span data, struct hold *hold);
	void (*write_file)(struct reply *r, int fd, off_t offset, uint64_t len, struct hold *hold);
	void (*end)(struct reply *r);
	void (*abort)(struct reply *r);
	uint64_t (*queued)(const struct reply *r);
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
