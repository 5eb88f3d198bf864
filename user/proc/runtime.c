/* SPDX-License-Identifier: MIT */
/* From configuration to handlers; see runtime.h. */
#include "proc/runtime.h"

#include <stdlib.h>

#include "app/mime.h"
#include "app/module.h"
#include "app/redis_route.h"
#include "app/respond.h"
#include "app/static.h"
#include "app/store.h"
#include "base/clock.h"
#include "base/err.h"
#include "proc/runtime_internal.h"

/* The table of media types is one for all of them, and goes with the last. */
static unsigned runtime_count;

static uint64_t now_ms(void *ctx)
{
	const struct runtime *rt = ctx;

	return rt->loop ? rt->loop->now_ms : clock_ns() / NS_PER_MS;
}

struct built {
	const struct handler_ops *ops;
	void *conf;
	void (*on_free)(void *conf);
};

static int build_files(struct runtime *rt, const struct config_route *route, struct built *ret)
{
	struct static_options opt = {
		.root = route->value,
		.prefix = span_str(route->prefix),
		.index = (const char *const *)route->index,
		.index_count = route->index_count,
		.has_listing = route->has_listing,
		.allows_symlinks = route->allows_symlinks,
		.has_precompressed = route->has_precompressed,
		.shows_hidden = route->shows_hidden,
		.default_type = route->type,
		.cache = rt->cache,
	};

	ret->ops = &static_ops;
	ret->on_free = static_free;
	return static_new(&opt, &ret->conf);
}

static int build_respond(const struct config_route *route, struct built *ret)
{
	struct respond_options opt = {
		.body = route->value, .status = route->status, .type = route->type
	};

	ret->ops = &respond_ops;
	ret->on_free = respond_free;
	return respond_new(&opt, &ret->conf);
}

static int build_redirect(const struct config_route *route, struct built *ret)
{
	struct redirect_options opt = { .to = route->value, .status = route->status };

	ret->ops = &redirect_ops;
	ret->on_free = redirect_free;
	return redirect_new(&opt, &ret->conf);
}

static int build(struct runtime *rt, const struct config_route *route, struct built *ret)
{
	switch (route->kind) {
	case ROUTE_FILES:
		return build_files(rt, route, ret);
	case ROUTE_RESPOND:
		return build_respond(route, ret);
	case ROUTE_REDIRECT:
		return build_redirect(route, ret);
	case ROUTE_PROXY:
		ret->ops = &proxy_ops;
		ret->on_free = proxy_route_free;
		return runtime_build_proxy(rt, route, &ret->conf);
	case ROUTE_WEBSOCKET:
		ret->ops = &websocket_route_ops;
		ret->on_free = websocket_route_free;
		return runtime_build_websocket(rt, route, &ret->conf);
	case ROUTE_REDIS:
		ret->ops = &redis_route_ops;
		ret->on_free = redis_route_free;
		return runtime_build_redis(rt, route, &ret->conf);
	case ROUTE_STORE:
		ret->ops = &store_ops;
		ret->on_free = store_route_free;
		return runtime_build_store(rt, route, &ret->conf);
	case ROUTE_MODULE:
		ret->ops = &module_ops;
		ret->on_free = module_route_free;
		return runtime_build_module(rt, route, &ret->conf);
	}
	return -EINVAL;
}

static void log_at_place(const struct config_place *place, const char *what, const char *name,
			 int err)
{
	if (place->file)
		log_error("%s:%u: %s '%s': %s", place->file, place->line, what, name,
			  strerror(-err));
	else
		log_error("%s '%s': %s", what, name, strerror(-err));
}

static int add_route(struct runtime *rt, struct site *site, const struct config_site *conf,
		     const struct config_route *route)
{
	struct built b = { 0 };
	int err = build(rt, route, &b);

	if (err) {
		log_at_place(&route->place, "cannot serve", route->value, err);
		return err;
	}
	err = site_add_route(site, span_str(route->prefix), b.ops, b.conf, b.on_free);
	if (err)
		log_at_place(&route->place, "cannot add route", route->prefix, err);
	else
		site_limit_route(site, runtime_rate_of(rt, conf, route));
	return err;
}

