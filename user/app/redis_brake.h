/* SPDX-License-Identifier: MIT */
/*
 * Between the messages of a Redis server and the channels they are passed on to: nothing more is read from the server while
 * the channels have not caught up.  What waits then waits over there, and is bounded by the server's own limits.
 */
#ifndef SLUICE_APP_REDIS_BRAKE_H
#define SLUICE_APP_REDIS_BRAKE_H

#include "app/channel.h"
#include "app/redis_channel.h"

struct redis_brake {
	struct redis_hub *hub;
	struct channel_hub *channels;
	struct channel_waiter waiter;
	bool is_on;
};

/* Both outlive it. */
void redis_brake_init(struct redis_brake *b, struct redis_hub *hub, struct channel_hub *channels);
/* To be asked behind each message that was passed on. */
void redis_brake_check(struct redis_brake *b);
/* It lets go, and waits for nothing any more.  Harmless when it does not. */
void redis_brake_stop(struct redis_brake *b);

#endif
