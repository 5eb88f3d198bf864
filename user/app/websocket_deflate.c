/* SPDX-License-Identifier: MIT */
/*
 * permessage-deflate (RFC 7692) without context takeover: each message is compressed for itself.  So a connection
 * needs no memory for it, one inflater and one deflater serve the whole worker, and a channel's message is compressed
 * once for all.  The window of what we send is 4 KiB, which every client that limits it (mostly to 12 bits) can take.
 */
#include <stdlib.h>
#include <zlib.h>

#include "app/websocket_internal.h"
#include "base/err.h"

#define WINDOW_BITS 12
#define MEM_LEVEL   5
#define LEVEL	    6
/* Shorter ones hardly become smaller. */
#define MIN_LEN	    64u
#define PIECE	    16384u

struct websocket_deflate {
	z_stream deflater, inflater;
	char piece[PIECE];
};

/* What every message ends with, and nobody sends (7.2.1). */
static const char tail[] = { 0x00, 0x00, (char)0xff, (char)0xff };

static struct websocket_deflate *open_deflate(struct websockets *w)
{
	struct websocket_deflate *d = w->deflate;

	if (d)
		return d;
	d = calloc(1, sizeof(*d));
	if (!d)
		return NULL;
	if (deflateInit2(&d->deflater, LEVEL, Z_DEFLATED, -WINDOW_BITS, MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
		goto no_deflater;
	if (inflateInit2(&d->inflater, -MAX_WBITS) != Z_OK)
		goto no_inflater;
	w->deflate = d;
	return d;
no_inflater:
	deflateEnd(&d->deflater);
no_deflater:
	free(d);
	return NULL;
}

void websocket_close_deflate(struct websockets *w)
{
	if (!w->deflate)
		return;
	deflateEnd(&w->deflate->deflater);
	inflateEnd(&w->deflate->inflater);
	free(w->deflate);
	w->deflate = NULL;
}

/* Messages ---------------------------------------------------------------------------------------------------- */

bool websocket_deflate(struct websockets *w, struct span data, struct websocket_body *to)
{
	struct websocket_deflate *d = data.len >= MIN_LEN ? open_deflate(w) : NULL;
	z_stream *z;

	if (!d)
		return false;
	z = &d->deflater;
	deflateReset(z);
	z->next_in = (Bytef *)data.ptr;
	z->avail_in = (uInt)data.len;
	do {
		size_t n;

		z->next_out = (Bytef *)d->piece;
		z->avail_out = PIECE;
		if (deflate(z, Z_SYNC_FLUSH) == Z_STREAM_ERROR)
			return false;
		n = PIECE - z->avail_out;
		if (to->len + n >= data.len || !websocket_body_add(to, span_of(d->piece, n)))
			return false;
	} while (z->avail_out == 0);
	if (to->len < sizeof(tail) || memcmp(to->bytes + to->len - sizeof(tail), tail, sizeof(tail)) != 0)
		return false;
	to->len -= sizeof(tail);
	return to->len > 0;
}

static enum websocket_inflate inflate_all(struct websocket_deflate *d, struct span in, size_t max,
					  struct websocket_body *to)
{
	z_stream *z = &d->inflater;

	z->next_in = (Bytef *)in.ptr;
	z->avail_in = (uInt)in.len;
	do {
		int result;
		size_t n;

		z->next_out = (Bytef *)d->piece;
		z->avail_out = PIECE;
		result = inflate(z, Z_SYNC_FLUSH);
		n = PIECE - z->avail_out;
		if (to->len + n > max)
			return WEBSOCKET_INFLATE_LONG;
		if (!websocket_body_add(to, span_of(d->piece, n)) || result == Z_MEM_ERROR)
			return WEBSOCKET_INFLATE_MEMORY;
		/* A block with the final bit ends the stream (7.2.3.4): behind it comes an empty block at most. */
		if (result == Z_STREAM_END)
			return z->avail_in <= sizeof(tail) + 1 ? WEBSOCKET_INFLATED : WEBSOCKET_INFLATE_BROKEN;
		if (result != Z_OK && result != Z_BUF_ERROR)
			return WEBSOCKET_INFLATE_BROKEN;
	} while (z->avail_out == 0);
	return WEBSOCKET_INFLATED;
}

enum websocket_inflate websocket_inflate(struct websockets *w, struct websocket_body *data, size_t max,
					 struct websocket_body *to)
{
	struct websocket_deflate *d = open_deflate(w);
	enum websocket_inflate result;

	if (!d || !websocket_body_add(data, span_of(tail, sizeof(tail))))
		return WEBSOCKET_INFLATE_MEMORY;
	inflateReset(&d->inflater);
	result = inflate_all(d, span_of(data->bytes, data->len), max, to);
	w->inflated += to->len;
	return result;
}

/* Negotiation (7.1) ------------------------------------------------------------------------------------------- */

/* Takes "name" or "name=value" off the parameters.  False: there is none. */
static bool next_param(struct span *rest, struct span *ret_name, struct span *ret_value)
{
	const char *end, *equals;
	struct span param;

	if (rest->len == 0)
		return false;
	end = memchr(rest->ptr, ';', rest->len);
	param = span_of(rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len);
	*rest = end ? span_of(end + 1, rest->len - param.len - 1) : span_of(NULL, 0);
	equals = param.len ? memchr(param.ptr, '=', param.len) : NULL;
	*ret_value = span_of(NULL, 0);
	if (equals) {
		*ret_value = span_trim(span_of(equals + 1, param.len - (size_t)(equals + 1 - param.ptr)));
		param.len = (size_t)(equals - param.ptr);
	}
	*ret_name = span_trim(param);
	return true;
}

/* 0: it is none. */
static uint64_t bits_of(struct span value)
{
	uint64_t bits;

	if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"')
		value = span_of(value.ptr + 1, value.len - 2);
	return span_to_u64(value, &bits) == 0 && bits >= 8 && bits <= MAX_WBITS ? bits : 0;
}

enum param { SERVER_TAKEOVER, CLIENT_TAKEOVER, SERVER_BITS, CLIENT_BITS, PARAM_COUNT };

/* Is it one that can be taken?  Its window for us: *ret_bits, 0 where it leaves that open. */
static bool can_take(struct span offer, uint64_t *ret_bits)
{
	static const struct span names[PARAM_COUNT] = {
		[SERVER_TAKEOVER] = { "server_no_context_takeover", 26 },
		[CLIENT_TAKEOVER] = { "client_no_context_takeover", 26 },
		[SERVER_BITS] = { "server_max_window_bits", 22 },
		[CLIENT_BITS] = { "client_max_window_bits", 22 },
	};
	bool is_seen[PARAM_COUNT] = { false };
	struct span name, value;

	*ret_bits = 0;
	if (!next_param(&offer, &name, &value) || value.ptr || !span_ieq(name, SPAN("permessage-deflate")))
		return false;
	while (next_param(&offer, &name, &value)) {
		unsigned i = 0;

		while (i < PARAM_COUNT && !span_ieq(name, names[i]))
			i++;
		if (i == PARAM_COUNT || is_seen[i])
			return false;
		is_seen[i] = true;
		if (i < SERVER_BITS ? value.ptr != NULL : (value.ptr || i == SERVER_BITS) && !bits_of(value))
			return false;
		if (i == SERVER_BITS)
			*ret_bits = bits_of(value);
	}
	return *ret_bits == 0 || *ret_bits >= WINDOW_BITS;
}

struct span websocket_offer_deflate(const struct request *req)
{
#define TAKEN "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	_Static_assert(WINDOW_BITS == 12, "said below");

	for (unsigned i = 0; i < req->field_count; i++) {
		struct span list = req->fields[i].value, offer;
		uint64_t bits;

		if (!span_ieq(req->fields[i].name, SPAN("Sec-WebSocket-Extensions")))
			continue;
		while (span_next_item(&list, &offer))
			if (can_take(offer, &bits))
				return bits ? SPAN(TAKEN "; server_max_window_bits=12") : SPAN(TAKEN);
	}
	return span_of(NULL, 0);
}
