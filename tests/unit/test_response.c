/* SPDX-License-Identifier: MIT */
/* Responses of upstreams: the table of response_cases.h, each case in every division into pieces, read and skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/err.h"
#include "response_cases.h"
#include "response_driver.h"

static struct response_driver whole, split;
static unsigned wrong_count;

/* Goes on behind a wrong one, so that a run shows them all. */
static void check(const struct response_driver *d, const struct response_case *c, const char *how, size_t at)
{
	if (!span_eq(buf_span(&d->out), span_str(c->out))) {
		print_error("section %s, %s %zu\ninput:    %.*s\nexpected: %s\ngot:      %.*s\n", c->section, how, at,
			    SPAN_ARG(c->in), c->out, (int)d->out.len, d->out.ptr);
		wrong_count++;
	}
	if (!span_eq(buf_span(&d->fields), buf_span(&whole.fields))) {
		print_error("section %s, %s %zu: other fields\n%.*s\nbut whole\n%.*s\n", c->section, how, at,
			    SPAN_ARG(buf_span(&d->fields)), SPAN_ARG(buf_span(&whole.fields)));
		wrong_count++;
	}
}

static void run_whole(const struct response_case *c)
{
	response_driver_init(&whole, &case_limits, c->method);
	response_driver_feed(&whole, c->in);
	response_driver_end(&whole);
	check(&whole, c, "whole", 0);
}

static void run_pieces(const struct response_case *c, size_t first, size_t each, bool is_skipping, const char *how)
{
	response_driver_init(&split, &case_limits, c->method);
	split.is_skipping = is_skipping;
	response_driver_feed(&split, span_of(c->in.ptr, first));
	for (size_t i = first; i < c->in.len; i += each)
		response_driver_feed(&split, span_of(c->in.ptr + i, MIN(each, c->in.len - i)));
	response_driver_end(&split);
	check(&split, c, how, first);
	response_driver_fini(&split);
}

static void response__has_the_right_verdict_however_the_bytes_arrive(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(response_cases); i++) {
		const struct response_case *c = &response_cases[i];
		unsigned before = wrong_count;

		run_whole(c);
		for (size_t at = 1; at < c->in.len && wrong_count == before; at++) {
			run_pieces(c, at, c->in.len, false, "split at");
			run_pieces(c, at, c->in.len, true, "skipped, split at");
		}
		if (wrong_count == before) {
			run_pieces(c, 0, c->in.len, true, "skipped whole");
			run_pieces(c, 0, 1, false, "byte by byte");
			run_pieces(c, 0, 1, true, "skipped byte by byte");
			run_pieces(c, 0, 7, false, "by sevens");
		}
		response_driver_fini(&whole);
	}
	print_message("%zu cases\n", ARRAY_LEN(response_cases));
	assert_int_equal(wrong_count, 0);
}

/* The verdict falls with the very byte that is wrong: what stands behind it changes nothing. */
static void response__refuses_before_the_head_is_complete(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"\r", "! no status line"},
		{"HTTP/1.1 2x", "! bad status code"},
		{"HTTP/1.1 600", "! bad status code"},
		{"HTTP/3.0 200", "! version"},
		{"HTTP/1.1 200x", "! bad status code"},
		{"HTTP/1.1 200\n", "! bare LF"},
		{"HTTP/1.1 200 OK\x02", "! control character in reason"},
		{"HTTP/1.1 200 OK\rx", "! CR without LF"},
		{"HTTP/1.1 200 OK\r\n ", "! folded line"},
		{"HTTP/1.1 200 OK\r\nA ", "! white space before colon"},
		{"HTTP/1.1 200 OK\r\nA: \rx", "! CR without LF"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct response_case c = {"early", METHOD_GET, span_str(cases[i].in), cases[i].out};

		run_whole(&c);
		response_driver_fini(&whole);
		response_driver_init(&split, &case_limits, METHOD_GET);
		response_driver_feed(&split, span_of(c.in.ptr, c.in.len - 1));
		assert_false(split.is_over);
		response_driver_fini(&split);
	}
	assert_int_equal(wrong_count, 0);
}

