/* SPDX-License-Identifier: MIT */
/* Ejection, trials and panic: without sockets, time is that of the loop, which never turns here. */
#include "upstream_fixture.h"

static struct fix f;

/* Requests as the lease's states would make them: chosen, claimed, noted. */
static struct upstream_lease lease_of(struct upstream *u, unsigned peer)
{
	struct upstream_lease lease = { 0 };

	upstream_lease_init(&lease);
	assert_true(health_claim(u, &lease, &u->peers[peer]));
	return lease;
}

static void note(struct upstream *u, unsigned peer, enum upstream_outcome outcome)
{
	struct upstream_lease lease = lease_of(u, peer);

	health_note(u, &lease, &u->peers[peer], outcome);
}

static void advance(uint64_t ms)
{
	f.loop.now_ms += ms;
	f.loop.now_ns += ms * NS_PER_MS;
}

/* ms until the endpoint may be chosen again; 0: now. */
static uint64_t ejected_for(unsigned peer)
{
	uint64_t until = f.table.endpoints[peer].ejected_until_ns;

	return until > f.loop.now_ns ? (until - f.loop.now_ns) / NS_PER_MS : 0;
}

static void open_upstream(unsigned count)
{
	fix_init(&f, count);
	f.opt.fail_max = 3;
	f.opt.fail_window_ms = 10000;
	f.opt.eject_ms = 1000;
}

static void start(void)
{
	struct upstream_lease lease = { 0 };
	struct peer *p;

	for (unsigned worker = 0; worker < 2; worker++)
		fix_start(&f, worker);
	for (unsigned i = 0; i < f.count; i++)
		fix_set_paper_address(&f, i);
	/* Addresses are read by the choice. */
	assert_int_equal(balance_choose(f.u, &lease, &p), CHOICE_MADE);
	assert_int_equal(balance_choose(f.other, &lease, &p), CHOICE_MADE);
}

static void health__ejects_after_failures_in_a_row(void **state)
{
	static const struct {
		/* 'x' failed, 't' timeout, '.' fine, '5' an error, 'n' neutral; '1', '4', '7': seconds pass */
		const char *outcomes;
		bool is_ejected;
	} rows[] = {
		{ "xx", false },
		{ "xxx", true },
		{ "xtx", true },
		{ "xx.x", false },
		{ "xx5x", false },
		{ "xxnx", true },
		{ "xx1x", true },
		{ "x4x4x", true },		/* 8 seconds apart */
		{ "x4x7x", false },		/* 11 */
		{ "x4x7xx", true },		/* the last three lie within 7 */
		{ ".....xx.xx.xx.", false },
	};

	for (unsigned row = 0; row < ARRAY_LEN(rows); row++) {
		open_upstream(2);
		start();
		for (const char *at = rows[row].outcomes; *at; at++) {
			if (*at == '1' || *at == '4' || *at == '7')
				advance((uint64_t)(*at - '0') * 1000);
			else
				note(f.u, 0, *at == 'x' ? OUTCOME_FAILED : *at == 't' ? OUTCOME_TIMEOUT :
					     *at == '5' ? OUTCOME_ERROR : *at == 'n' ? OUTCOME_NEUTRAL : OUTCOME_OK);
		}
		if ((ejected_for(0) > 0) != rows[row].is_ejected)
			fail_msg("%s", rows[row].outcomes);
		assert_int_equal(f.table.endpoints[0].ejection_count, rows[row].is_ejected);
		assert_int_equal(ejected_for(1), 0);
		fix_fini(&f);
	}
}

static void health__never_ejects_without_a_limit(void **state)
{
	open_upstream(2);
	f.opt.fail_max = 0;
	start();
	for (unsigned i = 0; i < 100; i++)
		note(f.u, 0, i % 2 ? OUTCOME_FAILED : OUTCOME_ERROR);
	assert_int_equal(ejected_for(0), 0);
	fix_fini(&f);
}

static void eject(unsigned peer)
{
	for (unsigned i = 0; i < 3; i++)
		note(f.u, peer, OUTCOME_FAILED);
	assert_int_equal(ejected_for(peer), 1000);
}

/* A lease in the hands of its asker, without a connection. */
static struct upstream_lease held_lease_of(struct upstream *u, unsigned peer)
{
	struct upstream_lease lease = lease_of(u, peer);

	lease.upstream = u;
	lease.endpoint = peer;
	lease.state = LEASE_HELD;
	return lease;
}

