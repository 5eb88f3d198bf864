/* SPDX-License-Identifier: MIT */
/*
 * Why the next connection goes where it goes: the very policy function on a copy of the maps, asked
 * many times, and what it measures each slot by.
 */
#include "net/steer_impl.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "steer_policy.h"

struct copy {
	struct steer_config config;
	struct steer_slot slots[STEER_MAX_SLOTS];
	uint32_t weights[STEER_MAX_SLOTS];
};

/* Workers and programs go on writing: whatever was there at one moment is a fair sample. */
static void take_copy(const struct steer *s, struct copy *c)
{
	memcpy(&c->config, s->config, sizeof(c->config));
	memcpy(c->slots, s->slots, s->slot_count * sizeof(*c->slots));
	for (unsigned i = 0; i < s->slot_count; i++)
		c->weights[i] = steer_weight(s, i);
	/* The program refuses another number than that it was loaded for. */
	if (c->config.slot_count != s->slot_count)
		c->config.slot_count = 0;
}

static double score_of(const struct steer_slot *slot, uint32_t weight,
		       const struct steer_scan *scan, enum steer_policy_id policy)
{
	double share = MIN(weight, STEER_MAX_WEIGHT) / (double)STEER_DEFAULT_WEIGHT;
	uint64_t work;

	if (weight == 0)
		return -1;
	switch (policy) {
	case STEER_LEAST:
	case STEER_P2C:
	case STEER_CPU:
		return (double)steer_load_of(slot, scan) / share;
	case STEER_BUSY:
		work = steer_work_of(slot, scan);
		return ((double)(work >> 20) + (double)(work & 0xfffff) / 1e6) / share;
	default:
		return -1;
	}
}

static void describe(const struct copy *c, const struct steer_scan *scan, unsigned i,
		     struct steer_standing *ret)
{
	const struct steer_slot *slot = &c->slots[i];

	ret->cpu = slot->cpu;
	ret->pid = slot->pid;
	ret->weight = c->weights[i];
	ret->live = slot->live;
	ret->pending = slot->pending;
	ret->reserved = steer_resv_count(slot->resv, scan->epoch) & scan->resv_mask;
	ret->is_up = slot->is_up != 0;
	ret->is_stalled = ret->is_up && steer_stalled(slot, scan) < 0;
	ret->score = score_of(slot, ret->weight, scan, c->config.policy);
}

/* Each imagined connection has a hash of its own and comes in on the CPU of the next slot. */
static void draw(const struct copy *c, uint64_t now_ns, struct steer_explanation *e)
{
	for (uint32_t n = 0; n < STEER_EXPLAIN_DRAWS; n++) {
		uint32_t cpu = c->slots[n % e->slot_count].cpu;
		int slot = steer_pick(c->slots, c->weights, &c->config,
				      steer_draw(n, 1), cpu, n, now_ns);

		if (slot >= 0 && (unsigned)slot < e->slot_count)
			e->slots[slot].wins++;
		else
			e->hashed++;
	}
}

int steer_explain(const struct steer *s, uint64_t now_ns, struct steer_explanation *ret)
{
	struct copy *c = calloc(1, sizeof(*c));
	struct steer_scan scan;

	memset(ret, 0, sizeof(*ret));
	if (!c)
		return -ENOMEM;
	take_copy(s, c);
	ret->config = c->config;
	ret->slot_count = s->slot_count;
	scan = steer_scan_of(&c->config, 0, 0, now_ns);
	for (unsigned i = 0; i < s->slot_count; i++)
		describe(c, &scan, i, &ret->slots[i]);
	draw(c, now_ns, ret);
	free(c);
	return 0;
}
