/* SPDX-License-Identifier: MIT */
/* The life of a connection after its handshake; states in websocket_internal.h. */
#include <stdio.h>

#include "app/websocket_internal.h"
#include "base/err.h"

/* Reads of the scratch buffer before others have their turn. */
#define TURN_READS 16u
/* What may come deflated is read in small pieces, each of which can become a thousand times as much. */
#define DEFLATED_READ 4096u
#define TURN_INFLATED (1u << 20)

static void on_free(struct job *j)
{
	struct websocket *ws = container_of(j, struct websocket, job);

	pool_put(&ws->owner->pool, ws);
}

static void tell_end(struct websocket *ws)
{
	if (ws->endpoint->ops->on_end)
		ws->endpoint->ops->on_end(ws);
}

/* All that it holds, but for its own memory, which something on the stack may still look at. */
static void let_go(struct websocket *ws)
{
	struct websockets *w = ws->owner;
	bool was_open = ws->state == WEBSOCKET_OPEN;

	if (was_open)
		w->open_count--;
	ws->state = WEBSOCKET_GONE;
	w->stats->connections--;
	loop_timer_stop(w->loop, &ws->timer);
	list_remove(&ws->node);
	list_remove(&ws->waiter.node);
	channel_unsubscribe(&ws->sub);
	websocket_drop_output(ws);
	websocket_drop_input(ws);
	if (was_open)
		tell_end(ws);
	ws->job.run = on_free;
	loop_free_later(w->loop, &ws->job);
}

void websocket_die(struct websocket *ws, enum close_reason reason)
{
	if (ws->state == WEBSOCKET_GONE)
		return;
	let_go(ws);
	ws->close(ws->handle, reason, ws->bytes_sent);
}

static uint64_t on_abort(void *ctx)
{
	struct websocket *ws = ctx;

	let_go(ws);
	return ws->bytes_sent;
}

/* Time -------------------------------------------------------------------------------------------------------- */

/* When the next thing has to have happened; UINT64_MAX: never. */
static uint64_t due_ms(const struct websocket *ws)
{
	const struct websocket_endpoint *e = ws->endpoint;
	uint64_t due = UINT64_MAX;

	if (ws->state != WEBSOCKET_OPEN)
		return ws->since_ms + e->close_ms;
	if (ws->is_pinged)
		return ws->since_ms + e->pong_ms;
	if (e->ping_ms)
		due = ws->heard_ms + e->ping_ms;
	if (ws->is_blocked && e->write_ms)
		due = MIN(due, ws->since_ms + e->write_ms);
	return due;
}

void websocket_watch_time(struct websocket *ws)
{
	uint64_t due = due_ms(ws), now = ws->owner->loop->now_ms;

	/* One that fires too early looks again; that costs less than moving it with each message. */
	if (due == UINT64_MAX || (timer_is_active(&ws->timer) && ws->timer.expires_ms <= due))
		return;
	loop_timer_start(ws->owner->loop, &ws->timer, due > now ? due - now : 0);
}

static void ping(struct websocket *ws)
{
	struct websockets *w = ws->owner;
	bool is_added;

	ws->heard_ms = w->loop->now_ms;
	/* A comment is answered by nobody; a stream whose client is gone ends when the kernel finds out. */
	if (ws->is_stream) {
		is_added = websocket_add(ws, ":\n\n", 3);
	} else {
		ws->is_pinged = true;
		ws->since_ms = w->loop->now_ms;
		is_added = websocket_add_frame(ws, WSLAY_PING, SPAN(""));
		w->stats->pings++;
	}
	if (!is_added) {
		websocket_die(ws, CLOSE_MEMORY);
		return;
	}
	websocket_watch_time(ws);
	websocket_run(ws);
}

static bool is_write_late(const struct websocket *ws)
{
	uint64_t write_ms = ws->endpoint->write_ms;

	return ws->is_blocked && write_ms && ws->owner->loop->now_ms >= ws->since_ms + write_ms;
}

static void time_out(struct websocket *ws, enum close_reason reason)
{
	ws->owner->stats->timeouts++;
	ws->owner->block->timeouts++;
	websocket_die(ws, reason);
}

