/* SPDX-License-Identifier: MIT */
/*
 * The byte scanner: responses, up to the end of their status line (RFC 9112 4).  Many servers leave out the space
 * behind the code together with the phrase; that is read, and nothing else that deviates.
 */
#include "http/guard_impl.h"
#include "http/response.h"
#include "http/scan.h"

_Static_assert(RESPONSE_FIELDS_MAX == GUARD_FIELDS_MAX, "one bound for both");

#define PREFIX	   "HTTP/0.0 000" /* each 0: a digit */
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define VERSION_AT 5
#define CODE_AT	   9

/* Cold: what is wrong with this byte behind `at` good ones. */
static const char *wrong_prefix(size_t at, char byte)
{
	if (at == 0 && byte == 0x15)
		return "TLS alert";
	if (at < VERSION_AT)
		return guard_wrong_byte(byte, "no status line");
	return guard_wrong_byte(byte, at < CODE_AT ? "bad version" : "bad status code");
}

static void take_digit(struct guard *g, unsigned digit)
{
	if (g->version_len == VERSION_AT)
		g->version_major = (uint8_t)digit;
	else if (g->version_len == VERSION_AT + 2)
		g->version_minor = (uint8_t)digit;
	else
		g->code = (uint16_t)(g->code * 10 + digit);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* What nearly every server sends, at once; whatever else there is stays as it was. */
static const char *take_usual_prefix(struct guard *g, const char *p, const char *end)
{
	if (g->version_len > 0 || end - p < (ptrdiff_t)PREFIX_LEN || memcmp(p, "HTTP/1.1 ", CODE_AT) != 0 ||
	    !is_digit(p[CODE_AT]) || !is_digit(p[CODE_AT + 1]) || !is_digit(p[CODE_AT + 2]))
		return p;
	g->version_len = PREFIX_LEN;
	g->version_major = g->version_minor = 1;
	g->code = (uint16_t)((p[CODE_AT] - '0') * 100 + (p[CODE_AT + 1] - '0') * 10 + (p[CODE_AT + 2] - '0'));
	return p + PREFIX_LEN;
}

static const char *take_prefix(struct guard *g, const char *p, const char *end)
{
	p = take_usual_prefix(g, p, end);
	for (; g->version_len < PREFIX_LEN && p < end; p++, g->version_len++) {
		char wanted = PREFIX[g->version_len];

		if (wanted == '0' ? *p < '0' || *p > '9' : *p != wanted) {
			guard_fail(g, 502, wrong_prefix(g->version_len, *p));
			return p;
		}
		if (wanted == '0')
			take_digit(g, (unsigned)(*p - '0'));
	}
	if (g->version_len < PREFIX_LEN)
		return p;
	if (g->version_major != 1 || g->version_minor > 1)
		guard_fail(g, 502, "version");
	else if (g->code < 100 || g->code > 599)
		guard_fail(g, 502, "bad status code");
	else
		g->state = STATUS_END;
	return p;
}

static const char *end_code(struct guard *g, const char *p)
{
	if (*p == ' ') {
		g->version_len++;
		g->state = REASON;
	} else if (*p == '\r') {
		g->state = LINE_LF;
	} else {
		guard_fail(g, 502, guard_wrong_byte(*p, "bad status code"));
	}
	return p + 1;
}

static const char *end_reason(struct guard *g, const char *p)
{
	if (*p == '\r')
		g->state = LINE_LF;
	else
		guard_fail(g, 502, guard_wrong_byte(*p, "control character in reason"));
	return p + 1;
}

/* Up to and with the CR.  The end given is that of the longest line allowed. */
static void take_status_line(struct guard *g, struct cursor *c, const char *end)
{
	const char *p = c->p;

	switch (g->state) {
	case STATUS:
		p = take_prefix(g, p, end);
		if (g->state != STATUS_END)
			break;
		/* fall through */
	case STATUS_END:
		if (p < end)
			p = end_code(g, p);
		if (g->state != REASON)
			break;
		/* fall through */
	case REASON:
		p = scan_value(p, end);
		g->reason_len = (uint32_t)(guard_offset(c, p) - g->version_len);
		if (p < end)
			p = end_reason(g, p);
	}
	c->p = p;
}

static void run_status_line(struct guard *g, struct cursor *c)
{
	const char *end;
	bool is_limit = guard_clip(g, c, MIN(c->limits->request_line_max + 1, c->limits->head_max), &end);

	take_status_line(g, c, end);
	if (g->state <= REASON && is_limit)
		guard_fail(g, 502, "status line too long");
}

static void finish_head(const struct guard *g, struct response *res)
{
	if (g->state == FAILED) {
		memset(res->known, 0, sizeof(res->known));
		return;
	}
	res->field_count = g->field_count;
	res->version_minor = g->version_minor;
	res->status = g->code;
	res->reason = span_of(g->data + g->version_len, g->reason_len);
}

void guard_reset_response(struct guard *g)
{
	*g = (struct guard){.state = STATUS};
}

enum guard_verdict guard_response_head(struct guard *g, const struct parse_limits *limits,
				       struct response *res, const char *data, size_t len)
{
	struct cursor c = {
		.limits = limits,
		.fields = res->fields,
		.known = res->known,
		.start_pos = g->pos,
	};

	if (len <= g->pos || g->state >= DONE)
		return guard_verdict(g);
	if (g->data != data)
		guard_rebase(g, res->fields, data);
	c.start = c.p = data + g->pos;
	c.end = data + len;
	if (g->state <= REASON)
		run_status_line(g, &c);
	if (g->state >= LINE_LF && g->state < DONE)
		guard_run_fields(g, &c);
	g->pos = guard_offset(&c, c.p);
	if (g->state >= DONE)
		finish_head(g, res);
	return guard_verdict(g);
}
