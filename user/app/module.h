/* SPDX-License-Identifier: MIT */
/*
 * `module = "/PATH.so"`: requests answered by somebody else's code; include/sluice/handler.h is what it sees.
 *
 * The master opens the file and copies it, so that nobody who writes over it pulls the code from under a worker, and a
 * worker that is started again has what its siblings have.  It runs none of it: workers load it, after they have given up
 * their rights and before their sandbox closes.
 *
 *   module_open -> module_route_new ... (master) -> module_start (worker) -> requests -> module_stop -> module_free
 */
#ifndef SLUICE_APP_MODULE_H
#define SLUICE_APP_MODULE_H

#include "http/handler.h"
#include "module_shm.h"
#include "net/loop.h"

#define MODULE_WHY_SIZE 384

struct module;

/* Copies the file.  0, or -errno: why says what is wrong. */
int module_open(const char *path, struct module **ret_module, char why[MODULE_WHY_SIZE]);
/* Its routes must be gone.  NULL is allowed. */
void module_free(struct module *m);
/*
 * Loads it into this process, for good, and asks whether these arguments are right: for a process of a moment.  0, or
 * -errno and why.
 */
int module_try(struct module *m, const char *args, char why[MODULE_WHY_SIZE]);
/* In the worker.  `stats`: its block, shared, borrowed.  0, or -errno after logging why. */
int module_start(struct module *m, struct loop *loop, unsigned worker, struct module_stats *stats);
/* The worker is going to end.  Only the first time counts. */
void module_drain(struct module *m);
/* Every request must be gone.  Harmless when it was not started. */
void module_stop(struct module *m);

struct module_route_options {
	struct module *module;
	struct span prefix;		/* copied, as `args` is */
	const char *args;		/* NULL: none */
	uint64_t timeout_ms;		/* in which the module has to do something about a request; 0: for ever */
	uint64_t body_max;		/* bytes of content */
};

extern const struct handler_ops module_ops;
/* 0 or -ENOMEM. */
int module_route_new(const struct module_route_options *opt, void **ret_conf);
void module_route_free(void *conf);

#endif
