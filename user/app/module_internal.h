/* SPDX-License-Identifier: MIT */
/*
 * What module.c (requests), module_load.c (files and instances) and what modules call (module_api.c, module_write.c,
 * module_ask.c) share.
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

#define MODULE_AFTER_MAX (UINT64_C(1) << 50)	/* ms: a sum with the time does not overflow */

static inline struct module_call *module_call_of(struct sluice_request *r)
{
	return container_of(r, struct module_call, pub);
}

static inline const struct module_call *module_const_call_of(const struct sluice_request *r)
{
	return container_of(r, const struct module_call, pub);
}

/* The module does something about it. */
static inline void module_note_activity(struct module_call *c)
{
	c->active_ms = c->owner->module->loop->now_ms;
}

/* module_api.c: counts and tells a mistake.  Returns `err`. */
int module_refuse(const struct module_call *c, const char *what, int err);

/* What modules call, as in sluice/api.h: module_api.c, and of it in module_write.c and module_ask.c */
extern const struct sluice_api module_api;
int module_write(struct sluice_request *r, const void *data, size_t len);
int module_write_held(struct sluice_request *r, const void *data, size_t len, void (*release)(void *ctx), void *ctx);
int module_write_file(struct sluice_request *r, int fd, uint64_t offset, uint64_t len, void (*release)(void *ctx),
		      void *ctx);
struct sluice_span module_header(const struct sluice_request *r, const char *name);
int module_field(const struct sluice_request *r, uint32_t index, struct sluice_span *ret_name,
		 struct sluice_span *ret_value);
size_t module_client(const struct sluice_request *r, char *out, size_t size);
void module_timer_start(struct sluice_instance *in, struct sluice_timer *t, uint64_t after_ms);
void module_timer_stop(struct sluice_instance *in, struct sluice_timer *t);
uint64_t module_now_ms(const struct sluice_instance *in);
void module_log(struct sluice_instance *in, enum sluice_level level, const char *text);

/* module.c.  Frees it; the reply's context becomes NULL. */
void module_call_end(struct module_call *c);

#endif
