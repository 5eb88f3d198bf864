/* SPDX-License-Identifier: MIT */
/* The one part of the status that looks at live memory. */
#include "proc/status.h"

#include <string.h>

#include "base/err.h"

#define RUN_TRIES 8

static void read_slot(struct steer *s, unsigned index, uint64_t now_ns, struct status_slot *ret)
{
	/* Workers go on writing: each field is one load, and none is read twice. */
	const struct steer_slot *slot = steer_slot(s, index);
	uint64_t stamp_ns = __atomic_load_n(&slot->stamp_ns, __ATOMIC_RELAXED);

	ret->cpu = __atomic_load_n(&slot->cpu, __ATOMIC_RELAXED);
	ret->pid = __atomic_load_n(&slot->pid, __ATOMIC_RELAXED);
	ret->live = __atomic_load_n(&slot->live, __ATOMIC_RELAXED);
	ret->pending = __atomic_load_n(&slot->pending, __ATOMIC_RELAXED);
	ret->is_up = __atomic_load_n(&slot->is_up, __ATOMIC_RELAXED) != 0;
	ret->is_waiting = __atomic_load_n(&slot->is_waiting, __ATOMIC_RELAXED) != 0;
	ret->is_stalled = ret->pid && steer_is_stalled(s, index, now_ns);
	ret->reserved = steer_reserved(s, index, now_ns);
	ret->weight = steer_weight(s, index);
	/* A stamp may be newer than `now`, which was taken before it. */
	ret->stamp_age_ns = stamp_ns && stamp_ns < now_ns ? now_ns - stamp_ns : 0;
}

/*
 * Verdicts and the kernel's own count of runs, of one moment: the program goes on running, so they are read until no
 * run fell between, or for some tries.
 */
static int read_verdicts(struct steer *s, struct status_steering *ret)
{
	uint64_t before = 0, after = 0;
	int err;

	for (int i = 0; i < RUN_TRIES; i++) {
		err = steer_read_runs(s, &before);
		if (!err)
			err = steer_read_verdicts(s, &ret->verdicts);
		if (!err)
			err = steer_read_runs(s, &after);
		if (err || before == after)
			break;
	}
	ret->program_runs = after;
	return err;
}

void status_read(struct steer *s, uint64_t now_ns, struct status_steering *ret)
{
	enum steer_policy_id policy = steer_policy(s);

	memset(ret, 0, sizeof(*ret));
	/* A number written into the map by hand may have no name. */
	ret->policy = policy < STEER_POLICY_COUNT ? steer_policy_name(policy) : "unknown";
	ret->is_active = steer_is_active(s);
	ret->can_migrate = steer_can_migrate(s);
	ret->why = steer_why(s);
	ret->pin_error = steer_pin_error(s);
	/* On failure zeros are shown: the rest of the status is worth more than this error. */
	if (read_verdicts(s, ret) < 0)
		memset(&ret->verdicts, 0, sizeof(ret->verdicts));
	ret->slot_count = MIN(steer_slot_count(s), (unsigned)STEER_MAX_SLOTS);
	for (unsigned i = 0; i < ret->slot_count; i++)
		read_slot(s, i, now_ns, &ret->slots[i]);
}
