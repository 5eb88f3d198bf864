/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The steering policies: (slots, weights, config, hash, cpu, turn, now) -> slot.  Pure; the BPF
 * program, the unit tests and the simulator compile this same text.  It reads the shared lines,
 * calls nothing and changes nothing.
 *
 *   hash      at random by the connection's hash, in proportion to the weights
 *   least     the least load for its weight
 *   rr        each slot in its turn; of the weights only 0 counts
 *   p2c       the least load for its weight among `choices` slots drawn at random
 *   weighted  in turn as rr, each slot as often as its weight says; no load is looked at
 *   cpu       as least, but a slot of the receiving CPU counts as `band` connections lighter
 *   busy      the fewest pending events for its weight; among equals the fewest connections
 *
 * None chooses a slot that is down, drained (weight 0) or stalled.
 *
 * Why it looks the way it does: the verifier follows each branch of each slot of the scan, so
 * comparisons are made without branches, on sign bits: steer_neg(a - b) is all ones when a < b.
 * Contents written by hand may be nonsense: the result is then a poor choice or none, never an
 * access out of bounds.
 *
 * Before this file: fixed-width types and steer_shared.h.
 */
#ifndef SLUICE_STEER_POLICY_H
#define SLUICE_STEER_POLICY_H

#include "steer_score.h"

/*
 * How slot i and its weight are reached.  Ordinary arrays here; the BPF program defines its own
 * before it includes this file, by map lookups, which give NULL beyond the map's end, and a number
 * of slots that the loader has fixed.
 */
#ifndef STEER_SLOT_AT
#define STEER_SLOT_COUNT(config)    ((config)->slot_count)
#define STEER_SLOT_AT(slots, i)	    (&(slots)[i])
#define STEER_WEIGHT_AT(weights, i) (&(weights)[i])
#endif

enum steer_pick_error {
	STEER_PICK_NONE = -1, /* no slot may be chosen */
	STEER_PICK_BAD = -2,  /* unusable configuration */
};

/* The score that is best so far, and its slot's weight. */
struct steer_best {
	__s64 score, weight;
};

/*
 * Slot i is the best when its score for its weight is less.  score / weight < best / best_weight is
 * compared crosswise, which a division per slot would be too slow for: below 2^51 * 1000 < 2^61.
 */
static inline __attribute__((always_inline)) void
steer_consider(struct steer_best *best, const struct steer_slot *slot, __u32 weight, __u32 i,
	       const struct steer_scan *scan, enum steer_rule rule)
{
	__s64 w = steer_weight_now(slot, weight, scan);
	__s64 score = steer_score(slot, i, w, scan, rule);
	__s64 take = steer_neg((score * best->weight - best->score * w) & -w);

	best->score ^= (best->score ^ score) & take;
	best->weight ^= (best->weight ^ w) & take;
}

static inline __attribute__((always_inline)) int steer_best_slot(const struct steer_best *best,
								 const struct steer_scan *scan)
{
	if (best->score == STEER_SCORE_END)
		return STEER_PICK_NONE;
	return steer_lot_slot(best->score, scan->hash);
}

static inline __attribute__((always_inline)) int steer_pick_uneven(const void *slots,
								   const void *weights,
								   const struct steer_scan *scan,
								   enum steer_rule rule)
{
	struct steer_best best = {STEER_SCORE_END, 1};

	for (__u32 i = 0; i < scan->count; i++) {
		const struct steer_slot *slot = STEER_SLOT_AT((const struct steer_slot *)slots, i);
		const __u32 *weight = STEER_WEIGHT_AT((const __u32 *)weights, i);

		if (!slot || !weight)
			return STEER_PICK_BAD;
		steer_consider(&best, slot, *weight, i, scan, rule);
	}
	return steer_best_slot(&best, scan);
}

/* The least score for its weight.  Slots of default weight, which are the rule, are compared in
 * half the time; on meeting another, the scan is made anew. */
static inline __attribute__((always_inline)) int steer_pick_least(const void *slots,
								  const void *weights,
								  const struct steer_scan *scan,
								  enum steer_rule rule)
{
	struct steer_best best = {STEER_SCORE_END, 1};
	__u32 odd = 0;

	for (__u32 i = 0; i < scan->count; i++) {
		const struct steer_slot *slot = STEER_SLOT_AT((const struct steer_slot *)slots, i);
		const __u32 *weight = STEER_WEIGHT_AT((const __u32 *)weights, i);
		__s64 less;

		if (!slot || !weight)
			return STEER_PICK_BAD;
		odd |= *weight ^ STEER_DEFAULT_WEIGHT;
		less = steer_score(slot, i, STEER_DEFAULT_WEIGHT, scan, rule) - best.score;
		best.score += less & steer_neg(less & steer_may_choose(slot, scan));
	}
	if (odd)
		return steer_pick_uneven(slots, weights, scan, rule);
	return steer_best_slot(&best, scan);
}

/*
 * `choices` slots at random, looked at in steps of a random length, so that two are never the same.
 * When none of them may be chosen all are looked at.
 */
