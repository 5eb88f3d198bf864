/* SPDX-License-Identifier: MIT */
/*
 * What a client sends, read by wslay: frames, fragments, masks, reserved bits, UTF-8 and close codes are its
 * business, and so are pongs and the answer to a close frame.  Ours are the limits, and what a whole message is for.
 * The content of messages is gathered here: wslay keeps a piece of memory for each fragment, a hundred bytes even for
 * one.
 *
 * A context of wslay is 9 KB, so a connection has one only from the first byte of a message to its last.  wslay does
 * not tell whether it holds a part of a frame's header: the bytes are counted, and only when the last one belongs to
 * a frame that is complete the context is as good as new, and goes to the next who needs one.
 */
#include <stdlib.h>

#include "app/websocket_internal.h"
#include "base/err.h"
#include "base/utf8.h"

#define SPARE_MAX 32u

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *to, size_t len, int flags, void *user)
{
	struct websocket_in *in = user;
	size_t n = MIN(len, in->unread.len);

	if (n == 0) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	memcpy(to, in->unread.ptr, n);
	in->unread = span_of(in->unread.ptr + n, in->unread.len - n);
	in->given += n;
	return (ssize_t)n;
}

/* Pongs, and what answers a close frame.  Behind a close frame of ours nothing is sent any more. */
static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *bytes, size_t len, int flags, void *user)
{
	struct websocket_in *in = user;

	if (in->ws->state == WEBSOCKET_OPEN && !websocket_add(in->ws, bytes, len)) {
		wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
		return -1;
	}
	return (ssize_t)len;
}

static void refuse(struct websocket_in *in, unsigned code, const char *text)
{
	in->fail_code = (uint16_t)code;
	in->fail_text = text;
	wslay_event_shutdown_read(in->ctx);
}

/* Of a client's frame, whose length is in its shortest form: wslay has refused others. */
static size_t head_len(uint64_t payload_len)
{
	return 2 + (payload_len > UINT16_MAX ? 8 : payload_len > 125 ? 2 : 0) + 4;
}

static void on_frame(wslay_event_context_ptr ctx, const struct wslay_event_on_frame_recv_start_arg *frame, void *user)
{
	struct websocket_in *in = user;

	in->used += head_len(frame->payload_length) + frame->payload_length;
	in->is_control = wslay_is_ctrl_frame(frame->opcode);
	/* Only the first frame of a message says that it is deflated (RFC 7692 6.1). */
	if (frame->rsv && (in->is_control || frame->opcode == WSLAY_CONTINUATION_FRAME)) {
		refuse(in, 1002, "");
		return;
	}
	if (in->is_control)
		return;
	in->is_in_message = !frame->fin;
	if (frame->opcode != WSLAY_CONTINUATION_FRAME) {
		in->announced = 0;
		in->is_deflated = wslay_get_rsv1(frame->rsv);
	}
	in->announced += frame->payload_length;
	if (frame->payload_length > in->ws->endpoint->frame_max)
		refuse(in, 1009, "frame too long");
	else if (in->announced > in->ws->endpoint->message_max)
		refuse(in, 1009, "message too long");
}

static void on_chunk(wslay_event_context_ptr ctx, const struct wslay_event_on_frame_recv_chunk_arg *chunk, void *user)
{
	struct websocket_in *in = user;

	if (in->fail_code || in->is_control || in->ws->state != WEBSOCKET_OPEN)
		return;
	if (!websocket_body_add(&in->body, span_of((const char *)chunk->data, chunk->data_length)))
		refuse(in, 1011, "no memory");
}

void websocket_refuse(struct websocket *ws, unsigned code, const char *text)
{
	refuse(ws->in, code, text);
}

static void take_message(struct websocket_in *in, bool is_text, struct span data)
{
	struct websocket *ws = in->ws;

	ws->owner->stats->messages_in++;
	ws->endpoint->ops->on_message(ws, is_text, data);
}

/* wslay has not seen what a deflated message is. */
static void take_deflated(struct websocket_in *in, bool is_text)
{
	struct websocket_body body = { 0 };

	switch (websocket_inflate(in->ws->owner, &in->body, in->ws->endpoint->message_max, &body)) {
	case WEBSOCKET_INFLATED:
		if (is_text && !utf8_is_valid(span_of(body.bytes, body.len)))
			refuse(in, 1007, "");
		else
			take_message(in, is_text, span_of(body.bytes, body.len));
		break;
	case WEBSOCKET_INFLATE_LONG:
		refuse(in, 1009, "message too long");
		break;
	case WEBSOCKET_INFLATE_BROKEN:
		refuse(in, 1007, "cannot be inflated");
		break;
	case WEBSOCKET_INFLATE_MEMORY:
		refuse(in, 1011, "no memory");
		break;
	}
	websocket_body_drop(&body);
}

static void on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *m, void *user)
{
	struct websocket_in *in = user;

	/* wslay finishes what it has begun, a frame that was refused above too. */
	if (in->fail_code)
		return;
	/* A status code has two bytes (RFC 6455 7.1.5); wslay takes one for none. */
	if (m->opcode == WSLAY_CONNECTION_CLOSE && m->msg_length == 1) {
		refuse(in, 1002, "");
		return;
	}
	/* A pong goes out before the echo of what came behind its ping. */
	if (wslay_event_want_write(ctx))
		wslay_event_send(ctx);
	if (in->ws->state != WEBSOCKET_OPEN || wslay_is_ctrl_frame(m->opcode))
		return;
	if (in->is_deflated)
		take_deflated(in, m->opcode == WSLAY_TEXT_FRAME);
	else
		take_message(in, m->opcode == WSLAY_TEXT_FRAME, span_of(in->body.bytes, in->body.len));
	in->body.len = 0;
}

