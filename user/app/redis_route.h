/* SPDX-License-Identifier: MIT */
/*
 * Routes with `redis`: a request is a command, in webdis's manner.  GET /GET/key, GET /SET/key/value, or the last word as
 * content of a PUT or POST; SUBSCRIBE and PSUBSCRIBE become streams of server-sent events, or WebSockets where the client
 * asks for an upgrade; a WebSocket at the prefix takes commands.  docs/redis.md.
 *
 *   redis_service_new -> redis_route_new ... (master) -> redis_service_start (worker) -> drain -> stop
 */
#ifndef SLUICE_APP_REDIS_ROUTE_H
#define SLUICE_APP_REDIS_ROUTE_H

#include "app/redis_server.h"
#include "app/websocket.h"
#include "http/handler.h"

/* A server as routes use it: commands and channels. */
struct redis_service;

int redis_service_new(const struct redis_server_options *opt, struct redis_service **ret_service);
/* Its routes are gone.  NULL is allowed. */
void redis_service_free(struct redis_service *s);
void redis_service_start(struct redis_service *s, struct loop *loop, const struct upstream_table *table,
			 struct stats_redis *stats);
/* For others who have commands for it; lives as long as the service. */
struct redis_server *redis_service_server(const struct redis_service *s);
/* Streams end: their clients come back, to another worker. */
void redis_service_drain(struct redis_service *s);
void redis_service_stop(struct redis_service *s);

struct redis_route_options {	/* all copied but the service */
	struct redis_service *service;
	struct span prefix;		/* of the route */
	char *const *allow;		/* names of commands; "*": all but those that are never, and those of administrators */
	unsigned allow_count;
	const char *key_prefix;		/* NULL: none; at most REDIS_PREFIX_MAX bytes */
	uint64_t body_max;		/* bytes */
	uint64_t stream_max;		/* bytes of messages that may wait for a client */
	struct websocket_endpoint endpoint;	/* of WebSockets, but for its ops */
};

extern const struct handler_ops redis_route_ops;
/* 0 or -ENOMEM. */
int redis_route_new(const struct redis_route_options *opt, void **ret_conf);
void redis_route_free(void *conf);

#endif
