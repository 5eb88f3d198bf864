/* SPDX-License-Identifier: MIT */
/*
 * The master's watch over the worker that stalls, by the rules of user/proc/watch.h: it looks four
 * times within each `stall`, marks a worker that was stopped in its sleep when its queue stays
 * filled, and shares out the queue of a stalled worker among its siblings.
 */
#include "sim/sim_internal.h"

#include "base/err.h"
#include "steer_policy.h"

#define LOOKS_PER_STALL 4

static uint64_t look_ns(const struct sim *sim)
{
	return MAX(sim->steer.stall_ns / LOOKS_PER_STALL, 1000000);
}

void sim_watch_start(struct sim *sim, uint32_t slot)
{
	sim->queued_since_ns = 0;
	if (sim->config->watches && sim->steer.stall_ns)
		sim_queue_push(&sim->queue, sim->now_ns + look_ns(sim), SIM_LOOK, slot);
}

static bool is_late(const struct sim *sim, const struct steer_slot *slot)
{
	return sim->now_ns - slot->stamp_ns > sim->steer.stall_ns;
}

static bool is_stalled(const struct sim *sim, uint32_t slot)
{
	const struct steer_slot *s = &sim->slots[slot];

	return !s->is_waiting && is_late(sim, s);
}

/* Filled at every look for so long that it may be as long as `stall`. */
static bool is_neglected(struct sim *sim, bool is_queued)
{
	if (!is_queued)
		sim->queued_since_ns = 0;
	else if (!sim->queued_since_ns)
		sim->queued_since_ns = sim->now_ns;
	return is_queued &&
	       sim->now_ns - sim->queued_since_ns + look_ns(sim) >= sim->steer.stall_ns;
}

static void share_out(struct sim *sim, uint32_t slot)
{
	uint32_t n = sim->config->slot_count, healthy = 0, share, left = 0;

	for (uint32_t i = 0; i < n; i++)
		healthy += i != slot && !is_stalled(sim, i);
	for (uint32_t c = sim->workers[slot].accept_queue.head; c != SIM_NONE;
	     c = sim->conns[c].next)
		left++;
	if (!healthy)
		return;
	share = (left + healthy - 1) / healthy;
	for (uint32_t k = 1; k < n; k++) {
		uint32_t i = (slot + k) % n;

		for (uint32_t taken = 0; taken < share && !is_stalled(sim, i); taken++)
			sim_worker_rescue(sim, i, slot);
	}
}

void sim_watch_look(struct sim *sim, uint32_t slot)
{
	struct sim_worker *worker = &sim->workers[slot];
	bool is_queued = worker->accept_queue.head != SIM_NONE;

	if (!worker->is_stalled)
		return;
	if (is_neglected(sim, is_queued) && is_late(sim, &sim->slots[slot]))
		sim->slots[slot].is_waiting = 0;
	if (is_queued && is_stalled(sim, slot))
		share_out(sim, slot);
	sim_queue_push(&sim->queue, sim->now_ns + look_ns(sim), SIM_LOOK, slot);
}
