/* SPDX-License-Identifier: MIT */
/* From paths and content to the words of a command, and to the form of its answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/redis_route_request.h"
#include "base/err.h"

static struct redis_words words;

/* Words with '|' between them. */
static void assert_words(const char *wanted)
{
	const char *at = wanted;

	for (unsigned i = 0; i < words.count; i++) {
		size_t len = strcspn(at, "|");

		assert_int_equal(words.items[i].len, len);
		assert_memory_equal(words.items[i].ptr, at, len);
		at += len + (at[len] == '|');
		if (i + 1 < words.count)
			assert_true(at > wanted && at[-1] == '|');
	}
	assert_int_equal(*at, '\0');
}

static void redis_request__reads_paths(void **state)
{
	static const struct {
		const char *prefix, *path;
		unsigned status;
		const char *words;
	} cases[] = {
		{ "/", "/GET/key", 0, "GET|key" },
		{ "/", "/SET/key/a%20b%2Fc", 0, "SET|key|a b/c" },
		{ "/", "/SET/k/", 0, "SET|k|" },
		{ "/", "/SET//x", 0, "SET||x" },
		{ "/", "//GET/k", 0, "GET|k" },
		{ "/", "/", 0, "" },
		{ "/r", "/r", 0, "" },
		{ "/r/", "/r/GET/k", 0, "GET|k" },
		{ "/r/s", "//r///s//GET/k", 0, "GET|k" },
		{ "/r", "/%72/GET/k", 0, "GET|k" },
		{ "/a b/", "/a%20b/PING", 0, "PING" },
		{ "/r/GET", "/r%2FGET/k", 400, NULL },
		{ "/", "/GET/%zz", 400, NULL },
		{ "/", "/GET/%4", 400, NULL },
		{ "/", "/GET/.", 400, NULL },
		{ "/", "/GET/%2e%2E/k", 400, NULL },
		{ "/", "/GET/...", 0, "GET|..." },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(redis_words_of_path(&words, span_str(cases[i].path), span_str(cases[i].prefix)),
				 cases[i].status);
		if (cases[i].words && *cases[i].words)
			assert_words(cases[i].words);
		else if (cases[i].words)
			assert_int_equal(words.count, 0);
	}
}

static void redis_request__takes_one_extension_off(void **state)
{
	static const struct {
		const char *path, *words;
		bool has_format;
		enum redis_format format;
	} cases[] = {
		{ "/GET/k.json", "GET|k", true, REDIS_JSON },	   { "/GET/k.raw", "GET|k", true, REDIS_RAW },
		{ "/GET/k.txt", "GET|k", true, REDIS_TEXT },	   { "/GET/k.bin", "GET|k", true, REDIS_BINARY },
		{ "/GET/k.json.txt", "GET|k.json", true, REDIS_TEXT }, { "/GET/k.TXT", "GET|k.TXT", false, REDIS_JSON },
		{ "/GET/k.html", "GET|k.html", false, REDIS_JSON }, { "/SET/k.txt/v", "SET|k.txt|v", false, REDIS_JSON },
		{ "/PING.txt", "PING", true, REDIS_TEXT },	   { "/GET/.txt", "GET|", true, REDIS_TEXT },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(redis_words_of_path(&words, span_str(cases[i].path), SPAN("/")), 0);
		assert_words(cases[i].words);
		assert_int_equal(words.has_format, cases[i].has_format);
		assert_int_equal(redis_format_of(&words, span_of(NULL, 0)), cases[i].format);
	}
}

static void redis_request__reads_content_as_a_command(void **state)
{
	assert_int_equal(redis_words_of_body(&words, SPAN("SET/k/../%00x")), 0);
	assert_int_equal(words.count, 4);
	assert_true(span_eq(words.items[2], SPAN("..")));
	assert_true(span_eq(words.items[3], span_of("\0x", 2)));
	assert_int_equal(redis_words_of_body(&words, SPAN("")), 0);
	assert_int_equal(words.count, 0);
	assert_int_equal(redis_words_of_body(&words, SPAN("GET/%")), 400);
}

