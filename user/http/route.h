/* SPDX-License-Identifier: MIT */
/*
 * From host and path to a handler.  Built once from the configuration, then read only; a reload
 * builds another.
 * Host: exact name, then the longest wildcard ("*.example.com", which does not match example.com
 * itself), then the default site ("*", or the first one).  Names compare without case and without
 * a final dot.
 * Path: longest prefix that ends at a segment: "/api" matches "/api" and "/api/x", not "/apix";
 * "/api/" matches only below it.  Paths compare byte by byte on the decoded path.
 */
#ifndef SLUICE_HTTP_ROUTE_H
#define SLUICE_HTTP_ROUTE_H

#include "http/handler.h"
#include "net/limit_table.h"

struct route {
	struct span prefix;
	const struct handler_ops *ops;
	void *conf;
	void (*on_free)(void *conf); /* NULL: nothing to free */
	const struct limit_rate *rate; /* of each client's requests; NULL: no limit.  Not owned */
};

struct site;
struct site_table;

struct site_table *site_table_new(void);
/* Frees the confs of all routes too. NULL is allowed. */
void site_table_free(struct site_table *t);
/* Names are copied.  *ret_site belongs to the table.  0, -ENOMEM, -EEXIST (a name another site
 * has), -EINVAL. */
int site_add(struct site_table *t, const char *const *names, unsigned name_count,
	     struct site **ret_site);
/* The prefix is copied; the conf becomes the table's, on failure too.  0, -ENOMEM, -EEXIST, -EINVAL
 * (no leading '/'). */
int site_add_route(struct site *s, struct span prefix, const struct handler_ops *ops, void *conf,
		   void (*on_free)(void *conf));
/* Limits the route that was added last. */
void site_limit_route(struct site *s, const struct limit_rate *rate);
/* Sorts for lookup; after it the table is read only. */
void site_table_seal(struct site_table *t);

/* `host` without port, may be empty.  NULL when there is no site at all. */
const struct site *site_find(const struct site_table *t, struct span host);
/* NULL: no route matches (404). */
const struct route *route_find(const struct site *s, struct span path);

#endif
