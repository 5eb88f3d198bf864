/* SPDX-License-Identifier: MIT */
/*
 * The byte scanner.  Its states in the order of the bytes; a wrong byte ends in FAILED at once:
 *
 *   START <-> START_LF        empty lines
 *   METHOD SP TARGET SP VERSION VERSION_END CR REQUEST_LF LF
 *   LINE  NAME ':' VALUE CR VALUE_LF LF  -> LINE
 *   LINE  CR END_LF LF  -> DONE
 *
 * Each state may run out of bytes and goes on where it was with the next ones.  What was seen is
 * kept as offsets, since the bytes may move in between.  The verdict never depends on the pieces: a
 * limit counts bytes of the request, not of a call.
 */
#include "http/guard.h"

#include "base/err.h"
#include "http/scan.h"

enum guard_state {
	START,
	START_LF,
	METHOD,
	TARGET,
	VERSION,
	VERSION_END,
	REQUEST_LF,
	LINE,
	NAME,
	VALUE,
	VALUE_LF,
	END_LF,
	DONE,
	FAILED,
};

struct cursor {
	const char *p;
	const char *end;
	const char *start; /* where this call began ... */
	size_t start_pos;  /* ... and the offset of that byte */
	const struct parse_limits *limits;
	struct request *req; /* NULL for trailers: nothing is written down */
};

static inline size_t offset(const struct cursor *c, const char *p)
{
	return c->start_pos + (size_t)(p - c->start);
}

static void fail(struct guard *g, unsigned status, const char *why)
{
	g->state = FAILED;
	g->status = (uint16_t)status;
	g->why = why;
}

/* Cold: the name of what stands where something else should. */
static const char *wrong_byte(char byte, const char *otherwise)
{
	if (byte == '\n')
		return "bare LF";
	if (byte == '\0')
		return "NUL";
	return otherwise;
}

static void take_empty_lines(struct guard *g, struct cursor *c)
{
	while (c->p < c->end && g->state <= START_LF) {
		char byte = *c->p;

		if (g->state == START_LF) {
			if (byte != '\n')
				return fail(g, 400, "CR without LF");
			g->state = START;
		} else if (byte == '\r') {
			if (++g->empty_lines > GUARD_EMPTY_LINES_MAX)
				return fail(g, 400, "too many empty lines");
			g->state = START_LF;
		} else if (byte == 0x16) {
			return fail(g, 400, "TLS handshake");
		} else {
			g->head_start = offset(c, c->p);
			g->state = METHOD;
			return;
		}
		c->p++;
	}
}

static const char *take_version(struct guard *g, const char *p, const char *end)
{
	static const char pattern[] = "HTTP/0.0";

	if (g->version_len == 0 && end - p >= 8 && memcmp(p, "HTTP/1.", 7) == 0) {
		g->version_len = 7;
		g->version_major = 1;
		p += 7;
	}
	for (; g->version_len < 8 && p < end; p++, g->version_len++) {
		bool is_digit = pattern[g->version_len] == '0';

		if (is_digit ? *p < '0' || *p > '9' : *p != pattern[g->version_len]) {
			fail(g, 400, wrong_byte(*p, "bad version"));
			return p;
		}
		if (g->version_len == 5)
			g->version_major = (uint8_t)(*p - '0');
		else if (g->version_len == 7)
			g->version_minor = (uint8_t)(*p - '0');
	}
	if (g->version_len == 8)
		g->state = VERSION_END;
	return p;
}

static const char *end_version(struct guard *g, const char *p)
{
	if (*p != '\r')
		fail(g, 400, wrong_byte(*p, "bad version"));
	else if (g->version_major != 1 || g->version_minor > 1)
		fail(g, 505, "version");
	else
		g->state = REQUEST_LF;
	g->is_line_good = g->state == REQUEST_LF;
	return p + 1;
}

static const char *end_target(struct guard *g, const struct cursor *c, const char *p)
{
	g->target_len = (uint32_t)(offset(c, p) - g->head_start - g->method_len - 1);
	if (*p == '\r' || *p == '\n')
		fail(g, 400, "no version");
	else if (*p == '#')
		fail(g, 400, "fragment in target");
	else if (*p != ' ')
		fail(g, 400, wrong_byte(*p, "bad byte in target"));
	else if (g->target_len == 0)
		fail(g, 400, "empty target");
	else
		g->state = VERSION;
	return p + 1;
}

