/* SPDX-License-Identifier: MIT */
/*
 * What a client is sent.  A message of a channel is one piece of memory with its header in front, the same for all of
 * its subscribers; only bytes of this connection alone (pongs, echoes, close) are copied.
 */
#include <stdlib.h>

#include "app/websocket_internal.h"
#include "base/err.h"

/* Messages that leave in one call. */
#define BATCH 16
#define OUT_MIN 256u

/* Frames ------------------------------------------------------------------------------------------------------ */

/* wslay gives header and payload apart; the payload is where it shall be already. */
static ssize_t on_framed(const uint8_t *bytes, size_t len, int flags, void *ctx)
{
	struct websockets *w = ctx;

	if (bytes == w->framed)
		return (ssize_t)len;
	if (w->head_len + len > sizeof(w->head))
		return -1;
	memcpy(w->head + w->head_len, bytes, len);
	w->head_len += (unsigned)len;
	return (ssize_t)len;
}

int websocket_init_framer(struct websockets *w)
{
	const struct wslay_frame_callbacks callbacks = { .send_callback = on_framed };

	return wslay_frame_context_init(&w->framer, &callbacks, w) == 0 ? 0 : -ENOMEM;
}

/* The header of a frame with that payload; `rsv`: WSLAY_RSV1_BIT where it is deflated. */
static struct span head_of(struct websockets *w, enum wslay_opcode opcode, uint8_t rsv, struct span payload)
{
	struct wslay_frame_iocb frame = {
		.fin = 1,
		.rsv = rsv,
		.opcode = (uint8_t)opcode,
		.payload_length = payload.len,
		.data = (const uint8_t *)payload.ptr,
		.data_length = payload.len,
	};

	w->framed = payload.ptr;
	w->head_len = 0;
	BUG_ON(wslay_frame_send(w->framer, &frame) != (ssize_t)payload.len);
	return span_of(w->head, w->head_len);
}

static enum wslay_opcode opcode_of(bool is_text)
{
	return is_text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME;
}

static void frame_message(struct websockets *w, struct channel_message *m)
{
	struct span head;

	if (m->head_len)
		return;
	head = head_of(w, opcode_of(m->is_text), 0, span_of(m->data, m->len));
	memcpy(m->head + sizeof(m->head) - head.len, head.ptr, head.len);
	m->head_len = (uint8_t)head.len;
}

static struct channel_form *make_deflated(struct websockets *w, const struct channel_message *m)
{
	struct websocket_body body = { 0 };
	struct channel_form *form;
	bool is_worth = websocket_deflate(w, span_of(m->data, m->len), &body);

	form = channel_form_new(is_worth ? CHANNEL_HEAD_MAX + body.len : 0);
	if (form && is_worth) {
		struct span head = head_of(w, opcode_of(m->is_text), WSLAY_RSV1_BIT, span_of(body.bytes, body.len));

		memcpy(form->bytes, head.ptr, head.len);
		memcpy(form->bytes + head.len, body.bytes, body.len);
		form->len = head.len + body.len;
	}
	websocket_body_drop(&body);
	return form;
}

/* The whole frame; NULL: it is sent as it is. */
static struct channel_form *deflated_of(struct websocket *ws, struct channel_message *m)
{
	struct channel_form **form = &m->forms[CHANNEL_FORM_DEFLATED];

	if (!ws->is_deflated)
		return NULL;
	if (!*form)
		*form = make_deflated(ws->owner, m);
	return *form && (*form)->len ? *form : NULL;
}

/* What is sent of a message; ptr is NULL without memory. */
static struct span bytes_of(struct websocket *ws, struct channel_message *m, struct hold **ret_hold)
{
	struct channel_form *form = ws->is_stream ? websocket_event_of(m) : deflated_of(ws, m);

	if (!form && !ws->is_stream) {
		frame_message(ws->owner, m);
		*ret_hold = &m->hold;
		return span_of(m->data - m->head_len, (size_t)m->head_len + m->len);
	}
	*ret_hold = form ? &form->hold : NULL;
	return form ? span_of(form->bytes, form->len) : span_of(NULL, 0);
}

/* Of our own -------------------------------------------------------------------------------------------------- */

