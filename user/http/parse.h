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

#include <stddef.h>

#include "http/body.h" /* enum parse_state */
#include "http/guard.h" /* struct parse_limits */
#include "http/message.h"

struct parser {
	const struct parse_limits *limits;
	struct request *req;
	/*
	 * Where the trailer section of a chunked body goes: "Name: value" CRLF of each field that may be
	 * passed on (header_may_trail), without the final empty line; whole lines only, once the body is
	 * PARSE_DONE; is_truncated if it had no room for one.  Set it before the content is read, take it
	 * away when the memory goes: it stays through parser_reset.  NULL: checked and dropped.
	 */
	struct buf *trailers;
	unsigned status; /* after PARSE_FAIL: 400, 413, 414, 431, 501, 505 ... */
	const char *why; /* after PARSE_FAIL: a short constant for the log, "bare LF" */
	/* private */
	struct guard guard;
	struct body body;
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
 * request. A request without a body is PARSE_DONE at once.  Trailer fields are checked and go to p->trailers.
 */
enum parse_state parser_body(struct parser *p, struct span *in, struct span *ret_data);

/*
 * Bytes of content (of a sized body, or of the chunk at hand) that come next and need no look: they
 * may go through a pipe, and parser_skip() then says how many did, which may be fewer.  0 while the
 * parser has to see the next byte.  After the last one parser_body, with or without further bytes,
 * says PARSE_DONE.  0 before the head is.
 */
uint64_t parser_opaque(const struct parser *p);
/* After parser_head: nothing of the content is left, and parser_body says PARSE_DONE without further bytes. */
bool parser_is_over(const struct parser *p);
void parser_skip(struct parser *p, uint64_t len);

/*
 * True when nothing of a request has arrived yet (leading empty lines count as nothing).  Whoever
 * then throws those bytes away must call parser_reset.
 */
bool parser_is_idle(const struct parser *p);

#endif
