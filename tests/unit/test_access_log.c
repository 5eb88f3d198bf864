/* SPDX-License-Identifier: MIT */
/* Access log lines: their form, and that nothing a client sends can break out of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/err.h"
#include "base/logfile.h"
#include "http/access_log.h"

static char memory[LOGFILE_LINE + 1];
static struct request req;

static const char *format(void (*print)(struct buf *b, const struct access_entry *e),
			  const struct access_entry *e)
{
	struct buf b;

	buf_init(&b, memory, LOGFILE_LINE);
	print(&b, e);
	assert_false(b.is_truncated);
	memory[b.len] = '\0';
	return memory;
}

static void add_field(enum header_id id, struct span value)
{
	req.fields[req.field_count].id = id;
	req.fields[req.field_count].value = value;
	req.known[id] = (uint8_t)++req.field_count;
}

static struct access_entry entry(struct span target)
{
	memset(&req, 0, sizeof(req));
	req.method = METHOD_GET;
	req.method_text = SPAN("GET");
	req.target = target;
	req.version_minor = 1;
	return (struct access_entry){
		.req = &req,
		.peer_host = SPAN("192.0.2.1"),
		.peer_port = 4711,
		.status = 200,
		.bytes_sent = 300,
		.body_sent = 128,
		.wall_ns = 971211336u * 1000000000ull + 789000000,
		.duration_us = 1000123,
		.reason = "done",
		.slot = 3,
		.connection = 17,
		.request_number = 2,
	};
}

static void set_zone(const char *zone)
{
	setenv("TZ", zone, 1);
	tzset();
}

static void access_log__combined_is_that_of_apache_and_more(void **state)
{
	struct access_entry e = entry(SPAN("/apache_pb.gif?x"));

	add_field(HEADER_REFERER, SPAN("http://www.example.com/start.html"));
	add_field(HEADER_USER_AGENT, SPAN("Mozilla/4.08 [en] (Win98; I ;Nav)"));
	assert_string_equal(
		format(access_format_combined, &e),
		"192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] \"GET /apache_pb.gif?x HTTP/1.1\" 200 "
		"128 \"http://www.example.com/start.html\" \"Mozilla/4.08 [en] (Win98; I ;Nav)\" "
		"\"done\" 1.000123 3");
}

/* Steps of many bytes look at texts: of each length, at each place. */
static void access_log__escapes_wherever_it_stands(void **state)
{
	static const struct {
		char byte;
		const char *escape;
	} bad[] = { { '"', "\\x22" }, { '\\', "\\x5C" }, { '\x1f', "\\x1F" }, { '\x7f', "\\x7F" }, { '\x80', "\\x80" },
		    { '\xff', "\\xFF" } };

	for (size_t len = 1; len <= 50; len++)
		for (size_t at = 0; at < len * ARRAY_LEN(bad); at++) {
			size_t kind = at % ARRAY_LEN(bad), place = at / ARRAY_LEN(bad);
			struct access_entry e = entry(SPAN("/"));
			char *text = malloc(len), expected[80];

			memset(text, 'a', len);
			text[place] = bad[kind].byte;
			add_field(HEADER_USER_AGENT, span_of(text, len));
			snprintf(expected, sizeof(expected), " \"%.*s%s%.*s\" \"done\"", (int)place, text, bad[kind].escape,
				 (int)(len - place - 1), text + place + 1);
			assert_non_null(strstr(format(access_format_combined, &e), expected));
			memset(text, '~', len);
			snprintf(expected, sizeof(expected), " \"%.*s\" \"done\"", (int)len, text);
			assert_non_null(strstr(format(access_format_combined, &e), expected));
			free(text);
		}
}

static void access_log__combined_without_a_request(void **state)
{
	struct access_entry e = entry(SPAN("/"));

	e.req = NULL;
	e.status = 0;
	e.peer_host = span_of(NULL, 0);
	e.wall_ns += 1000000000;
	e.duration_us = 7;
	e.reason = "bare LF";
	assert_string_equal(
		format(access_format_combined, &e),
		"- - - [10/Oct/2000:13:55:37 -0700] \"-\" 000 128 \"-\" \"-\" \"bare LF\" "
		"0.000007 3");
	e = entry(SPAN("/"));
	req.method_text = span_of(NULL, 0);
	assert_non_null(strstr(format(access_format_combined, &e), "] \"-\" 200"));
}

