/* SPDX-License-Identifier: MIT */
/*
 * Life of a proxied request: asking for a server, failing, trying another, waiting, the end.  States in
 * proxy_internal.h.
 *
 * Repeating: a request goes to another server as long as nothing of its content has left the session and no reply has
 * begun; after a failure to connect always, after it was sent only if it may be repeated (RFC 9110 9.2.2), and within
 * the budget of the group.  One that died on a kept connection before any answer is repeated once on a fresh one, which
 * is no fault of the server's (RFC 9112 9.3.1) and costs no budget.
 */
#include "app/proxy_internal.h"
#include "base/clock.h"
#include "base/err.h"

#define RETRY_PRICE	100u

static void ask(struct proxy_call *c);

/* The end of a call --------------------------------------------------------------------------------------------- */

void call_free(struct proxy_call *c)
{
	struct proxy *p = call_proxy(c);

	loop_timer_stop(p->loop, &c->timer);
	job_cancel(&c->job);
	output_clear(&c->out);
	if (c->up)
		hold_put(&c->up->hold);
	if (c->down)
		hold_put(&c->down->hold);
	call_drop_input(c);
	c->reply->ctx = NULL;
	c->reply->request_trailers = NULL;
	pool_put(&p->calls, c);
}

void call_fail(struct proxy_call *c, unsigned status, const char *why, enum upstream_outcome outcome)
{
	struct reply *reply = c->reply;

	if (c->lease.conn)
		upstream_release(&c->lease, outcome, false);
	else
		upstream_cancel(&c->lease);
	reply->why = why;
	if (reply->is_begun) {
		call_free(c);
		reply_abort(reply);
		return;
	}
	/* What the client still sends is content of a request that has failed: no connection is worth reading it all. */
	if (c->req->framing != BODY_NONE && !c->is_sent)
		reply->must_close = true;
	call_free(c);
	reply->field_count = 0;
	reply_status_page(reply, status);
}

void call_finish(struct proxy_call *c)
{
	struct reply *reply = c->reply;
	bool is_reusable = c->res.is_keep_alive && c->is_sent && output_is_empty(&c->out) &&
			   !c->is_send_dead && c->in_start == c->in_end;
	char memory[PROXY_TRAILERS_SIZE];
	struct buf trailers;

	buf_init(&trailers, memory, sizeof(memory));
	if (!c->trailers.is_truncated)
		proxy_filter_trailers(buf_span(&c->trailers), &trailers);
	upstream_release(&c->lease, c->res.status >= 500 ? OUTCOME_ERROR : OUTCOME_OK, is_reusable);
	reply->trailers = buf_span(&trailers);
	call_free(c);
	reply_end(reply);
}

static void proxy_on_abort(struct request *req, struct reply *reply)
{
	struct proxy_call *c = reply->ctx;

	if (!c)
		return;
	upstream_cancel(&c->lease);
	call_free(c);
}

/* Repeating ----------------------------------------------------------------------------------------------------- */

/* RFC 9110 9.2.2 */
static bool is_idempotent(enum http_method method)
{
	switch (method) {
	case METHOD_GET:
	case METHOD_HEAD:
	case METHOD_PUT:
	case METHOD_DELETE:
	case METHOD_OPTIONS:
	case METHOD_TRACE:
		return true;
	default:
		return false;
	}
}

static bool may_repeat(const struct proxy_call *c)
{
	switch (c->route->repeat) {
	case PROXY_REPEAT_ALWAYS:
		return true;
	case PROXY_REPEAT_IDEMPOTENT:
		return is_idempotent(c->req->method);
	default:
		return false;
	}
}

static bool take_credit(struct proxy_group *g)
{
	if (g->retry_credit < RETRY_PRICE)
		return false;
	g->retry_credit -= RETRY_PRICE;
	return true;
}

static void clear_attempt(struct proxy_call *c)
{
	struct proxy *p = call_proxy(c);

	output_clear(&c->out);
	/* Content has its place behind the head of the next attempt. */
	call_pause_client(c, true);
	call_drop_input(c);
	c->is_sent = c->is_send_dead = c->is_cut_off = c->is_blocked = false;
	c->has_upgrade = false;
	c->due_ms = UINT64_MAX;
	loop_timer_stop(p->loop, &c->timer);
	job_cancel(&c->job);
}

bool call_try_again(struct proxy_call *c, const char *why, enum upstream_outcome outcome)
{
	bool was_reused = upstream_is_reused(&c->lease);
	bool has_connected = c->lease.conn != NULL;

	if (c->reply->is_begun || c->has_taken_body || c->interim_count)
		return false;
	if (has_connected && !may_repeat(c))
		return false;
	if (was_reused && !c->has_retried_reused && outcome != OUTCOME_TIMEOUT) {
		c->has_retried_reused = true;
		c->lease.is_fresh = true;
		outcome = OUTCOME_NEUTRAL;
		/* It is the same attempt still. */
		c->tries--;
	} else if (c->tries >= c->route->tries || !take_credit(c->route->group)) {
		return false;
	}
	if (has_connected)
		upstream_release(&c->lease, outcome, false);
	clear_attempt(c);
	ask(c);
	return true;
}

