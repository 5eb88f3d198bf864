/* SPDX-License-Identifier: MIT */
/*
 * Replies on an HTTP/1 connection: head and framing (RFC 9112) into the session's output.  Calls nobody back: what a
 * handler gives is queued, and the session writes it when it runs.
 */
#include <stdlib.h>

#include "base/err.h"
#include "http/session.h"

static struct exchange *exchange_of(const struct reply *r)
{
	return container_of(r, struct exchange, reply);
}

/* The statuses of nearly all replies, ready to copy; others are formatted. */
static struct span status_line(unsigned status)
{
	switch (status) {
	case 200:
		return SPAN("HTTP/1.1 200 OK\r\n");
	case 206:
		return SPAN("HTTP/1.1 206 Partial Content\r\n");
	case 304:
		return SPAN("HTTP/1.1 304 Not Modified\r\n");
	case 404:
		return SPAN("HTTP/1.1 404 Not Found\r\n");
	default:
		return span_of(NULL, 0);
	}
}

static void put_status(struct buf *b, unsigned status)
{
	struct span line = status_line(status);

	if (line.ptr) {
		buf_add_span(b, line);
		return;
	}
	buf_add_lit(b, "HTTP/1.1 ");
	buf_add_u64(b, status);
	buf_add_char(b, ' ');
	buf_add_span(b, span_str(status_phrase(status)));
	buf_add_lit(b, "\r\n");
}

static bool is_chunked(const struct reply *r)
{
	return r->is_unsized && r->req->version_minor > 0 && !r->is_until_close;
}

static void put_framing(struct buf *b, const struct reply *r)
{
	if (r->status < 200 || r->status == 204 || r->status == 304)
		return;
	if (!r->is_unsized) {
		buf_add_lit(b, "Content-Length: ");
		buf_add_u64(b, r->length);
		buf_add_lit(b, "\r\n");
	} else if (is_chunked(r)) {
		buf_add_lit(b, "Transfer-Encoding: chunked\r\n");
	}
}

static void put_connection(struct buf *b, const struct reply *r)
{
	if (r->is_upgrade)
		buf_add_lit(b, "Connection: Upgrade\r\n");
	else if (r->must_close)
		buf_add_lit(b, "Connection: close\r\n");
	else if (r->req->version_minor == 0)
		buf_add_lit(b, "Connection: keep-alive\r\n");
}

static size_t head_size(const struct reply *r)
{
	size_t size = 512 + r->block.len;

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

static void put_head(struct buf *b, struct session *s, const struct reply *r)
{
	put_status(b, r->status);
	if (!r->is_relayed)
		buf_add_span(b, server_common_fields(s->server));
	for (unsigned i = 0; i < r->field_count; i++) {
		buf_add_span(b, r->fields[i].name);
		buf_add_lit(b, ": ");
		buf_add_span(b, r->fields[i].value);
		buf_add_lit(b, "\r\n");
	}
	buf_add_span(b, r->block);
	put_framing(b, r);
	put_connection(b, r);
	buf_add_lit(b, "\r\n");
	BUG_ON(b->is_truncated);
}

/* What no buffer of the pool holds in one piece goes through memory of its own: rare, an upstream's head only. */
static size_t put_large_head(struct exchange *x, const struct reply *r, size_t size)
{
	char *memory = malloc(size);
	struct buf b;

	if (!memory)
		return 0;
	buf_init(&b, memory, size);
	put_head(&b, x->session, r);
	output_add(&x->output, b.ptr, b.len);
	free(memory);
	return b.len;
}

static size_t put_small_head(struct exchange *x, const struct reply *r, size_t size)
{
	char *at = output_reserve(&x->output, size);
	struct buf b;

	if (!at)
		return 0;
	buf_init(&b, at, size);
	put_head(&b, x->session, r);
	output_commit(&x->output, b.len);
	return b.len;
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
static bool account(struct reply *r, uint64_t len)
{
	BUG_ON(!r->is_begun || r->is_ended);
	r->written += len;
	BUG_ON(!r->is_unsized && r->written > r->length);
	session_wake(exchange_of(r)->session);
	return len > 0 && !r->has_no_content;
}

static void chunk_open(struct reply *r, uint64_t len)
{
	char line[24];
	struct buf b;

	if (!is_chunked(r))
		return;
	buf_init(&b, line, sizeof(line));
	buf_add_hex(&b, len);
	buf_add_lit(&b, "\r\n");
	output_add(&exchange_of(r)->output, b.ptr, b.len);
}

static void chunk_close(struct reply *r)
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
	struct buf b;

	BUG_ON(r->is_begun);
	if (r->req->version_minor == 0 || (status == 100 && x->has_sent_continue))
		return;
	if (status == 100)
		x->has_sent_continue = true;
	buf_init(&b, line, sizeof(line));
	put_status(&b, status);
	output_add(&x->output, b.ptr, b.len);
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
