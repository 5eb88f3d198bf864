/* SPDX-License-Identifier: MIT */
/* The steering object without BPF: slots, reservations, weights, policies, and what it says about
 * itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "net/steer.h"
#include "steer_policy.h"

#define BUCKET_NS 1000000000ull

static struct steer *open_plain(unsigned slots)
{
	const struct steer_options opt = {.slot_count = slots,
					  .policy = STEER_LEAST,
					  .bucket_ns = BUCKET_NS,
					  .is_disabled = true};
	struct steer *s = NULL;

	assert_int_equal(steer_open(&opt, &s), 0);
	return s;
}

static void steer_open__checks_its_options(void **state)
{
	static const struct {
		unsigned slots, policy;
		int result;
	} rows[] = {
		{0, STEER_LEAST, -EINVAL},
		{STEER_MAX_SLOTS + 1, STEER_LEAST, -EINVAL},
		{4, STEER_POLICY_COUNT, -EINVAL},
		{4, 0xffffffff, -EINVAL},
		{1, STEER_HASH, 0},
		{STEER_MAX_SLOTS, STEER_LEAST, 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct steer_options opt = {
			.slot_count = rows[i].slots, .policy = rows[i].policy, .is_disabled = true};
		struct steer *s = NULL;

		assert_int_equal(steer_open(&opt, &s), rows[i].result);
		steer_close(s);
	}
	steer_close(NULL);
}

static void steer_open__works_without_bpf(void **state)
{
	struct steer *s = open_plain(8);
	struct steer_verdicts v, zero = {0};
	unsigned id = 7;
	int fd = -1;

	assert_false(steer_is_active(s));
	assert_false(steer_can_migrate(s));
	assert_string_equal(steer_why(s), "switched off");
	assert_null(steer_pin_error(s));
	assert_int_equal(steer_slot_count(s), 8);
	assert_int_equal(steer_add_address(s, &fd, &id), 0);
	steer_remove_address(s, id);
	memset(&v, 1, sizeof(v));
	assert_int_equal(steer_read_verdicts(s, &v), 0);
	assert_memory_equal(&v, &zero, sizeof(v));
	assert_null(steer_slot(s, 8));
	assert_int_equal((uintptr_t)steer_slot(s, 1) % 64, 0);
	steer_close(s);
}

static void steer_policy__names_go_both_ways(void **state)
{
	struct steer *s = open_plain(1);

	for (unsigned p = 0; p < STEER_POLICY_COUNT; p++) {
		enum steer_policy_id id;

		assert_int_equal(steer_policy_parse(steer_policy_name(p), &id), 0);
		assert_int_equal(id, p);
		assert_int_equal(steer_set_policy(s, id), 0);
		assert_int_equal(steer_policy(s), p);
	}
	assert_int_equal(steer_policy_parse("Least", &(enum steer_policy_id){0}), -EINVAL);
	assert_int_equal(steer_policy_parse("", &(enum steer_policy_id){0}), -EINVAL);
	assert_int_equal(steer_set_policy(s, STEER_POLICY_COUNT), -EINVAL);
	assert_string_equal(steer_policy_name(STEER_POLICY_COUNT), "unknown");
	steer_close(s);
}

static void steer_weight__is_kept_for_each_slot(void **state)
{
	struct steer *s = open_plain(STEER_MAX_SLOTS);

	for (unsigned i = 0; i < STEER_MAX_SLOTS; i++) {
		assert_int_equal(steer_weight(s, i), STEER_DEFAULT_WEIGHT);
		assert_int_equal(steer_set_weight(s, i, i), 0);
	}
	for (unsigned i = 0; i < STEER_MAX_SLOTS; i++)
		assert_int_equal(steer_weight(s, i), i);
	assert_int_equal(steer_set_weight(s, STEER_MAX_SLOTS, 1), -EINVAL);
	assert_int_equal(steer_set_weight(s, 0, STEER_MAX_WEIGHT + 1), -EINVAL);
	assert_int_equal(steer_weight(s, STEER_MAX_SLOTS), 0);
	steer_close(s);
}

static void steer_slot__goes_up_and_down(void **state)
{
	struct steer *s = open_plain(2);
	struct steer_slot *slot = steer_slot(s, 1);
	uint64_t before = clock_ns();

	memset(slot, 0xff, sizeof(*slot));
	steer_slot_up(s, 1, 3, 4711);
	assert_int_equal(slot->is_up, 1);
	assert_int_equal(slot->cpu, 3);
	assert_int_equal(slot->pid, 4711);
	assert_int_equal(slot->live | slot->pending | slot->is_waiting, 0);
	assert_int_equal(slot->accepted, 0);
	assert_int_equal(slot->resv.current | slot->resv.previous, 0);
	assert_true(slot->stamp_ns >= before);

	for (int i = 0; i < 5; i++)
		steer_accepted(s, slot, 50 * BUCKET_NS);
	steer_closed(slot);
	assert_int_equal(slot->live, 4);
	assert_int_equal(slot->accepted, 5);
	steer_set_waiting(slot, true);
	steer_slot_down(s, 1, true);
	assert_int_equal(slot->is_up, 1);
	assert_int_equal(slot->live | slot->pid | slot->is_waiting, 0);
	steer_slot_down(s, 1, false);
	assert_int_equal(slot->is_up, 0);
	steer_closed(slot);
	assert_int_equal(slot->live, 0); /* never below */
	steer_slot_up(s, 2, 0, 0);	 /* beyond the last: nothing */
	steer_slot_down(s, 2, false);
	steer_close(s);
}