/* Time ---------------------------------------------------------------------------------------------------------- */

static void on_timer(struct timer *timer)
{
	struct proxy_call *c = container_of(timer, struct proxy_call, timer);
	struct reply *reply = c->reply;
	uint64_t now_ms = call_proxy(c)->loop->now_ms;
	uint64_t due_ms = MIN(c->due_ms, c->total_due_ms);

	if (now_ms < due_ms) {
		if (due_ms != UINT64_MAX)
			loop_timer_start(call_proxy(c)->loop, &c->timer, due_ms - now_ms);
		return;
	}
	call_fail(c, 504, c->total_due_ms <= now_ms ? "total_timeout" : c->due_why, OUTCOME_TIMEOUT);
	reply_run(reply);
}

static void wait_for(struct proxy_call *c, uint64_t ms, const char *why)
{
	c->due_ms = ms ? call_proxy(c)->loop->now_ms + ms : UINT64_MAX;
	c->due_why = why;
}

/* One limit for all of it: a server that drips its head byte by byte is no reason to wait longer. */
static void wait_for_head(struct proxy_call *c)
{
	static const char why[] = "first_byte_timeout";

	if (c->due_why != why || c->due_ms == UINT64_MAX)
		wait_for(c, c->route->first_byte_ms, why);
}

/*
 * The due time moves with each piece, the timer only when it has to fire earlier than it would: most never fire, and the
 * wheel is left alone.
 */
void call_settle(struct proxy_call *c)
{
	struct loop *loop = call_proxy(c)->loop;
	uint64_t due_ms;

	if (c->state == CALL_ASKING || c->state == CALL_UPGRADED || c->is_held)
		c->due_ms = UINT64_MAX;
	else if (c->state == CALL_BODY)
		wait_for(c, c->route->between_ms, "between_timeout");
	else if (c->is_sent && output_is_empty(&c->out))
		wait_for_head(c);
	else if (c->is_blocked)
		wait_for(c, c->route->between_ms, "send_timeout");
	else
		c->due_ms = UINT64_MAX;	/* it is the client that keeps us waiting: the session's timers are about that */
	due_ms = MIN(c->due_ms, c->total_due_ms);
	if (due_ms == UINT64_MAX)
		return;
	if (!timer_is_active(&c->timer) || c->timer.expires_ms > due_ms)
		loop_timer_start(loop, &c->timer, due_ms > loop->now_ms ? due_ms - loop->now_ms : 0);
}

/* Asking -------------------------------------------------------------------------------------------------------- */

static void note_server(struct proxy_call *c)
{
	struct reply_origin *o = &c->reply->origin;
	char text[UPSTREAM_ADDRESS_TEXT];
	struct span address = span_str(upstream_lease_address(&c->lease, text));

	/* Not by printf: that costs as much as the choice of the server. */
	address.len = MIN(address.len, sizeof(o->server) - 1);
	memcpy(o->server, address.ptr, address.len);
	o->server[address.len] = '\0';
	o->tries = c->tries;
	if (c->lease.conn)
		o->connect_us = (uint32_t)((call_proxy(c)->loop->now_ns - c->began_ns) / 1000);
}

static void on_connected(struct upstream_lease *lease)
{
	struct proxy_call *c = container_of(lease, struct proxy_call, lease);
	struct reply *reply = c->reply;

	/*
	 * A kept connection may have been closed in this very moment.  A request that must not be repeated would be lost
	 * then, so it is looked at once more; what is left is the time the FIN takes to come.
	 */
	if (upstream_is_reused(lease) && !may_repeat(c) && !sock_is_quiet(lease->conn->conn.io.fd)) {
		upstream_release(lease, OUTCOME_NEUTRAL, false);
		lease->is_fresh = true;
		upstream_acquire(c->route->group->upstream, lease);
		return;
	}
	note_server(c);
	c->state = CALL_HEAD;
	c->is_blocked = false;
	response_reset(&c->parser, &c->res, c->req->method);
	c->parser.trailers = &c->trailers;
	/* One that turns everybody away may have answered as it accepted, and there is no other event for that. */
	if (call_send_head(c) && lease->conn->conn.is_readable)
		loop_again(call_proxy(c)->loop, &c->job);
	reply_run(reply);
}

static unsigned status_of(enum upstream_failure why)
{
	switch (why) {
	case UPSTREAM_REFUSED:
		return 502;
	case UPSTREAM_CONNECT_TIMEOUT:
	case UPSTREAM_QUEUE_TIMEOUT:
		return 504;
	default:
		return 503;
	}
}

