/* SPDX-License-Identifier: MIT */
/* Each policy with real sockets: where its connections land, and how its runs are counted. */
#include "rig.h"

static void expect(const struct rig *r, __u64 steered, __u64 hashed, __u64 cookie_ack)
{
	struct steer_verdicts v = rig_verdicts(r);

	assert_int_equal(v.steered, steered);
	assert_int_equal(v.hashed, hashed);
	assert_int_equal(v.cookie_ack, cookie_ack);
	assert_int_equal(rig_verdict_sum(r), steered + hashed + cookie_ack);
	assert_int_equal(rig_verdict_sum(r), rig_runs(r, NULL));
}

static void connect_many(struct rig *r, struct listener *l, unsigned count,
			 unsigned counts[STEER_MAX_SLOTS])
{
	union sock_addr to = rig_dial(l, "127.0.0.1");

	for (unsigned i = 0; i < count; i++)
		rig_connect(r, &to);
	rig_accept(r, l, count, true, counts);
}

static struct rig *open_with(struct steer_options opt, struct listener **ret_listener)
{
	struct rig *r;

	opt.slot_count = RIG_SLOTS;
	opt.pin_dir = rig_next_pin_dir();
	r = rig_open_opt(&opt);
	*ret_listener = rig_listen(r, "127.0.0.1:0", false);
	return r;
}

/* One by one: the order itself.  A slot that is out is passed over. */
static void steer_rr__lands_in_turn(void **state)
{
	static const unsigned order[] = {0, 1, 2, 4, 5, 6, 7};
	unsigned counts[STEER_MAX_SLOTS];
	struct listener *l;
	struct rig *r = open_with((struct steer_options){.policy = STEER_RR}, &l);

	assert_int_equal(steer_set_weight(r->steer, 3, 0), 0);
	for (unsigned n = 0; n < 3 * ARRAY_LEN(order); n++) {
		connect_many(r, l, 1, counts);
		assert_int_equal(counts[order[n % ARRAY_LEN(order)]], 1);
	}
	expect(r, 3 * ARRAY_LEN(order), 0, 0);
	assert_int_equal(rig_reserved(r), 0);
	rig_close(r);
}

/* With cookies each connection runs the program twice; one counter would leave half of the slots
 * out. */
static void steer_rr__is_even_with_syn_cookies(void **state)
{
	unsigned counts[STEER_MAX_SLOTS];
	struct listener *l;
	struct rig *r = open_with((struct steer_options){.policy = STEER_RR}, &l);

	rig_sysctl("ipv4/tcp_syncookies", "2");
	connect_many(r, l, 10 * RIG_SLOTS, counts);
	rig_sysctl("ipv4/tcp_syncookies", "1");
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		assert_int_equal(counts[i], 10);
	expect(r, 10 * RIG_SLOTS, 0, 10 * RIG_SLOTS);
	rig_close(r);
}

static void steer_weighted__lands_by_weight(void **state)
{
	static const unsigned weights[RIG_SLOTS] = {100, 200, 300, 0, 100, 100, 100, 100};
	unsigned counts[STEER_MAX_SLOTS];
	struct listener *l;
	struct rig *r = open_with((struct steer_options){.policy = STEER_WEIGHTED}, &l);

	for (unsigned i = 0; i < RIG_SLOTS; i++)
		assert_int_equal(steer_set_weight(r->steer, i, weights[i]), 0);
	steer_slot(r->steer, 0)->live = 100000; /* which this policy does not look at */
	connect_many(r, l, 500, counts);
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		assert_in_range(counts[i] + 4, weights[i] / 2 + 1, weights[i] / 2 + 7);
	expect(r, 500, 0, 0);
	rig_close(r);
}

