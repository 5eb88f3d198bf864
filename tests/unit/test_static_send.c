/* SPDX-License-Identifier: MIT */
/* What a file is answered with: preconditions, ranges, precompressed siblings (RFC 9110 sections 8,
 * 13, 14, 15). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "static_fixture.h"

static char fields[512];

static const char *fields_of(const char *fmt, const char *value)
{
	/* Formats from the tests below only, each with one %s. */
	const char *at = strstr(fmt, "%s");

	snprintf(fields, sizeof(fields), "%.*s%s%s", (int)(at - fmt), fmt, value, at + 2);
	return fields;
}

static unsigned get_with(const char *target, const char *text)
{
	unsigned status = ask("GET", target, text);

	recorder_deliver(&x);
	return status;
}

static void static__answers_preconditions(void **state)
{
	char etag[128], modified[64];

	put_text("www/a.txt", "0123456789");
	open_route();
	assert_int_equal(get("/a.txt"), 200);
	snprintf(etag, sizeof(etag), "%.100s", recorder_field(&x, "ETag"));
	snprintf(modified, sizeof(modified), "%.60s", recorder_field(&x, "Last-Modified"));

	assert_int_equal(get_with("/a.txt", fields_of("If-None-Match: %s\n", etag)), 304);
	assert_field("ETag", etag);
	assert_no_field("Content-Type");
	assert_no_field("Last-Modified");
	assert_int_equal(x.body_len, 0);
	assert_int_equal(get_with("/a.txt", fields_of("If-Modified-Since: %s\n", modified)), 304);
	assert_int_equal(get_with("/a.txt", fields_of("If-Match: %s\n", etag)), 200);
	assert_int_equal(get_with("/a.txt", "If-Match: \"x\"\n"), 412);
	assert_no_field("Content-Range");
	assert_int_equal(get_with("/a.txt", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\n"),
			 412);
	assert_int_equal(ask("HEAD", "/a.txt", fields_of("If-None-Match: %s\n", etag)), 304);
	/* 13.2.2: preconditions come before the range */
	assert_int_equal(
		get_with("/a.txt", fields_of("Range: bytes=0-0\nIf-None-Match: %s\n", etag)), 304);
	assert_int_equal(get_with("/a.txt", "Range: bytes=99-\nIf-Match: \"x\"\n"), 412);
	/* If-Range */
	assert_int_equal(get_with("/a.txt", fields_of("Range: bytes=1-2\nIf-Range: %s\n", etag)),
			 206);
	assert_body("12");
	assert_int_equal(
		get_with("/a.txt", fields_of("Range: bytes=1-2\nIf-Range: %s\n", modified)), 206);
	assert_int_equal(get_with("/a.txt", "Range: bytes=1-2\nIf-Range: \"x\"\n"), 200);
	assert_body("0123456789");
	assert_int_equal(get_with("/a.txt", fields_of("Range: bytes=99-\nIf-Range: \"x%s\"\n", "")),
			 200);
	/* a missing file has no validators */
	assert_int_equal(get_with("/none", "If-None-Match: *\n"), 404);
}

static void static__sends_one_range(void **state)
{
	static const struct {
		const char *range;
		unsigned status;
		const char *content_range, *body;
	} cases[] = {
		{"0-0", 206, "bytes 0-0/10", "0"},
		{"3-", 206, "bytes 3-9/10", "3456789"},
		{"-3", 206, "bytes 7-9/10", "789"},
		{"5-100", 206, "bytes 5-9/10", "56789"},
		{"0-9", 206, "bytes 0-9/10", "0123456789"},
		{"2-3,50-60", 206, "bytes 2-3/10", "23"},
		{"10-", 416, "bytes */10", NULL},
		{"5-4", 200, NULL, "0123456789"},
		{"0-,0-", 200, NULL, "0123456789"},
	};

	put_text("www/a.txt", "0123456789");
	open_route();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(get_with("/a.txt", fields_of("Range: bytes=%s\n", cases[i].range)),
				 cases[i].status);
		if (cases[i].content_range)
			assert_field("Content-Range", cases[i].content_range);
		else
			assert_no_field("Content-Range");
		if (cases[i].body)
			assert_body(cases[i].body);
		if (cases[i].status == 206) {
			assert_field("Content-Type", "text/plain; charset=utf-8");
			assert_non_null(recorder_field(&x, "ETag"));
		}
	}
	assert_int_equal(ask("HEAD", "/a.txt", "Range: bytes=0-0\n"), 200);
	assert_int_equal(x.reply.length, 10);
	assert_no_field("Content-Range");
}

