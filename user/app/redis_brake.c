/* SPDX-License-Identifier: MIT */
/* Messages that come faster than they can be passed on; see redis_brake.h. */
#include "app/redis_brake.h"

#include "base/err.h"

static void on_relief(struct channel_waiter *w)
{
	redis_brake_stop(container_of(w, struct redis_brake, waiter));
}

void redis_brake_init(struct redis_brake *b, struct redis_hub *hub, struct channel_hub *channels)
{
	*b = (struct redis_brake){ .hub = hub, .channels = channels, .waiter.on_relief = on_relief };
	list_init(&b->waiter.node);
}

void redis_brake_check(struct redis_brake *b)
{
	if (b->is_on || !channel_hub_is_busy(b->channels))
		return;
	b->is_on = true;
	redis_hub_pause(b->hub);
	channel_hub_wait(b->channels, &b->waiter);
}

void redis_brake_stop(struct redis_brake *b)
{
	list_remove(&b->waiter.node);
	if (b->is_on)
		redis_hub_resume(b->hub);
	b->is_on = false;
}
