/* SPDX-License-Identifier: MIT */
/* The unchecked writer: numbers of every length, and that not a byte more is written than is told. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/put.h"

static void assert_number(uint64_t value)
{
	char text[PUT_U64_MAX + 2], expected[PUT_U64_MAX + 2], *end;

	memset(text, '#', sizeof(text));
	snprintf(expected, sizeof(expected), "%" PRIu64 "#", value);
	end = put_u64(text, value);
	assert_int_equal(end - text, strlen(expected) - 1);
	assert_int_equal(put_u64_len(value), end - text);
	assert_memory_equal(text, expected, strlen(expected));
}

static void put__prints_numbers_of_every_length(void **state)
{
	uint64_t power = 1;

	for (unsigned i = 0; i < PUT_U64_MAX; i++, power *= 10) {
		assert_number(power - 1);
		assert_number(power);
		assert_number(power + 1);
		assert_number(power * 9 / 8);
	}
	for (uint64_t i = 0; i < 12000; i++)
		assert_number(i);
	assert_number(UINT64_MAX);
}

static void put__prints_pairs(void **state)
{
	for (unsigned i = 0; i < 100; i++) {
		char text[4] = "##", expected[12];

		snprintf(expected, sizeof(expected), "%02u", i);
		assert_ptr_equal(put_pair(text, i), text + 2);
		assert_string_equal(text, expected);
	}
}

static void put__goes_on_where_it_stopped(void **state)
{
	char text[] = "..........", *at = text;

	at = put_lit(at, "a");
	at = put_span(at, span_str(NULL));
	at = put_span(at, SPAN("bc"));
	at = put_char(at, 'd');
	at = put_u64(at, 10);
	at = put(at, "e", 1);
	assert_string_equal(text, "abcd10e...");
	assert_ptr_equal(at, text + 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(put__prints_numbers_of_every_length),
		cmocka_unit_test(put__prints_pairs),
		cmocka_unit_test(put__goes_on_where_it_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
