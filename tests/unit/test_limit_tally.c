/* SPDX-License-Identifier: MIT */
/*
 * Several hosts, each with a table and rings of its own, and between them what the script of app/limit_sync.c does, by
 * the clock of the test: whatever clients and the network do, no client gets more than the bound.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "app/limit_tally.h"
#include "base/clock.h"
#include "base/err.h"

#define HOSTS_MAX 6u
#define WORKERS	  2u
#define STEP_NS	  (NS_PER_MS / 4)

/* What all can reach ------------------------------------------------------------------------------------------- */

static int64_t paid_at_us; /* of the one client that most tests have */

/* As the script. */
static int64_t tell(const struct limit_report *r, uint64_t now_ns)
{
	int64_t now_us = (int64_t)(now_ns / 1000);

	paid_at_us = MAX(paid_at_us, now_us - (int64_t)r->span_us) + (int64_t)r->used_us;
	paid_at_us = MIN(paid_at_us, now_us + (int64_t)r->most_us);
	return paid_at_us - now_us;
}

/* Hosts -------------------------------------------------------------------------------------------------------- */

struct host {
	struct limit_table table;
	struct limit_share share;
	struct limit_tally tally;
	uint64_t offset_ns;		/* of its clock, which nobody else can see */
	uint64_t next_ns;		/* tick */
	bool is_waiting;		/* for an answer */
	bool is_asked;			/* the report has arrived */
	uint64_t arrives_ns, answered_ns;
	struct limit_report report;
	int64_t debt_us;
	unsigned admitted;
};

static struct host hosts[HOSTS_MAX];

static struct limit_rate make_rate(unsigned per_second, unsigned burst)
{
	struct limit_rate r = { .zone = 5, .interval = (LIMIT_HOUR / 3600 + per_second - 1) / per_second };

	r.window = r.interval * burst;
	r.beyond = MIN(64 * r.window + 60 * (LIMIT_HOUR / 3600), LIMIT_WINDOW_MAX - r.window);
	return r;
}

static uint64_t clock_of(const struct host *h, uint64_t now_ns)
{
	return now_ns + h->offset_ns;
}

static void open_host(struct host *h, const struct limit_rate *rate, uint64_t now_ns)
{
	*h = (struct host){ .offset_ns = (uint64_t)rand() * 1000000 };
	assert_int_equal(limit_table_open(&h->table, 64), 0);
	h->table.debt_max = rate->window + rate->beyond;
	assert_int_equal(limit_share_open(&h->share, rate, 1, WORKERS, 0), 0);
	limit_tally_init(&h->tally, &h->share, &h->table, clock_of(h, now_ns));
	h->next_ns = now_ns;
}

static void close_host(struct host *h)
{
	limit_tally_fini(&h->tally);
	limit_share_close(&h->share);
	limit_table_close(&h->table);
}

static bool ask(struct host *h, unsigned worker, struct limit_client client, uint64_t now_ns)
{
	struct limit_post post = limit_share_post(&h->share, &h->table, worker, true);

	if (limit_table_take(&h->table, h->share.rates, client, clock_of(h, now_ns)))
		return false;
	limit_post_put(&post, h->share.rates, client);
	h->admitted++;
	return true;
}

struct network {
	uint64_t every_ns;	/* reports; 0: none */
	uint64_t way_ns;	/* of a report or an answer; or at most, if it varies */
	bool is_steady;
};

static uint64_t some_of(uint64_t ns)
{
	return ns ? (uint64_t)rand() % ns : 0;
}

static uint64_t way_of(const struct network *n)
{
	return n->is_steady ? n->way_ns : some_of(n->way_ns);
}

