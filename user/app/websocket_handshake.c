/* SPDX-License-Identifier: MIT */
/* What a request has to say before its connection becomes a WebSocket (RFC 6455 4.2), and who may do what. */
#include <nettle/base64.h>
#include <nettle/sha1.h>

#include "app/websocket_internal.h"
#include "base/err.h"

#define KEY_LEN	  16u
#define KEY_CHARS 24u

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

void websocket_accept_key(struct span key, char out[WEBSOCKET_ACCEPT_LEN])
{
	uint8_t digest[SHA1_DIGEST_SIZE];
	struct sha1_ctx sha1;

	_Static_assert(BASE64_ENCODE_RAW_LENGTH(SHA1_DIGEST_SIZE) == WEBSOCKET_ACCEPT_LEN, "of 20 bytes");
	sha1_init(&sha1);
	sha1_update(&sha1, key.len, (const uint8_t *)key.ptr);
	sha1_update(&sha1, sizeof(guid) - 1, (const uint8_t *)guid);
	sha1_digest(&sha1, sizeof(digest), digest);
	base64_encode_raw(out, sizeof(digest), digest);
}

bool websocket_is_key(struct span key)
{
	uint8_t bytes[BASE64_DECODE_LENGTH(KEY_CHARS)];
	struct base64_decode_ctx base64;
	size_t len = sizeof(bytes);

	if (key.len != KEY_CHARS)
		return false;
	base64_decode_init(&base64);
	return base64_decode_update(&base64, &len, bytes, key.len, key.ptr) && base64_decode_final(&base64) &&
	       len == KEY_LEN;
}

struct span websocket_field(const struct request *req, struct span name)
{
	struct span found = { 0 };

	for (unsigned i = 0; i < req->field_count; i++) {
		if (!span_ieq(req->fields[i].name, name))
			continue;
		if (found.ptr)
			return span_of(NULL, 0);
		found = req->fields[i].value;
	}
	return found;
}

static bool has_field(const struct request *req, struct span name)
{
	for (unsigned i = 0; i < req->field_count; i++)
		if (span_ieq(req->fields[i].name, name))
			return true;
	return false;
}

/* "https://example.org:8443" is of the host that was asked: browsers send the port there as they do in Host. */
static bool is_same_host(struct span origin, const struct request *req)
{
	static const struct span schemes[] = { { "http://", 7 }, { "https://", 8 } };

	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (origin.len > schemes[i].len && span_ieq(span_of(origin.ptr, schemes[i].len), schemes[i]))
			return span_ieq(span_of(origin.ptr + schemes[i].len, origin.len - schemes[i].len),
					req->authority);
	return false;
}

/* Only browsers send it, and only they can be made to ask on behalf of a page from elsewhere. */
bool websocket_origin_allowed(const struct websocket_route *route, const struct request *req)
{
	struct span origin = websocket_field(req, SPAN("Origin"));

	if (!has_field(req, SPAN("Origin")))
		return true;
	if (!origin.ptr)
		return false;
	for (unsigned i = 0; i < route->origin_count; i++)
		if (strcmp(route->origins[i], "*") == 0 || span_ieq(origin, span_str(route->origins[i])))
			return true;
	return is_same_host(origin, req);
}

static bool is_local(const union sock_addr *peer)
{
	union sock_addr a = *peer;

	sock_addr_unmap(&a);
	if (a.any.sa_family == AF_INET)
		return ntohl(a.v4.sin_addr.s_addr) >> 24 == 127;
	return a.any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a.v6.sin6_addr);
}

bool websocket_may_publish(const struct websocket_route *route, const union sock_addr *peer)
{
	return route->publish == WEBSOCKET_PUBLISH_ANY ||
	       (route->publish == WEBSOCKET_PUBLISH_LOCAL && is_local(peer));
}

/* A media range may have parameters ("text/event-stream;q=0.9"). */
bool websocket_wants_stream(const struct request *req)
{
	for (unsigned i = 0; i < req->field_count; i++) {
		struct span list = req->fields[i].value, item;

		if (!span_ieq(req->fields[i].name, SPAN("Accept")))
			continue;
		while (span_next_item(&list, &item)) {
			const char *semicolon = memchr(item.ptr, ';', item.len);
			size_t len = semicolon ? (size_t)(semicolon - item.ptr) : item.len;

			if (span_ieq(span_trim(span_of(item.ptr, len)), SPAN("text/event-stream")))
				return true;
		}
	}
	return false;
}
