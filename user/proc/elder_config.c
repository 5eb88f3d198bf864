/* SPDX-License-Identifier: MIT */
/*
 * The configuration in force at the master before this one, as far as the next one is compared with it, and its listening
 * sockets; see elder_parcel.h.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "proc/elder_parcel.h"
#include "proc/master_internal.h"

static int read_listen(struct config_listen *c, const json_t *o)
{
	const char *address = text_string(o, "address");

	c->sock = (struct sock_options){
		.backlog = (int)text_number(o, "backlog"),
		.has_nodelay = text_flag(o, "nodelay"),
		.defer_accept_s = (int)text_number(o, "defer_accept"),
		.keepalive_s = (int)text_number(o, "keepalive"),
		.fastopen = (int)text_number(o, "fastopen"),
		.busy_poll_us = (int)text_number(o, "busy_poll"),
		.is_v6only = text_flag(o, "v6only"),
		.rcvbuf = (int)text_number(o, "rcvbuf"),
		.sndbuf = (int)text_number(o, "sndbuf"),
		.unsent = (int)text_number(o, "unsent"),
	};
	return address ? sock_addr_parse(span_str(address), &c->addr) : -EBADMSG;
}

static int read_listener(struct listener *l, const struct config_listen *c, const json_t *o, struct elder_parcel *p)
{
	const json_t *fds = json_object_get(o, "fds");
	const char *bound = text_string(o, "bound");
	unsigned count = (unsigned)json_array_size(fds);
	int err = bound ? sock_addr_parse(span_str(bound), &l->addr) : -EBADMSG;

	l->opt = c->sock;
	l->opt.has_reuseport = text_flag(o, "reuseport");
	l->is_shared = text_flag(o, "is_shared");
	l->is_steered = text_flag(o, "is_steered");
	l->steer_id = text_count(o, "id", STEER_ESTATE_MAX);
	l->has_proxy_header = text_flag(o, "proxy_protocol");
	l->fds = calloc(count + 1, sizeof(*l->fds));
	if (!l->fds)
		return -ENOMEM;
	for (; l->count < count && !err; l->count++) {
		l->fds[l->count] = parcel_take(p, json_array_get(fds, l->count));
		if (l->fds[l->count] < 0)
			return -EBADMSG;
	}
	return err ? err : count ? 0 : -EBADMSG;
}

static int read_listens(struct generation *g, const json_t *list, struct elder_parcel *p)
{
	struct config *c = g->own_config;
	size_t count = json_array_size(list);
	int err = 0;

	c->listens = calloc(count + 1, sizeof(*c->listens));
	g->listeners = calloc(count + 1, sizeof(*g->listeners));
	if (!c->listens || !g->listeners)
		return -ENOMEM;
	for (size_t i = 0; i < count && !err; i++) {
		const json_t *o = json_array_get(list, i);

		err = read_listen(&c->listens[c->listen_count++], o);
		if (!err)
			err = read_listener(&g->listeners[g->listener_count++], &c->listens[i], o, p);
	}
	return err;
}

static int read_server(struct config_server *s, const json_t *o, unsigned endpoints)
{
	s->is_drained = text_flag(o, "is_drained");
	s->first_endpoint = text_count(o, "first", endpoints);
	s->endpoint_count = text_count(o, "count", endpoints - s->first_endpoint);
	return text_copy(o, "text", &s->text) || !s->text ? -ENOMEM : 0;
}

static int read_upstream(struct config_upstream *u, const json_t *o, unsigned endpoints)
{
	const json_t *servers = json_object_get(o, "servers");
	size_t count = json_array_size(servers);
	int err = text_copy(o, "name", &u->name);

	u->check.kind = (enum check_kind)text_count(o, "check", CHECK_HTTP);
	u->check.status_min = text_count(o, "status_min", 999);
	u->check.status_max = text_count(o, "status_max", 999);
	if (!err)
		err = text_copy(o, "check_path", &u->check.path);
	if (!err)
		err = text_copy(o, "check_host", &u->check.host);
	u->servers = calloc(count + 1, sizeof(*u->servers));
	if (!u->servers || !u->name)
		return -ENOMEM;
	for (size_t i = 0; i < count && !err; i++)
		err = read_server(&u->servers[u->server_count++], json_array_get(servers, i), endpoints);
	return err;
}

static int read_upstreams(struct config *c, const json_t *list)
{
	size_t count = json_array_size(list);
	int err = 0;

	c->upstreams = calloc(count + 1, sizeof(*c->upstreams));
	if (!c->upstreams)
		return -ENOMEM;
	for (size_t i = 0; i < count && !err; i++)
		err = read_upstream(&c->upstreams[c->upstream_count++], json_array_get(list, i), c->endpoint_count);
	return err;
}

/* Of a Redis server only what it is as an upstream, which has a name of its own; none in the text of earlier versions. */
static int read_redis(struct config *c, const json_t *list)
{
	size_t count = json_array_size(list);
	int err = 0;

	c->redis = calloc(count + 1, sizeof(*c->redis));
	if (!c->redis)
		return -ENOMEM;
	for (size_t i = 0; i < count && !err; i++)
		err = read_upstream(&c->redis[c->redis_count++].upstream, json_array_get(list, i), c->endpoint_count);
	return err;
}

/* Only how many there are counts, in the report. */
static int read_sites(struct config *c, unsigned sites, unsigned routes)
{
	c->sites = calloc(sites + 1, sizeof(*c->sites));
	if (!c->sites)
		return -ENOMEM;
	c->site_count = sites;
	if (sites == 0)
		return 0;
	c->sites[0].routes = calloc(routes + 1, sizeof(*c->sites[0].routes));
	if (!c->sites[0].routes)
		return -ENOMEM;
	c->sites[0].route_count = routes;
	return 0;
}

static void read_settings(struct config_steering *c, const json_t *o)
{
	c->policy = (enum steer_policy_id)text_count(o, "policy", STEER_POLICY_COUNT - 1);
	c->stall_ns = (uint64_t)text_number(o, "stall_ns");
	c->reservation_ns = (uint64_t)text_number(o, "reservation_ns");
	c->choices = (uint32_t)text_number(o, "choices");
	c->band = (uint32_t)text_number(o, "band");
	c->pending_weight = (uint32_t)text_number(o, "pending_weight");
	c->is_disabled = text_flag(o, "is_disabled");
}

int elder_read_config(struct generation *g, const json_t *all, struct elder_parcel *p)
{
	const json_t *o = json_object_get(all, "config");
	struct config *c = g->own_config;
	int err = text_copy(all, "user", &c->user);

	if (!err)
		err = text_copy(all, "control", &c->control);
	if (!err)
		err = text_copy(all, "pin", &c->pin);
	c->is_control_given = text_flag(all, "is_control_given");
	c->is_pin_given = text_flag(all, "is_pin_given");
	c->timeouts.drain = (uint64_t)text_number(o, "drain");
	read_settings(&c->steering, json_object_get(o, "steering"));
	if (!err)
		err = read_sites(c, text_count(o, "sites", 1u << 20), text_count(o, "routes", 1u << 20));
	/* Names of servers lead to rows of a table: without it there are none. */
	if (!err && g->upstreams.endpoints)
		err = read_upstreams(c, json_object_get(o, "upstreams"));
	if (!err && g->upstreams.endpoints)
		err = read_redis(c, json_object_get(o, "redis"));
	return err ? err : read_listens(g, json_object_get(o, "listens"), p);
}
