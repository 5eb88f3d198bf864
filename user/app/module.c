/* SPDX-License-Identifier: MIT */
/* Requests on their way to a module; see module_internal.h. */
#include <stdlib.h>

#include "app/module_internal.h"
#include "base/err.h"

/* Life of a call -------------------------------------------------------------------------------------------------- */

void module_call_end(struct module_call *c)
{
	struct module *m = c->owner->module;

	c->reply->ctx = NULL;
	loop_timer_stop(m->loop, &c->deadline);
	loop_timer_stop(m->loop, &c->wake);
	free(c->grown);
	m->stats->in_flight--;
	pool_put(&m->calls, c);
}

/* The module lets go of it. */
static void tell_abort(struct module_call *c)
{
	if (c->route->on_abort)
		c->route->on_abort(&c->pub);
	module_call_end(c);
}

/*
 * As long as the client has bytes to take or content to send, it is the client's turn, and the session's own timers watch
 * over that; a module that is to be woken has its own plan.
 */
static bool waits_for_others(const struct module_call *c)
{
	return reply_queued(c->reply) > 0 || (!c->is_body_over && !c->is_paused) || timer_is_active(&c->wake);
}

static void on_deadline(struct timer *t)
{
	struct module_call *c = container_of(t, struct module_call, deadline);
	struct module *m = c->owner->module;
	uint64_t now_ms = m->loop->now_ms, limit_ms = c->owner->timeout_ms;
	struct reply *reply = c->reply;

	if (waits_for_others(c))
		c->active_ms = now_ms;
	if (now_ms - c->active_ms < limit_ms) {
		loop_timer_start(m->loop, t, limit_ms - (now_ms - c->active_ms));
		return;
	}
	m->stats->timeouts++;
	m->stats->errors++;
	tell_abort(c);
	reply->why = "module_timeout";
	if (reply->is_begun)
		reply_abort(reply);
	else
		reply_status_page(reply, 504);
}

static void on_wake(struct timer *t)
{
	struct module_call *c = container_of(t, struct module_call, wake);

	if (c->route->on_timer)
		c->route->on_timer(&c->pub);
}

static struct sluice_span lend(struct span s)
{
	return (struct sluice_span){ s.ptr, s.len };
}

static uint64_t content_length(const struct request *req)
{
	if (req->framing == BODY_NONE)
		return 0;
	return req->framing == BODY_SIZED ? req->content_length : SLUICE_UNKNOWN;
}

static void fill_public(struct module_call *c, const struct request *req, struct span rest)
{
	c->pub.api = &module_api;
	c->pub.instance = &c->owner->instance;
	c->pub.data = NULL;
	c->pub.method = lend(req->method_text);
	c->pub.target = lend(req->target);
	c->pub.host = lend(req->host);
	c->pub.path = lend(req->path);
	c->pub.rest = lend(rest);
	c->pub.query = lend(req->query);
	c->pub.length = content_length(req);
	c->pub.version = 10u + req->version_minor;
}

/* NULL: no memory. */
static struct module_call *begin_call(struct module_route *r, struct request *req, struct reply *reply,
				      const struct module_match *match)
{
	struct module_call *c = pool_get(&r->module->calls);

	if (!c)
		return NULL;
	c->owner = r;
	c->route = match->route;
	c->req = req;
	c->reply = reply;
	timer_init(&c->deadline, on_deadline);
	timer_init(&c->wake, on_wake);
	c->active_ms = r->module->loop->now_ms;
	c->is_body_over = req->framing == BODY_NONE;
	c->is_paused = false;
	c->grown = NULL;
	buf_init(&c->fields, c->memory, sizeof(c->memory));
	fill_public(c, req, match->rest);
	reply->ctx = c;
	r->module->stats->requests++;
	r->module->stats->in_flight++;
	return c;
}

/* From the session ------------------------------------------------------------------------------------------------ */

/* The part of the path that the table has. */
static struct span inner_path(const struct module_route *r, struct span path)
{
	if (path.len <= r->strip)
		return SPAN("/");
	return span_of(path.ptr + r->strip, path.len - r->strip);
}

static void answer_unrouted(struct module *m, struct reply *reply, const struct module_match *match)
{
	m->stats->unrouted++;
	if (match->status == 204 || match->status == 405)
		reply_add(reply, SPAN("Allow"), match->allow);
	reply_status_page(reply, match->status);
}

static void on_request(struct request *req, struct reply *reply, void *conf)
{
	struct module_route *r = conf;
	struct module *m = r->module;
	struct module_match match;
	struct module_call *c;

	module_table_find(m->table, req, inner_path(r, req->path), &match);
	if (!match.route) {
		answer_unrouted(m, reply, &match);
		return;
	}
	c = begin_call(r, req, reply, &match);
	if (!c) {
		m->stats->busy++;
		reply_add(reply, SPAN("Retry-After"), SPAN("1"));
		reply_status_page(reply, 503);
		return;
	}
	match.route->on_request(&c->pub);
	/* Who waits for the end of the content is not left waiting where there is none. */
	if (reply->ctx && c->is_body_over && match.route->on_body)
		match.route->on_body(&c->pub, "", 0, 1);
	/* Most are answered by now, and need no timer. */
	if (reply->ctx && r->timeout_ms)
		loop_timer_start(m->loop, &c->deadline, r->timeout_ms);
}

static void on_body(struct request *req, struct reply *reply, struct span data, bool is_last)
{
	struct module_call *c = reply->ctx;

	/* None: it has answered, which the session may learn only now. */
	if (!c)
		return;
	c->active_ms = c->owner->module->loop->now_ms;
	c->is_body_over = is_last;
	if (c->route->on_body)
		c->route->on_body(&c->pub, data.ptr, data.len, is_last);
}

static void on_writable(struct request *req, struct reply *reply)
{
	struct module_call *c = reply->ctx;

	if (c && c->route->on_writable)
		c->route->on_writable(&c->pub);
}

static void on_abort(struct request *req, struct reply *reply)
{
	struct module_call *c = reply->ctx;

	if (!c)
		return;
	c->owner->module->stats->aborted++;
	tell_abort(c);
}

static uint64_t body_max(const void *conf)
{
	const struct module_route *r = conf;

	return r->body_max;
}

const struct handler_ops module_ops = {
	.name = "module",
	.on_request = on_request,
	.on_body = on_body,
	.on_writable = on_writable,
	.on_abort = on_abort,
	.body_max = body_max,
	.takes_any_method = true,
};
