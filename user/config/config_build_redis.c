/* SPDX-License-Identifier: MIT */
/* redis "NAME" { ... }, and routes to it. */
#include <stdio.h>
#include <stdlib.h>

#include "app/limit_sync.h"
#include "app/redis_commands.h"
#include "app/redis_route.h"
#include "app/redis_route_request.h"
#include "base/err.h"
#include "base/suggest.h"
#include "config/config_build.h"
#include "config/config_build_part.h"
#include "config/config_value.h"

/* Texts --------------------------------------------------------------------------------------------------------- */

void config_check_command(const char *text, char *why, size_t size)
{
	if (strcmp(text, "*") == 0 || strcasecmp(text, "SUBSCRIBE") == 0 || strcasecmp(text, "PSUBSCRIBE") == 0)
		return;
	if (!redis_is_name(span_str(text)))
		snprintf(why, size, "is no name of a command: expected one such as \"GET\", or \"*\"");
	else if (redis_is_forbidden(span_str(text)))
		snprintf(why, size, "is never passed on: it changes the connection, or keeps it waiting");
}

/* What a pattern gives a meaning to would make PSUBSCRIBE reach beyond the prefix. */
void config_check_key_prefix(const char *text, char *why, size_t size)
{
	size_t len = strlen(text);

	if (len == 0 || len > REDIS_PREFIX_MAX)
		snprintf(why, size, "has to be 1 to %u bytes", REDIS_PREFIX_MAX);
	else if (strpbrk(text, "*?[]\\"))
		snprintf(why, size, "may have none of * ? [ ] \\");
}

void config_check_secret(const char *text, char *why, size_t size)
{
	if (!*text)
		snprintf(why, size, "is empty: leave the key out");
}

/* The section --------------------------------------------------------------------------------------------------- */

static int init(struct config_redis *r)
{
	int err;

	*r = (struct config_redis){ 0 };
	err = config_value_defaults(CONFIG_REDIS, r);
	if (!err)
		err = config_upstream_init(&r->upstream);
	if (err)
		return err;
	r->upstream.servers = calloc(1, sizeof(*r->upstream.servers));
	if (!r->upstream.servers)
		return -ENOMEM;
	r->upstream.server_count = 1;
	return config_server_init(&r->upstream.servers[0]);
}

/* The path of a Unix socket may stand by itself. */
static int parse_server(struct config_redis *r, char *why, size_t size)
{
	struct config_server *s = &r->upstream.servers[0];
	int err;

	if (asprintf(&s->text, "%s%s", *r->server == '/' ? "unix:" : "", r->server) < 0 ||
	    asprintf(&r->upstream.name, "redis:%s", r->name) < 0)
		return -ENOMEM;
	s->place = r->upstream.place = r->place;
	err = config_server_parse(s, s->text, why, size);
	if (!err && s->kind == SERVER_SRV) {
		snprintf(why, size, "is a service: expected ADDR:PORT, NAME:PORT or the path of a Unix socket");
		return -EINVAL;
	}
	return err;
}

static int build_one(struct config_faults *f, cfg_t *section, struct config *c)
{
	struct config_redis *r = &c->redis[c->redis_count];
	const struct config_setting *server = config_setting(section, "server", 0);
	const struct config_setting *user = config_setting(section, "user", 0);
	char why[CONFIG_WHY_TEXT] = "";
	int err = init(r);

	c->redis_count++;
	if (!err)
		err = build_title(c, section, &r->name, &r->place);
	if (err)
		return err;
	if (build_has_title(section))
		config_check_upstream_name(r->name, why, sizeof(why));
	if (*why)
		config_fault_value(f, r->place.line, "redis", r->name, "redis: '%.100s' %s", r->name, why);
	err = build_keys(f, section, CONFIG_REDIS, r);
	if (!err)
		err = parse_server(r, why, sizeof(why));
	if (err == -EINVAL && server)
		config_fault_value(f, server->line, "server", r->server, "server: '%.100s' %s", r->server, why);
	if (user && !config_setting(section, "password", 0))
		config_fault_value(f, user->line, "user", NULL, "a user needs a password beside it");
	return err == -EINVAL ? 0 : err;
}