/* As many choices as slots is `least`; two are more even than none. */
static void steer_p2c__lands_on_the_lighter_of_its_choices(void **state)
{
	unsigned counts[STEER_MAX_SLOTS];
	struct listener *l;
	struct rig *r = open_with((struct steer_options){.policy = STEER_P2C}, &l);

	steer_slot(r->steer, 6)->live = 1000;
	connect_many(r, l, 400, counts);
	assert_int_equal(counts[6], 0); /* the heavier of any two */
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		if (i != 6)
			assert_in_range(counts[i], 50,
					65); /* 57, the spread of two choices is small */
	expect(r, 400, 0, 0);
	rig_close(r);
}

/* The test runs on one CPU, so that the SYN comes in there. */
static void steer_cpu__lands_at_home_inside_the_band(void **state)
{
	unsigned counts[STEER_MAX_SLOTS], cpu = 0;
	cpu_set_t before, one;
	struct listener *l;
	struct rig *r = open_with((struct steer_options){.policy = STEER_CPU, .band = 10}, &l);

	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	while (!CPU_ISSET(cpu, &before))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		steer_slot(r->steer, i)->cpu = i == 2 ? cpu : 1000 + i;
	connect_many(r, l, 10, counts);
	assert_int_equal(counts[2], 10);
	connect_many(r, l, 79,
		     counts); /* from here on all grow alike, it stays ahead by the band */
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		assert_in_range(steer_slot(r->steer, i)->live, i == 2 ? 18 : 9, i == 2 ? 21 : 12);
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
	expect(r, 89, 0, 0);
	rig_close(r);
}

static void steer_busy__lands_where_least_is_pending(void **state)
{
	unsigned counts[STEER_MAX_SLOTS];
	struct listener *l;
	struct rig *r = open_with((struct steer_options){.policy = STEER_BUSY}, &l);

	for (unsigned i = 0; i < RIG_SLOTS; i++) {
		steer_slot(r->steer, i)->pending = i == 4 || i == 5 ? 1 : 5;
		steer_slot(r->steer, i)->live = i == 4 ? 20 : i == 5 ? 30 : 0;
	}
	for (unsigned n = 0; n < 10; n++) { /* accepted each, so nothing stays reserved */
		connect_many(r, l, 1, counts);
		assert_int_equal(counts[4], 1);
	}
	expect(r, 10, 0, 0);
	rig_close(r);
}

static void steer_pending_weight__moves_connections_away(void **state)
{
	unsigned counts[STEER_MAX_SLOTS];
	struct listener *l;
	struct rig *r =
		open_with((struct steer_options){.policy = STEER_LEAST, .pending_weight = 2}, &l);

	steer_slot(r->steer, 1)->pending = 5; /* as 10 connections */
	connect_many(r, l, 7 * 10, counts);
	assert_int_equal(counts[1], 0);
	connect_many(r, l, RIG_SLOTS, counts);
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		assert_int_equal(counts[i], 1);
	rig_close(r);
}

/* The next SYN knows the new policy, whatever came before. */
static void steer_policy__holds_from_the_next_syn_on(void **state)
{
	__u64 steered = 0, hashed = 0;
	unsigned counts[STEER_MAX_SLOTS];
	struct listener *l;
	struct rig *r = open_with((struct steer_options){.policy = STEER_HASH}, &l);

	for (unsigned n = 0; n < 20 * STEER_POLICY_COUNT; n++) {
		enum steer_policy_id policy = n % STEER_POLICY_COUNT;

		assert_int_equal(steer_set_policy(r->steer, policy), 0);
		connect_many(r, l, 1, counts);
		steered += policy != STEER_HASH;
		hashed += policy == STEER_HASH;
		expect(r, steered, hashed, 0);
	}
	rig_close(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steer_rr__lands_in_turn),
		cmocka_unit_test(steer_rr__is_even_with_syn_cookies),
		cmocka_unit_test(steer_weighted__lands_by_weight),
		cmocka_unit_test(steer_p2c__lands_on_the_lighter_of_its_choices),
		cmocka_unit_test(steer_cpu__lands_at_home_inside_the_band),
		cmocka_unit_test(steer_busy__lands_where_least_is_pending),
		cmocka_unit_test(steer_pending_weight__moves_connections_away),
		cmocka_unit_test(steer_policy__holds_from_the_next_syn_on),
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