static void static__sends_ranges_of_a_big_file_from_the_descriptor(void **state)
{
	put_size("www/big", 200000);
	open_route();
	assert_int_equal(ask("GET", "/big", "Range: bytes=70000-70003\n"), 206);
	assert_null(x.segments[0].ptr);
	assert_int_equal(x.segments[0].offset, 70000);
	recorder_deliver(&x);
	assert_int_equal(x.body_len, 4);
	for (unsigned i = 0; i < 4; i++) {
		unsigned at = 70000 + i;

		assert_int_equal((unsigned char)x.body[i], (unsigned char)(at * 31 + (at >> 8)));
	}
}

/* Composes what RFC 9110 14.6 asks for and compares every byte. */
static void static__sends_several_ranges_as_multipart(void **state)
{
	char expected[2048], boundary[2][64];
	const char *type;
	int len;

	put_text("www/a.txt", "0123456789");
	open_route();
	for (int i = 0; i < 2; i++) {
		assert_int_equal(get_with("/a.txt", "Range: bytes=7-8, 0-1, 77-, -1\n"), 206);
		assert_no_field("Content-Range");
		type = recorder_field(&x, "Content-Type");
		assert_non_null(type);
		assert_int_equal(sscanf(type, "multipart/byteranges; boundary=%60s", boundary[i]),
				 1);
		assert_true(strlen(boundary[i]) >= 20 && strlen(boundary[i]) <= 70);
		len = snprintf(expected, sizeof(expected),
			       "\r\n--%s\r\nContent-Type: text/plain; "
			       "charset=utf-8\r\nContent-Range: bytes 7-8/10"
			       "\r\n\r\n78"
			       "\r\n--%s\r\nContent-Type: text/plain; "
			       "charset=utf-8\r\nContent-Range: bytes 0-1/10"
			       "\r\n\r\n01"
			       "\r\n--%s\r\nContent-Type: text/plain; "
			       "charset=utf-8\r\nContent-Range: bytes 9-9/10"
			       "\r\n\r\n9"
			       "\r\n--%s--\r\n",
			       boundary[i], boundary[i], boundary[i], boundary[i]);
		assert_int_equal(x.reply.length, len);
		assert_body(expected);
	}
	assert_string_not_equal(boundary[0], boundary[1]);
}

static void put_siblings(void)
{
	put_text("www/a.css", "identity");
	put_text("www/a.css.br", "brotli");
	put_text("www/a.css.zst", "zstandard");
	put_text("www/a.css.gz", "gzip");
	set_age("www/a.css", 200);
}

static void static__chooses_a_precompressed_sibling(void **state)
{
	static const struct {
		const char *accept, *encoding, *body;
	} cases[] = {
		{"gzip, deflate, br, zstd", "br", "brotli"},
		{"zstd, gzip", "zstd", "zstandard"},
		{"gzip", "gzip", "gzip"},
		{"br;q=0.1, gzip", "gzip", "gzip"},
		{"br;q=0, *;q=0.5", "zstd", "zstandard"},
		{"identity", NULL, "identity"},
		{"deflate", NULL, "identity"},
		{"identity;q=0, gzip;q=0.1", "gzip", "gzip"},
		{"*;q=0", NULL, "identity"},
	};
	char etag[4][128];

	put_siblings();
	open_route_of((struct static_options){.has_precompressed = true}, NULL);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(
			get_with("/a.css", fields_of("Accept-Encoding: %s\n", cases[i].accept)),
			200);
		assert_body(cases[i].body);
		if (cases[i].encoding)
			assert_field("Content-Encoding", cases[i].encoding);
		else
			assert_no_field("Content-Encoding");
		assert_field("Content-Type", "text/css; charset=utf-8");
		assert_field("Vary", "Accept-Encoding");
		if (i < 3)
			snprintf(etag[i], sizeof(etag[i]), "%.100s", recorder_field(&x, "ETag"));
	}
	assert_int_equal(get("/a.css"), 200);
	assert_body("identity");
	assert_field("Vary", "Accept-Encoding");
	snprintf(etag[3], sizeof(etag[3]), "%.100s", recorder_field(&x, "ETag"));
	for (int i = 0; i < 4; i++) {
		for (int k = 0; k < i; k++)
			assert_string_not_equal(etag[i], etag[k]);
	}
	/* the tag of one representation says nothing of another, and a 304 varies too */
	fields_of("Accept-Encoding: gzip\nIf-None-Match: %s\n", etag[2]);
	assert_int_equal(get_with("/a.css", fields), 304);
	assert_field("Vary", "Accept-Encoding");
	fields_of("Accept-Encoding: br\nIf-None-Match: %s\n", etag[2]);
	assert_int_equal(get_with("/a.css", fields), 200);
}

