/* SPDX-License-Identifier: MIT */
/* Who is chosen: without sockets, time is that of the loop, which never turns here. */
#include "upstream_fixture.h"

static struct fix f;
static struct upstream_lease lease;

static void on_nothing(struct upstream_lease *l)
{
	fail();
}

static void open_upstream(unsigned count, enum upstream_balance balance)
{
	fix_init(&f, count);
	f.opt.balance = balance;
	for (unsigned i = 0; i < count; i++)
		fix_set_paper_address(&f, i);
	lease = (struct upstream_lease){ .on_connected = on_nothing };
	upstream_lease_init(&lease);
}

/* Starts anew, with the weights as they are now. */
static void start(void)
{
	upstream_free(f.u);
	for (unsigned i = 0; i < f.count; i++)
		fix_set_paper_address(&f, i);
	fix_start(&f, 0);
}

static int choose(void)
{
	struct peer *p;

	switch (balance_choose(f.u, &lease, &p)) {
	case CHOICE_MADE:
		return (int)(p - f.u->peers);
	case CHOICE_FULL:
		return -2;
	case CHOICE_NONE:
		break;
	}
	return -1;
}

static void count_choices(unsigned times, unsigned counts[FIX_SERVERS])
{
	memset(counts, 0, FIX_SERVERS * sizeof(*counts));
	for (unsigned i = 0; i < times; i++) {
		int chosen = choose();

		assert_in_range(chosen, 0, f.count - 1);
		counts[chosen]++;
	}
}

/*
 * Chi-square of the counts against the shares, below the 99.99 % quantile of at most 15 degrees of freedom: a right
 * generator with another seed fails once in ten thousand runs, and the seed is fixed.
 */
static void assert_shares(unsigned times, const double shares[])
{
	unsigned counts[FIX_SERVERS];
	double sum = 0, chi = 0;

	count_choices(times, counts);
	for (unsigned i = 0; i < f.count; i++)
		sum += shares[i];
	for (unsigned i = 0; i < f.count; i++) {
		double expected = times * shares[i] / sum;

		chi += (counts[i] - expected) * (counts[i] - expected) / expected;
	}
	assert_true(chi < 44);
}

static void balance__takes_turns(void **state)
{
	unsigned counts[FIX_SERVERS], starts[5] = { 0 };

	open_upstream(5, BALANCE_RR);
	f.servers[2].weight = 9;	/* is ignored */
	start();
	for (unsigned round = 0; round < 3; round++) {
		count_choices(5, counts);
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(counts[i], 1);
	}
	for (unsigned i = 0; i < 4; i++) {
		int first = choose();

		assert_int_equal(choose(), (first + 1) % 5);
	}
	/* Workers begin anywhere. */
	for (unsigned i = 0; i < 200; i++) {
		balance_start(f.u);
		starts[choose()]++;
	}
	for (unsigned i = 0; i < 5; i++)
		assert_in_range(starts[i], 10, 80);
	fix_fini(&f);
}

static void balance__mixes_weighted_turns(void **state)
{
	unsigned counts[FIX_SERVERS];
	int before = -1, in_a_row = 0, longest = 0;

	open_upstream(3, BALANCE_WEIGHTED);
	f.servers[0].weight = 5;
	f.servers[2].weight = 2;
	start();
	count_choices(80, counts);
	for (unsigned i = 0; i < 8; i++) {
		int chosen = choose();

		in_a_row = chosen == before ? in_a_row + 1 : 1;
		longest = MAX(longest, in_a_row);
		before = chosen;
	}
	assert_true(longest <= 3);
	count_choices(80, counts);
	assert_int_equal(counts[0], 50);
	assert_int_equal(counts[1], 10);
	assert_int_equal(counts[2], 20);
	fix_fini(&f);
}

static void balance__draws_by_weight(void **state)
{
	static const double shares[] = { 1, 2, 3, 10 };

	open_upstream(4, BALANCE_RANDOM);
	for (unsigned i = 0; i < 4; i++)
		f.servers[i].weight = (unsigned)shares[i];
	start();
	assert_shares(20000, shares);
	fix_fini(&f);
}

static void set_active(const uint32_t active[])
{
	for (unsigned i = 0; i < f.count; i++)
		f.table.endpoints[i].active = active[i];
}

