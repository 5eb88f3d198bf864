/* SPDX-License-Identifier: MIT */
/* Keys, pages of listings, new names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/store_path.h"
#include "base/err.h"

static void store_key__is_the_path_below_the_prefix(void **state)
{
	static const struct {
		const char *path;
		size_t prefix_len;
		int err;
		const char *key;
		bool is_collection;
	} cases[] = {
		{ "/", 1, 0, "", true },
		{ "/a", 1, 0, "a", false },
		{ "/api/notes/", 5, 0, "notes/", true },
		{ "/api/notes/x", 5, 0, "notes/x", false },
		{ "/caf\xc3\xa9", 1, 0, "caf\xc3\xa9", false },
		{ "/\xf0\x9f\x98\x80", 1, 0, "\xf0\x9f\x98\x80", false },
		{ "/\xff", 1, -EINVAL, NULL, false },
		{ "/\xc3", 1, -EINVAL, NULL, false },
		{ "/\xc0\xaf", 1, -EINVAL, NULL, false },	   /* overlong */
		{ "/\xe0\x80\xaf", 1, -EINVAL, NULL, false },	   /* overlong */
		{ "/\xed\xa0\x80", 1, -EINVAL, NULL, false },	   /* surrogate */
		{ "/\xf4\x90\x80\x80", 1, -EINVAL, NULL, false },  /* beyond U+10FFFF */
		{ "/\xf0\x9f\x98", 1, -EINVAL, NULL, false },
		{ "/a\nb", 1, -EINVAL, NULL, false },
		{ "/a\x7f", 1, -EINVAL, NULL, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct span key;

		assert_int_equal(store_key(span_str(cases[i].path), cases[i].prefix_len, &key), cases[i].err);
		if (cases[i].err)
			continue;
		assert_true(span_eq(key, span_str(cases[i].key)));
		assert_int_equal(store_is_collection(key), cases[i].is_collection);
	}
}

static void store_key__is_bounded(void **state)
{
	char path[STORE_KEY_MAX + 3];
	struct span key;

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	assert_int_equal(store_key(span_of(path, STORE_KEY_MAX + 1), 1, &key), 0);
	assert_int_equal(key.len, STORE_KEY_MAX);
	assert_int_equal(store_key(span_of(path, STORE_KEY_MAX + 2), 1, &key), -ENAMETOOLONG);
}

static void store_page__is_parsed(void **state)
{
	static const struct {
		const char *query;
		int err;
		const char *after;
		unsigned limit;
	} cases[] = {
		{ "", 0, "", STORE_LIMIT_USUAL },
		{ "limit=1", 0, "", 1 },
		{ "limit=1000&after=a", 0, "a", 1000 },
		{ "after=a%20b", 0, "a b", STORE_LIMIT_USUAL },
		{ "after=a+b", 0, "a+b", STORE_LIMIT_USUAL },
		{ "after=sub%2F", 0, "sub/", STORE_LIMIT_USUAL },
		{ "after=sub/&x=y&&", 0, "sub/", STORE_LIMIT_USUAL },
		{ "after=a&after=b", 0, "b", STORE_LIMIT_USUAL },
		{ "afterwards=1&limits=2", 0, "", STORE_LIMIT_USUAL },
		{ "limit=0", -EINVAL, NULL, 0 },
		{ "limit=1001", -EINVAL, NULL, 0 },
		{ "limit=99999999999999999999", -EINVAL, NULL, 0 },
		{ "limit=", -EINVAL, NULL, 0 },
		{ "limit=-1", -EINVAL, NULL, 0 },
		{ "after=%", -EINVAL, NULL, 0 },
		{ "after=%4", -EINVAL, NULL, 0 },
		{ "after=%zz", -EINVAL, NULL, 0 },
		{ "after=%00", -EINVAL, NULL, 0 },
		{ "after=%ff", -EINVAL, NULL, 0 },
		{ "after=a/b", -EINVAL, NULL, 0 },
		{ "after=/", -EINVAL, NULL, 0 },
		{ "after=a//", -EINVAL, NULL, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct store_page page;

		assert_int_equal(store_page_parse(span_str(cases[i].query), &page), cases[i].err);
		if (cases[i].err)
			continue;
		assert_true(span_eq(page.after, span_str(cases[i].after)));
		assert_int_equal(page.limit, cases[i].limit);
	}
}

static void store_page__reads_back_what_it_prints(void **state)
{
	static const char *const names[] = { "a", "a b&c=d", "100%", "caf\xc3\xa9", "sub/", "+?#" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct store_page page;
		char memory[256];
		struct buf b;

		buf_init(&b, memory, sizeof(memory));
		store_page_print(&b, span_str(names[i]), 7);
		assert_int_equal(store_page_parse(buf_span(&b), &page), 0);
		assert_true(span_eq(page.after, span_str(names[i])));
		assert_int_equal(page.limit, 7);
	}
}

static void store_name__differs_each_time(void **state)
{
	char names[64][STORE_NAME_LEN];

	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		assert_int_equal(store_name_make(false, 0, names[i]), 0);
		assert_true(store_is_name(span_of(names[i], STORE_NAME_LEN)));
		for (unsigned k = 0; k < i; k++)
			assert_memory_not_equal(names[i], names[k], STORE_NAME_LEN / 2);
	}
}

/* Within one ms, over many, and when the clock is put back. */
static void store_name__sorts_by_time(void **state)
{
	static const uint64_t times_ms[] = { 1000, 1000, 1000, 1001, 5000, 5000, 4000, 5001, UINT64_C(1) << 47 };
	char last[STORE_NAME_LEN] = { 0 }, name[STORE_NAME_LEN];

	for (size_t i = 0; i < ARRAY_LEN(times_ms); i++) {
		assert_int_equal(store_name_make(true, times_ms[i], name), 0);
		assert_true(memcmp(last, name, sizeof(name)) < 0);
		memcpy(last, name, sizeof(name));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(store_key__is_the_path_below_the_prefix),
		cmocka_unit_test(store_key__is_bounded),
		cmocka_unit_test(store_page__is_parsed),
		cmocka_unit_test(store_page__reads_back_what_it_prints),
		cmocka_unit_test(store_name__differs_each_time),
		cmocka_unit_test(store_name__sorts_by_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
