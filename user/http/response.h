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
#include "http/body.h"
#include "http/message.h"

#define RESPONSE_FIELDS_MAX 128

struct response {
	uint16_t status;		/* 100 to 599 */
	uint8_t version_minor;		/* 0 or 1 */
	bool is_keep_alive;		/* the connection may carry another one after this (RFC 9112 9.3) */
	bool has_upgrade;		/* 101 with Connection: upgrade and an Upgrade field */
	bool names_fields;		/* Connection has more than close, keep-alive and upgrade (RFC 9110 7.6.1) */
	enum body_framing framing;	/* BODY_UNTIL_CLOSE too */
	/*
	 * Bytes, when a Content-Length was given, whatever the framing; else UINT64_MAX.  Also UINT64_MAX where the answer
	 * to HEAD, or a 304, has a Transfer-Encoding besides: such a length is not to be passed on.
	 */
	uint64_t content_length;
	struct span reason;		/* phrase as received, may be empty */
	unsigned field_count;
	uint8_t known[HEADER_COUNT];	/* 1 + index of the first field with that id, 0 = absent */
	uint32_t duplicates;		/* bit 1 << id: more than one field of that id */
	struct field fields[RESPONSE_FIELDS_MAX];
};

struct response_parser {
	/* head_max, field_max, body_max (of sized and chunked content); request_line_max bounds the status line. */
	const struct parse_limits *limits;
	struct response *res;
	const char *why;	/* after PARSE_FAIL: a short constant for the log, "bare LF" */
	/* Where the trailer section of a chunked body goes, as in struct parser; stays through response_reset. */
	struct buf *trailers;
	bool is_to_head;	/* the request was HEAD: no content follows, whatever the fields say */
	/* private */
	bool is_llhttp_over;	/* llhttp says the message ends with its head */
	struct guard guard;
	struct body body;
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
/* As parser_opaque and parser_skip.  UINT64_MAX for BODY_UNTIL_CLOSE, however much was skipped. */
uint64_t response_opaque(const struct response_parser *p);
void response_skip(struct response_parser *p, uint64_t len);

#endif
