/* SPDX-License-Identifier: MIT */
/* The choice by Accept-Encoding (RFC 9110 12.5.3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "app/encoding.h"
#include "base/err.h"

#define B (1u << ENCODING_BR)
#define Z (1u << ENCODING_ZSTD)
#define G (1u << ENCODING_GZIP)

static void encoding__chooses(void **state)
{
	static const struct {
		const char *accept; /* NULL: no field */
		unsigned available;
		enum encoding choice;
	} cases[] = {
		{NULL, B | Z | G, ENCODING_IDENTITY},
		{"", B | Z | G, ENCODING_IDENTITY},
		{"gzip, deflate, br, zstd", B | Z | G, ENCODING_BR},
		{"gzip, deflate, br, zstd", Z | G, ENCODING_ZSTD},
		{"gzip, deflate, br, zstd", G, ENCODING_GZIP},
		{"gzip, deflate, br, zstd", 0, ENCODING_IDENTITY},
		{"deflate", B | Z | G, ENCODING_IDENTITY},
		{"GZIP", G, ENCODING_GZIP},
		{"x-gzip", G, ENCODING_GZIP},
		{"gzipx, xgzip", G, ENCODING_IDENTITY},
		{"*", B | Z | G, ENCODING_BR},
		{"*", G, ENCODING_GZIP},
		{"br;q=0.5, gzip;q=0.8", B | G, ENCODING_GZIP},
		{"br;q=0.5, gzip;q=0.501", B | G, ENCODING_GZIP},
		{"br ; Q=0.9 , gzip ;q=0.8", B | G, ENCODING_BR},
		{"br;q=0, *", B | G, ENCODING_GZIP},
		{"br;q=0", B, ENCODING_IDENTITY},
		{"br;q=0.000", B, ENCODING_IDENTITY},
		{"*;q=0", B | Z | G, ENCODING_IDENTITY},
		{"*;q=0, gzip", B | Z | G, ENCODING_GZIP},
		{"identity, gzip;q=0.5", G, ENCODING_IDENTITY},
		{"identity;q=0.5, gzip;q=0.5", G, ENCODING_GZIP},
		{"identity;q=0", G, ENCODING_IDENTITY},
		{"identity;q=0, gzip;q=0.001", G, ENCODING_GZIP},
		{"gzip;q=0.001", G, ENCODING_GZIP},
		{"gzip;q=1.000", G, ENCODING_GZIP},
		/* malformed weights ask for nothing */
		{"gzip;q=", G, ENCODING_IDENTITY},
		{"gzip;q=2", G, ENCODING_IDENTITY},
		{"gzip;q=1.001", G, ENCODING_IDENTITY},
		{"gzip;q=0.1234", G, ENCODING_IDENTITY},
		{"gzip;q=-1", G, ENCODING_IDENTITY},
		{"gzip;q=0x1", G, ENCODING_IDENTITY},
		{";q=1, ,", G, ENCODING_IDENTITY},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct encoding_memo m = {0};
		enum encoding choice =
			encoding_choose_for(&m, span_str(cases[i].accept), cases[i].available);

		if (choice != cases[i].choice)
			fail_msg("'%s' of %x gave %d", cases[i].accept, cases[i].available, choice);
		/* and again, from memory */
		choice = encoding_choose_for(&m, span_str(cases[i].accept), cases[i].available);
		assert_int_equal(choice, cases[i].choice);
	}
}

static void encoding__does_not_mix_up_what_it_remembers(void **state)
{
	struct encoding_memo m = {0};
	char big[200];

	assert_int_equal(encoding_choose_for(&m, SPAN("gzip"), G | Z), ENCODING_GZIP);
	assert_int_equal(encoding_choose_for(&m, SPAN("zstd"), G | Z), ENCODING_ZSTD);
	assert_int_equal(encoding_choose_for(&m, SPAN("zstd"), G), ENCODING_IDENTITY);
	assert_int_equal(encoding_choose_for(&m, SPAN("gzip;q=0.9br"), G), ENCODING_IDENTITY);
	assert_int_equal(encoding_choose_for(&m, SPAN("gzip"), G | Z), ENCODING_GZIP);
	memset(big, ' ', sizeof(big));
	memcpy(big + sizeof(big) - 4, "gzip", 4);
	for (size_t from = 0; from < sizeof(big) - 4; from++) {
		struct span accept = span_of(big + from, sizeof(big) - from);

		assert_int_equal(encoding_choose_for(&m, accept, G), ENCODING_GZIP);
		assert_int_equal(encoding_choose_for(&m, accept, G), ENCODING_GZIP);
	}
}

/* Bytes of any kind at the exact end of their memory: for the sanitizer. */
static void encoding__reads_no_byte_too_many(void **state)
{
	static const char alphabet[] = ",;=q01.* gzipbrx-\"\t";
	uint64_t seed = 7;

	for (int round = 0; round < 50000; round++) {
		size_t len = (size_t)(round % 24) + 1;
		char *text = malloc(len);
		struct encoding_weights w;

		assert_non_null(text);
		for (size_t i = 0; i < len; i++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			text[i] = alphabet[(seed >> 40) % (sizeof(alphabet) - 1)];
		}
		encoding_parse(span_of(text, len), &w);
		for (unsigned i = 0; i <= ENCODING_IDENTITY; i++)
			assert_in_range(w.of[i] + 1, 0, 1001);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encoding__chooses),
		cmocka_unit_test(encoding__does_not_mix_up_what_it_remembers),
		cmocka_unit_test(encoding__reads_no_byte_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
