/* SPDX-License-Identifier: MIT */
/*
 * WebSocket (RFC 6455) by wslay, for handlers: a connection is theirs to open after its handshake.  It may subscribe to one
 * channel, whose messages it is sent; what the client sends goes to the endpoint.  What is the same for all of them is
 * here: the handshake, limits, pings, closing, slow subscribers, compression.  Must not know what messages are for.
 *
 *   websocket_wants, websocket_check --> websocket_accept (101) --> reply_detach --> websocket_open --> on_message ... on_end
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

struct websocket;
struct websockets;	/* of one worker */

/* 0 or -ENOMEM. */
int websockets_new(struct websockets **ret_websockets);
/* Every endpoint must be gone.  NULL is allowed. */
void websockets_free(struct websockets *w);
/* Of the channels that have names, for who publishes there. */
struct channel_hub *websockets_hub(struct websockets *w);
/* In the worker, before its first connection.  `link`: to the other workers; NULL: none. */
void websockets_start(struct websockets *w, struct loop *loop, struct stats_block *stats,
		      const struct channel_link *link);
/* The server stops: no more are to be taken, and those there are get closed with 1001, evenly within that time. */
void websockets_drain(struct websockets *w, uint64_t within_ms);
bool websockets_is_draining(const struct websockets *w);
/* When every session is gone. */
void websockets_stop(struct websockets *w);
/* After the start. */
struct stats_websocket *websockets_stats(const struct websockets *w);

struct websocket_ops {
	/* A whole message; text is UTF-8.  It may be answered by websocket_say(), or refused, but not closed otherwise. */
	void (*on_message)(struct websocket *ws, bool is_text, struct span data);
	/* False: nothing more is read now; websocket_read_on() says when.  NULL: whenever its channel takes messages. */
	bool (*may_read)(struct websocket *ws);
	/* All that was said is sent, and nothing else is to be done for now.  NULL is allowed. */
	void (*on_sent)(struct websocket *ws);
	/* It takes and gives no more messages, and has left its channel.  Once, from within anything.  NULL is allowed. */
	void (*on_end)(struct websocket *ws);
};

/* What the WebSockets of a handler have in common; outlives them. */
struct websocket_endpoint {
	struct websockets *owner;
	const struct websocket_ops *ops;
	uint32_t message_max, frame_max;/* bytes */
	uint32_t queue_max;		/* bytes that may wait for a subscriber */
	uint32_t read_max;		/* bytes that are read at once; 0: as many as there are */
	bool has_deflate;		/* permessage-deflate, where the client offers it */
	uint64_t ping_ms;		/* silence after which a ping is sent; 0: none */
	uint64_t pong_ms;		/* then something has to come */
	uint64_t close_ms;		/* for the closing handshake */
	uint64_t write_ms;		/* between two pieces that the client takes; 0: for ever */
	/* Besides the site's own: "https://example.org", or "*" for all.  Borrowed. */
	const char *const *origins;
	unsigned origin_count;
};

/* The content of a message as it comes, of malloc; zeroed before its first use. */
struct websocket_body {
	size_t len, cap;
	char *bytes;
};

/* False without memory. */
bool websocket_body_add(struct websocket_body *b, struct span data);
void websocket_body_drop(struct websocket_body *b);

/* A field by its name; ptr is NULL where it is missing, or there more than once. */
struct span websocket_field(const struct request *req, struct span name);
/* A GET that asks for one. */
bool websocket_wants(const struct request *req);
/* A page from elsewhere may not speak for its visitor: only browsers send Origin. */
bool websocket_origin_allowed(const struct websocket_endpoint *e, const struct request *req);
/* 0, or the status that it is to be refused with. */
unsigned websocket_check(const struct request *req);
/* 426 (RFC 9110 15.5.22): what else than a WebSocket may be had there is for the documentation to say. */
void websocket_ask_for_upgrade(struct reply *reply);
/* Answers with that status, and counts. */
void websocket_refuse_request(const struct websocket_endpoint *e, struct reply *reply, unsigned status);
/* Begins the reply, 101; to be detached with websocket_detached_ops.  Was compression agreed on? */
bool websocket_accept(const struct websocket_endpoint *e, const struct request *req, struct reply *reply);

enum websocket_kind {
	WEBSOCKET_PLAIN,
	WEBSOCKET_DEFLATED,	/* as websocket_accept has said */
	WEBSOCKET_STREAM,	/* of server-sent events, with the same limits: the reply was is_until_close */
};

extern const struct detached_ops websocket_detached_ops;
/*
 * Within on_detached, whose result it gives.  `ch`: to subscribe to, or NULL; `ctx`: of the handler.  It may have ended when
 * this returns; NULL: there was no memory, on_end does not come.
 */
void *websocket_open(const struct websocket_endpoint *e, enum websocket_kind kind, struct channel *ch, void *ctx,
		     const struct detached *d);
void *websocket_ctx(const struct websocket *ws);
const struct websocket_endpoint *websocket_endpoint_of(const struct websocket *ws);
const union sock_addr *websocket_peer(const struct websocket *ws);
/* A message to this one alone.  False without memory. */
bool websocket_say(struct websocket *ws, bool is_text, struct span data);
/* Bytes of what was said that are not sent yet. */
size_t websocket_unsent(const struct websocket *ws);
/* From within on_message: the connection ends with that code; `text` is a constant. */
void websocket_refuse(struct websocket *ws, unsigned code, const char *text);
/* From an event of the handler's: `reason` is for log and counters.  It may be gone afterwards. */
void websocket_close(struct websocket *ws, unsigned code, const char *text, enum close_reason reason);
/* What was said is sent, and more is read, in the next iteration. */
void websocket_read_on(struct websocket *ws);

#endif
