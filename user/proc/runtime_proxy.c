/* SPDX-License-Identifier: MIT */
/* Upstreams and routes to them, of a configuration; see runtime.h. */
#include <stdlib.h>

#include "base/err.h"
#include "proc/runtime_internal.h"

static int add_trusted(struct runtime *rt)
{
	const struct config *c = rt->config;
	int err = 0;

	cidr_set_init(&rt->trusted);
	for (unsigned i = 0; i < c->trusted_proxy_count && !err; i++)
		err = cidr_set_add(&rt->trusted, span_str(c->trusted_proxies[i]));
	return err;
}

static int new_upstream(const struct config_upstream *conf, struct upstream **ret_upstream)
{
	struct upstream_server_options *servers = calloc(conf->server_count, sizeof(*servers));
	struct upstream_options opt = {
		.name = conf->name,
		.balance = conf->balance,
		.keepalive_max = conf->keepalive,
		.keepalive_ms = conf->keepalive_time,
		.keepalive_requests = conf->keepalive_requests,
		.queue_max = conf->queue,
		.queue_ms = conf->queue_time,
		.fail_max = conf->fails,
		.fail_window_ms = conf->fail_window,
		.eject_ms = conf->eject_time,
		.error_percent = conf->error_percent,
		.servers = servers,
		.server_count = conf->server_count,
	};
	int err;

	if (!servers)
		return -ENOMEM;
	for (unsigned i = 0; i < conf->server_count; i++) {
		const struct config_server *s = &conf->servers[i];

		servers[i] = (struct upstream_server_options){
			.weight = s->weight,
			.max_connections = s->max_connections,
			.slow_start_ms = s->slow_start,
			.is_backup = s->is_backup,
			.first_endpoint = s->first_endpoint,
			.endpoint_count = s->endpoint_count,
		};
		config_server_host(s, servers[i].host, sizeof(servers[i].host));
	}
	err = upstream_new(&opt, ret_upstream);
	free(servers);
	return err;
}

/* "header:X-User" is the value of that field, "cookie:id" that of that cookie. */
static void set_hash(const char *text, struct proxy_group_options *opt)
{
	const char *colon = text ? strchr(text, ':') : NULL;

	opt->hash_name = colon ? colon + 1 : NULL;
	if (!text || strcmp(text, "ip") == 0)
		opt->hash = PROXY_HASH_IP;
	else if (strcmp(text, "uri") == 0)
		opt->hash = PROXY_HASH_URI;
	else
		opt->hash = strncmp(text, "header:", 7) == 0 ? PROXY_HASH_HEADER : PROXY_HASH_COOKIE;
}

static int add_upstream(struct runtime *rt, const struct config_upstream *conf)
{
	static const enum proxy_send_header headers[] = {
		[PROXY_PROTOCOL_OFF] = PROXY_SEND_NONE,
		[PROXY_PROTOCOL_V1] = PROXY_SEND_V1,
		[PROXY_PROTOCOL_V2] = PROXY_SEND_V2,
	};
	unsigned i = rt->upstream_count;
	struct proxy_group_options opt = {
		.send_header = headers[conf->send_proxy],
		.retry_percent = conf->retry_percent,
	};
	int err = new_upstream(conf, &rt->upstreams[i]);

	if (err)
		return err;
	rt->upstream_count++;
	opt.upstream = rt->upstreams[i];
	set_hash(conf->hash, &opt);
	return proxy_group_new(rt->proxy, &opt, &rt->groups[i]);
}

int runtime_open_proxy(struct runtime *rt)
{
	const struct config *c = rt->config;
	int err = add_trusted(rt);

	if (err || c->upstream_count == 0)
		return err;
	rt->upstreams = calloc(c->upstream_count, sizeof(*rt->upstreams));
	rt->groups = calloc(c->upstream_count, sizeof(*rt->groups));
	if (!rt->upstreams || !rt->groups)
		return -ENOMEM;
	err = proxy_new(PROXY_HEAD_MAX, &rt->trusted, &rt->proxy);
	for (unsigned i = 0; i < c->upstream_count && !err; i++)
		err = add_upstream(rt, &c->upstreams[i]);
	return err;
}

void runtime_close_proxy(struct runtime *rt)
{
	proxy_free(rt->proxy);
	for (unsigned i = 0; i < rt->upstream_count; i++)
		upstream_free(rt->upstreams[i]);
	free(rt->upstreams);
	free(rt->groups);
	cidr_set_fini(&rt->trusted);
}

static struct proxy_group *group_of(const struct runtime *rt, const char *name)
{
	for (unsigned i = 0; i < rt->upstream_count; i++)
		if (strcmp(rt->config->upstreams[i].name, name) == 0)
			return rt->groups[i];
	return NULL;
}

static struct proxy_rule_list rules(char *const *texts, unsigned count)
{
	return (struct proxy_rule_list){ texts, count };
}

int runtime_build_proxy(const struct runtime *rt, const struct config_route *route, void **ret_conf)
{
	static const enum proxy_repeat repeats[] = {
		[PROXY_RETRY_OFF] = PROXY_REPEAT_NEVER,
		[PROXY_RETRY_IDEMPOTENT] = PROXY_REPEAT_IDEMPOTENT,
		[PROXY_RETRY_ALL] = PROXY_REPEAT_ALWAYS,
	};
	const struct config_proxy *p = &route->proxy;
	struct proxy_route_options opt = {
		.group = group_of(rt, route->value),
		.prefix = span_str(route->prefix),
		.rewrite = p->rewrite,
		.host = p->host,
		.connect_ms = p->connect,
		.first_byte_ms = p->first_byte,
		.between_ms = p->between,
		.total_ms = p->total,
		.tunnel_ms = p->tunnel,
		.repeat = repeats[p->retry],
		.tries = p->tries,
		.body_max = p->body == UINT64_MAX ? rt->config->limits.body : p->body,
		.request_set = rules(p->request_set, p->request_set_count),
		.request_add = rules(p->request_add, p->request_add_count),
		.request_remove = rules(p->request_remove, p->request_remove_count),
		.response_set = rules(p->response_set, p->response_set_count),
		.response_add = rules(p->response_add, p->response_add_count),
		.response_remove = rules(p->response_remove, p->response_remove_count),
	};

	return opt.group ? proxy_route_new(&opt, ret_conf) : -ENOENT;
}

void runtime_start_proxy(struct runtime *rt, const struct runtime_options *opt)
{
	if (!rt->proxy)
		return;
	for (unsigned i = 0; i < rt->upstream_count; i++)
		upstream_start(rt->upstreams[i], opt->loop, opt->table, opt->worker);
	/* Two descriptors each. */
	proxy_start(rt->proxy, opt->loop, MAX(opt->file_limit / 16, 8u));
	rt->is_started = true;
}

void runtime_drain(struct runtime *rt)
{
	for (unsigned i = 0; i < rt->upstream_count; i++)
		upstream_drain(rt->upstreams[i]);
	runtime_drain_redis(rt);
	runtime_drain_modules(rt);
}

void runtime_stop_proxy(struct runtime *rt)
{
	if (!rt->is_started)
		return;
	runtime_drain(rt);
	proxy_stop(rt->proxy);
	rt->is_started = false;
}