static void run_host(struct host *h, const struct network *n, uint64_t now_ns)
{
	uint64_t own_ns = clock_of(h, now_ns);

	if (h->is_waiting && !h->is_asked && h->arrives_ns <= now_ns) {
		h->debt_us = tell(&h->report, now_ns);
		h->is_asked = true;
		h->answered_ns = now_ns + way_of(n);
	}
	if (h->is_waiting && h->is_asked && h->answered_ns <= now_ns) {
		limit_tally_drain(&h->tally, own_ns);
		limit_tally_answer(&h->tally, &h->report, h->debt_us, own_ns);
		h->is_waiting = false;
	}
	if (n->every_ns == 0 || h->next_ns > now_ns)
		return;
	h->next_ns = now_ns + n->every_ns;
	limit_tally_drain(&h->tally, own_ns);
	if (!h->is_waiting && limit_tally_cut(&h->tally, own_ns, &h->report)) {
		h->is_waiting = true;
		h->is_asked = false;
		h->arrives_ns = now_ns + way_of(n);
	}
}

/* The bound ---------------------------------------------------------------------------------------------------- */

enum habit { ALWAYS_EVERYWHERE, ONE_HOST_AFTER_ANOTHER, BURSTS, AT_RANDOM, HABIT_COUNT };

/* Requests that a client tries in one step at a host. */
static unsigned wanted(enum habit habit, unsigned host, unsigned count, unsigned burst, uint64_t step)
{
	switch (habit) {
	case ALWAYS_EVERYWHERE:
		return 4;
	case ONE_HOST_AFTER_ANOTHER:
		return step / 97 % count == host ? burst + 4 : 0;
	case BURSTS:
		return step % 1009 == 0 ? 2 * burst : 0;
	default:
		return rand() % 50 == 0 ? (unsigned)rand() % (burst + 1) : 0;
	}
}

struct outcome {
	uint64_t excess;	/* units: requests admitted in any span of time, in units of the rate, less that span */
	unsigned admitted;
};

static struct outcome run(unsigned count, const struct limit_rate *rate, const struct network *n, enum habit habit,
			  uint64_t steps)
{
	const struct limit_client client = { .network = 77, .family = AF_INET };
	uint64_t now_ns = 1000 * NS_PER_SEC, paid_ns = now_ns;
	struct outcome o = { 0 };

	paid_at_us = 0;
	for (unsigned i = 0; i < count; i++)
		open_host(&hosts[i], rate, now_ns + some_of(n->every_ns));
	for (uint64_t step = 0; step < steps; step++, now_ns += STEP_NS) {
		for (unsigned i = 0; i < count; i++) {
			unsigned k = wanted(habit, i, count, (unsigned)(rate->window / rate->interval), step);

			while (k-- > 0 && ask(&hosts[i], (unsigned)rand() % WORKERS, client, now_ns)) {
				paid_ns = MAX(paid_ns, now_ns) + rate->interval * LIMIT_UNIT_NS;
				o.excess = MAX(o.excess, (paid_ns - now_ns) / LIMIT_UNIT_NS);
				o.admitted++;
			}
			run_host(&hosts[i], n, now_ns);
		}
	}
	for (unsigned i = 0; i < count; i++)
		close_host(&hosts[i]);
	return o;
}

static uint64_t bound_of(unsigned count, const struct limit_rate *rate, const struct network *n)
{
	uint64_t lag_ns = n->every_ns + 2 * n->way_ns + STEP_NS;

	return count * (rate->window + 2 * lag_ns / LIMIT_UNIT_NS);
}

static const unsigned rates[][2] = { { 10, 1 }, { 10, 20 }, { 100, 50 }, { 1000, 1 }, { 1000, 300 } };

static const struct network networks[] = {
	{ 20 * NS_PER_MS, 0, true },
	{ 50 * NS_PER_MS, NS_PER_MS, false },
	{ 20 * NS_PER_MS, 40 * NS_PER_MS, false },
	{ 20 * NS_PER_MS, 40 * NS_PER_MS, true },
};