static const char *end_method(struct guard *g, const char *p, const char *end, size_t len)
{
	if (len > GUARD_METHOD_MAX) {
		fail(g, 501, "method too long");
	} else if (p < end) {
		g->method_len = (uint32_t)len;
		g->state = TARGET;
		if (*p != ' ' || len == 0)
			fail(g, 400, wrong_byte(*p, "bad method"));
		p++;
	}
	return p;
}

/* Up to and with the CR.  The end given is that of the longest line allowed. */
static void take_request_line(struct guard *g, struct cursor *c, const char *end)
{
	const char *p = c->p;

	switch (g->state) {
	case METHOD:
		p = scan_class(p, end, CLASS_TOKEN);
		p = end_method(g, p, end, offset(c, p) - g->head_start);
		if (g->state != TARGET)
			break;
		/* fall through */
	case TARGET:
		p = scan_target(p, end);
		if (p == end)
			break;
		p = end_target(g, c, p);
		if (g->state != VERSION)
			break;
		/* fall through */
	case VERSION:
		p = take_version(g, p, end);
		if (g->state != VERSION_END)
			break;
		/* fall through */
	case VERSION_END:
		if (p < end)
			p = end_version(g, p);
	}
	c->p = p;
}

static void run_request_line(struct guard *g, struct cursor *c)
{
	size_t seen = offset(c, c->p) - g->head_start;
	size_t most = MIN(c->limits->request_line_max + 1, c->limits->head_max);
	size_t room = most > seen ? most - seen : 0;
	bool is_limit = room <= (size_t)(c->end - c->p);

	take_request_line(g, c, is_limit ? c->p + room : c->end);
	if (g->state <= VERSION_END && is_limit)
		fail(g, 414, "request line too long");
}

static unsigned field_max(const struct cursor *c)
{
	return MIN(c->limits->field_max, REQUEST_FIELDS_MAX);
}

static void begin_field(struct guard *g, const struct cursor *c, const char *p)
{
	if (g->field_count >= field_max(c))
		fail(g, 431, "too many fields");
	else if (*p == ' ' || *p == '\t')
		fail(g, 400, "folded line");
	else if (*p == ':')
		fail(g, 400, "empty field name");
	else
		g->state = NAME;
	g->line_start = offset(c, p);
}

static void end_name(struct guard *g, const struct cursor *c, const char *p)
{
	g->colon = offset(c, p);
	g->state = VALUE;
	if (*p == ':')
		return;
	if (*p == ' ' || *p == '\t')
		fail(g, 400, "white space before colon");
	else if (*p == '\r')
		fail(g, 400, "field without colon");
	else
		fail(g, 400, wrong_byte(*p, "bad byte in field name"));
}

static inline void write_down(struct guard *g, struct request *req, struct span name,
			      const char *value, const char *end)
{
	struct field *f = &req->fields[g->field_count++];

	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	f->name = name;
	f->value = span_of(value, (size_t)(end - value));
	f->id = header_id_of(name);
	if (f->id == HEADER_OTHER)
		return;
	if (req->known[f->id])
		g->duplicates |= 1u << f->id;
	else
		req->known[f->id] = (uint8_t)g->field_count;
}

/*
 * Lines that are there as a whole, which is nearly all of them, without keeping a state for each
 * byte.  Stops in front of whatever else there is; take_field looks at that line again, so no byte
 * is seen more than twice.
 */
static const char *take_whole_fields(struct guard *g, struct request *req, unsigned most,
				     const char *p, const char *end)
{
	while (g->field_count < most) {
		const char *colon = scan_token(p, end), *tail;

		if (colon == p || colon == end || *colon != ':')
			break;
		tail = scan_value(colon + 1, end);
		if (end - tail < 2 || tail[0] != '\r' || tail[1] != '\n')
			break;
		write_down(g, req, span_of(p, (size_t)(colon - p)), colon + 1, tail);
		p = tail + 2;
	}
	return p;
}

