/* SPDX-License-Identifier: MIT */
/*
 * A connection that is no longer HTTP: a handler has it, the session only waits to close it.  What the access log will
 * say when it ends is kept in a few hundred bytes, so that neither exchange nor buffers stay for it.
 */
#include <stdlib.h>

#include "base/err.h"
#include "base/random.h"
#include "http/session.h"

struct detachment {
	const struct detached_ops *ops;	/* NULL: the connection was given back */
	void *ctx;
	uint64_t start_ns, bytes_sent;
	struct access_entry entry;
	struct reply_origin origin;
	struct request *digest;		/* NULL without memory: the line then lacks what the client sent */
};

static void emit(struct session *s, struct detachment *d, const char *reason)
{
	struct access_entry *e = &d->entry;
	uint64_t now_ns = clock_ns();

	if (!s->server->on_request_done)
		return;
	e->req = d->digest;
	e->origin = &d->origin;
	e->wall_ns = server_wall_ns(s->server, now_ns);
	e->duration_us = (now_ns - d->start_ns) / 1000;
	e->bytes_sent += d->bytes_sent;
	e->body_sent += d->bytes_sent;
	e->reason = reason;
	session_log(s, e);
}

void session_end_detached(struct session *s, const char *reason)
{
	struct detachment *d = s->detachment;

	if (d->ops)
		d->bytes_sent = d->ops->on_abort(d->ctx);
	emit(s, d, reason);
	free(d->digest);
	free(d);
	s->detachment = NULL;
}

static void close_detached(void *handle, int reason, uint64_t bytes_sent)
{
	struct session *s = handle;

	s->detachment->ops = NULL;
	s->detachment->bytes_sent = bytes_sent;
	session_close(s, (enum close_reason)reason);
}

/* The session's own timer is free: whoever has the connection keeps its own. */
void session_limit_detached(struct session *s)
{
	const struct server *srv = s->server;
	uint64_t now_ms = srv->loop->now_ms;
	uint64_t from_ms = MAX(srv->spread_from_ms, now_ms);
	uint64_t room_ms = MAX(srv->spread_until_ms, from_ms) - from_ms;

	if (!srv->spread_until_ms)
		return;
	/* A day at most, which fits. */
	from_ms += random_below((uint32_t)MIN(room_ms, UINT32_MAX - 1ull) + 1);
	loop_timer_start(srv->loop, &s->timer, MAX(from_ms - now_ms, 1ull));
}

void session_leave_detached(struct session *s)
{
	const struct detachment *d = s->detachment;

	if (d->ops->on_leave)
		d->ops->on_leave(d->ctx);
	else
		session_close(s, CLOSE_DRAIN);
}

void session_run_detached(struct session *s)
{
	s->detachment->ops->on_ready(s->detachment->ctx);
}

void session_detach(struct session *s)
{
	struct exchange *x = s->exchange;
	struct detachment *d = calloc(1, sizeof(*d));
	struct detached given = {
		.conn = &s->conn,
		.early = span_of(x->in + x->in_start, x->in_end - x->in_start),
		.handle = s,
		.close = close_detached,
	};
	void *ctx;

	if (!d) {
		session_close(s, CLOSE_MEMORY);
		return;
	}
	exchange_count(s, &d->entry);
	d->ops = x->detached;
	d->start_ns = x->start_ns;
	d->origin = x->reply.origin;
	d->digest = s->server->on_request_done ? request_digest(&x->request) : NULL;
	x->route = NULL;
	x->reply.is_ended = true;
	s->state = SESSION_DETACHED;
	s->detachment = d;
	loop_timer_stop(s->server->loop, &s->timer);
	ctx = x->on_detached(x->detached_ctx, &given);
	/* A tunnel whose ends are over already has closed the connection by now: exchange and detachment are gone. */
	if (s->state != SESSION_DETACHED)
		return;
	d->ctx = ctx;
	exchange_end(s);
	session_limit_detached(s);
}