bool websocket_add(struct websocket *ws, const void *bytes, size_t len)
{
	struct websocket_out *out = ws->out;
	size_t needed = (out ? out->len : 0) + len;

	if (needed > UINT32_MAX / 2)
		return false;
	if (!out || needed > out->cap) {
		size_t cap = MAX(out ? MAX(needed, (size_t)out->cap * 2) : needed, OUT_MIN);

		out = realloc(out, sizeof(*out) + cap);
		if (!out)
			return false;
		if (!ws->out)
			out->at = out->len = 0;
		out->cap = (uint32_t)cap;
		ws->out = out;
	}
	memcpy(out->bytes + out->len, bytes, len);
	out->len += (uint32_t)len;
	return true;
}

size_t websocket_unsent(const struct websocket *ws)
{
	return (ws->out ? ws->out->len - ws->out->at : 0) + ws->part_len;
}

static bool add_frame(struct websocket *ws, enum wslay_opcode opcode, uint8_t rsv, struct span payload)
{
	struct span head;

	if (!payload.ptr)
		payload = SPAN("");
	head = head_of(ws->owner, opcode, rsv, payload);
	return websocket_add(ws, head.ptr, head.len) && websocket_add(ws, payload.ptr, payload.len);
}

bool websocket_add_frame(struct websocket *ws, enum wslay_opcode opcode, struct span payload)
{
	return add_frame(ws, opcode, 0, payload);
}

bool websocket_say(struct websocket *ws, bool is_text, struct span data)
{
	struct websocket_body body = { 0 };
	bool is_added;

	if (ws->is_deflated && websocket_deflate(ws->owner, data, &body))
		is_added = add_frame(ws, opcode_of(is_text), WSLAY_RSV1_BIT, span_of(body.bytes, body.len));
	else
		is_added = add_frame(ws, opcode_of(is_text), 0, data);
	ws->owner->stats->messages_out += is_added;
	websocket_body_drop(&body);
	return is_added;
}

bool websocket_add_close(struct websocket *ws, unsigned code, const char *text)
{
	char payload[WEBSOCKET_MESSAGE_MIN];
	size_t len = MIN(strlen(text), sizeof(payload) - 2);

	payload[0] = (char)(code >> 8);
	payload[1] = (char)code;
	memcpy(payload + 2, text, len);
	return websocket_add_frame(ws, WSLAY_CONNECTION_CLOSE, span_of(payload, len + 2));
}

/* Writing ----------------------------------------------------------------------------------------------------- */

static enum websocket_flush wait_for_room(struct websocket *ws)
{
	if (conn_want_write(ws->conn) < 0)
		return WEBSOCKET_BROKEN;
	if (!ws->is_blocked) {
		ws->is_blocked = true;
		if (ws->state == WEBSOCKET_OPEN && !ws->is_pinged)
			ws->since_ms = ws->owner->loop->now_ms;
		websocket_watch_time(ws);
	}
	return WEBSOCKET_STUCK;
}

/* Bytes that the kernel took, or what keeps it from taking any. */
static enum websocket_flush write_some(struct websocket *ws, const struct iovec *iov, int count, size_t *ret_written)
{
	ssize_t n = conn_writev(ws->conn, iov, count, false);

	*ret_written = 0;
	if (n == -EAGAIN)
		return wait_for_room(ws);
	if (n < 0)
		return WEBSOCKET_BROKEN;
	*ret_written = (size_t)n;
	ws->bytes_sent += (uint64_t)n;
	ws->owner->stats->bytes_out += (uint64_t)n;
	if (n && ws->is_blocked && ws->state == WEBSOCKET_OPEN && !ws->is_pinged)
		ws->since_ms = ws->owner->loop->now_ms;
	return WEBSOCKET_FLUSHED;
}

static void drop_part(struct websocket *ws)
{
	hold_put(ws->part);
	ws->part = NULL;
	ws->part_len = 0;
}

static enum websocket_flush flush_part(struct websocket *ws)
{
	while (ws->part) {
		struct iovec iov = { (void *)ws->part_bytes, ws->part_len };
		size_t n;
		enum websocket_flush result = write_some(ws, &iov, 1, &n);

		if (result != WEBSOCKET_FLUSHED)
			return result;
		ws->part_bytes += n;
		ws->part_len -= (uint32_t)n;
		if (ws->part_len == 0)
			drop_part(ws);
	}
	return WEBSOCKET_FLUSHED;
}

