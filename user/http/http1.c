/* SPDX-License-Identifier: MIT */
/*
 * Replies on an HTTP/1 connection: head and framing (RFC 9112) into the session's output.  Calls nobody back: what a
 * handler gives is queued, and the session writes it when it runs.
 */
#include <stdlib.h>

#include "base/err.h"
#include "base/put.h"
#include "http/session.h"

static struct exchange *exchange_of(const struct reply *r)
{
	return container_of(r, struct exchange, reply);
}

/* Bytes of a head beside its fields: status line, Server, Date, framing, Connection and the end. */
#define HEAD_BASE 512
_Static_assert(sizeof(((struct server *)0)->ok_head) + 128 <= HEAD_BASE, "a head is written without a look at the room");

static char *put_status(char *at, unsigned status)
{
	if (status == 200)
		return put_lit(at, SERVER_OK_LINE);
	at = put_lit(at, "HTTP/1.1 ");
	at = put_u64(at, status);
	at = put_char(at, ' ');
	at = put_span(at, span_str(status_phrase(status)));
	return put_lit(at, "\r\n");
}

static bool is_chunked(const struct reply *r)
{
	return r->is_unsized && r->req->version_minor > 0 && !r->is_until_close;
}

static char *put_framing(char *at, const struct reply *r)
{
	if (r->status < 200 || r->status == 204 || r->status == 304)
		return at;
	if (!r->is_unsized) {
		at = put_lit(at, "Content-Length: ");
		at = put_u64(at, r->length);
		return put_lit(at, "\r\n");
	}
	return is_chunked(r) ? put_lit(at, "Transfer-Encoding: chunked\r\n") : at;
}

static char *put_connection(char *at, const struct reply *r)
{
	if (r->is_upgrade)
		return put_lit(at, "Connection: Upgrade\r\n");
	if (r->must_close)
		return put_lit(at, "Connection: close\r\n");
	return r->req->version_minor == 0 ? put_lit(at, "Connection: keep-alive\r\n") : at;
}

static size_t head_size(const struct reply *r)
{
	size_t size = HEAD_BASE + r->block.len;

	for (unsigned i = 0; i < r->field_count; i++)
		size += r->fields[i].name.len + r->fields[i].value.len + 4;
	return size;
}

static void decide_close(struct session *s, struct reply *r)
{
	const struct request *req = r->req;

	if (r->is_upgrade)
		return;
	if (!req->is_keep_alive || s->conn.has_read_end)
		r->must_close = true;
	if (r->is_unsized && !is_chunked(r) && !r->has_no_content)
		r->must_close = true;
	if (s->server->is_draining && !r->must_close) {
		r->must_close = true;
		s->close_reason = CLOSE_DRAIN;
	}
	if (s->server->close_quota && !r->must_close) {
		s->server->close_quota--;
		r->must_close = true;
		s->close_reason = CLOSE_REBALANCE;
	}
	if (s->server->limits.age_ms && !r->must_close &&
	    (uint32_t)s->server->loop->now_ms - s->opened_ms >= s->server->limits.age_ms) {
		r->must_close = true;
		s->close_reason = CLOSE_MAX_AGE;
	}
	if (s->server->max_requests && s->request_count >= s->server->max_requests &&
	    !r->must_close) {
		r->must_close = true;
		s->close_reason = CLOSE_MAX_REQUESTS;
	}
}

/*
 * A client that waits for 100 (Continue) gets it when its body is wanted, which means drained at least.  An error comes
 * instead of it, and then nobody knows whether the body will follow: the connection is closed (RFC 9110 10.1.1).
 */
