/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: any bytes of a peer in the lines of the access log, cut at the lines that they
 * hold.  A line of either format fits its buffer, stays one line without controls, and a JSON line
 * is what a JSON reader takes.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/logfile.h"
#include "http/access_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct span next_line(struct span *rest)
{
	const char *end = memchr(rest->ptr, '\n', rest->len);
	struct span line = span_of(rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len);
	size_t used = end ? line.len + 1 : line.len;

	*rest = span_of(rest->ptr + used, rest->len - used);
	return line;
}

static void add_field(struct request *req, enum header_id id, struct span value)
{
	req->fields[req->field_count++] = (struct field){.value = value, .id = id};
	req->known[id] = (uint8_t)req->field_count;
}

static void check_line(const struct buf *b)
{
	BUG_ON(b->is_truncated || b->len == 0);
	for (size_t i = 0; i < b->len; i++)
		BUG_ON((unsigned char)b->ptr[i] < 0x20 || b->ptr[i] == 0x7f);
}

static void check_json(const struct buf *b)
{
	json_error_t error;
	json_t *json = json_loadb(b->ptr, b->len, JSON_ALLOW_NUL, &error);

	BUG_ON(!json_is_object(json));
	json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct request req;
	char memory[LOGFILE_LINE - 1];
	char *copy = malloc(MAX(size, 1u));
	struct span rest = span_of(copy, size);
	struct access_entry e = {.req = &req, .reason = "done", .status = 200};
	struct buf b;

	BUG_ON(!copy);
	memcpy(copy, data, size);
	memset(&req, 0, offsetof(struct request, fields));
	req.method_text = next_line(&rest);
	e.peer_host = next_line(&rest);
	add_field(&req, HEADER_REFERER, next_line(&rest));
	add_field(&req, HEADER_HOST, next_line(&rest));
	add_field(&req, HEADER_X_REQUEST_ID, next_line(&rest));
	req.target = next_line(&rest);
	add_field(&req, HEADER_USER_AGENT, rest);
	buf_init(&b, memory, sizeof(memory));
	access_format_combined(&b, &e);
	check_line(&b);
	buf_init(&b, memory, sizeof(memory));
	access_format_json(&b, &e);
	check_line(&b);
	check_json(&b);
	free(copy);
	return 0;
}
