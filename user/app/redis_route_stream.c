/* SPDX-License-Identifier: MIT */
/*
 * Channels as server-sent events (WHATWG HTML 9.2): GET /SUBSCRIBE/channel, several channels, /PSUBSCRIBE/pattern.
 *
 *   WAITING   the server has not taken all subscriptions yet; may still be answered by an error
 *   OPEN      the reply has begun, messages are written as they come
 *   LEAVING   it becomes a WebSocket as soon as the head is sent, and listens only to keep its place (redis_route_socket.c)
 *
 * An event's data is JSON, ["message","channel","text"] or ["pmessage","pattern","channel","text"] under the command's
 * name as every other answer; with .txt it is the text alone.  One text is made for all streams of a route.  When the
 * connection to the server was lost, an event "gap" says so once it is back: what was published meanwhile is lost.
 */
#include <stdlib.h>

#include "app/redis_route_internal.h"
#include "base/err.h"

#define CHANNELS_MAX 64u
/* A client whose machine is gone shows when something is sent; proxies in between keep a stream that is not silent. */
#define PING_MS	     15000u
/* Until the server has taken the subscriptions. */
#define WAIT_MS	     2000u

enum stream_state { STREAM_WAITING, STREAM_OPEN, STREAM_LEAVING };

struct stream_channel {
	struct redis_subscriber subscriber;
	struct redis_stream *stream;
	bool is_live;
};

struct redis_stream {
	struct redis_ask ask;
	struct list node;		/* in service->streams */
	struct timer timer;
	enum stream_state state;
	enum redis_format format;
	bool is_pattern;
	bool is_socket;			/* to become one */
	bool is_deflated;
	bool has_gap;			/* the connection was lost since the reply began */
	unsigned channel_count, live_count;
	struct stream_channel channels[];
};

/* A message as an event. */
struct event {
	struct hold hold;
	size_t len;
	char text[];
};

static struct loop *loop_of(const struct redis_stream *s)
{
	return redis_server_loop(s->ask.route->service->server);
}

/* The end ------------------------------------------------------------------------------------------------------- */

static void free_stream(struct redis_stream *s)
{
	struct redis_service *service = s->ask.route->service;

	for (unsigned i = 0; i < s->channel_count; i++)
		redis_unsubscribe(&s->channels[i].subscriber);
	loop_timer_stop(loop_of(s), &s->timer);
	list_remove(&s->node);
	if (s->state == STREAM_OPEN)
		service->stats->subscribers--;
	s->ask.reply->ctx = NULL;
	free(s);
}

void redis_stream_abort(struct redis_ask *ask)
{
	free_stream(container_of(ask, struct redis_stream, ask));
}

static void fail_waiting(struct redis_stream *s, unsigned status, const char *why)
{
	struct reply *reply = s->ask.reply;

	free_stream(s);
	redis_refuse(reply, status, why);
}

/* It has begun, and cannot go on. */
static void drop(struct redis_stream *s, const char *why)
{
	struct reply *reply = s->ask.reply;

	s->ask.route->service->stats->streams_dropped++;
	reply->why = why;
	free_stream(s);
	reply_abort(reply);
}

void redis_streams_end(struct redis_service *service)
{
	while (!list_is_empty(&service->streams)) {
		struct redis_stream *s = container_of(service->streams.next, struct redis_stream, node);
		struct reply *reply = s->ask.reply;

		if (s->state == STREAM_WAITING) {
			fail_waiting(s, 503, "drain");
			continue;
		}
		/* What it becomes is told to leave in its turn. */
		if (s->state == STREAM_LEAVING) {
			list_remove(&s->node);
			continue;
		}
		reply->why = "drain";
		free_stream(s);
		reply_end(reply);
	}
}

/* Time ---------------------------------------------------------------------------------------------------------- */

static void on_timer(struct timer *t)
{
	struct redis_stream *s = container_of(t, struct redis_stream, timer);

	if (s->state == STREAM_WAITING) {
		s->ask.route->service->stats->timeouts++;
		fail_waiting(s, 504, redis_failure_name(REDIS_CALL_TIMEOUT));
		return;
	}
	if (reply_queued(s->ask.reply) == 0)
		reply_write(s->ask.reply, ":\n\n", 3);
	loop_timer_start(loop_of(s), &s->timer, PING_MS);
}

/* Events -------------------------------------------------------------------------------------------------------- */

