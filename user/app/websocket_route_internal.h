/* SPDX-License-Identifier: MIT */
/* Between websocket_route*.c only. */
#ifndef SLUICE_APP_WEBSOCKET_ROUTE_INTERNAL_H
#define SLUICE_APP_WEBSOCKET_ROUTE_INTERNAL_H

#include "app/websocket_route.h"

/* The context of a connection that is taken over: in which way. */
struct websocket_entry {
	struct websocket_route *route;
	enum websocket_kind kind;
};

struct websocket_route {
	struct websocket_endpoint endpoint;
	struct channel *channel;	/* NULL: echo */
	enum websocket_publish publish;
	struct websocket_entry entries[WEBSOCKET_STREAM + 1];
};

bool websocket_may_publish(const struct websocket_route *route, const union sock_addr *peer);
bool websocket_wants_stream(const struct request *req);
void *websocket_on_detached(void *ctx, const struct detached *d);

/* websocket_route_post.c */
void websocket_on_post(const struct websocket_route *route, struct request *req, struct reply *reply);
void websocket_on_body(struct request *req, struct reply *reply, struct span data, bool is_last);
void websocket_on_post_abort(struct request *req, struct reply *reply);

#endif
