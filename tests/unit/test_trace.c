/* SPDX-License-Identifier: MIT */
/* X-Request-Id and traceparent: what is passed on, what is made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "http/trace.h"
#include "request_text.h"

#define ID_64 "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._"
#define PARENT "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static struct request req;
static char memory[256];
static struct buf b;

static bool is_hex(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!text[i] || !strchr("0123456789abcdef", text[i]))
			return false;
	return true;
}

static void trace__passes_on_a_valid_request_id(void **state)
{
	static const char *const ids[] = {
		"a",	  "42", "~+/=-._",     "b3c1f2d4-9d3e-4a55-8f0e-0a1b2c3d4e5f",
		ID_64 ID_64, "YWJj+/==", "Root=1-67891233-abcdef012345678912345678",
	};

	for (unsigned i = 0; i < ARRAY_LEN(ids); i++) {
		char lines[256];

		snprintf(lines, sizeof(lines), "x-request-id: %s\n", ids[i]);
		request_fill(&req, lines);
		buf_init(&b, memory, REQUEST_ID_MAX);
		trace_print_request_id(&b, &req);
		assert_true(span_eq(buf_span(&b), span_str(ids[i])));
	}
}

static void trace__makes_a_request_id_else(void **state)
{
	static const char *const lines[] = {
		"",
		"X-Request-Id:\n",
		"X-Request-Id: a b\n",
		"X-Request-Id: a,b\n",
		"X-Request-Id: a;b\n",
		"X-Request-Id: \"a\"\n",
		"X-Request-Id: \xc3\xa4\n",
		"X-Request-Id: " ID_64 ID_64 "x\n",
		"X-Request-Id: a\nX-Request-Id: a\n",
	};
	char last[32] = "";

	for (unsigned i = 0; i < ARRAY_LEN(lines); i++) {
		request_fill(&req, lines[i]);
		buf_init(&b, memory, sizeof(memory));
		trace_print_request_id(&b, &req);
		assert_int_equal(b.len, 32);
		assert_true(is_hex(memory, 32));
		assert_memory_not_equal(memory, last, 32);
		memcpy(last, memory, 32);
	}
	buf_init(&b, memory, 31);
	trace_print_request_id(&b, &req);
	assert_true(b.is_truncated);
}

static void trace__knows_a_traceparent(void **state)
{
	static const struct {
		const char *value;
		bool is_valid;
	} cases[] = {
		{PARENT, true},
		{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", true},
		{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff", true},
		{"00-00000000000000000000000000000001-0000000000000001-01", true},
		/* versions to come */
		{"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true},
		{"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what", true},
		{"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-", true},
		{"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.what", false},
		{PARENT "-", false},
		{PARENT "-what", false},
		{PARENT "0", false},
		{"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
		{"0g-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
		{"0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
		{"00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
		{"00-0af7651916cd43dd8448eb211c80319c-B7ad6b7169203331-01", false},
		{"00-00000000000000000000000000000000-b7ad6b7169203331-01", false},
		{"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false},
		{"00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01", false},
		{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-01", false},
		{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1", false},
		{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g", false},
		{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", false},
		{"00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
		{"00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01", false},
		{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331_01", false},
		{"", false},
		{"00", false},
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		size_t len = strlen(cases[i].value);
		char *copy = malloc(MAX(len, 1u));

		memcpy(copy, cases[i].value, len);
		if (trace_is_parent(span_of(copy, len)) != cases[i].is_valid)
			fail_msg("%s", cases[i].value);
		free(copy);
	}
}

static void trace__passes_on_or_makes_a_traceparent(void **state)
{
	static const struct {
		const char *lines;
		bool makes_one, is_printed, is_new;
	} cases[] = {
		{"traceparent: " PARENT "\n", false, true, false},
		{"TraceParent: " PARENT "\n", true, true, false},
		{"", false, false, true},
		{"", true, true, true},
		{"traceparent: 00-1-2-3\n", false, false, true},
		{"traceparent: 00-1-2-3\n", true, true, true},
		{"traceparent: " PARENT "\ntraceparent: " PARENT "\n", true, true, true},
		{"traceparent: " PARENT "\ntraceparent: " PARENT "\n", false, false, true},
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		bool is_new;

		request_fill(&req, cases[i].lines);
		buf_init(&b, memory, sizeof(memory));
		assert_int_equal(trace_print_parent(&b, &req, cases[i].makes_one, &is_new),
				 cases[i].is_printed);
		assert_int_equal(is_new, cases[i].is_new);
		assert_int_equal(b.len, cases[i].is_printed ? strlen(PARENT) : 0);
		if (!cases[i].is_printed)
			continue;
		assert_true(trace_is_parent(buf_span(&b)));
		assert_int_equal(span_eq(buf_span(&b), SPAN(PARENT)), !is_new);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trace__passes_on_a_valid_request_id),
		cmocka_unit_test(trace__makes_a_request_id_else),
		cmocka_unit_test(trace__knows_a_traceparent),
		cmocka_unit_test(trace__passes_on_or_makes_a_traceparent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