static enum websocket_flush flush_out(struct websocket *ws)
{
	while (ws->out) {
		struct websocket_out *out = ws->out;
		struct iovec iov = { out->bytes + out->at, out->len - out->at };
		size_t n;
		enum websocket_flush result = write_some(ws, &iov, 1, &n);

		if (result != WEBSOCKET_FLUSHED)
			return result;
		out->at += (uint32_t)n;
		if (out->at == out->len) {
			free(out);
			ws->out = NULL;
		}
	}
	return WEBSOCKET_FLUSHED;
}

enum websocket_flush websocket_flush(struct websocket *ws)
{
	enum websocket_flush result = flush_part(ws);

	if (result == WEBSOCKET_FLUSHED)
		result = flush_out(ws);
	if (result != WEBSOCKET_FLUSHED)
		return result;
	ws->is_blocked = false;
	if (ws->state == WEBSOCKET_ENDING && !ws->has_shut) {
		ws->has_shut = true;
		conn_shutdown_write(ws->conn);
	}
	return WEBSOCKET_FLUSHED;
}

void websocket_drop_output(struct websocket *ws)
{
	drop_part(ws);
	free(ws->out);
	ws->out = NULL;
}

/* Messages of the channel ------------------------------------------------------------------------------------- */

struct batch {
	struct iovec iov[BATCH];
	struct hold *holds[BATCH];
	int count;
};

static bool gather(struct websocket *ws, struct batch *b)
{
	struct channel_message *m = channel_next(&ws->sub);

	for (b->count = 0; m && b->count < BATCH; m = m->next) {
		struct span bytes = bytes_of(ws, m, &b->holds[b->count]);

		if (!bytes.ptr)
			return false;
		b->iov[b->count++] = (struct iovec){ (void *)bytes.ptr, bytes.len };
	}
	return true;
}

/* The kernel took `n` bytes of it: the rest of a message that it took a part of is kept. */
static void settle_batch(struct websocket *ws, const struct batch *b, size_t n)
{
	for (int i = 0; i < b->count && n > 0; i++) {
		size_t len = b->iov[i].iov_len;

		channel_advance(&ws->sub);
		ws->owner->stats->messages_out++;
		if (n < len) {
			ws->part = hold_get(b->holds[i]);
			ws->part_bytes = (const char *)b->iov[i].iov_base + n;
			ws->part_len = (uint32_t)(len - n);
			return;
		}
		n -= len;
	}
}

static enum channel_progress fail(struct websocket *ws, enum close_reason reason)
{
	websocket_die(ws, reason);
	return CHANNEL_GONE;
}

static enum channel_progress on_message(struct channel_subscriber *s)
{
	struct websocket *ws = container_of(s, struct websocket, sub);

	for (;;) {
		enum websocket_flush result = websocket_flush(ws);
		struct batch b;
		size_t n;

		if (result == WEBSOCKET_FLUSHED && !channel_next(s))
			return CHANNEL_DONE;
		if (result == WEBSOCKET_FLUSHED) {
			if (!gather(ws, &b))
				return fail(ws, CLOSE_MEMORY);
			result = write_some(ws, b.iov, b.count, &n);
		}
		if (result == WEBSOCKET_STUCK)
			return CHANNEL_BLOCKED;
		if (result == WEBSOCKET_BROKEN)
			return fail(ws, CLOSE_WEBSOCKET_ABORT);
		settle_batch(ws, &b, n);
	}
}

static void on_drop(struct channel_subscriber *s, enum channel_drop why)
{
	struct websocket *ws = container_of(s, struct websocket, sub);

	if (why == CHANNEL_DROP_SLOW) {
		ws->owner->stats->slow++;
		websocket_close(ws, 1013, "too slow", CLOSE_SUBSCRIBER_SLOW);
	} else {
		ws->owner->stats->told_lost++;
		websocket_close(ws, 1013, "messages were lost", CLOSE_SUBSCRIBER_LOST);
	}
}

const struct channel_subscriber_ops websocket_subscriber_ops = {
	.on_message = on_message,
	.on_drop = on_drop,
};
