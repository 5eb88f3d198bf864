/* SPDX-License-Identifier: MIT */
/* Channels by way of Redis; see channel_bridge.h. */
#include "app/channel_bridge.h"

#include <stdlib.h>

#include "app/channel_peers.h"
#include "app/channel_wire.h"
#include "app/redis_brake.h"
#include "base/err.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/random.h"
#include "base/utf8.h"

#define KEEP_CALLS 64u
/*
 * Messages on their way while publishers are let go on.  What one of them has sent already is taken all the same: 64 KiB of
 * empty frames are some 11,000.
 */
#define FLIGHT_COUNT 1024u
#define FLIGHT_BYTES (8u << 20)
#define QUEUE_MAX    65536u

struct bridge_channel {
	struct redis_subscriber subscriber;
	struct channel_bridge *bridge;
	struct channel *channel;
	char *topic;
	enum channel_gap gap;
	bool is_live;			/* subscribed */
	bool has_missed;		/* was not, since the worker began */
	uint64_t serial;		/* of the last message that this worker has published */
	struct channel_peers peers;
};

struct channel_bridge {
	struct redis_server *server;	/* one connection */
	struct redis_hub *hub;
	struct bridge_channel *items;
	unsigned count;
	/* of the worker */
	struct stats_websocket *stats;	/* NULL: not started */
	struct channel_hub *channels;
	struct redis_brake brake;
	bool is_holding;		/* publishers */
	bool is_silent;			/* the last one was not answered: publishers do not wait for it */
	bool is_stopping;
	bool was_told;			/* that the server refuses what is published */
	size_t flight_bytes;
	uint64_t host, self;
	struct pool calls;
	char *message;			/* while it is put together */
};

/* One message on its way. */
struct bridge_call {
	struct redis_call call;
	struct channel_bridge *bridge;
	size_t len;
};

/* To other hosts ------------------------------------------------------------------------------------------------ */

static void set_holding(struct channel_bridge *b, bool is_holding)
{
	if (is_holding && !b->is_holding)
		channel_hub_hold(b->channels);
	else if (!is_holding && b->is_holding)
		channel_hub_release(b->channels);
	b->is_holding = is_holding;
}

/* It is over; takes the call. */
static struct channel_bridge *end_call(struct redis_call *c, bool is_answered)
{
	struct bridge_call *call = container_of(c, struct bridge_call, call);
	struct channel_bridge *b = call->bridge;

	b->flight_bytes -= call->len;
	pool_put(&b->calls, call);
	b->is_silent = !is_answered;
	if (b->is_silent || (b->calls.used_count <= FLIGHT_COUNT / 2 && b->flight_bytes <= FLIGHT_BYTES / 2))
		set_holding(b, false);
	return b;
}

static void on_reply(struct redis_call *c, const redisReply *reply)
{
	struct channel_bridge *b = end_call(c, true);

	if (reply->type != REDIS_REPLY_ERROR) {
		b->stats->remote_out++;
		b->was_told = false;
		return;
	}
	b->stats->remote_failed++;
	if (!b->was_told)
		log_warn("redis %s: cannot publish: %s", redis_server_access(b->server)->name, reply->str);
	b->was_told = true;
}

static void on_failed(struct redis_call *c, enum redis_failure why)
{
	struct channel_bridge *b = end_call(c, false);

	/* At the end it has been sent, and nobody waits for the answer. */
	if (!b->is_stopping)
		b->stats->remote_failed++;
}

static bool send_message(struct channel_bridge *b, const char *topic, struct span message)
{
	struct span words[] = { SPAN("PUBLISH"), span_str(topic), message };
	struct bridge_call *call = pool_get(&b->calls);

	if (!call)
		return false;
	*call = (struct bridge_call){
		.call = { .on_reply = on_reply, .on_failed = on_failed }, .bridge = b, .len = message.len
	};
	if (redis_server_call(b->server, &call->call, ARRAY_LEN(words), words) != REDIS_CALL_FINE) {
		pool_put(&b->calls, call);
		return false;
	}
	b->flight_bytes += call->len;
	if (!b->is_silent && (b->calls.used_count >= FLIGHT_COUNT || b->flight_bytes >= FLIGHT_BYTES))
		set_holding(b, true);
	return true;
}

static struct bridge_channel *find(struct channel_bridge *b, struct span name)
{
	for (unsigned i = 0; i < b->count; i++)
		if (span_eq(channel_name(b->items[i].channel), name))
			return &b->items[i];
	return NULL;
}

bool channel_bridge_publish(struct channel_bridge *b, struct span name, bool is_text, struct span data)
{
	struct bridge_channel *item = find(b, name);
	struct channel_wire wire = { .host = b->host, .publisher = b->self, .is_text = is_text };

	if (!item)
		return false;
	BUG_ON(data.len > CHANNEL_MESSAGE_MAX);
	/* Counted whether it gets there or not: if not, the next one tells. */
	wire.serial = ++item->serial;
	channel_wire_print(&wire, b->message);
	if (data.len)
		memcpy(b->message + CHANNEL_WIRE_HEAD, data.ptr, data.len);
	if (!send_message(b, item->topic, span_of(b->message, CHANNEL_WIRE_HEAD + data.len)))
		b->stats->remote_failed++;
	return true;
}

/* From other hosts ---------------------------------------------------------------------------------------------- */

static void note_gap(struct bridge_channel *item)
{
	if (item->gap == CHANNEL_GAP_CLOSE)
		channel_lost(item->channel);
}

