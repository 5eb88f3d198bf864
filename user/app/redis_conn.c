/* SPDX-License-Identifier: MIT */
/* Connecting, introducing, trying again; see redis_conn.h. */
#include "app/redis_conn.h"

#include <stdio.h>

#include "base/err.h"
#include "base/random.h"

#define FIRST_PAUSE_MS 20u
/* What COMMAND answers is some 240 commands with all that can be said of each. */
#define COMMANDS_SIZE (8u << 20)

/* Pausing ------------------------------------------------------------------------------------------------------- */

static void pause_for_a_while(struct redis_conn *c)
{
	uint64_t ms = FIRST_PAUSE_MS << MIN(c->failures, 16u);

	ms = MIN(ms, c->access->pause_max_ms);
	c->state = REDIS_CONN_PAUSING;
	loop_timer_start(c->link.loop, &c->timer, ms / 2 + random_below((uint32_t)(ms / 2) + 1));
}

static void on_down(struct redis_link *l, const char *why)
{
	struct redis_conn *c = container_of(l, struct redis_conn, link);
	bool was_ready = c->state == REDIS_CONN_READY;

	if (c->state == REDIS_CONN_OFF)
		return;
	if (was_ready)
		c->access->stats->connections--;
	else
		c->access->stats->connect_failures++;
	c->failures = c->is_proven ? 0 : c->failures + 1;
	c->is_proven = false;
	pause_for_a_while(c);
	c->on_gone(c, was_ready, why);
}

/* Introducing --------------------------------------------------------------------------------------------------- */

static void fail(struct redis_conn *c, const char *what, const char *why)
{
	snprintf(c->why, sizeof(c->why), "%s: %s", what, why);
	redis_link_close(&c->link, c->why);
}

static void be_ready(struct redis_conn *c)
{
	loop_timer_stop(c->link.loop, &c->timer);
	c->is_proven = !c->link.is_push;
	c->link.reply_max = c->access->reply_max;
	c->state = REDIS_CONN_READY;
	c->access->stats->connections++;
	c->on_ready(c);
}

/* Each of them, in the order in which they were asked. */
static void on_answer(struct redisAsyncContext *context, void *reply, void *ctx)
{
	struct redis_conn *c = ctx;
	const redisReply *r = reply;

	if (!r || c->state != REDIS_CONN_CONNECTING)
		return;
	if (r->type == REDIS_REPLY_ERROR)
		fail(c, "it refuses to serve", r->str);
	else if (--c->answers_due == 0)
		be_ready(c);
}

/* The last one.  Who is not allowed to PING has been answered too. */
static void on_pong(struct redisAsyncContext *context, void *reply, void *ctx)
{
	struct redis_conn *c = ctx;
	const redisReply *r = reply;

	if (r && r->type == REDIS_REPLY_ERROR && span_starts_with(span_of(r->str, r->len), SPAN("NOPERM ")) &&
	    c->state == REDIS_CONN_CONNECTING && c->answers_due == 1)
		be_ready(c);
	else
		on_answer(context, reply, ctx);
}

/* One that may not ask for it gives no table, and no more. */
static void on_commands(struct redisAsyncContext *context, void *reply, void *ctx)
{
	struct redis_conn *c = ctx;
	const redisReply *r = reply;

	if (!r || c->state != REDIS_CONN_CONNECTING)
		return;
	if (r->type == REDIS_REPLY_ARRAY)
		c->on_commands(c, r);
	c->answers_due--;
}

/*
 * Where there is no memory for one of them it counts all the same, so that the introduction ends without an answer: nobody
 * is to work in a database that was not selected.
 */
static void ask(struct redis_conn *c, unsigned count, const struct span *words, redisCallbackFn *fn)
{
	(void)redis_link_send_words(&c->link, count, words, fn, c);
	c->answers_due++;
}

static void on_up(struct redis_link *l)
{
	struct redis_conn *c = container_of(l, struct redis_conn, link);
	const struct redis_access *a = c->access;
	struct span words[3] = { SPAN("AUTH") };
	unsigned count = 1;
	char number[16];

	a->stats->connects++;
	c->answers_due = 0;
	l->reply_max = MAX(a->reply_max, COMMANDS_SIZE);
	if (a->user)
		words[count++] = span_str(a->user);
	words[count++] = span_str(a->password);
	if (a->password)
		ask(c, count, words, on_answer);
	snprintf(number, sizeof(number), "%u", a->database);
	words[0] = SPAN("SELECT");
	words[1] = span_str(number);
	/* Channels know no database. */
	if (a->database && !l->is_push)
		ask(c, 2, words, on_answer);
	if (c->on_commands)
		ask(c, 1, &SPAN("COMMAND"), on_commands);
	ask(c, 1, &SPAN("PING"), on_pong);
}

/* Connecting ---------------------------------------------------------------------------------------------------- */

/* The next of its addresses; false: there is none. */
static bool find_address(struct redis_conn *c, struct upstream_address *ret_address)
{
	for (unsigned i = 0; i < c->access->endpoint_count; i++) {
		unsigned at = c->next_endpoint++ % c->access->endpoint_count;

		upstream_endpoint_get(&c->access->endpoints[at], ret_address);
		if (ret_address->len)
			return true;
	}
	return false;
}

static void try_to_connect(struct redis_conn *c)
{
	struct upstream_address address;
	int err = -EDESTADDRREQ;

	c->state = REDIS_CONN_CONNECTING;
	if (find_address(c, &address))
		err = redis_link_open(&c->link, (const struct sockaddr *)&address.addr, address.len);
	if (err) {
		on_down(&c->link, err == -EDESTADDRREQ ? "its name has no address yet" : strerror(-err));
		return;
	}
	loop_timer_start(c->link.loop, &c->timer, c->access->connect_ms);
}

static void on_timer(struct timer *t)
{
	struct redis_conn *c = container_of(t, struct redis_conn, timer);

	if (c->state == REDIS_CONN_PAUSING)
		try_to_connect(c);
	else
		redis_link_close(&c->link, "no answer in time");
}

void redis_conn_init(struct redis_conn *c, struct loop *loop, const struct redis_access *access, bool is_push)
{
	*c = (struct redis_conn){ .access = access };
	redis_link_init(&c->link, loop);
	c->link.on_up = on_up;
	c->link.on_down = on_down;
	c->link.is_push = is_push;
	timer_init(&c->timer, on_timer);
}

void redis_conn_start(struct redis_conn *c)
{
	if (c->state != REDIS_CONN_OFF)
		return;
	/* Not here: it may fail at once, and whoever asks for it is not to be called back before this returns. */
	c->state = REDIS_CONN_PAUSING;
	loop_timer_start(c->link.loop, &c->timer, 0);
}

void redis_conn_stop(struct redis_conn *c)
{
	if (c->state == REDIS_CONN_READY)
		c->access->stats->connections--;
	c->state = REDIS_CONN_OFF;
	loop_timer_stop(c->link.loop, &c->timer);
	redis_link_close(&c->link, "stopped");
}
