/* SPDX-License-Identifier: MIT */
/*
 * One request at a Redis server.  Internal to app/redis_route*.c.
 *
 *   BODY      content is gathered, of which the command is or which is its last word
 *   ASKED     the command is on its way
 *   ...and it is freed with its answer, or when the session has given it up.
 *
 * One that subscribes is a stream instead (redis_route_stream.c), or becomes a WebSocket (redis_route_socket.c).  reply->ctx
 * is a request or a stream, or NULL: ended.
 */
#ifndef SLUICE_APP_REDIS_ROUTE_INTERNAL_H
#define SLUICE_APP_REDIS_ROUTE_INTERNAL_H

#include "app/redis_brake.h"
#include "app/redis_route.h"
#include "app/redis_route_render.h"
#include "app/redis_route_request.h"
#include "app/websocket.h"

#define REDIS_GROUP_BUCKETS 256u

struct redis_service {
	struct redis_server *server;
	struct redis_hub *hub;
	struct stats_redis *stats;
	struct list streams;
	bool is_draining;		/* no new ones */
	/* of WebSockets */
	struct channel_hub *channels;
	struct list groups[REDIS_GROUP_BUCKETS];
	struct redis_brake brake;
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
	struct websocket_endpoint endpoint, talk;	/* of those who listen; of those who send commands */
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

/* Why these words may not be sent, a constant for the log: "not_a_command" where they are none.  NULL: they may. */
const char *redis_route_refusal(const struct redis_route *r, const struct redis_words *w);
/* Keys get their prefix.  NULL, or why that cannot be: "redis_down", "keys_unknown", "key_too_long". */
const char *redis_route_confine(const struct redis_route *r, struct redis_words *w);

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

/* redis_route_socket.c */
extern const struct websocket_ops redis_socket_ops;
/* What somebody listens to; names with their prefix. */
struct redis_topic {
	const struct redis_route *route;
	enum redis_format format;
	bool is_pattern;
	unsigned count;
	const struct span *names;
};
/* False: it may not become one, and that was answered; not while its worker leaves either. */
bool redis_socket_admit(const struct redis_route *route, const struct request *req, struct reply *reply);
/* A place among those who listen to that; to be followed by the next one.  NULL without memory. */
struct redis_group *redis_group_join(const struct redis_topic *t);
/* Within on_detached, whose result it gives.  Request and reply may be gone when it returns. */
void *redis_group_open(struct redis_group *g, enum websocket_kind kind, const struct detached *d);
/* 0 or -ENOMEM. */
int redis_sockets_init(struct redis_service *s);
/* When server and hub have been started. */
void redis_sockets_start(struct redis_service *s);
/* Every session is gone. */
void redis_sockets_stop(struct redis_service *s);

/* redis_route_talk.c */
#define REDIS_TALK_READ 4096u	/* bytes of commands that are read at once */
extern const struct websocket_ops redis_talk_ops;
/* Does it ask for a WebSocket that takes commands? */
bool redis_is_talk(const struct request *req, const struct redis_words *w);
/* Answers. */
void redis_talk_begin(const struct redis_route *route, const struct request *req, struct reply *reply);

#endif
