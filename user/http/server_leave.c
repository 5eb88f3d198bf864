/* SPDX-License-Identifier: MIT */
/*
 * A worker that another one succeeds: whoever waits between two requests goes there at once, whoever has a request at
 * the end of it.  Clients notice nothing; what they have sent meanwhile lies in the socket and moves with it.
 * What is no HTTP any more stays and is closed before the worker goes, not all in one instant.
 */
#include "base/err.h"
#include "http/session.h"

/* The way to the successor is full: it takes some hundred connections a millisecond. */
#define RETRY_MS 1u

static bool can_go(const struct session *s)
{
	bool is_between = s->state == SESSION_IDLE || s->state == SESSION_PROXY_HEADER;

	return is_between && !s->exchange && !s->conn.has_failed && !s->conn.has_read_end;
}

struct server_guest session_guest(const struct session *s)
{
	return (struct server_guest){
		.peer = s->conn.peer,
		.transport_peer = s->conn.transport_peer,
		.announced_local = s->conn.announced_local,
		.request_count = s->request_count,
		.limit_id = s->is_counted || s->limit_entry ? s->server->limits.table->header->id : 0,
		.limit_entry = s->limit_entry,
		.opened_ms = s->opened_ms,
		.is_counted = s->is_counted,
		.has_proxy_header = s->state == SESSION_PROXY_HEADER,
	};
}

static int give(struct session *s)
{
	struct server *srv = s->server;
	struct server_guest guest = session_guest(s);
	int err = srv->send(srv->send_ctx, s->conn.io.fd, &guest);

	if (err)
		return err;
	srv->given_count++;
	session_forget(s);
	return 0;
}

bool session_give(struct session *s)
{
	struct server *srv = s->server;

	if (!srv->send || !can_go(s))
		return false;
	if (give(s) == 0)
		return true;
	if (!timer_is_active(&srv->retry))
		loop_timer_start(srv->loop, &srv->retry, RETRY_MS);
	return false;
}

static void sweep(struct server *srv)
{
	list_for_each_safe(node, next, &srv->idle)
	{
		struct session *s = container_of(node, struct session, node);

		/* One with input may be about to run: its turn ends here again. */
		if (!can_go(s) || s->conn.is_readable)
			continue;
		if (give(s) < 0) {
			loop_timer_start(srv->loop, &srv->retry, RETRY_MS);
			return;
		}
	}
	if (srv->on_given)
		srv->on_given(srv);
}

void server_retry_giving(struct timer *t)
{
	sweep(container_of(t, struct server, retry));
}

void server_leave(struct server *srv, int (*send)(void *ctx, int fd, const struct server_guest *g), void *ctx)
{
	srv->send = send;
	srv->send_ctx = ctx;
	sweep(srv);
}

void server_spread_closes(struct server *srv, uint64_t limit_ms, uint64_t spread_ms)
{
	if (srv->spread_until_ms)
		return;
	srv->spread_until_ms = srv->loop->now_ms + limit_ms;
	srv->spread_from_ms = srv->spread_until_ms - MIN(spread_ms, limit_ms);
	list_for_each_safe(node, next, &srv->active)
	{
		struct session *s = container_of(node, struct session, node);

		if (s->state == SESSION_DETACHED)
			session_limit_detached(s);
	}
}

void server_stay(struct server *srv)
{
	srv->send = NULL;
	loop_timer_stop(srv->loop, &srv->retry);
}
