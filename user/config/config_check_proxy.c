/* SPDX-License-Identifier: MIT */
/* What must fit together for the proxy: names, servers, fields. */
#include <stdio.h>

#include "base/err.h"
#include "base/suggest.h"
#include "config/config_build.h"
#include "config/config_build_part.h"
#include "config/config_schema.h"

#define FIELDS_MAX 64 /* of one list: each is compared with each */

/* A faulty server is like no other. */
static bool is_same_server(const struct config_server *a, const struct config_server *b)
{
	if (a->kind != b->kind)
		return false;
	if (a->kind == SERVER_ADDRESS)
		return a->addr.any.sa_family != AF_UNSPEC &&
		       build_is_same_address(&a->addr, &b->addr);
	if (!a->name || !b->name)
		return false;
	if (a->kind == SERVER_UNIX)
		return strcmp(a->name, b->name) == 0;
	return a->port == b->port && span_ieq(span_str(a->name), span_str(b->name));
}

static void check_servers(struct config_faults *f, const struct config_upstream *u)
{
	for (unsigned i = 0; i < u->server_count; i++) {
		const struct config_server *s = &u->servers[i];

		for (unsigned k = 0; k < i; k++) {
			if (!is_same_server(s, &u->servers[k]))
				continue;
			config_fault_value(f, s->place.line, "server", s->text,
					   "'%.100s' is the same server as '%.100s' on line %u",
					   s->text, u->servers[k].text, u->servers[k].place.line);
			break;
		}
	}
}

static void check_upstreams(struct config_faults *f, const struct config *c)
{
	for (unsigned i = 0; i < c->upstream_count; i++) {
		const struct config_upstream *u = &c->upstreams[i];

		for (unsigned k = 0; k < i; k++) {
			if (!*u->name || strcmp(u->name, c->upstreams[k].name) != 0)
				continue;
			config_fault_value(f, u->place.line, "upstream", u->name,
					   "the name '%.100s' is taken by the upstream on line %u",
					   u->name, c->upstreams[k].place.line);
			break;
		}
		check_servers(f, u);
	}
}

/* The one that is meant may have been left out as faulty; its own fault is enough then. */
bool build_is_complete(cfg_t *cfg, const struct config *c)
{
	for (unsigned i = 0; i < c->upstream_count; i++) {
		if (!*c->upstreams[i].name)
			return false;
	}
	return !config_has_gap(cfg);
}

static bool has_upstream(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->upstream_count; i++) {
		if (strcmp(c->upstreams[i].name, name) == 0)
			return true;
	}
	return false;
}

void build_check_upstream(struct config_faults *f, const struct config *c,
			  const struct config_setting *setting, const char *key, const char *name)
{
	struct suggest near;

	if (has_upstream(c, name))
		return;
	suggest_init(&near, name);
	for (unsigned i = 0; i < c->upstream_count; i++)
		suggest_offer(&near, c->upstreams[i].name);
	build_report_unknown(f, setting->line, key, "upstream", name, &near,
			     "one such as upstream \"app\" { server \"127.0.0.1:9001\" { } }");
}

/* A list of fields that is too long is reported; true: look no further. */
static bool has_too_many(struct config_faults *f, cfg_t *route, const char *key)
{
	const struct config_setting *last = config_setting(route, key, FIELDS_MAX);

	if (last)
		config_fault_value(f, last->line, NULL, last->text, "%s: more than %d fields", key,
				   FIELDS_MAX);
	return last != NULL;
}

static struct span name_of(const struct config_setting *setting)
{
	return span_of(setting->text, strcspn(setting->text, ":"));
}

/* Fields that are changed twice: what comes of it would hang on an order that nobody knows. */
static void check_fields(struct config_faults *f, cfg_t *route, const char *set_key,
			 const char *remove_key)
{
	const struct config_setting *set, *other;

	for (unsigned i = 0; (set = config_setting(route, set_key, i)); i++) {
		for (unsigned k = 0; k < i; k++) {
			other = config_setting(route, set_key, k);
			if (span_ieq(name_of(set), name_of(other)))
				config_fault_value(f, set->line, NULL, set->text,
						   "%s: '%.*s' is set twice", set_key,
						   (int)MIN(name_of(set).len, 60), set->text);
		}
		for (unsigned k = 0; (other = config_setting(route, remove_key, k)); k++) {
			if (span_ieq(name_of(set), span_str(other->text)))
				config_fault_value(f, other->line, NULL, other->text,
						   "%s: '%.60s' is set as well, by %s", remove_key,
						   other->text, set_key);
		}
	}
}

static void check_route(struct config_faults *f, cfg_t *section, const struct config_route *route,
			const struct config *c, bool is_whole)
{
	static const char *const lists[] = {"request_set",  "request_add",  "request_remove",
					    "response_set", "response_add", "response_remove"};
	const struct config_setting *proxy = config_setting(section, "proxy", 0);
	bool is_long = false;

	if (is_whole && proxy && route->kind == ROUTE_PROXY)
		build_check_upstream(f, c, proxy, "proxy", proxy->text);
	for (unsigned i = 0; i < ARRAY_LEN(lists); i++)
		is_long = has_too_many(f, section, lists[i]) || is_long;
	if (is_long)
		return;
	check_fields(f, section, "request_set", "request_remove");
	check_fields(f, section, "response_set", "response_remove");
}

void build_check_proxies(struct config_faults *f, cfg_t *cfg, const struct config *c)
{
	bool is_whole = build_is_complete(cfg, c);

	check_upstreams(f, c);
	/* Sections were built in their order: those of the file and ours have the same numbers. */
	for (unsigned i = 0; i < c->site_count; i++) {
		cfg_t *site = cfg_getnsec(cfg, "site", i);

		for (unsigned k = 0; k < c->sites[i].route_count; k++)
			check_route(f, cfg_getnsec(site, "route", k), &c->sites[i].routes[k], c,
				    is_whole);
	}
}
