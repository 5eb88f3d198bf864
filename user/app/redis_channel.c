/* SPDX-License-Identifier: MIT */
/*
 * Subscriptions, see redis_channel.h.  A channel lives while somebody listens or hiredis has it as the context of a
 * callback: from SUBSCRIBE to the answer to UNSUBSCRIBE, or to the end of the connection.
 */
#include "app/redis_channel.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define BUCKETS 256u

struct redis_channel {
	struct list node;		/* in its bucket */
	struct redis_hub *hub;
	struct list listeners;
	bool is_pattern;
	bool is_sent;			/* SUBSCRIBE, over this connection */
	bool is_live;			/* the server has answered it */
	bool is_telling;		/* listeners are not all in their list */
	unsigned ends_due;		/* answers to UNSUBSCRIBE */
	struct span name;
	char memory[];
};

struct redis_hub {
	struct redis_server *server;
	struct redis_conn conn;
	struct stats_redis *stats;	/* NULL: not started */
	unsigned channel_count;
	unsigned pause_count;
	bool was_told_refused;
	bool is_walking;		/* over the buckets: channels stay */
	struct list buckets[BUCKETS];
};

/* Channels ------------------------------------------------------------------------------------------------------ */

static struct list *bucket_of(struct redis_hub *h, struct span name, bool is_pattern)
{
	return &h->buckets[XXH3_64bits_withSeed(name.ptr, name.len, is_pattern) % BUCKETS];
}

static struct redis_channel *find(struct redis_hub *h, struct span name, bool is_pattern)
{
	list_for_each(node, bucket_of(h, name, is_pattern)) {
		struct redis_channel *c = container_of(node, struct redis_channel, node);

		if (c->is_pattern == is_pattern && span_eq(c->name, name))
			return c;
	}
	return NULL;
}

static struct redis_channel *add(struct redis_hub *h, struct span name, bool is_pattern)
{
	struct redis_channel *c = calloc(1, sizeof(*c) + name.len + 1);

	if (!c)
		return NULL;
	c->hub = h;
	c->is_pattern = is_pattern;
	list_init(&c->listeners);
	c->name = span_of(c->memory, name.len);
	memcpy(c->memory, name.ptr, name.len);
	list_push_back(bucket_of(h, name, is_pattern), &c->node);
	h->channel_count++;
	h->stats->channels++;
	return c;
}

static void free_if_idle(struct redis_channel *c)
{
	if (!list_is_empty(&c->listeners) || c->is_sent || c->ends_due || c->is_telling || c->hub->is_walking)
		return;
	list_remove(&c->node);
	c->hub->channel_count--;
	c->hub->stats->channels--;
	free(c);
}

static bool ask(struct redis_channel *c, bool is_end);

/* Nobody listens any more. */
static void close_channel(struct redis_channel *c)
{
	c->is_live = false;
	if (c->is_sent && redis_conn_is_ready(&c->hub->conn) && ask(c, true))
		c->ends_due++;
	free_if_idle(c);
}

/* To each listener; any of them may leave meanwhile, those that come are not told.  May free the channel. */
static void tell(struct redis_channel *c, void (*say)(struct redis_subscriber *s, void *what), void *what)
{
	struct list todo, *node;

	/* Its end has been asked for: asking twice would be answered once, since hiredis has forgotten it by then. */
	if (list_is_empty(&c->listeners))
		return;
	list_init(&todo);
	list_splice_back(&todo, &c->listeners);
	c->is_telling = true;
	while ((node = list_pop_front(&todo))) {
		list_push_back(&c->listeners, node);
		say(container_of(node, struct redis_subscriber, node), what);
	}
	c->is_telling = false;
	if (list_is_empty(&c->listeners))
		close_channel(c);
}

static void say_live(struct redis_subscriber *s, void *what)
{
	s->on_live(s, *(const bool *)what);
}

static void set_live(struct redis_channel *c, bool is_live)
{
	c->is_live = is_live;
	tell(c, say_live, &is_live);
}

/* Messages ------------------------------------------------------------------------------------------------------ */

static void say_message(struct redis_subscriber *s, void *what)
{
	s->on_message(s, what);
}

static struct span text_of(const redisReply *r)
{
	return r->type == REDIS_REPLY_STRING ? span_of(r->str, r->len) : SPAN("");
}

/* "message", channel, payload; or "pmessage", pattern, channel, payload. */
static void take_message(struct redis_channel *c, const redisReply *r)
{
	struct redis_message m = { .pattern = { NULL, 0 } };
	unsigned at = 1;

	if (c->is_pattern && r->elements > 3)
		m.pattern = text_of(r->element[at++]);
	m.channel = text_of(r->element[at]);
	m.payload = text_of(r->element[at + 1]);
	c->hub->stats->messages++;
	tell(c, say_message, &m);
	for (unsigned i = 0; i < REDIS_MESSAGE_FORMS; i++)
		hold_put(m.forms[i].hold);
}

static void lose(struct redis_channel *c)
{
	c->ends_due = 0;
	/* Sent as long as they are told: that keeps it. */
	set_live(c, false);
	c->is_sent = false;
	free_if_idle(c);
}

static void note_taken(struct redis_hub *h)
{
	redis_conn_prove(&h->conn);
	h->was_told_refused = false;
}