/* Content ----------------------------------------------------------------------------------------------------- */

/* Doubled as it fills: what is only announced takes no memory. */
bool websocket_body_add(struct websocket_body *b, struct span data)
{
	size_t needed = b->len + data.len;

	if (needed > b->cap) {
		size_t cap = MAX(needed, b->cap * 2);
		char *bytes = realloc(b->bytes, cap);

		if (!bytes)
			return false;
		b->bytes = bytes;
		b->cap = cap;
	}
	if (data.len)
		memcpy(b->bytes + b->len, data.ptr, data.len);
	b->len = needed;
	return true;
}

void websocket_body_drop(struct websocket_body *b)
{
	free(b->bytes);
	*b = (struct websocket_body){ 0 };
}

/* Lending ----------------------------------------------------------------------------------------------------- */

static struct websocket_in *new_input(void)
{
	const struct wslay_event_callbacks callbacks = {
		.recv_callback = on_recv,
		.send_callback = on_send,
		.on_frame_recv_start_callback = on_frame,
		.on_frame_recv_chunk_callback = on_chunk,
		.on_msg_recv_callback = on_message,
	};
	struct websocket_in *in = calloc(1, sizeof(*in));

	if (!in || wslay_event_context_server_init(&in->ctx, &callbacks, in) != 0) {
		free(in);
		return NULL;
	}
	wslay_event_config_set_no_buffering(in->ctx, 1);
	list_init(&in->node);
	return in;
}

static void free_input(struct websocket_in *in)
{
	websocket_body_drop(&in->body);
	wslay_event_context_free(in->ctx);
	free(in);
}

static bool borrow(struct websocket *ws)
{
	struct websockets *w = ws->owner;
	struct list *node = list_pop_front(&w->spare);

	if (node) {
		w->spare_count--;
		ws->in = container_of(node, struct websocket_in, node);
	} else {
		ws->in = new_input();
	}
	if (!ws->in)
		return false;
	ws->in->ws = ws;
	wslay_event_config_set_allowed_rsv_bits(ws->in->ctx, ws->is_deflated ? WSLAY_RSV1_BIT : WSLAY_RSV_NONE);
	return true;
}

void websocket_drop_input(struct websocket *ws)
{
	if (ws->in)
		free_input(ws->in);
	ws->in = NULL;
}

static void give_back_if_idle(struct websocket *ws)
{
	struct websocket_in *in = ws->in;
	struct websockets *w = ws->owner;

	if (in->given != in->used || in->is_in_message)
		return;
	if (w->spare_count >= SPARE_MAX || wslay_event_want_write(in->ctx)) {
		websocket_drop_input(ws);
		return;
	}
	websocket_body_drop(&in->body);
	ws->in = NULL;
	in->ws = NULL;
	w->spare_count++;
	list_push_front(&w->spare, &in->node);
}

void websocket_free_spare(struct websockets *w)
{
	struct list *node;

	while ((node = list_pop_front(&w->spare)))
		free_input(container_of(node, struct websocket_in, node));
	w->spare_count = 0;
}

/* Feeding ----------------------------------------------------------------------------------------------------- */

/* The connection is failed (RFC 6455 7.1.7): the client hears why, if it can still be told. */
static void fail(struct websocket *ws, unsigned code, const char *text)
{
	bool was_open = ws->state == WEBSOCKET_OPEN;

	ws->owner->stats->failed++;
	if (was_open && !websocket_add_close(ws, code, text)) {
		websocket_die(ws, CLOSE_MEMORY);
		return;
	}
	websocket_end(ws, was_open ? CLOSE_WEBSOCKET_ERROR : (enum close_reason)ws->reason);
}

/* wslay takes no more: the client has said goodbye, or wslay has found a fault, and what it answers is queued. */
static void finish(struct websocket *ws, struct websocket_in *in)
{
	bool is_goodbye = wslay_event_get_close_received(in->ctx);
	bool was_open = ws->state == WEBSOCKET_OPEN;

	if (!is_goodbye)
		ws->owner->stats->failed++;
	if (!was_open)
		websocket_end(ws, (enum close_reason)ws->reason);
	else
		websocket_end(ws, is_goodbye ? CLOSE_WEBSOCKET : CLOSE_WEBSOCKET_ERROR);
}

bool websocket_feed(struct websocket *ws, struct span bytes)
{
	struct websocket_in *in;
	int result;

	if (!ws->in && !borrow(ws)) {
		websocket_die(ws, CLOSE_MEMORY);
		return false;
	}
	in = ws->in;
	in->unread = bytes;
	result = wslay_event_recv(in->ctx);
	if (result == 0 && !in->fail_code && wslay_event_want_write(in->ctx))
		result = wslay_event_send(in->ctx);
	if (result == WSLAY_ERR_NOMEM)
		fail(ws, 1011, "no memory");
	else if (result < 0)
		fail(ws, 1002, "");
	else if (in->fail_code)
		fail(ws, in->fail_code, in->fail_text);
	else if (!wslay_event_get_read_enabled(in->ctx))
		finish(ws, in);
	else
		give_back_if_idle(ws);
	return ws->state != WEBSOCKET_GONE;
}