static void end_field(struct guard *g, struct request *req)
{
	g->state = LINE;
	if (req)
		write_down(g, req, span_of(g->data + g->line_start, g->colon - g->line_start),
			   g->data + g->colon + 1, g->data + g->value_end);
	else
		g->field_count++;
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
		p = scan_token(p, c->end);
		if (p == c->end)
			break;
		end_name(g, c, p++);
		if (g->state != VALUE)
			break;
		/* fall through */
	case VALUE:
		p = scan_value(p, c->end);
		if (p == c->end)
			break;
		g->value_end = offset(c, p);
		g->state = VALUE_LF;
		if (*p != '\r') {
			fail(g, 400, wrong_byte(*p, "control character in field"));
			break;
		}
		p++;
		/* fall through */
	case VALUE_LF:
		if (p == c->end)
			break;
		if (*p++ != '\n') {
			fail(g, 400, "CR without LF");
			break;
		}
		end_field(g, c->req);
	}
	c->p = p;
}

static void take_final_lf(struct guard *g, struct cursor *c, enum guard_state next)
{
	if (*c->p++ == '\n')
		g->state = (uint8_t)next;
	else
		fail(g, 400, "CR without LF");
}

static void run_fields(struct guard *g, struct cursor *c)
{
	size_t seen = offset(c, c->p) - g->head_start;
	size_t room = c->limits->head_max > seen ? c->limits->head_max - seen : 0;
	bool is_limit = room <= (size_t)(c->end - c->p);

	if (is_limit)
		c->end = c->p + room;
	while (c->p < c->end && g->state < DONE) {
		if (g->state == LINE && c->req)
			c->p = take_whole_fields(g, c->req, field_max(c), c->p, c->end);
		if (c->p == c->end)
			break;
		if (g->state == REQUEST_LF)
			take_final_lf(g, c, LINE);
		else if (g->state == END_LF)
			take_final_lf(g, c, DONE);
		else
			take_field(g, c);
	}
	if (g->state < DONE && is_limit)
		fail(g, 431, "fields too long");
}

static enum guard_verdict verdict(const struct guard *g)
{
	return g->state == DONE ? GUARD_DONE : g->state == FAILED ? GUARD_FAIL : GUARD_MORE;
}

/* The bytes moved since the last call: so must the spans into them. */
static void rebase(struct guard *g, struct request *req, const char *data)
{
	for (unsigned i = 0; i < g->field_count; i++) {
		struct field *f = &req->fields[i];

		f->name.ptr = data + ((uintptr_t)f->name.ptr - (uintptr_t)g->data);
		f->value.ptr = data + ((uintptr_t)f->value.ptr - (uintptr_t)g->data);
	}
	g->data = data;
}

static void finish_head(const struct guard *g, struct request *req)
{
	const char *line = g->data + g->head_start;

	if (g->state == DONE) {
		req->field_count = g->field_count;
	} else {
		memset(req->known, 0, sizeof(req->known));
	}
	if (g->is_line_good) {
		req->version_minor = g->version_minor;
		req->method_text = span_of(line, g->method_len);
		req->target = span_of(line + g->method_len + 1, g->target_len);
	}
}

void guard_reset(struct guard *g)
{
	*g = (struct guard){.state = START};
}

void guard_reset_trailers(struct guard *g)
{
	*g = (struct guard){.state = LINE};
}

enum guard_verdict guard_head(struct guard *g, const struct parse_limits *limits,
			      struct request *req, const char *data, size_t len)
{
	struct cursor c = {.limits = limits, .req = req, .start_pos = g->pos};

	if (len <= g->pos || g->state >= DONE)
		return verdict(g);
	if (g->data != data)
		rebase(g, req, data);
	c.start = c.p = data + g->pos;
	c.end = data + len;
	if (g->state <= START_LF)
		take_empty_lines(g, &c);
	if (g->state >= METHOD && g->state <= VERSION_END)
		run_request_line(g, &c);
	if (g->state >= REQUEST_LF && g->state < DONE)
		run_fields(g, &c);
	g->pos = offset(&c, c.p);
	if (g->state >= DONE)
		finish_head(g, req);
	return verdict(g);
}

enum guard_verdict guard_trailers(struct guard *g, const struct parse_limits *limits,
				  struct span *in)
{
	struct cursor c = {.limits = limits, .start_pos = g->pos};

	if (in->len == 0 || g->state >= DONE)
		return verdict(g);
	c.start = c.p = in->ptr;
	c.end = in->ptr + in->len;
	run_fields(g, &c);
	g->pos = offset(&c, c.p);
	*in = span_of(c.p, in->len - (size_t)(c.p - in->ptr));
	return verdict(g);
}

bool guard_is_idle(const struct guard *g)
{
	return g->state <= START_LF;
}