/* One byte of a good head replaced by each of the 256: good only where the grammar has it. */
static void response__refuses_every_wrong_byte_in_the_status_line(void **state)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	static const char *const good[] = {
		"H", "T", "T", "P", "/", "1", ".", "01", " ", "12345", "0123456789", "0123456789", " ",
		NULL, NULL, /* any text */
		"\r", "\n",
	};

	for (size_t at = 0; at < ARRAY_LEN(good); at++) {
		for (int c = 0; c < 256; c++) {
			bool is_text = c == '\t' || (c >= ' ' && c != 0x7f);
			bool is_good = good[at] ? c && strchr(good[at], c) : is_text;
			char text[sizeof(head)];

			memcpy(text, head, sizeof(head));
			text[at] = (char)c;
			response_driver_init(&whole, &case_limits, METHOD_GET);
			response_driver_feed(&whole, span_of(text, sizeof(head) - 1));
			assert_true(whole.out.len > 0);
			if (is_good != (whole.out.ptr[0] != '!'))
				fail_msg("byte %02x at %zu: %.*s", c, at, SPAN_ARG(buf_span(&whole.out)));
			response_driver_fini(&whole);
		}
	}
}

static struct response_parser parser;
static struct response response;

static enum parse_state head_of(const char *text, enum http_method method, size_t *ret_len)
{
	response_reset(&parser, &response, method);
	return response_head(&parser, text, strlen(text), ret_len);
}

static void response__tells_what_the_head_says(void **state)
{
	size_t len;

	response_init(&parser, &case_limits);
	assert_int_equal(head_of("HTTP/1.1 206 Partial\r\ndate: today\r\nX-Y: z\r\nDate: again\r\n"
				 "CONTENT-length: 7\r\nVia: 1.1 a\r\n\r\ncontent", METHOD_GET, &len), PARSE_DONE);
	assert_int_equal(response.status, 206);
	assert_int_equal(response.version_minor, 1);
	assert_int_equal(response.field_count, 5);
	assert_true(span_eq(response.reason, SPAN("Partial")));
	assert_int_equal(response.known[HEADER_DATE], 1);
	assert_int_equal(response.known[HEADER_CONTENT_LENGTH], 4);
	assert_int_equal(response.known[HEADER_SERVER], 0);
	assert_int_equal(response.duplicates, 1u << HEADER_DATE);
	assert_int_equal(response.fields[1].id, HEADER_OTHER);
	assert_int_equal(response.content_length, 7);
	assert_int_equal(response.framing, BODY_SIZED);

	assert_int_equal(head_of("HTTP/1.0 200\r\n\r\n", METHOD_GET, &len), PARSE_DONE);
	assert_int_equal(response.version_minor, 0);
	assert_int_equal(response.field_count, 0);
	assert_int_equal(response.reason.len, 0);
	assert_int_equal(response.duplicates, 0);
	assert_int_equal(response.known[HEADER_DATE], 0);
	assert_int_equal(response.content_length, UINT64_MAX);
	assert_int_equal(len, 16);
}

static void response__stays_refused_until_it_is_reset(void **state)
{
	static const char good[] = "HTTP/1.1 204 No Content\r\n\r\n";
	struct span in = SPAN("x"), data;
	size_t len;

	response_init(&parser, &case_limits);
	assert_int_equal(head_of("HTTP/1.1 200 OK\nA: b\r\n\r\n", METHOD_GET, &len), PARSE_FAIL);
	assert_int_equal(response_head(&parser, good, sizeof(good) - 1, &len), PARSE_FAIL);
	assert_int_equal(response_body(&parser, &in, &data), PARSE_FAIL);
	assert_int_equal(response_opaque(&parser), 0);
	assert_string_equal(parser.why, "bare LF");
	assert_int_equal(response.field_count, 0);
	assert_int_equal(head_of(good, METHOD_GET, &len), PARSE_DONE);
	assert_null(parser.why);
}

