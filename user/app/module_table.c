/* SPDX-License-Identifier: MIT */
/*
 * Open addressing over paths; routes of one path hang in a list in the order of the module.  How many levels of a path are
 * looked up is limited by the deepest star in the table: a client that sends thousands of slashes is not to make us hash
 * each of them.
 */
#include "app/module_table.h"

#include <stdio.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/buf.h"
#include "base/err.h"
#include "http/scan.h"

#define LEVELS_MAX 16u		/* slashes in front of a star */
#define ROUTES_MAX 65536u
#define METHOD_MAX 32u		/* bytes */

struct entry {			/* one path */
	struct span path;	/* with a star: up to its slash */
	bool has_star;
	struct module_route_node *first;
	struct span allow;
	char *allow_memory;
};

struct module_route_node {
	struct sluice_route route;
	struct span method;	/* empty: any */
	struct module_route_node *next;
};

struct module_table {
	unsigned mask;		/* of `slots` */
	unsigned level_count;	/* slashes in front of the deepest star */
	unsigned entry_count, node_count;
	struct entry **slots;	/* NULL: none */
	struct entry *entries;
	struct module_route_node *nodes;
};

static struct entry **slot_of(const struct module_table *t, struct span path, bool has_star)
{
	unsigned i = (unsigned)XXH3_64bits_withSeed(path.ptr, path.len, has_star) & t->mask;

	while (t->slots[i] && (t->slots[i]->has_star != has_star || !span_eq(t->slots[i]->path, path)))
		i = (i + 1) & t->mask;
	return &t->slots[i];
}

/* Making it ------------------------------------------------------------------------------------------------------ */

static bool is_method(const char *text)
{
	size_t len = strlen(text);

	return len > 0 && len <= METHOD_MAX && scan_class(text, text + len, CLASS_TOKEN) == text + len;
}

static const char *wrong_path(const char *path)
{
	const char *star = strchr(path, '*');

	if (path[0] != '/')
		return "its path does not begin with '/'";
	if (star && (star[-1] != '/' || star[1]))
		return "a star stands only at the end, behind a '/'";
	if (strstr(path, "//") || strstr(path, "/./") || strstr(path, "/../"))
		return "its path can never match";
	return NULL;
}

static unsigned slashes(struct span path)
{
	unsigned count = 0;

	for (size_t i = 0; i < path.len; i++)
		count += path.ptr[i] == '/';
	return count;
}

/* NULL: fine. */
static const char *add(struct module_table *t, const struct sluice_route *r)
{
	struct span path = r->path ? span_str(r->path) : SPAN("/*");
	bool has_star = path.len > 0 && path.ptr[path.len - 1] == '*';
	const char *why = r->path ? wrong_path(r->path) : NULL;
	struct module_route_node *node, **at;
	struct entry **slot;

	if (!r->on_request)
		return "it has no on_request";
	if (why)
		return why;
	if (r->method && !is_method(r->method))
		return "its method is none";
	path.len -= has_star;
	if (has_star && slashes(path) > LEVELS_MAX)
		return "its path is too deep for a star";
	slot = slot_of(t, path, has_star);
	if (!*slot) {
		*slot = &t->entries[t->entry_count++];
		**slot = (struct entry){ .path = path, .has_star = has_star };
	}
	node = &t->nodes[t->node_count++];
	*node = (struct module_route_node){ .route = *r, .method = r->method ? span_str(r->method) : SPAN("") };
	for (at = &(*slot)->first; *at; at = &(*at)->next)
		if (span_eq((*at)->method, node->method))
			return "there is another one for the same";
	*at = node;
	if (has_star)
		t->level_count = MAX(t->level_count, slashes(path));
	return NULL;
}

static const struct module_route_node *find_method(const struct entry *e, struct span method)
{
	for (const struct module_route_node *n = e->first; n; n = n->next)
		if (span_eq(n->method, method))
			return n;
	return NULL;
}

