/* SPDX-License-Identifier: MIT */
/* A request whose fields are the lines of a text, "Name: value\n", as the parser would fill it. */
#ifndef SLUICE_TESTS_REQUEST_TEXT_H
#define SLUICE_TESTS_REQUEST_TEXT_H

#include "http/message.h"

/* The spans point into `lines`. */
static inline void request_fill(struct request *req, const char *lines)
{
	memset(req, 0, offsetof(struct request, fields));
	req->version_minor = 1;
	while (*lines) {
		struct field *f = &req->fields[req->field_count++];
		const char *colon = strchr(lines, ':'), *end = strchr(lines, '\n');

		f->name = span_of(lines, (size_t)(colon - lines));
		f->value = span_trim(span_of(colon + 1, (size_t)(end - colon) - 1));
		f->id = header_id_of(f->name);
		if (!req->known[f->id])
			req->known[f->id] = (uint8_t)req->field_count;
		if (f->id == HEADER_HOST)
			req->authority = f->value;
		lines = end + 1;
	}
	req->known[HEADER_OTHER] = 0;
}

#endif
