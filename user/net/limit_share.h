/* SPDX-License-Identifier: MIT */
/*
 * What a host tells others of the clients it has admitted: the memory that the workers of a generation share with its
 * sharer, see include/limits_shm.h.  Knows nobody who could be told.
 */
#ifndef SLUICE_NET_LIMIT_SHARE_H
#define SLUICE_NET_LIMIT_SHARE_H

#include "net/limit_table.h"

struct limit_share {			/* private to each process; the memory is shared */
	struct limit_share_header *header;	/* NULL: there is none */
	struct limit_ring *rings;	/* of each worker */
	unsigned worker_count;
	struct limit_rate *rates;	/* a copy of those of the generation, by their numbers */
	unsigned rate_count;
	size_t size;			/* bytes of the shared memory */
};

/* A worker's part in it. */
struct limit_post {
	struct limit_ring *ring;	/* NULL: nobody is told */
	const uint64_t *known_until_ns;	/* NULL: whatever others let a client have, it may have it here too */
	uint64_t *untold;
};

/* What is known counts as known until `known_until_ns`, unless the sharer says otherwise.  0 or -ENOMEM. */
int limit_share_open(struct limit_share *s, const struct limit_rate *rates, unsigned rate_count, unsigned worker_count,
		     uint64_t known_until_ns);
/* Harmless when never opened. */
void limit_share_close(struct limit_share *s);
/* `is_open`: without word of other hosts clients are admitted all the same.  A share without memory: no ring. */
struct limit_post limit_share_post(const struct limit_share *s, struct limit_table *t, unsigned worker, bool is_open);

/* Is it known what other hosts let clients have, or of no importance? */
static inline bool limit_post_is_well(const struct limit_post *p, uint64_t now_ns)
{
	return !p->known_until_ns || now_ns < __atomic_load_n(p->known_until_ns, __ATOMIC_RELAXED);
}

/* The client has been admitted.  Never waits: what finds no room is not told. */
static inline void limit_post_put(const struct limit_post *p, const struct limit_rate *rate, struct limit_client client)
{
	struct limit_ring *r = p->ring;
	uint32_t head = r->head;

	if (head - __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE) >= LIMIT_RING_SIZE) {
		__atomic_fetch_add(p->untold, 1, __ATOMIC_RELAXED);
		return;
	}
	r->uses[head % LIMIT_RING_SIZE] = (struct limit_use){ client.network, client.family, rate->number };
	/* Who is killed here has told all of it, or nothing. */
	__atomic_store_n(&r->head, head + 1, __ATOMIC_RELEASE);
}

/* For the sharer: the next use of that ring; false: there is none. */
bool limit_ring_take(struct limit_ring *r, struct limit_use *ret_use);

#endif
