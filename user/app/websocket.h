/* SPDX-License-Identifier: MIT */
/*
 * `websocket = "echo"` and `websocket = "channel:NAME"`: WebSocket (RFC 6455) by wslay.  A channel's messages go to
 * its subscribers at all workers of the host; the same path takes messages by POST, and gives them as a stream of
 * events to who asks for text/event-stream instead of an upgrade.
 *
 * A connection that nothing happens on holds no buffer and no context of wslay: those are lent while a message is on
 * its way.  See websocket_internal.h for its states.
 */
#ifndef SLUICE_APP_WEBSOCKET_H
#define SLUICE_APP_WEBSOCKET_H

#include "app/channel.h"
#include "http/handler.h"
#include "stats_shm.h"

/* Bytes of a message that is not published. */
#define WEBSOCKET_MESSAGE_MAX (16u << 20)
/* The longest control frame (RFC 6455 5.5): limits below it would refuse those. */
#define WEBSOCKET_MESSAGE_MIN 125u

struct websockets;	/* of one worker */

enum websocket_publish { WEBSOCKET_PUBLISH_OFF, WEBSOCKET_PUBLISH_LOCAL, WEBSOCKET_PUBLISH_ANY };

struct websocket_options {
	const char *channel;		/* copied; NULL: echo */
	uint32_t message_max, frame_max;/* bytes */
	uint32_t queue_max;		/* bytes that may wait for a subscriber */
	bool has_deflate;		/* permessage-deflate, where the client offers it */
	uint64_t ping_ms;		/* silence after which a ping is sent; 0: none */
	uint64_t pong_ms;		/* then something has to come */
	uint64_t close_ms;		/* for the closing handshake */
	uint64_t write_ms;		/* between two pieces that the client takes; 0: for ever */
	enum websocket_publish publish;	/* who may publish: nobody, clients of this machine, all */
	/* Besides the site's own: "https://example.org", or "*" for all.  Borrowed. */
	const char *const *origins;
	unsigned origin_count;
};

extern const struct handler_ops websocket_ops;

/* 0 or -ENOMEM. */
int websockets_new(struct websockets **ret_websockets);
/* Every route must be gone.  NULL is allowed. */
void websockets_free(struct websockets *w);
struct channel_hub *websockets_hub(struct websockets *w);
/* In the worker, before its first connection.  `link`: to the other workers; NULL: none. */
void websockets_start(struct websockets *w, struct loop *loop, struct stats_block *stats,
		      const struct channel_link *link);
/* The server stops: no more are taken, and those there are get closed with 1001, evenly within that time. */
void websockets_drain(struct websockets *w, uint64_t within_ms);
/* When every session is gone. */
void websockets_stop(struct websockets *w);

/* 0; -EINVAL: a channel's name or its message_max; -ENOMEM. */
int websocket_route_new(struct websockets *w, const struct websocket_options *opt, void **ret_conf);
void websocket_route_free(void *conf);

#endif
