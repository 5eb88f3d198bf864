/* SPDX-License-Identifier: MIT */
/* The plan of the rebalancing: who is above its share, who lacks most. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "net/fd_pass.h"
#include "proc/rebalance.h"

#define MAX_SLOTS 6

struct row {
	unsigned count;
	uint32_t live[MAX_SLOTS];
	uint32_t weight[MAX_SLOTS];	/* 0 = drained */
	bool cannot_take[MAX_SLOTS];
	unsigned self;
	unsigned excess, exact;		/* expected */
	int target;
};

#define EVEN { 100, 100, 100, 100, 100, 100 }

static const struct row rows[] = {
	/* even, and within the tolerance of 10 % and 2 */
	{ 4, { 50, 50, 50, 50 }, EVEN, { 0 }, 0, 0, 0, -1 },
	{ 4, { 56, 48, 48, 48 }, EVEN, { 0 }, 0, 0, 6, 1 },
	{ 2, { 3, 1 }, EVEN, { 0 }, 0, 0, 1, 1 },
	/* three times as many as each other */
	{ 4, { 300, 100, 100, 100 }, EVEN, { 0 }, 0, 150, 150, 1 },
	{ 4, { 300, 100, 100, 100 }, EVEN, { 0 }, 1, 0, 0, 2 },
	/* who lacks most comes first */
	{ 4, { 300, 120, 80, 100 }, EVEN, { 0 }, 0, 150, 150, 2 },
	/* weights: shares of 100 and 300 */
	{ 2, { 100, 300 }, { 100, 300 }, { 0 }, 1, 0, 0, -1 },
	{ 2, { 200, 200 }, { 100, 300 }, { 0 }, 0, 100, 100, 1 },
	/* a drained slot gives all it has */
	{ 3, { 10, 40, 40 }, { 0, 100, 100 }, { 0 }, 0, 10, 10, 1 },
	/* one that stands still gets nothing, and the others share its part */
	{ 3, { 90, 0, 30 }, EVEN, { false, true, false }, 0, 30, 30, 2 },
	/* nobody to take anything */
	{ 2, { 90, 0 }, EVEN, { false, true }, 0, 0, 0, -1 },
	{ 1, { 90 }, EVEN, { 0 }, 0, 0, 0, -1 },
	{ 2, { 0, 0 }, EVEN, { 0 }, 0, 0, 0, -1 },
	{ 2, { 90, 0 }, { 0, 0 }, { 0 }, 0, 0, 0, -1 },
};

static void fill(struct rebalance_view *v, const struct row *row)
{
	v->count = row->count;
	for (unsigned i = 0; i < row->count; i++) {
		v->slots[i].live = row->live[i];
		v->slots[i].weight = row->weight[i];
		v->slots[i].can_take = !row->cannot_take[i] && row->weight[i];
	}
}

static void rebalance__knows_excess_and_target(void **state)
{
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		static struct rebalance_view v;

		fill(&v, &rows[i]);
		assert_int_equal(rebalance_excess(&v, rows[i].self, false), rows[i].excess);
		assert_int_equal(rebalance_excess(&v, rows[i].self, true), rows[i].exact);
		assert_int_equal(rebalance_target(&v, rows[i].self), rows[i].target);
	}
}

/* Every slot moves what it has too much, one after the other: it ends, and even. */
static void rebalance__ends_even(void **state)
{
	static struct rebalance_view v;
	unsigned rounds = 0;
	bool has_moved = true;

	v.count = 64;
	for (unsigned i = 0; i < v.count; i++)
		v.slots[i] = (struct rebalance_slot){ i * i % 977, 100, true };
	while (has_moved) {
		has_moved = false;
		assert_true(++rounds < 5);
		for (unsigned i = 0; i < v.count; i++) {
			for (unsigned n = rebalance_excess(&v, i, true); n > 0; n--) {
				int target = rebalance_target(&v, i);

				if (target < 0)
					break;
				v.slots[i].live--;
				v.slots[target].live++;
				has_moved = true;
			}
		}
	}
	for (unsigned i = 1; i < v.count; i++)
		assert_true(v.slots[i].live + 1 >= v.slots[0].live &&
			    v.slots[0].live + 1 >= v.slots[i].live);
}

