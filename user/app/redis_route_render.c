/* SPDX-License-Identifier: MIT */
/* Text of replies; see redis_route_render.h. */
#include "app/redis_route_render.h"

#include <nettle/base64.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/redis_error.h"
#include "base/err.h"
#include "base/utf8.h"

#define FIRST_SIZE 4096u

/* Text ---------------------------------------------------------------------------------------------------------- */

static bool reserve(struct redis_text *t, size_t len)
{
	size_t cap = MAX(t->cap, (size_t)FIRST_SIZE);
	char *ptr;

	if (t->has_failed)
		return false;
	if (len <= t->cap - t->len)
		return true;
	while (cap - t->len < len)
		cap *= 2;
	ptr = realloc(t->ptr, cap);
	if (!ptr) {
		t->has_failed = true;
		return false;
	}
	t->ptr = ptr;
	t->cap = cap;
	return true;
}

void redis_text_add(struct redis_text *t, const void *data, size_t len)
{
	if (len == 0 || !reserve(t, len))
		return;
	memcpy(t->ptr + t->len, data, len);
	t->len += len;
}

#define add_lit(t, literal) redis_text_add((t), "" literal, sizeof(literal) - 1)

static void add_number(struct redis_text *t, long long value)
{
	char digits[24];

	redis_text_add(t, digits, (size_t)snprintf(digits, sizeof(digits), "%lld", value));
}

/* JSON ---------------------------------------------------------------------------------------------------------- */

static bool is_plain(char c)
{
	return (unsigned char)c >= 0x20 && (unsigned char)c < 0x7f && c != '"' && c != '\\';
}

static void add_escape(struct redis_text *t, char c)
{
	char text[8];

	switch (c) {
	case '"':
	case '\\':
		redis_text_add(t, (const char[]){ '\\', c }, 2);
		break;
	case '\n':
		add_lit(t, "\\n");
		break;
	case '\r':
		add_lit(t, "\\r");
		break;
	case '\t':
		add_lit(t, "\\t");
		break;
	default:
		redis_text_add(t, text, (size_t)snprintf(text, sizeof(text), "\\u%04x", (unsigned char)c));
	}
}

static void add_string(struct redis_text *t, struct span s)
{
	size_t from = 0;

	add_lit(t, "\"");
	for (size_t i = 0; i < s.len; i++) {
		/* What is above ASCII was looked at. */
		if (is_plain(s.ptr[i]) || (unsigned char)s.ptr[i] >= 0x80)
			continue;
		redis_text_add(t, s.ptr + from, i - from);
		add_escape(t, s.ptr[i]);
		from = i + 1;
	}
	redis_text_add(t, s.ptr + from, s.len - from);
	add_lit(t, "\"");
}

static void add_base64(struct redis_text *t, struct span s)
{
	size_t len = BASE64_ENCODE_RAW_LENGTH(s.len);

	if (!reserve(t, len))
		return;
	base64_encode_raw(t->ptr + t->len, s.len, (const uint8_t *)s.ptr);
	t->len += len;
}

void redis_text_add_json(struct redis_text *t, struct span s)
{
	if (utf8_is_valid(s)) {
		add_string(t, s);
		return;
	}
	add_lit(t, "{\"base64\":\"");
	add_base64(t, s);
	add_lit(t, "\"}");
}

static struct span text_of(const redisReply *r)
{
	return span_of(r->str, r->len);
}

static void add_value(struct redis_text *t, const redisReply *r)
{
	switch (r->type) {
	case REDIS_REPLY_STRING:
		redis_text_add_json(t, text_of(r));
		break;
	case REDIS_REPLY_INTEGER:
		add_number(t, r->integer);
		break;
	case REDIS_REPLY_STATUS:
		add_lit(t, "[true,");
		redis_text_add_json(t, text_of(r));
		add_lit(t, "]");
		break;
	case REDIS_REPLY_ERROR:
		add_lit(t, "[false,");
		redis_text_add_json(t, text_of(r));
		add_lit(t, "]");
		break;
	case REDIS_REPLY_ARRAY:
		add_lit(t, "[");
		for (size_t i = 0; i < r->elements; i++) {
			if (i)
				add_lit(t, ",");
			add_value(t, r->element[i]);
		}
		add_lit(t, "]");
		break;
	default:
		add_lit(t, "null");
	}
}

/* Fields and values in turn, as HGETALL answers; names have to be text. */
static bool is_map(struct span command, const redisReply *r)
{
	if (!span_ieq(command, SPAN("HGETALL")) || r->type != REDIS_REPLY_ARRAY || r->elements % 2)
		return false;
	for (size_t i = 0; i < r->elements; i += 2)
		if (r->element[i]->type != REDIS_REPLY_STRING || !utf8_is_valid(text_of(r->element[i])))
			return false;
	return true;
}