static void on_timer(struct timer *t)
{
	struct websocket *ws = container_of(t, struct websocket, timer);
	uint64_t now = ws->owner->loop->now_ms;

	if (due_ms(ws) > now) {
		websocket_watch_time(ws);
	} else if (ws->state != WEBSOCKET_OPEN) {
		websocket_die(ws, (enum close_reason)ws->reason);
	} else if (ws->is_pinged) {
		time_out(ws, CLOSE_WEBSOCKET_SILENT);
	} else if (is_write_late(ws)) {
		time_out(ws, CLOSE_WRITE_TIMEOUT);
	} else {
		ping(ws);
	}
}

/* The end ----------------------------------------------------------------------------------------------------- */

static void leave_open(struct websocket *ws, enum websocket_state state, enum close_reason reason)
{
	struct websockets *w = ws->owner;
	bool was_open = ws->state == WEBSOCKET_OPEN;

	if (was_open) {
		w->open_count--;
		list_remove(&ws->node);
		list_push_back(&w->leaving, &ws->node);
		list_remove(&ws->waiter.node);
		channel_unsubscribe(&ws->sub);
		ws->since_ms = w->loop->now_ms;
		ws->is_pinged = false;
	}
	ws->state = (uint8_t)state;
	ws->reason = (uint8_t)reason;
	if (was_open)
		tell_end(ws);
	websocket_watch_time(ws);
}

void websocket_end(struct websocket *ws, enum close_reason reason)
{
	leave_open(ws, WEBSOCKET_ENDING, reason);
	websocket_drop_input(ws);
}

/* What a stream is told has to be an event. */
static bool add_last_event(struct websocket *ws, unsigned code, const char *text)
{
	char event[160];
	int len = snprintf(event, sizeof(event), "event: close\ndata: %u %s\n\n", code, text);

	return websocket_add(ws, event, (size_t)len);
}

void websocket_close(struct websocket *ws, unsigned code, const char *text, enum close_reason reason)
{
	bool is_added;

	if (ws->state != WEBSOCKET_OPEN)
		return;
	is_added = ws->is_stream ? add_last_event(ws, code, text) : websocket_add_close(ws, code, text);
	if (!is_added) {
		websocket_die(ws, CLOSE_MEMORY);
		return;
	}
	if (ws->is_stream)
		websocket_end(ws, reason);
	else
		leave_open(ws, WEBSOCKET_CLOSING, reason);
	websocket_run(ws);
}

/* The client has ended its side, or its connection has failed. */
static void lose(struct websocket *ws)
{
	if (ws->state == WEBSOCKET_OPEN)
		websocket_die(ws, ws->is_stream ? CLOSE_EVENT_STREAM : CLOSE_WEBSOCKET_ABORT);
	else
		websocket_die(ws, (enum close_reason)ws->reason);
}

/* Running ----------------------------------------------------------------------------------------------------- */

/* While what we answer waits, and while the channels have not caught up, nothing more is taken from the client. */
static bool may_read(struct websocket *ws)
{
	struct channel_hub *hub = ws->sub.channel ? channel_hub_of(ws->sub.channel) : NULL;

	if (!ws->conn->is_readable)
		return false;
	if (ws->state == WEBSOCKET_ENDING || ws->is_stream)
		return true;
	if (ws->out || ws->part)
		return false;
	if (hub && !channel_hub_takes(hub)) {
		channel_hub_wait(hub, &ws->waiter);
		return false;
	}
	return ws->state != WEBSOCKET_OPEN || !ws->endpoint->ops->may_read || ws->endpoint->ops->may_read(ws);
}

static void note_heard(struct websocket *ws)
{
	ws->heard_ms = ws->owner->loop->now_ms;
	if (!ws->is_pinged)
		return;
	ws->is_pinged = false;
	/* From here on `since_ms` is that of a blocked write again. */
	ws->since_ms = ws->heard_ms;
	websocket_watch_time(ws);
}

/* False: it is gone. */
static bool take(struct websocket *ws, struct span bytes)
{
	ws->owner->stats->bytes_in += bytes.len;
	if (ws->is_stream || ws->state == WEBSOCKET_ENDING)
		return true;
	note_heard(ws);
	return websocket_feed(ws, bytes);
}

