/* SPDX-License-Identifier: MIT */
/* The byte scanner alone: its table, its loops at every alignment and length, the bytes it takes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/guard.h"
#include "http/scan.h"

static const struct parse_limits limits = {1000, 4000, 100, 0};

/* Written from the grammar again, the other way round: by what is named, not by number. */
static uint8_t classes_of(int c)
{
	bool is_digit = c >= '0' && c <= '9';
	bool is_alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
	uint8_t classes = 0;

	if (is_alpha || is_digit || (c && strchr("!#$%&'*+-.^_`|~", c)))
		classes |= CLASS_TOKEN;
	if (c > ' ' && c < 0x7f && c != '#')
		classes |= CLASS_TARGET;
	if (c == '\t' || (c >= ' ' && c != 0x7f))
		classes |= CLASS_VALUE;
	if (is_digit || (c && strchr("abcdefABCDEF", c)))
		classes |= CLASS_HEX;
	if (is_alpha || is_digit || (c && strchr("-._~!$&'()*+;=", c)))
		classes |= CLASS_HOST;
	if (c == 0 || !strchr("%/?", c))
		classes |= CLASS_PLAIN;
	return classes;
}

static void guard__classes_are_those_of_the_grammar(void **state)
{
	for (int c = 0; c < 256; c++)
		assert_int_equal(byte_class[c], classes_of(c));
}

typedef const char *(*scan_fn)(const char *p, const char *end);

/* Every byte value at every place of runs up to 40 bytes, in blocks of exactly that size. */
static void check_scan(scan_fn scan, uint8_t class, char filler)
{
	for (size_t len = 0; len <= 40; len++) {
		char *text = malloc(len ? len : 1);

		memset(text, filler, len);
		assert_ptr_equal(scan(text, text + len), text + len);
		for (size_t at = 0; at < len; at++) {
			for (int c = 0; c < 256; c++) {
				bool is_good = classes_of(c) & class;

				text[at] = (char)c;
				if (scan(text, text + len) != text + (is_good ? len : at))
					fail_msg("byte %02x at %zu of %zu", c, at, len);
			}
			text[at] = filler;
		}
		free(text);
	}
}

static void guard__scans_stop_at_the_first_other_byte(void **state)
{
	check_scan(scan_token, CLASS_TOKEN, 'x');
	check_scan(scan_token, CLASS_TOKEN, '-');
	check_scan(scan_target, CLASS_TARGET, '/');
	check_scan(scan_value, CLASS_VALUE, ' ');
	check_scan(scan_value, CLASS_VALUE, (char)0xff);
}

static const char *quick_name(const char *p, const char *end)
{
	return scan_quick_name(p, end, false);
}

static const char *quick_text(const char *p, const char *end)
{
	return scan_quick_text(p, end, false);
}

static SCAN_WIDE const char *wide_name(const char *p, const char *end)
{
	return scan_quick_name(p, end, true);
}

static SCAN_WIDE const char *wide_text(const char *p, const char *end)
{
	return scan_quick_text(p, end, true);
}

/* Every byte value at every place of a run, in a block that begins `before` bytes in front of its end, or with it. */
static void check_quick(scan_fn scan, size_t before, uint8_t class, const char *never_stops_at)
{
	for (size_t len = 0; len <= 70; len++) {
		size_t size = len < before ? before : len;
		char *text = malloc(size), *start = text + size - len, *end = text + size;

		memset(text, 'x', size);
		assert_null(scan(start, end));
		for (char *at = start; at < end; at++) {
			for (int c = 0; c < 256; c++) {
				const char *found;

				*at = (char)c;
				found = scan(start, end);
				if (found ? found != at : !(classes_of(c) & class))
					fail_msg("byte %02x at %td of %zu", c, at - start, len);
				if (found && c && strchr(never_stops_at, c))
					fail_msg("stops at %c", c);
			}
			*at = 'x';
		}
		/* What is in front of the run has no say. */
		memset(text, 0, size - len);
		assert_null(scan(start, end));
		free(text);
	}
}

static void guard__quick_scans_let_no_other_byte_through(void **state)
{
	static const char letters[] = "ABZabz-", texts[] = " !\"09:AZaz~";

	check_quick(quick_name, SCAN_QUICK_BYTES, CLASS_TOKEN, letters);
	check_quick(quick_text, SCAN_QUICK_BYTES, CLASS_VALUE, texts);
	if (!scan_has_wide())
		return;
	check_quick(wide_name, SCAN_WIDE_BYTES, CLASS_TOKEN, letters);
	check_quick(wide_text, SCAN_WIDE_BYTES, CLASS_VALUE, texts);
}

struct scanned {
	enum guard_verdict verdict;
	struct guard guard;
	struct request *req;
	char *data;
};

