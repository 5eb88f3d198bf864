/* SPDX-License-Identifier: MIT */
/*
 * Answers that come later: "/after/MS" so many milliseconds after its request, without holding anybody up; "/ticks" says
 * how often a timer of the module's own has struck; "/stream" sends a line every 20 ms until the server wants to end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/handler.h"

#define TICK_MS 10

struct stream {
	struct sluice_request *r;
	struct stream *next, **at;
};

struct state {
	struct sluice_timer timer;
	struct sluice_instance *instance;
	unsigned long ticks;
	struct stream *streams;
};

static uint64_t number_of(struct sluice_span text)
{
	uint64_t n = 0;

	for (size_t i = 0; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++)
		n = n * 10 + (uint64_t)(text.ptr[i] - '0');
	return n;
}

static void on_after(struct sluice_request *r)
{
	sluice_wake(r, number_of(r->rest));
}

static void on_after_timer(struct sluice_request *r)
{
	sluice_reply(r, 200, "text/plain", "now\n", 4);
}

static void on_ticks(struct sluice_request *r)
{
	const struct state *s = r->instance->data;
	char text[32];

	sluice_reply(r, 200, "text/plain", text, (size_t)snprintf(text, sizeof(text), "%lu\n", s->ticks));
}

/* A request that stays: its place in the list is what r->data has. */
static void on_stream(struct sluice_request *r)
{
	struct state *s = r->instance->data;
	struct stream *st = calloc(1, sizeof(*st));

	if (!st) {
		sluice_error(r, 503);
		return;
	}
	st->r = r;
	st->next = s->streams;
	st->at = &s->streams;
	if (st->next)
		st->next->at = &st->next;
	s->streams = st;
	r->data = st;
	sluice_begin(r, SLUICE_UNKNOWN);
	sluice_wake(r, 0);
}

static void drop(struct stream *st)
{
	*st->at = st->next;
	if (st->next)
		st->next->at = st->at;
	free(st);
}

static void on_stream_timer(struct sluice_request *r)
{
	if (sluice_queued(r) < SLUICE_FULL)
		sluice_write(r, "line\n", 5);
	sluice_wake(r, 20);
}

static void on_stream_abort(struct sluice_request *r)
{
	drop(r->data);
}

static void on_tick(struct sluice_timer *t)
{
	struct state *s = t->data;

	s->ticks++;
	sluice_timer_start(s->instance, t, TICK_MS);
}

static int init(struct sluice_instance *in)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->instance = in;
	s->timer.on_expire = on_tick;
	s->timer.data = s;
	in->data = s;
	sluice_timer_start(in, &s->timer, TICK_MS);
	sluice_log(in, SLUICE_LOG_INFO, "has started");
	return 0;
}

static void on_drain(struct sluice_instance *in)
{
	struct state *s = in->data;

	while (s->streams) {
		struct sluice_request *r = s->streams->r;

		drop(s->streams);
		sluice_write(r, "bye\n", 4);
		sluice_end(r);
	}
}

static void on_exit_worker(struct sluice_instance *in)
{
	struct state *s = in->data;

	sluice_timer_stop(in, &s->timer);
	sluice_log(in, SLUICE_LOG_INFO, "has ended");
	free(s);
}

static const struct sluice_route routes[] = {
	{ "GET", "/after/*", on_after, NULL, NULL, on_after_timer, NULL },
	{ "GET", "/ticks", on_ticks, NULL, NULL, NULL, NULL },
	{ "GET", "/stream", on_stream, NULL, NULL, on_stream_timer, on_stream_abort },
};

const struct sluice_module sluice_module = {
	SLUICE_HEAD, .name = "later", SLUICE_ROUTES(routes), .init = init, .exit = on_exit_worker, .on_drain = on_drain,
};
