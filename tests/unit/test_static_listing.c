/* SPDX-License-Identifier: MIT */
/* Listings: order, escaping of hostile names, and nothing that would not be served. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "static_fixture.h"

static const char *at(const char *text)
{
	const char *found = strstr(x.body, text);

	if (!found)
		fail_msg("'%s' is not in the page", text);
	return found;
}

static void open_listing(void)
{
	open_route_of((struct static_options){.has_listing = true}, NULL);
}

static void listing__shows_folders_first_by_name(void **state)
{
	put_text("www/b.txt", "12345");
	put_text("www/a.txt", "");
	put_folder("www/z");
	put_folder("www/c");
	open_listing();
	assert_int_equal(get("/"), 200);
	assert_field("Content-Type", "text/html; charset=utf-8");
	assert_field("X-Content-Type-Options", "nosniff");
	assert_true(at("href=\"c/\"") < at("href=\"z/\""));
	assert_true(at("href=\"z/\"") < at("href=\"a.txt\""));
	assert_true(at("href=\"a.txt\"") < at("href=\"b.txt\""));
	at("<td>5</td>");
	assert_null(strstr(x.body, "href=\"../\"")); /* nothing above the root */
	assert_int_equal(x.reply.length, x.body_len);
	assert_int_equal(ask("HEAD", "/", NULL), 200);
	assert_true(x.reply.length > 100);
	assert_int_equal(x.segment_count, 0);
	assert_int_equal(get("/c"), 301);
	assert_int_equal(get("/c/"), 200);
	at("href=\"../\"");
	put_text("www/c/index.html", "index");
	let_expire();
	assert_int_equal(get("/c/"), 200);
	assert_body("index");
}

static void listing__escapes_names(void **state)
{
	static const struct {
		const char *name, *href, *text;
	} cases[] = {
		{"<script>alert(1)<script>", "%3Cscript%3Ealert%281%29%3Cscript%3E",
		 "&lt;script&gt;alert(1)&lt;script&gt;"},
		{"\"onclick=\"x", "%22onclick%3D%22x", "&quot;onclick=&quot;x"},
		{"javascript:alert(1)", "javascript%3Aalert%281%29", "javascript:alert(1)"},
		{"a&amp;'b", "a%26amp%3B%27b", "a&amp;amp;&#39;b"},
		{"a?b#c%d", "a%3Fb%23c%25d", "a?b#c%d"},
		{"new\nline", "new%0Aline", "new\xef\xbf\xbdline"},
		{"\\\\host", "%5C%5Chost", "\\\\host"},
		{"\xff", "%FF", "\xff"},
	};
	char path[256], expected[512];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		snprintf(path, sizeof(path), "www/%s", cases[i].name);
		put_text(path, "x");
	}
	open_listing();
	assert_int_equal(get("/"), 200);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		snprintf(expected, sizeof(expected), "<a href=\"%s\">%s</a>", cases[i].href,
			 cases[i].text);
		at(expected);
		snprintf(path, sizeof(path), "/%s", cases[i].href); /* and the link leads there */
		assert_int_equal(get(path), 200);
		assert_body("x");
		assert_int_equal(get("/"), 200);
	}
	assert_null(strstr(x.body, "<script"));
	put_folder("www/<b>");
	assert_int_equal(get("/%3Cb%3E/"), 200);
	at("<h1>/&lt;b&gt;/</h1>");
	assert_null(strstr(x.body, "<b>"));
}

static void listing__shows_only_what_would_be_served(void **state)
{
	put_text("www/.hidden", "x");
	put_link("../secret.txt", "www/out");
	put_link("in.txt", "www/link");
	put_link("nowhere", "www/dangling");
	put_text("www/in.txt", "x");
	assert_int_equal(mkfifo(path_of("www/fifo"), 0666), 0);
	open_listing();
	assert_int_equal(get("/"), 200);
	at("href=\"link\"");
	at("href=\"in.txt\"");
	assert_null(strstr(x.body, "hidden"));
	assert_null(strstr(x.body, "\"out"));
	assert_null(strstr(x.body, "dangling"));
	assert_null(strstr(x.body, "fifo"));
}

static void listing__is_bounded(void **state)
{
	char name[300];
	int count = 0;

	for (int i = 0; i < 10001; i++) {
		/* names whose every byte takes most room */
		int len = snprintf(name, sizeof(name), "www/\"\"\"\"%d", i);

		assert_true(len > 0);
		assert_int_equal(close(open(path_of(name), O_CREAT | O_WRONLY | O_CLOEXEC, 0644)),
				 0);
	}
	open_listing();
	assert_int_equal(get("/"), 200);
	/* Not strstr(): where sanitizers are strict each call walks over all of the rest of the page. */
	for (const char *row = x.body, *end = row + x.body_len; (row = memmem(row, (size_t)(end - row), "<tr>", 4)); row++)
		count++;
	assert_int_equal(count, 10000);
	at("Only 10000 of the entries are shown");
	at("</html>");
}

static void listing__outlives_the_route(void **state)
{
	put_text("www/a.txt", "x");
	open_listing();
	assert_int_equal(ask("GET", "/", NULL), 200);
	static_free(route);
	route = NULL;
	recorder_deliver(&x);
	at("a.txt");
}

static void listing__is_off_unless_told(void **state)
{
	put_text("www/a.txt", "x");
	open_route();
	assert_int_equal(get("/"), 403);
	assert_null(strstr(x.body, "a.txt"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(listing__shows_folders_first_by_name),
		TEST(listing__escapes_names),
		TEST(listing__shows_only_what_would_be_served),
		TEST(listing__is_bounded),
		TEST(listing__outlives_the_route),
		TEST(listing__is_off_unless_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
