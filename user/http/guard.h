/* SPDX-License-Identifier: MIT */
/*
 * The byte scanner in front of llhttp.  It takes the head of a request or of a response as it
 * arrives, in any pieces, in time proportional to its bytes, refuses at the first byte that cannot
 * be right, bounds everything, and writes the fields down.
 * It knows the grammar of RFC 9112 2.2, 3, 4 and 5 only; what the fields mean is rules.h.
 */
#ifndef SLUICE_HTTP_GUARD_H
#define SLUICE_HTTP_GUARD_H

#include <stddef.h>

#include "base/buf.h"
#include "http/message.h"

struct response;

#define GUARD_FIELDS_MAX      REQUEST_FIELDS_MAX /* of any message */
#define GUARD_EMPTY_LINES_MAX 8	 /* before a request line; RFC 9112 2.2 asks for at least one */
#define GUARD_METHOD_MAX      32 /* bytes; longer than any registered method: 501 (RFC 9112 3) */

struct parse_limits {
	size_t request_line_max; /* bytes, without CRLF; longer: 414.  Status lines too */
	size_t head_max;	 /* bytes of first line and fields; longer: 431.  Trailer sections too */
	unsigned field_max;	 /* fields; more: 431 (never above GUARD_FIELDS_MAX) */
	uint64_t body_max;	 /* bytes of content; more: 413 */
};

enum guard_verdict { GUARD_MORE, GUARD_DONE, GUARD_FAIL };

struct guard {
	size_t pos;		 /* bytes seen */
	size_t head_start;	 /* offset of the first line, behind leading empty lines */
	size_t line_start;	 /* offset of the field line at hand; of a trailer's copy */
	size_t colon, value_end; /* offsets of parts of that line */
	const char *data;	 /* where the bytes were when the fields were written down */
	const char *why;	 /* after GUARD_FAIL: a short constant */
	uint32_t method_len;
	union {
		uint32_t target_len;
		uint32_t reason_len;
	};
	uint32_t duplicates; /* bit 1 << id: the field came more than once */
	uint16_t status;     /* after GUARD_FAIL */
	uint16_t field_count;
	uint8_t state;
	uint8_t empty_lines;
	uint8_t version_len; /* bytes of "HTTP/x.y" seen, in responses of "HTTP/x.y 200 " */
	uint8_t version_major, version_minor;
	bool is_line_good; /* the whole request line was */
	uint16_t code;	   /* of a response */
};

/* Ready for the head of a request. */
void guard_reset(struct guard *g);
/* Ready for the head of a response. */
void guard_reset_response(struct guard *g);
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
/*
 * The same for responses, which no empty line may precede.  After GUARD_DONE fields, known,
 * field_count, version_minor, status and reason of *res are set; after GUARD_FAIL nothing is, and
 * g->status means nothing.
 */
enum guard_verdict guard_response_head(struct guard *g, const struct parse_limits *limits,
				       struct response *res, const char *data, size_t len);
/*
 * Takes trailer lines off the front of *in and checks them as fields are.  `copy`, if not NULL and
 * the same from the first call to the last, gets "Name: value" CRLF of each that may be passed on
 * (header_may_trail); it holds whole lines after GUARD_DONE, those that had room.
 */
enum guard_verdict guard_trailers(struct guard *g, const struct parse_limits *limits,
				  struct buf *copy, struct span *in);
/* Nothing of a request but whole or half empty lines so far. */
bool guard_is_idle(const struct guard *g);

static inline size_t guard_status_line_len(const struct guard *g)
{
	return g->version_len + g->reason_len + sizeof("\r\n") - 1;
}

#endif