static void add_map(struct redis_text *t, const redisReply *r)
{
	add_lit(t, "{");
	for (size_t i = 0; i < r->elements; i += 2) {
		if (i)
			add_lit(t, ",");
		add_string(t, text_of(r->element[i]));
		add_lit(t, ":");
		add_value(t, r->element[i + 1]);
	}
	add_lit(t, "}");
}

static void render_json(struct redis_text *t, struct span command, const redisReply *r)
{
	add_lit(t, "{");
	add_string(t, command);
	add_lit(t, ":");
	if (is_map(command, r))
		add_map(t, r);
	else
		add_value(t, r);
	add_lit(t, "}");
}

/* Others -------------------------------------------------------------------------------------------------------- */

static void add_line(struct redis_text *t, char kind, struct span text)
{
	redis_text_add(t, &kind, 1);
	redis_text_add(t, text.ptr, text.len);
	add_lit(t, "\r\n");
}

static void add_count(struct redis_text *t, char kind, long long value)
{
	redis_text_add(t, &kind, 1);
	add_number(t, value);
	add_lit(t, "\r\n");
}

static void render_raw(struct redis_text *t, const redisReply *r)
{
	switch (r->type) {
	case REDIS_REPLY_STRING:
		add_count(t, '$', (long long)r->len);
		redis_text_add(t, r->str, r->len);
		add_lit(t, "\r\n");
		break;
	case REDIS_REPLY_INTEGER:
		add_count(t, ':', r->integer);
		break;
	case REDIS_REPLY_STATUS:
		add_line(t, '+', text_of(r));
		break;
	case REDIS_REPLY_ERROR:
		add_line(t, '-', text_of(r));
		break;
	case REDIS_REPLY_ARRAY:
		add_count(t, '*', (long long)r->elements);
		for (size_t i = 0; i < r->elements; i++)
			render_raw(t, r->element[i]);
		break;
	default:
		add_lit(t, "$-1\r\n");
	}
}

/* As redis-cli --raw prints it, but for the last line end. */
static void render_text(struct redis_text *t, const redisReply *r)
{
	switch (r->type) {
	case REDIS_REPLY_INTEGER:
		add_number(t, r->integer);
		break;
	case REDIS_REPLY_ARRAY:
		for (size_t i = 0; i < r->elements; i++) {
			if (i)
				add_lit(t, "\n");
			render_text(t, r->element[i]);
		}
		break;
	case REDIS_REPLY_NIL:
		break;
	default:
		redis_text_add(t, r->str, r->len);
	}
}

void redis_render(struct redis_text *t, enum redis_format format, struct span command, const redisReply *r)
{
	switch (format) {
	case REDIS_JSON:
		render_json(t, command, r);
		break;
	case REDIS_RAW:
		render_raw(t, r);
		break;
	case REDIS_TEXT:
	case REDIS_BINARY:
		render_text(t, r);
		break;
	}
}

static void add_without_prefix(struct redis_text *t, struct span name, size_t prefix_len)
{
	prefix_len = MIN(prefix_len, name.len);
	redis_text_add_json(t, span_of(name.ptr + prefix_len, name.len - prefix_len));
	add_lit(t, ",");
}

void redis_render_message(struct redis_text *t, const struct redis_message *m, size_t prefix_len)
{
	if (m->pattern.ptr) {
		add_lit(t, "{\"PSUBSCRIBE\":[\"pmessage\",");
		add_without_prefix(t, m->pattern, prefix_len);
	} else {
		add_lit(t, "{\"SUBSCRIBE\":[\"message\",");
	}
	add_without_prefix(t, m->channel, prefix_len);
	redis_text_add_json(t, m->payload);
	add_lit(t, "]}");
}

static unsigned status_of_error(struct span text)
{
	switch (redis_error_of(text)) {
	case REDIS_ERROR_DENIED:
		return 403;
	case REDIS_ERROR_SETUP:
		return 502;
	case REDIS_ERROR_FULL:
	case REDIS_ERROR_LATER:
		return 503;
	default:
		return 400;
	}
}

unsigned redis_status_of(const redisReply *r, enum redis_format format)
{
	if (r->type == REDIS_REPLY_ERROR)
		return status_of_error(text_of(r));
	/* Content cannot say that there is none. */
	if (r->type == REDIS_REPLY_NIL && (format == REDIS_TEXT || format == REDIS_BINARY))
		return 404;
	if (r->type == REDIS_REPLY_ARRAY && format == REDIS_BINARY)
		return 406;
	return 200;
}

struct span redis_type_of(enum redis_format format)
{
	switch (format) {
	case REDIS_JSON:
		return SPAN("application/json");
	case REDIS_TEXT:
		return SPAN("text/plain; charset=utf-8");
	default:
		return SPAN("application/octet-stream");
	}
}
