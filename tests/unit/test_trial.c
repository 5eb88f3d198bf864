/* SPDX-License-Identifier: MIT */
/* A process of a moment: whatever becomes of it, this one hears of it and goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/trial.h"

static void succeed(const void *ctx, char *why, size_t size)
{
}

static void complain(const void *ctx, char *why, size_t size)
{
	snprintf(why, size, "%s is wrong", (const char *)ctx);
}

static void go_on_without_end(const void *ctx, char *why, size_t size)
{
	/* Its last word; not flushed by anybody. */
	why[0] = '\0';
	for (;;)
		pause();
}

static void die(const void *ctx, char *why, size_t size)
{
	raise(SIGKILL);
}

static void fill_all(const void *ctx, char *why, size_t size)
{
	for (size_t i = 0; i < size; i++)
		why[i] = 'x';
}

static void leave(const void *ctx, char *why, size_t size)
{
	_exit(3);
}

static void trial__says_what_became_of_it(void **state)
{
	static const struct {
		void (*run)(const void *ctx, char *why, size_t size);
		unsigned limit_ms;
		int result, by_signal;
		const char *why;
	} cases[] = {
		{ succeed, 10000, 0, 0, "" },
		{ complain, 10000, -EIO, 0, "this is wrong" },
		{ go_on_without_end, 30, TRIAL_LATE, 0, "" },
		{ die, 10000, TRIAL_KILLED, SIGKILL, "" },
		{ fill_all, 10000, -EIO, 0, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" },
		{ leave, 10000, -EIO, 0, "" },
	};
	const struct identity same = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct trial t = {
			.identity = &same, .run = cases[i].run, .ctx = "this", .limit_ms = cases[i].limit_ms
		};
		char why[64] = "before";
		int by_signal = 0;

		assert_int_equal(trial_run(&t, why, sizeof(why), &by_signal), cases[i].result);
		assert_int_equal(by_signal, cases[i].by_signal);
		assert_string_equal(why, cases[i].why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trial__says_what_became_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
