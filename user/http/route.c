/* SPDX-License-Identifier: MIT */
/*
 * Sites and routes.  Exact names stand in a hash table, wildcards in a list from the longest to the
 * shortest, the routes of a site from the longest prefix to the shortest: the first that matches is
 * the one.
 */
#include "http/route.h"

#include <stdlib.h>

#include "base/err.h"

#define HOST_MAX 255 /* bytes of a name; DNS allows no more */

struct name {
	struct span text; /* lower case, no final dot; of a wildcard what follows the '*':
			     ".example.com" */
	struct site *site;
};

struct names {
	struct name *items;
	unsigned count;
};

struct site {
	struct route *routes;
	unsigned route_count;
	struct site *next;
};

struct site_table {
	struct site *first, *last;
	struct site *fallback; /* has the name "*" */
	struct names exact, wildcards;
	unsigned *buckets; /* 1 + index into exact, 0 = free; open addressing, at most half full */
	unsigned bucket_mask;
};

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Into `to` of HOST_MAX bytes; false when it cannot be a name. */
static bool fold(struct span host, char *to, struct span *ret_name)
{
	if (host.len > 0 && host.ptr[host.len - 1] == '.')
		host.len--;
	if (host.len > HOST_MAX)
		return false;
	for (size_t i = 0; i < host.len; i++)
		to[i] = lower(host.ptr[i]);
	*ret_name = span_of(to, host.len);
	return true;
}

static uint32_t hash(struct span s)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < s.len; i++)
		h = (h ^ (uint8_t)s.ptr[i]) * 16777619u;
	return h ^ h >> 15;
}

struct site_table *site_table_new(void)
{
	return calloc(1, sizeof(struct site_table));
}

static void free_names(struct names *names)
{
	for (unsigned i = 0; i < names->count; i++)
		free((char *)names->items[i].text.ptr);
	free(names->items);
}

static void free_conf(void *conf, void (*on_free)(void *conf))
{
	if (on_free)
		on_free(conf);
}

void site_table_free(struct site_table *t)
{
	if (!t)
		return;
	for (struct site *s = t->first, *next; s; s = next) {
		next = s->next;
		for (unsigned i = 0; i < s->route_count; i++) {
			free((char *)s->routes[i].prefix.ptr);
			free_conf(s->routes[i].conf, s->routes[i].on_free);
		}
		free(s->routes);
		free(s);
	}
	free_names(&t->exact);
	free_names(&t->wildcards);
	free(t->buckets);
	free(t);
}

static bool has_name(const struct names *names, struct span text)
{
	for (unsigned i = 0; i < names->count; i++)
		if (span_eq(names->items[i].text, text))
			return true;
	return false;
}

static char *copy(struct span s)
{
	char *text = malloc(s.len + 1);

	if (!text)
		return NULL;
	memcpy(text, s.ptr, s.len);
	text[s.len] = '\0';
	return text;
}

static int add_to(struct names *names, struct span text, struct site *site)
{
	struct name *items = reallocarray(names->items, names->count + 1, sizeof(*items));
	char *own;

	if (!items)
		return -ENOMEM;
	names->items = items;
	own = copy(text);
	if (!own)
		return -ENOMEM;
	items[names->count++] = (struct name){span_of(own, text.len), site};
	return 0;
}

/* Where a name belongs: *ret_names NULL for "*".  0, -EINVAL or -EEXIST. */
static int classify(struct site_table *t, struct span *name, struct names **ret_names)
{
	bool is_wildcard = name->len > 2 && memcmp(name->ptr, "*.", 2) == 0;

	*ret_names = NULL;
	if (span_eq(*name, SPAN("*")))
		return t->fallback ? -EEXIST : 0;
	if (is_wildcard)
		*name = span_of(name->ptr + 1, name->len - 1);
	if (name->len == 0 || memchr(name->ptr, '*', name->len))
		return -EINVAL;
	*ret_names = is_wildcard ? &t->wildcards : &t->exact;
	return has_name(*ret_names, *name) ? -EEXIST : 0;
}

static int add_name(struct site_table *t, const char *text, struct site *site)
{
	char memory[HOST_MAX];
	struct names *names;
	struct span name;
	int err;

	if (!fold(span_str(text), memory, &name))
		return -EINVAL;
	err = classify(t, &name, &names);
	if (err)
		return err;
	if (names)
		return add_to(names, name, site);
	t->fallback = site;
	return 0;
}

/* A site half added: its names go again. */
static void drop_names(struct names *names, const struct site *site)
{
	while (names->count > 0 && names->items[names->count - 1].site == site)
		free((char *)names->items[--names->count].text.ptr);
}

int site_add(struct site_table *t, const char *const *names, unsigned name_count,
	     struct site **ret_site)
{
	struct site *site = calloc(1, sizeof(*site));
	int err = site ? 0 : -ENOMEM;