static int add_site(struct runtime *rt, const struct config_site *conf)
{
	struct site *site;
	int err = site_add(rt->sites, (const char *const *)conf->names, conf->name_count, &site);

	if (err) {
		log_at_place(&conf->place, "cannot add site", conf->names[0], err);
		return err;
	}
	for (unsigned i = 0; i < conf->route_count && !err; i++)
		err = add_route(rt, site, conf, &conf->routes[i]);
	return err;
}

static struct file_cache *new_cache(struct runtime *rt, unsigned file_limit)
{
	const struct config_cache *conf = &rt->config->cache;
	struct file_cache_options opt = {
		.entry_max = MAX(MIN(conf->entries ? conf->entries : 1024, file_limit / 4), 8u),
		.memory_max = conf->memory,
		.content_max = conf->content,
		.valid_ms = (uint32_t)MIN(conf->valid_ms, UINT32_MAX),
		.now_ms = now_ms,
		.ctx = rt,
	};

	return file_cache_new(&opt);
}

int runtime_new(const struct config *config, unsigned file_limit, struct runtime **ret_runtime)
{
	struct runtime *rt = calloc(1, sizeof(*rt));
	int err = -ENOMEM;

	if (!rt)
		return -ENOMEM;
	rt->config = config;
	runtime_count++;
	mime_load(NULL);
	rt->sites = site_table_new();
	rt->cache = new_cache(rt, file_limit);
	if (!rt->sites || !rt->cache)
		goto fail;
	err = runtime_open_proxy(rt);
	if (!err)
		err = runtime_open_udp(rt);
	if (!err)
		err = runtime_open_websockets(rt);
	if (!err)
		err = runtime_open_channels(rt);
	if (!err)
		err = runtime_open_redis(rt);
	if (!err)
		err = runtime_open_limits(rt);
	if (!err)
		err = runtime_open_stores(rt);
	if (!err)
		err = runtime_open_modules(rt);
	for (unsigned i = 0; i < config->site_count && !err; i++)
		err = add_site(rt, &config->sites[i]);
	if (err)
		goto fail;
	site_table_seal(rt->sites);
	*ret_runtime = rt;
	return 0;
fail:
	runtime_free(rt);
	return err;
}

void runtime_free(struct runtime *rt)
{
	if (!rt)
		return;
	site_table_free(rt->sites);
	runtime_close_proxy(rt);
	runtime_close_udp(rt);
	runtime_close_channels(rt);
	runtime_close_websockets(rt);
	runtime_close_redis(rt);
	runtime_close_stores(rt);
	runtime_close_modules(rt);
	runtime_close_limits(rt);
	file_cache_free(rt->cache);
	if (--runtime_count == 0)
		mime_unload();
	free(rt);
}

int runtime_start(struct runtime *rt, const struct runtime_options *opt)
{
	int err;

	rt->loop = opt->loop;
	runtime_start_proxy(rt, opt);
	runtime_start_redis(rt, opt);
	err = runtime_start_stores(rt, opt);
	if (!err)
		err = runtime_start_modules(rt, opt);
	return err ? err : runtime_start_websockets(rt, opt);
}

void runtime_stop(struct runtime *rt)
{
	runtime_stop_proxy(rt);
	runtime_stop_redis(rt);
	runtime_stop_stores(rt);
	runtime_stop_modules(rt);
	runtime_stop_websockets(rt);
}

/* Of a route with a limit of its own. */
static uint64_t body_of(const struct config_route *route)
{
	bool has_body = route->kind == ROUTE_PROXY || route->kind == ROUTE_REDIS || route->kind == ROUTE_MODULE;

	if (has_body && route->proxy.body != UINT64_MAX)
		return route->proxy.body;
	return route->kind == ROUTE_WEBSOCKET ? route->websocket.message : 0;
}

uint64_t runtime_body_max(const struct runtime *rt)
{
	uint64_t max = rt->config->limits.body;

	for (unsigned i = 0; i < rt->config->store_count; i++)
		max = MAX(max, rt->config->stores[i].value);
	for (unsigned i = 0; i < rt->config->site_count; i++) {
		const struct config_site *site = &rt->config->sites[i];

		for (unsigned n = 0; n < site->route_count; n++)
			max = MAX(max, body_of(&site->routes[n]));
	}
	return max;
}
