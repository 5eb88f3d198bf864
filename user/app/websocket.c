/* SPDX-License-Identifier: MIT */
/* The handler: what a request asks for, and the routes; see websocket.h. */
#include "app/websocket_internal.h"

#include <stdlib.h>

#include "base/err.h"

static void refuse(const struct websocket_route *route, struct reply *reply, unsigned status)
{
	route->owner->stats->refused++;
	reply_status_page(reply, status);
}

/* RFC 9110 15.5.22: what else than a WebSocket may be had there is for the documentation to say. */
static void ask_for_upgrade(struct reply *reply)
{
	reply_add(reply, SPAN("Upgrade"), SPAN("websocket"));
	reply_add(reply, SPAN("Sec-WebSocket-Version"), SPAN("13"));
	reply_status_page(reply, 426);
}

static void open_socket(struct websocket_route *route, const struct request *req, struct reply *reply)
{
	struct span key = websocket_field(req, SPAN("Sec-WebSocket-Key"));
	struct span version = websocket_field(req, SPAN("Sec-WebSocket-Version"));
	struct span deflate = route->has_deflate ? websocket_offer_deflate(req) : span_of(NULL, 0);
	char accept[WEBSOCKET_ACCEPT_LEN];

	if (!span_eq(version, SPAN("13"))) {
		route->owner->stats->refused++;
		ask_for_upgrade(reply);
		return;
	}
	if (!key.ptr || !websocket_is_key(key)) {
		refuse(route, reply, 400);
		return;
	}
	websocket_accept_key(key, accept);
	reply_set_status(reply, 101);
	reply_add(reply, SPAN("Upgrade"), SPAN("websocket"));
	reply_add(reply, SPAN("Sec-WebSocket-Accept"), span_of(accept, sizeof(accept)));
	if (deflate.ptr)
		reply_add(reply, SPAN("Sec-WebSocket-Extensions"), deflate);
	reply->is_upgrade = true;
	reply_begin(reply, REPLY_LENGTH_UNKNOWN);
	reply_detach(reply, &websocket_detached_ops,
		     &route->entries[deflate.ptr ? WEBSOCKET_DEFLATED : WEBSOCKET_PLAIN], websocket_on_detached);
}

static void open_stream(struct websocket_route *route, const struct request *req, struct reply *reply)
{
	struct span origin = websocket_field(req, SPAN("Origin"));

	reply_add(reply, SPAN("Content-Type"), SPAN("text/event-stream"));
	reply_add(reply, SPAN("Cache-Control"), SPAN("no-store"));
	/* Some proxies in front gather answers otherwise. */
	reply_add(reply, SPAN("X-Accel-Buffering"), SPAN("no"));
	reply_add(reply, SPAN("Vary"), SPAN("Origin"));
	if (origin.ptr)
		reply_add(reply, SPAN("Access-Control-Allow-Origin"), origin);
	reply->is_until_close = true;
	reply_begin(reply, REPLY_LENGTH_UNKNOWN);
	reply_detach(reply, &websocket_detached_ops, &route->entries[WEBSOCKET_STREAM], websocket_on_detached);
}

static void on_request(struct request *req, struct reply *reply, void *conf)
{
	bool is_plain_get = req->method == METHOD_GET && req->framing == BODY_NONE;
	struct websocket_route *route = conf;

	reply->ctx = NULL;
	if (req->method == METHOD_POST && route->channel) {
		websocket_on_post(route, req, reply);
		return;
	}
	if (req->method != METHOD_GET && req->method != METHOD_HEAD) {
		reply_add(reply, SPAN("Allow"), route->channel ? SPAN("GET, HEAD, POST") : SPAN("GET, HEAD"));
		reply_status_page(reply, 405);
		return;
	}
	if (!websocket_origin_allowed(route, req)) {
		refuse(route, reply, 403);
		return;
	}
	if (route->owner->is_draining) {
		reply->must_close = true;
		reply_add(reply, SPAN("Retry-After"), SPAN("1"));
		reply_status_page(reply, 503);
		return;
	}
	if (is_plain_get && req->has_upgrade && span_list_has(request_header(req, HEADER_UPGRADE), SPAN("websocket")))
		open_socket(route, req, reply);
	else if (is_plain_get && route->channel && websocket_wants_stream(req))
		open_stream(route, req, reply);
	else
		ask_for_upgrade(reply);
}

static uint64_t body_max(const void *conf)
{
	return ((const struct websocket_route *)conf)->message_max;
}

const struct handler_ops websocket_ops = {
	.name = "websocket",
	.on_request = on_request,
	.on_body = websocket_on_body,
	.on_abort = websocket_on_post_abort,
	.body_max = body_max,
};

int websocket_route_new(struct websockets *w, const struct websocket_options *opt, void **ret_conf)
{
	struct websocket_route *route;
	struct span name = span_str(opt->channel);

	if (opt->channel && (name.len == 0 || name.len > CHANNEL_NAME_MAX || opt->message_max > CHANNEL_MESSAGE_MAX))
		return -EINVAL;
	route = malloc(sizeof(*route));
	if (!route)
		return -ENOMEM;
	*route = (struct websocket_route){
		.owner = w,
		.entries = {
			[WEBSOCKET_PLAIN] = { .route = route },
			[WEBSOCKET_DEFLATED] = { .route = route, .is_deflated = true },
			[WEBSOCKET_STREAM] = { .route = route, .is_stream = true },
		},
		.has_deflate = opt->has_deflate,
		.message_max = opt->message_max,
		.frame_max = opt->frame_max,
		.queue_max = opt->queue_max,
		.ping_ms = opt->ping_ms,
		.pong_ms = opt->pong_ms,
		.close_ms = opt->close_ms,
		.write_ms = opt->write_ms,
		.publish = opt->publish,
		.origins = opt->origins,
		.origin_count = opt->origin_count,
	};
	if (opt->channel) {
		route->channel = channel_open(w->hub, name);
		if (!route->channel) {
			free(route);
			return -ENOMEM;
		}
	}
	*ret_conf = route;
	return 0;
}

void websocket_route_free(void *conf)
{
	free(conf);
}