static void response__says_how_much_needs_no_look(void **state)
{
	struct span in, data;
	size_t len;

	response_init(&parser, &case_limits);
	response_reset(&parser, &response, METHOD_GET);
	assert_int_equal(response_opaque(&parser), 0);
	assert_int_equal(head_of("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", METHOD_GET, &len), PARSE_DONE);
	assert_int_equal(response_opaque(&parser), 10);
	in = SPAN("abc");
	assert_int_equal(response_body(&parser, &in, &data), PARSE_DATA);
	assert_int_equal(response_opaque(&parser), 7);
	response_skip(&parser, 6);
	assert_int_equal(response_opaque(&parser), 1);
	assert_int_equal(response_body(&parser, &in, &data), PARSE_MORE);
	response_skip(&parser, 1);
	assert_int_equal(response_opaque(&parser), 0);
	assert_int_equal(response_body(&parser, &in, &data), PARSE_DONE);

	assert_int_equal(head_of("HTTP/1.1 200 OK\r\n\r\n", METHOD_GET, &len), PARSE_DONE);
	assert_true(response_opaque(&parser) == UINT64_MAX);
	response_skip(&parser, 1ull << 63);
	in = SPAN("abc");
	assert_int_equal(response_body(&parser, &in, &data), PARSE_DATA);
	assert_int_equal(data.len, 3);
	assert_true(response_opaque(&parser) == UINT64_MAX);
	assert_int_equal(response_body(&parser, &in, &data), PARSE_MORE);

	assert_int_equal(head_of("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", METHOD_HEAD, &len), PARSE_DONE);
	assert_int_equal(response_opaque(&parser), 0);
}

/* Chunk data past the parser, in every way to divide it: llhttp must not lose count of any chunk. */
static void response__keeps_count_of_chunks_it_was_not_shown(void **state)
{
	static const struct parse_limits limits = {200, 600, 8, UINT64_MAX};
	static const char head[] = CHUNKED("");
	struct span in, data = {NULL, 0};
	size_t len;

	response_init(&parser, &limits);
	for (unsigned seen = 0; seen < 4 * 4 * 4; seen++) {
		assert_int_equal(head_of(head, METHOD_GET, &len), PARSE_DONE);
		for (unsigned chunk = 0, left = seen; chunk < 3; chunk++, left /= 4) {
			in = SPAN("3\r\n");
			assert_int_equal(response_body(&parser, &in, &data), PARSE_MORE);
			assert_int_equal(response_opaque(&parser), 3);
			/* So many bytes are shown, the rest is not; and one of them before, one after. */
			if (left % 4 != 3)
				response_skip(&parser, 1);
			in = span_of("ab", left % 4 == 3 ? 2 : left % 4);
			if (in.len)
				assert_int_equal(response_body(&parser, &in, &data), PARSE_DATA);
			if (response_opaque(&parser))
				response_skip(&parser, response_opaque(&parser));
			in = SPAN("\r\n");
			assert_int_equal(response_body(&parser, &in, &data), PARSE_MORE);
		}
		in = SPAN("7fffffffffffffff\r\n");
		assert_int_equal(response_body(&parser, &in, &data), PARSE_MORE);
		assert_true(response_opaque(&parser) == INT64_MAX);
		response_skip(&parser, INT64_MAX - 1);
		in = SPAN("z\r\n0\r\n\r\nrest");
		assert_int_equal(response_body(&parser, &in, &data), PARSE_DATA);
		assert_int_equal(data.len, 1);
		assert_int_equal(response_body(&parser, &in, &data), PARSE_DONE);
		assert_true(span_eq(in, SPAN("rest")));
	}
}

/* More data than the chunk has, skipped or not: what follows is not CRLF. */
static void response__refuses_a_chunk_that_goes_on_after_a_skip(void **state)
{
	struct span in = SPAN("3\r\n"), data;
	size_t len;

	response_init(&parser, &case_limits);
	assert_int_equal(head_of(CHUNKED(""), METHOD_GET, &len), PARSE_DONE);
	assert_int_equal(response_body(&parser, &in, &data), PARSE_MORE);
	response_skip(&parser, 3);
	in = SPAN("d\r\n");
	assert_int_equal(response_body(&parser, &in, &data), PARSE_FAIL);
	assert_string_equal(parser.why, "no CRLF after chunk");
}

