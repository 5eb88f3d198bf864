/* SPDX-License-Identifier: MIT */
/* Durations and sizes: every unit, every kind of fault, and the round trip. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "config/config_units.h"

struct unit_case {
	const char *text;
	enum config_unit_fault fault;
	uint64_t value;
};

#define UNTOUCHED 0x5ca1ab1e

static const struct unit_case duration_cases[] = {
	{"0", UNIT_OK, 0},
	{"0s", UNIT_OK, 0},
	{"1ns", UNIT_OK, 1},
	{"3us", UNIT_OK, 3000},
	{"20ms", UNIT_OK, 20000000},
	{"1s", UNIT_OK, 1000000000},
	{"2m", UNIT_OK, 120 * CONFIG_SEC},
	{"1h", UNIT_OK, 3600 * CONFIG_SEC},
	{"7d", UNIT_OK, 7 * 86400 * CONFIG_SEC},
	{"1m30s", UNIT_OK, 90 * CONFIG_SEC},
	{"1d2h3m4s5ms6us7ns", UNIT_OK, UINT64_C(93784005006007)},
	{"007s", UNIT_OK, 7 * CONFIG_SEC},
	{"18446744073709551615ns", UNIT_OK, UINT64_MAX},
	{"18446744073709551616ns", UNIT_TOO_LARGE, 0},
	{"18446744073709551615us", UNIT_TOO_LARGE, 0},
	{"213504d", UNIT_TOO_LARGE, 0},
	{"213503d", UNIT_OK, 213503 * (86400 * CONFIG_SEC)},
	{"213503d86399s", UNIT_TOO_LARGE, 0},
	{"99999999999999999999999999s", UNIT_TOO_LARGE, 0},
	{"", UNIT_NO_NUMBER, 0},
	{"s", UNIT_NO_NUMBER, 0},
	{"-1s", UNIT_NO_NUMBER, 0},
	{"+1s", UNIT_NO_NUMBER, 0},
	{" 1s", UNIT_NO_NUMBER, 0},
	{"off", UNIT_NO_NUMBER, 0},
	{"20", UNIT_MISSING, 0},
	{"00", UNIT_MISSING, 0},
	{"1m30", UNIT_MISSING, 0},
	{"1.5s", UNIT_FRACTION, 0},
	{"1,5s", UNIT_FRACTION, 0},
	{"20sec", UNIT_UNKNOWN, 0},
	{"20MS", UNIT_UNKNOWN, 0},
	{"20 ms", UNIT_UNKNOWN, 0},
	{"20k", UNIT_UNKNOWN, 0},
	{"20ms ", UNIT_NO_NUMBER, 0},
	{"20ms;", UNIT_NO_NUMBER, 0},
	{"30s1m", UNIT_ORDER, 0},
	{"1s1s", UNIT_ORDER, 0},
};

static const struct unit_case size_cases[] = {
	{"0", UNIT_OK, 0},
	{"4096", UNIT_OK, 4096},
	{"5b", UNIT_OK, 5},
	{"8k", UNIT_OK, 8192},
	{"8K", UNIT_OK, 8192},
	{"1m", UNIT_OK, 1048576},
	{"2G", UNIT_OK, UINT64_C(2147483648)},
	{"18446744073709551615", UNIT_OK, UINT64_MAX},
	{"18446744073709551616", UNIT_TOO_LARGE, 0},
	{"17179869184g", UNIT_TOO_LARGE, 0},
	{"17179869183g", UNIT_OK, UINT64_C(17179869183) << 30},
	{"", UNIT_NO_NUMBER, 0},
	{"k", UNIT_NO_NUMBER, 0},
	{"-8k", UNIT_NO_NUMBER, 0},
	{"0x10", UNIT_UNKNOWN, 0},
	{"8kb", UNIT_UNKNOWN, 0},
	{"8t", UNIT_UNKNOWN, 0},
	{"8s", UNIT_UNKNOWN, 0},
	{"8 k", UNIT_UNKNOWN, 0},
	{"1.5m", UNIT_FRACTION, 0},
};

/* Per hour. */
static const struct unit_case rate_cases[] = {
	{"10r/s", UNIT_OK, 36000},
	{"30r/m", UNIT_OK, 1800},
	{"1r/h", UNIT_OK, 1},
	{"0r/s", UNIT_OK, 0},
	{"10", UNIT_MISSING, 0},
	{"10r", UNIT_UNKNOWN, 0},
	{"10/s", UNIT_UNKNOWN, 0},
	{"10r/d", UNIT_UNKNOWN, 0},
	{"10R/S", UNIT_UNKNOWN, 0},
	{"0.5r/s", UNIT_FRACTION, 0},
	{"r/s", UNIT_NO_NUMBER, 0},
	{"", UNIT_NO_NUMBER, 0},
	{"18446744073709551615r/s", UNIT_TOO_LARGE, 0},
};

