/* SPDX-License-Identifier: MIT */
/* Stores and routes to them, of a configuration; see runtime.h. */
#include <stdlib.h>
#include <unistd.h>

#include "app/redis_route.h"
#include "app/store.h"
#include "base/err.h"
#include "proc/runtime_internal.h"

static int new_engine(const struct runtime *rt, const struct config_store *c, struct store_engine **ret_engine)
{
	struct store_lmdb_options lmdb = { .name = c->name, .path = c->path, .timeout_ms = c->timeout };
	struct store_redis_options redis = { .name = c->name, .prefix = c->key_prefix };

	if (c->engine == STORE_ENGINE_LMDB)
		return store_lmdb_new(&lmdb, ret_engine);
	for (unsigned i = 0; i < rt->redis_count; i++)
		if (strcmp(rt->config->redis[i].name, c->redis) == 0)
			redis.server = redis_service_server(rt->redis[i]);
	return redis.server ? store_redis_new(&redis, ret_engine) : -ENOENT;
}

static int add_store(struct runtime *rt, const struct config_store *c)
{
	struct store_options opt = { .value_max = c->value, .memory_max = c->memory };
	int err = new_engine(rt, c, &opt.engine);

	if (err)
		return err;
	err = store_new(&opt, &rt->stores[rt->store_count]);
	if (err)
		opt.engine->ops->free(opt.engine);
	else
		rt->store_count++;
	return err;
}

int runtime_open_stores(struct runtime *rt)
{
	const struct config *c = rt->config;
	int err = 0;

	if (c->store_count == 0)
		return 0;
	rt->stores = calloc(c->store_count, sizeof(*rt->stores));
	if (!rt->stores)
		return -ENOMEM;
	for (unsigned i = 0; i < c->store_count && !err; i++)
		err = add_store(rt, &c->stores[i]);
	return err;
}

void runtime_close_stores(struct runtime *rt)
{
	for (unsigned i = 0; i < rt->store_count; i++)
		store_free(rt->stores[i]);
	free(rt->stores);
}

int runtime_build_store(const struct runtime *rt, const struct config_route *route, void **ret_conf)
{
	struct store_route_options opt = {
		.prefix = span_str(route->prefix),
		.requires_match = route->store.requires_match,
		.has_timed_names = route->store.names == STORE_NAMES_TIME,
	};

	for (unsigned i = 0; i < rt->store_count; i++)
		if (strcmp(rt->config->stores[i].name, route->value) == 0)
			opt.store = rt->stores[i];
	return opt.store ? store_route_new(&opt, ret_conf) : -ENOENT;
}

int runtime_start_stores(struct runtime *rt, const struct runtime_options *opt)
{
	int err = 0;

	for (unsigned i = 0; i < rt->store_count && !err; i++)
		err = store_start(rt->stores[i], opt->loop, opt->store_stats[i]);
	return err;
}

void runtime_stop_stores(struct runtime *rt)
{
	for (unsigned i = 0; i < rt->store_count; i++)
		store_stop(rt->stores[i]);
}

void runtime_link_store(struct runtime *rt, unsigned store, int fd)
{
	if (store < rt->store_count)
		store_link(rt->stores[store], fd);
	else
		close(fd);
}