static void balance__finds_the_least(void **state)
{
	static const double equals[] = { 0.0001, 1, 1, 0.0001 }, weights[] = { 1, 2, 3, 10 };

	open_upstream(4, BALANCE_LEAST);
	start();
	set_active((uint32_t[]){ 5, 3, 2, 4 });
	assert_int_equal(choose(), 2);
	/* For its weight. */
	upstream_endpoint_set(&f.table.endpoints[3], (struct sockaddr *)f.table.endpoints[3].address,
			      sizeof(struct sockaddr_in), 3, 0);
	assert_int_equal(choose(), 3);
	start();
	set_active((uint32_t[]){ 5, 3, 3, 9 });
	assert_shares(5000, equals);
	for (unsigned i = 0; i < 4; i++)
		f.servers[i].weight = (unsigned)weights[i];
	set_active((uint32_t[]){ 0, 0, 0, 0 });
	start();
	assert_shares(20000, weights);
	fix_fini(&f);
}

static void balance__prefers_the_better_of_two(void **state)
{
	unsigned counts[FIX_SERVERS];
	/* Of two out of four, each pair is equally likely: the best wins 3 of 6 pairs, the worst none. */
	static const double shares[] = { 3, 2, 1, 0.0001 };

	open_upstream(4, BALANCE_P2C);
	start();
	set_active((uint32_t[]){ 1, 2, 3, 4 });
	assert_shares(20000, shares);
	set_active((uint32_t[]){ 0, 0, 0, 0 });
	/* Nothing to choose between by load: by weight. */
	f.servers[1].weight = 7;
	start();
	count_choices(10000, counts);
	assert_in_range(counts[1], 6600, 7400);
	fix_fini(&f);
}

static void balance__follows_the_requests_it_counts(void **state)
{
	static const enum upstream_balance policies[] = { BALANCE_LEAST, BALANCE_P2C };

	for (unsigned i = 0; i < ARRAY_LEN(policies); i++) {
		uint32_t least = UINT32_MAX, most = 0;

		open_upstream(8, policies[i]);
		start();
		for (unsigned n = 0; n < 8000; n++)
			f.table.endpoints[choose()].active++;
		for (unsigned n = 0; n < 8; n++) {
			least = MIN(least, f.table.endpoints[n].active);
			most = MAX(most, f.table.endpoints[n].active);
			f.table.endpoints[n].active = 0;
		}
		assert_true(most - least <= (policies[i] == BALANCE_LEAST ? 1u : 20u));
		fix_fini(&f);
	}
}

#define KEYS 20000u

static void balance__hashes_by_weight(void **state)
{
	static uint8_t before[KEYS];
	unsigned counts[FIX_SERVERS] = { 0 };
	double chi = 0;

	open_upstream(4, BALANCE_HASH);
	for (unsigned i = 0; i < 4; i++)
		f.servers[i].weight = i + 1;
	start();
	for (lease.key = 0; lease.key < KEYS; lease.key++) {
		before[lease.key] = (uint8_t)choose();
		counts[before[lease.key]]++;
	}
	for (unsigned i = 0; i < 4; i++) {
		double expected = KEYS * (i + 1) / 10.0;

		chi += (counts[i] - expected) * (counts[i] - expected) / expected;
	}
	assert_true(chi < 21);
	/* From uneven weights to even ones: keys move to those that grew, never between others. */
	for (unsigned i = 0; i < 4; i++)
		f.servers[i].weight = 4;
	start();
	for (lease.key = 0; lease.key < KEYS; lease.key++)
		assert_true(choose() <= before[lease.key]);
	fix_fini(&f);
}

/* Keys of an endpoint that leaves are spread over the others; no other key moves.  When it is back all is as before. */
static void balance__hash_moves_no_more_than_it_must(void **state)
{
	static uint8_t before[KEYS];
	unsigned heirs[FIX_SERVERS] = { 0 }, moved = 0;

	open_upstream(10, BALANCE_HASH);
	start();
	for (lease.key = 0; lease.key < KEYS; lease.key++)
		before[lease.key] = (uint8_t)choose();
	f.table.endpoints[3].is_drained = 1;
	for (lease.key = 0; lease.key < KEYS; lease.key++) {
		int now = choose();

		if (now == before[lease.key])
			continue;
		assert_int_equal(before[lease.key], 3);
		heirs[now]++;
		moved++;
	}
	assert_in_range(moved, KEYS / 10 - KEYS / 100, KEYS / 10 + KEYS / 100);
	for (unsigned i = 0; i < 10; i++)
		assert_in_range(heirs[i], i == 3 ? 0 : moved / 18, i == 3 ? 0 : moved / 6);
	f.table.endpoints[3].is_drained = 0;
	for (lease.key = 0; lease.key < KEYS; lease.key++)
		assert_int_equal(choose(), before[lease.key]);
	fix_fini(&f);
}

