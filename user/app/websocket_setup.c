/* SPDX-License-Identifier: MIT */
/* What all WebSockets of a worker share, and how they end when the server stops. */
#include <stdlib.h>

#include "app/websocket_internal.h"
#include "base/err.h"

#define KEEP_SOCKETS 256u
/* Between two portions of connections that are closed because the server stops. */
#define DRAIN_STEP_MS 20u

/* As many as it takes to be through in time, evenly; few go one by one, at longer intervals. */
static void on_drain_timer(struct timer *t)
{
	struct websockets *w = container_of(t, struct websockets, drain_timer);
	uint64_t now = w->loop->now_ms;
	uint64_t left_ms = now + DRAIN_STEP_MS < w->drain_end_ms ? w->drain_end_ms - now : DRAIN_STEP_MS;
	uint64_t count = (w->open_count * DRAIN_STEP_MS + left_ms - 1) / left_ms;
	uint64_t wait_ms = w->open_count ? MAX(left_ms / w->open_count, DRAIN_STEP_MS) : 0;

	for (uint64_t i = 0; i < count && !list_is_empty(&w->open); i++) {
		struct websocket *ws = container_of(w->open.next, struct websocket, node);

		websocket_close(ws, 1001, "going away", CLOSE_DRAIN);
	}
	if (w->open_count > 0)
		loop_timer_start(w->loop, t, wait_ms);
}

int websockets_new(struct websockets **ret_websockets)
{
	struct websockets *w = calloc(1, sizeof(*w));

	*ret_websockets = NULL;
	if (!w)
		return -ENOMEM;
	list_init(&w->open);
	list_init(&w->leaving);
	list_init(&w->spare);
	timer_init(&w->drain_timer, on_drain_timer);
	pool_init(&w->pool, sizeof(struct websocket), KEEP_SOCKETS, 0);
	w->hub = channel_hub_new();
	if (!w->hub || websocket_init_framer(w) < 0) {
		websockets_free(w);
		return -ENOMEM;
	}
	*ret_websockets = w;
	return 0;
}

void websockets_free(struct websockets *w)
{
	if (!w)
		return;
	channel_hub_free(w->hub);
	wslay_frame_context_free(w->framer);
	pool_fini(&w->pool);
	free(w);
}

struct channel_hub *websockets_hub(struct websockets *w)
{
	return w->hub;
}

void websockets_start(struct websockets *w, struct loop *loop, struct stats_block *stats,
		      const struct channel_link *link)
{
	w->loop = loop;
	w->block = stats;
	w->stats = &stats->websocket;
	channel_hub_start(w->hub, loop, link);
}

struct stats_websocket *websockets_stats(const struct websockets *w)
{
	return w->stats;
}

bool websockets_is_draining(const struct websockets *w)
{
	return w->is_draining;
}

void *websocket_ctx(const struct websocket *ws)
{
	return ws->ctx;
}

const struct websocket_endpoint *websocket_endpoint_of(const struct websocket *ws)
{
	return ws->endpoint;
}

const union sock_addr *websocket_peer(const struct websocket *ws)
{
	return &ws->conn->peer;
}

void websockets_drain(struct websockets *w, uint64_t within_ms)
{
	if (w->is_draining)
		return;
	w->is_draining = true;
	w->drain_end_ms = w->loop->now_ms + within_ms;
	loop_timer_start(w->loop, &w->drain_timer, 1);
}

void websockets_stop(struct websockets *w)
{
	loop_timer_stop(w->loop, &w->drain_timer);
	websocket_free_spare(w);
	websocket_close_deflate(w);
}
