/* SPDX-License-Identifier: MIT */
/*
 * A client and a session for the tests of handlers: makes a request out of text, records what the
 * handler answers, and delivers the content later, as a slow connection would.
 */
#ifndef SLUICE_TESTS_RECORDER_H
#define SLUICE_TESTS_RECORDER_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/list.h"
#include "http/handler.h"
#include "http/target.h"

#define RECORDER_SEGMENTS 128

struct recorded_segment {
	const char *ptr; /* NULL: of a file */
	char *copy;
	int fd;
	off_t offset;
	uint64_t len;
	struct hold *hold;
};

struct recorder {
	struct reply reply;
	struct request req;
	char head[16384]; /* "name: value\n" of every field, taken at begin */
	struct recorded_segment segments[RECORDER_SEGMENTS];
	unsigned segment_count;
	unsigned begin_count, end_count;
	char *body; /* after recorder_deliver */
	uint64_t body_len;
	bool is_short; /* a file ended before the announced length */
	char target[8300];
};

static inline struct recorder *recorder_of(struct reply *r)
{
	return container_of(r, struct recorder, reply);
}

static void record_begin(struct reply *r)
{
	struct recorder *x = recorder_of(r);
	size_t at = 0;

	x->begin_count++;
	for (unsigned i = 0; i < r->field_count; i++) {
		at += (size_t)snprintf(x->head + at, sizeof(x->head) - at, "%.*s: %.*s\n",
				       SPAN_ARG(r->fields[i].name), SPAN_ARG(r->fields[i].value));
		assert_true(at < sizeof(x->head));
	}
	assert_true(!r->block.len || span_ends_with(r->block, SPAN("\r\n")));
	for (size_t i = 0; i < r->block.len; i++) {
		assert_true(at < sizeof(x->head) - 1);
		if (r->block.ptr[i] != '\r')
			x->head[at++] = r->block.ptr[i];
	}
}

static void record_segment(struct reply *r, struct recorded_segment s)
{
	struct recorder *x = recorder_of(r);

	assert_true(r->is_begun && !r->is_ended);
	r->written += s.len;
	assert_true(r->is_unsized || r->written <= r->length);
	if (r->has_no_content) {
		free(s.copy);
		return;
	}
	assert_true(x->segment_count < RECORDER_SEGMENTS);
	hold_get(s.hold);
	x->segments[x->segment_count++] = s;
}

static void record_write(struct reply *r, const void *data, size_t len)
{
	char *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, data, len);
	record_segment(r, (struct recorded_segment){.ptr = copy, .copy = copy, .len = len});
}

static void record_write_held(struct reply *r, struct span data, struct hold *hold)
{
	record_segment(r,
		       (struct recorded_segment){.ptr = data.ptr, .len = data.len, .hold = hold});
}

static void record_write_file(struct reply *r, int fd, off_t offset, uint64_t len,
			      struct hold *hold)
{
	assert_true(fd >= 0);
	record_segment(
		r, (struct recorded_segment){.fd = fd, .offset = offset, .len = len, .hold = hold});
}

static void record_end(struct reply *r)
{
	assert_true(r->is_begun && !r->is_ended);
	assert_true(r->has_no_content || r->is_unsized || r->written == r->length);
	r->is_ended = true;
	recorder_of(r)->end_count++;
}

static void record_abort(struct reply *r)
{
	fail_msg("aborted");
}

static uint64_t record_queued(const struct reply *r)
{
	return 0;
}

static const struct reply_ops record_ops = {
	.begin = record_begin,
	.write = record_write,
	.write_held = record_write_held,
	.write_file = record_write_file,
	.end = record_end,
	.abort = record_abort,
	.queued = record_queued,
};

/* Fills the request; `fields` is "Name: value\n...". Status of target_parse. */
static inline unsigned recorder_prepare(struct recorder *x, const char *method, const char *target,
				 const char *fields)
{
	struct request *req = &x->req;

	memset(x, 0, offsetof(struct recorder, target));
	assert_true(strlen(target) < sizeof(x->target));
	memcpy(x->target, target, strlen(target) + 1);
	req->method_text = span_str(method);
	req->method = method_of(req->method_text);
	req->version_minor = 1;
	req->is_keep_alive = true;
	req->target = span_str(x->target);
	req->host = SPAN("example.com");
	for (const char *at = fields; at && *at;) {
		const char *colon = strchr(at, ':'), *end = strchr(at, '\n');
		struct field *f = &req->fields[req->field_count++];

		f->name = span_of(at, (size_t)(colon - at));
		f->value = span_trim(span_of(colon + 1, (size_t)(end - colon - 1)));
		f->id = header_id_of(f->name);
		if (f->id && !req->known[f->id])
			req->known[f->id] = (uint8_t)req->field_count;
		at = end + 1;
	}
	reply_init(&x->reply, &record_ops, req);
	return target_parse(req);
}

/* Asks the handler; what the parser itself would refuse gets that status and no reply. */
static inline unsigned recorder_ask(struct recorder *x, const struct handler_ops *ops, void *conf,
			     const char *method, const char *target, const char *fields)
{
	unsigned status = recorder_prepare(x, method, target, fields);

	if (status)
		return status;
	ops->on_request(&x->req, &x->reply, conf);
	assert_int_equal(x->begin_count, 1);
	assert_int_equal(x->end_count, 1);
	return x->reply.status;
}

/* Takes the content as far as it can be had and lets go of every hold. */
static inline void recorder_deliver(struct recorder *x)
{
	free(x->body);
	x->body_len = 0;
	x->body = calloc(1, x->reply.written + 1);
	assert_non_null(x->body);
	for (unsigned i = 0; i < x->segment_count; i++) {
		struct recorded_segment *s = &x->segments[i];
		ssize_t n = (ssize_t)s->len;

		if (s->ptr)
			memcpy(x->body + x->body_len, s->ptr, s->len);
		else
			n = pread(s->fd, x->body + x->body_len, s->len, s->offset);
		x->is_short |= n != (ssize_t)s->len;
		x->body_len += n > 0 ? (uint64_t)n : 0;
		free(s->copy);
		hold_put(s->hold);
	}
	x->segment_count = 0;
}

static inline void recorder_fini(struct recorder *x)
{
	recorder_deliver(x);
	free(x->body);
	x->body = NULL;
}

/* Value of a field of the reply, in static memory; NULL when it has none; fails when it has two. */
static inline const char *recorder_field(const struct recorder *x, const char *name)
{
	static char value[8192];
	const char *found = NULL;
	size_t len = strlen(name);

	for (const char *at = x->head; *at; at = strchr(at, '\n') + 1) {
		if (strncasecmp(at, name, len) || at[len] != ':')
			continue;
		assert_null(found);
		found = at + len + 2;
	}
	if (!found)
		return NULL;
	snprintf(value, sizeof(value), "%.*s", (int)(strchr(found, '\n') - found), found);
	return value;
}

#endif
