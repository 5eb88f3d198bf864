/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the policies measure a slot by: may it be chosen, what does it carry.  Pure; widths stand
 * beside the values, as they must stay below 2^62 where they are subtracted.
 *
 * Before this file: fixed-width types and steer_shared.h.
 */
#ifndef SLUICE_STEER_SCORE_H
#define SLUICE_STEER_SCORE_H

#include "steer_resv.h"

/*
 * `stall` when it is off.  Half of what a signed word holds: the program's coarse clock lags behind the stamps, so a
 * stamp may lie ahead of it, and their distance is added to this.
 */
#define STEER_NEVER_NS (1ull << 62)

/* How a score is made; a constant wherever the program uses it. */
enum steer_rule {
	STEER_BY_LOAD, /* connections and reservations, pending events by their weight */
	STEER_BY_HOME, /* the same, less the band where the slot is of the receiving CPU */
	STEER_BY_WORK, /* pending events and reservations; among equals by connections */
};

/* Above every score. */
#define STEER_SCORE_END (1ll << 51)

/* What of the configuration one scan needs, worked out once. */
struct steer_scan {
	__u32 count;
	__u32 epoch;
	__u32 resv_mask; /* 0 when reservations are off */
	__u32 hash;
	__u32 cpu;
	__u32 pending_weight;
	__s64 band; /* score of the band for each unit of weight */
	__u64 now_ns;
	__u64 deadline_ns; /* a stamp before it is too old */
};

/* 1 for 0, else 0. */
static inline __attribute__((always_inline)) __u64 steer_is_zero(__u64 value)
{
	return (__u64)(1 + steer_neg((__s64)(value | -value)));
}

/* Without branches too: each would double the states in which the verifier walks the scan. */
static inline __attribute__((always_inline)) struct steer_scan
steer_scan_of(const struct steer_config *config, __u32 hash, __u32 cpu, __u64 now_ns)
{
	__u64 no_bucket = steer_is_zero(config->bucket_ns);
	__u64 stall_ns = config->stall_ns - steer_is_zero(config->stall_ns);
	__s64 is_off = steer_neg((__s64)(stall_ns | stall_ns << 1)); /* 2^62 and more, and 0 */

	return (struct steer_scan){
		.count = config->slot_count,
		.epoch = steer_epoch(now_ns, config->bucket_ns + no_bucket),
		.resv_mask = (__u32)no_bucket - 1,
		.hash = hash,
		.cpu = cpu,
		.pending_weight =
			(__u32)steer_min(config->pending_weight, STEER_MAX_PENDING_WEIGHT),
		/* rounded up, so that a default weight gives back the very band */
		.band = (__s64)((__u64)((steer_min(config->band, STEER_MAX_BAND) << 16) +
					STEER_DEFAULT_WEIGHT - 1) /
				STEER_DEFAULT_WEIGHT),
		.now_ns = now_ns,
		.deadline_ns = now_ns - (stall_ns ^ ((stall_ns ^ STEER_NEVER_NS) & (__u64)is_off)),
	};
}

/*
 * The same value, of which the verifier no longer knows the range, as it does not know `unknown`:
 * what follows is then walked once, not once for each way that led there.
 */
static inline __attribute__((always_inline)) __u64 steer_forget(__u64 value, __u64 unknown)
{
	value ^= unknown;
	STEER_OPAQUE(value);
	return value ^ unknown;
}

/*
 * Negative when the slot is stalled: its stamp is too old while the worker is not waiting in
 * epoll_wait.  An idle worker's stamp is old and says nothing.  Reservations prove nothing either
 * (a spoofed SYN never wakes the worker), so a worker stopped in its sleep is held back by its
 * score, as nobody cancels its reservations, until the master sees that its queue stays filled and
 * writes 0 to is_waiting.
 */
static inline __attribute__((always_inline)) __s64 steer_stalled(const struct steer_slot *slot,
								 const struct steer_scan *scan)
{
	__s64 late = (__s64)(slot->stamp_ns - scan->deadline_ns);
	__s64 busy = (__s64)slot->is_waiting - 1;

	return late & busy;
}

