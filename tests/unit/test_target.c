/* SPDX-License-Identifier: MIT */
/* Targets, paths and authorities. */
#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/err.h"
#include "http/target.h"

#define NONE "\1" /* refused */

static void target__normalizes_paths(void **state)
{
	static const struct {
		struct span raw;
		const char *path;
	} cases[] = {
		{SPAN("/"), "/"},
		{SPAN("/a"), "/a"},
		{SPAN("/a/"), "/a/"},
		{SPAN("/."), "/"},
		{SPAN("/./"), "/"},
		{SPAN("/./a"), "/a"},
		{SPAN("/a/./b/./c"), "/a/b/c"},
		{SPAN("/a/.."), "/"},
		{SPAN("/a/../"), "/"},
		{SPAN("/a/../b"), "/b"},
		{SPAN("/a/b/../../c"), "/c"},
		{SPAN("/a/b/../../c/.."), "/"},
		{SPAN("/mid/content=5/../6"), "/mid/6"}, /* RFC 3986 5.2.4 */
		{SPAN("/a/b/c/./../../g"), "/a/g"},	 /* RFC 3986 5.2.4 */
		{SPAN("/.a"), "/.a"},
		{SPAN("/..a"), "/..a"},
		{SPAN("/a."), "/a."},
		{SPAN("/a.."), "/a.."},
		{SPAN("/..."), "/..."},
		{SPAN("//"), "/"},
		{SPAN("//a//b//"), "/a/b/"},
		{SPAN("/a//.."), "/a/"}, /* ".." takes the empty segment, merging comes last */
		{SPAN("/%41"), "/A"},
		{SPAN("/%2F"), "/"},
		{SPAN("/a%2fb"), "/a/b"},
		{SPAN("/a%2f%2e%2e%2fb"), "/b"},
		{SPAN("/%2e/%2E/a"), "/a"},
		{SPAN("/%25%32%65"), "/%2e"},
		{SPAN("/a%0d%0ab"), "/a\r\nb"},
		{SPAN("/%ff%C0%AF.."), "/\xff\xc0\xaf.."}, /* overlong: bytes, never a slash */
		{SPAN("/a\\..\\b"), "/a\\..\\b"},
		{SPAN("/a+b;c=d"), "/a+b;c=d"},
		{SPAN(""), NONE},
		{SPAN("a"), NONE},
		{SPAN("%2fa"), NONE},
		{SPAN("/.."), NONE},
		{SPAN("/../"), NONE},
		{SPAN("/../a"), NONE},
		{SPAN("/a/../.."), NONE},
		{SPAN("/./.."), NONE},
		{SPAN("/a/b/../../../c"), NONE},
		{SPAN("/%2e%2e"), NONE},
		{SPAN("/.%2e/"), NONE},
		{SPAN("/a%2f..%2f.."), NONE},
		{SPAN("/%"), NONE},
		{SPAN("/%4"), NONE},
		{SPAN("/%4g"), NONE},
		{SPAN("/%g4"), NONE},
		{SPAN("/% 4"), NONE},
		{SPAN("/%u0041"), NONE},
		{SPAN("/%00"), NONE},
		{SPAN("/a%00.html"), NONE},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct span raw = cases[i].raw;
		char *from = malloc(raw.len + !raw.len), *to = malloc(raw.len + !raw.len);
		ssize_t len;

		memcpy(from, raw.ptr, raw.len);
		len = path_normalize(span_of(from, raw.len), to);
		if (cases[i].path[0] == '\1' ? len != -EINVAL
					     : len < 0 || !span_eq(span_of(to, (size_t)len),
								   span_str(cases[i].path)))
			fail_msg("'%.*s' gives %zd '%.*s'", SPAN_ARG(raw), len,
				 len < 0 ? 0 : (int)len, to);
		free(from);
		free(to);
	}
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 16;
}

/* Whatever comes in: the result has a leading slash, no dot segment, no empty one, and is a fixed
 * point. */
static void target__normal_paths_stay_within_the_root(void **state)
{
	static const char *const parts[] = {"/", ".", "..",  "%2e", "%2F",
					    "a", "%", "%41", "//",  "%25"};
	uint32_t seed = 7;

	for (unsigned round = 0; round < 200000; round++) {
		char raw[64] = "/", path[64], again[64];
		size_t raw_len = 1;
		ssize_t len;

		for (unsigned n = next_random(&seed) % 12; n > 0; n--) {
			const char *part = parts[next_random(&seed) % ARRAY_LEN(parts)];

			memcpy(raw + raw_len, part, strlen(part));
			raw_len += strlen(part);
		}
		len = path_normalize(span_of(raw, raw_len), path);
		if (len < 0)
			continue;
		path[len] = '\0';
		assert_true(path[0] == '/' && (size_t)len <= raw_len);
		assert_null(strstr(path, "//"));
		assert_null(strstr(path, "/./"));
		assert_null(strstr(path, "/../"));
		assert_false(len >= 2 && strcmp(path + len - 2, "/.") == 0);
		assert_false(len >= 3 && strcmp(path + len - 3, "/..") == 0);
		if (!strchr(path, '%')) {
			assert_int_equal(path_normalize(span_of(path, (size_t)len), again), len);
			assert_memory_equal(path, again, (size_t)len);
		}
	}
}