/* False: it is to be dropped, and counted.  Text is whatever may be sent as such, without the word of a sluice. */
static bool admit(struct bridge_channel *item, struct span message, struct span *ret_data, bool *ret_is_text)
{
	struct stats_websocket *stats = item->bridge->stats;
	struct channel_wire wire = { 0 };
	enum channel_wire_kind kind = channel_wire_parse(message, &wire, ret_data);
	uint64_t lost;

	if (kind == CHANNEL_WIRE_SIGNED && wire.host == item->bridge->host)
		return false;
	*ret_is_text = kind == CHANNEL_WIRE_BROKEN ? false : utf8_is_valid(*ret_data);
	if (kind == CHANNEL_WIRE_BROKEN || ret_data->len > CHANNEL_MESSAGE_MAX || (wire.is_text && !*ret_is_text)) {
		stats->remote_refused++;
		return false;
	}
	if (kind == CHANNEL_WIRE_PLAIN)
		return true;
	*ret_is_text = wire.is_text;
	if (!channel_peers_note(&item->peers, wire.publisher, wire.serial, &lost)) {
		stats->remote_late++;
		return false;
	}
	stats->remote_lost += lost;
	if (lost)
		note_gap(item);
	return true;
}

static void on_message(struct redis_subscriber *s, struct redis_message *m)
{
	struct bridge_channel *item = container_of(s, struct bridge_channel, subscriber);
	struct channel_bridge *b = item->bridge;
	struct span data;
	bool is_text;

	if (!admit(item, m->payload, &data, &is_text))
		return;
	b->stats->remote_in++;
	if (channel_deliver(item->channel, is_text, data) < 0) {
		b->stats->lost++;
		channel_lost(item->channel);
	}
	redis_brake_check(&b->brake);
}

static void on_live(struct redis_subscriber *s, bool is_live)
{
	struct bridge_channel *item = container_of(s, struct bridge_channel, subscriber);
	struct stats_websocket *stats = item->bridge->stats;

	if (item->is_live != is_live)
		stats->remote_channels += is_live ? 1 : (uint64_t)-1;
	item->is_live = is_live;
	if (!is_live) {
		item->has_missed = true;
	} else if (item->has_missed) {
		item->has_missed = false;
		stats->remote_gaps++;
		note_gap(item);
	}
}

/* Life ---------------------------------------------------------------------------------------------------------- */

static int subscribe(struct bridge_channel *item)
{
	bool is_live;

	item->subscriber.on_message = on_message;
	item->subscriber.on_live = on_live;
	list_init(&item->subscriber.node);
	return redis_subscribe(item->bridge->hub, &item->subscriber, span_str(item->topic), false, &is_live);
}

int channel_bridge_start(struct channel_bridge *b, const struct channel_bridge_start *opt)
{
	int err = 0;

	b->message = malloc(CHANNEL_WIRE_HEAD + CHANNEL_MESSAGE_MAX);
	if (!b->message)
		return -ENOMEM;
	b->stats = opt->stats;
	b->channels = opt->channels;
	b->host = opt->host;
	b->self = random_u64();
	redis_server_start(b->server, opt->loop, opt->table, opt->redis_stats);
	redis_hub_start(b->hub);
	redis_brake_init(&b->brake, b->hub, b->channels);
	for (unsigned i = 0; i < b->count && !err; i++) {
		struct bridge_channel *item = &b->items[i];

		item->bridge = b;
		err = channel_peers_init(&item->peers);
		if (!err)
			err = subscribe(item);
	}
	return err;
}

void channel_bridge_stop(struct channel_bridge *b)
{
	if (!b->stats)
		return;
	b->is_stopping = true;
	redis_brake_stop(&b->brake);
	for (unsigned i = 0; i < b->count; i++) {
		redis_unsubscribe(&b->items[i].subscriber);
		channel_peers_fini(&b->items[i].peers);
	}
	redis_hub_stop(b->hub);
	redis_server_flush(b->server);
	redis_server_stop(b->server);
	free(b->message);
	b->message = NULL;
	b->stats = NULL;
}

int channel_bridge_add(struct channel_bridge *b, struct channel *ch, const char *topic, enum channel_gap gap)
{
	struct bridge_channel *items = realloc(b->items, (b->count + 1) * sizeof(*items));

	if (!items)
		return -ENOMEM;
	b->items = items;
	items[b->count] = (struct bridge_channel){ .channel = ch, .topic = strdup(topic), .gap = gap };
	return items[b->count++].topic ? 0 : -ENOMEM;
}

int channel_bridge_new(const struct redis_server_options *opt, struct channel_bridge **ret_bridge)
{
	struct redis_server_options one = *opt;
	struct channel_bridge *b = calloc(1, sizeof(*b));
	int err;

	if (!b)
		return -ENOMEM;
	pool_init(&b->calls, sizeof(struct bridge_call), KEEP_CALLS, 0);
	one.connections = 1;
	one.queue_max = QUEUE_MAX;
	err = redis_server_new(&one, &b->server);
	if (!err)
		err = redis_hub_new(b->server, &b->hub);
	if (err)
		channel_bridge_free(b);
	else
		*ret_bridge = b;
	return err;
}

void channel_bridge_free(struct channel_bridge *b)
{
	if (!b)
		return;
	for (unsigned i = 0; i < b->count; i++)
		free(b->items[i].topic);
	free(b->items);
	redis_hub_free(b->hub);
	redis_server_free(b->server);
	pool_fini(&b->calls);
	free(b);
}
