/* SPDX-License-Identifier: MIT */
/* The parser as a whole: the table of parse_cases.h, each case in every division into pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/err.h"
#include "parse_cases.h"
#include "parse_driver.h"

static struct driver whole, split;

static unsigned wrong_count;
static bool is_skipping; /* run_pieces sends content past the parser */

/* Goes on behind a wrong one, so that a run shows them all. */
static void check(const struct driver *d, const struct parse_case *c, const char *how, size_t at)
{
	if (!span_eq(buf_span(&d->out), span_str(c->out))) {
		print_error("section %s, %s %zu\ninput:    %.*s\nexpected: %s\ngot:      %.*s\n",
			    c->section, how, at, SPAN_ARG(c->in), c->out, (int)d->out.len,
			    d->out.ptr);
		wrong_count++;
	}
	if (!span_eq(buf_span(&d->fields), buf_span(&whole.fields))) {
		print_error("section %s, %s %zu: other fields\n%.*s\nbut whole\n%.*s\n", c->section,
			    how, at, SPAN_ARG(buf_span(&d->fields)),
			    SPAN_ARG(buf_span(&whole.fields)));
		wrong_count++;
	}
}

static void run_whole(const struct parse_case *c)
{
	driver_init(&whole, &case_limits);
	driver_feed(&whole, c->in);
	driver_end(&whole);
	check(&whole, c, "whole", 0);
}

static void run_pieces(const struct parse_case *c, size_t first, size_t each, const char *how)
{
	driver_init(&split, &case_limits);
	split.is_skipping = is_skipping;
	driver_feed(&split, span_of(c->in.ptr, first));
	for (size_t i = first; i < c->in.len; i += each)
		driver_feed(&split, span_of(c->in.ptr + i, MIN(each, c->in.len - i)));
	driver_end(&split);
	check(&split, c, how, first);
	driver_fini(&split);
}

static void parse__has_the_right_verdict_however_the_bytes_arrive(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(parse_cases); i++) {
		const struct parse_case *c = &parse_cases[i];
		unsigned before = wrong_count;

		run_whole(c);
		if (wrong_count > before) {
			driver_fini(&whole);
			continue;
		}
		for (size_t at = 1; at < c->in.len; at++)
			run_pieces(c, at, c->in.len, "split at");
		run_pieces(c, 0, 1, "byte by byte");
		run_pieces(c, 0, 7, "by sevens");
		is_skipping = true;
		for (size_t at = 0; at < c->in.len; at++)
			run_pieces(c, at, c->in.len, "skipped, split at");
		run_pieces(c, 0, 1, "skipped, byte by byte");
		is_skipping = false;
		driver_fini(&whole);
	}
	print_message("%zu cases\n", ARRAY_LEN(parse_cases));
	assert_int_equal(wrong_count, 0);
}

/* Of each refused stream the verdict falls with the very byte that is wrong: what stands behind it
 * changes nothing. */
static void parse__refuses_before_the_head_is_complete(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"\x16", "400 TLS handshake"},
		{"G\x01", "400 bad method"},
		{"GET /\n", "400 no version"},
		{"GET / X", "400 bad version"},
		{"GET / HTTP/1.1\n", "400 bare LF"},
		{"GET / HTTP/3.0\r", "505 version"},
		{"GET / HTTP/1.1\r\n ", "400 folded line"},
		{"GET / HTTP/1.1\r\nA ", "400 white space before colon"},
		{"GET / HTTP/1.1\r\nA: \x02", "400 control character in field"},
		{"GET / HTTP/1.1\r\nA: \n", "400 bare LF"},
		{"GET / HTTP/1.1\r\nA: \rx", "400 CR without LF"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct parse_case c = {"early", span_str(cases[i].in), cases[i].out};

		run_whole(&c);
		driver_fini(&whole);
		driver_init(&split, &case_limits);
		driver_feed(&split, span_of(c.in.ptr, c.in.len - 1));
		assert_false(split.is_over);
		driver_fini(&split);
	}
	assert_int_equal(wrong_count, 0);
}

/* "GET /aaa HTTP/1.1" of `line` bytes and a head of `head` bytes in all. */
static char *make_head(size_t line, size_t head)
{
	static const char end[] = "\r\nHost: a\r\nX: ";
	char *text = malloc(head);
	size_t at = 0;

	memset(text, 'a', head);
	memcpy(text, "GET /", 5);
	memcpy(text + line - 9, " HTTP/1.1", 9);
	at = line;
	memcpy(text + at, end, sizeof(end) - 1);
	memcpy(text + head - 4, "\r\n\r\n", 4);
	return text;
}

