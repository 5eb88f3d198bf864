/* SPDX-License-Identifier: MIT */
/* Redis servers and routes to them, of a configuration; see runtime.h. */
#include <stdlib.h>

#include "app/redis_route.h"
#include "base/err.h"
#include "proc/runtime_internal.h"

struct redis_server_options runtime_redis_options(const struct config_redis *conf)
{
	return (struct redis_server_options){
		.name = conf->name,
		.user = conf->user,
		.password = conf->password,
		.database = conf->database,
		.connections = conf->connections,
		.queue_max = conf->queue,
		.connect_ms = conf->connect,
		.timeout_ms = conf->timeout,
		.pause_max_ms = conf->backoff,
		.reply_max = conf->reply,
		.first_endpoint = conf->upstream.servers[0].first_endpoint,
		.endpoint_count = conf->upstream.servers[0].endpoint_count,
	};
}

static int add(struct runtime *rt, const struct config_redis *conf)
{
	struct redis_server_options opt = runtime_redis_options(conf);
	int err = redis_service_new(&opt, &rt->redis[rt->redis_count]);

	if (!err)
		rt->redis_count++;
	return err;
}

int runtime_open_redis(struct runtime *rt)
{
	const struct config *c = rt->config;
	int err = 0;

	rt->redis = calloc(c->redis_count + 1, sizeof(*rt->redis));
	if (!rt->redis)
		return -ENOMEM;
	for (unsigned i = 0; i < c->redis_count && !err; i++)
		err = add(rt, &c->redis[i]);
	return err;
}

void runtime_close_redis(struct runtime *rt)
{
	for (unsigned i = 0; i < rt->redis_count; i++)
		redis_service_free(rt->redis[i]);
	free(rt->redis);
}

int runtime_build_redis(const struct runtime *rt, const struct config_route *route, void **ret_conf)
{
	struct redis_route_options opt = {
		.prefix = span_str(route->prefix),
		.allow = route->redis.allow,
		.allow_count = route->redis.allow_count,
		.key_prefix = route->redis.key_prefix,
		.body_max = route->proxy.body == UINT64_MAX ? rt->config->limits.body : route->proxy.body,
		.stream_max = route->redis.stream,
	};

	runtime_fill_endpoint(rt, route, &opt.endpoint);
	opt.endpoint.queue_max = (uint32_t)route->redis.stream;
	for (unsigned i = 0; i < rt->redis_count; i++)
		if (strcmp(rt->config->redis[i].name, route->value) == 0)
			opt.service = rt->redis[i];
	return opt.service ? redis_route_new(&opt, ret_conf) : -ENOENT;
}

/* By routes and stores; channels between hosts, and what shares limits between them, have connections of their own. */
static bool is_used(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->store_count; i++)
		if (c->stores[i].engine == STORE_ENGINE_REDIS && strcmp(c->stores[i].redis, name) == 0)
			return true;
	for (unsigned i = 0; i < c->site_count; i++)
		for (unsigned n = 0; n < c->sites[i].route_count; n++)
			if (c->sites[i].routes[n].kind == ROUTE_REDIS && strcmp(c->sites[i].routes[n].value, name) == 0)
				return true;
	return false;
}

void runtime_start_redis(struct runtime *rt, const struct runtime_options *opt)
{
	for (unsigned i = 0; i < rt->redis_count; i++)
		if (is_used(rt->config, rt->config->redis[i].name))
			redis_service_start(rt->redis[i], opt->loop, opt->table, &opt->stats->redis);
}

void runtime_drain_redis(struct runtime *rt)
{
	for (unsigned i = 0; i < rt->redis_count; i++)
		redis_service_drain(rt->redis[i]);
}

void runtime_stop_redis(struct runtime *rt)
{
	for (unsigned i = 0; i < rt->redis_count; i++)
		redis_service_stop(rt->redis[i]);
}
