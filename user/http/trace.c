/* SPDX-License-Identifier: MIT */
/* Request ids and traceparent; see trace.h. */
#include "http/trace.h"

#include "base/random.h"

/* "00-" 32 digits "-" 16 digits "-" 2 digits */
#define PARENT_LEN 55

static bool is_lower_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool is_id_byte(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr("._~+/=-", c));
}

static void add_random(struct buf *b)
{
	buf_add_hex16(b, random_u64());
}

static bool is_request_id(struct span value)
{
	for (size_t i = 0; i < value.len; i++)
		if (!is_id_byte(value.ptr[i]))
			return false;
	return value.len > 0 && value.len <= REQUEST_ID_MAX;
}

void trace_print_request_id(struct buf *b, const struct request *req)
{
	struct span value = request_only_header(req, HEADER_X_REQUEST_ID);

	if (is_request_id(value)) {
		buf_add_span(b, value);
		return;
	}
	add_random(b);
	add_random(b);
}

/* `len` digits, not all of them 0. */
static bool is_id(const char *digits, size_t len)
{
	bool has_value = false;

	for (size_t i = 0; i < len; i++) {
		if (!is_lower_hex(digits[i]))
			return false;
		has_value |= digits[i] != '0';
	}
	return has_value;
}

static bool is_byte(const char *digits)
{
	return is_lower_hex(digits[0]) && is_lower_hex(digits[1]);
}

/* A later version may have more behind another '-'; ff is none. */
bool trace_is_parent(struct span value)
{
	const char *p = value.ptr;

	if (value.len < PARENT_LEN || !is_byte(p) || memcmp(p, "ff", 2) == 0)
		return false;
	if (value.len > PARENT_LEN && (memcmp(p, "00", 2) == 0 || p[PARENT_LEN] != '-'))
		return false;
	return p[2] == '-' && is_id(p + 3, 32) && p[35] == '-' && is_id(p + 36, 16) &&
	       p[52] == '-' && is_byte(p + 53);
}

/* An id must not be 0: once in 2^64 times. */
static void add_span_id(struct buf *b)
{
	static const char zeros[] = "0000000000000000";
	size_t start = b->len;

	add_random(b);
	if (!b->is_truncated && memcmp(b->ptr + start, zeros, 16) == 0)
		b->ptr[start] = '1';
}

bool trace_print_parent(struct buf *b, const struct request *req, bool makes_one, bool *ret_is_new)
{
	struct span value = request_only_header(req, HEADER_TRACEPARENT);

	*ret_is_new = !trace_is_parent(value);
	if (!*ret_is_new) {
		buf_add_span(b, value);
		return true;
	}
	if (!makes_one)
		return false;
	buf_add_lit(b, "00-");
	add_random(b);
	add_span_id(b);
	buf_add_char(b, '-');
	add_span_id(b);
	/* Sampled: who asks for traces here wants the services behind to record them. */
	buf_add_lit(b, "-01");
	return true;
}
