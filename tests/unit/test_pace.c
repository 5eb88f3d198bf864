/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "http/pace.h"

#define GRACE 5000u
#define RATE  500u

/* A client that sends `bytes` every `every_ms`; when it is cut, 0: not within 10 minutes. */
static uint64_t cut_after(unsigned bytes, unsigned every_ms)
{
	struct pace p;

	pace_init(&p, GRACE);
	pace_wait(&p, 0);
	for (uint64_t ms = 1; ms <= 600000; ms++) {
		if (ms % every_ms == 0)
			pace_add(&p, bytes, RATE, GRACE, ms);
		if (pace_left(&p, ms) == 0)
			return ms;
	}
	return 0;
}

static void pace__cuts_who_is_slower_than_the_rate(void **state)
{
	static const struct {
		unsigned bytes, every_ms;
		uint64_t cut_ms;
	} cases[] = {
		{ 0, 1000, 5000 },
		{ 1, 1000, 5010 },	/* five bytes bought ten milliseconds */
		{ 250, 1000, 9500 },
		{ 500, 1000, 0 },
		{ 5, 10, 0 },
		{ 4000, 1000, 0 },
		{ 2500, 5001, 5000 },	/* the rate, but a millisecond late */
		{ 2500, 4999, 0 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(cut_after(cases[i].bytes, cases[i].every_ms), cases[i].cut_ms);
}

/* Megabytes sent at once do not allow for minutes of silence. */
static void pace__knows_no_savings(void **state)
{
	struct pace p;

	pace_init(&p, GRACE);
	pace_wait(&p, 1000);
	pace_add(&p, UINT64_MAX, RATE, GRACE, 1000);
	assert_int_equal(pace_left(&p, 1000), GRACE);
	assert_int_equal(pace_left(&p, 6000), 0);
}

static void pace__counts_only_while_somebody_waits(void **state)
{
	struct pace p;

	pace_init(&p, GRACE);
	assert_int_equal(pace_left(&p, 100000), GRACE);
	pace_wait(&p, 100000);
	pace_rest(&p, 102000);
	assert_int_equal(pace_left(&p, 900000), 3000);
	pace_wait(&p, 900000);
	pace_wait(&p, 901000);
	assert_int_equal(pace_left(&p, 901000), 2000);
	/* What comes while nobody waits counts too. */
	pace_rest(&p, 901000);
	pace_add(&p, 500, RATE, GRACE, 950000);
	assert_int_equal(pace_left(&p, 999000), 3000);
}

static void pace__bears_a_clock_that_stands(void **state)
{
	struct pace p;

	pace_init(&p, GRACE);
	pace_wait(&p, 1000);
	assert_int_equal(pace_left(&p, 900), GRACE);
	pace_rest(&p, 900);
	assert_int_equal(pace_left(&p, 900), GRACE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pace__cuts_who_is_slower_than_the_rate),
		cmocka_unit_test(pace__knows_no_savings),
		cmocka_unit_test(pace__counts_only_while_somebody_waits),
		cmocka_unit_test(pace__bears_a_clock_that_stands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