static void target__splits_authorities(void **state)
{
	static const struct {
		const char *text, *host, *port; /* host NULL: refused */
	} cases[] = {
		{"a", "a", ""},
		{"a:1", "a", "1"},
		{"a:", "a", ""},
		{"a.b.", "a.b.", ""},
		{"a:65535", "a", "65535"},
		{"a:00000080", "a", "00000080"},
		{"1.2.3.4:80", "1.2.3.4", "80"},
		{"[::]", "[::]", ""},
		{"[::ffff:1.2.3.4]:8", "[::ffff:1.2.3.4]", "8"},
		{"xn--nxasmq6b", "xn--nxasmq6b", ""},
		{"a%2e~_-!$&'()*+;=b", "a%2e~_-!$&'()*+;=b", ""},
		{"", NULL, NULL},
		{":", NULL, NULL},
		{":80", NULL, NULL},
		{"a:b", NULL, NULL},
		{"a:65536", NULL, NULL},
		{"a:000000080", NULL, NULL},
		{"a:99999999999999999999", NULL, NULL},
		{"a:-1", NULL, NULL},
		{"a: 1", NULL, NULL},
		{"a:1:", NULL, NULL},
		{"a b", NULL, NULL},
		{"a,b", NULL, NULL},
		{"a/b", NULL, NULL},
		{"a?b", NULL, NULL},
		{"a#b", NULL, NULL},
		{"a\\b", NULL, NULL},
		{"u@a", NULL, NULL},
		{"u:1@a", NULL, NULL},
		{"<a>", NULL, NULL},
		{"a%", NULL, NULL},
		{"a%2", NULL, NULL},
		{"a%2x", NULL, NULL},
		{"[]", NULL, NULL},
		{"[", NULL, NULL},
		{"]", NULL, NULL},
		{"[::1", NULL, NULL},
		{"[::1]]", NULL, NULL},
		{"[::1]a", NULL, NULL},
		{"[1.2.3.4]", NULL, NULL},
		{"[fe80::1%eth0]", NULL, NULL},
		{"[v1.x]", NULL, NULL},
		{"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]", NULL, NULL},
		{"::1", NULL, NULL},
		{"\x80", NULL, NULL},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t len = strlen(cases[i].text);
		char *exact = malloc(len ? len : 1);
		struct span host, port;
		int err;

		memcpy(exact, cases[i].text, len);
		err = authority_split(span_of(exact, len), &host, &port);
		if (!cases[i].host ? err != -EINVAL
				   : err || !span_eq(host, span_str(cases[i].host)) ||
					     !span_eq(port, span_str(cases[i].port)))
			fail_msg("'%s' gives %d", cases[i].text, err);
		free(exact);
	}
	assert_int_equal(authority_split(span_of(NULL, 0), &(struct span){0}, &(struct span){0}),
			 -EINVAL);
}

/* Every byte value at every place of a name of any length: good is what RFC 3986 has in a reg-name. */
static void target__knows_every_byte_of_a_name(void **state)
{
	for (size_t len = 1; len <= 40; len++) {
		char *exact = malloc(len);

		for (size_t at = 0; at < len; at++) {
			for (int c = 0; c < 256; c++) {
				bool is_good = c && (isalnum(c) || strchr("-._~!$&'()*+;=", c)) && c < 128;
				struct span host, port;

				/* A port, an escape and a literal have cases of their own. */
				if (c == ':' || c == '%' || c == '[')
					continue;
				memset(exact, len % 2 ? 'w' : '7', len);
				exact[at] = (char)c;
				if ((authority_split(span_of(exact, len), &host, &port) == 0) != is_good)
					fail_msg("byte %02x at %zu of %zu", c, at, len);
				assert_true(!is_good || (span_eq(host, span_of(exact, len)) && port.len == 0));
			}
		}
		free(exact);
	}
}

static struct request *request_of(enum http_method method, char *target, size_t len)
{
	struct request *req = calloc(1, sizeof(*req));

	req->method = method;
	req->target = span_of(target, len);
	return req;
}

static void target__leaves_plain_paths_where_they_are(void **state)
{
	char text[] = "/a.b/c-d?x";
	struct request *req = request_of(METHOD_GET, text, strlen(text));

	assert_int_equal(target_parse(req), 0);
	assert_ptr_equal(req->path.ptr, text);
	assert_true(span_eq(req->path, SPAN("/a.b/c-d")));
	assert_true(span_eq(req->raw_path, req->path));
	assert_true(req->has_query && span_eq(req->query, SPAN("x")));
	free(req);
}

static void target__bounds_what_it_decodes(void **state)
{
	size_t len = REQUEST_SCRATCH_SIZE + 1;
	char *text = malloc(len);
	struct request *req;

	memset(text, 'a', len);
	memcpy(text, "/%41", 4);
	req = request_of(METHOD_GET, text, len - 1);
	assert_int_equal(target_parse(req), 0);
	assert_int_equal(req->path.len, len - 1 - 2);
	free(req);
	req = request_of(METHOD_GET, text, len);
	assert_int_equal(target_parse(req), 414);
	free(req);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(target__normalizes_paths),
		cmocka_unit_test(target__normal_paths_stay_within_the_root),
		cmocka_unit_test(target__splits_authorities),
		cmocka_unit_test(target__knows_every_byte_of_a_name),
		cmocka_unit_test(target__leaves_plain_paths_where_they_are),
		cmocka_unit_test(target__bounds_what_it_decodes),
	};

	return cmocka_run_group_tests_name("target", tests, NULL, NULL);
}
