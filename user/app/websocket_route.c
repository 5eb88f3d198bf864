/* SPDX-License-Identifier: MIT */
/* The handler: what a request asks for, who may publish, and the routes; see websocket_route.h. */
#include <stdlib.h>

#include "app/websocket_route_internal.h"
#include "base/err.h"

/* Who may do what ----------------------------------------------------------------------------------------------- */

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

/* Connections --------------------------------------------------------------------------------------------------- */

void *websocket_on_detached(void *ctx, const struct detached *d)
{
	const struct websocket_entry *entry = ctx;
	struct websocket_route *route = entry->route;
	void *ws = websocket_open(&route->endpoint, entry->kind, route->channel, route, d);

	if (route->channel)
		channel_expect_end(route->channel);
	return ws;
}

/* Before its client is told. */
static void expect_subscriber(struct websocket_route *route, struct reply *reply)
{
	if (!route->channel)
		return;
	channel_expect(route->channel);
	reply->ctx = route->channel;
}

static void on_abort(struct request *req, struct reply *reply)
{
	if (req->method == METHOD_POST)
		websocket_on_post_abort(req, reply);
	else if (reply->ctx)
		channel_expect_end(reply->ctx);
}

static void publish(struct websocket *ws, const struct websocket_route *route, bool is_text, struct span data)
{
	struct channel_message *m;

	if (!websocket_may_publish(route, websocket_peer(ws))) {
		websocket_refuse(ws, 1008, "may not publish");
		return;
	}
	m = channel_message_new(is_text, data.ptr, data.len);
	if (!m)
		websocket_refuse(ws, 1011, "no memory");
	else if (channel_publish(route->channel, m) < 0)
		websocket_refuse(ws, 1013, "cannot publish");
}

static void on_message(struct websocket *ws, bool is_text, struct span data)
{
	const struct websocket_route *route = websocket_ctx(ws);

	if (route->channel)
		publish(ws, route, is_text, data);
	else if (!websocket_say(ws, is_text, data))
		websocket_refuse(ws, 1011, "no memory");
}

static const struct websocket_ops ops = { .on_message = on_message };

/* Requests ------------------------------------------------------------------------------------------------------ */

static void open_socket(struct websocket_route *route, const struct request *req, struct reply *reply)
{
	unsigned status = websocket_check(req);
	bool is_deflated;

	if (status) {
		websocket_refuse_request(&route->endpoint, reply, status);
		return;
	}
	expect_subscriber(route, reply);
	is_deflated = websocket_accept(&route->endpoint, req, reply);
	reply_detach(reply, &websocket_detached_ops, &route->entries[is_deflated ? WEBSOCKET_DEFLATED : WEBSOCKET_PLAIN],
		     websocket_on_detached);
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
	expect_subscriber(route, reply);
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
	if (!websocket_origin_allowed(&route->endpoint, req)) {
		websocket_refuse_request(&route->endpoint, reply, 403);
		return;
	}
	if (websockets_is_draining(route->endpoint.owner)) {
		reply->must_close = true;
		reply_add(reply, SPAN("Retry-After"), SPAN("1"));
		reply_status_page(reply, 503);
		return;
	}
	if (websocket_wants(req))
		open_socket(route, req, reply);
	else if (is_plain_get && route->channel && websocket_wants_stream(req))
		open_stream(route, req, reply);
	else
		websocket_ask_for_upgrade(reply);
}

static uint64_t body_max(const void *conf)
{
	return ((const struct websocket_route *)conf)->endpoint.message_max;
}

const struct handler_ops websocket_route_ops = {
	.name = "websocket",
	.on_request = on_request,
	.on_body = websocket_on_body,
	.on_abort = on_abort,
	.body_max = body_max,
};

/* Routes -------------------------------------------------------------------------------------------------------- */

int websocket_route_new(const struct websocket_route_options *opt, void **ret_conf)
{
	struct websocket_route *route;
	struct span name = span_str(opt->channel);

	if (opt->channel &&
	    (name.len == 0 || name.len > CHANNEL_NAME_MAX || opt->endpoint.message_max > CHANNEL_MESSAGE_MAX))
		return -EINVAL;
	route = malloc(sizeof(*route));
	if (!route)
		return -ENOMEM;
	*route = (struct websocket_route){ .endpoint = opt->endpoint, .publish = opt->publish };
	route->endpoint.ops = &ops;
	for (unsigned i = 0; i < ARRAY_LEN(route->entries); i++)
		route->entries[i] = (struct websocket_entry){ .route = route, .kind = (enum websocket_kind)i };
	if (opt->channel) {
		route->channel = channel_open(websockets_hub(opt->endpoint.owner), name);
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