static void on_failed(struct upstream_lease *lease, enum upstream_failure why)
{
	struct proxy_call *c = container_of(lease, struct proxy_call, lease);
	struct reply *reply = c->reply;
	const char *name = upstream_failure_name(why);

	/* Who it was that refused is the first thing an operator asks.  Nobody was asked: the last one stays. */
	if (lease->endpoint != UPSTREAM_NO_ENDPOINT)
		note_server(c);
	if ((why == UPSTREAM_REFUSED || why == UPSTREAM_CONNECT_TIMEOUT) &&
	    call_try_again(c, name, OUTCOME_FAILED))
		return;
	call_fail(c, status_of(why), name, OUTCOME_FAILED);
	reply_run(reply);
}

static void on_ready(struct upstream_lease *lease)
{
	struct proxy_call *c = container_of(lease, struct proxy_call, lease);
	struct reply *reply = c->reply;

	if (c->lease.conn->conn.is_writable)
		c->is_blocked = false;
	if (!c->is_blocked && !output_is_empty(&c->out))
		call_flush(c);
	switch (call_receive(c)) {
	case RECEIVED:
		call_settle(c);
		break;
	case RECEIVED_END:
		break;
	case RECEIVED_ANEW:
		/* Whoever went on with it ran its session; the reply may be that of another request by now. */
		return;
	}
	reply_run(reply);
}

static void on_job(struct job *j)
{
	on_ready(&container_of(j, struct proxy_call, job)->lease);
}

static void ask(struct proxy_call *c)
{
	c->state = CALL_ASKING;
	c->tries++;
	c->lease.connect_ms = c->route->connect_ms;
	call_settle(c);
	upstream_acquire(c->route->group->upstream, &c->lease);
}

/* Requests ------------------------------------------------------------------------------------------------------ */

static struct proxy_call *call_new(struct proxy_route *route, struct request *req, struct reply *reply)
{
	struct proxy *p = route->group->proxy;
	struct proxy_call *c = pool_get(&p->calls);

	if (!c)
		return NULL;
	/* The rest is written before it is read. */
	memset(c, 0, offsetof(struct proxy_call, out));
	c->route = route;
	c->req = req;
	c->reply = reply;
	c->began_ns = p->loop->now_ns;
	c->due_ms = UINT64_MAX;
	c->total_due_ms = route->total_ms ? p->loop->now_ms + route->total_ms : UINT64_MAX;
	output_init(&c->out, &p->buffers);
	timer_init(&c->timer, on_timer);
	job_init(&c->job, on_job);
	response_init(&c->parser, &p->limits);
	c->res.status = 0;
	buf_init(&c->trailers, c->trailer_memory, sizeof(c->trailer_memory));
	buf_init(&c->request_trailers, c->request_trailer_memory, sizeof(c->request_trailer_memory));
	upstream_lease_init(&c->lease);
	c->lease.on_connected = on_connected;
	c->lease.on_failed = on_failed;
	c->lease.on_ready = on_ready;
	c->lease.is_lone = route->group->send_header != PROXY_SEND_NONE;
	return c;
}

static void proxy_on_request(struct request *req, struct reply *reply, void *conf)
{
	struct proxy_route *route = conf;
	struct proxy_group *g = route->group;
	struct proxy_call *c;

	if (req->known[HEADER_VIA] && proxy_goes_round(req)) {
		reply->why = "loop";
		reply_status_page(reply, 508);
		return;
	}
	c = call_new(route, req, reply);
	if (!c) {
		reply->why = "no_memory";
		reply_status_page(reply, 503);
		return;
	}
	reply->ctx = c;
	reply->request_trailers = &c->request_trailers;
	g->retry_credit = MIN(g->retry_credit + g->retry_percent, PROXY_RETRY_CREDIT);
	c->lease.key = proxy_hash_key(g, req);
	if (req->framing != BODY_NONE) {
		c->is_paused = true;
		reply_pause_body(reply, true);
	}
	/* May answer, or fail, before it returns. */
	ask(c);
}

static void proxy_on_writable(struct request *req, struct reply *reply)
{
	struct proxy_call *c = reply->ctx;

	if (!c || !c->is_held || reply_queued(reply) > PROXY_LOW_WATER)
		return;
	c->is_held = false;
	if (call_receive(c) == RECEIVED)
		call_settle(c);
}

static uint64_t proxy_body_max(const void *conf)
{
	return ((const struct proxy_route *)conf)->body_max;
}

const struct handler_ops proxy_ops = {
	.name = "proxy",
	.on_request = proxy_on_request,
	.on_body = proxy_on_body,
	.on_body_ready = proxy_on_body_ready,
	.on_body_pause = proxy_on_body_pause,
	.on_writable = proxy_on_writable,
	.on_abort = proxy_on_abort,
	.body_max = proxy_body_max,
	.takes_any_method = true,
	.relays_continue = true,
};
