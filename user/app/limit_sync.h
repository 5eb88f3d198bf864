/* SPDX-License-Identifier: MIT */
/*
 * Rates of clients that several hosts share, by a Redis server: what was admitted here is told there at a steady pace,
 * and what a client owes all hosts together comes back (limit_tally.h).  No request waits for any of it.
 *
 *   NEW --an answer--> KNOWN <--an answer-- UNKNOWN
 *    `--none in time, or an error--> UNKNOWN <--likewise-- KNOWN
 *
 * While it is UNKNOWN what others let clients have, nobody is told either: each host counts for itself, or refuses, as
 * its workers are told by limit_share_header.  One process of a host does this, since all its workers have one table.
 *
 * A client of a rate is one key, PREFIX ZONE ":" ADDRESS: the time by Redis's own clock at which it will have paid, in
 * microseconds.  It expires when that is long past.  A script changes it, so that no two hosts read the same.
 */
#ifndef SLUICE_APP_LIMIT_SYNC_H
#define SLUICE_APP_LIMIT_SYNC_H

#include "app/redis_server.h"
#include "net/limit_share.h"

#define LIMIT_SYNC_PREFIX_MAX 64u

struct limit_sync_options {
	const struct redis_server_options *redis;	/* texts are copied */
	const struct upstream_table *upstreams;
	struct limit_share *share;
	struct limit_table *table;
	const char *prefix;		/* of keys; at most LIMIT_SYNC_PREFIX_MAX */
	uint64_t every_ms;
	bool is_open;			/* for the log: what unknown means */
};

struct limit_sync;

/* An answer counts for so long: then it is known that the sharer stands still, or is gone. */
static inline uint64_t limit_sync_lease_ns(uint64_t timeout_ms, uint64_t every_ms)
{
	return 2 * (timeout_ms + every_ms) * NS_PER_MS;
}

/* Starts on that loop; what the options point at must outlive it, but for texts.  0 or -ENOMEM. */
int limit_sync_new(struct loop *loop, const struct limit_sync_options *opt, struct limit_sync **ret_sync);
/* Nothing more comes from the workers: calls back, perhaps at once, when all of it is told, or cannot be. */
void limit_sync_leave(struct limit_sync *s, void (*on_left)(void *ctx), void *ctx);
/* NULL is allowed. */
void limit_sync_free(struct limit_sync *s);

#endif
