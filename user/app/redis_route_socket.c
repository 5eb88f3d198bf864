/* SPDX-License-Identifier: MIT */
/*
 * Channels as WebSockets: GET /SUBSCRIBE/channel and the like, with an Upgrade.  A message is one frame: the same JSON as in
 * a stream; with .txt the text alone, with .bin the bytes.
 *
 * WebSockets of a route that listen to the same channels in the same form are a group, which has one channel of channel.h:
 * a message is made once, whoever reads too slowly is dropped there, and many are served in slices.  The group listens at
 * the hub, beside streams, and lives as long as it has WebSockets.
 *
 * When the connection to the server was lost a message "gap" says so once it is back; where the form has no room for one,
 * those who listen are closed with 1013.
 */
#include <stdlib.h>

#include "app/redis_route_internal.h"
#include "base/err.h"
#include "base/utf8.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

struct group_channel {
	struct redis_subscriber subscriber;
	struct redis_group *group;
	bool is_live;
};

struct redis_group {
	struct list node;		/* in its bucket */
	uint64_t hash;
	const struct redis_route *route;
	struct channel *channel;
	enum redis_format format;
	bool is_pattern;
	bool has_gap;
	unsigned user_count;		/* WebSockets */
	unsigned channel_count, live_count;
	struct job job;			/* to be freed */
	struct group_channel channels[];
};

/* Messages ------------------------------------------------------------------------------------------------------ */

static void deliver(struct redis_group *g, bool is_text, struct span data)
{
	if (channel_deliver(g->channel, is_text, data) < 0)
		channel_lost(g->channel);
	redis_brake_check(&g->route->service->brake);
}

static void on_message(struct redis_subscriber *s, struct redis_message *m)
{
	struct redis_group *g = container_of(s, struct group_channel, subscriber)->group;
	static struct redis_text text;

	if (g->format != REDIS_JSON) {
		deliver(g, g->format == REDIS_TEXT && utf8_is_valid(m->payload), m->payload);
		return;
	}
	text.len = 0;
	text.has_failed = false;
	redis_render_message(&text, m, g->route->key_prefix.len);
	if (text.has_failed)
		channel_lost(g->channel);
	else
		deliver(g, true, span_of(text.ptr, text.len));
}

static void tell_gap(struct redis_group *g)
{
	g->has_gap = false;
	if (g->format != REDIS_JSON)
		channel_lost(g->channel);
	else if (g->is_pattern)
		deliver(g, true, SPAN("{\"PSUBSCRIBE\":[\"gap\",\"messages may have been lost\"]}"));
	else
		deliver(g, true, SPAN("{\"SUBSCRIBE\":[\"gap\",\"messages may have been lost\"]}"));
}

static void on_live(struct redis_subscriber *s, bool is_live)
{
	struct group_channel *c = container_of(s, struct group_channel, subscriber);
	struct redis_group *g = c->group;

	if (c->is_live != is_live)
		g->live_count += is_live ? 1 : (unsigned)-1;
	c->is_live = is_live;
	if (!is_live)
		g->has_gap = true;
	else if (g->has_gap && g->live_count == g->channel_count)
		tell_gap(g);
}

/* Groups -------------------------------------------------------------------------------------------------------- */

static uint64_t hash_of(const struct redis_topic *t)
{
	uint64_t hash = (uintptr_t)t->route + t->format * 2u + t->is_pattern;

	for (unsigned i = 0; i < t->count; i++)
		hash = XXH3_64bits_withSeed(t->names[i].ptr, t->names[i].len, hash);
	return hash;
}

static bool is_group_of(const struct redis_group *g, const struct redis_topic *t)
{
	if (g->route != t->route || g->format != t->format || g->is_pattern != t->is_pattern || g->channel_count != t->count)
		return false;
	for (unsigned i = 0; i < t->count; i++)
		if (!span_eq(redis_subscriber_name(&g->channels[i].subscriber), t->names[i]))
			return false;
	return true;
}

static void free_group(struct redis_group *g)
{
	job_cancel(&g->job);
	list_remove(&g->node);
	for (unsigned i = 0; i < g->channel_count; i++)
		redis_unsubscribe(&g->channels[i].subscriber);
	if (g->channel)
		channel_free(g->channel);
	free(g);
}

static void on_free(struct job *j)
{
	struct redis_group *g = container_of(j, struct redis_group, job);

	if (g->user_count == 0)
		free_group(g);
}

