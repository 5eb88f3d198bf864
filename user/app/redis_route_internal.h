/* SPDX-License-Identifier: MIT */
/*
 * One request at a Redis server.  Internal to app/redis_route*.c.
 *
 *   BODY      content is gathered, of which the command is or which is its last word
 *   ASKED     the command is on its way
 *   ...and it is freed with its answer, or when the session has given it up.
 *
 * One that subscribes is a stream instead (redis_route_stream.c).  reply->ctx is either of them, or NULL: ended.
 */
#ifndef SLUICE_APP_REDIS_ROUTE_INTERNAL_H
#define SLUICE_APP_REDIS_ROUTE_INTERNAL_H

#include "app/redis_channel.h"
#include "app/redis_route.h"
#include "app/redis_route_render.h"
#include "app/redis_route_request.h"

struct redis_service {
	struct redis_server *server;
	struct redis_hub *hub;
	struct stats_redis *stats;
	struct list streams;
	bool is_draining;		/* no new ones */
	char name[REDIS_NAME_MAX];
};

/* A command that the list names.  The configuration names none that is forbidden. */
struct redis_allowed {
	struct span name;
	unsigned plain_for;	/* serial of the table by which it needs no further look; 0: none */
};

struct redis_route {
	struct redis_service *service;
	struct span prefix, key_prefix;	/* key_prefix.len 0: none */
	struct redis_allowed *allow;
	unsigned allow_count;
	bool allows_most;		/* "*" */
	uint64_t body_max, stream_max;
};

/* What reply->ctx points to begins with this. */
struct redis_ask {
	bool is_stream;
	const struct redis_route *route;
	struct request *req;
	struct reply *reply;
};

/* Answers with a status page; `why` for the log, a constant. */
void redis_refuse(struct reply *reply, unsigned status, const char *why);
unsigned redis_failure_status(enum redis_failure why);
/* What the list of the route says of it; NULL: nothing. */
struct redis_allowed *redis_route_find(const struct redis_route *r, struct span name);

/* redis_route_stream.c */
/* SUBSCRIBE or PSUBSCRIBE, and nothing else. */
bool redis_is_stream(struct span name);
/* Answers, or keeps the reply for a stream. */
void redis_stream_begin(struct request *req, struct reply *reply, const struct redis_route *route,
			struct redis_words *w);
/* Nobody reads any more; calls nobody. */
void redis_stream_abort(struct redis_ask *ask);
/* Ends all streams of a service. */
void redis_streams_end(struct redis_service *s);

#endif