static void redis_request__bounds_words_and_bytes(void **state)
{
	static char path[4 * REDIS_WORDS_MAX], large[sizeof(words.memory) + 2];
	struct redis_keys keys = { 1, 1, 1 };

	for (unsigned i = 0; i < REDIS_WORDS_MAX; i++)
		memcpy(path + 2 * i, "/k", 2);
	assert_int_equal(redis_words_of_path(&words, span_of(path, 2 * REDIS_WORDS_MAX), SPAN("/")), 0);
	assert_int_equal(words.count, REDIS_WORDS_MAX);
	assert_false(redis_words_add(&words, SPAN("x")));
	memcpy(path + 2 * REDIS_WORDS_MAX, "/k", 2);
	assert_int_equal(redis_words_of_path(&words, span_of(path, 2 * REDIS_WORDS_MAX + 2), SPAN("/")), 414);
	memset(large, 'x', sizeof(large));
	assert_int_equal(redis_words_of_body(&words, span_of(large, sizeof(large))), 413);
	assert_int_equal(redis_words_of_body(&words, span_of(large, sizeof(words.memory))), 0);
	assert_int_equal(redis_words_of_path(&words, SPAN("/DEL"), SPAN("/")), 0);
	assert_true(redis_words_add(&words, span_of(large, sizeof(words.memory))));
	assert_false(redis_words_prefix(&words, &keys, SPAN("p:")));
}

static void redis_request__puts_the_prefix_before_keys(void **state)
{
	struct redis_keys every_other = { 1, 3, 2 }, none = { 0, 0, 0 };

	assert_int_equal(redis_words_of_path(&words, SPAN("/MSET/a/1/b/2"), SPAN("/")), 0);
	assert_true(redis_words_prefix(&words, &every_other, SPAN("p:")));
	assert_words("MSET|p:a|1|p:b|2");
	assert_true(redis_words_prefix(&words, &none, SPAN("q:")));
	assert_words("MSET|p:a|1|p:b|2");
}

static void redis_request__knows_names(void **state)
{
	static const char *const good[] = { "GET", "get", "JSON.GET", "x-y_z9" };
	static const char *const bad[] = { "", "G ET", "GET\r\n", "a|b", "\xc3\xa9", "a/b" };
	char large[REDIS_NAME_MAX];

	memset(large, 'a', sizeof(large));
	for (unsigned i = 0; i < ARRAY_LEN(good); i++)
		assert_true(redis_is_name(span_str(good[i])));
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(redis_is_name(span_str(bad[i])));
	assert_false(redis_is_name(span_of(large, sizeof(large))));
	assert_true(redis_is_name(span_of(large, sizeof(large) - 1)));
}

static void redis_request__follows_accept(void **state)
{
	static const struct {
		const char *accept;
		enum redis_format format;
	} cases[] = {
		{ "*/*", REDIS_JSON }, { "text/plain", REDIS_TEXT }, { "text/html, text/plain;q=0.1", REDIS_TEXT },
		{ "application/json, text/plain", REDIS_JSON }, { "APPLICATION/OCTET-STREAM", REDIS_BINARY }, { "", REDIS_JSON },
	};

	assert_int_equal(redis_words_of_path(&words, SPAN("/GET/k"), SPAN("/")), 0);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(redis_format_of(&words, span_str(cases[i].accept)), cases[i].format);
	assert_int_equal(redis_words_of_path(&words, SPAN("/GET/k.raw"), SPAN("/")), 0);
	assert_int_equal(redis_format_of(&words, SPAN("text/plain")), REDIS_RAW);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(redis_request__reads_paths),
		cmocka_unit_test(redis_request__takes_one_extension_off),
		cmocka_unit_test(redis_request__reads_content_as_a_command),
		cmocka_unit_test(redis_request__bounds_words_and_bytes),
		cmocka_unit_test(redis_request__puts_the_prefix_before_keys),
		cmocka_unit_test(redis_request__knows_names),
		cmocka_unit_test(redis_request__follows_accept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