static inline __attribute__((always_inline)) int
steer_pick_p2c(const void *slots, const void *weights, const struct steer_scan *scan, __u32 choices)
{
	struct steer_best best = {STEER_SCORE_END, 1};
	__u32 at = (__u32)((__u64)steer_draw(scan->hash, ~0u) * scan->count >> 32);
	__u32 step = (__u32)((__u64)steer_draw(scan->hash, ~1u) * (scan->count - 1) >> 32) + 1;

	if (choices == 0 || choices > STEER_MAX_CHOICES)
		choices = STEER_DEFAULT_CHOICES;
	for (__u32 n = 0; n < choices && n < STEER_MAX_CHOICES; n++) {
		const struct steer_slot *slot = STEER_SLOT_AT((const struct steer_slot *)slots, at);
		const __u32 *weight = STEER_WEIGHT_AT((const __u32 *)weights, at);

		if (!slot || !weight)
			return STEER_PICK_BAD;
		steer_consider(&best, slot, *weight, at, scan, STEER_BY_LOAD);
		at = (at + step) % scan->count;
	}
	if (best.score != STEER_SCORE_END)
		return steer_best_slot(&best, scan);
	return steer_pick_uneven(slots, weights, scan, STEER_BY_LOAD);
}

/*
 * A slot at random, each as likely as its weight, in one pass (a reservoir of one): slot i replaces
 * the one held with probability weight / (sum of the weights so far).
 */
static inline __attribute__((always_inline)) int
steer_pick_hash(const void *slots, const void *weights, const struct steer_scan *scan)
{
	__s64 sum = 0, held = STEER_PICK_NONE;

	for (__u32 i = 0; i < scan->count; i++) {
		const struct steer_slot *slot = STEER_SLOT_AT((const struct steer_slot *)slots, i);
		const __u32 *weight = STEER_WEIGHT_AT((const __u32 *)weights, i);
		__s64 w, take;

		if (!slot || !weight)
			return STEER_PICK_BAD;
		w = steer_weight_now(slot, *weight, scan);
		sum += w;
		take = steer_neg((__s64)((__u64)sum * steer_draw(scan->hash, i) >> 32) - w);
		/* A product: of a mask and a known number verifiers from 6.18 on follow both
		 * values. */
		held -= ((__s64)i - held) * take;
	}
	return (int)held;
}

/*
 * The slots end to end on a line, each as long as its share; returns the line's length.  ret_i: the
 * slot at place `at`, or the last one before it, should the line have become shorter meanwhile.
 */
static inline __attribute__((always_inline)) __s64
steer_line(const void *slots, const void *weights, const struct steer_scan *scan, __s64 share_max,
	   __s64 at, __s64 *ret_i)
{
	__s64 length = 0, held = STEER_PICK_NONE;

	*ret_i = held;
	for (__u32 i = 0; i < scan->count; i++) {
		const struct steer_slot *slot = STEER_SLOT_AT((const struct steer_slot *)slots, i);
		const __u32 *weight = STEER_WEIGHT_AT((const __u32 *)weights, i);
		__s64 share, take;

		if (!slot || !weight)
			return 0;
		share = steer_min(steer_weight_now(slot, *weight, scan), share_max);
		take = steer_neg(length - 1 - at) & steer_neg(-share);
		held -= ((__s64)i - held) * take; /* see steer_pick_hash */
		length += share;
	}
	*ret_i = held;
	return length;
}

/*
 * The slot whose turn it is.  With shares of 1 the turns go round; other shares are gone through in
 * steps of the golden ratio, which spreads each slot's turns as evenly as can be, with no state but
 * the number of the turn.
 */
static inline __attribute__((always_inline)) int steer_pick_turn(const void *slots,
								 const void *weights,
								 const struct steer_scan *scan,
								 __u32 turn, __s64 share_max)
{
	__s64 i, at;
	__u64 length = (__u64)steer_line(slots, weights, scan, share_max, 0, &i);

	length = steer_forget(length, scan->now_ns);
	if (length == 0)
		return STEER_PICK_NONE;
	if (share_max == 1)
		at = (__s64)(turn % length);
	else
		at = (__s64)((turn * 0x9e3779b9u) * length >> 32);
	steer_line(slots, weights, scan, share_max, at, &i);
	return (int)i;
}

/* Does the policy want a number of its own for each connection, one more than the last? */
static inline __attribute__((always_inline)) int steer_takes_turns(__u32 policy)
{
	return policy == STEER_RR || policy == STEER_WEIGHTED;
}

/*
 * Slot for a new connection, or enum steer_pick_error.  `hash` is the connection's, `cpu` the one
 * that received it, `turn` its number where steer_takes_turns(), `now_ns` CLOCK_MONOTONIC.
 */
static inline __attribute__((always_inline)) int steer_pick(const void *slots, const void *weights,
							    const struct steer_config *config,
							    __u32 hash, __u32 cpu, __u32 turn,
							    __u64 now_ns)
{
	struct steer_scan scan = steer_scan_of(config, hash, cpu, now_ns);

	scan.count = STEER_SLOT_COUNT(config);
	if (config->slot_count != scan.count || scan.count == 0 || scan.count > STEER_MAX_SLOTS)
		return STEER_PICK_BAD;
	switch (config->policy) {
	case STEER_HASH:
		return steer_pick_hash(slots, weights, &scan);
	case STEER_LEAST:
		return steer_pick_least(slots, weights, &scan, STEER_BY_LOAD);
	case STEER_RR:
		return steer_pick_turn(slots, weights, &scan, turn, 1);
	case STEER_P2C:
		return steer_pick_p2c(slots, weights, &scan, config->choices);
	case STEER_WEIGHTED:
		return steer_pick_turn(slots, weights, &scan, turn, STEER_MAX_WEIGHT);
	case STEER_CPU:
		return steer_pick_least(slots, weights, &scan, STEER_BY_HOME);
	case STEER_BUSY:
		return steer_pick_least(slots, weights, &scan, STEER_BY_WORK);
	default:
		return STEER_PICK_BAD;
	}
}

#endif