static void check_case(const struct unit_case *c,
		       enum config_unit_fault (*parse)(struct span, uint64_t *))
{
	uint64_t value = UNTOUCHED;
	enum config_unit_fault fault = parse(span_str(c->text), &value);

	if (fault != c->fault || value != (c->fault ? UNTOUCHED : c->value))
		fail_msg("'%s': fault %d value %llu", c->text, fault, (unsigned long long)value);
}

static void config_units__parses_durations(void **state)
{
	for (unsigned i = 0; i < ARRAY_LEN(duration_cases); i++)
		check_case(&duration_cases[i], config_duration_parse);
}

static void config_units__parses_sizes(void **state)
{
	for (unsigned i = 0; i < ARRAY_LEN(size_cases); i++)
		check_case(&size_cases[i], config_size_parse);
}

static void config_units__parses_rates(void **state)
{
	for (unsigned i = 0; i < ARRAY_LEN(rate_cases); i++)
		check_case(&rate_cases[i], config_rate_parse);
}

static void config_units__reads_no_further_than_the_span(void **state)
{
	uint64_t value = 0;

	assert_int_equal(config_duration_parse(span_of("20ms", 3), &value), UNIT_OK);
	assert_int_equal(value, 20 * 60 * CONFIG_SEC);
	assert_int_equal(config_size_parse(span_of("81k", 2), &value), UNIT_OK);
	assert_int_equal(value, 81);
}

static void config_units__says_what_is_wrong(void **state)
{
	for (int fault = UNIT_OK; fault <= UNIT_TOO_LARGE; fault++) {
		assert_non_null(config_duration_fault(fault));
		assert_non_null(config_size_fault(fault));
		assert_non_null(config_rate_fault(fault));
	}
	assert_non_null(strstr(config_duration_fault(UNIT_MISSING), "ns us ms s m h d"));
	assert_non_null(strstr(config_size_fault(UNIT_UNKNOWN), "b k m g"));
}

static void config_units__prints_the_largest_exact_unit(void **state)
{
	char text[CONFIG_UNIT_TEXT];

	assert_string_equal(config_duration_print(0, text), "0");
	assert_string_equal(config_duration_print(1500 * CONFIG_MS, text), "1500ms");
	assert_string_equal(config_duration_print(90 * CONFIG_SEC, text), "90s");
	assert_string_equal(config_duration_print(48 * 3600 * CONFIG_SEC, text), "2d");
	assert_string_equal(config_duration_print(UINT64_MAX, text), "18446744073709551615ns");
	assert_string_equal(config_rate_print(7200, text), "2r/s");
	assert_string_equal(config_rate_print(5400, text), "90r/m");
	assert_string_equal(config_rate_print(61, text), "61r/h");
	assert_string_equal(config_size_print(0, text), "0");
	assert_string_equal(config_size_print(1023, text), "1023b");
	assert_string_equal(config_size_print(1536, text), "1536b");
	assert_string_equal(config_size_print(1 << 20, text), "1m");
	assert_string_equal(config_size_print(UINT64_C(5) << 40, text), "5120g");
}

/* Walks the values around every power of two and every unit. */
static void config_units__round_trips(void **state)
{
	char text[CONFIG_UNIT_TEXT];
	uint64_t parsed;

	for (unsigned bit = 0; bit < 64; bit++) {
		for (int delta = -1; delta <= 1; delta++) {
			uint64_t value = (UINT64_C(1) << bit) + (uint64_t)delta;

			config_duration_print(value, text);
			assert_int_equal(config_duration_parse(span_str(text), &parsed), UNIT_OK);
			assert_true(parsed == value);
			config_rate_print(value, text);
			assert_int_equal(value ? config_rate_parse(span_str(text), &parsed) : UNIT_OK, UNIT_OK);
			assert_true(value == 0 || parsed == value);
			config_size_print(value, text);
			assert_int_equal(config_size_parse(span_str(text), &parsed), UNIT_OK);
			assert_true(parsed == value);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_units__parses_durations),
		cmocka_unit_test(config_units__parses_sizes),
		cmocka_unit_test(config_units__parses_rates),
		cmocka_unit_test(config_units__reads_no_further_than_the_span),
		cmocka_unit_test(config_units__says_what_is_wrong),
		cmocka_unit_test(config_units__prints_the_largest_exact_unit),
		cmocka_unit_test(config_units__round_trips),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
