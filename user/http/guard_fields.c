/* SPDX-License-Identifier: MIT */
/*
 * The field lines of the byte scanner: of requests, of responses, of trailer sections.  Fields of a head are written
 * down where they lie.  Trailers come in pieces that do not stay, so each line is copied as it is read, in the one form
 * "Name: value", and taken back if it may not be passed on or does not fit.
 */
#include "http/guard_impl.h"
#include "http/scan.h"

_Static_assert(GUARD_FIELDS_MAX <= UINT8_MAX, "known holds 1 + index");

const char *guard_wrong_byte(char byte, const char *otherwise)
{
	if (byte == '\n')
		return "bare LF";
	if (byte == '\0')
		return "NUL";
	return otherwise;
}

/* Trailers ---------------------------------------------------------------------------------------------------- */

static void keep_name(struct cursor *c, const char *name, const char *end)
{
	if (c->trailers)
		buf_add(c->trailers, name, (size_t)(end - name));
}

/* Behind the colon: from here on `colon` is where the value begins in the copy. */
static void keep_colon(struct guard *g, struct cursor *c)
{
	if (!c->trailers)
		return;
	buf_add_lit(c->trailers, ": ");
	g->colon = c->trailers->len;
}

static void keep_value(struct guard *g, struct cursor *c, const char *value, const char *end)
{
	if (!c->trailers)
		return;
	if (c->trailers->len == g->colon)
		while (value < end && (*value == ' ' || *value == '\t'))
			value++;
	buf_add(c->trailers, value, (size_t)(end - value));
}

/* The line is good: it stays, unless the copy is cut short or the field is none that may follow content. */
static void keep_line(struct guard *g, struct cursor *c)
{
	struct buf *b = c->trailers;
	struct span name;

	BUG_ON(g->line_start > g->colon || g->colon > b->len);
	while (b->len > g->colon && (b->ptr[b->len - 1] == ' ' || b->ptr[b->len - 1] == '\t'))
		b->len--;
	buf_add_lit(b, "\r\n");
	if (!b->is_truncated) {
		name = span_of(b->ptr + g->line_start, g->colon - g->line_start - strlen(": "));
		if (header_may_trail(header_id_of(name)))
			return;
	}
	b->len = g->line_start;
}

/* Field lines ------------------------------------------------------------------------------------------------- */

static void begin_field(struct guard *g, const struct cursor *c, const char *p)
{
	if (g->field_count >= guard_field_max(c->limits))
		guard_fail(g, 431, "too many fields");
	else if (*p == ' ' || *p == '\t')
		guard_fail(g, 400, "folded line");
	else if (*p == ':')
		guard_fail(g, 400, "empty field name");
	else
		g->state = NAME;
	g->line_start = c->trailers ? c->trailers->len : guard_offset(c, p);
}

static void end_name(struct guard *g, struct cursor *c, const char *p)
{
	g->colon = guard_offset(c, p);
	g->state = VALUE;
	if (*p == ':')
		keep_colon(g, c);
	else if (*p == ' ' || *p == '\t')
		guard_fail(g, 400, "white space before colon");
	else if (*p == '\r')
		guard_fail(g, 400, "field without colon");
	else
		guard_fail(g, 400, guard_wrong_byte(*p, "bad byte in field name"));
}

static void end_field(struct guard *g, struct cursor *c)
{
	struct field *f;

	g->state = LINE;
	if (c->fields) {
		f = &c->fields[g->field_count];
		f->name = span_of(g->data + g->line_start, g->colon - g->line_start);
		f->value = span_trim(span_of(g->data + g->colon + 1, g->value_end - g->colon - 1));
		g->duplicates |= header_identify(c->fields, g->field_count, g->field_count + 1u, c->known);
	} else if (c->trailers) {
		keep_line(g, c);
	}
	g->field_count++;
}

static const char *take_name(struct guard *g, struct cursor *c, const char *p)
{
	const char *end = scan_token(p, c->end);

	keep_name(c, p, end);
	if (end < c->end)
		end_name(g, c, end++);
	return end;
}

static const char *take_value(struct guard *g, struct cursor *c, const char *p)
{
	const char *end = scan_value(p, c->end);

	keep_value(g, c, p, end);
	if (end == c->end)
		return end;
	g->value_end = guard_offset(c, end);
	g->state = VALUE_LF;
	if (*end != '\r')
		guard_fail(g, 400, guard_wrong_byte(*end, "control character in field"));
	return end + 1;
}

/* One line, or what there is of it. */
static void take_field(struct guard *g, struct cursor *c)
{
	const char *p = c->p;

	switch (g->state) {
	case LINE:
		if (*p == '\r') {
			g->state = END_LF;
			p++;
			break;
		}
		begin_field(g, c, p);
		if (g->state != NAME)
			break;
		/* fall through */
	case NAME:
		p = take_name(g, c, p);
		if (g->state != VALUE)
			break;
		/* fall through */
	case VALUE:
		p = take_value(g, c, p);
		if (g->state != VALUE_LF)
			break;
		/* fall through */
	case VALUE_LF:
		if (p == c->end)
			break;
		if (*p++ != '\n')
			guard_fail(g, 400, "CR without LF");
		else
			end_field(g, c);
	}
	c->p = p;
}

static void take_final_lf(struct guard *g, struct cursor *c, enum guard_state next)
{
	if (*c->p++ == '\n')
		g->state = (uint8_t)next;
	else
		guard_fail(g, 400, "CR without LF");
}

void guard_run_fields(struct guard *g, struct cursor *c)
{
	bool is_limit = guard_clip(g, c, c->limits->head_max, &c->end);

	while (c->p < c->end && g->state < DONE) {
		if (g->state == LINE && c->fields)
			c->p = guard_usual_fields(g, c->fields, c->known, guard_field_max(c->limits), c->p, c->end);
		if (c->p == c->end)
			break;
		if (g->state == LINE_LF)
			take_final_lf(g, c, LINE);
		else if (g->state == END_LF)
			take_final_lf(g, c, DONE);
		else
			take_field(g, c);
	}
	if (g->state < DONE && is_limit)
		guard_fail(g, 431, "fields too long");
}

void guard_rebase(struct guard *g, struct field *fields, const char *data)
{
	for (unsigned i = 0; i < g->field_count; i++) {
		struct field *f = &fields[i];

		f->name.ptr = data + ((uintptr_t)f->name.ptr - (uintptr_t)g->data);
		f->value.ptr = data + ((uintptr_t)f->value.ptr - (uintptr_t)g->data);
	}
	g->data = data;
}

void guard_reset_trailers(struct guard *g)
{
	*g = (struct guard){.state = LINE};
}

enum guard_verdict guard_trailers(struct guard *g, const struct parse_limits *limits, struct buf *copy,
				  struct span *in)
{
	struct cursor c = {.limits = limits, .trailers = copy, .start_pos = g->pos};

	if (in->len == 0 || g->state >= DONE)
		return guard_verdict(g);
	c.start = c.p = in->ptr;
	c.end = in->ptr + in->len;
	guard_run_fields(g, &c);
	g->pos = guard_offset(&c, c.p);
	*in = span_of(c.p, in->len - (size_t)(c.p - in->ptr));
	return guard_verdict(g);
}
