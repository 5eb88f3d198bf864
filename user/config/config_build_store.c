/* SPDX-License-Identifier: MIT */
/* store "NAME" { path = "/FOLDER" ... } or { redis = "NAME" ... }, and what must fit together: names, places, routes. */
#include <stdio.h>
#include <stdlib.h>

#include "app/store.h"
#include "base/err.h"
#include "base/suggest.h"
#include "config/config_build.h"
#include "config/config_build_part.h"
#include "config/config_value.h"

int config_store_init(struct config_store *s)
{
	*s = (struct config_store){ 0 };
	return config_value_defaults(CONFIG_STORE, s);
}

/* Keys that are for another engine: they were written for some effect, which will not come. */
static void check_keys(struct config_faults *f, cfg_t *section, const struct config_store *s)
{
	const struct config_section *table = &config_sections[CONFIG_STORE];

	for (unsigned i = 0; i < table->key_count; i++) {
		const struct config_key *key = &table->keys[i];
		const struct config_setting *setting = config_setting(section, key->name, 0);

		if (setting && key->store_engines && !(key->store_engines >> s->engine & 1))
			config_fault_value(f, setting->line, key->name, NULL, "'%s' has no effect on a store %s", key->name,
					   s->engine == STORE_ENGINE_REDIS ? "at a redis" : "in a folder");
	}
}

/* Where it is kept says by what: `engine` may be left out. */
static int choose_engine(struct config_faults *f, cfg_t *section, struct config_store *s)
{
	const struct config_setting *engine = config_setting(section, "engine", 0);

	if (!engine && config_setting(section, "redis", 0))
		s->engine = STORE_ENGINE_REDIS;
	check_keys(f, section, s);
	if (s->engine == STORE_ENGINE_REDIS && !s->key_prefix && asprintf(&s->key_prefix, "%s:", s->name) < 0) {
		s->key_prefix = NULL;
		return -ENOMEM;
	}
	if (config_has_gap(section))
		return 0;
	if (s->engine == STORE_ENGINE_REDIS && !config_setting(section, "redis", 0))
		config_fault_value(f, s->place.line, "store", NULL,
				   "store '%.100s' has no redis: expected one such as redis = \"main\"", s->name);
	if (s->engine == STORE_ENGINE_LMDB && !config_setting(section, "path", 0))
		config_fault_value(f, s->place.line, "store", NULL,
				   "store '%.100s' has no path: expected one such as path = \"/var/lib/sluice/%.40s\", or "
				   "redis = \"NAME\"",
				   s->name, s->name);
	return 0;
}

static int build_store(struct config_faults *f, cfg_t *section, struct config *c)
{
	struct config_store *s = &c->stores[c->store_count];
	char why[CONFIG_WHY_TEXT] = "";
	int r = config_store_init(s);

	c->store_count++;
	if (!r)
		r = build_title(c, section, &s->name, &s->place);
	if (r)
		return r;
	if (build_has_title(section))
		config_check_store_name(s->name, why, sizeof(why));
	if (*why)
		config_fault_value(f, s->place.line, "store", s->name, "store: '%.100s' %s", s->name, why);
	r = build_keys(f, section, CONFIG_STORE, s);
	if (!r)
		r = choose_engine(f, section, s);
	if (!r && s->value > s->memory)
		config_fault_value(f, s->place.line, "store", NULL,
				   "store '%.100s': one resource (value, %llu bytes) may not be larger than what a worker may "
				   "have in flight (memory, %llu)",
				   s->name, (unsigned long long)s->value, (unsigned long long)s->memory);
	return r;
}

int build_stores(struct config_faults *f, cfg_t *cfg, struct config *c)
{
	unsigned count = cfg_size(cfg, "store");
	int r = 0;

	c->stores = calloc(count + 1, sizeof(*c->stores));
	if (!c->stores)
		return -ENOMEM;
	for (unsigned i = 0; !r && i < count; i++)
		r = build_store(f, cfg_getnsec(cfg, "store", i), c);
	if (!r && count > CONFIG_STORES_MAX)
		config_fault_value(f, c->stores[CONFIG_STORES_MAX].place.line, "store", NULL,
				   "store: more than %d of them", CONFIG_STORES_MAX);
	return r;
}

/* Together ----------------------------------------------------------------------------------------------------- */

/* "/x/y" and "/x/y/" */
static bool is_same_folder(const char *a, const char *b)
{
	size_t a_len = strlen(a), b_len = strlen(b);

	while (a_len > 1 && a[a_len - 1] == '/')
		a_len--;
	while (b_len > 1 && b[b_len - 1] == '/')
		b_len--;
	return a_len == b_len && memcmp(a, b, a_len) == 0;
}