/* A line end within the text begins another line of data (9.2.6): it comes out as LF, whatever it was. */
static void add_lines(struct redis_text *t, struct span text)
{
	size_t from = 0;

	redis_text_add(t, "data: ", 6);
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] != '\n' && text.ptr[i] != '\r')
			continue;
		redis_text_add(t, text.ptr + from, i - from);
		redis_text_add(t, "\ndata: ", 7);
		if (text.ptr[i] == '\r' && i + 1 < text.len && text.ptr[i + 1] == '\n')
			i++;
		from = i + 1;
	}
	redis_text_add(t, text.ptr + from, text.len - from);
}

static void on_event_release(struct hold *h)
{
	free(container_of(h, struct event, hold));
}

static struct event *make_event(const struct redis_stream *s, const struct redis_message *m)
{
	static struct redis_text text;
	struct event *e;

	text.len = 0;
	text.has_failed = false;
	if (s->format == REDIS_JSON) {
		redis_text_add(&text, "data: ", 6);
		redis_render_message(&text, m, s->ask.route->key_prefix.len);
	} else {
		add_lines(&text, m->payload);
	}
	redis_text_add(&text, "\n\n", 2);
	e = text.has_failed ? NULL : malloc(sizeof(*e) + text.len);
	if (!e)
		return NULL;
	hold_init(&e->hold, on_event_release);
	e->len = text.len;
	memcpy(e->text, text.ptr, text.len);
	return e;
}

/* Made once for all streams of the route that have this format; the caller has a reference.  NULL without memory. */
static struct event *event_of(const struct redis_stream *s, struct redis_message *m)
{
	struct redis_form *form = &m->forms[s->format == REDIS_JSON ? 0 : 1];
	struct event *e;

	if (form->hold && form->kind == s->ask.route) {
		hold_get(form->hold);
		return container_of(form->hold, struct event, hold);
	}
	e = make_event(s, m);
	if (e && !form->hold) {
		form->hold = hold_get(&e->hold);
		form->kind = s->ask.route;
	}
	return e;
}

static void on_message(struct redis_subscriber *subscriber, struct redis_message *m)
{
	struct redis_stream *s = container_of(subscriber, struct stream_channel, subscriber)->stream;
	struct event *e;

	/* Of one channel, while another is waited for. */
	if (s->state != STREAM_OPEN)
		return;
	e = event_of(s, m);
	if (!e) {
		drop(s, "no_memory");
		return;
	}
	if (reply_queued(s->ask.reply) + e->len > s->ask.route->stream_max)
		drop(s, "slow_subscriber");
	else
		reply_write_held(s->ask.reply, span_of(e->text, e->len), &e->hold);
	hold_put(&e->hold);
}

static void open_stream(struct redis_stream *s)
{
	static const char hello[] = "retry: 1000\n: subscribed\n\n";
	struct reply *reply = s->ask.reply;

	s->state = STREAM_OPEN;
	s->ask.route->service->stats->streams++;
	s->ask.route->service->stats->subscribers++;
	reply_add(reply, SPAN("Content-Type"), SPAN("text/event-stream"));
	reply_add(reply, SPAN("Cache-Control"), SPAN("no-store"));
	reply_add(reply, SPAN("X-Content-Type-Options"), SPAN("nosniff"));
	reply_begin(reply, REPLY_LENGTH_UNKNOWN);
	reply_write(reply, hello, sizeof(hello) - 1);
	loop_timer_start(loop_of(s), &s->timer, PING_MS);
}

/* The connection is no longer ours. */
static void *on_detached(void *ctx, const struct detached *d)
{
	struct redis_stream *s = ctx;
	struct span names[CHANNELS_MAX];
	struct redis_topic topic = {
		.route = s->ask.route,
		.format = s->format,
		.is_pattern = s->is_pattern,
		.count = s->channel_count,
		.names = names,
	};
	enum websocket_kind kind = s->is_deflated ? WEBSOCKET_DEFLATED : WEBSOCKET_PLAIN;
	struct redis_group *group;

	for (unsigned i = 0; i < s->channel_count; i++)
		names[i] = redis_subscriber_name(&s->channels[i].subscriber);
	group = redis_group_join(&topic);
	free_stream(s);
	if (group)
		return redis_group_open(group, kind, d);
	d->close(d->handle, CLOSE_MEMORY, 0);
	return NULL;
}

static void open_socket(struct redis_stream *s)
{
	struct reply *reply = s->ask.reply;

	s->state = STREAM_LEAVING;
	loop_timer_stop(loop_of(s), &s->timer);
	s->is_deflated = websocket_accept(&s->ask.route->endpoint, s->ask.req, reply);
	reply_detach(reply, &websocket_detached_ops, s, on_detached);
}

