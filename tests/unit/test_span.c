/* SPDX-License-Identifier: MIT */
/* Spans are copied to blocks of exactly their length first: under AddressSanitizer one byte too far
 * is seen. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/span.h"

static struct span exact(struct span s)
{
	char *copy = malloc(s.len ? s.len : 1);

	assert_non_null(copy);
	if (s.len)
		memcpy(copy, s.ptr, s.len);
	return span_of(s.len ? copy : copy + 1, s.len);
}

static void release(struct span s)
{
	free((char *)s.ptr - (s.len ? 0 : 1));
}

static unsigned char reference_lower(unsigned c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

/* Every pair of bytes, at every place of a word, of its end and of the rest behind it. */
static void span__folds_ascii_letters_only(void **state)
{
	char a[19], b[19];

	for (unsigned x = 0; x < 256; x++) {
		for (unsigned y = 0; y < 256; y++) {
			size_t at = (x * 31 + y) % sizeof(a);

			memset(a, '-', sizeof(a));
			memset(b, '-', sizeof(b));
			a[at] = (char)x;
			b[at] = (char)y;
			assert_int_equal(span_ieq(span_of(a, sizeof(a)), span_of(b, sizeof(b))),
					 reference_lower(x) == reference_lower(y));
		}
	}
}

static void span__compares(void **state)
{
	static const struct {
		const char *a, *b;
		bool is_same, is_same_folded, starts, ends;
	} cases[] = {
		{"", "", true, true, true, true},
		{"a", "", false, false, true, true},
		{"", "a", false, false, false, false},
		{"Host", "host", false, true, false, false},
		{"Content-Length", "content-lengtH", false, true, false, false},
		{"content-length", "content-lengti", false, false, false, false},
		{"content-length", "content", false, false, true, false},
		{"content-length", "length", false, false, false, true},
		{"content-length", "ontent", false, false, false, false},
		{"if-modified-since", "if-modified-since", true, true, true, true},
		{"@[`{0123", "`{@[0123", false, false, false, false},
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct span a = exact(span_str(cases[i].a));
		struct span b = exact(span_str(cases[i].b));

		assert_int_equal(span_eq(a, b), cases[i].is_same);
		assert_int_equal(span_ieq(a, b), cases[i].is_same_folded);
		assert_int_equal(span_starts_with(a, b), cases[i].starts);
		assert_int_equal(span_ends_with(a, b), cases[i].ends);
		release(a);
		release(b);
	}
	assert_true(span_eq(span_str(NULL), SPAN("")));
	assert_true(span_ieq(span_str(NULL), SPAN("")));
	assert_true(span_ends_with(SPAN("x"), span_str(NULL)));
	assert_true(span_starts_with(span_str(NULL), span_str(NULL)));
}

static void span__trims_blanks_and_tabs_only(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"", ""},	    {" \t ", ""},    {"a", "a"},     {" a b\t", "a b"},
		{"\ra\n", "\ra\n"}, {"\t\t a", "a"}, {"a \t ", "a"}, {"\va", "\va"},
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct span s = exact(span_str(cases[i].text));

		assert_true(span_eq(span_trim(s), span_str(cases[i].expected)));
		release(s);
	}
	assert_int_equal(span_trim(span_str(NULL)).len, 0);
}

static void span__splits_lists(void **state)
{
	/* The elements as found, each followed by '|'. */
	static const struct {
		const char *list, *items;
	} cases[] = {
		{"", ""},
		{",", ""},
		{" , ,\t,", ""},
		{"a", "a|"},
		{"a,b", "a|b|"},
		{" a , b c ,, d,", "a|b c|d|"},
		{"\"a,b\",c", "\"a,b\"|c|"},
		{"x=\"a,\\\",b\", y", "x=\"a,\\\",b\"|y|"},
		{"\"a\\\\\",b", "\"a\\\\\"|b|"},
		{"a\\,b", "a\\|b|"},
		{"\"never closed, b", "\"never closed, b|"},
		{"\"ends in a backslash\\", "\"ends in a backslash\\|"},
		{"a,\"", "a|\"|"},
		{"\"\",b", "\"\"|b|"},
		{"a\"b,c\"d,\"e,f\"", "a\"b,c\"d|\"e,f\"|"},
		{"W/\"1,2\",\"3\"", "W/\"1,2\"|\"3\"|"},
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct span whole = exact(span_str(cases[i].list));
		struct span list = whole, item;
		char found[128];
		size_t len = 0;

		while (span_next_item(&list, &item))
			len += (size_t)snprintf(found + len, sizeof(found) - len, "%.*s|",
						SPAN_ARG(item));
		found[len] = '\0';
		assert_string_equal(found, cases[i].items);
		assert_int_equal(list.len, 0);
		assert_ptr_equal(list.ptr, whole.ptr + whole.len);
		release(whole);
	}
}

