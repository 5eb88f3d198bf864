/* SPDX-License-Identifier: MIT */
/* What runtime.c and the other files of that name share, one for each kind of route. */
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
void runtime_start_proxy(struct runtime *rt, const struct runtime_options *opt);
void runtime_stop_proxy(struct runtime *rt);

/* runtime_udp.c: whom no amplification limit is for.  0 or -errno. */
int runtime_open_udp(struct runtime *rt);
void runtime_close_udp(struct runtime *rt);

/* runtime_websocket.c.  0 or -errno; -errno has been logged by the last one. */
int runtime_open_websockets(struct runtime *rt);
void runtime_close_websockets(struct runtime *rt);
/* What the keys of a route say of its WebSockets. */
void runtime_fill_endpoint(const struct runtime *rt, const struct config_route *route, struct websocket_endpoint *ret);
int runtime_build_websocket(const struct runtime *rt, const struct config_route *route, void **ret_conf);
int runtime_start_websockets(struct runtime *rt, const struct runtime_options *opt);
void runtime_stop_websockets(struct runtime *rt);

/* runtime_channel.c: channels that reach other hosts.  After the WebSockets; 0 or -errno, logged by starting. */
int runtime_open_channels(struct runtime *rt);
void runtime_close_channels(struct runtime *rt);
int runtime_start_channels(struct runtime *rt, const struct runtime_options *opt);
void runtime_stop_channels(struct runtime *rt);
void runtime_publish_remote(struct runtime *rt, struct span name, bool is_text, struct span data);

/* runtime_store.c; stopping comes before closing. */
int runtime_open_stores(struct runtime *rt);
int runtime_start_stores(struct runtime *rt, const struct runtime_options *opt);
void runtime_stop_stores(struct runtime *rt);
void runtime_close_stores(struct runtime *rt);
int runtime_build_store(const struct runtime *rt, const struct config_route *route, void **ret_conf);

/* runtime_module.c; stopping comes before closing.  0 or -errno, logged. */
int runtime_open_modules(struct runtime *rt);
int runtime_start_modules(struct runtime *rt, const struct runtime_options *opt);
void runtime_drain_modules(struct runtime *rt);
void runtime_stop_modules(struct runtime *rt);
void runtime_close_modules(struct runtime *rt);
int runtime_build_module(const struct runtime *rt, const struct config_route *route, void **ret_conf);

/* runtime_limits.c: before the routes; 0 or -errno. */
int runtime_open_limits(struct runtime *rt);
void runtime_close_limits(struct runtime *rt);
/* Of a route; NULL: no limit. */
const struct limit_rate *runtime_rate_of(struct runtime *rt, const struct config_site *site,
					 const struct config_route *route);

/* runtime_redis.c */
int runtime_open_redis(struct runtime *rt);
void runtime_close_redis(struct runtime *rt);
int runtime_build_redis(const struct runtime *rt, const struct config_route *route, void **ret_conf);
void runtime_start_redis(struct runtime *rt, const struct runtime_options *opt);
void runtime_drain_redis(struct runtime *rt);
void runtime_stop_redis(struct runtime *rt);

#endif