static void note_live(struct redis_stream *s)
{
	static const char gap[] = "event: gap\ndata: messages may have been lost\n\n";

	if (s->live_count < s->channel_count)
		return;
	if (s->state == STREAM_WAITING && s->is_socket)
		open_socket(s);
	else if (s->state == STREAM_WAITING)
		open_stream(s);
	else if (s->state == STREAM_OPEN && s->has_gap)
		reply_write(s->ask.reply, gap, sizeof(gap) - 1);
	s->has_gap = false;
}

static void on_live(struct redis_subscriber *subscriber, bool is_live)
{
	struct stream_channel *c = container_of(subscriber, struct stream_channel, subscriber);
	struct redis_stream *s = c->stream;

	if (c->is_live != is_live) {
		c->is_live = is_live;
		s->live_count += is_live ? 1 : (unsigned)-1;
	}
	if (is_live) {
		note_live(s);
	} else if (s->state == STREAM_WAITING) {
		s->ask.route->service->stats->down++;
		fail_waiting(s, 503, redis_failure_name(REDIS_CALL_DOWN));
	} else {
		s->has_gap = true;
	}
}

/* The beginning ------------------------------------------------------------------------------------------------- */

bool redis_is_stream(struct span name)
{
	return span_ieq(name, SPAN("SUBSCRIBE")) || span_ieq(name, SPAN("PSUBSCRIBE"));
}

static struct redis_stream *new_stream(struct request *req, struct reply *reply, const struct redis_route *route,
				       const struct redis_words *w)
{
	struct redis_stream *s = calloc(1, sizeof(*s) + (w->count - 1) * sizeof(s->channels[0]));

	if (!s)
		return NULL;
	s->ask = (struct redis_ask){ .is_stream = true, .route = route, .req = req, .reply = reply };
	s->format = w->has_format ? w->format : REDIS_JSON;
	s->is_pattern = span_ieq(w->items[0], SPAN("PSUBSCRIBE"));
	timer_init(&s->timer, on_timer);
	list_push_back(&route->service->streams, &s->node);
	reply->ctx = s;
	reply->ends_with_client = true;
	return s;
}

/* A WebSocket has a form for any bytes, a line of an event has not. */
static bool is_form(const struct redis_words *w, bool is_socket)
{
	return !w->has_format || w->format == REDIS_JSON || w->format == REDIS_TEXT ||
	       (is_socket && w->format == REDIS_BINARY);
}

/* False: no memory. */
static bool subscribe_all(struct redis_stream *s, const struct redis_words *w)
{
	for (unsigned i = 1; i < w->count; i++) {
		struct stream_channel *c = &s->channels[s->channel_count++];

		c->stream = s;
		c->subscriber.on_message = on_message;
		c->subscriber.on_live = on_live;
		list_init(&c->subscriber.node);
		if (redis_subscribe(s->ask.route->service->hub, &c->subscriber, w->items[i], s->is_pattern, &c->is_live))
			return false;
		s->live_count += c->is_live;
	}
	return true;
}

void redis_stream_begin(struct request *req, struct reply *reply, const struct redis_route *route,
			struct redis_words *w)
{
	struct redis_keys all = { 1, w->count - 1, 1 };
	bool is_socket = websocket_wants(req);
	struct redis_stream *s;

	if (!redis_route_find(route, w->items[0]) && !route->allows_most) {
		route->service->stats->refused++;
		redis_refuse(reply, 403, "command_not_allowed");
		return;
	}
	if (w->count < 2 || w->count - 1 > CHANNELS_MAX || !is_form(w, is_socket) ||
	    !redis_words_prefix(w, &all, route->key_prefix)) {
		redis_refuse(reply, 400, "bad_command");
		return;
	}
	if (is_socket && !redis_socket_admit(route, req, reply))
		return;
	if (route->service->is_draining) {
		redis_refuse(reply, 503, "drain");
		return;
	}
	s = new_stream(req, reply, route, w);
	if (!s) {
		redis_refuse(reply, 503, "no_memory");
		return;
	}
	s->is_socket = is_socket;
	if (!subscribe_all(s, w)) {
		fail_waiting(s, 503, "no_memory");
		return;
	}
	loop_timer_start(loop_of(s), &s->timer, WAIT_MS);
	note_live(s);
}