/* Who is in an inbox when another generation comes is read by that. */
static void inboxes__go_on_with_more_and_fewer_slots(void **state)
{
	struct server_guest guest = { .request_count = 7 }, got;
	struct inboxes two, five, one;
	int pair[2], fd;

	assert_int_equal(fd_pass_pair(pair), 0);
	assert_int_equal(inboxes_open(&two, 2), 0);
	assert_int_equal(inboxes_send(&two, 1, pair[0], &guest), 0);
	assert_int_equal(inboxes_take_over(&five, &two, 5), 0);
	inboxes_close_apart(&two, &five);
	inboxes_release(&two);
	assert_int_equal(five.count, 5);
	assert_int_equal(five.waiting[1], 1);
	assert_int_equal(inboxes_send(&five, 4, pair[0], &guest), 0);
	/* Those of slots that go stay: an old worker may still write there. */
	assert_int_equal(inboxes_take_over(&one, &five, 1), 0);
	inboxes_close_apart(&five, &one);
	inboxes_release(&five);
	assert_int_equal(one.count, 5);
	assert_int_equal(inboxes_forward(&one, 2, 0), 0);
	assert_int_equal(inboxes_forward(&one, 1, 0), 1);
	assert_int_equal(inboxes_forward(&one, 4, 0), 1);
	assert_int_equal(one.waiting[0], 2);
	assert_int_equal(one.waiting[1] + one.waiting[4], 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(fd_pass_receive(one.fds[0][0], &got, sizeof(got), &fd), sizeof(got));
		assert_true(fd >= 0);
		assert_int_equal(got.request_count, 7);
		close(fd);
	}
	inboxes_close(&one);
	close(pair[0]);
	close(pair[1]);
}

/* One that is given up leaves the other as it was. */
static void inboxes__take_over_can_be_undone(void **state)
{
	struct server_guest guest = { 0 };
	struct inboxes two, five;

	assert_int_equal(inboxes_open(&two, 2), 0);
	assert_int_equal(inboxes_take_over(&five, &two, 5), 0);
	inboxes_close_apart(&five, &two);
	inboxes_release(&five);
	assert_int_equal(inboxes_send(&two, 0, two.fds[0][0], &guest), 0);
	inboxes_close(&two);
}

/*
 * Without a descriptor left the kernel delivers the message and closes the connection: it is counted as come and closed,
 * and does not stay in the count of those that wait, where it would keep others away for good.
 */
static void rebalancer__counts_a_connection_that_found_no_descriptor(void **state)
{
	static struct stats_block stats;
	struct rlimit old, none;
	struct server_guest guest = { 0 };
	struct inboxes two;
	static struct server server;
	struct rebalancer r = { .server = &server, .inboxes = &two, .stats = &stats };

	assert_int_equal(inboxes_open(&two, 2), 0);
	rebalancer_init(&r);
	r.inbox.generation = 1;
	assert_int_equal(inboxes_send(&two, 0, two.fds[1][0], &guest), 0);
	assert_int_equal(inboxes_send(&two, 1, two.fds[1][0], &guest), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	rebalancer_empty(&r);
	assert_int_equal(inboxes_forward(&two, 1, 0), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(two.waiting[0], 0);
	assert_int_equal(two.waiting[1], 0);
	assert_int_equal(stats.moved_in, 1);
	assert_int_equal(stats.closed[CLOSE_MEMORY], 1);
	inboxes_close(&two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rebalance__knows_excess_and_target),
		cmocka_unit_test(rebalance__ends_even),
		cmocka_unit_test(inboxes__go_on_with_more_and_fewer_slots),
		cmocka_unit_test(inboxes__take_over_can_be_undone),
		cmocka_unit_test(rebalancer__counts_a_connection_that_found_no_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