static unsigned status_of(size_t line, size_t head)
{
	struct parse_case c = {"limit", {make_head(line, head), head}, ""};
	unsigned status;

	driver_init(&whole, &case_limits);
	driver_feed(&whole, c.in);
	status = whole.parser.status;
	c.out = strndup(whole.out.ptr, whole.out.len);
	for (size_t at = 1; at < head; at++)
		run_pieces(&c, at, head, "split at");
	run_pieces(&c, 0, 1, "byte by byte");
	driver_fini(&whole);
	free((char *)c.in.ptr);
	free((char *)c.out);
	assert_int_equal(wrong_count, 0);
	return status;
}

static void parse__limits_are_exact(void **state)
{
	size_t line = case_limits.request_line_max, head = case_limits.head_max;

	assert_int_equal(status_of(line - 1, 400), 0);
	assert_int_equal(status_of(line, 400), 0);
	assert_int_equal(status_of(line + 1, 400), 414);
	assert_int_equal(status_of(50, head - 1), 0);
	assert_int_equal(status_of(50, head), 0);
	assert_int_equal(status_of(50, head + 1), 431);
	assert_int_equal(status_of(50, head + 2), 431);
}

static void parse__refuses_a_long_head_as_soon_as_it_is_known(void **state)
{
	struct driver *d = &whole;
	char *text = make_head(300, 400);

	driver_init(d, &case_limits);
	driver_feed(d, span_of(text, 200));
	assert_false(d->is_over);
	driver_feed(d, span_of(text + 200, 1));
	assert_int_equal(d->parser.status, 414);
	driver_fini(d);
	free(text);

	text = make_head(100, 800);
	driver_init(d, &case_limits);
	driver_feed(d, span_of(text, 599));
	assert_false(d->is_over);
	driver_feed(d, span_of(text + 599, 1));
	assert_int_equal(d->parser.status, 431);
	driver_fini(d);
	free(text);
}

static void parse__bounds_extensions_over_the_whole_content(void **state)
{
	static const char head[] = CHUNKED("");
	static const struct parse_limits limits = {200, 600, 8, 100000};
	struct driver *d = &whole;
	unsigned chunks = 0;

	driver_init(d, &limits);
	driver_feed(d, span_of(head, sizeof(head) - 1));
	for (; chunks < 1000 && !d->is_over; chunks++)
		driver_feed(d, SPAN("1;abcdefghi\r\nx\r\n"));
	assert_int_equal(d->parser.status, 400);
	assert_string_equal(d->parser.why, "chunk extensions too long");
	assert_in_range(chunks, 80, 128);
	driver_fini(d);
}

static void parse__stays_refused(void **state)
{
	struct driver *d = &whole;
	struct span in = SPAN("0\r\n\r\n"), data;
	size_t head_len;

	driver_init(d, &case_limits);
	driver_feed(d, SPAN("GET /\n"));
	assert_true(d->is_over);
	assert_int_equal(
		parser_head(&d->parser, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27, &head_len),
		PARSE_FAIL);
	assert_int_equal(parser_body(&d->parser, &in, &data), PARSE_FAIL);
	assert_int_equal(d->parser.status, 400);
	driver_fini(d);
}

static void parse__tells_the_request_line_of_a_refused_head(void **state)
{
	struct driver *d = &whole;

	driver_init(d, &case_limits);
	driver_feed(d, SPAN("HEAD /x HTTP/1.0\r\nHost: a\r\nBad Field\r\n\r\n"));
	assert_int_equal(d->parser.status, 400);
	assert_int_equal(d->req->method, METHOD_HEAD);
	assert_int_equal(d->req->version_minor, 0);
	assert_true(span_eq(d->req->target, SPAN("/x")));
	assert_int_equal(d->req->field_count, 0);
	assert_null(request_header(d->req, HEADER_HOST).ptr);
	assert_false(d->req->is_keep_alive);
	driver_fini(d);
}

static void parse__is_idle_until_a_request_begins(void **state)
{
	struct driver *d = &whole;

	driver_init(d, &case_limits);
	assert_true(parser_is_idle(&d->parser));
	driver_feed(d, SPAN("\r\n\r"));
	assert_true(parser_is_idle(&d->parser));
	driver_feed(d, SPAN("\nG"));
	assert_false(parser_is_idle(&d->parser));
	driver_fini(d);
}

