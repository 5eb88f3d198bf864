/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"

#define GUARD 0x5a

/* A buffer of `cap` bytes with known bytes behind it. */
struct guarded {
	char bytes[64];
	struct buf buf;
};

static void guarded_init(struct guarded *g, size_t cap)
{
	memset(g->bytes, GUARD, sizeof(g->bytes));
	buf_init(&g->buf, g->bytes, cap);
}

static void assert_text(const struct guarded *g, const char *text)
{
	assert_int_equal(g->buf.len, strlen(text));
	assert_memory_equal(g->bytes, text, strlen(text));
	for (size_t i = g->buf.cap; i < sizeof(g->bytes); i++)
		assert_int_equal(g->bytes[i], GUARD);
}

static void buf__takes_what_fits_exactly(void **state)
{
	struct guarded g;

	guarded_init(&g, 5);
	buf_add_lit(&g.buf, "ab");
	buf_add_char(&g.buf, 'c');
	buf_add_span(&g.buf, SPAN("de"));
	assert_false(g.buf.is_truncated);
	assert_int_equal(buf_room(&g.buf), 0);
	buf_add(&g.buf, NULL, 0);
	buf_add_span(&g.buf, span_str(NULL));
	assert_false(g.buf.is_truncated);
	assert_text(&g, "abcde");
	assert_true(span_eq(buf_span(&g.buf), SPAN("abcde")));
}

/* What a buffer holds is a prefix of what was meant: nothing follows a hole. */
static void buf__stays_cut_once_it_was(void **state)
{
	struct guarded g;

	guarded_init(&g, 5);
	buf_add_lit(&g.buf, "abc");
	buf_add_lit(&g.buf, "def");
	assert_true(g.buf.is_truncated);
	buf_add_char(&g.buf, 'x');
	buf_add_u64(&g.buf, 1);
	buf_printf(&g.buf, "y");
	assert_text(&g, "abc");
	assert_true(g.buf.is_truncated);
}

static void buf__without_memory_is_full(void **state)
{
	struct buf b;

	buf_init(&b, NULL, 0);
	buf_add(&b, NULL, 0);
	buf_printf(&b, "%s", "");
	assert_false(b.is_truncated);
	buf_printf(&b, "%d", 1);
	assert_true(b.is_truncated);
	buf_init(&b, NULL, 0);
	buf_add_char(&b, 'x');
	assert_true(b.is_truncated);
	assert_int_equal(b.len, 0);
}

static void buf__prints_numbers(void **state)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 200; i++) {
		char expected[64];
		struct guarded g;

		guarded_init(&g, 60);
		snprintf(expected, sizeof(expected), "%" PRIu64 " %" PRIx64 " %016" PRIx64, value, value, value);
		buf_add_u64(&g.buf, value);
		buf_add_char(&g.buf, ' ');
		buf_add_hex(&g.buf, value);
		buf_add_char(&g.buf, ' ');
		buf_add_hex16(&g.buf, value);
		assert_text(&g, expected);
		/* 0, 1, 2^n and its neighbours, then anything. */
		if (i < 192)
			value = (1ull << i / 3) + i % 3 - 1;
		else
			value = i == 192 ? UINT64_MAX : value * 6364136223846793005ull + 1;
	}
}

/* In exactly the room there is, and not in a byte less. */
static void buf__prints_as_many_digits_as_a_number_has(void **state)
{
	uint64_t power = 1;

	for (int i = 0; i < 40; i++) {
		uint64_t value = i % 2 ? power : power - 1;
		char expected[32];
		struct guarded g;

		snprintf(expected, sizeof(expected), "%" PRIu64, value);
		guarded_init(&g, strlen(expected));
		buf_add_u64(&g.buf, value);
		assert_text(&g, expected);
		assert_false(g.buf.is_truncated);
		guarded_init(&g, strlen(expected) - 1);
		buf_add_u64(&g.buf, value);
		assert_text(&g, "");
		assert_true(g.buf.is_truncated);
		if (i % 2)
			power *= 10;
	}
}

static void buf__cuts_numbers_whole(void **state)
{
	struct guarded g;

	guarded_init(&g, 3);
	buf_add_u64(&g.buf, 1234);
	assert_true(g.buf.is_truncated);
	assert_text(&g, "");
	guarded_init(&g, 3);
	buf_add_hex(&g.buf, 0x1234);
	assert_true(g.buf.is_truncated);
	assert_text(&g, "");
}

static void buf__formats_with_one_byte_to_spare(void **state)
{
	for (size_t cap = 0; cap < 12; cap++) {
		struct guarded g;
		bool fits = cap >= sizeof("ab-0042");

		guarded_init(&g, cap);
		buf_printf(&g.buf, "%s-%04d", "ab", 42);
		assert_int_equal(g.buf.is_truncated, !fits);
		assert_text(&g, fits ? "ab-0042" : "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buf__takes_what_fits_exactly),
		cmocka_unit_test(buf__stays_cut_once_it_was),
		cmocka_unit_test(buf__without_memory_is_full),
		cmocka_unit_test(buf__prints_numbers),
		cmocka_unit_test(buf__prints_as_many_digits_as_a_number_has),
		cmocka_unit_test(buf__cuts_numbers_whole),
		cmocka_unit_test(buf__formats_with_one_byte_to_spare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
