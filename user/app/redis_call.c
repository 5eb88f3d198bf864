/* SPDX-License-Identifier: MIT */
/* Calls on their way: sent, answered, failed, cancelled; see redis_server.h. */
#include <stdlib.h>

#include "app/redis_server_impl.h"
#include "base/err.h"

#define KEEP_PENDING 64u
/*
 * Calls a connection has before the next one is used.  Together they leave in one write and are answered in one read, so
 * a few connections that are full cost less than many that are not.
 */
#define BATCH 64u
/* Bytes of commands that wait, or for whose answers it waits: those may lie in a buffer still, of a server that stands still. */
#define BYTES_MAX (64u << 20)

const char *redis_failure_name(enum redis_failure why)
{
	static const char *const names[] = {
		[REDIS_CALL_FINE] = "fine",	       [REDIS_CALL_DOWN] = "redis_down",
		[REDIS_CALL_LOST] = "redis_lost",      [REDIS_CALL_TIMEOUT] = "redis_timeout",
		[REDIS_CALL_TOO_LARGE] = "redis_too_large",
		[REDIS_CALL_FULL] = "redis_queue_full", [REDIS_CALL_MEMORY] = "no_memory",
	};

	return names[why];
}

/* The end of a call --------------------------------------------------------------------------------------------- */

static void count_failure(struct redis_server *s, enum redis_failure why)
{
	struct stats_redis *stats = s->access.stats;

	switch (why) {
	case REDIS_CALL_DOWN:
		stats->down++;
		break;
	case REDIS_CALL_LOST:
		stats->lost++;
		break;
	case REDIS_CALL_TOO_LARGE:
		stats->too_large++;
		break;
	case REDIS_CALL_TIMEOUT:
		stats->timeouts++;
		break;
	case REDIS_CALL_FULL:
		stats->queue_full++;
		break;
	default:
		break;
	}
}

/* It stays where it is when an answer may still come. */
static void fail_call(struct redis_pending *p, enum redis_failure why)
{
	struct redis_call *call = p->call;

	if (!call)
		return;
	p->call = NULL;
	call->pending = NULL;
	count_failure(p->server, why);
	call->on_failed(call, why);
}

static void free_pending(struct redis_pending *p)
{
	list_remove(&p->node);
	if (p->conn)
		p->conn->flight_count--;
	p->server->byte_count -= p->size;
	redisFreeSdsCommand(p->command);
	pool_put(&p->server->pendings, p);
}

void redis_fail_waiting(struct redis_server *s, enum redis_failure why)
{
	struct list doomed;
	struct list *node;

	/* Who is told may call again, and waits behind. */
	list_init(&doomed);
	list_splice_back(&doomed, &s->waiting);
	while ((node = list_pop_front(&doomed))) {
		struct redis_pending *p = container_of(node, struct redis_pending, node);

		fail_call(p, why);
		free_pending(p);
	}
}

void redis_call_cancel(struct redis_call *c)
{
	struct redis_pending *p = c->pending;

	if (!p)
		return;
	c->pending = NULL;
	p->call = NULL;
	if (!p->conn)
		free_pending(p);
}

/* The oldest one is told first, and was the one whose answer came. */
static enum redis_failure why_lost(struct server_conn *sc)
{
	if (sc->is_late)
		return REDIS_CALL_TIMEOUT;
	if (sc->conn.link.why != redis_link_too_large || sc->has_blamed)
		return REDIS_CALL_LOST;
	sc->has_blamed = true;
	return REDIS_CALL_TOO_LARGE;
}

static void on_answer(struct redisAsyncContext *context, void *reply, void *ctx)
{
	struct redis_pending *p = ctx;
	struct server_conn *sc = p->conn;
	struct redis_call *call = p->call;

	if (!reply) {
		fail_call(p, why_lost(sc));
		free_pending(p);
		return;
	}
	sc->is_late = false;
	free_pending(p);
	if (!call)
		return;
	call->pending = NULL;
	call->on_reply(call, reply);
}

/* Time ---------------------------------------------------------------------------------------------------------- */

static void on_conn_timer(struct timer *t)
{
	struct server_conn *sc = container_of(t, struct server_conn, timer);
	struct redis_server *s = sc->server;
	uint64_t now_ms = s->loop->now_ms, next_ms = UINT64_MAX;

	if (list_is_empty(&sc->flights))
		return;
	list_for_each(node, &sc->flights) {
		struct redis_pending *p = container_of(node, struct redis_pending, node);

		if (p->due_ms > now_ms) {
			next_ms = p->due_ms;
			break;
		}
		sc->is_late = true;
		/* May call again, which adds behind, or cancel others, which stay in the list. */
		fail_call(p, REDIS_CALL_TIMEOUT);
	}
	if (sc->is_late) {
		uint64_t end_ms = container_of(sc->flights.next, struct redis_pending, node)->due_ms + s->timeout_ms;

		if (end_ms <= now_ms) {
			redis_link_close(&sc->conn.link, "it stands still");
			return;
		}
		next_ms = MIN(next_ms, end_ms);
	}
	loop_timer_start(s->loop, &sc->timer, next_ms - now_ms);
}

