/* SPDX-License-Identifier: MIT */
/* Names of fields, methods and status codes. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/message.h"

#define X(id, text) {id, text},
static const struct {
	enum header_id id;
	const char *name;
} headers[] = {HEADERS(X)};
#undef X

#define COUNT (sizeof(headers) / sizeof(headers[0]))

static enum header_id id_of(const char *text, size_t len)
{
	char *exact = malloc(len ? len : 1);
	enum header_id id;

	memcpy(exact, text, len);
	id = header_id_of(span_of(exact, len));
	free(exact);
	return id;
}

static void message__knows_every_field_in_any_case(void **state)
{
	for (size_t i = 0; i < COUNT; i++) {
		size_t len = strlen(headers[i].name);
		char text[64];

		assert_int_equal(id_of(headers[i].name, len), headers[i].id);
		for (size_t k = 0; k < len; k++)
			text[k] = (char)toupper(headers[i].name[k]);
		assert_int_equal(id_of(text, len), headers[i].id);
		for (size_t k = 0; k < len; k++)
			text[k] = (char)tolower(headers[i].name[k]);
		assert_int_equal(id_of(text, len), headers[i].id);
	}
}

/* Each byte of each name replaced by each other byte: only the other case is the same name. */
static void message__knows_nothing_but_the_names(void **state)
{
	for (size_t i = 0; i < COUNT; i++) {
		size_t len = strlen(headers[i].name);

		for (size_t at = 0; at < len; at++) {
			for (int c = 0; c < 256; c++) {
				char text[64];
				bool is_same =
					tolower(c) == tolower(headers[i].name[at]) && c < 128;

				memcpy(text, headers[i].name, len);
				text[at] = (char)c;
				if ((id_of(text, len) == headers[i].id) != is_same)
					fail_msg("%s with %02x at %zu", headers[i].name, c, at);
			}
		}
		assert_int_equal(id_of(headers[i].name, len - 1), HEADER_OTHER);
	}
	assert_int_equal(id_of("", 0), HEADER_OTHER);
	assert_int_equal(id_of("Hostt", 5), HEADER_OTHER);
	assert_int_equal(id_of("Content_Length", 14), HEADER_OTHER);
}

/* The table is the switch's own; these are its users' words. */
static void message__knows_the_fields_of_proxies(void **state)
{
	static const struct {
		const char *name;
		enum header_id id;
		bool may_trail;
	} cases[] = {
		{"forwarded", HEADER_FORWARDED, false},
		{"VIA", HEADER_VIA, false},
		{"Keep-Alive", HEADER_KEEP_ALIVE, false},
		{"proxy-connection", HEADER_PROXY_CONNECTION, false},
		{"date", HEADER_DATE, true},
		{"Server", HEADER_SERVER, true},
		{"Content-Length", HEADER_CONTENT_LENGTH, false},
		{"transfer-encoding", HEADER_TRANSFER_ENCODING, false},
		{"HOST", HEADER_HOST, false},
		{"connection", HEADER_CONNECTION, false},
		{"Trailer", HEADER_TRAILER, false},
		{"X-Request-Id", HEADER_X_REQUEST_ID, true},
		{"Grpc-Status", HEADER_OTHER, true},
		{"Keep_Alive", HEADER_OTHER, true},
		{"Forwarded-For", HEADER_OTHER, true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(id_of(cases[i].name, strlen(cases[i].name)), cases[i].id);
		assert_int_equal(header_may_trail(cases[i].id), cases[i].may_trail);
	}
}

static void message__knows_methods_with_case(void **state)
{
	static const struct {
		const char *text;
		enum http_method method;
	} cases[] = {
		{"GET", METHOD_GET},	     {"HEAD", METHOD_HEAD},	{"POST", METHOD_POST},
		{"PUT", METHOD_PUT},	     {"DELETE", METHOD_DELETE}, {"CONNECT", METHOD_CONNECT},
		{"OPTIONS", METHOD_OPTIONS}, {"TRACE", METHOD_TRACE},	{"PATCH", METHOD_PATCH},
		{"get", METHOD_OTHER},	     {"GETS", METHOD_OTHER},	{"GE", METHOD_OTHER},
		{"", METHOD_OTHER},	     {"HEAd", METHOD_OTHER},	{"PROPFIND", METHOD_OTHER},
		{"DELETF", METHOD_OTHER},    {"CONNECS", METHOD_OTHER}, {"PRI", METHOD_OTHER},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(method_of(span_str(cases[i].text)), cases[i].method);
}

static void message__has_a_phrase_for_registered_codes(void **state)
{
	assert_string_equal(status_phrase(200), "OK");
	assert_string_equal(status_phrase(206), "Partial Content");
	assert_string_equal(status_phrase(413), "Content Too Large");
	assert_string_equal(status_phrase(511), "Network Authentication Required");
	assert_string_equal(status_phrase(0), "Unknown");
	assert_string_equal(status_phrase(418), "Unknown");
	assert_string_equal(status_phrase(512), "Unknown");
	assert_string_equal(status_phrase(~0u), "Unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(message__knows_every_field_in_any_case),
		cmocka_unit_test(message__knows_nothing_but_the_names),
		cmocka_unit_test(message__knows_the_fields_of_proxies),
		cmocka_unit_test(message__knows_methods_with_case),
		cmocka_unit_test(message__has_a_phrase_for_registered_codes),
	};

	return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