	for (unsigned i = 0; i < name_count && !err; i++)
		err = add_name(t, names[i], site);
	if (err) {
		drop_names(&t->exact, site);
		drop_names(&t->wildcards, site);
		if (t->fallback == site)
			t->fallback = NULL;
		free(site);
		return err;
	}
	if (t->last)
		t->last->next = site;
	else
		t->first = site;
	t->last = site;
	*ret_site = site;
	return 0;
}

static int add_route(struct site *s, struct span prefix, const struct route *route)
{
	struct route *routes;
	char *own;

	if (prefix.len == 0 || prefix.ptr[0] != '/')
		return -EINVAL;
	for (unsigned i = 0; i < s->route_count; i++)
		if (span_eq(s->routes[i].prefix, prefix))
			return -EEXIST;
	routes = reallocarray(s->routes, s->route_count + 1, sizeof(*routes));
	if (!routes)
		return -ENOMEM;
	s->routes = routes;
	own = copy(prefix);
	if (!own)
		return -ENOMEM;
	routes[s->route_count] = *route;
	routes[s->route_count++].prefix = span_of(own, prefix.len);
	return 0;
}

int site_add_route(struct site *s, struct span prefix, const struct handler_ops *ops, void *conf,
		   void (*on_free)(void *conf))
{
	struct route route = {.ops = ops, .conf = conf, .on_free = on_free};
	int err = add_route(s, prefix, &route);

	if (err)
		free_conf(conf, on_free);
	return err;
}

void site_limit_route(struct site *s, const struct limit_rate *rate)
{
	s->routes[s->route_count - 1].rate = rate;
}

static int longer_name(const void *a, const void *b)
{
	size_t x = ((const struct name *)a)->text.len, y = ((const struct name *)b)->text.len;

	return (x < y) - (x > y);
}

static int longer_route(const void *a, const void *b)
{
	size_t x = ((const struct route *)a)->prefix.len, y = ((const struct route *)b)->prefix.len;

	return (x < y) - (x > y);
}

/* Without memory for the table the list is searched instead. */
static void make_buckets(struct site_table *t)
{
	unsigned size = 4;

	while (size < 2 * t->exact.count)
		size *= 2;
	free(t->buckets);
	t->buckets = calloc(size, sizeof(*t->buckets));
	t->bucket_mask = size - 1;
	for (unsigned i = 0; t->buckets && i < t->exact.count; i++) {
		uint32_t at = hash(t->exact.items[i].text);

		while (t->buckets[at & t->bucket_mask])
			at++;
		t->buckets[at & t->bucket_mask] = i + 1;
	}
}

void site_table_seal(struct site_table *t)
{
	if (t->wildcards.count)
		qsort(t->wildcards.items, t->wildcards.count, sizeof(*t->wildcards.items),
		      longer_name);
	for (struct site *s = t->first; s; s = s->next)
		if (s->route_count)
			qsort(s->routes, s->route_count, sizeof(*s->routes), longer_route);
	make_buckets(t);
}

static const struct site *find_exact(const struct site_table *t, struct span name)
{
	if (!t->buckets) {
		for (unsigned i = 0; i < t->exact.count; i++)
			if (span_eq(t->exact.items[i].text, name))
				return t->exact.items[i].site;
		return NULL;
	}
	for (uint32_t at = hash(name); t->buckets[at & t->bucket_mask]; at++) {
		const struct name *n = &t->exact.items[t->buckets[at & t->bucket_mask] - 1];

		if (span_eq(n->text, name))
			return n->site;
	}
	return NULL;
}

/* Apart, so that only those who have names pay for the check of the stack.  NULL: nobody has this one. */
static __attribute__((noinline)) const struct site *find_name(const struct site_table *t, struct span host)
{
	const struct site *site;
	char memory[HOST_MAX];
	struct span name;

	if (!fold(host, memory, &name))
		return NULL;
	site = find_exact(t, name);
	for (unsigned i = 0; !site && i < t->wildcards.count; i++) {
		const struct name *w = &t->wildcards.items[i];

		if (name.len > w->text.len && span_ends_with(name, w->text))
			site = w->site;
	}
	return site;
}

const struct site *site_find(const struct site_table *t, struct span host)
{
	const struct site *site = NULL;

	/* The commonest configuration has one site that takes every name. */
	if (t->exact.count + t->wildcards.count > 0)
		site = find_name(t, host);
	return site ? site : t->fallback ? t->fallback : t->first;
}

/* "/api" takes "/api" and "/api/x", "/api/" what is below it. */
static bool matches(struct span prefix, struct span path)
{
	/* Both begin with a slash, and the commonest prefix is nothing else. */
	if (path.len < prefix.len || (prefix.len > 1 && memcmp(path.ptr, prefix.ptr, prefix.len) != 0))
		return false;
	return path.len == prefix.len || prefix.ptr[prefix.len - 1] == '/' ||
	       path.ptr[prefix.len] == '/';
}

const struct route *route_find(const struct site *s, struct span path)
{
	if (path.len == 0 || path.ptr[0] != '/')
		return NULL;
	for (unsigned i = 0; i < s->route_count; i++)
		if (matches(s->routes[i].prefix, path))
			return &s->routes[i];
	return NULL;
}