static void on_waiting_timer(struct timer *t)
{
	struct redis_server *s = container_of(t, struct redis_server, timer);
	uint64_t now_ms = s->loop->now_ms;

	while (!list_is_empty(&s->waiting)) {
		struct redis_pending *p = container_of(s->waiting.next, struct redis_pending, node);

		if (p->due_ms > now_ms) {
			loop_timer_start(s->loop, &s->timer, p->due_ms - now_ms);
			return;
		}
		fail_call(p, REDIS_CALL_TIMEOUT);
		free_pending(p);
	}
}

/* Sending ------------------------------------------------------------------------------------------------------- */

struct server_conn *redis_choose_conn(struct redis_server *s)
{
	struct server_conn *best = NULL;

	for (unsigned i = 0; i < s->conn_count; i++) {
		struct server_conn *sc = &s->conns[i];

		if (!redis_conn_is_ready(&sc->conn))
			continue;
		if (!sc->is_late && sc->flight_count < BATCH)
			return sc;
		if (!best || (best->is_late && !sc->is_late) ||
		    (best->is_late == sc->is_late && sc->flight_count < best->flight_count))
			best = sc;
	}
	return best;
}

bool redis_is_connecting(const struct redis_server *s)
{
	for (unsigned i = 0; i < s->conn_count; i++)
		if (s->conns[i].conn.state == REDIS_CONN_CONNECTING)
			return true;
	return false;
}

/* The command is sent, and freed; false: the connection takes none. */
static bool fly(struct redis_pending *p, struct server_conn *sc)
{
	struct redis_server *s = p->server;

	if (redis_link_send(&sc->conn.link, span_of(p->command, sdslen(p->command)), on_answer, p) < 0)
		return false;
	redisFreeSdsCommand(p->command);
	p->command = NULL;
	p->conn = sc;
	list_remove(&p->node);
	list_push_back(&sc->flights, &p->node);
	sc->flight_count++;
	s->access.stats->commands++;
	if (!timer_is_active(&sc->timer))
		loop_timer_start(s->loop, &sc->timer, p->due_ms > s->loop->now_ms ? p->due_ms - s->loop->now_ms : 0);
	return true;
}

static sds format(unsigned count, const struct span *words)
{
	/* Too much for the stack of a callback within callbacks. */
	static const char *texts[REDIS_WORDS_MAX];
	static size_t lens[REDIS_WORDS_MAX];
	sds command = NULL;

	BUG_ON(count == 0 || count > REDIS_WORDS_MAX);
	for (unsigned i = 0; i < count; i++) {
		texts[i] = words[i].ptr;
		lens[i] = words[i].len;
	}
	return redisFormatSdsCommandArgv(&command, (int)count, texts, lens) < 0 ? NULL : command;
}

static enum redis_failure begin(struct redis_server *s, struct redis_call *c, unsigned count, const struct span *words)
{
	struct server_conn *sc = redis_choose_conn(s);
	struct redis_pending *p;

	if (!sc && !redis_is_connecting(s))
		return REDIS_CALL_DOWN;
	if (s->pendings.used_count >= s->queue_max || s->byte_count >= BYTES_MAX)
		return REDIS_CALL_FULL;
	p = pool_get(&s->pendings);
	if (!p)
		return REDIS_CALL_MEMORY;
	*p = (struct redis_pending){ .server = s, .call = c, .due_ms = s->loop->now_ms + s->timeout_ms };
	list_init(&p->node);
	p->command = format(count, words);
	if (!p->command) {
		free_pending(p);
		return REDIS_CALL_MEMORY;
	}
	p->size = sdslen(p->command);
	s->byte_count += p->size;
	c->pending = p;
	if (sc && fly(p, sc))
		return REDIS_CALL_FINE;
	list_push_back(&s->waiting, &p->node);
	if (!timer_is_active(&s->timer))
		loop_timer_start(s->loop, &s->timer, s->timeout_ms);
	return REDIS_CALL_FINE;
}

enum redis_failure redis_server_call(struct redis_server *s, struct redis_call *c, unsigned count, const struct span *words)
{
	enum redis_failure why = begin(s, c, count, words);

	count_failure(s, why);
	return why;
}

void redis_send_waiting(struct redis_server *s, struct server_conn *sc)
{
	while (!list_is_empty(&s->waiting))
		if (!fly(container_of(s->waiting.next, struct redis_pending, node), sc))
			return;
}

void redis_conn_init_flights(struct server_conn *sc)
{
	list_init(&sc->flights);
	timer_init(&sc->timer, on_conn_timer);
}

void redis_server_init_calls(struct redis_server *s)
{
	pool_init(&s->pendings, sizeof(struct redis_pending), KEEP_PENDING, 0);
	list_init(&s->waiting);
	timer_init(&s->timer, on_waiting_timer);
}
