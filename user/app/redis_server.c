/* SPDX-License-Identifier: MIT */
/* Calls on their way; see redis_server.h.  Connecting is redis_conn.c. */
#include "app/redis_server.h"

#include <hiredis/sds.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "base/pool.h"

#define KEEP_PENDING 64u
/*
 * Calls a connection has before the next one is used.  Together they leave in one write and are answered in one read, so
 * a few connections that are full cost less than many that are not.
 */
#define BATCH 64u
/* Bytes of commands that wait, or for whose answers it waits: those may lie in a buffer still, of a server that stands still. */
#define BYTES_MAX (64u << 20)

struct server_conn {
	struct redis_conn conn;
	struct redis_server *server;
	struct list flights;		/* sent, in order */
	unsigned flight_count;
	struct timer timer;		/* when the oldest is due, or was at some time before: most answers come in time */
	bool is_late;			/* an answer is overdue */
	bool has_blamed;		/* of an answer that was too large, the command is found */
};

struct redis_pending {
	struct list node;		/* in flights of its connection, or in server->waiting */
	struct redis_server *server;
	struct server_conn *conn;	/* NULL: waits for one */
	struct redis_call *call;	/* NULL: nobody waits for the answer any more */
	sds command;			/* while it waits */
	size_t size;			/* bytes of the command */
	uint64_t due_ms;
};

struct redis_server {
	struct redis_access access;
	char *name, *user, *password;
	unsigned conn_count;
	unsigned queue_max;
	uint64_t timeout_ms;
	unsigned first_endpoint;
	/* of the worker */
	struct loop *loop;		/* NULL: not started */
	struct server_conn *conns;
	struct pool pendings;
	size_t byte_count;		/* of their commands */
	struct list waiting;
	struct timer timer;		/* when the first of them is due */
	struct redis_commands *commands;
	bool has_fresh_commands;	/* of the server that is there now */
	bool was_told_down, was_told_up;
};

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

static void fail_waiting(struct redis_server *s, enum redis_failure why)
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

/* The first one that is well and not full; else the emptiest. */
static struct server_conn *choose(struct redis_server *s)
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

static bool is_connecting(const struct redis_server *s)
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
	struct server_conn *sc = choose(s);
	struct redis_pending *p;

	if (!sc && !is_connecting(s))
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

/* Connections --------------------------------------------------------------------------------------------------- */

static void on_commands(struct redis_conn *c, const redisReply *reply)
{
	struct redis_server *s = container_of(c, struct server_conn, conn)->server;
	struct redis_commands *commands = s->has_fresh_commands ? NULL : redis_commands_new(reply);

	if (!commands)
		return;
	redis_commands_free(s->commands);
	s->commands = commands;
	s->has_fresh_commands = true;
}

static void on_ready(struct redis_conn *c)
{
	struct server_conn *sc = container_of(c, struct server_conn, conn);
	struct redis_server *s = sc->server;

	sc->is_late = false;
	/* Once a life of the server is enough. */
	c->on_commands = NULL;
	if (s->was_told_down)
		log_info("redis %s: it answers again", s->name);
	else if (!s->was_told_up)
		log_debug("redis %s: connected", s->name);
	s->was_told_down = false;
	s->was_told_up = true;
	while (!list_is_empty(&s->waiting))
		if (!fly(container_of(s->waiting.next, struct redis_pending, node), sc))
			return;
}

static void on_gone(struct redis_conn *c, bool was_ready, const char *why)
{
	struct server_conn *sc = container_of(c, struct server_conn, conn);
	struct redis_server *s = sc->server;

	loop_timer_stop(s->loop, &sc->timer);
	sc->is_late = sc->has_blamed = false;
	/* What comes next may be another one; until it has told its commands the old ones hold. */
	c->on_commands = on_commands;
	s->has_fresh_commands = false;
	if (choose(s))
		return;
	if (!s->was_told_down)
		log_warn("redis %s: %s%s", s->name, was_ready ? "the connection is lost: " : "cannot be reached: ", why);
	s->was_told_down = true;
	if (!is_connecting(s))
		fail_waiting(s, REDIS_CALL_DOWN);
}

void redis_server_start(struct redis_server *s, struct loop *loop, const struct upstream_table *table,
			struct stats_redis *stats)
{
	s->loop = loop;
	s->access.stats = stats;
	s->access.endpoints = &table->endpoints[s->first_endpoint];
	for (unsigned i = 0; i < s->conn_count; i++) {
		struct server_conn *sc = &s->conns[i];

		sc->server = s;
		list_init(&sc->flights);
		timer_init(&sc->timer, on_conn_timer);
		redis_conn_init(&sc->conn, loop, &s->access, false);
		sc->conn.on_ready = on_ready;
		sc->conn.on_gone = on_gone;
		sc->conn.on_commands = on_commands;
	}
	for (unsigned i = 0; i < s->conn_count; i++)
		redis_conn_start(&s->conns[i].conn);
}

void redis_server_stop(struct redis_server *s)
{
	if (!s->loop)
		return;
	for (unsigned i = 0; i < s->conn_count; i++) {
		redis_conn_stop(&s->conns[i].conn);
		loop_timer_stop(s->loop, &s->conns[i].timer);
	}
	fail_waiting(s, REDIS_CALL_DOWN);
	loop_timer_stop(s->loop, &s->timer);
	redis_commands_free(s->commands);
	s->commands = NULL;
	s->loop = NULL;
}

/* Made and freed ------------------------------------------------------------------------------------------------ */

static int copy_text(const char *text, char **ret_copy)
{
	*ret_copy = text ? strdup(text) : NULL;
	return text && !*ret_copy ? -ENOMEM : 0;
}

int redis_server_new(const struct redis_server_options *opt, struct redis_server **ret_server)
{
	struct redis_server *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	pool_init(&s->pendings, sizeof(struct redis_pending), KEEP_PENDING, 0);
	list_init(&s->waiting);
	timer_init(&s->timer, on_waiting_timer);
	s->conns = calloc(opt->connections, sizeof(*s->conns));
	if (!s->conns || copy_text(opt->name, &s->name) || copy_text(opt->user, &s->user) ||
	    copy_text(opt->password, &s->password)) {
		redis_server_free(s);
		return -ENOMEM;
	}
	s->conn_count = opt->connections;
	s->queue_max = opt->queue_max;
	s->timeout_ms = opt->timeout_ms;
	s->first_endpoint = opt->first_endpoint;
	s->access = (struct redis_access){
		.name = s->name,
		.user = s->user,
		.password = s->password,
		.database = opt->database,
		.connect_ms = opt->connect_ms,
		.pause_max_ms = opt->pause_max_ms,
		.reply_max = opt->reply_max,
		.endpoint_count = opt->endpoint_count,
	};
	*ret_server = s;
	return 0;
}

void redis_server_free(struct redis_server *s)
{
	if (!s)
		return;
	pool_fini(&s->pendings);
	free(s->conns);
	free(s->name);
	free(s->user);
	free(s->password);
	free(s);
}

const struct redis_commands *redis_server_commands(const struct redis_server *s)
{
	return s->commands;
}

const struct redis_access *redis_server_access(const struct redis_server *s)
{
	return &s->access;
}

struct loop *redis_server_loop(const struct redis_server *s)
{
	return s->loop;
}