int build_redis(struct config_faults *f, cfg_t *cfg, struct config *c)
{
	unsigned count = cfg_size(cfg, "redis");
	int err = 0;

	c->redis = calloc(count + 1, sizeof(*c->redis));
	if (!c->redis)
		return -ENOMEM;
	for (unsigned i = 0; !err && i < count; i++)
		err = build_one(f, cfg_getnsec(cfg, "redis", i), c);
	return err;
}

/* What must fit together ---------------------------------------------------------------------------------------- */

static const struct config_redis *find(const struct config *c, const char *name, unsigned end)
{
	for (unsigned i = 0; i < end; i++)
		if (strcmp(c->redis[i].name, name) == 0)
			return &c->redis[i];
	return NULL;
}

static void check_names(struct config_faults *f, const struct config *c)
{
	for (unsigned i = 0; i < c->redis_count; i++) {
		const struct config_redis *r = &c->redis[i], *other = find(c, r->name, i);

		if (*r->name && other)
			config_fault_value(f, r->place.line, "redis", r->name,
					   "the name '%.100s' is taken by the redis on line %u", r->name,
					   other->place.line);
	}
}

const struct config_redis *build_find_redis(struct config_faults *f, const struct config *c,
					    const struct config_setting *setting)
{
	const struct config_redis *found = find(c, setting->text, c->redis_count);
	struct suggest near;

	suggest_init(&near, setting->text);
	for (unsigned i = 0; i < c->redis_count; i++) {
		if (!*c->redis[i].name)
			return found;
		suggest_offer(&near, c->redis[i].name);
	}
	if (!found)
		build_report_unknown(f, setting->line, "redis", "redis", setting->text, &near,
				     "a section such as redis \"cache\" { }");
	return found;
}

static void check_route(struct config_faults *f, cfg_t *section, const struct config_route *route,
			const struct config *c, bool is_whole)
{
	const struct config_setting *redis = config_setting(section, "redis", 0);

	if (!redis || route->kind != ROUTE_REDIS)
		return;
	if (is_whole)
		build_find_redis(f, c, redis);
	if (!config_is_given(section, "allow") && !config_has_gap(section))
		config_fault_value(f, redis->line, "redis", NULL,
				   "the route allows no command: expected allow = { \"GET\", ... } beside it");
}

static bool has_rate(const struct config *c)
{
	for (unsigned i = 0; i < c->site_count; i++)
		for (unsigned k = 0; k < c->sites[i].route_count; k++)
			if (c->sites[i].routes[k].rate != UINT64_MAX && c->sites[i].routes[k].rate)
				return true;
	return c->limits.rate != 0;
}

static void check_shared_limits(struct config_faults *f, cfg_t *cfg, const struct config *c, bool is_whole)
{
	const struct config_setting *s = config_setting(cfg_getsec(cfg, "limits"), "redis", 0);

	_Static_assert(REDIS_PREFIX_MAX <= LIMIT_SYNC_PREFIX_MAX, "what is taken as a prefix has room");
	if (!s || !is_whole)
		return;
	build_find_redis(f, c, s);
	if (!has_rate(c))
		config_fault_value(f, s->line, "redis", NULL,
				   "limits: it is rates that hosts share by redis, and no rate is set");
}

void build_check_redis(struct config_faults *f, cfg_t *cfg, const struct config *c)
{
	bool is_whole = !config_has_gap(cfg);

	check_names(f, c);
	check_shared_limits(f, cfg, c, is_whole);
	for (unsigned i = 0; i < c->site_count; i++) {
		cfg_t *site = cfg_getnsec(cfg, "site", i);

		for (unsigned k = 0; k < c->sites[i].route_count; k++)
			check_route(f, cfg_getnsec(site, "route", k), &c->sites[i].routes[k], c, is_whole);
	}
}
