/* SPDX-License-Identifier: MIT */
/* The part of a reply that does not depend on who carries it; see reply.h. */
#include "http/reply.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/err.h"

void reply_init(struct reply *r, const struct reply_ops *ops, const struct request *req)
{
	r->ops = ops;
	r->req = req;
	r->status = 200;
	r->is_begun = false;
	r->is_ended = false;
	r->must_close = false;
	r->has_no_content = false;
	r->is_unsized = false;
	r->has_overflown = false;
	r->length = 0;
	r->written = 0;
	r->sent = 0;
	r->is_relayed = false;
	r->ends_with_client = false;
	r->is_upgrade = false;
	r->wants_splice = false;
	r->wants_pause_note = false;
	r->request_trailers = NULL;
	r->why = NULL;
	r->ctx = NULL;
	r->block = span_of(NULL, 0);
	r->trailers = span_of(NULL, 0);
	r->origin.server[0] = '\0';
	r->origin.connect_us = 0;
	r->origin.first_byte_us = 0;
	r->origin.tries = 0;
	memset(r->origin.request_id, 0, sizeof(r->origin.request_id));
	r->field_count = 0;
	buf_init(&r->scratch, r->scratch_memory, sizeof(r->scratch_memory));
}

void reply_add(struct reply *r, struct span name, struct span value)
{
	if (r->field_count == REPLY_FIELDS_MAX) {
		r->has_overflown = true;
		return;
	}
	r->fields[r->field_count++] = (struct field){ .name = name, .value = value };
}

void reply_addf(struct reply *r, struct span name, const char *fmt, ...)
{
	char *at = r->scratch.ptr + r->scratch.len;
	size_t room = buf_room(&r->scratch);
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(at, room, fmt, ap);
	va_end(ap);
	if (len < 0 || (size_t)len >= room) {
		r->has_overflown = true;
		return;
	}
	r->scratch.len += (size_t)len;
	reply_add(r, name, span_of(at, (size_t)len));
}

void reply_add_date(struct reply *r, struct span name, int64_t unix_s)
{
	char *at = r->scratch.ptr + r->scratch.len;

	if (buf_room(&r->scratch) < HTTP_DATE_LEN) {
		r->has_overflown = true;
		return;
	}
	http_date_print(unix_s, at);
	r->scratch.len += HTTP_DATE_LEN;
	reply_add(r, name, span_of(at, HTTP_DATE_LEN));
}

/* RFC 9110 6.4.1: no content after HEAD, 1xx, 204, 304. */
static bool is_without_content(const struct reply *r)
{
	return (r->req && r->req->method == METHOD_HEAD) || r->status < 200 || r->status == 204 ||
	       r->status == 304;
}

void reply_begin(struct reply *r, uint64_t length)
{
	BUG_ON(r->is_begun);
	if (r->has_overflown) {
		/* A mistake of a handler must not become a head with holes. */
		r->field_count = 0;
		r->block = span_of(NULL, 0);
		r->status = 500;
		r->must_close = true;
		length = REPLY_LENGTH_UNKNOWN;
	}
	r->length = length;
	r->has_no_content = is_without_content(r);
	r->is_unsized = length == REPLY_LENGTH_UNKNOWN;
	r->is_begun = true;
	r->ops->begin(r);
}

void reply_status_page(struct reply *r, unsigned status)
{
	char page[512];
	struct buf b;

	buf_init(&b, page, sizeof(page));
	reply_set_status(r, status);
	if (status == 204 || status == 304) {
		reply_begin(r, 0);
		reply_end(r);
		return;
	}
	buf_printf(&b,
		   "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%u %s</title></head>\n"
		   "<body><h1>%u %s</h1></body></html>\n",
		   status, status_phrase(status), status, status_phrase(status));
	reply_add(r, SPAN("Content-Type"), SPAN("text/html; charset=utf-8"));
	reply_begin(r, b.len);
	reply_write(r, b.ptr, b.len);
	reply_end(r);
}
