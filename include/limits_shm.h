/* SPDX-License-Identifier: MIT */
/*
 * The tables of clients: anonymous shared memory that the master makes before it forks, in which all workers count together
 * how often a client asks and how many connections it has.
 *
 * A hash table of fixed size: the hash of a client names one set, which is one cache line, and the entry is one of its
 * ways.  An entry is a single 64-bit word, tag of the client and value, and changes by compare-and-swap only.  So whoever
 * is killed at any point leaves a whole entry behind, and nobody ever waits for anybody.
 *
 *   entry   | tag 24 | value 40 |           0: never used
 *   claim   | tag 24 | way 3 | number 37 |  tag 0: nobody is being entered
 *
 * A client enters a set in two steps, so that it never stands there twice, which would double its limit: its tag and the
 * way it takes are claimed, then the entry is written and the claim taken back, by whoever comes by first.  Each claim
 * has a number: one made after a look that is no longer true fails.
 *
 * Value of a rate: the time at which the client will have paid for what it had (GCRA), in units of 100 ns, the low 40 bits
 * of CLOCK_MONOTONIC: 30 hours.  Tokens and time are one number.  A time in the past is a full bucket, so who has waited
 * longest is forgotten first, at no loss.  The master sees to it that none gets so old that it would come round again as
 * one in the future.  Value of a count: connections, and a version that no two changes share.
 */
#ifndef SLUICE_LIMITS_SHM_H
#define SLUICE_LIMITS_SHM_H

#include <stdint.h>

#define LIMIT_WAYS	 7u
#define LIMIT_VALUE_BITS 40
#define LIMIT_VALUE_MASK ((UINT64_C(1) << LIMIT_VALUE_BITS) - 1)
#define LIMIT_COUNT_BITS 20
#define LIMIT_COUNT_MASK ((UINT64_C(1) << LIMIT_COUNT_BITS) - 1)
#define LIMIT_WAY_SHIFT	 37
#define LIMIT_UNIT_NS	 100u
#define LIMIT_HOUR	 UINT64_C(36000000000)	/* units */
/* The longest window of a rate.  With the slack of clocks it stays below half of what a value can tell apart. */
#define LIMIT_WINDOW_MAX (12 * LIMIT_HOUR)
/* Workers take the time once a turn: one that was stopped in the middle of a turn is behind the others. */
#define LIMIT_SLACK	 (LIMIT_HOUR / 6)

struct limit_set {
	uint64_t claim;			/* [W] atomic */
	uint64_t entries[LIMIT_WAYS];	/* [W] atomic */
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct limit_set) == 64, "one cache line");

/*
 * Limits that several hosts share: each worker writes down whom it has admitted, in a ring of its own, and a process of
 * the host, the sharer [S], tells the others.  Rings belong to a generation and outlive their worker.
 */
#define LIMIT_RING_SIZE 8192u	/* a power of two; 160,000 requests a second for a sharer that looks every 50 ms */

struct limit_use {
	uint64_t network;		/* struct limit_client */
	uint32_t family;
	uint32_t rate;			/* its number among those of the generation */
};

struct limit_ring {
	uint32_t head __attribute__((aligned(64)));	/* [W] uses so far, low bits */
	uint32_t tail __attribute__((aligned(64)));	/* [S] those of them that were read */
	struct limit_use uses[LIMIT_RING_SIZE] __attribute__((aligned(64)));
};

struct limit_share_header {		/* [S] atomic */
	/* CLOCK_MONOTONIC: until then it counts as known what other hosts let a client have.  0: it is not. */
	uint64_t known_until_ns;
	uint64_t round_trip_ns;		/* of the last report */
} __attribute__((aligned(64)));

/* What became of that, over all generations that have the table; by the sharer, untold by workers too. */
#define LIMIT_SHARE_COUNTS(X)                                                                      \
	X(reports)		/* times the others were told of a client, and answered */         \
	X(raised)		/* those after which a client owed more here: others let it have something */ \
	X(untold)		/* admitted requests that the others never hear of */              \
	X(failures)		/* commands without answer, or with an error */                    \
	X(connects)		/* connections made */                                             \
	X(connect_failures)	/* not made, or not taken into use */

struct limit_share_counts {		/* atomic */
#define X(name) uint64_t name;
	LIMIT_SHARE_COUNTS(X)
#undef X
};

struct limit_header {
	uint8_t secret[192];		/* [M] of the hash: who does not know it cannot aim at the set of another client */
	uint64_t id;			/* [M] of this table, not 0 */
	uint64_t connections __attribute__((aligned(64)));	/* [W] atomic: open connections of all workers */
	uint64_t evicted;		/* [W] atomic: clients that owed and were forgotten, for want of room */
	uint64_t untracked;		/* [W] atomic: connections not counted for their client, for want of room */
	struct limit_share_counts share __attribute__((aligned(64)));
};

/* What a client owes at `now`: 0 to `most`, the bucket and what other hosts may have added; more if clocks differ. */
static inline uint64_t limit_debt(uint64_t value, uint64_t now, uint64_t most)
{
	uint64_t debt = (value - now) & LIMIT_VALUE_MASK;

	/* Further ahead than anybody can be: a time in the past, or one from before the counter wrapped. */
	return debt > most + LIMIT_SLACK ? 0 : debt;
}

/*
 * One request more, each of which costs `interval`, in a bucket of `window`.  Admitted: returns 0 and *ret_value is to be
 * stored.  Otherwise how long (units) until one would be.
 */
static inline uint64_t limit_take(uint64_t value, uint64_t now, uint64_t interval, uint64_t window, uint64_t most,
				  uint64_t *ret_value)
{
	uint64_t debt = limit_debt(value, now, most) + interval;

	if (debt > window)
		return debt - window;
	*ret_value = (now + debt) & LIMIT_VALUE_MASK;
	return 0;
}

#endif
