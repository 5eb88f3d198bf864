/* SPDX-License-Identifier: MIT */
/*
 * From the server: heads are parsed and written anew, content goes to the reply as it comes, by pipe where much of it
 * needs no look.  When the client does not take what there is, the server is not read.
 */
#include "app/proxy_internal.h"
#include "base/err.h"

#define READS_MAX   16	/* before others have their turn */
#define INTERIM_MAX 16	/* of one request; more are a server gone mad */

enum flow {
	FLOW_AGAIN,	/* something was done */
	FLOW_READ,	/* needs bytes */
	FLOW_WAIT,	/* nothing to do until an event */
	FLOW_OVER,	/* the call has ended */
	FLOW_ANEW,	/* the call has begun anew */
};

static enum flow fail(struct proxy_call *c, unsigned status, const char *why)
{
	call_fail(c, status, why, OUTCOME_FAILED);
	return FLOW_OVER;
}

/* While the server is at work nothing is held: what many calls wait for costs no memory and stays out of the caches. */
void call_drop_input(struct proxy_call *c)
{
	if (c->in)
		pool_put(&call_proxy(c)->buffers, c->in);
	c->in = NULL;
	c->in_start = c->in_end = 0;
}

/* The head ------------------------------------------------------------------------------------------------------ */

/* RFC 9110 15.2: passed on, and the response is still to come. */
static enum flow pass_interim(struct proxy_call *c)
{
	struct buf b = proxy_scratch();

	if (++c->interim_count > INTERIM_MAX)
		return fail(c, 502, "bad_response");
	/* A sign of life: the time for the head begins anew. */
	c->due_ms = UINT64_MAX;
	proxy_write_fields(c, &b);
	/* Nobody asked for a 100 who does not wait for it. */
	if (!b.is_truncated && (c->res.status != 100 || c->req->expects_continue))
		reply_interim(c->reply, c->res.status, buf_span(&b));
	response_reset(&c->parser, &c->res, c->req->method);
	return FLOW_AGAIN;
}

/* False: the head is too large. */
static bool begin_reply(struct proxy_call *c)
{
	struct reply *reply = c->reply;
	const struct response *res = &c->res;
	struct buf b = proxy_scratch();
	uint64_t length = REPLY_LENGTH_UNKNOWN;

	proxy_write_fields(c, &b);
	if (b.is_truncated)
		return false;
	reply_set_status(reply, res->status);
	reply->is_relayed = true;
	reply->block = buf_span(&b);
	/* RFC 9110 6.6.1 */
	if (!res->known[HEADER_DATE])
		reply_add_date(reply, SPAN("Date"), (int64_t)(clock_wall_ns() / NS_PER_SEC));
	if (res->content_length != UINT64_MAX)
		length = res->content_length;
	else if (res->framing == BODY_NONE && c->req->method != METHOD_HEAD)
		length = 0;
	/* Framing by the end of the connection, or by chunks, becomes chunks; by length stays. */
	if (res->framing == BODY_CHUNKED || res->framing == BODY_UNTIL_CLOSE)
		length = REPLY_LENGTH_UNKNOWN;
	reply_begin(reply, length);
	reply->block = span_of(NULL, 0);
	return true;
}

static enum flow take_head(struct proxy_call *c)
{
	struct upstream_counters *counters;
	size_t head_len;

	switch (response_head(&c->parser, c->in + c->in_start, c->in_end - c->in_start, &head_len)) {
	case PARSE_DONE:
		c->in_start += (unsigned)head_len;
		break;
	case PARSE_FAIL:
		return fail(c, 502, "bad_response");
	default:
		return FLOW_READ;
	}
	if (c->res.status < 200 && c->res.status != 101)
		return pass_interim(c);
	counters = upstream_lease_counters(&c->lease);
	counters->status[c->res.status / 100]++;
	c->reply->origin.first_byte_us = (uint32_t)((call_proxy(c)->loop->now_ns - c->began_ns) / 1000);
	if (c->res.status == 101) {
		if (!c->has_upgrade || !c->res.has_upgrade || !call_upgrade(c))
			return fail(c, 502, "bad_response");
		return FLOW_WAIT;
	}
	if (!begin_reply(c))
		return fail(c, 502, "bad_response");
	upstream_answered(&c->lease, c->res.status >= 500 ? OUTCOME_ERROR : OUTCOME_OK, false);
	c->state = CALL_BODY;
	return FLOW_AGAIN;
}

/* Content ------------------------------------------------------------------------------------------------------- */

static enum flow hold(struct proxy_call *c)
{
	c->is_held = true;
	return FLOW_WAIT;
}

static enum flow take_body(struct proxy_call *c)
{
	struct span in = call_unread(c), data;

	for (;;) {
		enum parse_state state = response_body(&c->parser, &in, &data);

		c->in_start = c->in_end - (unsigned)in.len;
		switch (state) {
		case PARSE_DATA:
			reply_write(c->reply, data.ptr, data.len);
			continue;
		case PARSE_DONE:
			call_finish(c);
			return FLOW_OVER;
		case PARSE_FAIL:
			return fail(c, 502, "bad_response");
		default:
			break;
		}
		return reply_queued(c->reply) > PROXY_HIGH_WATER ? hold(c) : FLOW_READ;
	}
}

