/* SPDX-License-Identifier: MIT */
/*
 * Stalled slots and the program, with real sockets: from which moment on nothing lands there, for
 * whichever policy, and that the next SYN after the worker has moved may be its own.
 */
#include "rig.h"

#define STALL_NS    (20 * NS_PER_MS)
#define STALLED	    3u
#define CONNECTIONS 200u /* of 8 slots the hash leaves one out once in 4e11 times */

static struct rig *open_rig(enum steer_policy_id policy)
{
	const struct steer_options opt = {.slot_count = RIG_SLOTS,
					  .policy = policy,
					  .stall_ns = STALL_NS,
					  .pin_dir = rig_next_pin_dir()};
	struct rig *r = rig_open_opt(&opt);

	/* By any score the slot that comes next. */
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		steer_slot(r->steer, i)->live = i == STALLED ? 0 : 1000;
	return r;
}

static void connect_all(struct rig *r, const union sock_addr *to,
			unsigned ret_counts[STEER_MAX_SLOTS])
{
	for (unsigned i = 0; i < CONNECTIONS; i++)
		rig_connect(r, to);
	rig_accept(r, &r->listeners[0], CONNECTIONS, false, ret_counts);
}

/* Asleep for an hour is no stall, until the master says so; awake again it is at once as good as
 * any. */
static void stall__mark_and_return_hold_from_the_next_syn_on(void **state)
{
	static const enum steer_policy_id policies[] = {STEER_HASH, STEER_LEAST};

	for (size_t p = 0; p < ARRAY_LEN(policies); p++) {
		struct rig *r = open_rig(policies[p]);
		union sock_addr to = rig_dial(rig_listen(r, "127.0.0.1:0", false), "127.0.0.1");
		struct steer_slot *slot = steer_slot(r->steer, STALLED);
		unsigned counts[STEER_MAX_SLOTS];

		for (unsigned round = 0; round < 3; round++) {
			slot->stamp_ns = 1;
			steer_set_waiting(slot, true);
			connect_all(r, &to, counts);
			assert_true(counts[STALLED] > 0);

			steer_mark_stalled(slot);
			assert_true(steer_is_stalled(r->steer, STALLED, clock_ns()));
			connect_all(r, &to, counts);
			assert_int_equal(counts[STALLED], 0);

			/* As a worker's loop does: stamp, awake, asleep. */
			steer_stamp(slot, clock_ns());
			steer_set_waiting(slot, false);
			connect_all(r, &to, counts);
			assert_true(counts[STALLED] > 0);
		}
		assert_int_equal(rig_verdict_sum(r), rig_runs(r, NULL));
		rig_close(r);
	}
}

/* A worker that enters its loop and does not come out of it: skipped `stall` and a tick of the
 * clock later. */
static void stall__busy_worker_is_skipped_in_time(void **state)
{
	struct rig *r = open_rig(STEER_LEAST);
	union sock_addr to = rig_dial(rig_listen(r, "127.0.0.1:0", false), "127.0.0.1");
	struct steer_slot *slot = steer_slot(r->steer, STALLED);
	uint64_t began = clock_ns(), last_ns = 0;
	unsigned counts[STEER_MAX_SLOTS], landed = 0;

	steer_stamp(slot, began);
	steer_set_waiting(slot, false);
	while (clock_ns() < began + 5 * STALL_NS) {
		uint64_t sent_ns = clock_ns();

		rig_connect(r, &to);
		rig_accept(r, &r->listeners[0], 1, false, counts);
		if (counts[STALLED]) {
			last_ns = sent_ns - began;
			landed++;
		}
	}
	print_message("busy: %u landed, the last one sent %.1f ms into the stall of %u ms\n",
		      landed, (double)last_ns / NS_PER_MS, (unsigned)(STALL_NS / NS_PER_MS));
	assert_true(landed > 0);
	assert_in_range(last_ns, 0, STALL_NS + 10 * NS_PER_MS);
	rig_close(r);
}

static void stall__all_stalled_means_hash(void **state)
{
	struct rig *r = open_rig(STEER_LEAST);
	union sock_addr to = rig_dial(rig_listen(r, "127.0.0.1:0", false), "127.0.0.1");
	unsigned counts[STEER_MAX_SLOTS], used = 0;

	for (unsigned i = 0; i < RIG_SLOTS; i++) {
		steer_slot(r->steer, i)->stamp_ns = 1;
		steer_mark_stalled(steer_slot(r->steer, i));
	}
	for (unsigned round = 0; round < 5; round++)
		connect_all(r, &to, counts);
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		used += counts[i] > 0;
	assert_true(used > 1);
	assert_int_equal(rig_verdicts(r).all_stalled, 5 * CONNECTIONS);
	assert_int_equal(rig_verdict_sum(r), rig_runs(r, NULL));
	rig_close(r);
}

/* A sibling takes what the stalled slot was given: counts and reservations come out even. */
static void stall__rescue_leaves_no_reservation(void **state)
{
	struct rig *r = open_rig(STEER_LEAST);
	struct listener *l = rig_listen(r, "127.0.0.1:0", false);
	union sock_addr to = rig_dial(l, "127.0.0.1"), peer;
	struct steer_slot *own = steer_slot(r->steer, 0), *from = steer_slot(r->steer, STALLED);
	unsigned taken = 0;

	for (unsigned i = 0; i < CONNECTIONS; i++)
		rig_connect(r, &to);
	assert_int_equal(steer_reserved(r->steer, STALLED, clock_ns()), CONNECTIONS);
	steer_mark_stalled(from);
	for (int fd; (fd = sock_accept(l->fds[STALLED], &peer)) >= 0; taken++) {
		r->accepted[r->accepted_count++] = fd;
		steer_rescued(r->steer, own, from, clock_ns());
	}
	assert_int_equal(taken, CONNECTIONS);
	assert_int_equal(rig_reserved(r), 0);
	assert_int_equal(own->live, 1000 + CONNECTIONS);
	assert_int_equal(from->live, 0);
	assert_int_equal(from->rescued, CONNECTIONS);
	rig_close(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stall__mark_and_return_hold_from_the_next_syn_on),
		cmocka_unit_test(stall__busy_worker_is_skipped_in_time),
		cmocka_unit_test(stall__all_stalled_means_hash),
		cmocka_unit_test(stall__rescue_leaves_no_reservation),
	};
	int r = rig_enter(), runs;

	if (r)
		return r;
	runs = rig_count_runs();
	if (runs < 0)
		return rig_skip("the kernel does not count runs of BPF programs");
	r = cmocka_run_group_tests(tests, NULL, NULL);
	close(runs);
	return r;
}