static void response__appends_trailers_as_far_as_there_is_room(void **state)
{
	static const char body[] = "0\r\nAb: cd\r\nE: f\r\nGh:\t \tij \t\r\nK: l\r\n\r\n";
	char memory[64];

	/* "before" and the lines that fit: none, "Ab: cd", "E: f", "Gh: ij", "K: l", each with CRLF. */
	for (size_t cap = 6; cap <= 40; cap++) {
		size_t expected = cap < 14 ? 6 : cap < 20 ? 14 : cap < 28 ? 20 : cap < 34 ? 28 : 34;
		struct span in, data;
		struct buf b;
		size_t len;

		buf_init(&b, memory, cap);
		buf_add_lit(&b, "before");
		response_init(&parser, &case_limits);
		parser.trailers = &b;
		assert_int_equal(head_of(CHUNKED(""), METHOD_GET, &len), PARSE_DONE);
		for (size_t i = 0; i < sizeof(body) - 1; i++) {
			in = span_of(body + i, 1);
			assert_int_equal(response_body(&parser, &in, &data), i < sizeof(body) - 2 ? PARSE_MORE : PARSE_DONE);
		}
		assert_int_equal(b.len, expected);
		assert_int_equal(b.is_truncated, cap < 34);
		assert_memory_equal(b.ptr, "beforeAb: cd\r\nE: f\r\nGh: ij\r\nK: l\r\n", expected);
	}
}

static void response__checks_trailers_nobody_wants(void **state)
{
	struct span in = SPAN("0\r\nA: b\r\nContent-Length: 5\r\n\r\nX"), data;
	size_t len;

	response_init(&parser, &case_limits);
	assert_int_equal(head_of(CHUNKED(""), METHOD_GET, &len), PARSE_DONE);
	assert_int_equal(response_body(&parser, &in, &data), PARSE_DONE);
	assert_int_equal(in.len, 1);
	in = SPAN("0\r\nA: b\r\nB\r\n");
	assert_int_equal(head_of(CHUNKED(""), METHOD_GET, &len), PARSE_DONE);
	assert_int_equal(response_body(&parser, &in, &data), PARSE_FAIL);
}

/* One byte at a time, the work must grow with the bytes, not with their square. */
static void response__looks_at_every_byte_once(void **state)
{
	static const struct parse_limits limits = {60000, 60000, 8, 0};
	size_t len = 50000, head_len;
	char *text = malloc(len);

	memset(text, 'a', len);
	memcpy(text, "HTTP/1.1 200 ", 13);
	memcpy(text + 30000, "\r\nB: ", 5);
	response_init(&parser, &limits);
	response_reset(&parser, &response, METHOD_GET);
	for (size_t i = 1; i < len; i++) {
		/* Everything before the newest byte is poison: looking back at it would be refused. */
		assert_int_equal(response_head(&parser, text, i, &head_len), PARSE_MORE);
		text[i - 1] = '\0';
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(response__has_the_right_verdict_however_the_bytes_arrive),
		cmocka_unit_test(response__refuses_before_the_head_is_complete),
		cmocka_unit_test(response__refuses_every_wrong_byte_in_the_status_line),
		cmocka_unit_test(response__tells_what_the_head_says),
		cmocka_unit_test(response__stays_refused_until_it_is_reset),
		cmocka_unit_test(response__says_how_much_needs_no_look),
		cmocka_unit_test(response__keeps_count_of_chunks_it_was_not_shown),
		cmocka_unit_test(response__refuses_a_chunk_that_goes_on_after_a_skip),
		cmocka_unit_test(response__appends_trailers_as_far_as_there_is_room),
		cmocka_unit_test(response__checks_trailers_nobody_wants),
		cmocka_unit_test(response__looks_at_every_byte_once),
	};

	return cmocka_run_group_tests_name("response", tests, NULL, NULL);
}
