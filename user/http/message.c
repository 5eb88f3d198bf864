/* SPDX-License-Identifier: MIT */
/* Names: of fields, of methods, of status codes. */
#include "http/message.h"

#include <stdlib.h>

#include "base/err.h"

#define X(id, text) [id] = text,
static const char *const header_names[HEADER_COUNT] = {HEADERS(X)};
#undef X

/*
 * Do `len` bytes equal, letters without case?  Works where every byte of `name` is a letter or '-':
 * two bytes may then differ in bit 0x20 only, and only where `name` has the bit 0x40 that marks a
 * letter.  Words at a time, the last one overlapping the one before.
 */
static inline bool word8_ieq(const char *a, const char *name)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, name, sizeof(y));
	return ((x ^ y) & ~((y >> 1) & 0x2020202020202020u)) == 0;
}

static inline bool word4_ieq(const char *a, const char *name)
{
	uint32_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, name, sizeof(y));
	return ((x ^ y) & ~((y >> 1) & 0x20202020u)) == 0;
}

static inline bool byte_ieq(char a, char name)
{
	return ((a ^ name) & ~((name >> 1) & 0x20)) == 0;
}

/* Inlined with a length that is a constant: a few comparisons with constants are left. */
static inline __attribute__((always_inline)) bool name_ieq(const char *a, const char *name, size_t len)
{
	if (len >= 8) {
		for (size_t i = 0; i + 8 < len; i += 8)
			if (!word8_ieq(a + i, name + i))
				return false;
		return word8_ieq(a + len - 8, name + len - 8);
	}
	if (len >= 4)
		return word4_ieq(a, name) && word4_ieq(a + len - 4, name + len - 4);
	while (len > 0 && byte_ieq(a[len - 1], name[len - 1]))
		len--;
	return len == 0;
}

static inline __attribute__((always_inline)) enum header_id one_of(const char *name, size_t len, enum header_id a,
								   enum header_id b, enum header_id c)
{
	if (name_ieq(name, header_names[a], len))
		return a;
	if (b && name_ieq(name, header_names[b], len))
		return b;
	if (c && name_ieq(name, header_names[c], len))
		return c;
	return HEADER_OTHER;
}

/* The length leaves at most three names; a test holds this switch against the table of names. */
static inline __attribute__((always_inline)) enum header_id id_of(struct span name)
{
	switch (name.len) {
	case 2:
		return one_of(name.ptr, 2, HEADER_TE, 0, 0);
	case 3:
		return one_of(name.ptr, 3, HEADER_VIA, 0, 0);
	case 4:
		return one_of(name.ptr, 4, HEADER_HOST, HEADER_DATE, 0);
	case 5:
		return one_of(name.ptr, 5, HEADER_RANGE, 0, 0);
	case 6:
		return one_of(name.ptr, 6, HEADER_EXPECT, HEADER_SERVER, 0);
	case 7:
		return one_of(name.ptr, 7, HEADER_REFERER, HEADER_UPGRADE, HEADER_TRAILER);
	case 8:
		return one_of(name.ptr, 8, HEADER_IF_RANGE, HEADER_IF_MATCH, 0);
	case 9:
		return one_of(name.ptr, 9, HEADER_FORWARDED, 0, 0);
	case 10:
		return one_of(name.ptr, 10, HEADER_CONNECTION, HEADER_USER_AGENT, HEADER_KEEP_ALIVE);
	case 11:
		return one_of(name.ptr, 11, HEADER_TRACEPARENT, 0, 0);
	case 12:
		return one_of(name.ptr, 12, HEADER_CONTENT_TYPE, HEADER_X_REQUEST_ID, 0);
	case 13:
		return one_of(name.ptr, 13, HEADER_IF_NONE_MATCH, 0, 0);
	case 14:
		return one_of(name.ptr, 14, HEADER_CONTENT_LENGTH, 0, 0);
	case 15:
		return one_of(name.ptr, 15, HEADER_ACCEPT_ENCODING, HEADER_X_FORWARDED_FOR, 0);
	case 16:
		return one_of(name.ptr, 16, HEADER_PROXY_CONNECTION, HEADER_X_FORWARDED_HOST, 0);
	case 17:
		return one_of(name.ptr, 17, HEADER_IF_MODIFIED_SINCE, HEADER_TRANSFER_ENCODING,
			      HEADER_X_FORWARDED_PROTO);
	case 19:
		return one_of(name.ptr, 19, HEADER_IF_UNMODIFIED_SINCE, 0, 0);
	default:
		return HEADER_OTHER;
	}
}

enum header_id header_id_of(struct span name)
{
	return id_of(name);
}

uint32_t header_identify(struct field *fields, unsigned from, unsigned to, uint8_t *known)
{
	const struct field *end = fields + to;
	uint32_t duplicates = 0;

	for (struct field *f = fields + from; f < end; f++) {
		enum header_id id = id_of(f->name);

		f->id = id;
		if (id == HEADER_OTHER)
			continue;
		if (known[id])
			duplicates |= 1u << id;
		else
			known[id] = (uint8_t)(f - fields + 1);
	}
	return duplicates;
}

bool header_may_trail(enum header_id id)
{
	switch (id) {
	case HEADER_HOST:
	case HEADER_CONNECTION:
	case HEADER_CONTENT_LENGTH:
	case HEADER_TRANSFER_ENCODING:
	case HEADER_EXPECT:
	case HEADER_UPGRADE:
	case HEADER_TE:
	case HEADER_TRAILER:
	case HEADER_X_FORWARDED_FOR:
	case HEADER_FORWARDED:
	case HEADER_VIA:
	case HEADER_KEEP_ALIVE:
	case HEADER_PROXY_CONNECTION:
		return false;
	default:
		return true;
	}
}

