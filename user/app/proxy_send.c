/* SPDX-License-Identifier: MIT */
/*
 * Towards the server: head and content into one queue, and from there to its connection.
 *
 * A head whose content is at hand waits for it, so that both leave in one call; the session says when it has no more
 * (on_body_pause).  What the server does not take is not read from the client either.
 */
#include "app/proxy_internal.h"
#include "base/err.h"
#include "net/proxy_header.h"

#define FLUSH_BYTES (1024u * 1024)

void call_pause_client(struct proxy_call *c, bool is_paused)
{
	if (c->is_paused == is_paused || c->req->framing == BODY_NONE)
		return;
	c->is_paused = is_paused;
	reply_pause_body(c->reply, is_paused);
}

/* The server takes no more.  It may have answered before it closed, so what it sent is still read. */
static void stop_sending(struct proxy_call *c)
{
	c->is_send_dead = true;
	output_clear(&c->out);
	call_pause_client(c, false);
}

/* Memory of this machine ran out, not the patience of the server: nothing comes of waiting for its answer. */
static void cut_off(struct proxy_call *c)
{
	stop_sending(c);
	c->is_cut_off = true;
	loop_again(call_proxy(c)->loop, &c->job);
}

static bool is_our_fault(const struct output *o)
{
	return o->has_failed || o->error == -ENOBUFS || o->error == -ENOMEM;
}

static void after_flush(struct proxy_call *c, enum flush_result result, uint64_t written)
{
	upstream_lease_counters(&c->lease)->bytes_out += written;
	switch (result) {
	case FLUSH_DONE:
		c->is_blocked = false;
		break;
	case FLUSH_BUDGET:
		loop_again(call_proxy(c)->loop, &c->job);
		break;
	case FLUSH_BLOCKED:
		c->is_blocked = conn_want_write(&c->lease.conn->conn) == 0;
		if (!c->is_blocked)
			cut_off(c);
		break;
	default:
		if (is_our_fault(&c->out))
			cut_off(c);
		else
			stop_sending(c);
		break;
	}
	if (!c->is_send_dead)
		call_pause_client(c, c->out.queued > (c->is_paused ? PROXY_LOW_WATER : PROXY_HIGH_WATER) ||
					     (c->up && c->up->pipe->filled > 0));
}

void call_flush(struct proxy_call *c)
{
	enum flush_result result;
	uint64_t written;

	if (c->is_send_dead)
		return;
	result = output_flush(&c->out, &c->lease.conn->conn, FLUSH_BYTES, false, &written);
	after_flush(c, result, written);
}

/* A head without content, from where it was made: the usual request is never copied into a buffer. */
static void send_whole(struct proxy_call *c, struct span head)
{
	enum flush_result result;
	uint64_t written;

	c->is_sent = true;
	result = output_send(&c->out, &c->lease.conn->conn, head.ptr, head.len, &written);
	after_flush(c, result, written);
}

/* Who the client is, in front of everything else (PROXY protocol). */
static void put_proxy_header(struct proxy_call *c, struct buf *b)
{
	union sock_addr local;

	if (reply_local_addr(c->reply, &local) < 0)
		local.any.sa_family = AF_UNSPEC;
	if (c->route->group->send_header == PROXY_SEND_V1)
		proxy_header_write_v1(b, c->req->peer, &local);
	else
		proxy_header_write_v2(b, c->req->peer, &local);
}

bool call_send_head(struct proxy_call *c)
{
	struct buf b = proxy_scratch();

	if (c->route->group->send_header != PROXY_SEND_NONE)
		put_proxy_header(c, &b);
	if (!proxy_write_request(c, &b)) {
		/* A head that fits ours and, with what we add, not this: hardly ever. */
		call_fail(c, 431, "head_too_large", OUTCOME_NEUTRAL);
		return false;
	}
	if (c->req->framing == BODY_NONE) {
		send_whole(c, buf_span(&b));
	} else {
		output_add(&c->out, b.ptr, b.len);
		c->reply->wants_pause_note = true;
		c->reply->wants_splice = c->req->framing == BODY_SIZED && c->req->content_length >= PROXY_SPLICE_MIN;
		call_pause_client(c, false);
	}
	call_settle(c);
	return true;
}

/* Content ------------------------------------------------------------------------------------------------------- */

static void add_chunk(struct output *out, struct span data)
{
	char line[24];
	struct buf b;

	buf_init(&b, line, sizeof(line));
	buf_add_hex(&b, data.len);
	buf_add_lit(&b, "\r\n");
	output_add(out, b.ptr, b.len);
	output_add(out, data.ptr, data.len);
	output_add(out, "\r\n", 2);
}

static void add_end(struct proxy_call *c)
{
	char memory[PROXY_TRAILERS_SIZE];
	struct buf trailers;

	c->is_sent = true;
	if (c->req->framing != BODY_CHUNKED)
		return;
	buf_init(&trailers, memory, sizeof(memory));
	if (!c->request_trailers.is_truncated)
		proxy_filter_trailers(buf_span(&c->request_trailers), &trailers);
	output_add(&c->out, "0\r\n", 3);
	output_add(&c->out, trailers.ptr, trailers.len);
	output_add(&c->out, "\r\n", 2);
}

void proxy_on_body(struct request *req, struct reply *reply, struct span data, bool is_last)
{
	struct proxy_call *c = reply->ctx;

	if (!c)
		return;
	c->has_taken_body = true;
	if (c->is_send_dead) {
		c->is_sent = c->is_sent || is_last;
		return;
	}
	if (data.len && req->framing == BODY_CHUNKED)
		add_chunk(&c->out, data);
	else
		output_add(&c->out, data.ptr, data.len);
	if (is_last)
		add_end(c);
	if (is_last || c->out.queued > PROXY_HIGH_WATER) {
		reply->wants_pause_note = false;
		call_flush(c);
		call_settle(c);
	} else {
		reply->wants_pause_note = true;
	}
}

void proxy_on_body_pause(struct request *req, struct reply *reply)
{
	struct proxy_call *c = reply->ctx;

	if (!c || c->state == CALL_ASKING)
		return;
	call_flush(c);
	call_settle(c);
}

/* Without a pipe the session reads as ever. */
void proxy_on_body_ready(struct request *req, struct reply *reply)
{
	struct proxy_call *c = reply->ctx;
	ssize_t n;

	if (!c || c->is_send_dead || !conn_can_splice(&c->lease.conn->conn)) {
		reply->wants_splice = false;
		return;
	}
	if (!c->up)
		c->up = relay_pipe_new(call_proxy(c));
	if (!c->up) {
		reply->wants_splice = false;
		return;
	}
	/* One filling at a time: whether there is room for more depends on pages, not on bytes. */
	if (c->up->pipe->filled > 0) {
		call_pause_client(c, true);
		return;
	}
	n = reply_splice_body(reply, c->up->pipe->write_fd, c->up->pipe->size);
	if (n <= 0)
		return;
	c->has_taken_body = true;
	c->up->pipe->filled += (unsigned)n;
	output_add_pipe(&c->out, c->up->pipe, (unsigned)n, &c->up->hold);
	call_flush(c);
	call_settle(c);
}