static void limit_tally__keeps_the_bound(void **state)
{
	double worst = 0;

	srand(1);
	for (unsigned i = 0; i < ARRAY_LEN(rates) * ARRAY_LEN(networks) * HABIT_COUNT; i++) {
		const unsigned *r = rates[i % ARRAY_LEN(rates)];
		struct limit_rate rate = make_rate(r[0], r[1]);
		const struct network *n = &networks[i / ARRAY_LEN(rates) % ARRAY_LEN(networks)];
		enum habit habit = (enum habit)(i / ARRAY_LEN(rates) / ARRAY_LEN(networks));

		for (unsigned count = 1; count <= HOSTS_MAX; count += count == 1 ? 1 : 2) {
			struct outcome o = run(count, &rate, n, habit, 8000);
			uint64_t bound = bound_of(count, &rate, n);

			if (o.excess > bound)
				fail_msg("%u hosts, %u/s, burst %u, network %u, habit %u: %llu units beyond the rate, bound %llu",
					 count, r[0], r[1], (unsigned)(n - networks), habit,
					 (unsigned long long)o.excess, (unsigned long long)bound);
			worst = MAX(worst, (double)o.excess / (double)bound);
		}
	}
	/* It is no bound for something else. */
	assert_true(worst > 0.8);
}

/* That is what the bound is held against. */
static void limit_tally__is_needed_for_it(void **state)
{
	static const struct network silent = { 0, 0, true };
	struct limit_rate rate = make_rate(100, 50);

	assert_true(run(2, &rate, &silent, ALWAYS_EVERYWHERE, 20000).excess > 2 * bound_of(2, &rate, &networks[0]));
}

/* Jitter of the network, and late reports, were use that never was: a client alone lost a tenth of its rate. */
static void limit_tally__takes_nothing_from_who_keeps_the_rate(void **state)
{
	srand(2);
	for (unsigned i = 0; i < ARRAY_LEN(rates) * ARRAY_LEN(networks); i++) {
		const unsigned *r = rates[i % ARRAY_LEN(rates)];
		struct limit_rate rate = make_rate(r[0], r[1]);
		const struct network *n = &networks[i / ARRAY_LEN(rates)];
		double due = r[1] + r[0] * 5.0;	/* burst, and five seconds */

		for (unsigned count = 1; count <= 4; count += 3) {
			struct outcome o = run(count, &rate, n, ALWAYS_EVERYWHERE, 5 * NS_PER_SEC / STEP_NS);

			if (o.admitted < 0.97 * due - 1)
				fail_msg("%u hosts, %u/s, burst %u, network %u: %u admitted of %.0f", count, r[0], r[1],
					 (unsigned)(n - networks), o.admitted, due);
		}
	}
}

/* Reports ------------------------------------------------------------------------------------------------------ */

#define START_NS (5000 * NS_PER_SEC)

static struct host one;

static int open_one(void **state)
{
	struct limit_rate rate = make_rate(10, 20);

	open_host(&one, &rate, 0);
	one.offset_ns = 0;
	one.tally.drained_ns = START_NS;
	return 0;
}

static int close_one(void **state)
{
	close_host(&one);
	return 0;
}

static struct limit_client client_number(uint32_t i)
{
	return (struct limit_client){ .network = i, .family = i % 2 ? AF_INET : AF_INET6 };
}

static void use(uint32_t client, unsigned times, uint64_t now_ns)
{
	for (unsigned i = 0; i < times; i++)
		assert_true(ask(&one, 0, client_number(client), now_ns));
}

