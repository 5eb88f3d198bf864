/* SPDX-License-Identifier: MIT */
/* Between runtime.c, runtime_proxy.c, runtime_limits.c and runtime_store.c. */
#ifndef SLUICE_PROC_RUNTIME_INTERNAL_H
#define SLUICE_PROC_RUNTIME_INTERNAL_H

#include "app/proxy.h"
#include "proc/runtime.h"

#define PROXY_HEAD_MAX 32768u	/* bytes of a response's head */

/* Upstreams before the routes that name them; 0 or -errno.  Half-open is closed by the other. */
int runtime_open_proxy(struct runtime *rt);
/* After the routes are gone. */
void runtime_close_proxy(struct runtime *rt);
int runtime_build_proxy(const struct runtime *rt, const struct config_route *route, void **ret_conf);
/* The same of stores; stopping comes before closing. */
int runtime_open_stores(struct runtime *rt);
void runtime_stop_stores(struct runtime *rt);
void runtime_close_stores(struct runtime *rt);
int runtime_build_store(const struct runtime *rt, const struct config_route *route, void **ret_conf);

/* runtime_limits.c: before the routes; 0 or -errno. */
int runtime_open_limits(struct runtime *rt);
void runtime_close_limits(struct runtime *rt);
/* Of a route; NULL: no limit. */
const struct limit_rate *runtime_rate_of(struct runtime *rt, const struct config_site *site,
					 const struct config_route *route);

#endif
