/* SPDX-License-Identifier: MIT */
/*
 * Handlers of one's own: what `module = "/PATH.so"` in a route loads.  A module is a shared object that exports one
 * variable, `sluice_module`; it needs this folder to be built, and nothing of sluice to link with.  docs/modules.md tells
 * what it may do, with examples.
 *
 *   a worker starts   init(instance)    once for each route that has the module; before the sandbox closes
 *   a request         on_request(r)     then on_body, on_writable and on_timer, as they come
 *                     exactly one of sluice_end, sluice_abort, sluice_reply, sluice_error, or on_abort: then `r` is gone
 *   a worker ends     on_drain(instance), exit(instance)
 *
 * All calls come from one thread, one after the other; while one runs, the whole worker waits.  Functions return 0 or
 * -errno; a mistake (-EINVAL, -EALREADY, -EMSGSIZE) changes nothing, is counted and told in the log.
 *
 * Versions: another SLUICE_ABI is another interface, and is refused.  Within one, members are only added at the end of a
 * struct, whose size tells what it has: sluice_has() of the server's, `size` and `route_size` of yours.
 */
#ifndef SLUICE_HANDLER_H
#define SLUICE_HANDLER_H

#include <stddef.h>
#include <stdint.h>

#include "sluice/api.h"

/* Calls on_expire once, not before so many milliseconds; anew where it runs.  Stop it before `exit`. */
static inline void sluice_timer_start(struct sluice_instance *in, struct sluice_timer *t, uint64_t after_ms)
{
	in->api->timer_start(in, t, after_ms);
}

/* Harmless where it does not run. */
static inline void sluice_timer_stop(struct sluice_instance *in, struct sluice_timer *t)
{
	in->api->timer_stop(in, t);
}

/* Milliseconds of a clock that only goes forward, as of when this call of the module began. */
static inline uint64_t sluice_now_ms(const struct sluice_instance *in)
{
	return in->api->now_ms(in);
}

/* A line in the server's log. */
static inline void sluice_log(struct sluice_instance *in, enum sluice_level level, const char *text)
{
	in->api->log(in, level, text);
}

/* What is called for requests to one path.  NULL: nothing to do then; of on_body: content is read and dropped. */
struct sluice_route {
	/* "GET"; NULL: whatever no other route of the path has.  HEAD comes as GET does where it has none of its own. */
	const char *method;
	/* Behind the prefix of the configuration: "/", "/a/b", "/a/" and all below it with a star behind; NULL: all. */
	const char *path;
	void (*on_request)(struct sluice_request *r);
	/* Content as it comes, without its framing; is_last once, with or without data: at once where there is none. */
	void (*on_body)(struct sluice_request *r, const void *data, size_t len, int is_last);
	/* After sluice_begin: there is room for more.  May come more often than there is anything to do. */
	void (*on_writable)(struct sluice_request *r);
	/* Once for each sluice_wake. */
	void (*on_timer)(struct sluice_request *r);
	/* The client is gone, or was too slow, or you were: free what r->data has.  Of `r` only that and r->instance count. */
	void (*on_abort)(struct sluice_request *r);
};

struct sluice_module {
	uint32_t abi;			/* SLUICE_ABI */
	uint32_t size;			/* of this struct */
	const char *name;		/* for the log */
	const struct sluice_route *routes;
	uint32_t route_count;
	uint32_t route_size;		/* of one of them */
	/*
	 * The rest may be NULL.  Are these arguments right (`module_args`, "" for none)?  Not 0: no, and `why` says what is
	 * wrong.  Called whenever a configuration is checked, in a process of a moment.
	 */
	int (*check)(const char *args, char *why, size_t why_size);
	/* 0, or -errno: the worker does not start. */
	int (*init)(struct sluice_instance *in);
	void (*exit)(struct sluice_instance *in);
	/* The worker is going to end, and waits for its requests: end those that have no end of their own. */
	void (*on_drain)(struct sluice_instance *in);
};

/* The first members of a struct sluice_module, and those about its table of routes. */
#define SLUICE_HEAD SLUICE_ABI, (uint32_t)sizeof(struct sluice_module)
#define SLUICE_ROUTES(table) \
	(table), (uint32_t)(sizeof(table) / sizeof((table)[0])), (uint32_t)sizeof((table)[0])

/* Does the server have this function of struct sluice_api? */
#define sluice_has(api, member) ((api)->size >= offsetof(struct sluice_api, member) + sizeof((api)->member))

#ifdef __cplusplus
extern "C" {
#endif
/* Yours to define, in one file of the module. */
extern __attribute__((visibility("default"))) const struct sluice_module sluice_module;
#ifdef __cplusplus
}
#endif

#endif