/* UDP: something stands in the place of the request line. */
static void access_log__what_is_no_request(void **state)
{
	struct access_entry e = entry(SPAN("/"));
	json_t *object;

	e.req = NULL;
	e.method = "UDP";
	e.target = "[::]:53";
	e.status = 0;
	assert_non_null(strstr(format(access_format_combined, &e), "] \"UDP [::]:53\" 000 128 \"-\" \"-\" \"done\""));
	object = json_loads(format(access_format_json, &e), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(object);
	assert_string_equal(json_string_value(json_object_get(object, "method")), "UDP");
	assert_string_equal(json_string_value(json_object_get(object, "target")), "[::]:53");
	assert_true(json_is_null(json_object_get(object, "version")));
	json_decref(object);
}

static void access_log__combined_stays_one_line(void **state)
{
	struct access_entry e = entry(SPAN("/\"\\\n\r\t\0\x7f\x80\xff~ "));

	add_field(HEADER_USER_AGENT, SPAN("\" 200 0\n1.2.3.4 - - ["));
	assert_non_null(
		strstr(format(access_format_combined, &e),
		       "\"GET /\\x22\\x5C\\x0A\\x0D\\x09\\x00\\x7F\\x80\\xFF~  HTTP/1.1\""));
	assert_non_null(strstr(memory, "\"\\x22 200 0\\x0A1.2.3.4 - - [\""));
	assert_null(strchr(memory, '\n'));
}

/* The worst that can come: every text at its longest, every byte needing its longest escape. */
static void fill(struct access_entry *e, char byte)
{
	static char text[20000];
	struct span all = span_of(text, sizeof(text));

	memset(text, byte, sizeof(text));
	*e = entry(all);
	req.method = METHOD_OTHER;
	req.method_text = e->peer_host = all;
	add_field(HEADER_HOST, all);
	add_field(HEADER_REFERER, all);
	add_field(HEADER_USER_AGENT, all);
	add_field(HEADER_X_REQUEST_ID, all);
	e->status = 999;
	e->bytes_sent = e->body_sent = e->duration_us = e->connection = UINT64_MAX;
	e->request_number = UINT64_MAX;
	e->slot = UINT32_MAX;
}

static void access_log__always_fits_a_line(void **state)
{
	struct access_entry e;

	for (int byte = 0; byte < 256; byte++) {
		json_t *object;

		fill(&e, (char)byte);
		format(access_format_combined, &e);
		format(access_format_json, &e);
		/* jansson knows numbers up to 2^63 only, and NUL only when asked. */
		e.bytes_sent = e.body_sent = e.duration_us = e.connection = e.request_number = 1;
		object = json_loads(format(access_format_json, &e), JSON_ALLOW_NUL, NULL);
		assert_non_null(object);
		json_decref(object);
	}
}

/* A log that is switched off has no room at all; half a line is of no use to anybody. */
static void access_log__writes_nothing_without_room(void **state)
{
	struct access_entry e = entry(SPAN("/"));
	void (*const formats[])(struct buf *b, const struct access_entry *e) = { access_format_combined,
										 access_format_json };

	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		struct buf b;

		buf_init(&b, NULL, 0);
		formats[i](&b, &e);
		assert_true(b.is_truncated);
		assert_int_equal(b.len, 0);
		buf_init(&b, memory, LOGFILE_LINE - 2);
		memory[0] = '#';
		formats[i](&b, &e);
		assert_true(b.is_truncated);
		assert_int_equal(b.len, 0);
		assert_int_equal(memory[0], '#');
	}
}

static const char *member(json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);

	assert_non_null(value);
	return json_is_null(value) ? NULL : json_string_value(value);
}

