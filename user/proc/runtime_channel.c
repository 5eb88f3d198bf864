/* SPDX-License-Identifier: MIT */
/* Channels of a configuration that reach other hosts: a bridge for each Redis server that has some. */
#include <stdlib.h>

#include "base/err.h"
#include "proc/bus.h"
#include "proc/runtime_internal.h"

static int add_channel(struct runtime *rt, struct channel_bridge *bridge, const struct config_channel *conf)
{
	struct channel *ch = channel_open(websockets_hub(rt->websockets), span_str(conf->name));

	return ch ? channel_bridge_add(bridge, ch, conf->topic, conf->gap) : -ENOMEM;
}

static bool has_channel(const struct config *c, const struct config_redis *redis)
{
	for (unsigned i = 0; i < c->channel_count; i++)
		if (strcmp(c->channels[i].redis, redis->name) == 0)
			return true;
	return false;
}

static int add_bridge(struct runtime *rt, const struct config_redis *redis)
{
	struct channel_bridge **bridge = &rt->bridges[rt->bridge_count];
	struct redis_server_options opt = runtime_redis_options(redis);
	int err = channel_bridge_new(&opt, bridge);

	if (err)
		return err;
	rt->bridge_count++;
	for (unsigned i = 0; i < rt->config->channel_count && !err; i++)
		if (strcmp(rt->config->channels[i].redis, redis->name) == 0)
			err = add_channel(rt, *bridge, &rt->config->channels[i]);
	return err;
}

int runtime_open_channels(struct runtime *rt)
{
	const struct config *c = rt->config;
	int err = 0;

	rt->bridges = calloc(c->redis_count + 1, sizeof(struct channel_bridge *));
	if (!rt->bridges)
		return -ENOMEM;
	for (unsigned i = 0; i < c->redis_count && !err; i++)
		if (has_channel(c, &c->redis[i]))
			err = add_bridge(rt, &c->redis[i]);
	return err;
}

void runtime_close_channels(struct runtime *rt)
{
	for (unsigned i = 0; i < rt->bridge_count; i++)
		channel_bridge_free(rt->bridges[i]);
	free(rt->bridges);
}

int runtime_start_channels(struct runtime *rt, const struct runtime_options *opt)
{
	struct channel_bridge_start start = {
		.loop = opt->loop,
		.table = opt->table,
		.redis_stats = &opt->stats->redis,
		.stats = &opt->stats->websocket,
		.channels = websockets_hub(rt->websockets),
		.host = opt->bus ? opt->bus->id : 0,
	};
	int err = 0;

	for (unsigned i = 0; i < rt->bridge_count && !err; i++)
		err = channel_bridge_start(rt->bridges[i], &start);
	if (err)
		log_error("cannot join the channels of other hosts: %s", strerror(-err));
	return err;
}

void runtime_stop_channels(struct runtime *rt)
{
	for (unsigned i = 0; i < rt->bridge_count; i++)
		channel_bridge_stop(rt->bridges[i]);
}

void runtime_publish_remote(struct runtime *rt, struct span name, bool is_text, struct span data)
{
	for (unsigned i = 0; i < rt->bridge_count; i++)
		if (channel_bridge_publish(rt->bridges[i], name, is_text, data))
			return;
}