/* The connection counts where it is served, the reservation goes where it was made. */
static void steer_rescued__counts_in_one_and_cancels_in_the_other(void **state)
{
	struct steer *s = open_plain(2);
	struct steer_slot *own = steer_slot(s, 0), *from = steer_slot(s, 1);

	own->resv = (struct steer_resv){.epoch = 50, .current = 3};
	from->resv = (struct steer_resv){.epoch = 50, .current = 2};
	for (unsigned i = 1; i <= 3; i++) {
		steer_rescued(s, own, from, 50 * BUCKET_NS);
		assert_int_equal(own->live, i);
		assert_int_equal(own->accepted, i);
		assert_int_equal(from->live | from->accepted, 0);
		assert_int_equal(from->rescued, i);
		assert_int_equal(own->rescued, 0);
		assert_int_equal(steer_reserved(s, 0, 50 * BUCKET_NS), 3);
		assert_int_equal(steer_reserved(s, 1, 50 * BUCKET_NS), i < 2 ? 2 - i : 0);
	}
	steer_close(s);
}

static void steer_is_stalled__agrees_with_the_program(void **state)
{
	static const struct {
		const char *name;
		uint64_t stall_ns, age_ns;
		bool is_waiting, is_stalled;
	} rows[] = {
		{"awake, fresh", 20, 0, false, false},	   {"awake, just in time", 20, 20, false, false},
		{"awake, old", 20, 21, false, true},	   {"asleep, old", 20, 1000000, true, false},
		{"off", 0, 1000000, false, false},	   {"from the future", 20, -5ull, false, false},
		{"longer than uptime", ~0ull, 1000, false, false},
	};
	const uint64_t now_ns = 5000000;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct steer_options opt = {.slot_count = 2,
						  .policy = STEER_LEAST,
						  .stall_ns = rows[i].stall_ns,
						  .is_disabled = true};
		struct steer *s;
		struct steer_slot *slot;

		assert_int_equal(steer_open(&opt, &s), 0);
		assert_int_equal(steer_stall_ns(s), rows[i].stall_ns);
		slot = steer_slot(s, 1);
		steer_stamp(slot, now_ns - rows[i].age_ns);
		steer_set_waiting(slot, rows[i].is_waiting);
		if (steer_is_stalled(s, 1, now_ns) != rows[i].is_stalled)
			fail_msg("%s", rows[i].name);
		if (rows[i].is_waiting) {
			steer_mark_stalled(slot);
			assert_true(steer_is_stalled(s, 1, now_ns));
		}
		assert_false(steer_is_stalled(s, 2, now_ns));
		steer_close(s);
	}
}

static void steer_accepted__cancels_the_oldest(void **state)
{
	struct steer *s = open_plain(1);
	struct steer_slot *slot = steer_slot(s, 0);

	slot->resv = (struct steer_resv){.epoch = 50, .current = 1, .previous = 2};
	for (unsigned left = 2;; left--) {
		steer_accepted(s, slot, 50 * BUCKET_NS);
		assert_int_equal(steer_reserved(s, 0, 50 * BUCKET_NS), left);
		if (left == 0)
			break;
	}
	steer_accepted(s, slot, 50 * BUCKET_NS);
	assert_int_equal(steer_reserved(s, 0, 50 * BUCKET_NS), 0);
	assert_int_equal(slot->live, 4);
	steer_close(s);
}

/*
 * The program reads a coarse clock: a SYN in the first milliseconds of a bucket may be counted in the one before, beside
 * reservations that are over by then.  Those must not swallow the cancellation, or the SYN would count for another bucket.
 */