/* "GET, HEAD, OPTIONS": HEAD and OPTIONS are answered whatever the module has. */
static int make_allow(struct entry *e)
{
	size_t size = sizeof("HEAD, OPTIONS, ");
	struct buf b;

	for (const struct module_route_node *n = e->first; n; n = n->next)
		size += n->method.len + 2;
	e->allow_memory = malloc(size);
	if (!e->allow_memory)
		return -ENOMEM;
	buf_init(&b, e->allow_memory, size);
	for (const struct module_route_node *n = e->first; n; n = n->next) {
		if (n->method.len == 0 || span_eq(n->method, SPAN("OPTIONS")))
			continue;
		buf_add_span(&b, n->method);
		buf_add_lit(&b, ", ");
	}
	if (find_method(e, SPAN("GET")) && !find_method(e, SPAN("HEAD")))
		buf_add_lit(&b, "HEAD, ");
	buf_add_lit(&b, "OPTIONS");
	BUG_ON(b.is_truncated);
	e->allow = buf_span(&b);
	return 0;
}

static int alloc_all(struct module_table *t, unsigned count)
{
	unsigned slots = 4;

	while (slots < 2 * count)
		slots *= 2;
	t->mask = slots - 1;
	t->slots = calloc(slots, sizeof(*t->slots));
	t->entries = calloc(count, sizeof(*t->entries));
	t->nodes = calloc(count, sizeof(*t->nodes));
	return t->slots && t->entries && t->nodes ? 0 : -ENOMEM;
}

static int fill(struct module_table *t, const struct sluice_module *m, char *why, size_t why_size)
{
	int err = 0;

	for (unsigned i = 0; i < m->route_count; i++) {
		struct sluice_route r = { 0 };
		const char *wrong;

		/* A module of another time may have smaller routes, or larger ones. */
		memcpy(&r, (const char *)m->routes + (size_t)i * m->route_size, MIN(sizeof(r), m->route_size));
		wrong = add(t, &r);
		if (wrong) {
			snprintf(why, why_size, "route %u of it (%.40s %.100s): %s", i, r.method ? r.method : "any",
				 r.path ? r.path : "/*", wrong);
			return -EINVAL;
		}
	}
	for (unsigned i = 0; i < t->entry_count && !err; i++)
		err = make_allow(&t->entries[i]);
	return err;
}

int module_table_new(const struct sluice_module *m, struct module_table **ret_table, char *why, size_t why_size)
{
	struct module_table *t;
	int err;

	if (!m->routes || m->route_count == 0 || m->route_count > ROUTES_MAX) {
		snprintf(why, why_size, "it has no routes, or more than %u", ROUTES_MAX);
		return -EINVAL;
	}
	t = calloc(1, sizeof(*t));
	err = t ? alloc_all(t, m->route_count) : -ENOMEM;
	if (!err)
		err = fill(t, m, why, why_size);
	if (err) {
		module_table_free(t);
		return err;
	}
	*ret_table = t;
	return 0;
}

void module_table_free(struct module_table *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < t->entry_count; i++)
		free(t->entries[i].allow_memory);
	free(t->slots);
	free(t->entries);
	free(t->nodes);
	free(t);
}

/* Looking up ----------------------------------------------------------------------------------------------------- */

/* NULL: no path of the table covers it. */
static const struct entry *find_path(const struct module_table *t, struct span path, struct span *ret_rest)
{
	const struct entry *e = *slot_of(t, path, false);
	size_t ends[LEVELS_MAX];
	unsigned count = 0;

	*ret_rest = span_of(path.ptr + path.len, 0);
	if (e)
		return e;
	for (size_t i = 0; i < path.len && count < t->level_count; i++)
		if (path.ptr[i] == '/')
			ends[count++] = i + 1;
	while (count-- > 0) {
		e = *slot_of(t, span_of(path.ptr, ends[count]), true);
		if (!e)
			continue;
		*ret_rest = span_of(path.ptr + ends[count], path.len - ends[count]);
		return e;
	}
	return NULL;
}

void module_table_find(const struct module_table *t, const struct request *req, struct span path,
		       struct module_match *ret_match)
{
	const struct entry *e = find_path(t, path, &ret_match->rest);
	const struct module_route_node *n = e ? find_method(e, req->method_text) : NULL;

	if (e && !n && req->method == METHOD_HEAD)
		n = find_method(e, SPAN("GET"));
	if (e && !n)
		n = find_method(e, SPAN(""));
	ret_match->route = n ? &n->route : NULL;
	ret_match->allow = e ? e->allow : SPAN("");
	if (req->method == METHOD_OTHER)
		ret_match->status = 501;
	else
		ret_match->status = !e ? 404 : req->method == METHOD_OPTIONS ? 204 : 405;
}
