/* SPDX-License-Identifier: MIT */
/*
 * `websocket = "echo"` and `websocket = "channel:NAME"`.  A channel's messages go to its subscribers at all workers of the
 * host; the same path takes messages by POST, and gives them as a stream of events to who asks for text/event-stream
 * instead of an upgrade.  docs/websocket.md.
 */
#ifndef SLUICE_APP_WEBSOCKET_ROUTE_H
#define SLUICE_APP_WEBSOCKET_ROUTE_H

#include "app/websocket.h"

enum websocket_publish { WEBSOCKET_PUBLISH_OFF, WEBSOCKET_PUBLISH_LOCAL, WEBSOCKET_PUBLISH_ANY };

struct websocket_route_options {
	struct websocket_endpoint endpoint;	/* but for its ops; copied */
	const char *channel;		/* copied; NULL: echo */
	enum websocket_publish publish;	/* who may publish: nobody, clients of this machine, all */
};

extern const struct handler_ops websocket_route_ops;

/* 0; -EINVAL: a channel's name or its message_max; -ENOMEM. */
int websocket_route_new(const struct websocket_route_options *opt, void **ret_conf);
void websocket_route_free(void *conf);

#endif