/* False: no memory. */
static bool listen_to(struct redis_group *g, const struct redis_topic *t)
{
	struct redis_service *service = t->route->service;

	g->channel = channel_new(service->channels);
	if (!g->channel)
		return false;
	for (unsigned i = 0; i < t->count; i++) {
		struct group_channel *c = &g->channels[g->channel_count++];

		c->group = g;
		c->subscriber.on_message = on_message;
		c->subscriber.on_live = on_live;
		list_init(&c->subscriber.node);
		if (redis_subscribe(service->hub, &c->subscriber, t->names[i], t->is_pattern, &c->is_live))
			return false;
		g->live_count += c->is_live;
	}
	/* Lost since the request was let in. */
	g->has_gap = g->live_count < g->channel_count;
	return true;
}

/* NULL without memory. */
static struct redis_group *group_of(const struct redis_topic *t)
{
	uint64_t hash = hash_of(t);
	struct list *bucket = &t->route->service->groups[hash % REDIS_GROUP_BUCKETS];
	struct redis_group *g;

	list_for_each(node, bucket) {
		g = container_of(node, struct redis_group, node);
		if (g->hash == hash && is_group_of(g, t))
			return g;
	}
	g = calloc(1, sizeof(*g) + t->count * sizeof(g->channels[0]));
	if (!g)
		return NULL;
	g->hash = hash;
	g->route = t->route;
	g->format = t->format;
	g->is_pattern = t->is_pattern;
	job_init(&g->job, on_free);
	list_push_back(bucket, &g->node);
	if (listen_to(g, t))
		return g;
	free_group(g);
	return NULL;
}

static void leave_group(struct redis_group *g)
{
	/* Not here: its channel may be walking over those who listen. */
	if (--g->user_count == 0)
		loop_free_later(redis_server_loop(g->route->service->server), &g->job);
}

/* WebSockets ---------------------------------------------------------------------------------------------------- */

static void on_client_message(struct websocket *ws, bool is_text, struct span data)
{
	websocket_refuse(ws, 1008, "takes no messages");
}

static void on_end(struct websocket *ws)
{
	struct redis_group *g = websocket_ctx(ws);

	g->route->service->stats->subscribers--;
	leave_group(g);
}

const struct websocket_ops redis_socket_ops = { .on_message = on_client_message, .on_end = on_end };

bool redis_socket_admit(const struct redis_route *route, const struct request *req, struct reply *reply)
{
	unsigned status = websocket_origin_allowed(&route->endpoint, req) ? websocket_check(req) : 403;

	if (!status && !route->service->is_draining)
		return true;
	if (!status) {
		/* Whoever comes back comes to another worker. */
		reply->must_close = true;
		redis_refuse(reply, 503, "drain");
		return false;
	}
	reply->why = status == 403 ? "origin_not_allowed" : "bad_handshake";
	websocket_refuse_request(&route->endpoint, reply, status);
	return false;
}

struct redis_group *redis_group_join(const struct redis_topic *t)
{
	struct redis_group *g = group_of(t);

	if (g)
		g->user_count++;
	return g;
}

void *redis_group_open(struct redis_group *g, enum websocket_kind kind, const struct detached *d)
{
	struct stats_redis *stats = g->route->service->stats;
	void *ws;

	stats->streams++;
	stats->subscribers++;
	ws = websocket_open(&g->route->endpoint, kind, g->channel, g, d);
	if (ws)
		return ws;
	stats->subscribers--;
	leave_group(g);
	return NULL;
}

int redis_sockets_init(struct redis_service *s)
{
	for (unsigned i = 0; i < REDIS_GROUP_BUCKETS; i++)
		list_init(&s->groups[i]);
	s->channels = channel_hub_new();
	return s->channels ? 0 : -ENOMEM;
}

void redis_sockets_start(struct redis_service *s)
{
	channel_hub_start(s->channels, redis_server_loop(s->server), NULL);
	redis_brake_init(&s->brake, s->hub, s->channels);
}

void redis_sockets_stop(struct redis_service *s)
{
	/* Of one that was not started there is nothing. */
	if (s->brake.hub)
		redis_brake_stop(&s->brake);
	for (unsigned i = 0; i < REDIS_GROUP_BUCKETS; i++)
		list_for_each_safe(node, next, &s->groups[i])
			free_group(container_of(node, struct redis_group, node));
}