/* The same addresses at other places, in another worker: the same choice. */
static void balance__hash_goes_by_the_address(void **state)
{
	static uint32_t before[1000];

	open_upstream(4, BALANCE_HASH);
	start();
	for (lease.key = 0; lease.key < ARRAY_LEN(before); lease.key++)
		memcpy(&before[lease.key], &f.table.endpoints[choose()].address[4], 4);
	fix_fini(&f);
	open_upstream(5, BALANCE_HASH);
	fix_start(&f, 1);
	f.u = f.other;
	f.other = NULL;
	for (unsigned i = 0; i < 4; i++) {
		union sock_addr at = { .v4 = { .sin_family = AF_INET, .sin_port = htons(80) } };

		at.v4.sin_addr.s_addr = htonl(0x0a000001 + 3 - i);
		fix_set_address(&f, i, &at);
	}
	f.table.endpoints[4].is_drained = 1;
	for (lease.key = 0; lease.key < ARRAY_LEN(before); lease.key++)
		assert_memory_equal(&before[lease.key], &f.table.endpoints[choose()].address[4], 4);
	fix_fini(&f);
}

static void balance__weight_grows_in_a_slow_start(void **state)
{
	static const struct {
		uint64_t age_ms;
		uint32_t weight;	/* of 8 * WEIGHT_ONE */
	} rows[] = {
		{ 0, 128 },	{ 2500, 608 },	 { 5000, 1088 },  { 7500, 1568 },
		{ 9999, 2047 }, { 10000, 2048 }, { 90000, 2048 },
	};
	static const double shares[] = { 1, 16, 16 };

	open_upstream(3, BALANCE_RANDOM);
	for (unsigned i = 0; i < 3; i++) {
		f.servers[i].weight = 8;
		f.servers[i].slow_start_ms = 10000;
	}
	start();
	f.loop.now_ns = 1000 * NS_PER_SEC;
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		f.table.endpoints[0].used_since_ns = f.loop.now_ns - rows[i].age_ms * NS_PER_MS;
		choose();
		assert_int_equal(peer_weight_now(f.u, &f.u->peers[0]), rows[i].weight);
	}
	/* The stamp of another process may be ahead of this loop's clock. */
	f.table.endpoints[0].used_since_ns = f.loop.now_ns + NS_PER_MS;
	assert_shares(10000, shares);
	fix_fini(&f);
}

