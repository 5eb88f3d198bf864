/* SPDX-License-Identifier: MIT */
/*
 * Channels of one worker: what is published goes to every subscriber, once and in order.  Knows no connection and no
 * protocol: a subscriber is whoever takes messages (a WebSocket, a stream of events).
 *
 * The messages of a channel are one chain; a subscriber is a place in it, so nothing is queued or copied for each:
 *
 *   first            last
 *   [m1] --> [m2] --> [m3]        each message lists who has got everything up to it:
 *    |blocked  |ready  |ready        ready    goes on as soon as it is its turn
 *                                    blocked  its connection takes no more; channel_resume() when it does
 *
 * Messages before the last place of anybody are let go.  Who is behind by more than its limit is dropped, and so is
 * everybody of a worker that lost messages on the way from other workers: told rather than left with a gap.
 *
 * Many subscribers are served in slices, a turn of the loop each.  While a channel has not caught up with what came,
 * it is busy: publishers are to wait (channel_wait), which bounds the chain whatever they do.
 *
 * What is published here goes to other workers (and hosts) through the link, what comes from there through
 * channel_receive() or channel_deliver().
 */
#ifndef SLUICE_APP_CHANNEL_H
#define SLUICE_APP_CHANNEL_H

#include "base/hold.h"
#include "base/list.h"
#include "base/span.h"
#include "net/loop.h"

#define CHANNEL_NAME_MAX 64
/* Bytes of a message: what fits the memory between workers several times. */
#define CHANNEL_MESSAGE_MAX (512u * 1024)
/* Room in front of a message for the header of whatever carries it. */
#define CHANNEL_HEAD_MAX 10

struct channel;
struct channel_hub;
struct channel_subscriber;

enum channel_form_id { CHANNEL_FORM_EVENT, CHANNEL_FORM_DEFLATED, CHANNEL_FORM_COUNT };

struct channel_message {
	struct hold hold;
	struct channel_message *next;	/* in the chain; a reference */
	struct list ready, blocked;	/* subscribers that are here */
	uint64_t end;			/* what the channel has had up to and with this one: bytes, and 128 for each */
	struct channel_form *forms[CHANNEL_FORM_COUNT];	/* made when first wanted; NULL: not so far */
	uint32_t len;
	bool is_text;			/* valid UTF-8 */
	uint8_t head_len;		/* 0: not made yet */
	char head[CHANNEL_HEAD_MAX];	/* its last head_len bytes are used, so that it stands right before the data */
	char data[];
};

/* A message in another form, as it is sent; without bytes: it has none. */
struct channel_form {
	struct hold hold;
	size_t len;
	char bytes[];
};

enum channel_drop {
	CHANNEL_DROP_SLOW,	/* more waited for it than its limit */
	CHANNEL_DROP_LOST,	/* messages were lost on their way to this worker */
};

enum channel_progress {
	CHANNEL_DONE,		/* took all there was */
	CHANNEL_BLOCKED,	/* takes no more: channel_resume() */
	CHANNEL_GONE,		/* has unsubscribed */
};

struct channel_subscriber_ops {
	/* There are messages: channel_next(), channel_advance(). */
	enum channel_progress (*on_message)(struct channel_subscriber *s);
	/* It is unsubscribed already. */
	void (*on_drop)(struct channel_subscriber *s, enum channel_drop why);
};

struct channel_subscriber {
	struct list node;
	struct channel *channel;	/* NULL: not subscribed */
	struct channel_message *at;	/* has got everything up to this one; NULL: about to be dropped */
	const struct channel_subscriber_ops *ops;
	uint32_t limit;			/* what may wait for it, likewise */
	uint8_t drop;			/* enum channel_drop, while it is about to be */
};

/* Who waits for channels to catch up. */
struct channel_waiter {
	struct list node;
	void (*on_relief)(struct channel_waiter *w);
};

