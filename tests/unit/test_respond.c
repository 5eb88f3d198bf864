/* SPDX-License-Identifier: MIT */
/* Constant replies and redirects: heads that a client cannot split, targets that it cannot turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "app/respond.h"
#include "base/err.h"
#include "recorder.h"

static struct recorder x;

static int tear_down(void **state)
{
	recorder_fini(&x);
	return 0;
}

static void respond__answers_any_method(void **state)
{
	static const char *const methods[] = {"GET", "HEAD", "POST", "DELETE", "OPTIONS", "BREW"};
	struct respond_options opt = {.body = "hello"};
	void *conf;

	assert_int_equal(respond_new(&opt, &conf), 0);
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		bool is_head = strcmp(methods[i], "HEAD") == 0;

		assert_int_equal(recorder_ask(&x, &respond_ops, conf, methods[i], "/", NULL), 200);
		recorder_deliver(&x);
		assert_string_equal(recorder_field(&x, "Content-Type"),
				    "text/plain; charset=utf-8");
		assert_int_equal(x.reply.length, 5);
		assert_string_equal(x.body, is_head ? "" : "hello");
		recorder_fini(&x);
	}
	respond_free(conf);
}

static void respond__takes_status_and_type(void **state)
{
	static const struct {
		struct respond_options opt;
		int err;
		uint64_t length;
	} cases[] = {
		{{"gone", 410, "text/html"}, 0, 4},
		{{"x", 204, NULL}, 0, 0},
		{{"x", 205, NULL}, 0, 0},
		{{"x", 304, NULL}, 0, 0},
		{{NULL, 200, NULL}, 0, 0},
		{{"", 503, NULL}, 0, 0},
		{{"x", 599, NULL}, 0, 1},
		{{"x", 199, NULL}, -EINVAL, 0},
		{{"x", 101, NULL}, -EINVAL, 0},
		{{"x", 600, NULL}, -EINVAL, 0},
		{{"x", 200, "a/b\r\nSet-Cookie: x"}, -EINVAL, 0},
		{{"x", 200, ""}, -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		unsigned status = cases[i].opt.status;
		void *conf;

		assert_int_equal(respond_new(&cases[i].opt, &conf), cases[i].err);
		if (cases[i].err)
			continue;
		assert_int_equal(recorder_ask(&x, &respond_ops, conf, "GET", "/", NULL), status);
		assert_int_equal(x.reply.length, cases[i].length);
		recorder_fini(&x);
		respond_free(conf);
	}
}

static void respond__keeps_its_text_for_replies_in_flight(void **state)
{
	struct respond_options opt = {.body = "still here"};
	void *conf;

	assert_int_equal(respond_new(&opt, &conf), 0);
	assert_int_equal(recorder_ask(&x, &respond_ops, conf, "GET", "/", NULL), 200);
	respond_free(conf);
	recorder_deliver(&x);
	assert_string_equal(x.body, "still here");
}

static void redirect__replaces_variables(void **state)
{
	static const struct {
		const char *to, *target, *location;
	} cases[] = {
		{"https://example.org/", "/a", "https://example.org/"},
		{"https://example.org$path", "/a%20b", "https://example.org/a%20b"},
		{"https://example.org$path", "/a?b=c", "https://example.org/a"},
		{"https://example.org$path$query", "/a?b=c", "https://example.org/a?b=c"},
		{"https://example.org$uri", "/a?b=c&d=%20", "https://example.org/a?b=c&d=%20"},
		{"https://example.org$uri", "/a?", "https://example.org/a?"},
		{"https://example.org$uri", "/a", "https://example.org/a"},
		{"https://$host$uri", "/x", "https://example.com/x"},
		{"https://$host:8443$uri", "/x", "https://example.com:8443/x"},
		{"/new$path", "/x", "/new/x"},
		{"$uri", "//evil.com/x", "/evil.com/x"},
		{"$path", "////evil.com", "/evil.com"},
		{"$path", "/\\evil.com", "/%5Cevil.com"},
		{"/x$query", "/?a=\"<>\\^`{|}", "/x?a=%22%3C%3E%5C%5E%60%7B%7C%7D"},
		{"/x$path", "/%0d%0aSet-Cookie:a", "/x/%0d%0aSet-Cookie:a"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct redirect_options opt = {.to = cases[i].to};
		void *conf;

		assert_int_equal(redirect_new(&opt, &conf), 0);
		assert_int_equal(
			recorder_ask(&x, &redirect_ops, conf, "GET", cases[i].target, NULL), 302);
		assert_string_equal(recorder_field(&x, "Location"), cases[i].location);
		recorder_fini(&x);
		redirect_free(conf);
	}
}

/* Requests that no parser of ours hands on. */
static void redirect__cannot_be_made_to_split_a_head(void **state)
{
	struct redirect_options opt = {.to = "https://$host$uri"};
	static const struct span hosts[] = {
		{"", 0}, {"a\r\nb: c", 7}, {"a/b", 3}, {"user@a", 6}, {"a b", 3}, {"a\0b", 3},
	};
	void *conf;

	assert_int_equal(redirect_new(&opt, &conf), 0);
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		recorder_fini(&x);
		recorder_prepare(&x, "GET", "/", NULL);
		x.req.host = hosts[i];
		redirect_ops.on_request(&x.req, &x.reply, conf);
		assert_int_equal(x.reply.status, 400);
		assert_null(recorder_field(&x, "Location"));
	}
	recorder_fini(&x);
	recorder_prepare(&x, "GET", "/", NULL);
	x.req.raw_path = span_of("/a\r\nb: c\0\x80", 10);
	x.req.query = SPAN("\r\nd: e");
	x.req.has_query = true;
	redirect_ops.on_request(&x.req, &x.reply, conf);
	assert_string_equal(recorder_field(&x, "Location"),
			    "https://example.com/a%0D%0Ab:%20c%00%80?%0D%0Ad:%20e");
	recorder_fini(&x);
	recorder_prepare(&x, "OPTIONS", "*", NULL);
	redirect_ops.on_request(&x.req, &x.reply, conf);
	assert_string_equal(recorder_field(&x, "Location"), "https://example.com/");
	redirect_free(conf);
}