static void settle_continue(struct exchange *x, struct reply *r)
{
	if (!r->req->expects_continue || x->has_sent_continue || x->is_body_done ||
	    x->in_start < x->in_end)
		return;
	if (r->status >= 300) {
		r->must_close = true;
		return;
	}
	x->has_sent_continue = true;
	output_add(&x->output, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	x->output_before = x->output.total;
}

/* Returns its length, at most head_size. */
static size_t put_head(char *to, struct session *s, const struct reply *r)
{
	char *at = to;

	if (r->status == 200 && !r->is_relayed) {
		at = put_span(at, server_ok_head(s->server));
	} else {
		at = put_status(at, r->status);
		if (!r->is_relayed)
			at = put_span(at, server_common_fields(s->server));
	}
	for (unsigned i = 0; i < r->field_count; i++) {
		at = put_span(at, r->fields[i].name);
		at = put_lit(at, ": ");
		at = put_span(at, r->fields[i].value);
		at = put_lit(at, "\r\n");
	}
	at = put_span(at, r->block);
	at = put_framing(at, r);
	at = put_connection(at, r);
	return (size_t)(put_lit(at, "\r\n") - to);
}

/* What no buffer of the pool holds in one piece goes through memory of its own: rare, an upstream's head only. */
static size_t put_large_head(struct exchange *x, const struct reply *r, size_t size)
{
	char *memory = malloc(size);
	size_t len;

	if (!memory)
		return 0;
	len = put_head(memory, x->session, r);
	output_add(&x->output, memory, len);
	free(memory);
	return len;
}

static size_t put_small_head(struct exchange *x, const struct reply *r, size_t size)
{
	char *at = output_reserve(&x->output, size);
	size_t len;

	if (!at)
		return 0;
	len = put_head(at, x->session, r);
	output_commit(&x->output, len);
	return len;
}

static void http1_begin(struct reply *r)
{
	struct exchange *x = exchange_of(r);
	struct session *s = x->session;
	size_t size = head_size(r), len;

	settle_continue(x, r);
	decide_close(s, r);
	len = size <= OUTPUT_RESERVE_MAX ? put_small_head(x, r, size) : put_large_head(x, r, size);
	if (len == 0)
		x->output.has_failed = true;
	x->reply_head_len = (unsigned)len;
	session_wake(s);
}

/* False: the bytes are not to be sent. */
static inline bool account(struct reply *r, uint64_t len)
{
	BUG_ON(!r->is_begun || r->is_ended);
	r->written += len;
	BUG_ON(!r->is_unsized && r->written > r->length);
	session_wake(exchange_of(r)->session);
	return len > 0 && !r->has_no_content;
}

static void put_chunk_size(struct reply *r, uint64_t len)
{
	char line[24];
	struct buf b;

	buf_init(&b, line, sizeof(line));
	buf_add_hex(&b, len);
	buf_add_lit(&b, "\r\n");
	output_add(&exchange_of(r)->output, b.ptr, b.len);
}

static inline void chunk_open(struct reply *r, uint64_t len)
{
	if (is_chunked(r))
		put_chunk_size(r, len);
}

static inline void chunk_close(struct reply *r)
{
	if (is_chunked(r))
		output_add(&exchange_of(r)->output, "\r\n", 2);
}

static void http1_write(struct reply *r, const void *data, size_t len)
{
	if (!account(r, len))
		return;
	chunk_open(r, len);
	output_add(&exchange_of(r)->output, data, len);
	chunk_close(r);
}

static void http1_write_held(struct reply *r, struct span data, struct hold *hold)
{
	if (!account(r, data.len))
		return;
	chunk_open(r, data.len);
	output_add_held(&exchange_of(r)->output, data, hold);
	chunk_close(r);
}

static void http1_write_file(struct reply *r, int fd, off_t offset, uint64_t len, struct hold *hold)
{
	if (!account(r, len))
		return;
	chunk_open(r, len);
	output_add_file(&exchange_of(r)->output, fd, offset, len, hold);
	chunk_close(r);
}

static void http1_write_pipe(struct reply *r, struct pipe *pipe, unsigned len, struct hold *hold)
{
	if (!account(r, len))
		return;
	chunk_open(r, len);
	output_add_pipe(&exchange_of(r)->output, pipe, len, hold);
	chunk_close(r);
}

static void http1_interim(struct reply *r, unsigned status, struct span block)
{
	struct exchange *x = exchange_of(r);
	char line[64];

	BUG_ON(r->is_begun);
	if (r->req->version_minor == 0 || (status == 100 && x->has_sent_continue))
		return;
	if (status == 100)
		x->has_sent_continue = true;
	output_add(&x->output, line, (size_t)(put_status(line, status) - line));
	output_add(&x->output, block.ptr, block.len);
	output_add(&x->output, "\r\n", 2);
	x->output_before = x->output.total;
	session_wake(x->session);
}

static void http1_pause_body(struct reply *r, bool is_paused)
{
	struct exchange *x = exchange_of(r);

	x->is_paused = is_paused;
	if (!is_paused)
		session_wake(x->session);
}

static ssize_t http1_splice_body(struct reply *r, int pipe_fd, size_t len)
{
	struct exchange *x = exchange_of(r);
	struct session *s = x->session;
	uint64_t most = MIN((uint64_t)len, parser_opaque(&x->parser));
	ssize_t n;

	if (most == 0 || x->in_start < x->in_end)
		return most == 0 ? 0 : -EAGAIN;
	n = conn_splice_in(&s->conn, pipe_fd, most);
	/* The client has ended its side within its content: the session finds that out next. */
	if (n == 0)
		return -EPIPE;
	if (n > 0) {
		parser_skip(&x->parser, (uint64_t)n);
		session_note_body(s, (size_t)n);
	}
	return n;
}

static void http1_detach(struct reply *r, const struct detached_ops *ops, void *ctx,
			 void *(*on_detached)(void *ctx, const struct detached *d))
{
	struct exchange *x = exchange_of(r);

	BUG_ON(!r->is_begun || !(r->is_upgrade || r->is_until_close));
	x->detached = ops;
	x->detached_ctx = ctx;
	x->on_detached = on_detached;
	session_wake(x->session);
}

static int http1_local_addr(struct reply *r, union sock_addr *ret_addr)
{
	return conn_local_addr(&exchange_of(r)->session->conn, ret_addr);
}

static void http1_run(struct reply *r)
{
	session_run(exchange_of(r)->session);
}

static void http1_end(struct reply *r)
{
	struct exchange *x = exchange_of(r);

	BUG_ON(!r->is_begun || r->is_ended);
	if (!r->is_unsized && r->written < r->length && !r->has_no_content) {
		/* Fewer bytes than announced: the client must not take the next reply for the rest. */
		x->is_aborted = true;
	} else if (is_chunked(r) && !r->has_no_content) {
		output_add(&x->output, "0\r\n", 3);
		output_add(&x->output, r->trailers.ptr, r->trailers.len);
		output_add(&x->output, "\r\n", 2);
	}
	r->is_ended = true;
	session_wake(x->session);
}

static void http1_abort(struct reply *r)
{
	struct exchange *x = exchange_of(r);

	x->is_aborted = true;
	session_wake(x->session);
}

static uint64_t http1_queued(const struct reply *r)
{
	return exchange_of(r)->output.queued;
}

const struct reply_ops http1_reply_ops = {
	.begin = http1_begin,
	.write = http1_write,
	.write_held = http1_write_held,
	.write_file = http1_write_file,
	.end = http1_end,
	.abort = http1_abort,
	.queued = http1_queued,
	.write_pipe = http1_write_pipe,
	.interim = http1_interim,
	.pause_body = http1_pause_body,
	.splice_body = http1_splice_body,
	.detach = http1_detach,
	.run = http1_run,
	.local_addr = http1_local_addr,
};