static void scan(struct scanned *s, const char *text, size_t len)
{
	s->data = malloc(len);
	memcpy(s->data, text, len);
	s->req = calloc(1, sizeof(*s->req));
	guard_reset(&s->guard);
	s->verdict = guard_head(&s->guard, &limits, s->req, s->data, len);
}

static void drop(struct scanned *s)
{
	free(s->data);
	free(s->req);
}

/* One byte of a good head replaced by each of the 256: the verdict follows from the class of its
 * place. */
static void guard__refuses_every_wrong_byte_everywhere(void **state)
{
	static const char head[] = "GET /t HTTP/1.1\r\nHost: abcdefghijklmnop\r\n\r\n";
	static const struct {
		size_t at;
		uint8_t class;
		const char *also; /* good there besides */
	} places[] = {
		{1, CLASS_TOKEN, " "}, {5, CLASS_TARGET, " "}, {8, 0, "T"},
		{12, 0, "1"},	       {13, 0, "."},	       {14, 0, "01"},
		{15, 0, "\r"},	       {16, 0, "\n"},	       {18, CLASS_TOKEN, ":"},
		{21, 0, ":"},	       {25, CLASS_VALUE, ""},  {38, CLASS_VALUE, ""},
		{39, 0, "\r"},	       {40, 0, "\n"},	       {42, 0, "\n"},
	};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		for (int c = 0; c < 256; c++) {
			bool is_good = (classes_of(c) & places[i].class) ||
				       (c && strchr(places[i].also, c));
			char text[sizeof(head)];
			struct scanned s;

			memcpy(text, head, sizeof(head));
			text[places[i].at] = (char)c;
			scan(&s, text, sizeof(head) - 1);
			/* A space that splits the method or target makes something else wrong. */
			if (c != ' ' && (s.verdict == GUARD_DONE) != is_good)
				fail_msg("byte %02x at %zu", c, places[i].at);
			if (s.verdict == GUARD_FAIL)
				assert_true(s.guard.status >= 400 && s.guard.why);
			drop(&s);
		}
	}
}

static void guard__trims_values_and_counts_fields(void **state)
{
	static const char head[] = "GET / HTTP/1.1\r\nA:\r\nB: \t x \t \r\nC:y\r\n\r\nrest";
	struct scanned s;

	scan(&s, head, sizeof(head) - 1);
	assert_int_equal(s.verdict, GUARD_DONE);
	assert_int_equal(s.guard.pos, sizeof(head) - 1 - 4);
	assert_int_equal(s.req->field_count, 3);
	assert_int_equal(s.req->fields[0].value.len, 0);
	assert_non_null(s.req->fields[0].value.ptr);
	assert_true(span_eq(s.req->fields[1].value, SPAN("x")));
	assert_true(span_eq(s.req->fields[2].value, SPAN("y")));
	drop(&s);
}

static void add_fields(struct buf *b, const struct request *req, const struct guard *g)
{
	for (unsigned i = 0; i < req->field_count; i++) {
		const struct field *f = &req->fields[i];

		buf_printf(b, "%.*s=%.*s/%d/%d ", SPAN_ARG(f->name), SPAN_ARG(f->value), f->id, req->known[f->id]);
	}
	buf_printf(b, "%x", g->duplicates);
}

/* In three pieces, each in a block of exactly its size. */
static void read_in_pieces(struct buf *b, const char *head, const size_t ends[3])
{
	struct request *req = calloc(1, sizeof(*req));
	enum guard_verdict verdict = GUARD_MORE;
	char *data = NULL;
	struct guard g;

	guard_reset(&g);
	for (int i = 0; i < 3; i++) {
		char *more = malloc(ends[i] ? ends[i] : 1);

		memcpy(more, head, ends[i]);
		free(data);
		data = more;
		verdict = guard_head(&g, &limits, req, data, ends[i]);
	}
	assert_int_equal(verdict, GUARD_DONE);
	assert_int_equal(g.pos, ends[2]);
	add_fields(b, req, &g);
	free(req);
	free(data);
}

