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
bool websocket_origin_allowed(const struct websocket_endpoint *e, const struct request *req)
{
	struct span origin = websocket_field(req, SPAN("Origin"));

	if (!has_field(req, SPAN("Origin")))
		return true;
	if (!origin.ptr)
		return false;
	for (unsigned i = 0; i < e->origin_count; i++)
		if (strcmp(e->origins[i], "*") == 0 || span_ieq(origin, span_str(e->origins[i])))
			return true;
	return is_same_host(origin, req);
}

bool websocket_wants(const struct request *req)
{
	return req->method == METHOD_GET && req->framing == BODY_NONE && req->has_upgrade &&
	       span_list_has(request_header(req, HEADER_UPGRADE), SPAN("websocket"));
}

unsigned websocket_check(const struct request *req)
{
	struct span key = websocket_field(req, SPAN("Sec-WebSocket-Key"));

	if (!span_eq(websocket_field(req, SPAN("Sec-WebSocket-Version")), SPAN("13")))
		return 426;
	return key.ptr && websocket_is_key(key) ? 0 : 400;
}

void websocket_ask_for_upgrade(struct reply *reply)
{
	reply_add(reply, SPAN("Upgrade"), SPAN("websocket"));
	reply_add(reply, SPAN("Sec-WebSocket-Version"), SPAN("13"));
	reply_status_page(reply, 426);
}

void websocket_refuse_request(const struct websocket_endpoint *e, struct reply *reply, unsigned status)
{
	e->owner->stats->refused++;
	if (status == 426)
		websocket_ask_for_upgrade(reply);
	else
		reply_status_page(reply, status);
}

bool websocket_accept(const struct websocket_endpoint *e, const struct request *req, struct reply *reply)
{
	struct span deflate = e->has_deflate ? websocket_offer_deflate(req) : span_of(NULL, 0);
	char accept[WEBSOCKET_ACCEPT_LEN];

	websocket_accept_key(websocket_field(req, SPAN("Sec-WebSocket-Key")), accept);
	reply_set_status(reply, 101);
	reply_add(reply, SPAN("Upgrade"), SPAN("websocket"));
	reply_add(reply, SPAN("Sec-WebSocket-Accept"), span_of(accept, sizeof(accept)));
	if (deflate.ptr)
		reply_add(reply, SPAN("Sec-WebSocket-Extensions"), deflate);
	reply->is_upgrade = true;
	reply_begin(reply, REPLY_LENGTH_UNKNOWN);
	return deflate.ptr != NULL;
}
