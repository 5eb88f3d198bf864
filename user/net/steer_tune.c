/* SPDX-License-Identifier: MIT */
/* What may be changed while the program runs: each is one store, effective on the next SYN. */
#include "net/steer_impl.h"

#include <string.h>

#include "base/err.h"

static const struct {
	const char *name, *about;
} policies[STEER_POLICY_COUNT] = {
	[STEER_HASH] = {"hash", "at random by the connection's hash, as often as its weight says"},
	[STEER_LEAST] = {"least", "the fewest live and reserved connections for its weight"},
	[STEER_RR] = {"rr", "each slot in its turn"},
	[STEER_P2C] = {"p2c", "the fewer connections for its weight, of a few slots at random"},
	[STEER_WEIGHTED] = {"weighted", "each slot in its turn, as often as its weight says"},
	[STEER_CPU] = {"cpu", "as least, but within a band the slot of the receiving CPU"},
	[STEER_BUSY] = {"busy", "the fewest pending events, then the fewest connections"},
};

int steer_policy_parse(const char *name, enum steer_policy_id *ret_policy)
{
	for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
		if (strcmp(name, policies[i].name) == 0) {
			*ret_policy = (enum steer_policy_id)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *steer_policy_name(enum steer_policy_id policy)
{
	return (unsigned)policy < STEER_POLICY_COUNT ? policies[policy].name : "unknown";
}

const char *steer_policy_about(enum steer_policy_id policy)
{
	return (unsigned)policy < STEER_POLICY_COUNT ? policies[policy].about
						     : "the kernel's own hash";
}

int steer_set_policy(struct steer *s, enum steer_policy_id policy)
{
	if ((unsigned)policy >= STEER_POLICY_COUNT)
		return -EINVAL;
	__atomic_store_n(&s->config->policy, (uint32_t)policy, __ATOMIC_RELAXED);
	return 0;
}

enum steer_policy_id steer_policy(const struct steer *s)
{
	return (enum steer_policy_id)__atomic_load_n(&s->config->policy, __ATOMIC_RELAXED);
}

uint64_t steer_stall_ns(const struct steer *s)
{
	return __atomic_load_n(&s->config->stall_ns, __ATOMIC_RELAXED);
}

static uint32_t *weight_at(const struct steer *s, unsigned slot)
{
	return &s->weights[slot * STEER_WEIGHT_STRIDE];
}

int steer_set_weight(struct steer *s, unsigned slot, uint32_t weight)
{
	if (slot >= s->slot_count || weight > STEER_MAX_WEIGHT)
		return -EINVAL;
	__atomic_store_n(weight_at(s, slot), weight, __ATOMIC_RELAXED);
	return 0;
}

uint32_t steer_weight(const struct steer *s, unsigned slot)
{
	if (slot >= s->slot_count)
		return 0;
	return __atomic_load_n(weight_at(s, slot), __ATOMIC_RELAXED);
}

int steer_drain(struct steer *s, unsigned slot)
{
	uint32_t weight = steer_weight(s, slot);

	if (slot >= s->slot_count)
		return -EINVAL;
	/* Drained twice: the weight that counts is that of before the first time. */
	if (weight)
		s->drained_weights[slot] = (uint16_t)MIN(weight, STEER_MAX_WEIGHT);
	return steer_set_weight(s, slot, 0);
}

int steer_undrain(struct steer *s, unsigned slot)
{
	uint32_t before;

	if (slot >= s->slot_count)
		return -EINVAL;
	if (steer_weight(s, slot))
		return 0;
	before = s->drained_weights[slot];
	return steer_set_weight(s, slot, before ? before : STEER_DEFAULT_WEIGHT);
}

/* 0 to steer_open() means the default; what counts is what it made of it. */
static uint64_t bucket_of(const struct steer_options *opt)
{
	if (opt->bucket_ns == STEER_NO_RESERVATIONS)
		return 0;
	return opt->bucket_ns ? opt->bucket_ns : STEER_DEFAULT_BUCKET_NS;
}

#define CHANGE(field, was, is)                                                                     \
	do {                                                                                       \
		if ((was) != (is))                                                                 \
			__atomic_store_n(&s->config->field, (is), __ATOMIC_RELAXED);               \
	} while (0)

void steer_change(struct steer *s, const struct steer_options *before, const struct steer_options *now)
{
	CHANGE(policy, (uint32_t)before->policy, (uint32_t)now->policy);
	CHANGE(bucket_ns, bucket_of(before), bucket_of(now));
	CHANGE(stall_ns, before->stall_ns, now->stall_ns);
	CHANGE(choices, before->choices, now->choices ? now->choices : STEER_DEFAULT_CHOICES);
	CHANGE(band, before->band, now->band);
	CHANGE(pending_weight, before->pending_weight, now->pending_weight);
}