/* All texts of up to 6 bytes over the bytes that mean something, against a splitter that goes byte
 * by byte. */
static void span__splits_like_a_naive_splitter(void **state)
{
	static const char alphabet[] = {'a', ',', '"', '\\', ' '};
	unsigned count = 1;

	for (size_t len = 0; len <= 6; len++, count *= 5) {
		for (unsigned number = 0; number < count; number++) {
			char text[6];
			struct span list, item;
			size_t start = 0, end;
			unsigned rest = number;

			for (size_t i = 0; i < len; i++, rest /= 5)
				text[i] = alphabet[rest % 5];
			list = span_of(text, len);
			for (; start < len; start = end + 1) {
				bool is_quoted = false;
				struct span expected;

				for (end = start; end < len; end++) {
					if (text[end] == '"')
						is_quoted = !is_quoted;
					if (text[end] == '\\' && is_quoted)
						end++;
					else if (text[end] == ',' && !is_quoted)
						break;
				}
				end = MIN(end, len);
				expected = span_trim(span_of(text + start, end - start));
				if (!expected.len)
					continue;
				assert_true(span_next_item(&list, &item));
				assert_ptr_equal(item.ptr, expected.ptr);
				assert_int_equal(item.len, expected.len);
			}
			assert_false(span_next_item(&list, &item));
		}
	}
}

static void span__finds_tokens_in_lists(void **state)
{
	static const struct {
		const char *list, *token;
		bool is_there;
	} cases[] = {
		{"close", "close", true},
		{"Keep-Alive, CLOSE", "close", true},
		{"keep-alive,close ", "close", true},
		{"closed", "close", false},
		{"not close", "close", false},
		{"\"a,close\"", "close", false},
		{"", "close", false},
		{",,", "", false},
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(span_list_has(span_str(cases[i].list), span_str(cases[i].token)),
				 cases[i].is_there);
}

static void span__reads_whole_decimal_numbers(void **state)
{
	static const struct {
		const char *text;
		int err;
		uint64_t value;
	} cases[] = {
		{"0", 0, 0},
		{"42", 0, 42},
		{"0000000000000000000000000042", 0, 42},
		{"18446744073709551615", 0, UINT64_MAX},
		{"18446744073709551616", -ERANGE, 0},
		{"18446744073709551625", -ERANGE, 0},
		{"99999999999999999999", -ERANGE, 0},
		{"184467440737095516150", -ERANGE, 0},
		{"36893488147419103232", -ERANGE, 0},
		{"", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"+1", -EINVAL, 0},
		{" 1", -EINVAL, 0},
		{"1 ", -EINVAL, 0},
		{"0x1", -EINVAL, 0},
		{"1,1", -EINVAL, 0},
		{"1\xb2", -EINVAL, 0},
		{"/", -EINVAL, 0},
		{":", -EINVAL, 0},
		{"99999999999999999999999x", -EINVAL, 0},
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct span s = exact(span_str(cases[i].text));
		uint64_t value = 77;

		assert_int_equal(span_to_u64(s, &value), cases[i].err);
		assert_true(value == (cases[i].err ? 77 : cases[i].value));
		release(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(span__folds_ascii_letters_only),
		cmocka_unit_test(span__compares),
		cmocka_unit_test(span__trims_blanks_and_tabs_only),
		cmocka_unit_test(span__splits_lists),
		cmocka_unit_test(span__splits_like_a_naive_splitter),
		cmocka_unit_test(span__finds_tokens_in_lists),
		cmocka_unit_test(span__reads_whole_decimal_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