static inline bool is_text(struct span s, const char *text)
{
	return memcmp(s.ptr, text, s.len) == 0;
}

struct span request_only_header(const struct request *req, enum header_id id)
{
	unsigned first = req->known[id];

	/* The loop begins behind the first, for `known` is one more than its index. */
	for (unsigned i = first; i > 0 && i < req->field_count; i++)
		if (req->fields[i].id == id)
			return span_of(NULL, 0);
	return request_header(req, id);
}

/* Methods compare with case (RFC 9110 9.1). */
enum http_method method_of(struct span s)
{
	switch (s.len) {
	case 3:
		return is_text(s, "GET")   ? METHOD_GET
		       : is_text(s, "PUT") ? METHOD_PUT
					   : METHOD_OTHER;
	case 4:
		return is_text(s, "HEAD")   ? METHOD_HEAD
		       : is_text(s, "POST") ? METHOD_POST
					    : METHOD_OTHER;
	case 5:
		return is_text(s, "PATCH")   ? METHOD_PATCH
		       : is_text(s, "TRACE") ? METHOD_TRACE
					     : METHOD_OTHER;
	case 6:
		return is_text(s, "DELETE") ? METHOD_DELETE : METHOD_OTHER;
	case 7:
		return is_text(s, "OPTIONS")   ? METHOD_OPTIONS
		       : is_text(s, "CONNECT") ? METHOD_CONNECT
					       : METHOD_OTHER;
	default:
		return METHOD_OTHER;
	}
}

/* The IANA registry of HTTP status codes. */
static const char *const phrases[] = {
	[100] = "Continue",
	[101] = "Switching Protocols",
	[102] = "Processing",
	[103] = "Early Hints",
	[200] = "OK",
	[201] = "Created",
	[202] = "Accepted",
	[203] = "Non-Authoritative Information",
	[204] = "No Content",
	[205] = "Reset Content",
	[206] = "Partial Content",
	[207] = "Multi-Status",
	[208] = "Already Reported",
	[226] = "IM Used",
	[300] = "Multiple Choices",
	[301] = "Moved Permanently",
	[302] = "Found",
	[303] = "See Other",
	[304] = "Not Modified",
	[305] = "Use Proxy",
	[307] = "Temporary Redirect",
	[308] = "Permanent Redirect",
	[400] = "Bad Request",
	[401] = "Unauthorized",
	[402] = "Payment Required",
	[403] = "Forbidden",
	[404] = "Not Found",
	[405] = "Method Not Allowed",
	[406] = "Not Acceptable",
	[407] = "Proxy Authentication Required",
	[408] = "Request Timeout",
	[409] = "Conflict",
	[410] = "Gone",
	[411] = "Length Required",
	[412] = "Precondition Failed",
	[413] = "Content Too Large",
	[414] = "URI Too Long",
	[415] = "Unsupported Media Type",
	[416] = "Range Not Satisfiable",
	[417] = "Expectation Failed",
	[421] = "Misdirected Request",
	[422] = "Unprocessable Content",
	[423] = "Locked",
	[424] = "Failed Dependency",
	[425] = "Too Early",
	[426] = "Upgrade Required",
	[428] = "Precondition Required",
	[429] = "Too Many Requests",
	[431] = "Request Header Fields Too Large",
	[451] = "Unavailable For Legal Reasons",
	[500] = "Internal Server Error",
	[501] = "Not Implemented",
	[502] = "Bad Gateway",
	[503] = "Service Unavailable",
	[504] = "Gateway Timeout",
	[505] = "HTTP Version Not Supported",
	[506] = "Variant Also Negotiates",
	[507] = "Insufficient Storage",
	[508] = "Loop Detected",
	[511] = "Network Authentication Required",
};

const char *status_phrase(unsigned status)
{
	const char *phrase = status < ARRAY_LEN(phrases) ? phrases[status] : NULL;

	return phrase ? phrase : "Unknown";
}

static struct span keep(char **at, struct span text)
{
	struct span copy = span_of(*at, text.len);

	if (text.len)
		memcpy(*at, text.ptr, text.len);
	*at += text.len;
	return copy;
}

struct request *request_digest(const struct request *req)
{
	static const enum header_id ids[] = {
		HEADER_HOST, HEADER_REFERER, HEADER_USER_AGENT, HEADER_X_REQUEST_ID
	};
	size_t fixed = offsetof(struct request, fields) + ARRAY_LEN(ids) * sizeof(req->fields[0]);
	size_t size = fixed + req->method_text.len + req->target.len;
	struct request *copy;
	char *at;

	for (size_t i = 0; i < ARRAY_LEN(ids); i++)
		size += request_header(req, ids[i]).len;
	copy = calloc(1, size);
	if (!copy)
		return NULL;
	at = (char *)copy + fixed;
	copy->method = req->method;
	copy->version_minor = req->version_minor;
	copy->method_text = keep(&at, req->method_text);
	copy->target = keep(&at, req->target);
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		if (!req->known[ids[i]])
			continue;
		copy->fields[copy->field_count].value = keep(&at, request_header(req, ids[i]));
		copy->fields[copy->field_count].id = ids[i];
		copy->known[ids[i]] = (uint8_t)++copy->field_count;
	}
	return copy;
}