/* A server of tunnels and long downloads would be out of use until the first of them ends, or for ever. */
static void health__decides_a_trial_by_its_answer(void **state)
{
	struct upstream_lease trial, failing;

	open_upstream(2);
	start();
	eject(0);
	advance(1001);
	trial = held_lease_of(f.u, 0);
	assert_true(ejected_for(0) > 0);
	upstream_answered(&trial, OUTCOME_OK, false);
	assert_int_equal(f.table.endpoints[0].ejected_until_ns, 0);
	/* What breaks off later is a failure as ever, and an answer that has begun no success. */
	health_note(f.u, &trial, &f.u->peers[0], OUTCOME_FAILED);
	for (unsigned i = 0; i < 2; i++) {
		failing = held_lease_of(f.u, 0);
		upstream_answered(&failing, OUTCOME_OK, false);
		health_note(f.u, &failing, &f.u->peers[0], OUTCOME_FAILED);
	}
	assert_true(ejected_for(0) > 0);
	fix_fini(&f);
}

static void health__counts_a_tunnel_when_it_begins(void **state)
{
	struct upstream_lease tunnel;

	open_upstream(2);
	start();
	for (unsigned i = 0; i < 10; i++) {
		note(f.u, 0, OUTCOME_FAILED);
		note(f.u, 0, OUTCOME_FAILED);
		tunnel = held_lease_of(f.u, 0);
		upstream_answered(&tunnel, OUTCOME_OK, true);
		health_note(f.u, &tunnel, &f.u->peers[0], OUTCOME_NEUTRAL);
	}
	assert_int_equal(ejected_for(0), 0);
	/* Asked although it is out of use, for there is no other: that it answers brings it back. */
	eject(0);
	eject(1);
	tunnel = held_lease_of(f.u, 0);
	assert_true(tunnel.is_panic);
	upstream_answered(&tunnel, OUTCOME_OK, true);
	assert_int_equal(ejected_for(0), 0);
	fix_fini(&f);
}

static void health__lets_one_trial_decide(void **state)
{
	struct upstream_lease trial, late = { 0 };

	open_upstream(2);
	start();
	late = lease_of(f.other, 0);
	eject(0);
	/* Requests that were on their way then say nothing, good or bad. */
	health_note(f.other, &late, &f.other->peers[0], OUTCOME_OK);
	assert_int_equal(ejected_for(0), 1000);
	advance(1000);
	assert_int_equal(ejected_for(0), 0);
	trial = lease_of(f.other, 0);
	assert_true(trial.trial_ns > 0);
	/* For all others it stays ejected, in every worker. */
	assert_true(ejected_for(0) > 0);
	assert_false(peer_is_well(f.u, &f.u->peers[0]));
	health_note(f.other, &trial, &f.other->peers[0], OUTCOME_OK);
	assert_int_equal(f.table.endpoints[0].ejected_until_ns, 0);
	assert_int_equal(f.table.endpoints[0].ejections, 0);
	assert_int_equal(f.table.endpoints[0].ejection_count, 1);
	assert_true(peer_is_well(f.u, &f.u->peers[0]));
	/* It needs as many failures as ever. */
	note(f.other, 0, OUTCOME_FAILED);
	note(f.other, 0, OUTCOME_FAILED);
	assert_int_equal(ejected_for(0), 0);
	fix_fini(&f);
}

static void health__ejects_longer_each_time(void **state)
{
	static const uint64_t lengths_ms[] = { 2000, 4000, 8000, 16000, 16000, 16000 };

	open_upstream(2);
	start();
	eject(0);
	for (unsigned i = 0; i < ARRAY_LEN(lengths_ms); i++) {
		advance(ejected_for(0));
		note(f.u, 0, i % 2 ? OUTCOME_TIMEOUT : OUTCOME_FAILED);
		assert_int_equal(ejected_for(0), lengths_ms[i]);
	}
	advance(16000);
	note(f.u, 0, OUTCOME_OK);
	eject(0);
	fix_fini(&f);
}

static void health__repeats_a_trial_that_says_nothing(void **state)
{
	struct upstream_lease trial, second;

	open_upstream(2);
	start();
	eject(0);
	advance(1000);
	note(f.u, 0, OUTCOME_NEUTRAL);
	assert_int_equal(ejected_for(0), 0);
	assert_int_equal(f.table.endpoints[0].ejections, 1);
	/* The worker of a trial dies: its time runs out.  An answer that comes all the same changes nothing. */
	trial = lease_of(f.other, 0);
	assert_true(trial.trial_ns > 0);
	advance(1000);
	second = lease_of(f.u, 0);
	assert_true(second.trial_ns > 0);
	health_note(f.other, &trial, &f.other->peers[0], OUTCOME_FAILED);
	assert_int_equal(f.table.endpoints[0].ejections, 1);
	health_note(f.u, &second, &f.u->peers[0], OUTCOME_OK);
	assert_int_equal(f.table.endpoints[0].ejections, 0);
	fix_fini(&f);
}

