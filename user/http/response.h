/* SPDX-License-Identifier: MIT */
/*
 * One HTTP/1 response of an upstream, from bytes to struct response: the same scanner as for requests (guard.h) with a
 * status line in place of a request line, the rules of RFC 9112 for responses, then llhttp, which must agree.  An
 * upstream is trusted more than a client, but not with our framing: whatever is ambiguous is refused (502).
 * Must not know: sockets, timeouts, requests beyond their method.
 *
 *   response_reset -> response_head* -> PARSE_DONE -> response_body* -> PARSE_DONE
 *
 * An interim response (1xx but 101) is a head of its own: reset and go on with the next bytes.
 */
#ifndef SLUICE_HTTP_RESPONSE_H
#define SLUICE_HTTP_RESPONSE_H

#include "base/buf.h"
#include "http/parse.h"

#define RESPONSE_FIELDS_MAX 128

struct response {
	uint16_t status;		/* 100 to 599 */
	uint8_t version_minor;		/* 0 or 1 */
	bool is_keep_alive;		/* the connection may carry another one after this (RFC 9112 9.3) */
	bool has_upgrade;		/* 101 with Connection: upgrade and an Upgrade field */
	enum body_framing framing;	/* BODY_UNTIL_CLOSE too */
	uint64_t content_length;	/* bytes, when a Content-Length was given, whatever the framing; else UINT64_MAX */
	struct span reason;		/* phrase as received, may be empty */
	unsigned field_count;
	uint8_t known[HEADER_COUNT];	/* 1 + index of the first field with that id, 0 = absent */
	uint32_t duplicates;		/* bit 1 << id: more than one field of that id */
	struct field fields[RESPONSE_FIELDS_MAX];
};

struct response_parser {
	llhttp_t llhttp;
	const struct parse_limits *limits;	/* head_max, field_max, body_max; request_line_max bounds the status line */
	struct response *res;
	const char *why;	/* after PARSE_FAIL: a short constant for the log, "bare LF" */
	/* Where the trailer section of a chunked body goes, checked, as complete lines without the final empty one; its
	 * owner is the caller, truncated if it has no room.  NULL: dropped. */
	struct buf *trailers;
	bool is_to_head;	/* the request was HEAD: no content follows, whatever the fields say */
	/* private */
	struct guard guard;
	uint64_t body_left;	/* bytes of the sized body or of the chunk at hand */
	uint64_t body_total;
	uint32_t extension_total;
	uint8_t body_state;
	uint8_t digit_count;
	bool is_llhttp_done;
};

/* The limits stay the caller's and must outlive the parser. */
void response_init(struct response_parser *p, const struct parse_limits *limits);
/* Ready for the next head, of the answer to a request of this method, which will be written to *res. */
void response_reset(struct response_parser *p, struct response *res, enum http_method method);
/*
 * As parser_head: all bytes received from the first of this head on; spans of *res point into `data` after PARSE_DONE.
 */
enum parse_state response_head(struct response_parser *p, const char *data, size_t len, size_t *ret_head_len);
/*
 * As parser_body.  BODY_UNTIL_CLOSE gives PARSE_DATA for everything and never PARSE_DONE by itself: the end of the
 * connection is the caller's to see.  PARSE_DONE leaves in *in what came after the end, which no upstream may send.
 */
enum parse_state response_body(struct response_parser *p, struct span *in, struct span *ret_data);
/*
 * Bytes of content (or chunk data) that come next and need no look: they may go through a pipe.  response_skip() then
 * says how many did.  0 while the parser has to see the next byte.  UINT64_MAX for BODY_UNTIL_CLOSE.
 */
uint64_t response_opaque(const struct response_parser *p);
void response_skip(struct response_parser *p, uint64_t len);

#endif
