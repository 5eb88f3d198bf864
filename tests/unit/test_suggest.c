/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/suggest.h"

static void suggest__counts_edits(void **state)
{
	static const struct {
		const char *a, *b;
		unsigned distance;
	} cases[] = {
		{"", "", 0},
		{"abc", "abc", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"policy", "plicy", 1},
		{"policy", "poliicy", 1},
		{"policy", "polizy", 1},
		{"policy", "ploicy", 1},
		{"ab", "ba", 1},
		{"Policy", "pOLICY", 0},
		{"kitten", "sitting", 3},
		{"abcd", "badc", 2},
		{"ca", "abc", 3} /* 2 without the rule that each substring is edited once */,
		{"sunday", "saturday", 3},
		{"\xc3\xa4", "\xc3\x84", 1},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(suggest_distance(cases[i].a, cases[i].b), cases[i].distance);
		assert_int_equal(suggest_distance(cases[i].b, cases[i].a), cases[i].distance);
	}
}

static void suggest__refuses_words_that_are_too_long(void **state)
{
	char longest[SUGGEST_WORD_MAX + 1], longer[SUGGEST_WORD_MAX + 2];
	const char *names[] = {longer, longest};

	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	memset(longer, 'a', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(suggest_distance(longest, longest), 0);
	assert_int_equal(suggest_distance(longest, ""), SUGGEST_WORD_MAX);
	assert_int_equal(suggest_distance(longer, longest), UINT_MAX);
	assert_int_equal(suggest_distance("", longer), UINT_MAX);
	assert_null(suggest_nearest(longer, names, 2));
	assert_ptr_equal(suggest_nearest(longest, names, 2), longest);
}

static void suggest__finds_the_nearest(void **state)
{
	static const char *const names[] = {"run",  "check",   NULL,   "files",	  "status",
					    "stop", "version", "help", "steering"};
	static const struct {
		const char *word, *nearest;
	} cases[] = {
		{"rnu", "run"},
		{"chekc", "check"},
		{"stats", "status"},
		{"stat", "status"},
		{"stpo", "stop"},
		{"STATUS", "status"},
		{"steer", NULL},
		{"file", "files"},
		{"verison", "version"},
		{"frobnicate", NULL},
		{"x", NULL},
		{"", NULL},
		{"xyz", NULL},
		{"steerng", "steering"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *got = suggest_nearest(cases[i].word, names, ARRAY_LEN(names));

		if (cases[i].nearest)
			assert_string_equal(got, cases[i].nearest);
		else
			assert_null(got);
	}
	assert_null(suggest_nearest("run", names, 0));
}

static void suggest__keeps_the_first_of_equals(void **state)
{
	static const char *const names[] = {"bat", "cat", "hat"};
	struct suggest s;

	assert_string_equal(suggest_nearest("rat", names, 3), "bat");
	suggest_init(&s, "hat");
	suggest_offer(&s, "bat");
	assert_int_equal(s.best_distance, 1);
	suggest_offer(&s, NULL);
	suggest_offer(&s, "hat");
	assert_string_equal(s.best, "hat");
	assert_int_equal(s.best_distance, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(suggest__counts_edits),
		cmocka_unit_test(suggest__refuses_words_that_are_too_long),
		cmocka_unit_test(suggest__finds_the_nearest),
		cmocka_unit_test(suggest__keeps_the_first_of_equals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
