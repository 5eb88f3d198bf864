/* SPDX-License-Identifier: MIT */
/*
 * WebSocket routes of a configuration, and the channels' way to other workers, the bus, and from here on to other hosts
 * (runtime_channel.c).
 */
#include <stdlib.h>

#include "base/err.h"
#include "proc/bus.h"
#include "proc/runtime_internal.h"

_Static_assert(CHANNEL_MESSAGE_MAX <= BUS_DATA_MAX && CHANNEL_NAME_MAX <= BUS_NAME_MAX, "every message fits the bus");

struct websocket_bus {
	struct bus_port port;
	struct runtime *rt;
	struct channel_hub *hub;
	struct stats_websocket *stats;
	struct channel_waiter waiter;	/* for the channels to catch up, before more is read */
	struct timer retry;		/* of listening, where the kernel refused it */
};

#define RETRY_MS 100u

static bool is_channel(const struct config_route *route)
{
	return route->kind == ROUTE_WEBSOCKET && strcmp(route->value, "echo") != 0;
}

bool runtime_has_channels(const struct config *config)
{
	for (unsigned i = 0; i < config->site_count; i++)
		for (unsigned n = 0; n < config->sites[i].route_count; n++)
			if (is_channel(&config->sites[i].routes[n]))
				return true;
	return false;
}

/* Routes to Redis have some, too. */
static bool has_websockets(const struct config *config)
{
	for (unsigned i = 0; i < config->site_count; i++) {
		for (unsigned n = 0; n < config->sites[i].route_count; n++) {
			enum route_kind kind = config->sites[i].routes[n].kind;

			if (kind == ROUTE_WEBSOCKET || kind == ROUTE_REDIS)
				return true;
		}
	}
	return false;
}

int runtime_open_websockets(struct runtime *rt)
{
	return has_websockets(rt->config) ? websockets_new(&rt->websockets) : 0;
}

void runtime_close_websockets(struct runtime *rt)
{
	websockets_free(rt->websockets);
}

void runtime_fill_endpoint(const struct runtime *rt, const struct config_route *route, struct websocket_endpoint *ret)
{
	const struct config_websocket *ws = &route->websocket;

	*ret = (struct websocket_endpoint){
		.owner = rt->websockets,
		.message_max = ws->message,
		.frame_max = ws->frame,
		.queue_max = ws->queue,
		.has_deflate = ws->has_deflate,
		.ping_ms = ws->ping,
		.pong_ms = ws->pong,
		.close_ms = ws->close,
		.write_ms = rt->config->timeouts.write,
		.origins = (const char *const *)ws->origins,
		.origin_count = ws->origins_count,
	};
}

int runtime_build_websocket(const struct runtime *rt, const struct config_route *route, void **ret_conf)
{
	struct websocket_route_options opt = {
		.channel = is_channel(route) ? strchr(route->value, ':') + 1 : NULL,
		.publish = route->websocket.publish,
	};

	runtime_fill_endpoint(rt, route, &opt.endpoint);
	return websocket_route_new(&opt, ret_conf);
}

/* From and to the bus ----------------------------------------------------------------------------------------- */

static int publish(void *ctx, struct span name, bool is_text, struct span data)
{
	struct websocket_bus *b = ctx;
	int err = bus_publish(&b->port, name, is_text, data);

	if (!err)
		runtime_publish_remote(b->rt, name, is_text, data);
	return err;
}

static void on_interest(void *ctx, bool has_subscribers)
{
	struct websocket_bus *b = ctx;
	int err = bus_listen(&b->port, has_subscribers);

	loop_timer_stop(b->port.loop, &b->retry);
	if (!err)
		return;
	log_error("messages of other workers cannot be heard: %s", strerror(-err));
	loop_timer_start(b->port.loop, &b->retry, RETRY_MS);
}

/* Better told than deaf: who subscribed meanwhile comes back. */
static void on_retry(struct timer *t)
{
	struct websocket_bus *b = container_of(t, struct websocket_bus, retry);

	if (bus_listen(&b->port, true) < 0) {
		loop_timer_start(b->port.loop, t, RETRY_MS);
		return;
	}
	log_info("messages of other workers are heard again");
	channel_hub_lost(b->hub);
}

static void on_message(void *owner, struct span name, bool is_text, struct span data)
{
	struct websocket_bus *b = owner;

	if (channel_receive(b->hub, name, is_text, data) < 0) {
		b->stats->lost++;
		channel_hub_lost(b->hub);
	}
}

static void on_lost(void *owner, uint64_t count)
{
	struct websocket_bus *b = owner;

	b->stats->lost += count;
	channel_hub_lost(b->hub);
}

static void on_relief(struct channel_waiter *w)
{
	bus_port_resume(&container_of(w, struct websocket_bus, waiter)->port);
}

static bool is_busy(void *owner)
{
	struct websocket_bus *b = owner;

	if (!channel_hub_is_busy(b->hub))
		return false;
	channel_hub_wait(b->hub, &b->waiter);
	return true;
}

static const struct bus_ops bus_ops = {
	.on_message = on_message,
	.on_lost = on_lost,
	.is_busy = is_busy,
};

static int open_bus(struct runtime *rt, const struct runtime_options *opt)
{
	struct websocket_bus *b = calloc(1, sizeof(*b));
	int err;

	if (!b)
		return -ENOMEM;
	b->rt = rt;
	b->hub = websockets_hub(rt->websockets);
	b->stats = &opt->stats->websocket;
	list_init(&b->waiter.node);
	b->waiter.on_relief = on_relief;
	timer_init(&b->retry, on_retry);
	err = bus_port_open(&b->port, opt->bus, opt->loop, &bus_ops, b);
	if (err) {
		log_error("cannot join the channels: %s",
			  err == -EBUSY ? "too many workers of earlier generations are there" : strerror(-err));
		free(b);
		return err;
	}
	rt->bus = b;
	return 0;
}

int runtime_start_websockets(struct runtime *rt, const struct runtime_options *opt)
{
	struct channel_link link = { .publish = publish, .on_interest = on_interest };
	int err;

	if (!rt->websockets)
		return 0;
	if (opt->bus && runtime_has_channels(rt->config)) {
		err = open_bus(rt, opt);
		if (err)
			return err;
		link.ctx = rt->bus;
	}
	websockets_start(rt->websockets, opt->loop, opt->stats, rt->bus ? &link : NULL);
	return runtime_start_channels(rt, opt);
}

void runtime_drain_websockets(struct runtime *rt, uint64_t within_ms)
{
	if (rt->websockets)
		websockets_drain(rt->websockets, within_ms);
}

void runtime_stop_websockets(struct runtime *rt)
{
	if (!rt->websockets || !rt->loop)
		return;
	runtime_stop_channels(rt);
	websockets_stop(rt->websockets);
	if (rt->bus) {
		loop_timer_stop(rt->bus->port.loop, &rt->bus->retry);
		bus_port_close(&rt->bus->port);
	}
	free(rt->bus);
	rt->bus = NULL;
}
