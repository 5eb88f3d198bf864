/* SPDX-License-Identifier: MIT */
/* Media types: the system's table, ours, and tables that are broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/mime.h"
#include "base/err.h"

static void assert_type(const char *name, const char *type)
{
	struct span found = mime_of(span_str(name));

	if (!span_eq(found, span_str(type)) || (found.ptr == NULL) != (type == NULL))
		fail_msg("'%s' is '%.*s'", name, SPAN_ARG(found));
}

static void load_text(const char *text, size_t len)
{
	char path[] = "/tmp/sluice-mime-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	close(fd);
	assert_int_equal(mime_load(path), 0);
	assert_int_equal(unlink(path), 0);
}

static int unload(void **state)
{
	mime_unload();
	return 0;
}

static void mime__knows_a_website_without_any_table(void **state)
{
	static const struct {
		const char *name, *type;
	} cases[] = {
		{"index.html", "text/html; charset=utf-8"},
		{"a/b.c/INDEX.HTM", "text/html; charset=utf-8"},
		{"app.js", "text/javascript; charset=utf-8"},
		{"app.mjs", "text/javascript; charset=utf-8"},
		{"a.css", "text/css; charset=utf-8"},
		{"a.svg", "image/svg+xml; charset=utf-8"},
		{"a.json", "application/json"},
		{"a.wasm", "application/wasm"},
		{"a.woff2", "font/woff2"},
		{"a.avif", "image/avif"},
		{"a.zst", "application/zstd"},
		{"a.min.js", "text/javascript; charset=utf-8"},
		{"a.tar.gz", "application/gzip"},
		{".html", "text/html; charset=utf-8"},
		{"html", NULL},
		{"a.", NULL},
		{"", NULL},
		{".", NULL},
		{"a.html/b", NULL},
		{"a.unknownextension", NULL},
		{"a.averyveryveryverylongextension", NULL},
		{"a.ht\nml", NULL},
	};

	assert_int_equal(mime_load("/nonexistent/mime.types"), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_type(cases[i].name, cases[i].type);
}

/* Every entry of our own table is found: bsearch needs it sorted. */
static void mime__has_its_own_table_in_order(void **state)
{
	static const char *const known[] = {
		"avif",	 "bmp",	 "css",	 "csv", "eot",	"gif",	       "gz",   "htm",  "html",
		"ico",	 "jpeg", "jpg",	 "js",	"json", "m4a",	       "map",  "md",   "mjs",
		"mp3",	 "mp4",	 "ogg",	 "otf", "pdf",	"png",	       "rss",  "svg",  "tar",
		"ttf",	 "txt",	 "wasm", "wav", "webm", "webmanifest", "webp", "woff", "woff2",
		"xhtml", "xml",	 "yaml", "zip", "zst",
	};
	char name[40];

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		snprintf(name, sizeof(name), "a.%s", known[i]);
		if (!mime_of(span_str(name)).ptr)
			fail_msg("%s", name);
	}
}

static void mime__prefers_the_system_table(void **state)
{
	static const char table[] = "# comment\n"
				    "text/x-first\tfoo bar\n"
				    "text/x-second foo\n"
				    "application/x-web  HTML # not-me\n"
				    "application/none\n"
				    "garbage foo2\n"
				    "image/x-crlf crlf\r\n"
				    "application/atom+xml atom\n"
				    "video/x-end\tend";

	load_text(table, sizeof(table) - 1);
	assert_type("a.foo", "text/x-first; charset=utf-8");
	assert_type("a.bar", "text/x-first; charset=utf-8");
	assert_type("a.html", "application/x-web");
	assert_type("a.not-me", NULL);
	assert_type("a.foo2", NULL);
	assert_type("a.crlf", "image/x-crlf");
	assert_type("a.atom", "application/atom+xml; charset=utf-8");
	assert_type("a.end", "video/x-end");
	assert_type("a.css", "text/css; charset=utf-8");
	assert_int_equal(mime_load("/nonexistent"), 0); /* what is loaded stays */
	assert_type("a.end", "video/x-end");
}

static void mime__survives_broken_tables(void **state)
{
	static const struct span tables[] = {
		{"", 0},	 {"\n", 1},	  {"\0\0\0", 3},     {"a/b", 3},
		{"a/b c\0d", 7}, {"   \t\n#", 6}, {"/ / / /\n/", 9},
	};

	for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
		load_text(tables[i].ptr, tables[i].len);
		assert_type("a.html", "text/html; charset=utf-8");
		mime_unload();
	}
	assert_int_equal(mime_load("/"), -EINVAL);
	assert_type("a.html", "text/html; charset=utf-8");
}

static void mime__reads_the_table_of_this_system(void **state)
{
	if (access("/etc/mime.types", R_OK)) {
		print_message("no /etc/mime.types here\n");
		skip();
	}
	assert_int_equal(mime_load(NULL), 0);
	assert_type("a.html", "text/html; charset=utf-8");
	assert_type("a.odt", "application/vnd.oasis.opendocument.text");
	assert_type("a.PNG", "image/png");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(mime__knows_a_website_without_any_table, unload),
		cmocka_unit_test_teardown(mime__has_its_own_table_in_order, unload),
		cmocka_unit_test_teardown(mime__prefers_the_system_table, unload),
		cmocka_unit_test_teardown(mime__survives_broken_tables, unload),
		cmocka_unit_test_teardown(mime__reads_the_table_of_this_system, unload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
