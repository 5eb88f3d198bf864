/* SPDX-License-Identifier: MIT */
/*
 * The byte scanner: what nearly every message looks like, without keeping a state for each byte.
 *
 * Only what is there as a whole is taken: a request line with its CRLF, field lines with theirs, the empty line.  Field
 * lines of letters, '-' and printable ASCII with one SP behind the colon go by large steps, others by the table.  These
 * stop in front of whatever else there is, and refuse nothing: the states of guard.c and guard_fields.c look at that line
 * again, so no byte is seen more than three times.
 */
#include "http/guard_impl.h"
#include "http/scan.h"

#define VERSION_BYTES ((ptrdiff_t)strlen(" HTTP/1.1\r\n"))

static inline bool is_pair(const char *p, const char *pair)
{
	return memcmp(p, pair, 2) == 0;
}

const char *guard_usual_line(struct guard *g, const char *line, const char *end)
{
	const char *target, *p;

	if (end - line >= 4 && memcmp(line, "GET ", 4) == 0)
		p = line + 3;
	else
		p = scan_class(line, end - line > GUARD_METHOD_MAX ? line + GUARD_METHOD_MAX : end, CLASS_TOKEN);
	if (p == line || p == end || *p != ' ')
		return line;
	target = p + 1;
	p = scan_target(target, end);
	if (p == target || end - p < VERSION_BYTES || memcmp(p, " HTTP/1.", 8) != 0 || (p[8] | 1) != '1' ||
	    !is_pair(p + 9, "\r\n"))
		return line;
	g->method_len = (uint32_t)(target - 1 - line);
	g->target_len = (uint32_t)(p - target);
	g->version_major = 1;
	g->version_minor = p[8] & 1;
	g->is_line_good = true;
	g->state = LINE;
	return p + VERSION_BYTES;
}

struct written {
	struct field *end;	/* behind the last field */
	const char *p;		/* behind its line */
};

/* No calls, so that it keeps its registers.  `last` is the last byte there is. */
static inline __attribute__((always_inline)) struct written write_fields(struct field *f, const struct field *end,
									 const char *p, const char *last, bool is_wide)
{
	for (; f < end; f++) {
		const char *colon = scan_quick_name(p, last, is_wide), *value, *tail;

		if (!colon || colon == p || !is_pair(colon, ": "))
			break;
		value = colon + 2;
		tail = scan_quick_text(value, last, is_wide);
		if (!tail || !is_pair(tail, "\r\n") || *value == ' ' || tail[-1] == ' ')
			break;
		f->name = span_of(p, (size_t)(colon - p));
		f->value = span_of(value, (size_t)(tail - value));
		p = tail + 2;
	}
	return (struct written){ f, p };
}

static SCAN_WIDE struct written write_wide(struct field *f, const struct field *end, const char *p, const char *last)
{
	return write_fields(f, end, p, last, true);
}

/* A line of whatever a field may have.  Returns what is behind it; `p`: it is not all there, or not right. */
static const char *write_any(struct field *f, const char *p, const char *end)
{
	const char *colon = scan_token(p, end), *tail;

	if (colon == p || colon == end || *colon != ':')
		return p;
	tail = scan_value(colon + 1, end);
	if (end - tail < 2 || !is_pair(tail, "\r\n"))
		return p;
	f->name = span_of(p, (size_t)(colon - p));
	f->value = span_trim(span_of(colon + 1, (size_t)(tail - colon - 1)));
	return tail + 2;
}

const char *guard_usual_fields(struct guard *g, struct field *fields, uint8_t *known, unsigned most, const char *p,
			       const char *end)
{
	const char *last = end - 1;
	bool is_wide = last - g->data >= SCAN_WIDE_BYTES && scan_has_wide();
	struct written w = { fields + g->field_count, p };
	unsigned count;

	if (last - g->data < SCAN_QUICK_BYTES)
		return p;
	do {
		w = is_wide ? write_wide(w.end, fields + most, w.p, last) :
			      write_fields(w.end, fields + most, w.p, last, false);
		p = w.p;
		if (w.end < fields + most && p < last && *p != '\r')
			w.p = write_any(w.end, p, end);
		w.end += w.p != p;
	} while (w.p != p);
	count = (unsigned)(w.end - fields);
	g->duplicates |= header_identify(fields, g->field_count, count, known);
	g->field_count = (uint16_t)count;
	if (w.p >= last || !is_pair(w.p, "\r\n"))
		return w.p;
	g->state = DONE;
	return w.p + 2;
}