static void access_log__json_has_every_member(void **state)
{
	struct access_entry e = entry(SPAN("/a?b"));
	json_t *object;

	add_field(HEADER_HOST, SPAN("a:80"));
	add_field(HEADER_USER_AGENT, SPAN("curl"));
	object = json_loads(format(access_format_json, &e), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(object);
	assert_string_equal(member(object, "time"), "2000-10-10T20:55:36.789Z");
	assert_string_equal(member(object, "peer"), "192.0.2.1");
	assert_string_equal(member(object, "method"), "GET");
	assert_string_equal(member(object, "target"), "/a?b");
	assert_string_equal(member(object, "version"), "1.1");
	assert_string_equal(member(object, "host"), "a:80");
	assert_string_equal(member(object, "user_agent"), "curl");
	assert_null(member(object, "referer"));
	assert_null(member(object, "request_id"));
	assert_string_equal(member(object, "reason"), "done");
	assert_int_equal(json_integer_value(json_object_get(object, "port")), 4711);
	assert_int_equal(json_integer_value(json_object_get(object, "status")), 200);
	assert_int_equal(json_integer_value(json_object_get(object, "bytes_sent")), 300);
	assert_int_equal(json_integer_value(json_object_get(object, "body_sent")), 128);
	assert_int_equal(json_integer_value(json_object_get(object, "duration_us")), 1000123);
	assert_int_equal(json_integer_value(json_object_get(object, "slot")), 3);
	assert_int_equal(json_integer_value(json_object_get(object, "connection")), 17);
	assert_int_equal(json_integer_value(json_object_get(object, "request")), 2);
	json_decref(object);

	e.req = NULL;
	object = json_loads(format(access_format_json, &e), 0, NULL);
	assert_null(member(object, "method"));
	assert_null(member(object, "version"));
	json_decref(object);
}

static void access_log__json_replaces_what_is_not_utf8(void **state)
{
#define R "\xef\xbf\xbd"
	static const struct {
		struct span in;
		const char *out;
	} cases[] = {
		{SPAN("plain"), "plain"},
		{SPAN("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
		 "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
		{SPAN("a\"b\\c\n\x01\x7f"), "a\"b\\c\n\x01\x7f"},
		{SPAN("\x80"), R},
		{SPAN("\xff\xfe"), R R},
		{SPAN("\xc3"), R},
		{SPAN("\xc3x"), R "x"},
		{SPAN("\xc0\xaf"), R R},	     /* overlong */
		{SPAN("\xe0\x80\xaf"), R R R},	     /* overlong */
		{SPAN("\xf0\x80\x80\xaf"), R R R R}, /* overlong */
		{SPAN("\xed\xa0\x80"), R R R},	     /* surrogate */
		{SPAN("\xf4\x90\x80\x80"), R R R R}, /* above U+10FFFF */
		{SPAN("\xf4\x8f\xbf\xbf"), "\xf4\x8f\xbf\xbf"},
		{SPAN("\xe2\x82"), R R},
		{SPAN("\xf5"), R},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct access_entry e;
		char *exact = malloc(cases[i].in.len);
		json_t *object;

		memcpy(exact, cases[i].in.ptr, cases[i].in.len);
		e = entry(span_of(exact, cases[i].in.len));
		object = json_loads(format(access_format_json, &e), 0, NULL);
		if (!object)
			fail_msg("case %zu is no JSON: %s", i, memory);
		assert_string_equal(member(object, "target"), cases[i].out);
		json_decref(object);
		free(exact);
	}
}

static void access_log__says_that_it_cut(void **state)
{
	struct access_entry e;

	fill(&e, 'x');
	assert_non_null(strstr(format(access_format_combined, &e), "xxx... HTTP/1.1\""));
	assert_non_null(strstr(format(access_format_json, &e), "xxx...\",\"version\""));
}

static int set_up(void **state)
{
	set_zone("XYZ7");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(access_log__combined_is_that_of_apache_and_more),
		cmocka_unit_test(access_log__escapes_wherever_it_stands),
		cmocka_unit_test(access_log__combined_without_a_request),
		cmocka_unit_test(access_log__what_is_no_request),
		cmocka_unit_test(access_log__combined_stays_one_line),
		cmocka_unit_test(access_log__always_fits_a_line),
		cmocka_unit_test(access_log__writes_nothing_without_room),
		cmocka_unit_test(access_log__json_has_every_member),
		cmocka_unit_test(access_log__json_replaces_what_is_not_utf8),
		cmocka_unit_test(access_log__says_that_it_cut),
	};

	return cmocka_run_group_tests_name("access_log", tests, set_up, NULL);
}