/* Two workers have chosen it before either claimed the trial. */
static void health__gives_the_trial_to_one_worker(void **state)
{
	struct upstream_lease lease = { 0 };
	struct upstream_endpoint *e;

	open_upstream(2);
	start();
	e = &f.table.endpoints[0];
	eject(0);
	advance(1000);
	lease = lease_of(f.u, 0);
	assert_true(lease.trial_ns > 0);
	assert_int_equal(e->ejected_until_ns, lease.trial_ns);
	/* Whoever comes now without having chosen anew can only be panicking. */
	assert_true(lease_of(f.other, 0).is_panic);
	health_note(f.u, &lease, &f.u->peers[0], OUTCOME_NEUTRAL);
	fix_fini(&f);
}

static void health__panic_ends_with_the_first_success(void **state)
{
	struct upstream_lease lease = { 0 };

	open_upstream(1);
	start();
	eject(0);
	lease = lease_of(f.u, 0);
	assert_true(lease.is_panic);
	/* Failures in panic do not lengthen the ejection: many come in no time. */
	for (unsigned i = 0; i < 10; i++)
		note(f.u, 0, OUTCOME_FAILED);
	assert_int_equal(ejected_for(0), 1000);
	health_note(f.u, &lease, &f.u->peers[0], OUTCOME_OK);
	assert_int_equal(ejected_for(0), 0);
	fix_fini(&f);
}

static void health__ejects_by_the_share_of_errors(void **state)
{
	static const struct {
		unsigned fine, errors;
		uint64_t pause_ms;	/* between the two */
		bool is_ejected;
	} rows[] = {
		{ 10, 9, 0, false },		/* too few requests */
		{ 10, 10, 0, true },
		{ 31, 30, 0, false },
		{ 30, 30, 0, true },
		{ 0, 19, 0, false },
		{ 0, 20, 0, true },
		{ 100, 20, 6000, false },	/* in the window still */
		{ 100, 20, 11000, true },	/* slid out of it */
	};

	for (unsigned row = 0; row < ARRAY_LEN(rows); row++) {
		open_upstream(2);
		f.opt.error_percent = 50;
		start();
		for (unsigned i = 0; i < rows[row].fine; i++)
			note(f.u, 0, OUTCOME_OK);
		advance(rows[row].pause_ms);
		for (unsigned i = 0; i < rows[row].errors; i++)
			note(f.u, 0, OUTCOME_ERROR);
		if ((ejected_for(0) > 0) != rows[row].is_ejected)
			fail_msg("row %u", row);
		fix_fini(&f);
	}
}

static void health__keeps_the_last_one_that_answers(void **state)
{
	open_upstream(2);
	f.opt.error_percent = 10;
	start();
	for (unsigned i = 0; i < 40; i++) {
		note(f.u, 0, OUTCOME_ERROR);
		note(f.u, 1, OUTCOME_ERROR);
	}
	assert_true(ejected_for(0) > 0);
	assert_int_equal(ejected_for(1), 0);
	/* An error is a failed trial here. */
	advance(1000);
	note(f.u, 0, OUTCOME_ERROR);
	assert_int_equal(ejected_for(0), 2000);
	fix_fini(&f);
}

/* Where nobody watches for errors, a server that answers with one is well again. */
static void health__an_error_is_an_answer(void **state)
{
	open_upstream(2);
	start();
	eject(0);
	advance(1000);
	note(f.u, 0, OUTCOME_ERROR);
	assert_int_equal(f.table.endpoints[0].ejected_until_ns, 0);
	fix_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(health__ejects_after_failures_in_a_row),
		cmocka_unit_test(health__never_ejects_without_a_limit),
		cmocka_unit_test(health__decides_a_trial_by_its_answer),
		cmocka_unit_test(health__counts_a_tunnel_when_it_begins),
		cmocka_unit_test(health__lets_one_trial_decide),
		cmocka_unit_test(health__ejects_longer_each_time),
		cmocka_unit_test(health__repeats_a_trial_that_says_nothing),
		cmocka_unit_test(health__gives_the_trial_to_one_worker),
		cmocka_unit_test(health__panic_ends_with_the_first_success),
		cmocka_unit_test(health__ejects_by_the_share_of_errors),
		cmocka_unit_test(health__keeps_the_last_one_that_answers),
		cmocka_unit_test(health__an_error_is_an_answer),
	};

	return cmocka_run_group_tests_name("upstream_health", tests, NULL, NULL);
}