static void steer_accepted__passes_over_what_no_longer_counts(void **state)
{
	struct steer *s = open_plain(1);
	struct steer_slot *slot = steer_slot(s, 0);

	slot->resv = (struct steer_resv){.epoch = 49, .current = 2, .previous = 50};
	assert_int_equal(steer_reserved(s, 0, 50 * BUCKET_NS), 2);
	for (unsigned left = 2; left-- > 0;) {
		steer_accepted(s, slot, 50 * BUCKET_NS);
		assert_int_equal(steer_reserved(s, 0, 50 * BUCKET_NS), left);
	}
	slot->resv = (struct steer_resv){.epoch = 40, .current = 7, .previous = 50};
	steer_accepted(s, slot, 50 * BUCKET_NS);
	assert_int_equal(steer_reserved(s, 0, 50 * BUCKET_NS), 0);
	steer_close(s);
}

static void steer_retire__follows_the_time(void **state)
{
	static const struct {
		struct steer_resv before;
		uint64_t now_ns;
		struct steer_resv after;
		unsigned reserved;
	} rows[] = {
		{{50, 3, 2}, 50 * BUCKET_NS, {50, 3, 2}, 5},
		{{50, 3, 2}, 51 * BUCKET_NS - 1, {50, 3, 2}, 5},
		{{50, 3, 2}, 51 * BUCKET_NS, {51, 0, 3}, 3},
		{{50, 3, 2}, 52 * BUCKET_NS, {52, 0, 0}, 0},
		{{50, 3, 2}, 5000 * BUCKET_NS, {5000, 0, 0}, 0},
		{{50, 3, 2}, 49 * BUCKET_NS, {50, 3, 2}, 5}, /* read by a CPU that is late */
		{{50, 3, 2}, 40 * BUCKET_NS, {40, 0, 0}, 5}, /* written by hand */
		{{50, 0, 0}, 90 * BUCKET_NS, {50, 0, 0}, 0}, /* no needless store */
	};
	struct steer *s = open_plain(1);
	struct steer_slot *slot = steer_slot(s, 0);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		slot->resv = rows[i].before;
		assert_int_equal(steer_reserved(s, 0, rows[i].now_ns), rows[i].reserved);
		steer_retire(s, rows[i].now_ns);
		assert_memory_equal(&slot->resv, &rows[i].after, sizeof(slot->resv));
	}
	assert_int_equal(steer_reserved(s, 1, 0), 0);
	steer_close(s);
}

/* The worker cancels while others reserve: nothing is lost, as each swaps the whole word. */
enum { RACES = 200000 };

static void *reserve_many(void *arg)
{
	__u64 *word = arg;

	for (int i = 0; i < RACES; i++) {
		union steer_resv_word old = {.word = __atomic_load_n(word, __ATOMIC_RELAXED)}, new;

		/* A full bucket stays full: that would be a loss of another kind. */
		while (old.resv.current > 30000) {
			sched_yield();
			old.word = __atomic_load_n(word, __ATOMIC_RELAXED);
		}
		do
			new.resv = steer_resv_add(old.resv, 50);
		while (!__atomic_compare_exchange_n(word, &old.word, new.word, false,
						    __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	}
	return NULL;
}

static void steer_accepted__races_with_reservations(void **state)
{
	struct steer *s = open_plain(1);
	struct steer_slot *slot = steer_slot(s, 0);
	unsigned cancelled = 0, left;
	pthread_t thread;

	slot->resv.epoch = 50;
	assert_int_equal(pthread_create(&thread, NULL, reserve_many, slot), 0);
	while (cancelled < RACES - 1000) {
		unsigned before = steer_reserved(s, 0, 50 * BUCKET_NS);

		if (!before) /* nothing to cancel: the other side has not got this far */
			continue;
		steer_accepted(s, slot, 50 * BUCKET_NS);
		cancelled++;
	}
	pthread_join(thread, NULL);
	left = steer_reserved(s, 0, 50 * BUCKET_NS);
	assert_int_equal(cancelled + left, RACES);
	steer_close(s);
}

static void steer_slot__is_shared_over_fork(void **state)
{
	struct steer *s = open_plain(2);
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		steer_disown(s);
		steer_accepted(s, steer_slot(s, 1), 50 * BUCKET_NS);
		steer_close(s);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(steer_slot(s, 1)->live, 1);
	steer_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steer_open__checks_its_options),
		cmocka_unit_test(steer_open__works_without_bpf),
		cmocka_unit_test(steer_policy__names_go_both_ways),
		cmocka_unit_test(steer_weight__is_kept_for_each_slot),
		cmocka_unit_test(steer_slot__goes_up_and_down),
		cmocka_unit_test(steer_rescued__counts_in_one_and_cancels_in_the_other),
		cmocka_unit_test(steer_is_stalled__agrees_with_the_program),
		cmocka_unit_test(steer_accepted__cancels_the_oldest),
		cmocka_unit_test(steer_accepted__passes_over_what_no_longer_counts),
		cmocka_unit_test(steer_retire__follows_the_time),
		cmocka_unit_test(steer_accepted__races_with_reservations),
		cmocka_unit_test(steer_slot__is_shared_over_fork),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