/* What an endpoint is good for, and who is taken: letters as below, '-' for nobody, '*' for waiting. */
static void balance__knows_who_may_be_chosen(void **state)
{
	static const struct {
		const char *now, *chosen;	/* any of these */
		bool can_wait;
	} rows[] = {
		{ "wwww", "0123", false },
		{ "wdxn", "0", false },			/* drained, down, no address */
		{ "ddxn", "-", false },
		{ "wb--", "0", false },
		{ "db--", "1", false },			/* backups when no primary is left */
		{ "fb--", "1", false },			/* ... or has room */
		{ "fw--", "1", true },
		{ "ff--", "*", true },
		{ "ff--", "*", false },
		{ "ew--", "1", false },
		{ "ef--", "*", true },			/* one that is well and busy is worth waiting for */
		{ "ef--", "0", false },			/* panic, where nobody may wait */
		{ "ee--", "01", false },		/* panic */
		{ "eb--", "1", false },
		{ "ex--", "0", false },
		{ "tw--", "1", false },
		{ "tb--", "1", false },			/* rather a backup than who has just failed */
		{ "te--", "1", false },			/* ... and rather one that failed others */
		{ "tf--", "*", true },
		{ "tt--", "01", false },
		{ "tdxn", "0", false },
		{ "----", "-", true },
	};

	for (unsigned row = 0; row < ARRAY_LEN(rows); row++) {
		int chosen;

		open_upstream(4, BALANCE_RANDOM);
		f.opt.queue_max = rows[row].can_wait;
		for (unsigned i = 0; i < 4; i++) {
			f.servers[i].is_backup = rows[row].now[i] == 'b';
			f.servers[i].max_connections = 2;
		}
		start();
		for (unsigned i = 0; i < 4; i++) {
			struct upstream_endpoint *e = &f.table.endpoints[i];
			char now = rows[row].now[i];

			e->is_drained = now == 'd';
			e->health = now == 'x' ? HEALTH_DOWN : HEALTH_UNKNOWN;
			e->connections = now == 'f' ? 2 : 1;
			e->ejected_until_ns = now == 'e' ? f.loop.now_ns + 1 : 0;
			if (now == 'n' || now == '-')
				upstream_endpoint_set(e, NULL, 0, 0, 0);
			if (now == 't')
				lease.tried[lease.tried_count++] = (uint16_t)i;
		}
		chosen = choose();
		if (!strchr(rows[row].chosen, chosen == -1 ? '-' : chosen == -2 ? '*' : '0' + chosen))
			fail_msg("%s: %d, not one of %s", rows[row].now, chosen, rows[row].chosen);
		for (unsigned i = 0; i < 4; i++)
			f.table.endpoints[i].connections = 0;
		fix_fini(&f);
	}
}

/* A name has places for more addresses than it has: whatever two there are, the first two requests go to both. */
static void balance__takes_turns_between_empty_places(void **state)
{
	open_upstream(FIX_SERVERS, BALANCE_RR);
	fix_start(&f, 0);
	for (unsigned i = 2; i < FIX_SERVERS; i++)
		upstream_endpoint_set(&f.table.endpoints[i], NULL, 0, 0, 0);
	for (unsigned i = 0; i < 200; i++) {
		int first;

		balance_start(f.u);
		first = choose();
		assert_in_range(first, 0, 1);
		assert_int_equal(choose(), 1 - first);
		assert_int_equal(choose(), first);
	}
	fix_fini(&f);
}

/* Names without addresses, then with some: endpoints come and go under a running worker. */
static void balance__sees_addresses_change(void **state)
{
	open_upstream(2, BALANCE_RR);
	fix_start(&f, 0);
	for (unsigned i = 0; i < 2; i++)
		upstream_endpoint_set(&f.table.endpoints[i], NULL, 0, 0, 0);
	assert_int_equal(choose(), -1);
	fix_set_paper_address(&f, 1);
	assert_int_equal(choose(), 1);
	/* A writer died halfway: what was known holds. */
	f.table.endpoints[1].sequence |= 1;
	assert_int_equal(choose(), 1);
	fix_fini(&f);
}

static void upstream__refuses_servers_that_are_not_side_by_side(void **state)
{
	struct upstream *u;

	fix_init(&f, 2);
	f.servers[1].first_endpoint = 7;
	assert_int_equal(upstream_new(&f.opt, &u), -EINVAL);
	f.opt.server_count = 0;
	assert_int_equal(upstream_new(&f.opt, &u), -EINVAL);
	fix_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(balance__takes_turns),
		cmocka_unit_test(balance__takes_turns_between_empty_places),
		cmocka_unit_test(balance__mixes_weighted_turns),
		cmocka_unit_test(balance__draws_by_weight),
		cmocka_unit_test(balance__finds_the_least),
		cmocka_unit_test(balance__prefers_the_better_of_two),
		cmocka_unit_test(balance__follows_the_requests_it_counts),
		cmocka_unit_test(balance__hashes_by_weight),
		cmocka_unit_test(balance__hash_moves_no_more_than_it_must),
		cmocka_unit_test(balance__hash_goes_by_the_address),
		cmocka_unit_test(balance__weight_grows_in_a_slow_start),
		cmocka_unit_test(balance__knows_who_may_be_chosen),
		cmocka_unit_test(balance__sees_addresses_change),
		cmocka_unit_test(upstream__refuses_servers_that_are_not_side_by_side),
	};

	return cmocka_run_group_tests_name("upstream_balance", tests, NULL, NULL);
}
