/* SPDX-License-Identifier: MIT */
/*
 * `store = "NAME"`: resources with HTTP's own semantics (RFC 9110), kept by an engine (store_engine.h).
 *
 *   GET HEAD    a resource, with ETag, preconditions, one range; or what a collection holds, page by page, as JSON
 *   PUT         creates or replaces: 201, 204; If-Match and If-None-Match against lost updates: 412
 *   POST        to a collection: a new resource in it, 201 and Location
 *   DELETE      204, 404
 *
 *   store_new -> store_route_new ... (master) -> store_start (worker) -> requests -> store_stop -> store_free
 */
#ifndef SLUICE_APP_STORE_H
#define SLUICE_APP_STORE_H

#include "app/store_engine.h"
#include "http/handler.h"

struct store;

struct store_options {
	struct store_engine *engine;	/* becomes the store's when this succeeds */
	uint64_t value_max;		/* bytes of one resource */
	uint64_t memory_max;		/* bytes of content on its way in and out of this process */
};

/* 0 or -ENOMEM. */
int store_new(const struct store_options *opt, struct store **ret_store);
/* Its routes must be gone.  NULL is allowed. */
void store_free(struct store *s);
/* In the worker, before its sandbox and any request.  `stats`: shared, borrowed.  0 or -errno, logged. */
int store_start(struct store *s, struct loop *loop, struct store_stats *stats);
/* Every request must be gone.  Harmless when it was not started. */
void store_stop(struct store *s);
/* Another way to the writer; takes the descriptor. */
void store_link(struct store *s, int fd);

struct store_route_options {
	struct store *store;
	struct span prefix;		/* of the route, ends with '/'; copied */
	bool requires_match;		/* PUT and DELETE without If-Match and If-None-Match: 428 */
	bool has_timed_names;		/* of new resources: they sort by the time */
};

#define STORE_PREFIX_MAX 512	/* bytes */

extern const struct handler_ops store_ops;
/* 0, -ENOMEM, or -EINVAL: the prefix. */
int store_route_new(const struct store_route_options *opt, void **ret_conf);
void store_route_free(void *conf);

#endif
