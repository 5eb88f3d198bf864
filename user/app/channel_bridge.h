/* SPDX-License-Identifier: MIT */
/*
 * Channels across hosts, by way of a Redis server: what is published here is published there (PUBLISH), and what other
 * hosts have published comes by a subscription.  Knows neither WebSockets nor the bus between the workers of a host.
 *
 *   published here --> this worker's subscribers
 *                 `--> the bus ----------> the other workers of this host
 *                 `--> PUBLISH --> Redis --> each worker of each other host: channel_deliver()
 *                                        `-> each worker of this host: dropped, it has been heard by the bus
 *
 * Each worker has its own subscription, from its start to its end, whether anybody listens or not: so a handshake that
 * was answered gets what is published from then on, no other worker has to be alive or awake for it, and none takes over
 * when one ends.  Nothing that came from there is ever published, so that no loop can be.
 *
 * It has two connections of its own: one that publishes, since over several the order would be lost, and one for all
 * subscriptions, so that what clients of a route subscribe to cannot end it.  Nothing is sent twice: a message whose
 * answer did not come may have been published all the same.
 *
 * Publishers wait while a lot is on its way to a server that answers.  While it does not, or is away, what is published
 * here stays on this host, and is counted; the others find out how much they have missed by the serial numbers of what
 * comes next (channel_peers.h).
 */
#ifndef SLUICE_APP_CHANNEL_BRIDGE_H
#define SLUICE_APP_CHANNEL_BRIDGE_H

#include "app/channel.h"
#include "app/redis_server.h"

/* Subscribers when messages of other hosts were lost, or may have been. */
enum channel_gap {
	CHANNEL_GAP_KEEP,	/* stay: they have not missed what was published on their host */
	CHANNEL_GAP_CLOSE,	/* are told, as when messages of other workers were lost */
};

struct channel_bridge;	/* of one server */

/* `opt`: of the server; its connections and its queue are the bridge's own.  0 or -ENOMEM. */
int channel_bridge_new(const struct redis_server_options *opt, struct channel_bridge **ret_bridge);
/* NULL is allowed. */
void channel_bridge_free(struct channel_bridge *b);
/* `ch` must outlive it; `topic`, copied: what the channel is called over there.  0 or -ENOMEM. */
int channel_bridge_add(struct channel_bridge *b, struct channel *ch, const char *topic, enum channel_gap gap);

struct channel_bridge_start {
	struct loop *loop;
	const struct upstream_table *table;
	struct stats_redis *redis_stats;
	struct stats_websocket *stats;
	struct channel_hub *channels;	/* started, that of all channels that were added */
	uint64_t host;			/* the same for all workers that hear each other without us, and for no others */
};

/* In the worker.  0 or -ENOMEM. */
int channel_bridge_start(struct channel_bridge *b, const struct channel_bridge_start *opt);
/* False: it has no such channel.  Whether it got there is only counted. */
bool channel_bridge_publish(struct channel_bridge *b, struct span name, bool is_text, struct span data);
/* What was published leaves before the connection closes.  Harmless when it was not started. */
void channel_bridge_stop(struct channel_bridge *b);

#endif
