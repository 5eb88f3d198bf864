/* SPDX-License-Identifier: MIT */
/* What needs no connection: the handshake's key, who is welcome, messages as events, UTF-8; tests/e2e has the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "app/websocket_internal.h"
#include "app/websocket_route_internal.h"
#include "base/err.h"
#include "base/utf8.h"

static struct request req;

static void add_field(const char *name, const char *value)
{
	req.fields[req.field_count++] = (struct field){ span_str(name), span_str(value), HEADER_OTHER };
}

static void websocket__accepts_the_rfcs_key(void **state)
{
	char accept[WEBSOCKET_ACCEPT_LEN];

	websocket_accept_key(SPAN("dGhlIHNhbXBsZSBub25jZQ=="), accept);
	assert_memory_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", sizeof(accept));
}

static void websocket__knows_a_key(void **state)
{
	static const struct {
		const char *key;
		bool is_key;
	} cases[] = {
		{ "dGhlIHNhbXBsZSBub25jZQ==", true }, { "AAAAAAAAAAAAAAAAAAAAAA==", true },
		{ "", false },			       { "dGhlIHNhbXBsZSBub25jZQ", false },
		{ "dGhlIHNhbXBsZSBub25jZQ=", false },  { "dGhlIHNhbXBsZSBub25jZSE=", false },
		{ "dGhlIHNhbXBsZSBub25jZSEh", false }, { "dGhlIHNhbXBsZSBub25j!!==", false },
		{ "====dGhlIHNhbXBsZSBub2==", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(websocket_is_key(span_str(cases[i].key)), cases[i].is_key);
}

static void websocket__knows_who_wants_a_stream(void **state)
{
	static const struct {
		const char *accept;
		bool wants;
	} cases[] = {
		{ "text/event-stream", true },
		{ "text/html, TEXT/Event-Stream;q=0.9", true },
		{ "text/event-stream ; charset=utf-8", true },
		{ "*/*", false },
		{ "text/event-streams", false },
		{ "", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		req.field_count = 0;
		add_field("Accept", cases[i].accept);
		assert_int_equal(websocket_wants_stream(&req), cases[i].wants);
	}
}

static void websocket__welcomes_origins(void **state)
{
	static const char *const listed[] = { "https://a.example", "null" };
	struct websocket_endpoint endpoint = { .origins = listed, .origin_count = ARRAY_LEN(listed) };
	static const struct {
		const char *origin;
		bool is_welcome;
	} cases[] = {
		{ NULL, true },
		{ "http://own.example:8080", true },
		{ "HTTPS://Own.Example:8080", true },
		{ "http://own.example", false },
		{ "ftp://own.example:8080", false },
		{ "https://a.example", true },
		{ "http://a.example", false },
		{ "https://a.example.evil", false },
		{ "null", true },
		{ "", false },
		{ "http://", false },
	};

	req.authority = SPAN("own.example:8080");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		req.field_count = 0;
		if (cases[i].origin)
			add_field("origin", cases[i].origin);
		assert_int_equal(websocket_origin_allowed(&endpoint, &req), cases[i].is_welcome);
	}
}

static void websocket__lets_publish(void **state)
{
	static const struct {
		enum websocket_publish publish;
		const char *peer;
		bool may;
	} cases[] = {
		{ WEBSOCKET_PUBLISH_OFF, "127.0.0.1", false },	    { WEBSOCKET_PUBLISH_ANY, "192.0.2.1", true },
		{ WEBSOCKET_PUBLISH_LOCAL, "127.1.2.3", true },	    { WEBSOCKET_PUBLISH_LOCAL, "::1", true },
		{ WEBSOCKET_PUBLISH_LOCAL, "::ffff:127.0.0.1", true }, { WEBSOCKET_PUBLISH_LOCAL, "192.0.2.1", false },
		{ WEBSOCKET_PUBLISH_LOCAL, "::ffff:192.0.2.1", false },
		{ WEBSOCKET_PUBLISH_LOCAL, "2001:db8::1", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct websocket_route route = { .publish = cases[i].publish };
		union sock_addr peer;

		assert_int_equal(sock_addr_parse_host(span_str(cases[i].peer), &peer), 0);
		assert_int_equal(websocket_may_publish(&route, &peer), cases[i].may);
	}
}

static void websocket__makes_events(void **state)
{
	static const struct {
		bool is_text;
		struct span data;
		const char *event;
	} cases[] = {
		{ true, { "a", 1 }, "data: a\n\n" },
		{ true, { "", 0 }, "data: \n\n" },
		{ true, { "a\nb", 3 }, "data: a\ndata: b\n\n" },
		{ true, { "a\r\nb\rc\n", 7 }, "data: a\ndata: b\ndata: c\ndata: \n\n" },
		{ true, { "\r\r\n\n", 4 }, "data: \ndata: \ndata: \ndata: \n\n" },
		{ false, { "\0\xff", 2 }, "event: binary\ndata: AP8=\n\n" },
		{ false, { "", 0 }, "event: binary\ndata: \n\n" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct channel_message *m = channel_message_new(cases[i].is_text, cases[i].data.ptr, cases[i].data.len);
		struct channel_form *event = websocket_event_of(m);

		assert_int_equal(event->len, strlen(cases[i].event));
		assert_memory_equal(event->bytes, cases[i].event, event->len);
		assert_ptr_equal(websocket_event_of(m), event);
		hold_put(&m->hold);
	}
}

static void utf8__is_valid(void **state)
{
	static const struct {
		struct span text;
		bool is_valid;
	} cases[] = {
		{ { "", 0 }, true },		     { { "a\0b", 3 }, true },
		{ { "\xce\xba\xe1\xbd\xb9", 5 }, true }, { { "\xf4\x8f\xbf\xbf", 4 }, true },
		{ { "\xed\x9f\xbf", 3 }, true },     { { "\xed\xa0\x80", 3 }, false },
		{ { "\xf4\x90\x80\x80", 4 }, false }, { { "\xc0\xaf", 2 }, false },
		{ { "a\xe1\xbd", 3 }, false },	     { { "\x80", 1 }, false },
		{ { "\xff", 1 }, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(utf8_is_valid(cases[i].text), cases[i].is_valid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(websocket__accepts_the_rfcs_key), cmocka_unit_test(websocket__knows_a_key),
		cmocka_unit_test(websocket__knows_who_wants_a_stream), cmocka_unit_test(websocket__welcomes_origins),
		cmocka_unit_test(websocket__lets_publish), cmocka_unit_test(websocket__makes_events),
		cmocka_unit_test(utf8__is_valid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
