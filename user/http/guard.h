/* SPDX-License-Identifier: MIT */
/*
 * The byte scanner in front of llhttp.  It takes a request's head as it arrives, in any pieces, in
 * time proportional to its bytes, refuses at the first byte that cannot be right, bounds
 * everything, and writes the fields down.
 * It knows the grammar of RFC 9112 2.2, 3 and 5 only; what the fields mean is rules.h.
 */
#ifndef SLUICE_HTTP_GUARD_H
#define SLUICE_HTTP_GUARD_H

#include <stddef.h>

#include "http/message.h"

#define GUARD_EMPTY_LINES_MAX 8	 /* before a request line; RFC 9112 2.2 asks for at least one */
#define GUARD_METHOD_MAX      32 /* bytes; longer than any registered method: 501 (RFC 9112 3) */

struct parse_limits {
	size_t request_line_max; /* bytes, without CRLF; longer: 414 */
	size_t head_max;	 /* bytes of request line and fields; longer: 431 */
	unsigned field_max;	 /* fields; more: 431 (never above REQUEST_FIELDS_MAX) */
	uint64_t body_max;	 /* bytes of content; more: 413 */
};

enum guard_verdict { GUARD_MORE, GUARD_DONE, GUARD_FAIL };

struct guard {
	size_t pos;		 /* bytes seen */
	size_t head_start;	 /* offset of the request line, behind leading empty lines */
	size_t line_start;	 /* offset of the field line at hand */
	size_t colon, value_end; /* offsets within that line */
	const char *data;	 /* where the bytes were when the fields were written down */
	const char *why;	 /* after GUARD_FAIL: a short constant */
	uint32_t method_len;
	uint32_t target_len;
	uint32_t duplicates; /* bit 1 << id: the field came more than once */
	uint16_t status;     /* after GUARD_FAIL */
	uint16_t field_count;
	uint8_t state;
	uint8_t empty_lines;
	uint8_t version_len; /* bytes of "HTTP/x.y" seen */
	uint8_t version_major, version_minor;
	bool is_line_good; /* the whole request line was */
};

/* Ready for a head. */
void guard_reset(struct guard *g);
/* Ready for a trailer section (RFC 9112 7.1.2). */
void guard_reset_trailers(struct guard *g);

/*
 * `data`, `len`: everything of this head so far, as parser_head has it.  After GUARD_DONE, g->pos
 * is the length of the head with its empty lines; fields, known, field_count, version_minor,
 * method_text and target of *req are set. After GUARD_FAIL the request has no fields, and
 * method_text and target only if their line was good.
 */
enum guard_verdict guard_head(struct guard *g, const struct parse_limits *limits,
			      struct request *req, const char *data, size_t len);
/* Takes trailer lines off the front of *in; they are checked as fields are and forgotten. */
enum guard_verdict guard_trailers(struct guard *g, const struct parse_limits *limits,
				  struct span *in);
/* Nothing but whole or half empty lines so far. */
bool guard_is_idle(const struct guard *g);

static inline size_t guard_request_line_len(const struct guard *g)
{
	return g->method_len + g->target_len + sizeof("  HTTP/1.1\r\n") - 1;
}

#endif
