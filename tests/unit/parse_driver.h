/* SPDX-License-Identifier: MIT */
/*
 * Runs a stream of bytes through the parser as a session would and writes what came of it as text,
 * so that a test says what it expects in one string:
 *
 *   "GET a /p?q 1.1 ka & POST a / 1.1 ka {hello} & 400 bare LF"
 *
 * Trailers go to `fields`, where the division of the stream must not change them either.
 *
 * Every piece arrives in a new heap block of exactly its size, at another address: AddressSanitizer
 * sees every read beyond the bytes given, and every span that did not follow them.
 */
#ifndef SLUICE_TESTS_PARSE_DRIVER_H
#define SLUICE_TESTS_PARSE_DRIVER_H

#include <stdlib.h>

#include "base/buf.h"
#include "http/parse.h"

struct driver {
	struct parser parser;
	struct request *req;
	char *data; /* from the first byte of the request at hand */
	size_t len;
	size_t used; /* bytes of `data` the head and the content took */
	bool is_in_body;
	bool is_over;
	bool is_skipping; /* content goes past the parser, as through a pipe */
	struct buf out;
	struct buf fields; /* every field of every request */
	struct buf trailers;
	char trailer_memory[256];
	char memory[2][32768];
};

static inline void driver_init(struct driver *d, const struct parse_limits *limits)
{
	memset(d, 0, offsetof(struct driver, memory));
	d->req = malloc(sizeof(*d->req));
	memset(d->req, 0xa5, sizeof(*d->req));
	buf_init(&d->out, d->memory[0], sizeof(d->memory[0]));
	buf_init(&d->fields, d->memory[1], sizeof(d->memory[1]));
	buf_init(&d->trailers, d->trailer_memory, sizeof(d->trailer_memory));
	parser_init(&d->parser, limits);
	d->parser.trailers = &d->trailers;
	parser_reset(&d->parser, d->req);
}

static inline void driver_fini(struct driver *d)
{
	free(d->data);
	free(d->req);
}

/* `data` becomes a fresh block: what is left behind `drop` bytes, and the piece. */
static inline void driver_renew(struct driver *d, size_t drop, struct span piece)
{
	size_t len = d->len - drop + piece.len;
	char *data = malloc(len ? len : 1);

	if (d->len > drop)
		memcpy(data, d->data + drop, d->len - drop);
	if (piece.len)
		memcpy(data + (d->len - drop), piece.ptr, piece.len);
	free(d->data);
	if (len == 0) {
		free(data);
		data = NULL;
	}
	d->data = data;
	d->len = len;
}

static inline void driver_print_head(struct driver *d)
{
	const struct request *req = d->req;
	struct buf *b = &d->out;

	if (b->len)
		buf_add_lit(b, " & ");
	buf_add_span(b, req->method_text);
	buf_add_lit(b, " ");
	buf_add_span(b, req->host);
	buf_add_lit(b, " ");
	buf_add_span(b, req->path);
	if (req->has_query) {
		buf_add_lit(b, "?");
		buf_add_span(b, req->query);
	}
	buf_printf(b, " 1.%u %s", req->version_minor, req->is_keep_alive ? "ka" : "close");
	if (req->expects_continue)
		buf_add_lit(b, " expect");
	if (req->has_upgrade)
		buf_add_lit(b, " upgrade");
	if (req->framing != BODY_NONE)
		buf_add_lit(b, " {");
	buf_printf(&d->fields, "%u %d %d %lu ", req->method, req->framing, req->field_count,
		   req->framing == BODY_SIZED ? req->content_length : 0);
	buf_add_span(&d->fields, req->target);
	buf_add_span(&d->fields, req->authority);
	buf_add_span(&d->fields, req->raw_path);
	for (unsigned i = 0; i < req->field_count; i++) {
		buf_printf(&d->fields, "\n%d ", req->fields[i].id);
		buf_add_span(&d->fields, req->fields[i].name);
		buf_add_lit(&d->fields, "=");
		buf_add_span(&d->fields, req->fields[i].value);
		buf_add_lit(&d->fields, "|");
	}
}

static inline void driver_fail(struct driver *d)
{
	buf_printf(&d->out, "%s%u %s", d->out.len ? " & " : "", d->parser.status, d->parser.why);
	d->is_over = true;
}

/* True when there is more to do with the bytes at hand. */
static inline bool driver_head(struct driver *d)
{
	switch (parser_head(&d->parser, d->data, d->len, &d->used)) {
	case PARSE_DONE:
		driver_print_head(d);
		d->is_in_body = true;
		return true;
	case PARSE_FAIL:
		driver_fail(d);
		return false;
	default:
		return false;
	}
}

/* Content that needs no look, past the parser. */
static inline void driver_skip(struct driver *d, struct span *in)
{
	uint64_t opaque = parser_opaque(&d->parser);
	size_t len = opaque < in->len ? (size_t)opaque : in->len;

	if (!d->is_skipping || len == 0)
		return;
	buf_add(&d->out, in->ptr, len);
	*in = span_of(in->ptr + len, in->len - len);
	parser_skip(&d->parser, len);
}

static inline void driver_print_trailers(struct driver *d)
{
	buf_add_span(&d->fields, buf_span(&d->trailers));
	buf_add_char(&d->fields, d->trailers.is_truncated ? '!' : '.');
	buf_init(&d->trailers, d->trailer_memory, sizeof(d->trailer_memory));
}

/* A byte at a time where content is skipped, or the parser would take the content behind a size line itself. */
static inline enum parse_state driver_take(struct driver *d, struct span *in, struct span *ret_data)
{
	struct span part = span_of(in->ptr, d->is_skipping && in->len ? 1 : in->len);
	size_t len = part.len;
	enum parse_state state = parser_body(&d->parser, &part, ret_data);

	len -= part.len;
	*in = span_of(in->ptr + len, in->len - len);
	return state;
}

static inline bool driver_body(struct driver *d)
{
	struct span in = span_of(d->data + d->used, d->len - d->used), data;
	enum parse_state state;

	do {
		driver_skip(d, &in);
		state = driver_take(d, &in, &data);
		if (state == PARSE_DATA)
			buf_add_span(&d->out, data);
	} while (state == PARSE_DATA || (state == PARSE_MORE && in.len));
	d->used = d->len - in.len;
	if (state == PARSE_FAIL)
		driver_fail(d);
	if (state != PARSE_DONE)
		return false;
	if (d->req->framing != BODY_NONE)
		buf_add_lit(&d->out, "}");
	driver_print_trailers(d);
	driver_renew(d, d->used, span_of(NULL, 0));
	d->used = 0;
	d->is_in_body = false;
	parser_reset(&d->parser, d->req);
	return d->len > 0;
}

static inline void driver_feed(struct driver *d, struct span piece)
{
	if (d->is_over || piece.len == 0)
		return;
	driver_renew(d, 0, piece);
	while (!d->is_over && (d->is_in_body ? driver_body(d) : driver_head(d)))
		;
}

/* Says how the stream ended; call once, behind the last piece. */
static inline void driver_end(struct driver *d)
{
	if (!d->is_over && !d->is_in_body && !parser_is_idle(&d->parser))
		buf_printf(&d->out, "%s...", d->out.len ? " & " : "");
}

#endif