/* Negative when the slot is neither down nor stalled. */
static inline __attribute__((always_inline)) __s64 steer_may_choose(const struct steer_slot *slot,
								    const struct steer_scan *scan)
{
	return -(__s64)slot->is_up & ~steer_stalled(slot, scan);
}

/*
 * Weight of a slot, 0 to STEER_MAX_WEIGHT, and 0 also where it must not be chosen: down, or
 * stalled.
 */
static inline __attribute__((always_inline)) __s64
steer_weight_now(const struct steer_slot *slot, __u32 weight, const struct steer_scan *scan)
{
	__s64 w = steer_min(weight, STEER_MAX_WEIGHT);

	return w & steer_neg(steer_may_choose(slot, scan));
}

/* 32 bits that look independent from slot to slot. */
static inline __attribute__((always_inline)) __u32 steer_draw(__u32 hash, __u32 i)
{
	hash = (hash ^ i * 0x9e3779b1u) * 0x85ebca6bu;
	return (hash ^ hash >> 15) * 0xc2b2ae35u;
}

/*
 * How equal scores are told apart, in 16 bits: 8 drawn from the hash, and below them the slot
 * itself, its number turned by the hash.  No slot is favoured, whatever the places of the others,
 * and the winner's number is got back from its score.
 */
static inline __attribute__((always_inline)) __u64 steer_lot(__u32 hash, __u32 i)
{
	__u64 drawn;

	/* A product costs less than the register that its running sum would take from the scan. */
	STEER_OPAQUE(i);
	drawn = (hash ^ i * 0x9e3779b1u) * 0x9e3779b97f4a7c15ull;

	return (drawn >> 56 << 8) | ((hash + i) & 0xff);
}

static inline __attribute__((always_inline)) int steer_lot_slot(__s64 score, __u32 hash)
{
	return (int)(((__u32)score - hash) & 0xff);
}

/* The reservation word in one load: field by field it could tear. */
static inline __attribute__((always_inline)) __u32 steer_reserved_now(const struct steer_slot *slot,
								      const struct steer_scan *scan)
{
	union steer_resv_word w = {.word = *(const volatile __u64 *)&slot->resv};

	return steer_resv_count(w.resv, scan->epoch) & scan->resv_mask;
}

/* Connections the slot will have with this one, and its backlog of work: below 2^33. */
static inline __attribute__((always_inline)) __u64 steer_load_of(const struct steer_slot *slot,
								 const struct steer_scan *scan)
{
	__u32 resv = steer_reserved_now(slot, scan);
	__u64 work = (__u64)(slot->pending & 0xffff) * scan->pending_weight;

	return 1ull + slot->live + resv + work;
}

/*
 * The cascade in one number: events first, connections behind them, below 2^35.  A reservation is
 * an event that is about to come: without it a burst would all go to the slot with nothing to do.
 */
static inline __attribute__((always_inline)) __u64 steer_work_of(const struct steer_slot *slot,
								 const struct steer_scan *scan)
{
	__u64 resv = steer_reserved_now(slot, scan);
	__s64 live = steer_min((__s64)(1 + slot->live + resv), 0xfffff);
	__s64 events = steer_min((__s64)(slot->pending + resv), 0x7fff);

	return (__u64)(events << 20 | live);
}

/*
 * The score in units of 1/65536 connection, the fraction from the lot.  The band is in connections
 * of a slot of default weight: less than it, a slot of the receiving CPU is not heavier than
 * another.
 */
static inline __attribute__((always_inline)) __s64 steer_score(const struct steer_slot *slot,
							       __u32 i, __s64 weight,
							       const struct steer_scan *scan,
							       enum steer_rule rule)
{
	__u64 load = rule == STEER_BY_WORK ? steer_work_of(slot, scan) : steer_load_of(slot, scan);
	__s64 score = (__s64)(load << 16 | steer_lot(scan->hash, i));
	__s64 away;

	if (rule != STEER_BY_HOME)
		return score;
	away = steer_neg(-(__s64)(slot->cpu ^ scan->cpu));
	return score - (scan->band * weight & ~away & ~0xffffll);
}

_Static_assert(STEER_MAX_SLOTS <= 256, "a slot's number has 8 bits of the score");

#endif
