/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/hist.h"

#define LIMIT (1ull << 37) /* values from here on share the last bucket */

static uint64_t seed = 88172645463325252ull;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void assert_in_bucket(uint64_t value)
{
	unsigned bucket = hist_bucket(value);
	uint64_t low = hist_bucket_floor(bucket);

	assert_true(bucket < HIST_BUCKETS);
	assert_true(low <= value);
	if (bucket == HIST_BUCKETS - 1)
		return;
	assert_true(value < hist_bucket_floor(bucket + 1));
	assert_int_equal(hist_bucket(low), bucket);
	/* No wider than a 32nd of its lowest value. */
	assert_true((hist_bucket_floor(bucket + 1) - low - 1) * 32 <= low);
}

static void hist__puts_every_value_into_its_bucket(void **state)
{
	for (uint64_t value = 0; value < 1 << 17; value++)
		assert_in_bucket(value);
	for (unsigned power = 17; power < 64; power++)
		for (int offset = -2; offset <= 2; offset++)
			assert_in_bucket((1ull << power) + (uint64_t)offset);
	for (unsigned i = 0; i < 100000; i++)
		assert_in_bucket(next_random() >> next_random() % 64);
	for (unsigned bucket = 1; bucket < HIST_BUCKETS; bucket++)
		assert_true(hist_bucket_floor(bucket) > hist_bucket_floor(bucket - 1));
}

static void hist__counts_large_values_in_the_last_bucket(void **state)
{
	static struct hist h;

	assert_int_equal(hist_bucket(LIMIT - 1), HIST_BUCKETS - 1);
	assert_int_equal(hist_bucket(LIMIT), HIST_BUCKETS - 1);
	assert_int_equal(hist_bucket(UINT64_MAX), HIST_BUCKETS - 1);
	hist_add(&h, 10);
	hist_add(&h, UINT64_MAX - 10);
	assert_int_equal(h.counts[HIST_BUCKETS - 1], 1);
	assert_int_equal(h.total_count, 2);
	assert_true(hist_quantile(&h, 10000) == UINT64_MAX - 10);
	assert_int_equal(hist_quantile(&h, 5000), 10);
}

static void hist__is_zero_when_empty(void **state)
{
	static const struct hist h;

	assert_int_equal(hist_quantile(&h, 0), 0);
	assert_int_equal(hist_quantile(&h, 5000), 0);
	assert_int_equal(hist_quantile(&h, 10000), 0);
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Three shapes: even, over many magnitudes, and two far peaks. */
static uint64_t sample(unsigned shape)
{
	if (shape == 0)
		return next_random() % 1000000;
	if (shape == 1)
		return next_random() & ((1ull << (1 + next_random() % 36)) - 1);
	return next_random() % 100 ? 200 + next_random() % 50 : 50000000 + next_random() % 1000;
}

static void hist__knows_quantiles_to_three_percent(void **state)
{
	static const unsigned wanted[] = {0, 1, 100, 2500, 5000, 9000, 9900, 9990, 9999, 10000};
	static uint64_t values[20000];

	for (unsigned shape = 0; shape < 3; shape++) {
		static struct hist h;

		h = (struct hist){0};
		for (unsigned i = 0; i < ARRAY_LEN(values); i++) {
			values[i] = sample(shape);
			hist_add(&h, values[i]);
		}
		qsort(values, ARRAY_LEN(values), sizeof(values[0]), compare_u64);
		for (unsigned i = 0; i < ARRAY_LEN(wanted); i++) {
			size_t rank = (ARRAY_LEN(values) * wanted[i] + 9999) / 10000;
			double exact = (double)values[rank ? rank - 1 : 0];
			double found = (double)hist_quantile(&h, wanted[i]);

			assert_true(found >= exact * 0.97 - 1 && found <= exact * 1.03 + 1);
		}
		assert_true(hist_quantile(&h, 10000) <= h.max);
		assert_true(h.max == values[ARRAY_LEN(values) - 1]);
	}
}

static void hist__is_exact_for_small_values(void **state)
{
	static struct hist h;

	for (uint64_t value = 0; value < 32; value++)
		hist_add(&h, value);
	for (unsigned i = 1; i <= 32; i++)
		assert_int_equal(hist_quantile(&h, i * 10000 / 32), i - 1);
}

static void hist__merges_as_if_one_had_seen_all(void **state)
{
	static struct hist one, two, all, sum;

	for (unsigned i = 0; i < 5000; i++) {
		uint64_t value = sample(1);

		hist_add(i % 3 ? &one : &two, value);
		hist_add(&all, value);
	}
	hist_merge(&sum, &one);
	hist_merge(&sum, &two);
	assert_memory_equal(&sum, &all, sizeof(all));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hist__puts_every_value_into_its_bucket),
		cmocka_unit_test(hist__counts_large_values_in_the_last_bucket),
		cmocka_unit_test(hist__is_zero_when_empty),
		cmocka_unit_test(hist__knows_quantiles_to_three_percent),
		cmocka_unit_test(hist__is_exact_for_small_values),
		cmocka_unit_test(hist__merges_as_if_one_had_seen_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
