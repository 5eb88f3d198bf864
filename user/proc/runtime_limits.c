/* SPDX-License-Identifier: MIT */
/* Limits of clients, of a configuration; see runtime.h. */
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/err.h"
#include "proc/runtime_internal.h"

/* What a client may owe because of so many hosts at once, and by a second of each that they had not heard of. */
#define SHARE_HOSTS	64u
#define SHARE_REST	(SHARE_HOSTS * (LIMIT_HOUR / 3600))

static void add_rate(struct runtime *rt, uint64_t per_hour, unsigned burst, uint32_t zone)
{
	struct limit_rate *r = &rt->rates[rt->rate_count];

	/* Rounded up, so that never more is admitted than was asked for. */
	*r = (struct limit_rate){ .zone = zone, .interval = per_hour ? (LIMIT_HOUR + per_hour - 1) / per_hour : 0 };
	r->number = rt->rate_count++;
	r->window = r->interval * burst;
	if (rt->config->limits.redis)
		r->beyond = MIN(SHARE_HOSTS * r->window + SHARE_REST, LIMIT_WINDOW_MAX - r->window);
}

int runtime_open_limits(struct runtime *rt)
{
	const struct config_limits *l = &rt->config->limits;
	unsigned routes = 0;
	int err = 0;

	cidr_set_init(&rt->exempt);
	for (unsigned i = 0; i < l->exempt_count && !err; i++)
		err = cidr_set_add(&rt->exempt, span_str(l->exempt[i]));
	if (err)
		return err;
	for (unsigned i = 0; i < rt->config->site_count; i++)
		routes += rt->config->sites[i].route_count;
	rt->rates = calloc(routes + 1, sizeof(*rt->rates));
	if (!rt->rates)
		return -ENOMEM;
	add_rate(rt, l->rate, l->burst, 0);
	return 0;
}

void runtime_close_limits(struct runtime *rt)
{
	cidr_set_fini(&rt->exempt);
	free(rt->rates);
}

/* By their names, so that a route which stays goes on counting after a reload.  0 is that of all others. */
static uint32_t zone_of(const struct config_site *site, const struct config_route *route)
{
	uint64_t seed = XXH3_64bits(site->names[0], strlen(site->names[0]));
	uint32_t zone = (uint32_t)XXH3_64bits_withSeed(route->prefix, strlen(route->prefix), seed);

	return zone ? zone : 1;
}

const struct limit_rate *runtime_rate_of(struct runtime *rt, const struct config_site *site,
					 const struct config_route *route)
{
	const struct config_limits *l = &rt->config->limits;
	uint64_t per_hour = route->rate == UINT64_MAX ? l->rate : route->rate;
	unsigned burst = route->burst ? route->burst : l->burst;

	if (per_hour == 0)
		return NULL;
	if (route->rate == UINT64_MAX && !route->burst)
		return &rt->rates[0];
	add_rate(rt, per_hour, burst, zone_of(site, route));
	return &rt->rates[rt->rate_count - 1];
}

bool runtime_wants_rates(const struct runtime *rt)
{
	return rt->rate_count > 1 || rt->rates[0].interval;
}

bool runtime_wants_counts(const struct runtime *rt)
{
	return rt->config->limits.client_connections || rt->config->limits.total_connections;
}

uint64_t runtime_debt_max(const struct runtime *rt)
{
	uint64_t max = 0;

	for (unsigned i = 0; i < rt->rate_count; i++)
		max = MAX(max, rt->rates[i].window + rt->rates[i].beyond);
	return max;
}

static uint64_t handler_memory(void *ctx)
{
	return proxy_memory(ctx);
}

static void on_memory(void *ctx, bool is_short)
{
	proxy_on_memory(ctx, is_short);
}

void runtime_fill_limits(struct runtime *rt, struct server_limits *ret_limits)
{
	const struct config_limits *l = &rt->config->limits;

	*ret_limits = (struct server_limits){
		.client_connections = l->client_connections,
		.total_connections = l->total_connections,
		.rate = rt->rates[0].interval ? &rt->rates[0] : NULL,
		.exempt = rt->exempt.count ? &rt->exempt : NULL,
		.trusted = rt->trusted.count ? &rt->trusted : NULL,
		.memory = l->memory,
		.age_ms = (uint32_t)l->age,
		.header_rate = l->header_rate,
		.body_rate = l->body_rate,
		.write_rate = l->write_rate,
		.has_pace = l->header_rate || l->body_rate || l->write_rate,
		.rate_grace_ms = (uint32_t)l->rate_grace,
		.handler_memory = rt->proxy ? handler_memory : NULL,
		.on_memory = rt->proxy ? on_memory : NULL,
		.memory_ctx = rt->proxy,
	};
}
