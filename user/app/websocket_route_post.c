/* SPDX-License-Identifier: MIT */
/*
 * POST to a channel's path: its content is one message.  202: it is on its way to whoever has subscribed; 503: there
 * is no room for it at the moment, nobody has it.
 */
#include <stdlib.h>

#include "app/websocket_route_internal.h"
#include "base/err.h"
#include "base/utf8.h"

/* What has come of it so far; the content is at most the route's message_max, which the session sees to. */
struct post {
	const struct websocket_route *route;
	bool is_text;
	struct websocket_body body;
};

static void free_post(struct reply *reply)
{
	struct post *p = reply->ctx;

	reply->ctx = NULL;
	if (p)
		websocket_body_drop(&p->body);
	free(p);
}

static void answer(struct reply *reply, unsigned status)
{
	free_post(reply);
	if (status == 503)
		reply_add(reply, SPAN("Retry-After"), SPAN("1"));
	if (status != 202) {
		reply_status_page(reply, status);
		return;
	}
	reply_set_status(reply, status);
	reply_begin(reply, 0);
	reply_end(reply);
}

static void publish(struct reply *reply)
{
	struct post *p = reply->ctx;
	const struct websocket_route *route = p->route;
	struct stats_websocket *stats = websockets_stats(route->endpoint.owner);
	struct channel_message *m;

	if (p->is_text && !utf8_is_valid(span_of(p->body.bytes, p->body.len))) {
		stats->refused++;
		answer(reply, 400);
		return;
	}
	m = channel_hub_takes(channel_hub_of(route->channel)) ? channel_message_new(p->is_text, p->body.bytes, p->body.len) : NULL;
	if (!m || channel_publish(route->channel, m) < 0) {
		stats->refused++;
		answer(reply, 503);
		return;
	}
	stats->published++;
	answer(reply, 202);
}

void websocket_on_body(struct request *req, struct reply *reply, struct span data, bool is_last)
{
	/* Only a POST that was let in has a context; of anything else the content is dropped. */
	if (!reply->ctx)
		return;
	if (!websocket_body_add(&((struct post *)reply->ctx)->body, data)) {
		answer(reply, 503);
		return;
	}
	if (is_last)
		publish(reply);
}

void websocket_on_post_abort(struct request *req, struct reply *reply)
{
	free_post(reply);
}

/* Bytes that say they are no text become a binary message. */
static bool is_text(const struct request *req)
{
	struct span type = request_header(req, HEADER_CONTENT_TYPE);
	struct span binary = SPAN("application/octet-stream");

	return type.len < binary.len || !span_ieq(span_of(type.ptr, binary.len), binary);
}

void websocket_on_post(const struct websocket_route *route, struct request *req, struct reply *reply)
{
	struct post *p;

	if (!websocket_may_publish(route, req->peer) || !websocket_origin_allowed(&route->endpoint, req)) {
		websockets_stats(route->endpoint.owner)->refused++;
		answer(reply, 403);
		return;
	}
	p = calloc(1, sizeof(*p));
	if (!p) {
		answer(reply, 503);
		return;
	}
	p->route = route;
	p->is_text = is_text(req);
	reply->ctx = p;
	if (req->framing == BODY_NONE)
		publish(reply);
}
