/* SPDX-License-Identifier: MIT */
/*
 * One HTTP/1 request from bytes to struct request: a scanner that looks at every byte once as it
 * arrives and fails closed (guard.h), then the rules of RFC 9112 on what the head says (rules.h),
 * then llhttp, which must agree.
 * Must not know: sockets, timeouts, replies.
 *
 *   parser_reset -> parser_head* -> PARSE_DONE -> parser_body* -> PARSE_DONE -> parser_reset ...
 */
#ifndef SLUICE_HTTP_PARSE_H
#define SLUICE_HTTP_PARSE_H

#include <llhttp.h>
#include <stddef.h>

#include "http/guard.h" /* struct parse_limits */
#include "http/message.h"

enum parse_state {
	PARSE_MORE, /* everything given was used, more is needed */
	PARSE_DONE, /* head, or body, is complete */
	PARSE_FAIL, /* `status` and `why` say what; the connection must be closed after the reply */
	PARSE_DATA, /* parser_body only: *ret_data holds content; call again */
};

struct parser {
	llhttp_t llhttp;
	const struct parse_limits *limits;
	struct request *req;
	unsigned status; /* after PARSE_FAIL: 400, 413, 414, 431, 501, 505 ... */
	const char *why; /* after PARSE_FAIL: a short constant for the log, "bare LF" */
	/* private state of the scanner and of the body follows */
	struct guard guard;
	uint64_t body_left;	  /* bytes of the sized body or of the chunk at hand */
	uint64_t body_total;	  /* bytes of chunked content announced so far */
	uint64_t body_max;	  /* limits->body_max, unless the owner changes it before the body begins */
	uint32_t extension_total; /* bytes of chunk extensions in this body */
	uint8_t body_state;
	uint8_t digit_count; /* of the chunk size at hand */
	bool is_llhttp_done; /* llhttp saw the end of the head, or of a chunk's size line */
};

/* The limits stay the caller's and must outlive the parser. */
void parser_init(struct parser *p, const struct parse_limits *limits);
/* Ready for the next request, which will be written to *req. */
void parser_reset(struct parser *p, struct request *req);

/*
 * `data`, `len`: all bytes received so far from the first byte of this request on (they may include
 * what follows it). Call again with the same start and a greater len after PARSE_MORE; the bytes
 * may have moved in between.  On PARSE_DONE the spans of the request point into `data`, which must
 * stay as it is until the request is over, and *ret_head_len is the length of the head with its
 * final empty line.  On PARSE_FAIL method_text and target are set where the request line was good;
 * fields only where the whole head was.
 */
enum parse_state parser_head(struct parser *p, const char *data, size_t len, size_t *ret_head_len);

/*
 * Takes content off the front of *in (which moves on).  PARSE_DATA: *ret_data is a piece of
 * content, inside the bytes given; PARSE_DONE: the body has ended, *in begins with the next
 * request. A request without a body is PARSE_DONE at once.  Trailer fields are checked and dropped.
 */
enum parse_state parser_body(struct parser *p, struct span *in, struct span *ret_data);

/* Bytes of content that come next and need no look; parser_skip says how many went another way (a pipe). */
uint64_t parser_opaque(const struct parser *p);
void parser_skip(struct parser *p, uint64_t len);

/*
 * True when nothing of a request has arrived yet (leading empty lines count as nothing).  Whoever
 * then throws those bytes away must call parser_reset.
 */
bool parser_is_idle(const struct parser *p);

#endif