/* The usual and the odd, next to each other and at the very end: whatever loop sees them, they are the same fields. */
static void guard__reads_the_same_fields_however_they_arrive(void **state)
{
	static const struct {
		const char *head, *fields;
	} cases[] = {
		{"Host: a\r\n", "Host=a/1/1 0"},
		{"A: b\r\nX-1: c\r\nDef: g\r\n", "A=b/0/0 X-1=c/0/0 Def=g/0/0 0"},
		{"A:b\r\nB:  c\r\nC: d \r\nD:\t\te\t\r\n", "A=b/0/0 B=c/0/0 C=d/0/0 D=e/0/0 0"},
		{"A:\r\nB: \r\nC:  \r\nD: \t \r\nE: f\r\n", "A=/0/0 B=/0/0 C=/0/0 D=/0/0 E=f/0/0 0"},
		{"A: b\tc\r\nD: \xc3\xa9\r\nE: f\xff\r\nG: h\r\n", "A=b\tc/0/0 D=\xc3\xa9/0/0 E=f\xff/0/0 G=h/0/0 0"},
		{"Host: a\r\nfrom_x: y\r\nHOST: b\r\nhost:c\r\n", "Host=a/1/1 from_x=y/0/0 HOST=b/1/1 host=c/1/1 2"},
		{"A-Name-Of-Sixteen: And-Value-of-16.\r\nB: Value-of-fifteen\r\n",
		 "A-Name-Of-Sixteen=And-Value-of-16./0/0 B=Value-of-fifteen/0/0 0"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char head[200];
		size_t len = (size_t)snprintf(head, sizeof(head), "GET / HTTP/1.1\r\n%s\r\n", cases[i].head);

		for (size_t first = 0; first <= len; first++) {
			for (size_t second = first; second <= len; second++) {
				char memory[500];
				struct buf b;

				buf_init(&b, memory, sizeof(memory));
				read_in_pieces(&b, head, (size_t[]){first, second, len});
				buf_add(&b, "", 1);
				assert_string_equal(memory, cases[i].fields);
			}
		}
	}
}

static void guard__never_holds_more_fields_than_a_request_can(void **state)
{
	static const struct parse_limits wide = {1000, 100000, 100000, 0};
	char *text = malloc(2000);
	size_t len = (size_t)snprintf(text, 2000, "GET / HTTP/1.1\r\n");
	struct request *req = calloc(1, sizeof(*req));
	struct guard g;

	for (int i = 0; i < REQUEST_FIELDS_MAX + 1; i++) {
		memcpy(text + len, "A:b\r\n", 5);
		len += 5;
	}
	guard_reset(&g);
	assert_int_equal(guard_head(&g, &wide, req, text, len - 5), GUARD_MORE);
	assert_int_equal(guard_head(&g, &wide, req, text, len), GUARD_FAIL);
	assert_int_equal(g.status, 431);
	free(req);
	free(text);
}

static void guard__trailers_leave_what_follows(void **state)
{
	struct span in = SPAN("A: b\r\n\r\nGET /");
	struct guard g;

	guard_reset_trailers(&g);
	assert_int_equal(guard_trailers(&g, &limits, NULL, &in), GUARD_DONE);
	assert_true(span_eq(in, SPAN("GET /")));

	in = SPAN("A: b");
	guard_reset_trailers(&g);
	assert_int_equal(guard_trailers(&g, &limits, NULL, &in), GUARD_MORE);
	assert_int_equal(in.len, 0);
	in = SPAN("\r\n\r\nX");
	assert_int_equal(guard_trailers(&g, &limits, NULL, &in), GUARD_DONE);
	assert_int_equal(in.len, 1);
}

/* Any division of a trailer section leaves the same copy; a copy without room holds whole lines. */
static void guard__copies_trailers_however_they_arrive(void **state)
{
	static const char section[] = "Ab:  c d \t\r\nHost: x\r\nE:\r\nFg: \t h\r\n\r\n";
	static const char copied[] = "Ab: c d\r\nE: \r\nFg: h\r\n";
	size_t len = sizeof(section) - 1;

	for (size_t first = 0; first <= len; first++) {
		for (size_t second = first; second <= len; second++) {
			size_t ends[] = {first, second, len}, at = 0;
			enum guard_verdict verdict = GUARD_MORE;
			char memory[100];
			struct guard g;
			struct buf b;

			buf_init(&b, memory, sizeof(memory));
			guard_reset_trailers(&g);
			for (int i = 0; i < 3; at = ends[i++]) {
				struct span in = span_of(section + at, ends[i] - at);

				verdict = guard_trailers(&g, &limits, &b, &in);
				assert_int_equal(in.len, 0);
			}
			assert_int_equal(verdict, GUARD_DONE);
			assert_true(span_eq(buf_span(&b), span_of(copied, sizeof(copied) - 1)));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guard__classes_are_those_of_the_grammar),
		cmocka_unit_test(guard__scans_stop_at_the_first_other_byte),
		cmocka_unit_test(guard__quick_scans_let_no_other_byte_through),
		cmocka_unit_test(guard__refuses_every_wrong_byte_everywhere),
		cmocka_unit_test(guard__trims_values_and_counts_fields),
		cmocka_unit_test(guard__reads_the_same_fields_however_they_arrive),
		cmocka_unit_test(guard__never_holds_more_fields_than_a_request_can),
		cmocka_unit_test(guard__trailers_leave_what_follows),
		cmocka_unit_test(guard__copies_trailers_however_they_arrive),
	};

	return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