static void static__cuts_ranges_out_of_the_chosen_sibling(void **state)
{
	put_siblings();
	open_route_of((struct static_options){.has_precompressed = true}, NULL);
	assert_int_equal(get_with("/a.css", "Accept-Encoding: br\nRange: bytes=0-1\n"), 206);
	assert_body("br");
	assert_field("Content-Encoding", "br");
	assert_field("Content-Range", "bytes 0-1/6");
	assert_int_equal(get_with("/a.css", "Accept-Encoding: br\nRange: bytes=0-0,2-2\n"), 200);
	assert_body("brotli");
	assert_int_equal(get_with("/a.css", "Range: bytes=0-1\n"), 206);
	assert_body("id");
}

static void static__mistrusts_siblings(void **state)
{
	put_siblings();
	set_age("www/a.css", 50); /* newer than its siblings now */
	put_link("../secret.txt", "www/b.css.gz");
	put_text("www/b.css", "b");
	set_age("www/b.css", 1000);
	put_text("www/only.css.gz", "alone");
	put_folder("www/c.css.gz");
	put_text("www/c.css", "c");
	set_age("www/c.css", 1000);
	open_route_of((struct static_options){.has_precompressed = true}, NULL);
	assert_int_equal(get_with("/a.css", "Accept-Encoding: br, gzip\n"), 200);
	assert_body("identity");
	assert_no_field("Vary");
	assert_int_equal(get_with("/b.css", "Accept-Encoding: gzip\n"), 200);
	assert_body("b");
	assert_int_equal(get_with("/c.css", "Accept-Encoding: gzip\n"), 200);
	assert_body("c");
	assert_int_equal(get_with("/only.css", "Accept-Encoding: gzip\n"), 404);
	assert_int_equal(get_with("/only.css.gz", "Accept-Encoding: gzip\n"), 200);
	assert_no_field("Content-Encoding");
	assert_field("Content-Type", "application/gzip");
	/* siblings come, and go */
	set_age("www/a.css", 200);
	let_expire();
	assert_int_equal(get_with("/a.css", "Accept-Encoding: gzip\n"), 200);
	assert_body("gzip");
	assert_int_equal(unlink(path_of("www/a.css.gz")), 0);
	let_expire();
	assert_int_equal(get_with("/a.css", "Accept-Encoding: gzip\n"), 200);
	assert_body("identity");
}

static void static__leaves_siblings_alone_unless_told(void **state)
{
	put_siblings();
	open_route();
	assert_int_equal(get_with("/a.css", "Accept-Encoding: br, gzip\n"), 200);
	assert_body("identity");
	assert_no_field("Vary");
}

static void static__uses_the_default_type(void **state)
{
	put_text("www/LICENSE", "x");
	open_route();
	assert_int_equal(get("/LICENSE"), 200);
	assert_field("Content-Type", "application/octet-stream");
	close_route();
	open_route_of((struct static_options){.default_type = "text/plain"}, NULL);
	assert_int_equal(get("/LICENSE"), 200);
	assert_field("Content-Type", "text/plain");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(static__answers_preconditions),
		TEST(static__sends_one_range),
		TEST(static__sends_ranges_of_a_big_file_from_the_descriptor),
		TEST(static__sends_several_ranges_as_multipart),
		TEST(static__chooses_a_precompressed_sibling),
		TEST(static__cuts_ranges_out_of_the_chosen_sibling),
		TEST(static__mistrusts_siblings),
		TEST(static__leaves_siblings_alone_unless_told),
		TEST(static__uses_the_default_type),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