/* The way to everybody outside of this worker. */
struct channel_link {
	/* Never blocks.  0, or -errno: it reached nobody there. */
	int (*publish)(void *ctx, struct span name, bool is_text, struct span data);
	/* The first subscriber of the worker has come, or the last one has gone.  NULL is allowed. */
	void (*on_interest)(void *ctx, bool has_subscribers);
	void *ctx;
};

/* NULL without memory. */
struct channel_hub *channel_hub_new(void);
/* Nobody may be subscribed.  NULL is allowed. */
void channel_hub_free(struct channel_hub *hub);
/* In the worker.  `link`: copied; NULL: there is nobody else. */
void channel_hub_start(struct channel_hub *hub, struct loop *loop, const struct channel_link *link);
/* channel_lost() of all channels. */
void channel_hub_lost(struct channel_hub *hub);
/* True while a channel has not caught up. */
bool channel_hub_is_busy(const struct channel_hub *hub);
/*
 * Publishers are to wait, as if a channel had not caught up, until it is released as often; what comes from elsewhere is
 * taken all the same.
 */
void channel_hub_hold(struct channel_hub *hub);
void channel_hub_release(struct channel_hub *hub);
/* May publishers go on?  Else they wait. */
bool channel_hub_takes(const struct channel_hub *hub);
/* Once, when it is worth to look again; list_remove(&w->node) cancels it. */
void channel_hub_wait(struct channel_hub *hub, struct channel_waiter *w);

/* The channel of that name, made when it is new; it belongs to the hub.  NULL without memory. */
struct channel *channel_open(struct channel_hub *hub, struct span name);
/* One without a name, which only its maker knows and frees: nobody may be subscribed then.  NULL without memory. */
struct channel *channel_new(struct channel_hub *hub);
void channel_free(struct channel *ch);
struct span channel_name(const struct channel *ch);
struct channel_hub *channel_hub_of(const struct channel *ch);

/* One reference, the caller's.  `data` is copied; NULL leaves the bytes to be filled in.  NULL without memory. */
struct channel_message *channel_message_new(bool is_text, const void *data, size_t len);

/* Empty, with room for that many bytes; to be put into a message's forms.  NULL without memory. */
struct channel_form *channel_form_new(size_t cap);

/*
 * To every subscriber, here and elsewhere; takes the reference, whatever becomes of it.  0; -EAGAIN: the others were
 * not reached, and nobody here has it either, so that it can be told to the publisher.
 */
int channel_publish(struct channel *ch, struct channel_message *m);
/* What somebody else published: for the subscribers here only.  `data` is copied.  0 or -ENOMEM. */
int channel_deliver(struct channel *ch, bool is_text, struct span data);
/* Likewise, of the channel with that name; unknown ones are ignored. */
int channel_receive(struct channel_hub *hub, struct span name, bool is_text, struct span data);
/* Drops every subscriber of the channel, in slices: messages for them were lost. */
void channel_lost(struct channel *ch);

/*
 * Somebody will subscribe who is told so before that: others who hear of it may publish at once, and what they publish has to
 * reach this worker.  channel_expect_end() after channel_subscribe(), or when nothing comes of it.
 */
void channel_expect(struct channel *ch);
void channel_expect_end(struct channel *ch);
/* From the next message on. */
void channel_subscribe(struct channel *ch, struct channel_subscriber *s, uint32_t limit,
		       const struct channel_subscriber_ops *ops);
/* Harmless when it is not subscribed. */
void channel_unsubscribe(struct channel_subscriber *s);
/* Within on_message: the next message for it, NULL: none. */
static inline struct channel_message *channel_next(const struct channel_subscriber *s)
{
	return s->at->next;
}
/* Within on_message: it has got that one. */
static inline void channel_advance(struct channel_subscriber *s)
{
	s->at = s->at->next;
}
/* After CHANNEL_BLOCKED: it can take more. */
void channel_resume(struct channel_subscriber *s);

static inline bool channel_is_subscribed(const struct channel_subscriber *s)
{
	return s->channel != NULL;
}

#endif
