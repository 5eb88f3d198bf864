/* SPDX-License-Identifier: MIT */
/*
 * What module.c (requests), module_api.c (what modules call) and module_load.c (files and instances) share.
 *
 * A call is one request at a module, from on_request to the end of its reply.  It ends in one place, module_call_end():
 * the module has ended or aborted it, or it was told by on_abort.  Its reply outlives it, and reply->ctx is NULL then.
 */
#ifndef SLUICE_APP_MODULE_INTERNAL_H
#define SLUICE_APP_MODULE_INTERNAL_H

#include "app/module.h"
#include "app/module_table.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/pool.h"

#define MODULE_FIELDS_MAX   16384u	/* bytes of fields that a module adds to one answer */
#define MODULE_FIELDS_SMALL 384u	/* of these in the call itself */

struct module {
	char *path;
	int fd;				/* the copy */
	struct sluice_module code;	/* what the file has of it, the rest zero */
	struct module_table *table;
	struct list routes;		/* of struct module_route */
	struct pool calls;
	struct loop *loop;		/* NULL: not started */
	struct module_stats *stats;
	bool is_draining;
	struct log_seldom mistakes;	/* not every one is told */
};

struct module_route {
	struct list node;		/* of module.routes */
	struct module *module;
	struct sluice_instance instance;
	bool is_ready;			/* init has succeeded */
	size_t strip;			/* bytes of the path in front of what the table has */
	uint64_t timeout_ms, body_max;
	char memory[];			/* prefix, arguments */
};

struct module_call {
	struct sluice_request pub;	/* first */
	const struct sluice_route *route;
	struct module_route *owner;
	struct request *req;
	struct reply *reply;
	struct timer deadline;		/* the module has to do something by then */
	struct timer wake;
	uint64_t active_ms;		/* when it last did */
	bool is_body_over, is_paused;
	char *grown;			/* memory of `fields`, once they need more */
	struct buf fields;
	char memory[MODULE_FIELDS_SMALL];
};

extern const struct sluice_api module_api;

/* module.c.  Frees it; the reply's context becomes NULL. */
void module_call_end(struct module_call *c);

#endif
