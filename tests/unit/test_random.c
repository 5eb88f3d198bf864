/* SPDX-License-Identifier: MIT */
/* Random numbers: no repetition, no bias that can be seen, other numbers in a child. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/random.h"

#define COUNT 4096

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void random__repeats_nothing(void **state)
{
	static uint64_t seen[COUNT];

	for (unsigned i = 0; i < COUNT; i++)
		seen[i] = random_u64();
	qsort(seen, COUNT, sizeof(seen[0]), compare);
	for (unsigned i = 1; i < COUNT; i++)
		assert_true(seen[i] != seen[i - 1]);
}

/* Six standard deviations: one run in a thousand million fails by chance, over all bits. */
static void random__sets_each_bit_half_the_time(void **state)
{
	unsigned ones[64] = {0};

	for (unsigned i = 0; i < COUNT; i++) {
		uint64_t value = random_u64();

		for (unsigned bit = 0; bit < 64; bit++)
			ones[bit] += value >> bit & 1;
	}
	for (unsigned bit = 0; bit < 64; bit++)
		assert_in_range(ones[bit], COUNT / 2 - 6 * 32, COUNT / 2 + 6 * 32);
}

static void random__stays_below_the_bound(void **state)
{
	static const uint32_t bounds[] = {1, 2, 3, 7, 1000, 1u << 31, UINT32_MAX};

	for (unsigned b = 0; b < ARRAY_LEN(bounds); b++) {
		bool has_zero_to_third = false, has_last_third = false;

		for (unsigned i = 0; i < COUNT; i++) {
			uint32_t value = random_below(bounds[b]);

			assert_true(value < bounds[b]);
			has_zero_to_third |= value <= bounds[b] / 3;
			has_last_third |= value >= bounds[b] - 1 - bounds[b] / 3;
		}
		assert_true(has_zero_to_third && has_last_third);
	}
}

/* Workers are forked from one master: ids that repeat in each of them would be worth nothing. */
static void random__differs_between_processes(void **state)
{
	uint64_t values[3];

	random_u64();
	for (unsigned i = 0; i < 2; i++) {
		int fds[2], status;
		pid_t pid;

		assert_int_equal(pipe(fds), 0);
		pid = fork();
		if (pid == 0) {
			uint64_t value = random_u64();

			_exit(write(fds[1], &value, sizeof(value)) != sizeof(value));
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		assert_int_equal(read(fds[0], &values[i], sizeof(values[i])), sizeof(values[i]));
		close(fds[0]);
		close(fds[1]);
	}
	values[2] = random_u64();
	assert_true(values[0] != values[1] && values[1] != values[2] && values[0] != values[2]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random__repeats_nothing),
		cmocka_unit_test(random__sets_each_bit_half_the_time),
		cmocka_unit_test(random__stays_below_the_bound),
		cmocka_unit_test(random__differs_between_processes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
