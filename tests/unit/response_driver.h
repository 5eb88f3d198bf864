/* SPDX-License-Identifier: MIT */
/*
 * Runs the bytes of a connection to an upstream through the response parser as a proxy would and writes what came of
 * them as text, so that a test says what it expects in one string:
 *
 *   "100 Continue 1.1 ka & 200 OK 1.1 ka {hello} & ! bare LF"
 *
 * {} is sized content, <> chunked, [ content until the end; "len=5" a Content-Length that frames nothing; "(A: b|)" are
 * trailers, each with a bar for its CRLF.  Every piece arrives in a new heap block of exactly its size, at another
 * address: AddressSanitizer sees every read beyond the bytes given, and every span that did not follow them.
 */
#ifndef SLUICE_TESTS_RESPONSE_DRIVER_H
#define SLUICE_TESTS_RESPONSE_DRIVER_H

#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"
#include "http/response.h"

struct response_driver {
	struct response_parser parser;
	struct response *res;
	enum http_method method;
	bool is_skipping;	/* content goes past the parser, as through a pipe */
	char *data;		/* from the first byte of the response at hand */
	size_t len;
	size_t used;		/* bytes of `data` the head and the content took */
	bool is_in_body;
	bool is_over;
	struct buf out;
	struct buf fields;	/* every field of every response */
	struct buf trailers;
	char trailer_memory[1024];
	char memory[2][32768];
};

static inline void response_driver_init(struct response_driver *d, const struct parse_limits *limits,
					enum http_method method)
{
	memset(d, 0, offsetof(struct response_driver, memory));
	d->res = malloc(sizeof(*d->res));
	memset(d->res, 0xa5, sizeof(*d->res));
	d->method = method;
	buf_init(&d->out, d->memory[0], sizeof(d->memory[0]));
	buf_init(&d->fields, d->memory[1], sizeof(d->memory[1]));
	buf_init(&d->trailers, d->trailer_memory, sizeof(d->trailer_memory));
	response_init(&d->parser, limits);
	d->parser.trailers = &d->trailers;
	response_reset(&d->parser, d->res, method);
}

static inline void response_driver_fini(struct response_driver *d)
{
	free(d->data);
	free(d->res);
}

/* `data` becomes a fresh block: what is left behind `drop` bytes, and the piece. */
static inline void response_driver_renew(struct response_driver *d, size_t drop, struct span piece)
{
	size_t len = d->len - drop + piece.len;
	char *data = len ? malloc(len) : NULL;

	if (d->len > drop)
		memcpy(data, d->data + drop, d->len - drop);
	if (piece.len)
		memcpy(data + (d->len - drop), piece.ptr, piece.len);
	free(d->data);
	d->data = data;
	d->len = len;
}

static inline void response_driver_print_fields(struct response_driver *d)
{
	const struct response *res = d->res;

	for (unsigned i = 0; i < res->field_count; i++) {
		buf_printf(&d->fields, "\n%d ", res->fields[i].id);
		buf_add_span(&d->fields, res->fields[i].name);
		buf_add_lit(&d->fields, "=");
		buf_add_span(&d->fields, res->fields[i].value);
		buf_add_lit(&d->fields, "|");
	}
	for (unsigned id = 0; id < HEADER_COUNT; id++)
		buf_printf(&d->fields, "%u%s,", res->known[id], res->duplicates >> id & 1 ? "+" : "");
}

static inline void response_driver_print_head(struct response_driver *d)
{
	static const char *const opening[] = {
		[BODY_NONE] = "", [BODY_SIZED] = " {", [BODY_CHUNKED] = " <", [BODY_UNTIL_CLOSE] = " ["};
	const struct response *res = d->res;
	struct buf *b = &d->out;

	buf_printf(b, "%s%u ", b->len ? " & " : "", res->status);
	buf_add_span(b, res->reason);
	buf_printf(b, "%s1.%u %s", res->reason.len ? " " : "", res->version_minor,
		   res->is_keep_alive ? "ka" : "close");
	if (res->has_upgrade)
		buf_add_lit(b, " upgrade");
	if (res->framing == BODY_SIZED)
		BUG_ON(res->content_length == 0 || res->content_length == UINT64_MAX);
	else if (res->content_length != UINT64_MAX)
		buf_printf(b, " len=%lu", res->content_length);
	buf_add_span(b, span_str(opening[res->framing]));
	response_driver_print_fields(d);
}