/* The link has seen to it that a message has three elements and begins with two strings. */
static void on_push(struct redisAsyncContext *context, void *reply, void *ctx)
{
	struct redis_channel *c = ctx;
	const redisReply *r = reply;
	const char *kind;

	if (!r) {
		lose(c);
		return;
	}
	if (r->type != REDIS_REPLY_ARRAY)
		return;
	kind = r->element[0]->str;
	kind += c->is_pattern && *kind == 'p';
	if (strcmp(kind, "message") == 0) {
		take_message(c, r);
	} else if (strcmp(kind, "subscribe") == 0) {
		note_taken(c->hub);
		if (c->ends_due == 0 && !c->is_live)
			set_live(c, true);
	} else if (strcmp(kind, "unsubscribe") == 0 && c->ends_due) {
		/* Asked for again meanwhile: that is still to be answered. */
		if (--c->ends_due == 0 && list_is_empty(&c->listeners))
			c->is_sent = false;
		free_if_idle(c);
	}
}

static bool ask(struct redis_channel *c, bool is_end)
{
	struct span words[2] = { is_end ? SPAN("PUNSUBSCRIBE") : SPAN("PSUBSCRIBE"), c->name };

	if (!c->is_pattern)
		words[0] = span_of(words[0].ptr + 1, words[0].len - 1);
	return redis_link_send_words(&c->hub->conn.link, 2, words, on_push, c) == 0;
}

static void open_channel(struct redis_channel *c)
{
	if (redis_conn_is_ready(&c->hub->conn))
		c->is_sent = ask(c, false);
}

/* Connection ---------------------------------------------------------------------------------------------------- */

static void on_ready(struct redis_conn *conn)
{
	struct redis_hub *h = container_of(conn, struct redis_hub, conn);

	redis_link_pause(&conn->link, h->pause_count > 0);
	for (unsigned i = 0; i < BUCKETS; i++)
		list_for_each(node, &h->buckets[i])
			open_channel(container_of(node, struct redis_channel, node));
}

/* An error in answer to SUBSCRIBE ends the connection.  That there is no server is told by redis_server.c. */
static void tell_refused(struct redis_hub *h, const char *why)
{
	if (h->conn.failures > 0 && h->channel_count > 0 && !h->was_told_refused) {
		log_warn("redis %s: cannot subscribe: %s", redis_server_access(h->server)->name, why);
		h->was_told_refused = true;
	}
}

/* Those that were subscribed to have been told by on_push; the others wait. */
static void on_gone(struct redis_conn *conn, bool was_ready, const char *why)
{
	struct redis_hub *h = container_of(conn, struct redis_hub, conn);

	if (was_ready)
		tell_refused(h, why);
	h->is_walking = true;
	for (unsigned i = 0; !was_ready && i < BUCKETS; i++)
		list_for_each(node, &h->buckets[i])
			set_live(container_of(node, struct redis_channel, node), false);
	h->is_walking = false;
	for (unsigned i = 0; i < BUCKETS; i++)
		list_for_each_safe(node, next, &h->buckets[i])
			free_if_idle(container_of(node, struct redis_channel, node));
	if (h->channel_count == 0)
		redis_conn_stop(&h->conn);
}

/* Use ----------------------------------------------------------------------------------------------------------- */

int redis_subscribe(struct redis_hub *h, struct redis_subscriber *s, struct span name, bool is_pattern, bool *ret_is_live)
{
	struct redis_channel *c = find(h, name, is_pattern);

	*ret_is_live = c && c->is_live;
	if (!c) {
		c = add(h, name, is_pattern);
		if (!c)
			return -ENOMEM;
	}
	s->channel = c;
	list_push_back(&c->listeners, &s->node);
	/* Of one that is about to end the subscription is asked for anew. */
	if (!c->is_live && (!c->is_sent || c->ends_due))
		open_channel(c);
	redis_conn_start(&h->conn);
	return 0;
}

void redis_unsubscribe(struct redis_subscriber *s)
{
	struct redis_channel *c = s->channel;

	if (!c)
		return;
	s->channel = NULL;
	list_remove(&s->node);
	if (list_is_empty(&c->listeners) && !c->is_telling)
		close_channel(c);
}

struct span redis_subscriber_name(const struct redis_subscriber *s)
{
	return s->channel->name;
}

void redis_hub_pause(struct redis_hub *h)
{
	if (++h->pause_count == 1 && h->conn.state == REDIS_CONN_READY)
		redis_link_pause(&h->conn.link, true);
}

void redis_hub_resume(struct redis_hub *h)
{
	BUG_ON(h->pause_count == 0);
	if (--h->pause_count == 0)
		redis_link_pause(&h->conn.link, false);
}

int redis_hub_new(struct redis_server *server, struct redis_hub **ret_hub)
{
	struct redis_hub *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->server = server;
	for (unsigned i = 0; i < BUCKETS; i++)
		list_init(&h->buckets[i]);
	*ret_hub = h;
	return 0;
}

void redis_hub_free(struct redis_hub *h)
{
	free(h);
}

void redis_hub_start(struct redis_hub *h)
{
	const struct redis_access *access = redis_server_access(h->server);

	h->stats = access->stats;
	redis_conn_init(&h->conn, redis_server_loop(h->server), access, true);
	h->conn.on_ready = on_ready;
	h->conn.on_gone = on_gone;
}

void redis_hub_stop(struct redis_hub *h)
{
	if (h->stats)
		redis_conn_stop(&h->conn);
	h->stats = NULL;
}
