/* SPDX-License-Identifier: MIT */
/*
 * A WebSocket, or a stream of events, after its handshake; between websocket*.c only.
 *
 *   OPEN --our close frame queued--> CLOSING --the client's close frame--> ENDING --the client's FIN--> (freed)
 *     |                                 `------------ close_ms over ------------------------------------^
 *     |--the client's close frame; ours answers it------------------------> ENDING
 *     `--the client broke the protocol; our close frame says how----------> ENDING
 *
 * ENDING writes what is left and ends our side; what still comes is dropped, since closing with input unread would
 * reset the connection and destroy the close frame on its way.  A stream has no closing handshake: OPEN, then ENDING.
 * A connection that fails or falls silent dies at once, from wherever it is: websocket_die().
 *
 * Output, in this order: the rest of a message that the kernel took a part of; frames of its own (pongs, echoes,
 * close); messages of the channel, which the channel gives when it is our turn.
 */
#ifndef SLUICE_APP_WEBSOCKET_INTERNAL_H
#define SLUICE_APP_WEBSOCKET_INTERNAL_H

#include <wslay/wslay.h>

#include "app/websocket.h"
#include "base/pool.h"

enum websocket_state { WEBSOCKET_OPEN, WEBSOCKET_CLOSING, WEBSOCKET_ENDING, WEBSOCKET_GONE };

struct websocket;

/* What is needed while a message is coming in; lent, and given back between two messages. */
struct websocket_in {
	struct list node;		/* among the spare ones */
	struct websocket *ws;
	wslay_event_context_ptr ctx;
	struct span unread;		/* what wslay has still to read */
	uint64_t given, used;		/* bytes that wslay has read, and those of frames that have begun */
	struct websocket_body body;	/* of the message at hand */
	uint64_t announced;		/* bytes that its frames so far have in all */
	bool is_in_message;		/* more fragments are to come */
	bool is_control;		/* the frame at hand is none of it */
	bool is_deflated;		/* the message is */
	uint16_t fail_code;		/* the client is to be told this; 0: nothing */
	const char *fail_text;
};

/* Bytes of our own to be written, of malloc. */
struct websocket_out {
	uint32_t at, len, cap;
	char bytes[];
};

struct websocket {
	struct conn *conn;
	void *handle;
	void (*close)(void *handle, int reason, uint64_t bytes_sent);	/* as struct detached */
	struct websockets *owner;
	const struct websocket_endpoint *endpoint;
	void *ctx;			/* of the handler */
	struct list node;		/* in owner->open or owner->leaving */
	struct channel_subscriber sub;
	struct channel_waiter waiter;	/* for the channels to catch up, before more is read */
	struct timer timer;
	struct job job;			/* to be run again, later: to be freed */
	struct websocket_in *in;	/* NULL between two messages */
	struct websocket_out *out;	/* NULL: nothing of our own waits */
	struct hold *part;		/* of a message the kernel took a part of; NULL: none */
	const char *part_bytes;
	uint32_t part_len;
	uint8_t state;			/* enum websocket_state */
	uint8_t reason;			/* enum close_reason; from CLOSING on */
	bool is_stream;
	bool is_deflated;		/* permessage-deflate was agreed on */
	bool is_blocked;		/* the kernel took no more */
	bool is_pinged;			/* and nothing came since */
	bool has_shut;			/* our side has ended */
	uint64_t heard_ms;		/* when something came last */
	uint64_t since_ms;		/* ping sent, write blocked, or closing since */
	uint64_t bytes_sent;
};

struct websockets {
	struct loop *loop;
	struct stats_block *block;
	struct stats_websocket *stats;
	struct channel_hub *hub;
	struct pool pool;
	struct list open, leaving;	/* struct websocket: in OPEN, in other states */
	unsigned open_count;
	struct list spare;		/* struct websocket_in */
	unsigned spare_count;
	bool is_draining;
	uint64_t drain_end_ms;
	struct timer drain_timer;
	/* of wslay, to print the header of a frame */
	wslay_frame_context_ptr framer;
	struct websocket_deflate *deflate;	/* NULL: not needed so far */
	uint64_t inflated;		/* bytes of messages that came deflated */
	const void *framed;
	char head[CHANNEL_HEAD_MAX];
	unsigned head_len;
	char scratch[64 * 1024];	/* what was read, until it is parsed */
};

/* websocket_conn.c */
/* Does what can be done now; it may be gone afterwards. */
void websocket_run(struct websocket *ws);
/* Both have said goodbye, or there is nothing left to say: from here on only written and waited. */
void websocket_end(struct websocket *ws, enum close_reason reason);
/* At once. */
void websocket_die(struct websocket *ws, enum close_reason reason);
void websocket_watch_time(struct websocket *ws);

/* websocket_input.c: the bytes go through wslay.  False: it is gone. */
bool websocket_feed(struct websocket *ws, struct span bytes);
/* Gives back what was lent. */
void websocket_drop_input(struct websocket *ws);
void websocket_free_spare(struct websockets *w);

/* websocket_output.c */
enum websocket_flush { WEBSOCKET_FLUSHED, WEBSOCKET_STUCK, WEBSOCKET_BROKEN };
/* Queues bytes as they are; false without memory. */
bool websocket_add(struct websocket *ws, const void *bytes, size_t len);
/* Queues a frame.  False without memory. */
bool websocket_add_frame(struct websocket *ws, enum wslay_opcode opcode, struct span payload);
bool websocket_add_close(struct websocket *ws, unsigned code, const char *text);
enum websocket_flush websocket_flush(struct websocket *ws);
void websocket_drop_output(struct websocket *ws);
int websocket_init_framer(struct websockets *w);
extern const struct channel_subscriber_ops websocket_subscriber_ops;

/* websocket_stream.c: the message as an event of a stream; made once, the message's.  NULL without memory. */
struct channel_form *websocket_event_of(struct channel_message *m);

/* websocket_deflate.c */
enum websocket_inflate {
	WEBSOCKET_INFLATED,
	WEBSOCKET_INFLATE_LONG,
	WEBSOCKET_INFLATE_BROKEN,
	WEBSOCKET_INFLATE_MEMORY,
};
/* Appends; false: it is not worth it, or there is no memory, and `to` has anything. */
bool websocket_deflate(struct websockets *w, struct span data, struct websocket_body *to);
/* `data` gets the end appended that is not sent; at most `max` bytes come out. */
enum websocket_inflate websocket_inflate(struct websockets *w, struct websocket_body *data, size_t max,
					 struct websocket_body *to);
/* What to answer to the client's offers; ptr is NULL: nothing. */
struct span websocket_offer_deflate(const struct request *req);
void websocket_close_deflate(struct websockets *w);

/* websocket_handshake.c */
#define WEBSOCKET_ACCEPT_LEN 28
/* RFC 6455 4.2.2 (5.4). */
void websocket_accept_key(struct span key, char out[WEBSOCKET_ACCEPT_LEN]);
bool websocket_is_key(struct span key);

#endif
