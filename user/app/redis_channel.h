/* SPDX-License-Identifier: MIT */
/*
 * Channels of a Redis server: one connection and one subscription for each channel and worker, however many there are
 * who listen.  Knows nothing of HTTP: routes with `redis` listen, and so may whatever else wants messages of a channel
 * on all workers and hosts.
 *
 *   redis_subscribe --> on_live(true) --> on_message ... --> on_live(false), lost --> on_live(true) ...
 *                                                      \--> redis_unsubscribe, at any time
 *
 * Messages that are published while the connection is lost are not seen by anybody here: that is what Redis promises.
 */
#ifndef SLUICE_APP_REDIS_CHANNEL_H
#define SLUICE_APP_REDIS_CHANNEL_H

#include "app/redis_server.h"
#include "base/hold.h"

#define REDIS_MESSAGE_FORMS 2

struct redis_message {		/* borrowed for the call */
	struct span pattern;	/* ptr NULL: not by a pattern */
	struct span channel, payload;
	/* What a listener made of it, for others of its kind; each hold is let go behind the last of them. */
	struct redis_form {
		struct hold *hold;	/* NULL: nothing yet */
		const void *kind;
	} forms[REDIS_MESSAGE_FORMS];
};

struct redis_hub;
struct redis_channel;

struct redis_subscriber {	/* embedded by whoever listens, zeroed before its first use */
	void (*on_message)(struct redis_subscriber *s, struct redis_message *m);
	/* The server has taken the subscription; or the connection is lost, or could not be made, and is tried again. */
	void (*on_live)(struct redis_subscriber *s, bool is_live);
	/* private */
	struct list node;
	struct redis_channel *channel;	/* NULL: does not listen */
};

/* The server must outlive it.  0 or -ENOMEM. */
int redis_hub_new(struct redis_server *server, struct redis_hub **ret_hub);
/* NULL is allowed. */
void redis_hub_free(struct redis_hub *h);
/* After redis_server_start. */
void redis_hub_start(struct redis_hub *h);
/* Before redis_server_stop; nobody may listen any more. */
void redis_hub_stop(struct redis_hub *h);

/* *ret_is_live: it is subscribed to already, on_live does not come.  Callbacks never before it returns.  0 or -ENOMEM. */
int redis_subscribe(struct redis_hub *h, struct redis_subscriber *s, struct span name, bool is_pattern, bool *ret_is_live);
/* Nothing more is read for anybody here, until resumed as often: for who has not caught up with what came. */
void redis_hub_pause(struct redis_hub *h);
void redis_hub_resume(struct redis_hub *h);
/* Harmless when it does not listen. */
void redis_unsubscribe(struct redis_subscriber *s);
/* Of one that listens: to what. */
struct span redis_subscriber_name(const struct redis_subscriber *s);

#endif
