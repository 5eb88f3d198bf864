/* SPDX-License-Identifier: MIT */
/*
 * The byte scanner: requests, up to the end of their first line.  Its states are in guard_impl.h.
 *
 * Each state may run out of bytes and goes on where it was with the next ones.  What was seen is
 * kept as offsets, since the bytes may move in between.  The verdict never depends on the pieces: a
 * limit counts bytes of the request, not of a call.
 */
#include "http/guard_impl.h"
#include "http/scan.h"

static void take_empty_lines(struct guard *g, struct cursor *c)
{
	while (c->p < c->end && g->state <= START_LF) {
		char byte = *c->p;

		if (g->state == START_LF) {
			if (byte != '\n')
				return guard_fail(g, 400, "CR without LF");
			g->state = START;
		} else if (byte == '\r') {
			if (++g->empty_lines > GUARD_EMPTY_LINES_MAX)
				return guard_fail(g, 400, "too many empty lines");
			g->state = START_LF;
		} else if (byte == 0x16) {
			return guard_fail(g, 400, "TLS handshake");
		} else {
			g->head_start = guard_offset(c, c->p);
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
			guard_fail(g, 400, guard_wrong_byte(*p, "bad version"));
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
		guard_fail(g, 400, guard_wrong_byte(*p, "bad version"));
	else if (g->version_major != 1 || g->version_minor > 1)
		guard_fail(g, 505, "version");
	else
		g->state = LINE_LF;
	g->is_line_good = g->state == LINE_LF;
	return p + 1;
}

static const char *end_target(struct guard *g, const struct cursor *c, const char *p)
{
	g->target_len = (uint32_t)(guard_offset(c, p) - g->head_start - g->method_len - 1);
	if (*p == '\r' || *p == '\n')
		guard_fail(g, 400, "no version");
	else if (*p == '#')
		guard_fail(g, 400, "fragment in target");
	else if (*p != ' ')
		guard_fail(g, 400, guard_wrong_byte(*p, "bad byte in target"));
	else if (g->target_len == 0)
		guard_fail(g, 400, "empty target");
	else
		g->state = VERSION;
	return p + 1;
}

static const char *end_method(struct guard *g, const char *p, const char *end, size_t len)
{
	if (len > GUARD_METHOD_MAX) {
		guard_fail(g, 501, "method too long");
	} else if (p < end) {
		g->method_len = (uint32_t)len;
		g->state = TARGET;
		if (*p != ' ' || len == 0)
			guard_fail(g, 400, guard_wrong_byte(*p, "bad method"));
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
		p = end_method(g, p, end, guard_offset(c, p) - g->head_start);
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
	const char *end;
	bool is_limit =
		guard_clip(g, c, MIN(c->limits->request_line_max + 1, c->limits->head_max), &end);

	take_request_line(g, c, end);
	if (g->state <= VERSION_END && is_limit)
		guard_fail(g, 414, "request line too long");
}

/* The first bytes of a request: what is usual of it.  Nothing at or past a limit is taken; to refuse is the states' part. */
static void take_usual(struct guard *g, const struct parse_limits *limits, struct request *req, size_t len)
{
	const char *data = g->data, *p;

	len = MIN(len, limits->head_max);
	p = guard_usual_line(g, data, data + MIN(len, limits->request_line_max + 1));
	if (g->state == LINE)
		p = guard_usual_fields(g, req->fields, req->known, guard_field_max(limits), p, data + len);
	g->pos = (size_t)(p - data);
}

/* Everything else, from where the guard stands.  Apart, so that the usual does not pay for the cursor on the stack. */
static __attribute__((noinline)) void run_states(struct guard *g, const struct parse_limits *limits,
						 struct request *req, size_t len)
{
	struct cursor c = {
		.limits = limits,
		.fields = req->fields,
		.known = req->known,
		.start_pos = g->pos,
	};

	c.start = c.p = g->data + g->pos;
	c.end = g->data + len;
	if (g->state <= START_LF)
		take_empty_lines(g, &c);
	if (g->state >= METHOD && g->state <= VERSION_END)
		run_request_line(g, &c);
	if (g->state >= LINE_LF && g->state < DONE)
		guard_run_fields(g, &c);
	g->pos = guard_offset(&c, c.p);
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

enum guard_verdict guard_head(struct guard *g, const struct parse_limits *limits,
			      struct request *req, const char *data, size_t len)
{
	if (len <= g->pos || g->state >= DONE)
		return guard_verdict(g);
	if (g->data != data)
		guard_rebase(g, req->fields, data);
	if (g->pos == 0)
		take_usual(g, limits, req, len);
	if (g->state < DONE)
		run_states(g, limits, req, len);
	if (g->state >= DONE)
		finish_head(g, req);
	return guard_verdict(g);
}

bool guard_is_idle(const struct guard *g)
{
	return g->state <= START_LF;
}
