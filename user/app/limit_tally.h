/* SPDX-License-Identifier: MIT */
/*
 * What other hosts have not been told yet of the clients that this one has admitted, and what follows from their answer.
 * Time is an argument; who tells them, and how, is not known here (limit_sync.h).
 *
 *   ring -> drain -> DUE --cut--> told, more may come in meanwhile --answer, lose--> DUE if so, else forgotten
 *
 * All hosts together keep for each client, where all can reach it, the time at which it will have paid for what it had
 * (GCRA, as in include/limits_shm.h).  A report says: so much was used, within that span.  It counts as used from the
 * beginning of the span on, since much of it may be paid by its end: a client that keeps to the rate never owes
 * anything for being reported late.  The answer says what the client owes all hosts together, and the client then owes
 * that much here too; what it owes here already is never taken away.
 *
 * What H hosts let a client have beyond its rate, in any span of time, is therefore at most H * burst + 2 * H * lag *
 * rate, where lag is the time from one report to the next plus the one for the answer: each host may have admitted a
 * burst that it has not reported, and is a lag behind in what it knows and in what it tells.
 * tests/unit/test_limit_tally.c tries to find more.
 */
#ifndef SLUICE_APP_LIMIT_TALLY_H
#define SLUICE_APP_LIMIT_TALLY_H

#include "base/list.h"
#include "base/pool.h"
#include "net/limit_share.h"

#define LIMIT_TALLY_BUCKETS  4096u
#define LIMIT_TALLY_MAX	     65536u	/* clients at a time */
#define LIMIT_TALLY_SPAN_MAX (10 * NS_PER_SEC)	/* of a report: what is older has been paid */

struct tally_client;

struct limit_tally {
	const struct limit_share *share;
	struct limit_table *table;
	struct pool clients;
	struct list buckets[LIMIT_TALLY_BUCKETS];
	struct list due;		/* the longest waiting first */
	uint64_t seed;			/* of the hash */
	uint64_t drained_ns;		/* the last time */
	uint64_t way_ns;		/* what it has lately taken from a cut to the answer, at most */
};

/* A client, as the others are told of it. */
struct limit_report {
	struct tally_client *client;
	struct limit_client address;
	uint32_t zone;
	uint64_t used_us, span_us;
	uint64_t most_us;		/* more than this it never owes */
};

/* `share` and `table` must outlive it. */
void limit_tally_init(struct limit_tally *t, const struct limit_share *share, struct limit_table *table,
		      uint64_t now_ns);
void limit_tally_fini(struct limit_tally *t);
/* Reads all rings. */
void limit_tally_drain(struct limit_tally *t, uint64_t now_ns);
/* The next client to be told of; one of the next two ends it.  False: there is none. */
bool limit_tally_cut(struct limit_tally *t, uint64_t now_ns, struct limit_report *ret_report);
/* It owes `debt_us` (below zero: it is that far from owing anything), some time after the cut.  Drain before it. */
void limit_tally_answer(struct limit_tally *t, const struct limit_report *r, int64_t debt_us, uint64_t now_ns);
/* Nobody knows whether the others have heard of it.  It is not told again, lest it count twice. */
void limit_tally_lose(struct limit_tally *t, const struct limit_report *r);
/* Nobody can be told: what is due is forgotten, or a client would pay later for what each host let it have meanwhile. */
void limit_tally_forget(struct limit_tally *t);

static inline void limit_share_count(uint64_t *counter, uint64_t count)
{
	__atomic_fetch_add(counter, count, __ATOMIC_RELAXED);
}

#endif