static void parse__finds_known_fields(void **state)
{
	struct driver *d = &whole;
	const struct request *req;

	driver_init(d, &case_limits);
	driver_feed(d, SPAN("GET / HTTP/1.1\r\nHost: a:80\r\nrange: bytes=0-1\r\nX-Y: z\r\n"
			    "Range: other\r\nContent-Length: 1\r\n\r\n"));
	req = d->req;
	assert_int_equal(req->field_count, 5);
	assert_true(span_eq(request_header(req, HEADER_RANGE), SPAN("bytes=0-1")));
	assert_true(span_eq(req->authority, SPAN("a:80")));
	assert_true(span_eq(req->fields[2].name, SPAN("X-Y")));
	assert_int_equal(req->fields[2].id, HEADER_OTHER);
	assert_int_equal(req->fields[3].id, HEADER_RANGE);
	assert_null(request_header(req, HEADER_REFERER).ptr);
	assert_int_equal(req->content_length, 1);
	driver_fini(d);
}

static void parse__passes_trailers_on(void **state)
{
	struct driver *d = &whole;
	char memory[64];
	struct buf mine;

	buf_init(&mine, memory, sizeof(memory));
	driver_init(d, &case_limits);
	d->parser.trailers = &mine;
	driver_feed(d, SPAN(CHUNKED("1\r\nx\r\n0\r\nA:b\r\nContent-Length: 5\r\nX-Sum: \t1 2 \r\n\r\n")));
	assert_true(span_eq(buf_span(&mine), SPAN("A: b\r\nX-Sum: 1 2\r\n")));
	/* It stays through the reset, until its owner takes it away. */
	assert_ptr_equal(d->parser.trailers, &mine);
	driver_feed(d, SPAN(CHUNKED("0\r\nC: d\r\n\r\n")));
	assert_true(span_eq(buf_span(&mine), SPAN("A: b\r\nX-Sum: 1 2\r\nC: d\r\n")));
	d->parser.trailers = NULL;
	driver_feed(d, SPAN(CHUNKED("0\r\nE: f\r\n\r\n")));
	assert_int_equal(mine.len, 24);
	assert_false(d->is_over);
	driver_feed(d, SPAN(CHUNKED("0\r\nE f\r\n\r\n")));
	assert_string_equal(d->parser.why, "white space before colon");
	driver_fini(d);
}

static void parse__says_how_much_needs_no_look(void **state)
{
	static struct request req;
	struct span in, data;
	struct parser p;
	size_t len;

	parser_init(&p, &case_limits);
	parser_reset(&p, &req);
	assert_int_equal(parser_opaque(&p), 0);
	in = SPAN(POST("Content-Length: 10\r\n"));
	assert_int_equal(parser_head(&p, in.ptr, in.len, &len), PARSE_DONE);
	assert_int_equal(parser_opaque(&p), 10);
	parser_skip(&p, 4);
	in = SPAN("abc");
	assert_int_equal(parser_body(&p, &in, &data), PARSE_DATA);
	assert_int_equal(parser_opaque(&p), 3);
	parser_skip(&p, 3);
	assert_int_equal(parser_opaque(&p), 0);
	assert_int_equal(parser_body(&p, &in, &data), PARSE_DONE);

	parser_reset(&p, &req);
	in = SPAN(CHUNKED(""));
	assert_int_equal(parser_head(&p, in.ptr, in.len, &len), PARSE_DONE);
	assert_int_equal(parser_opaque(&p), 0);
	in = SPAN("3\r\n");
	assert_int_equal(parser_body(&p, &in, &data), PARSE_MORE);
	assert_int_equal(parser_opaque(&p), 3);
	parser_skip(&p, 3);
	assert_int_equal(parser_opaque(&p), 0);
	in = SPAN("\r\n0\r\n\r\nGET");
	assert_int_equal(parser_body(&p, &in, &data), PARSE_DONE);
	assert_true(span_eq(in, SPAN("GET")));

	parser_reset(&p, &req);
	in = SPAN(GET(""));
	assert_int_equal(parser_head(&p, in.ptr, in.len, &len), PARSE_DONE);
	assert_int_equal(parser_opaque(&p), 0);

	/* A body given up: nothing of it is left for the next request. */
	parser_reset(&p, &req);
	in = SPAN(POST("Content-Length: 10\r\n"));
	assert_int_equal(parser_head(&p, in.ptr, in.len, &len), PARSE_DONE);
	parser_reset(&p, &req);
	assert_int_equal(parser_opaque(&p), 0);
}

/* One byte at a time, the work must grow with the bytes, not with their square: counted, not timed.
 */