static inline void response_driver_print_end(struct response_driver *d)
{
	if (d->res->framing == BODY_SIZED)
		buf_add_lit(&d->out, "}");
	else if (d->res->framing == BODY_CHUNKED)
		buf_add_lit(&d->out, ">");
	if (d->trailers.len || d->trailers.is_truncated)
		buf_add_lit(&d->out, " (");
	for (size_t i = 0; i < d->trailers.len; i++)
		if (d->trailers.ptr[i] != '\r')
			buf_add_char(&d->out, d->trailers.ptr[i] == '\n' ? '|' : d->trailers.ptr[i]);
	if (d->trailers.len || d->trailers.is_truncated)
		buf_printf(&d->out, "%s)", d->trailers.is_truncated ? "..." : "");
	buf_init(&d->trailers, d->trailers.ptr, d->trailers.cap);
}

static inline void response_driver_fail(struct response_driver *d)
{
	buf_printf(&d->out, "%s! %s", d->out.len ? " & " : "", d->parser.why);
	d->is_over = true;
}

/* True when there is more to do with the bytes at hand. */
static inline bool response_driver_head(struct response_driver *d)
{
	switch (response_head(&d->parser, d->data, d->len, &d->used)) {
	case PARSE_DONE:
		response_driver_print_head(d);
		d->is_in_body = true;
		return true;
	case PARSE_FAIL:
		response_driver_fail(d);
		return false;
	default:
		return false;
	}
}

/* Content that needs no look, past the parser. */
static inline void response_driver_skip(struct response_driver *d, struct span *in)
{
	uint64_t opaque = response_opaque(&d->parser);
	size_t len = (size_t)MIN(opaque, in->len);

	if (!d->is_skipping || len == 0)
		return;
	buf_add(&d->out, in->ptr, len);
	*in = span_of(in->ptr + len, in->len - len);
	response_skip(&d->parser, len);
}

/* A byte at a time where content is skipped, or the parser would take the content behind a size line itself. */
static inline enum parse_state response_driver_take(struct response_driver *d, struct span *in, struct span *ret_data)
{
	struct span part = span_of(in->ptr, d->is_skipping && in->len ? 1 : in->len);
	size_t len = part.len;
	enum parse_state state = response_body(&d->parser, &part, ret_data);

	len -= part.len;
	*in = span_of(in->ptr + len, in->len - len);
	return state;
}

static inline bool response_driver_body(struct response_driver *d)
{
	struct span in = span_of(d->data + d->used, d->len - d->used), data;
	enum parse_state state;

	do {
		response_driver_skip(d, &in);
		state = response_driver_take(d, &in, &data);
		if (state == PARSE_DATA)
			buf_add_span(&d->out, data);
	} while (state == PARSE_DATA || (state == PARSE_MORE && in.len));
	d->used = d->len - in.len;
	if (state == PARSE_FAIL)
		response_driver_fail(d);
	if (state != PARSE_DONE)
		return false;
	response_driver_print_end(d);
	response_driver_renew(d, d->used, span_of(NULL, 0));
	d->used = 0;
	d->is_in_body = false;
	d->is_over = d->res->status == 101;
	response_reset(&d->parser, d->res, d->method);
	return d->len > 0;
}

static inline void response_driver_feed(struct response_driver *d, struct span piece)
{
	if (d->is_over || piece.len == 0)
		return;
	response_driver_renew(d, 0, piece);
	while (!d->is_over && (d->is_in_body ? response_driver_body(d) : response_driver_head(d)))
		;
}

/* Says when the stream ended within a head; call once, behind the last piece. */
static inline void response_driver_end(struct response_driver *d)
{
	if (!d->is_over && !d->is_in_body && d->len)
		buf_printf(&d->out, "%s...", d->out.len ? " & " : "");
}

#endif