static void redirect__refuses_a_target_longer_than_a_head(void **state)
{
	struct redirect_options opt = {.to = "$uri"};
	char target[5000];
	void *conf;

	memset(target, 'a', sizeof(target));
	target[0] = '/';
	target[sizeof(target) - 1] = '\0';
	assert_int_equal(redirect_new(&opt, &conf), 0);
	assert_int_equal(recorder_ask(&x, &redirect_ops, conf, "GET", target, NULL), 414);
	assert_null(recorder_field(&x, "Location"));
	redirect_free(conf);
}

static void redirect__checks_its_options(void **state)
{
	static const struct {
		const char *to;
		unsigned status;
		int err;
	} cases[] = {
		{"/a", 0, 0},	       {"/a", 301, 0},	       {"/a", 302, 0},
		{"/a", 303, 0},	       {"/a", 307, 0},	       {"/a", 308, 0},
		{"/a", 300, -EINVAL},  {"/a", 304, -EINVAL},   {"/a", 200, -EINVAL},
		{"", 0, -EINVAL},      {NULL, 0, -EINVAL},     {"/a\r\nb: c", 0, -EINVAL},
		{"/a b", 0, -EINVAL},  {"$nope", 0, -EINVAL},  {"/a$", 0, -EINVAL},
		{"$Path", 0, -EINVAL}, {"$paths", 0, -EINVAL},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct redirect_options opt = {cases[i].to, cases[i].status};
		void *conf = NULL;

		assert_int_equal(redirect_new(&opt, &conf), cases[i].err);
		if (conf) {
			unsigned expected = cases[i].status ? cases[i].status : 302;

			assert_int_equal(recorder_ask(&x, &redirect_ops, conf, "POST", "/", NULL),
					 expected);
			recorder_fini(&x);
		}
		redirect_free(conf);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(respond__answers_any_method, tear_down),
		cmocka_unit_test_teardown(respond__takes_status_and_type, tear_down),
		cmocka_unit_test_teardown(respond__keeps_its_text_for_replies_in_flight, tear_down),
		cmocka_unit_test_teardown(redirect__replaces_variables, tear_down),
		cmocka_unit_test_teardown(redirect__cannot_be_made_to_split_a_head, tear_down),
		cmocka_unit_test_teardown(redirect__refuses_a_target_longer_than_a_head, tear_down),
		cmocka_unit_test_teardown(redirect__checks_its_options, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