/* The server has ended the connection, or it broke. */
static enum flow on_end(struct proxy_call *c, bool is_reset)
{
	const char *why = is_reset ? "upstream_reset" : "upstream_closed";

	if (c->state == CALL_BODY && c->res.framing == BODY_UNTIL_CLOSE && !is_reset) {
		call_finish(c);
		return FLOW_OVER;
	}
	if (c->state == CALL_HEAD && c->in_start == c->in_end && call_try_again(c, why, OUTCOME_FAILED))
		return FLOW_ANEW;
	return fail(c, 502, why);
}

/* The server does not have the whole request and nothing of an answer is here: see is_cut_off. */
static enum flow give_up(struct proxy_call *c)
{
	if (c->state == CALL_HEAD && c->in_start == c->in_end && call_try_again(c, "no_memory", OUTCOME_NEUTRAL))
		return FLOW_ANEW;
	call_fail(c, 503, "no_memory", OUTCOME_NEUTRAL);
	return FLOW_OVER;
}

/* Bytes from the server ----------------------------------------------------------------------------------------- */

static bool make_room(struct proxy_call *c)
{
	if (!c->in) {
		c->in = pool_get(&call_proxy(c)->buffers);
	} else if (c->in_start == c->in_end) {
		c->in_start = c->in_end = 0;
	} else if (c->in_start > 0) {
		memmove(c->in, c->in + c->in_start, c->in_end - c->in_start);
		c->in_end -= c->in_start;
		c->in_start = 0;
	}
	return c->in != NULL;
}

static enum flow fill(struct proxy_call *c)
{
	struct conn *conn = &c->lease.conn->conn;
	size_t size = call_proxy(c)->buffers.item_size;
	ssize_t n;

	if (!make_room(c)) {
		call_fail(c, 503, "no_memory", OUTCOME_NEUTRAL);
		return FLOW_OVER;
	}
	if (c->in_end == size)
		return fail(c, 502, "bad_response");
	n = conn_read(conn, c->in + c->in_end, size - c->in_end);
	if (n == -EAGAIN)
		return FLOW_WAIT;
	if (n <= 0)
		return on_end(c, n < 0);
	c->in_end += (unsigned)n;
	upstream_lease_counters(&c->lease)->bytes_in += (uint64_t)n;
	return FLOW_AGAIN;
}

/* True when what comes next may go through a pipe. */
static bool can_splice(struct proxy_call *c)
{
	if (c->state != CALL_BODY || c->in_start < c->in_end || c->reply->has_no_content ||
	    response_opaque(&c->parser) < PROXY_SPLICE_MIN || !conn_can_splice(&c->lease.conn->conn))
		return false;
	if (!c->down)
		c->down = relay_pipe_new(call_proxy(c));
	return c->down != NULL;
}

static enum flow splice(struct proxy_call *c)
{
	struct pipe *pipe = c->down->pipe;
	uint64_t most = MIN((uint64_t)pipe->size, response_opaque(&c->parser));
	ssize_t n;

	/* One filling at a time, behind whatever else waits for the client. */
	if (reply_queued(c->reply) > 0)
		return hold(c);
	n = conn_splice_in(&c->lease.conn->conn, pipe->write_fd, most);
	if (n == -EAGAIN)
		return FLOW_WAIT;
	if (n <= 0)
		return on_end(c, n < 0);
	pipe->filled += (unsigned)n;
	response_skip(&c->parser, (uint64_t)n);
	upstream_lease_counters(&c->lease)->bytes_in += (uint64_t)n;
	reply_write_pipe(c->reply, pipe, (unsigned)n, &c->down->hold);
	/* The end of content that was all spliced is seen without another byte. */
	if (response_opaque(&c->parser) == 0)
		return take_body(c);
	return hold(c);
}

static enum flow receive_more(struct proxy_call *c)
{
	const struct conn *conn = &c->lease.conn->conn;

	if (!conn->is_readable)
		return conn->has_read_end ? on_end(c, false) : FLOW_WAIT;
	return can_splice(c) ? splice(c) : fill(c);
}

static enum flow step(struct proxy_call *c)
{
	if (c->state == CALL_HEAD)
		return c->in_start < c->in_end ? take_head(c) : FLOW_READ;
	if (c->state == CALL_BODY)
		return c->is_held ? FLOW_WAIT : take_body(c);
	return FLOW_WAIT;
}

enum received call_receive(struct proxy_call *c)
{
	unsigned reads = 0;

	for (;;) {
		enum flow flow = step(c);

		if (flow == FLOW_READ && reads++ == READS_MAX) {
			loop_again(call_proxy(c)->loop, &c->job);
			return RECEIVED;
		}
		if (flow == FLOW_READ)
			flow = receive_more(c);
		if (flow == FLOW_WAIT && c->is_cut_off && !c->is_held && c->state != CALL_UPGRADED)
			flow = give_up(c);
		if (flow == FLOW_OVER || flow == FLOW_ANEW)
			return flow == FLOW_OVER ? RECEIVED_END : RECEIVED_ANEW;
		if (flow == FLOW_WAIT) {
			if (c->in_start == c->in_end)
				call_drop_input(c);
			return RECEIVED;
		}
	}
}
