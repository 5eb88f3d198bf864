/* SPDX-License-Identifier: MIT */
/* Usable CPUs: quota texts, and what the affinity mask says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <sched.h>

#include "base/err.h"
#include "proc/cpus.h"

static void cpus__round_a_quota_up(void **state)
{
	static const struct {
		const char *text;
		unsigned wanted;
	} cases[] = {
		{"max 100000", 0},
		{"150000 100000", 2},
		{"100000 100000", 1},
		{"100001 100000", 2},
		{"1 100000", 1},
		{"-1 100000", 0},
		{"0 100000", 0},
		{"100000 0", 0},
		{"100000", 0},
		{"", 0},
		{"nonsense", 0},
		{"100000 -1", 0},
		{"9000000000000000000 1", CPUS_MAX},
		{"9223372036854775807 9223372036854775807", 1},
		{"99999999999999999999999 1", CPUS_MAX},
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(cpus_of_quota(cases[i].text), cases[i].wanted);
}

static void cpus__follow_the_affinity_mask(void **state)
{
	struct cpus all, one;
	cpu_set_t old;

	assert_int_equal(sched_getaffinity(0, sizeof(old), &old), 0);
	cpus_detect(&all);
	assert_int_equal(all.count, CPU_COUNT(&old));
	assert_true(all.usable >= 1 && all.usable <= all.count);
	for (unsigned i = 0; i < all.count; i++)
		assert_true(CPU_ISSET(all.ids[i], &old));
	assert_int_equal(cpus_pin(all.ids[all.count - 1]), 0);
	cpus_detect(&one);
	assert_int_equal(one.count, 1);
	assert_int_equal(one.usable, 1);
	assert_int_equal(one.ids[0], all.ids[all.count - 1]);
	assert_int_equal(sched_setaffinity(0, sizeof(old), &old), 0);
}

static void cpus__refuse_a_core_that_is_not_there(void **state)
{
	assert_int_equal(cpus_pin(CPU_SETSIZE - 1), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cpus__round_a_quota_up),
		cmocka_unit_test(cpus__follow_the_affinity_mask),
		cmocka_unit_test(cpus__refuse_a_core_that_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