/* False: it is gone. */
static bool flush(struct websocket *ws)
{
	if (websocket_flush(ws) != WEBSOCKET_BROKEN)
		return true;
	lose(ws);
	return false;
}

static size_t read_size(const struct websocket *ws)
{
	size_t size = ws->is_deflated ? DEFLATED_READ : sizeof(ws->owner->scratch);

	return ws->endpoint->read_max ? MIN(size, ws->endpoint->read_max) : size;
}

void websocket_run(struct websocket *ws)
{
	struct websockets *w = ws->owner;
	size_t read_max = read_size(ws);
	uint64_t inflated_before = w->inflated;
	bool was_blocked = ws->is_blocked;

	if (ws->conn->has_failed) {
		lose(ws);
		return;
	}
	if (!flush(ws))
		return;
	for (unsigned reads = 0; may_read(ws); reads++) {
		ssize_t n;

		if (reads == TURN_READS || w->inflated - inflated_before >= TURN_INFLATED) {
			loop_again(w->loop, &ws->job);
			break;
		}
		n = conn_read(ws->conn, w->scratch, read_max);
		if (n == -EAGAIN)
			break;
		if (n <= 0) {
			lose(ws);
			return;
		}
		if (!take(ws, span_of(w->scratch, (size_t)n)) || !flush(ws))
			return;
	}
	if (was_blocked && !ws->is_blocked)
		channel_resume(&ws->sub);
	if (ws->state == WEBSOCKET_OPEN && ws->endpoint->ops->on_sent && !websocket_unsent(ws))
		ws->endpoint->ops->on_sent(ws);
}

static void on_job(struct job *j)
{
	websocket_run(container_of(j, struct websocket, job));
}

static void on_relief(struct channel_waiter *waiter)
{
	struct websocket *ws = container_of(waiter, struct websocket, waiter);

	loop_again(ws->owner->loop, &ws->job);
}

static void on_ready(void *ctx)
{
	struct websocket *ws = ctx;

	websocket_run(ws);
}

static void on_leave(void *ctx)
{
	websocket_close(ctx, 1001, "going away", CLOSE_DRAIN);
}

const struct detached_ops websocket_detached_ops = {
	.on_ready = on_ready,
	.on_abort = on_abort,
	.on_leave = on_leave,
};

/* The beginning ----------------------------------------------------------------------------------------------- */

static void init(struct websocket *ws, const struct websocket_endpoint *e, enum websocket_kind kind,
		 const struct detached *d)
{
	struct websockets *w = e->owner;

	memset(ws, 0, sizeof(*ws));
	ws->conn = d->conn;
	ws->handle = d->handle;
	ws->close = d->close;
	ws->owner = w;
	ws->endpoint = e;
	ws->is_stream = kind == WEBSOCKET_STREAM;
	ws->is_deflated = kind == WEBSOCKET_DEFLATED;
	ws->heard_ms = w->loop->now_ms;
	timer_init(&ws->timer, on_timer);
	job_init(&ws->job, on_job);
	list_init(&ws->waiter.node);
	ws->waiter.on_relief = on_relief;
	list_push_back(&w->open, &ws->node);
	w->open_count++;
}

void *websocket_open(const struct websocket_endpoint *e, enum websocket_kind kind, struct channel *ch, void *ctx,
		     const struct detached *d)
{
	struct websockets *w = e->owner;
	struct websocket *ws = pool_get(&w->pool);

	if (!ws) {
		d->close(d->handle, CLOSE_MEMORY, 0);
		return NULL;
	}
	init(ws, e, kind, d);
	ws->ctx = ctx;
	w->stats->connections++;
	w->stats->opened++;
	w->stats->streams += ws->is_stream;
	if (ch)
		channel_subscribe(ch, &ws->sub, e->queue_max, &websocket_subscriber_ops);
	websocket_watch_time(ws);
	if (!d->early.len || take(ws, d->early))
		websocket_run(ws);
	return ws;
}

void websocket_read_on(struct websocket *ws)
{
	loop_again(ws->owner->loop, &ws->job);
}
