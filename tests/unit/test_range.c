/* SPDX-License-Identifier: MIT */
/* Range sets (RFC 9110 14.1.2): what is served, what ignored, what refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "app/range.h"
#include "base/buf.h"
#include "base/err.h"

/* "first+len first+len" of what was parsed. */
static const char *print(const struct range_set *set)
{
	static char text[2048];
	size_t at = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < set->count; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%llu+%llu", i ? " " : "",
				       (unsigned long long)set->ranges[i].first,
				       (unsigned long long)set->ranges[i].len);
	return text;
}

static void range__parses(void **state)
{
	static const struct {
		const char *value;
		uint64_t size;
		enum range_result result;
		const char *ranges;
	} cases[] = {
		/* RFC 9110 14.1.2, the examples of the section */
		{"bytes=0-499", 10000, RANGE_PARTIAL, "0+500"},
		{"bytes=500-999", 10000, RANGE_PARTIAL, "500+500"},
		{"bytes=-500", 10000, RANGE_PARTIAL, "9500+500"},
		{"bytes=9500-", 10000, RANGE_PARTIAL, "9500+500"},
		{"bytes=0-0,-1", 10000, RANGE_PARTIAL, "0+1 9999+1"},
		{"bytes= 0-999, 4500-5499, -1000", 10000, RANGE_PARTIAL,
		 "0+1000 4500+1000 9000+1000"},
		{"bytes=500-600,601-999", 10000, RANGE_PARTIAL, "500+101 601+399"},
		{"bytes=500-700,601-999", 10000, RANGE_PARTIAL, "500+201 601+399"},
		{"BYTES=0-0", 10, RANGE_PARTIAL, "0+1"},
		{"bytes=0-99999999999999999999999999", 10, RANGE_PARTIAL, "0+10"},
		{"bytes=-99999999999999999999999999", 10, RANGE_PARTIAL, "0+10"},
		{"bytes=0-18446744073709551615", 10, RANGE_PARTIAL, "0+10"},
		{"bytes=9-9", 10, RANGE_PARTIAL, "9+1"},
		{"bytes=9-20", 10, RANGE_PARTIAL, "9+1"},
		{"bytes=,,0-1,,", 10, RANGE_PARTIAL, "0+2"},
		{"bytes=0-1 ,\t3-4", 10, RANGE_PARTIAL, "0+2 3+2"},
		{"bytes=20-30,0-1", 10, RANGE_PARTIAL, "0+2"},
		{"bytes=5-6,1-2", 10, RANGE_PARTIAL, "5+2 1+2"},
		{"bytes=10-", 10, RANGE_UNSATISFIABLE, ""},
		{"bytes=10-20", 10, RANGE_UNSATISFIABLE, ""},
		{"bytes=99999999999999999999999999-", 10, RANGE_UNSATISFIABLE, ""},
		{"bytes=-0", 10, RANGE_UNSATISFIABLE, ""},
		{"bytes=10-,-0", 10, RANGE_UNSATISFIABLE, ""},
		{"bytes=5-4", 10, RANGE_IGNORE, ""},
		{"bytes=0-1,5-4", 10, RANGE_IGNORE, NULL},
		{"bytes=", 10, RANGE_IGNORE, ""},
		{"bytes=,", 10, RANGE_IGNORE, ""},
		{"bytes=-", 10, RANGE_IGNORE, ""},
		{"bytes=a-b", 10, RANGE_IGNORE, ""},
		{"bytes=0-1x", 10, RANGE_IGNORE, NULL},
		{"bytes=0 - 1", 10, RANGE_IGNORE, NULL},
		{"bytes=0-1;2-3", 10, RANGE_IGNORE, NULL},
		{"bytes=0--1", 10, RANGE_IGNORE, NULL},
		{"bytes=+0-1", 10, RANGE_IGNORE, NULL},
		{"bytes 0-1", 10, RANGE_IGNORE, ""},
		{"lines=0-1", 10, RANGE_IGNORE, ""},
		{"bytes", 10, RANGE_IGNORE, ""},
		{"", 10, RANGE_IGNORE, ""},
		/* an empty file is sent whole */
		{"bytes=0-", 0, RANGE_IGNORE, ""},
		{"bytes=-5", 0, RANGE_IGNORE, ""},
		/* more than the whole */
		{"bytes=0-,0-", 10, RANGE_IGNORE, NULL},
		{"bytes=0-9,5-5", 10, RANGE_IGNORE, NULL},
		{"bytes=0-9,20-30", 10, RANGE_PARTIAL, "0+10"},
		{"bytes=-18446744073709551615,0-0", 10, RANGE_IGNORE, NULL},
	};
	struct range_set set;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		enum range_result result =
			range_parse(span_str(cases[i].value), cases[i].size, &set);

		if (result != cases[i].result)
			fail_msg("'%s' gave %d", cases[i].value, result);
		if (cases[i].ranges)
			assert_string_equal(print(&set), cases[i].ranges);
	}
}

static void range__takes_as_many_as_it_says(void **state)
{
	char text[1024];
	struct range_set set;
	struct buf b;

	for (unsigned count = RANGE_MAX; count <= RANGE_MAX + 1; count++) {
		buf_init(&b, text, sizeof(text));
		buf_add_lit(&b, "bytes=");
		for (unsigned i = 0; i < count; i++)
			buf_printf(&b, "%u-%u,", i * 2, i * 2);
		assert_false(b.is_truncated);
		assert_int_equal(range_parse(buf_span(&b), 1000, &set),
				 count == RANGE_MAX ? RANGE_PARTIAL : RANGE_IGNORE);
	}
}

/* Whatever the bytes: no range outside, none empty, not more than the whole. */
static void range__holds_its_bounds_for_any_text(void **state)
{
	static const char alphabet[] = "0123456789-, 99-";
	uint64_t seed = 1;
	char text[40] = "bytes=";
	struct range_set set;

	for (int round = 0; round < 200000; round++) {
		size_t len = 6 + (size_t)(round % 30);
		uint64_t size = (uint64_t)(round % 50) + 1, total = 0;

		for (size_t i = 6; i < len; i++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			text[i] = alphabet[(seed >> 60) & 15];
		}
		if (range_parse(span_of(text, len), size, &set) != RANGE_PARTIAL)
			continue;
		assert_in_range(set.count, 1, RANGE_MAX);
		for (unsigned i = 0; i < set.count; i++) {
			assert_true(set.ranges[i].len > 0 && set.ranges[i].first < size);
			assert_true(set.ranges[i].len <= size - set.ranges[i].first);
			total += set.ranges[i].len;
		}
		assert_true(total <= size);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(range__parses),
		cmocka_unit_test(range__takes_as_many_as_it_says),
		cmocka_unit_test(range__holds_its_bounds_for_any_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
