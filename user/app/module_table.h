/* SPDX-License-Identifier: MIT */
/*
 * The table of routes that a module has given, by hash: a look-up costs the same for a hundred routes as for one.
 * The most specific path decides: the path itself, then "/a/b/" with a star behind, then "/a/" with one, and so on; then
 * the method among the routes of that path.  Made once, never changed.
 */
#ifndef SLUICE_APP_MODULE_TABLE_H
#define SLUICE_APP_MODULE_TABLE_H

#include "base/span.h"
#include "http/message.h"
#include "sluice/handler.h"

struct module_table;

struct module_match {
	const struct sluice_route *route;	/* NULL: `status` is the answer */
	unsigned status;		/* 204 (OPTIONS), 404, 405, 501 */
	struct span allow;		/* methods of the path, for an Allow field; with 204 and 405 */
	struct span rest;		/* what the star stands for */
};

/* 0, -ENOMEM, or -EINVAL: why says what is wrong with which route.  Copies all but the texts. */
int module_table_new(const struct sluice_module *m, struct module_table **ret_table, char *why, size_t why_size);
/* NULL is allowed. */
void module_table_free(struct module_table *t);
/* `path` begins with '/'; `rest` points into it. */
void module_table_find(const struct module_table *t, const struct request *req, struct span path,
		       struct module_match *ret_match);

#endif
