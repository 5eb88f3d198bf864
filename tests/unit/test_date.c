/* SPDX-License-Identifier: MIT */
/* HTTP dates, against the C library's calendar. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/err.h"
#include "http/reply.h"

static void check_print(int64_t s)
{
	char *out = malloc(HTTP_DATE_LEN), expected[64];
	time_t t = (time_t)s;
	struct tm tm;
	int64_t back;

	http_date_print(s, out);
	gmtime_r(&t, &tm);
	strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	if (memcmp(out, expected, HTTP_DATE_LEN) != 0)
		fail_msg("%ld: '%.29s' instead of '%s'", s, out, expected);
	assert_int_equal(http_date_parse(span_of(out, HTTP_DATE_LEN), &back), 0);
	assert_true(back == s);
	free(out);
}

static void date__prints_what_the_library_prints(void **state)
{
	static const int64_t marks[] = {0,	    -1,		951782399,  951782400,	951868800,
					1078012800, 4107542400, 2147483647, 2147483648, -86400};

	for (size_t i = 0; i < ARRAY_LEN(marks); i++)
		check_print(marks[i]);
	/* Every day of 800 years, at another time of the day each. */
	for (int64_t day = -366 * 300; day < 366 * 500; day++)
		check_print(day * 86400 + (day * 7919 % 86400 + 86400) % 86400);
}

static void date__prints_29_bytes_whatever_the_year(void **state)
{
	static const int64_t extremes[] = {INT64_MIN, INT64_MAX, -62167219201, 253402300800};
	char out[HTTP_DATE_LEN];

	for (size_t i = 0; i < ARRAY_LEN(extremes); i++) {
		http_date_print(extremes[i], out);
		assert_memory_equal(out + 25, " GMT", 4);
		assert_memory_equal(out + 12, extremes[i] < 0 ? "0000" : "9999", 4);
	}
}

static void date__reads_all_three_forms(void **state)
{
	static const struct {
		const char *text;
		int64_t unix_s;
	} cases[] = {
		{"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
		{"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
		{"Sun Nov  6 08:49:37 1994", 784111777},
		{"Wed Nov 16 08:49:37 1994", 784975777},
		{"Thu, 01 Jan 1970 00:00:00 GMT", 0},
		{"Wednesday, 31-Dec-69 23:59:59 GMT", 3155759999},
		{"Thursday, 01-Jan-70 00:00:00 GMT", 0},
		{"Tue, 29 Feb 2000 12:00:00 GMT", 951825600},
		{"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800},
		{"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
		{"Mon, 06 Nov 1994 08:49:37 GMT", 784111777}, /* the name of the day is not checked
							       */
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t len = strlen(cases[i].text);
		char *exact = malloc(len);
		int64_t s = -1;

		memcpy(exact, cases[i].text, len);
		if (http_date_parse(span_of(exact, len), &s) || s != cases[i].unix_s)
			fail_msg("'%s' gives %ld", cases[i].text, s);
		free(exact);
	}
}

static void date__refuses_everything_else(void **state)
{
	static const char *const cases[] = {
		"",
		"Sun",
		"0",
		"784111777",
		"Sun, 06 Nov 1994 08:49:37",
		"Sun, 06 Nov 1994 08:49:37 UTC",
		"Sun, 06 Nov 1994 08:49:37 GMT ",
		" Sun, 06 Nov 1994 08:49:37 GMT",
		"sun, 06 Nov 1994 08:49:37 GMT",
		"Sun, 06 nov 1994 08:49:37 GMT",
		"Sun, 6 Nov 1994 08:49:37 GMT",
		"Sun, 00 Nov 1994 08:49:37 GMT",
		"Sun, 31 Nov 1994 08:49:37 GMT",
		"Wed, 29 Feb 1900 08:49:37 GMT",
		"Wed, 29 Feb 2001 08:49:37 GMT",
		"Sun, 06 Nov 1994 24:00:00 GMT",
		"Sun, 06 Nov 1994 08:60:37 GMT",
		"Sun, 06 Nov 1994 08:49:61 GMT",
		"Sun, 06 Nov 1994 8:49:37 GMT",
		"Sun, 06 Nov 94 08:49:37 GMT",
		"Sun, 06 Nov +994 08:49:37 GMT",
		"Sun, -6 Nov 1994 08:49:37 GMT",
		"Sunday, 06-Nov-1994 08:49:37 GMT",
		"Sund, 06-Nov-94 08:49:37 GMT",
		"Sun Nov 6 08:49:37 1994",
		"Sun Nov 06 08:49:37 94",
		"1994-11-06T08:49:37Z",
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t len = strlen(cases[i]);
		char *exact = malloc(len ? len : 1);
		int64_t s;

		memcpy(exact, cases[i], len);
		if (http_date_parse(span_of(exact, len), &s) != -EINVAL)
			fail_msg("'%s' was taken", cases[i]);
		free(exact);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(date__prints_what_the_library_prints),
		cmocka_unit_test(date__prints_29_bytes_whatever_the_year),
		cmocka_unit_test(date__reads_all_three_forms),
		cmocka_unit_test(date__refuses_everything_else),
	};

	return cmocka_run_group_tests_name("date", tests, NULL, NULL);
}
