/* SPDX-License-Identifier: MIT */
/* Preconditions in the order of RFC 9110 13.2.2, and If-Range. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/conditional.h"
#include "base/err.h"
#include "recorder.h"

#define DATE	"Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE	"Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER	"Sun, 06 Nov 1994 08:49:38 GMT"
#define DATE850 "Sunday, 06-Nov-94 08:49:37 GMT"
#define DATE_S	784111777

static const struct validators strong = {
	.etag = {"\"a\"", 3},
	.modified = {DATE, 29},
	.modified_s = DATE_S,
	.is_strong = true,
};
static const struct validators weak = {
	.etag = {"W/\"a\"", 5},
	.modified = {DATE, 29},
	.modified_s = DATE_S,
};
static struct recorder x;

static void conditional__follows_the_order_of_the_rfc(void **state)
{
	static const struct {
		const char *fields;
		enum conditional of_strong, of_weak;
	} cases[] = {
#define GO   CONDITIONAL_PROCEED
#define SAME CONDITIONAL_NOT_MODIFIED
#define FAIL CONDITIONAL_FAILED
		{"", GO, GO},
		{"If-Match: \"a\"\n", GO, FAIL},
		{"If-Match: W/\"a\"\n", FAIL, FAIL},
		{"If-Match: \"b\", \"a\"\n", GO, FAIL},
		{"If-Match: \"b\"\nIf-Match: \"a\"\n", GO, FAIL},
		{"If-Match: \"b\"\n", FAIL, FAIL},
		{"If-Match: *\n", GO, GO},
		{"If-Match: a\n", FAIL, FAIL},
		{"If-Match: \n", FAIL, FAIL},
		{"If-None-Match: \"a\"\n", SAME, SAME},
		{"If-None-Match: W/\"a\"\n", SAME, SAME},
		{"If-None-Match: w/\"a\"\n", GO, GO},
		{"If-None-Match: \"b\",,\t\"c\" , W/\"a\"\n", SAME, SAME},
		{"If-None-Match: \"b\"\nX: y\nIf-None-Match: \"a\"\n", SAME, SAME},
		{"If-None-Match: \"x,\\\", \"a\"\n", SAME, SAME},
		{"If-None-Match: \"b,\"a\"\n", GO, GO},
		{"If-None-Match: *\n", SAME, SAME},
		{"If-None-Match: \"*\"\n", GO, GO},
		{"If-None-Match: \"a\n", GO, GO},
		{"If-None-Match: a\"\n", GO, GO},
		{"If-None-Match: W/\n", GO, GO},
		{"If-None-Match: \n", GO, GO},
		{"If-Modified-Since: " DATE "\n", SAME, SAME},
		{"If-Modified-Since: " DATE850 "\n", SAME, SAME},
		{"If-Modified-Since: " AFTER "\n", SAME, SAME},
		{"If-Modified-Since: " BEFORE "\n", GO, GO},
		{"If-Modified-Since: yesterday\n", GO, GO},
		{"If-Modified-Since: \n", GO, GO},
		{"If-Unmodified-Since: " DATE "\n", GO, GO},
		{"If-Unmodified-Since: " AFTER "\n", GO, GO},
		{"If-Unmodified-Since: " BEFORE "\n", FAIL, FAIL},
		{"If-Unmodified-Since: yesterday\n", GO, GO},
		/* a tag outdoes the date of its kind */
		{"If-Match: \"a\"\nIf-Unmodified-Since: " BEFORE "\n", GO, FAIL},
		{"If-None-Match: \"b\"\nIf-Modified-Since: " AFTER "\n", GO, GO},
		{"If-None-Match: \"a\"\nIf-Modified-Since: " BEFORE "\n", SAME, SAME},
		/* 412 comes before 304 */
		{"If-None-Match: \"a\"\nIf-Match: \"b\"\n", FAIL, FAIL},
		{"If-Modified-Since: " DATE "\nIf-Unmodified-Since: " BEFORE "\n", FAIL, FAIL},
		{"If-Match: *\nIf-None-Match: \"a\"\n", SAME, SAME},
		{"If-Unmodified-Since: " AFTER "\nIf-Modified-Since: " DATE "\n", SAME, SAME},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(recorder_prepare(&x, "GET", "/", cases[i].fields), 0);
		if (conditional_check(&x.req, &strong) != cases[i].of_strong)
			fail_msg("strong: %s", cases[i].fields);
		if (conditional_check(&x.req, &weak) != cases[i].of_weak)
			fail_msg("weak: %s", cases[i].fields);
		assert_int_equal(conditional_is_asked(&x.req), cases[i].fields[0] != '\0');
	}
}

static void conditional__allows_a_range_for_strong_validators_only(void **state)
{
	static const struct {
		const char *fields;
		bool of_strong, of_weak;
	} cases[] = {
		{"", true, true},
		{"If-Range: \"a\"\n", true, false},
		{"If-Range: W/\"a\"\n", false, false},
		{"If-Range: \"b\"\n", false, false},
		{"If-Range: \"b\", \"a\"\n", false, false},
		{"If-Range: *\n", false, false},
		{"If-Range: " DATE "\n", true, false},
		{"If-Range: " AFTER "\n", false, false},
		{"If-Range: " BEFORE "\n", false, false},
		{"If-Range: nonsense\n", false, false},
		{"If-Range: \n", false, false},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(recorder_prepare(&x, "GET", "/", cases[i].fields), 0);
		if (conditional_allows_range(&x.req, &strong) != cases[i].of_strong)
			fail_msg("strong: %s", cases[i].fields);
		if (conditional_allows_range(&x.req, &weak) != cases[i].of_weak)
			fail_msg("weak: %s", cases[i].fields);
	}
}

/* Bytes of any kind at the exact end of their memory: for the sanitizer. */
static void conditional__reads_no_byte_too_many(void **state)
{
	static const char alphabet[] = "W/\",* \\ab:0";
	uint64_t seed = 7;

	for (int round = 0; round < 50000; round++) {
		size_t len = (size_t)(round % 16) + 1;
		char *text = malloc(len);

		assert_non_null(text);
		for (size_t i = 0; i < len; i++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			text[i] = alphabet[(seed >> 40) % (sizeof(alphabet) - 1)];
		}
		recorder_prepare(&x, "GET", "/", "If-None-Match: x\nIf-Range: x\n");
		x.req.fields[0].value = span_of(text, len);
		x.req.fields[1].value = span_of(text, len);
		if (conditional_check(&x.req, &strong) == CONDITIONAL_NOT_MODIFIED)
			assert_true(memchr(text, '*', len) || memmem(text, len, "\"a\"", 3));
		if (conditional_allows_range(&x.req, &strong))
			assert_true(len == 3 && !memcmp(text, "\"a\"", 3));
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conditional__follows_the_order_of_the_rfc),
		cmocka_unit_test(conditional__allows_a_range_for_strong_validators_only),
		cmocka_unit_test(conditional__reads_no_byte_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