static uint64_t counted(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

#define COUNTED(name) counted(&one.table.header->share.name)

static struct limit_report cut(uint32_t client, uint64_t now_ns)
{
	struct limit_report r;

	assert_true(limit_tally_cut(&one.tally, now_ns, &r));
	assert_int_equal(r.address.network, client);
	assert_int_equal(r.address.family, client_number(client).family);
	assert_int_equal(r.zone, 5);
	return r;
}

static void assert_nothing_due(void)
{
	struct limit_report r;

	assert_false(limit_tally_cut(&one.tally, START_NS, &r));
}

static void limit_tally_cut__tells_each_use_once(void **state)
{
	struct limit_report r;

	use(1, 3, START_NS + 5 * NS_PER_MS);
	use(2, 1, START_NS + 10 * NS_PER_MS);
	use(1, 2, START_NS + 20 * NS_PER_MS);
	assert_nothing_due();
	limit_tally_drain(&one.tally, START_NS + 20 * NS_PER_MS);
	r = cut(1, START_NS + 21 * NS_PER_MS);
	assert_int_equal(r.used_us, 500000);
	assert_int_equal(r.span_us, 21000);
	/* What comes while it is on its way is for the next one. */
	use(1, 4, START_NS + 22 * NS_PER_MS);
	limit_tally_drain(&one.tally, START_NS + 23 * NS_PER_MS);
	assert_int_equal(cut(2, START_NS + 23 * NS_PER_MS).used_us, 100000);
	assert_nothing_due();
	limit_tally_answer(&one.tally, &r, 400000, START_NS + 31 * NS_PER_MS);
	r = cut(1, START_NS + 41 * NS_PER_MS);
	assert_int_equal(r.used_us, 400000);
	/* From the cut before on, and the time that took. */
	assert_int_equal(r.span_us, 20000 + 10000);
	limit_tally_answer(&one.tally, &r, 0, START_NS + 41 * NS_PER_MS);
	assert_nothing_due();
	assert_int_equal(one.tally.clients.used_count, 1);
	assert_int_equal(COUNTED(reports), 2);
	assert_int_equal(COUNTED(untold), 0);
}

/* A sharer that stood still for a minute: its clients were blocked everywhere for most of another. */
static void limit_tally_cut__bears_a_long_silence(void **state)
{
	struct limit_report r;

	for (unsigned s = 0; s < 60; s++)
		use(1, 10, START_NS + s * NS_PER_SEC);
	use(2, 3, START_NS);
	limit_tally_drain(&one.tally, START_NS + 60 * NS_PER_SEC);
	r = cut(1, START_NS + 60 * NS_PER_SEC);
	assert_int_equal(r.used_us, 10000000);
	assert_int_equal(r.span_us, 10000000);
	r = cut(2, START_NS + 60 * NS_PER_SEC);
	assert_int_equal(r.used_us, 0);
	assert_int_equal(r.span_us, 10000000);
}

static uint64_t debt_of(uint32_t client, uint64_t now_ns)
{
	/* Seen by how long it has to wait for one more, of a rate that admits none. */
	struct limit_rate rate = *one.share.rates;
	uint64_t most = rate.window + rate.beyond;

	rate.window = 0;
	rate.beyond = most;
	return limit_table_take(&one.table, &rate, client_number(client), now_ns) - rate.interval / 10000;
}

static void limit_tally_answer__raises_what_a_client_owes(void **state)
{
	static const struct {
		int64_t debt_us;
		unsigned since;		/* uses after the report */
		uint64_t want_ms;	/* owed 20 ms after the cut */
	} cases[] = {
		{ 300000, 0, 280 },	/* what it owes anyway, late */
		{ 1000000, 0, 980 },	/* others let it have something */
		{ 1000000, 3, 1280 },
		{ -50000, 0, 280 },	/* the others have forgotten it */
		{ -50000, 5, 780 },
		{ INT64_MAX, 0, 12 * 3600000 },
		{ INT64_MIN, 0, 280 },
	};

	for (uint32_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct limit_report r;

		use(i + 1, 3, START_NS);
		limit_tally_drain(&one.tally, START_NS);
		r = cut(i + 1, START_NS);
		use(i + 1, cases[i].since, START_NS);
		limit_tally_drain(&one.tally, START_NS + 20 * NS_PER_MS);
		limit_tally_answer(&one.tally, &r, cases[i].debt_us, START_NS + 20 * NS_PER_MS);
		assert_int_equal(debt_of(i + 1, START_NS + 20 * NS_PER_MS), MIN(cases[i].want_ms, r.most_us / 1000));
		limit_tally_forget(&one.tally);
	}
	assert_int_equal(COUNTED(raised), 3);
}

static void limit_tally_lose__tells_nothing_twice(void **state)
{
	struct limit_report r;

	use(1, 3, START_NS);
	limit_tally_drain(&one.tally, START_NS);
	r = cut(1, START_NS);
	use(1, 2, START_NS);
	limit_tally_drain(&one.tally, START_NS);
	limit_tally_lose(&one.tally, &r);
	assert_int_equal(COUNTED(untold), 3);
	assert_int_equal(cut(1, START_NS).used_us, 200000);
}

static void limit_tally_forget__begins_anew(void **state)
{
	struct limit_report r;

	use(1, 3, START_NS);
	use(2, 3, START_NS);
	limit_tally_drain(&one.tally, START_NS);
	r = cut(1, START_NS);
	use(1, 1, START_NS);
	limit_tally_drain(&one.tally, START_NS + NS_PER_SEC);
	limit_tally_forget(&one.tally);
	assert_int_equal(COUNTED(untold), 3);
	limit_tally_lose(&one.tally, &r);
	limit_tally_forget(&one.tally);
	assert_int_equal(COUNTED(untold), 7);
	assert_int_equal(one.tally.clients.used_count, 0);
	use(1, 1, START_NS + NS_PER_SEC);
	limit_tally_drain(&one.tally, START_NS + NS_PER_SEC + NS_PER_MS);
	assert_int_equal(cut(1, START_NS + NS_PER_SEC + NS_PER_MS).span_us, 1000);
}

/* Rings -------------------------------------------------------------------------------------------------------- */

static void limit_post_put__never_waits(void **state)
{
	struct limit_post post = limit_share_post(&one.share, &one.table, 0, true);

	for (unsigned i = 0; i < LIMIT_RING_SIZE + 5; i++)
		limit_post_put(&post, one.share.rates, client_number(1));
	assert_int_equal(COUNTED(untold), 5);
	limit_tally_drain(&one.tally, START_NS);
	assert_int_equal(cut(1, START_NS).used_us, LIMIT_RING_SIZE * UINT64_C(100000));
}

/* A worker that is no longer ours: what it writes may be wrong, not harm the process that reads it. */
static void limit_tally_drain__bears_with_any_ring(void **state)
{
	struct limit_ring *r = &one.share.rings[1];

	r->uses[0] = (struct limit_use){ .network = 1, .family = AF_INET, .rate = 1 };
	r->uses[1] = (struct limit_use){ .network = 1, .family = AF_UNIX, .rate = 0 };
	r->uses[2] = (struct limit_use){ .network = 3, .family = AF_INET, .rate = 0 };
	r->head = 3;
	limit_tally_drain(&one.tally, START_NS);
	assert_int_equal(cut(3, START_NS).used_us, 100000);
	assert_nothing_due();
	r->head = 3 + LIMIT_RING_SIZE + 1;
	limit_tally_drain(&one.tally, START_NS);
	assert_nothing_due();
	assert_int_equal(r->tail, r->head);
	r->uses[r->head % LIMIT_RING_SIZE] = (struct limit_use){ .network = 5, .family = AF_INET, .rate = 0 };
	r->head++;
	limit_tally_drain(&one.tally, START_NS);
	cut(5, START_NS);
}

static void limit_post__knows_until_when_it_is_well(void **state)
{
	struct limit_post open = limit_share_post(&one.share, &one.table, 0, true);
	struct limit_post closed = limit_share_post(&one.share, &one.table, 0, false);
	struct limit_post none = limit_share_post(&(struct limit_share){ 0 }, &one.table, 0, false);

	one.share.header->known_until_ns = START_NS;
	assert_true(limit_post_is_well(&closed, START_NS - 1));
	assert_false(limit_post_is_well(&closed, START_NS));
	assert_true(limit_post_is_well(&open, START_NS));
	assert_null(none.ring);
	assert_true(limit_post_is_well(&none, START_NS));
}

#define ON_ONE(test) cmocka_unit_test_setup_teardown(test, open_one, close_one)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limit_tally__keeps_the_bound),
		cmocka_unit_test(limit_tally__is_needed_for_it),
		cmocka_unit_test(limit_tally__takes_nothing_from_who_keeps_the_rate),
		ON_ONE(limit_tally_cut__tells_each_use_once),
		ON_ONE(limit_tally_cut__bears_a_long_silence),
		ON_ONE(limit_tally_answer__raises_what_a_client_owes),
		ON_ONE(limit_tally_lose__tells_nothing_twice),
		ON_ONE(limit_tally_forget__begins_anew),
		ON_ONE(limit_post_put__never_waits),
		ON_ONE(limit_tally_drain__bears_with_any_ring),
		ON_ONE(limit_post__knows_until_when_it_is_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