static void parse__looks_at_every_byte_once(void **state)
{
	static const struct parse_limits limits = {60000, 60000, 8, 0};
	size_t len = 50000, head_len;
	char *text = make_head(40000, len);
	struct request *req = malloc(sizeof(*req));
	struct parser p;

	parser_init(&p, &limits);
	parser_reset(&p, req);
	for (size_t i = 1; i < len; i++) {
		/* Everything before the newest byte is poison: looking back at it would be refused.
		 */
		char byte = text[i - 1];

		assert_int_equal(parser_head(&p, text, i, &head_len), PARSE_MORE);
		if (i < 40000 - 9)
			text[i - 1] = '\0';
		else
			text[i - 1] = byte;
	}
	free(req);
	free(text);
}

static bool stands_at(const llhttp_t *a, const llhttp_t *b)
{
	return a->method == b->method && a->http_minor == b->http_minor && a->flags == b->flags &&
	       a->content_length == b->content_length && a->upgrade == b->upgrade && a->finish == b->finish &&
	       a->_current == b->_current;
}

/* Is it accepted?  llhttp must then take the whole head as it was sent, and stand where the parser's own does. */
static bool ask_both(const char *head)
{
	static const llhttp_settings_t none = {0};
	struct request *req = malloc(sizeof(*req));
	size_t head_len;
	struct parser p;
	llhttp_t llhttp;
	bool is_good;

	parser_init(&p, &case_limits);
	parser_reset(&p, req);
	is_good = parser_head(&p, head, strlen(head), &head_len) == PARSE_DONE;
	if (is_good) {
		llhttp_errno_t error;

		llhttp_init(&llhttp, HTTP_REQUEST, &none);
		error = llhttp_execute(&llhttp, head, strlen(head));
		if (error != HPE_OK && error != HPE_PAUSED_UPGRADE)
			fail_msg("llhttp refuses %s", head);
		if (!stands_at(&llhttp, &p.body.llhttp))
			fail_msg("llhttp stands elsewhere after %s", head);
	}
	free(req);
	return is_good;
}

/* It is not shown the target: whatever we let through must be nothing to it, in each form and for each method. */
static void parse__llhttp_takes_every_line_that_we_do(void **state)
{
	static const char *const methods[] = {"GET",	 "HEAD",    "POST",  "PUT",  "DELETE",
					      "CONNECT", "OPTIONS", "TRACE", "PATCH"};
	static const char *const targets[] = {"%c",	    "/%c",	    "/x?%c",	   "/%cx%c?y",	 "//%c",
					      "http://%c", "http://h%ch/", "http://h:%c/", "http://h/%c", "%cttp://h",
					      "h%c:1",	    "h:%c",	    "[::1]:%c",	   "http://[::%c]"};
	static const char *const fields[] = {"", "Content-Length: 3\r\n", "Content-Length: 0\r\n",
					     "Transfer-Encoding: chunked\r\n"};
	unsigned good_count = 0;

	for (size_t m = 0; m < ARRAY_LEN(methods); m++)
		for (size_t t = 0; t < ARRAY_LEN(targets); t++)
			for (int c = 1; c < 256; c++)
				for (size_t f = 0; f < 2 * ARRAY_LEN(fields); f++) {
					char target[32], head[128];

					snprintf(target, sizeof(target), targets[t], c, c);
					snprintf(head, sizeof(head), "%s %s HTTP/1.%zu\r\nHost: h\r\n%s\r\n",
						 methods[m], target, f % 2, fields[f / 2]);
					good_count += ask_both(head);
				}
	assert_in_range(good_count, 20000, 9 * 14 * 256 * 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse__has_the_right_verdict_however_the_bytes_arrive),
		cmocka_unit_test(parse__refuses_before_the_head_is_complete),
		cmocka_unit_test(parse__limits_are_exact),
		cmocka_unit_test(parse__refuses_a_long_head_as_soon_as_it_is_known),
		cmocka_unit_test(parse__bounds_extensions_over_the_whole_content),
		cmocka_unit_test(parse__stays_refused),
		cmocka_unit_test(parse__tells_the_request_line_of_a_refused_head),
		cmocka_unit_test(parse__is_idle_until_a_request_begins),
		cmocka_unit_test(parse__finds_known_fields),
		cmocka_unit_test(parse__passes_trailers_on),
		cmocka_unit_test(parse__says_how_much_needs_no_look),
		cmocka_unit_test(parse__looks_at_every_byte_once),
		cmocka_unit_test(parse__llhttp_takes_every_line_that_we_do),
	};

	return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
