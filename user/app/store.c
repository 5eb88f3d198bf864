/* SPDX-License-Identifier: MIT */
/* From a request to what is to be done with it; see store.h. */
#include <stdlib.h>

#include "app/store_internal.h"
#include "base/err.h"

/* Memory ------------------------------------------------------------------------------------------------------- */

bool store_charge(struct store *s, size_t bytes)
{
	if (bytes > s->memory_max - s->memory_used)
		return false;
	s->memory_used += bytes;
	return true;
}

void store_discharge(struct store *s, size_t bytes)
{
	BUG_ON(bytes > s->memory_used);
	s->memory_used -= bytes;
}

static void on_body_release(struct hold *h)
{
	struct store_body *b = container_of(h, struct store_body, hold);

	store_discharge(b->store, b->cap);
	free(b);
}

struct store_body *store_body_new(struct store *s, size_t cap)
{
	struct store_body *b;

	if (!store_charge(s, cap))
		return NULL;
	b = malloc(sizeof(*b) + cap);
	if (!b) {
		store_discharge(s, cap);
		return NULL;
	}
	hold_init(&b->hold, on_body_release);
	b->store = s;
	b->len = 0;
	b->cap = cap;
	return b;
}

struct store_body *store_body_grow(struct store_body *b, size_t cap)
{
	struct store_body *grown;

	if (!store_charge(b->store, cap - b->cap))
		return NULL;
	grown = realloc(b, sizeof(*b) + cap);
	if (!grown) {
		store_discharge(b->store, cap - b->cap);
		return NULL;
	}
	grown->cap = cap;
	return grown;
}

/* Calls -------------------------------------------------------------------------------------------------------- */

void store_call_end(struct store_call *c)
{
	c->reply->ctx = NULL;
	if (c->listing)
		hold_put(&c->listing->hold);
	if (c->cap)
		store_discharge(c->route->store, c->cap);
	free(c->content);
	free(c->conditions);
	free(c);
}

void store_refuse(struct store_call *c, unsigned status, const char *why, uint64_t *counter)
{
	store_count(counter);
	c->reply->why = why;
	reply_status_page(c->reply, status);
	store_call_end(c);
}

void store_refuse_busy(struct store_call *c, const char *why, uint64_t *counter)
{
	reply_add(c->reply, SPAN("Retry-After"), SPAN("1"));
	store_refuse(c, 503, why, counter);
}

void store_refuse_error(struct store_call *c, int err)
{
	struct store_stats *s = c->route->store->stats;

	if (err == -EHOSTDOWN)
		store_refuse_busy(c, "store_down", &s->down);
	else if (err == -ETIMEDOUT)
		store_refuse(c, 504, "store_timeout", &s->timeouts);
	else
		store_refuse(c, 500, "store_failed", &s->failed);
}

void store_allow(const struct store_call *c)
{
	reply_add(c->reply, SPAN("Allow"),
		  store_is_collection(c->key) ? SPAN("GET, HEAD, POST, OPTIONS")
					      : SPAN("GET, HEAD, PUT, DELETE, OPTIONS"));
}

/* Requests ----------------------------------------------------------------------------------------------------- */

static void dispatch(struct store_call *c)
{
	struct store_stats *stats = c->route->store->stats;
	bool is_collection = store_is_collection(c->key);

	switch (c->req->method) {
	case METHOD_GET:
	case METHOD_HEAD:
		if (is_collection)
			store_list(c);
		else
			store_read(c);
		return;
	case METHOD_PUT:
	case METHOD_DELETE:
		if (is_collection)
			break;
		store_begin_change(c);
		return;
	case METHOD_POST:
		if (!is_collection)
			break;
		store_begin_change(c);
		return;
	case METHOD_OPTIONS:
		store_allow(c);
		reply_status_page(c->reply, 204);
		store_call_end(c);
		return;
	default:
		break;
	}
	/* RFC 9110 15.5.6 */
	store_allow(c);
	store_refuse(c, 405, "store_method", &stats->refused);
}

static void on_request(struct request *req, struct reply *reply, void *conf)
{
	struct store_route *r = conf;
	struct store_call *c = malloc(sizeof(*c));
	int err;

	if (!c) {
		reply_add(reply, SPAN("Retry-After"), SPAN("1"));
		reply_status_page(reply, 503);
		return;
	}
	/* The memory of names is left as it is. */
	memset(c, 0, offsetof(struct store_call, last));
	c->conditions = NULL;
	c->route = r;
	c->req = req;
	c->reply = reply;
	reply->ctx = c;
	err = store_key(req->path, r->prefix_len, &c->key);
	if (err)
		store_refuse(c, err == -ENAMETOOLONG ? 414 : 400, "store_name", &r->store->stats->refused);
	else
		dispatch(c);
}

static void on_body(struct request *req, struct reply *reply, struct span data, bool is_last)
{
	/* None: answered within on_request, which the session may learn only now. */
	if (reply->ctx)
		store_take(reply->ctx, data, is_last);
}

/* What was handed over may be done all the same. */
static void on_abort(struct request *req, struct reply *reply)
{
	struct store_call *c = reply->ctx;
	struct store_engine *e;

	if (!c)
		return;
	e = c->route->store->engine;
	e->ops->forget(e, &c->ask);
	store_call_end(c);
}

static uint64_t body_max(const void *conf)
{
	const struct store_route *r = conf;

	return r->store->value_max;
}

const struct handler_ops store_ops = {
	.name = "store",
	.on_request = on_request,
	.on_body = on_body,
	.on_abort = on_abort,
	.body_max = body_max,
};

/* Set-up ------------------------------------------------------------------------------------------------------- */

int store_new(const struct store_options *opt, struct store **ret_store)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->engine = opt->engine;
	s->value_max = opt->value_max;
	s->memory_max = opt->memory_max;
	*ret_store = s;
	return 0;
}

void store_free(struct store *s)
{
	if (!s)
		return;
	s->engine->ops->free(s->engine);
	free(s);
}

int store_start(struct store *s, struct loop *loop, struct store_stats *stats)
{
	int err = s->engine->ops->start(s->engine, loop);

	s->stats = stats;
	s->is_started = !err;
	return err;
}

void store_stop(struct store *s)
{
	if (s->is_started)
		s->engine->ops->stop(s->engine);
	s->is_started = false;
}

void store_link(struct store *s, int fd)
{
	BUG_ON(!s->engine->ops->link);
	s->engine->ops->link(s->engine, fd);
}

int store_route_new(const struct store_route_options *opt, void **ret_conf)
{
	struct store_route *r;

	if (opt->prefix.len == 0 || opt->prefix.len > STORE_PREFIX_MAX || !store_is_collection(opt->prefix))
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->store = opt->store;
	r->requires_match = opt->requires_match;
	r->has_timed_names = opt->has_timed_names;
	r->prefix_len = opt->prefix.len;
	memcpy(r->prefix, opt->prefix.ptr, opt->prefix.len);
	*ret_conf = r;
	return 0;
}

void store_route_free(void *conf)
{
	free(conf);
}