/* What begins with the prefix of one would be the other's too. */
static bool is_within(const char *prefix, const char *other)
{
	return strncmp(prefix, other, strlen(prefix)) == 0;
}

static bool shares_keys(const struct config_store *a, const struct config_store *b)
{
	return a->redis && b->redis && a->key_prefix && b->key_prefix && strcmp(a->redis, b->redis) == 0 &&
	       (is_within(a->key_prefix, b->key_prefix) || is_within(b->key_prefix, a->key_prefix));
}

static void check_pair(struct config_faults *f, const struct config_store *s, const struct config_store *before)
{
	if (*s->name && strcmp(s->name, before->name) == 0)
		config_fault_value(f, s->place.line, "store", s->name, "the name '%.100s' is taken by the store on line %u",
				   s->name, before->place.line);
	if (s->path && before->path && is_same_folder(s->path, before->path))
		config_fault_value(f, s->place.line, "store", NULL,
				   "store '%.100s' has the folder of '%.100s' on line %u: expected one for each", s->name,
				   before->name, before->place.line);
	if (shares_keys(s, before))
		config_fault_value(f, s->place.line, "store", NULL,
				   "store '%.100s' has keys of '%.100s' on line %u: '%s' and '%s' begin alike: expected a "
				   "key_prefix of its own for each",
				   s->name, before->name, before->place.line, s->key_prefix, before->key_prefix);
}

static bool has_store(const struct config *c, const char *name, struct suggest *near)
{
	for (unsigned i = 0; i < c->store_count; i++) {
		if (strcmp(c->stores[i].name, name) == 0)
			return true;
		suggest_offer(near, c->stores[i].name);
	}
	return false;
}

static void check_name(struct config_faults *f, const struct config *c, const struct config_setting *setting)
{
	struct suggest near;

	suggest_init(&near, setting->text);
	if (!has_store(c, setting->text, &near))
		build_report_unknown(f, setting->line, "store", "store", setting->text, &near,
				     "one such as store \"notes\" { path = \"/var/lib/sluice/notes\" }");
}

static void check_route(struct config_faults *f, cfg_t *section, const struct config *c, const struct config_route *route,
			bool is_whole)
{
	const struct config_setting *setting = config_setting(section, "store", 0);
	size_t len = strlen(route->prefix);

	if (!setting || route->kind != ROUTE_STORE)
		return;
	if (is_whole)
		check_name(f, c, setting);
	if (len && route->prefix[0] == '/' && route->prefix[len - 1] != '/')
		config_fault_value(f, route->place.line, "route", route->prefix,
				   "route '%.100s' leads to a store, whose names are below it: expected '%.100s/'",
				   route->prefix, route->prefix);
	if (len > STORE_PREFIX_MAX)
		config_fault_value(f, route->place.line, "route", NULL, "route: a prefix of more than %d bytes before a store",
				   STORE_PREFIX_MAX);
}

static void check_redis(struct config_faults *f, cfg_t *section, const struct config *c, const struct config_store *s)
{
	const struct config_setting *setting = config_setting(section, "redis", 0);
	const struct config_redis *redis;

	if (s->engine != STORE_ENGINE_REDIS || !setting || !s->redis)
		return;
	redis = build_find_redis(f, c, setting);
	if (redis && s->value + STORE_REDIS_REPLY_EXTRA > redis->reply)
		config_fault_value(f, s->place.line, "store", NULL,
				   "store '%.100s': one resource (value, %llu bytes, and %d more) has to fit into an answer of the "
				   "redis (reply, %llu)",
				   s->name, (unsigned long long)s->value, STORE_REDIS_REPLY_EXTRA,
				   (unsigned long long)redis->reply);
}

void build_check_stores(struct config_faults *f, cfg_t *cfg, const struct config *c)
{
	bool is_whole = !config_has_gap(cfg);

	for (unsigned i = 0; i < c->store_count; i++) {
		is_whole = is_whole && *c->stores[i].name;
		if (!config_has_gap(cfg))
			check_redis(f, cfg_getnsec(cfg, "store", i), c, &c->stores[i]);
		for (unsigned k = 0; k < i; k++)
			check_pair(f, &c->stores[i], &c->stores[k]);
	}
	/* Sections were built in their order: those of the file and ours have the same numbers. */
	for (unsigned i = 0; i < c->site_count; i++) {
		cfg_t *site = cfg_getnsec(cfg, "site", i);

		for (unsigned k = 0; k < c->sites[i].route_count; k++)
			check_route(f, cfg_getnsec(site, "route", k), c, &c->sites[i].routes[k], is_whole);
	}
}
