/* SPDX-License-Identifier: MIT */
/*
 * PUT, POST and DELETE.  The content is gathered in memory, within what the store may have in flight, and handed over as
 * a whole: a change is made entirely or not at all.
 */
#include <stdlib.h>

#include "app/escape.h"
#include "app/store_internal.h"
#include "base/clock.h"

#define CONTENT_MIN 4096u	/* of content whose length nobody has announced */

/* What is asked for -------------------------------------------------------------------------------------------- */

/* The lines of a field are one list (RFC 9110 5.3).  False: without memory, or longer than there is room for. */
static bool join(struct store_call *c, enum header_id id, struct span *ret_value)
{
	const struct request *req = c->req;
	size_t len = 0;
	char *at;

	for (unsigned i = req->known[id] - 1u; i < req->field_count; i++)
		len += req->fields[i].id == id ? req->fields[i].value.len + 2 : 0;
	if (len > STORE_CONDITION_MAX)
		return false;
	/* Two fields may be joined; the first one's bytes are in use by then, and must stay where they are. */
	if (!c->conditions)
		c->conditions = malloc(2 * STORE_CONDITION_MAX);
	if (!c->conditions)
		return false;
	at = c->conditions + (id == HEADER_IF_NONE_MATCH ? STORE_CONDITION_MAX : 0);
	*ret_value = span_of(at, 0);
	for (unsigned i = req->known[id] - 1u; i < req->field_count; i++) {
		struct span v = req->fields[i].value;

		if (req->fields[i].id != id)
			continue;
		if (ret_value->len) {
			memcpy(at + ret_value->len, ", ", 2);
			ret_value->len += 2;
		}
		memcpy(at + ret_value->len, v.ptr, v.len);
		ret_value->len += v.len;
	}
	return true;
}

static bool take_list(struct store_call *c, enum header_id id, bool *ret_has, struct span *ret_value)
{
	const struct request *req = c->req;

	*ret_has = req->known[id] != 0;
	if (!*ret_has)
		return true;
	*ret_value = request_only_header(req, id);
	return ret_value->ptr ? ret_value->len <= STORE_CONDITION_MAX : join(c, id, ret_value);
}

/* False: there is no room for them. */
static bool take_conditions(struct store_call *c, struct change_conditions *ret)
{
	struct span date = request_header(c->req, HEADER_IF_UNMODIFIED_SINCE);

	*ret = (struct change_conditions){ 0 };
	/* RFC 9110 13.1.4: a date that cannot be read is no condition. */
	ret->has_unmodified_since = date.ptr && http_date_parse(date, &ret->unmodified_since_s) == 0;
	return take_list(c, HEADER_IF_MATCH, &ret->has_if_match, &ret->if_match) &&
	       take_list(c, HEADER_IF_NONE_MATCH, &ret->has_if_none_match, &ret->if_none_match);
}

static bool has_field(const struct request *req, struct span name)
{
	for (unsigned i = 0; i < req->field_count; i++)
		if (span_ieq(req->fields[i].name, name))
			return true;
	return false;
}

/* 0, or the status: content is kept as it comes, so all that it is must be said by its type. */
static unsigned check_content(struct store_call *c)
{
	c->type = request_header(c->req, HEADER_CONTENT_TYPE);
	if (!c->type.ptr)
		c->type = SPAN("application/octet-stream");
	if (!store_is_type(c->type) || has_field(c->req, SPAN("Content-Range")))
		return 400;
	return has_field(c->req, SPAN("Content-Encoding")) ? 415 : 0;
}

static int make_name(struct store_call *c)
{
	size_t len = c->key.len;
	int err;

	if (len + STORE_NAME_LEN > STORE_KEY_MAX)
		return -ENAMETOOLONG;
	memcpy(c->name, c->key.ptr, len);
	err = store_name_make(c->route->has_timed_names, clock_wall_ns() / NS_PER_MS, c->name + len);
	c->key = span_of(c->name, len + STORE_NAME_LEN);
	return err;
}

/* Answers ------------------------------------------------------------------------------------------------------ */

static void add_location(struct store_call *c, struct buf *b)
{
	escape_path(b, span_of(c->route->prefix, c->route->prefix_len));
	escape_path(b, c->key);
	reply_add(c->reply, SPAN("Location"), buf_span(b));
}

static void send_done(struct store_call *c, const struct store_result *r, unsigned status, uint64_t *counter)
{
	char memory[ESCAPE_URL_MAX * (STORE_PREFIX_MAX + STORE_KEY_MAX)];
	char text[STORE_ETAG_SIZE];
	struct buf b;

	buf_init(&b, memory, sizeof(memory));
	store_count(counter);
	reply_set_status(c->reply, status);
	if (r->outcome != STORE_DELETED) {
		reply_add(c->reply, SPAN("ETag"), store_etag_print(&r->version, text));
		reply_add_date(c->reply, SPAN("Last-Modified"), r->modified_s);
	}
	if (c->kind == STORE_CREATE)
		add_location(c, &b);
	reply_begin(c->reply, 0);
	reply_end(c->reply);
	store_call_end(c);
}

static void on_changed(struct store_ask *a, const struct store_result *r)
{
	struct store_call *c = container_of(a, struct store_call, ask);
	struct store_stats *s = c->route->store->stats;

	switch (r->outcome) {
	case STORE_CREATED:
		send_done(c, r, 201, &s->created);
		return;
	case STORE_REPLACED:
		send_done(c, r, 204, &s->replaced);
		return;
	case STORE_DELETED:
		send_done(c, r, 204, &s->deleted);
		return;
	case STORE_MISSING:
		store_refuse(c, 404, NULL, &s->missing);
		return;
	case STORE_MISMATCH:
		store_refuse(c, 412, NULL, &s->mismatches);
		return;
	case STORE_FULL:
		store_refuse(c, 507, "store_full", &s->full);
		return;
	case STORE_DOWN:
		store_refuse_busy(c, "store_down", &s->down);
		return;
	case STORE_NO_WRITER:
		store_refuse_busy(c, "store_no_writer", &s->no_writer);
		return;
	case STORE_TIMEOUT:
		store_refuse(c, 504, "store_timeout", &s->timeouts);
		return;
	case STORE_LOST:
		store_refuse(c, 502, "store_lost", &s->lost);
		return;
	default:
		/* A new name of 128 random bits that is taken is no luck but a fault. */
		store_refuse(c, 500, "store_failed", &s->failed);
		return;
	}
}

/* On its way --------------------------------------------------------------------------------------------------- */

/* What is handed over is charged until the answer, though the memory is the engine's then. */
static void hand_over(struct store_call *c)
{
	struct store_engine *e = c->route->store->engine;
	struct store_change change = {
		.kind = c->kind,
		.key = c->key,
		.type = c->kind == STORE_DELETE ? span_of("", 0) : c->type,
		.content = span_of(c->content, c->len),
	};
	char *content = c->content;

	/* Of a DELETE it has no meaning (RFC 9110 9.3.5). */
	if (c->kind == STORE_DELETE)
		change.content.len = 0;
	if (c->kind != STORE_CREATE && !take_conditions(c, &change.conditions)) {
		store_refuse(c, 431, "store_conditions", &c->route->store->stats->refused);
		return;
	}
	c->content = NULL;
	c->ask.on_changed = on_changed;
	e->ops->change(e, &c->ask, &change, content);
}

static bool grow(struct store_call *c, size_t need)
{
	size_t cap = MAX(MAX(need, 2 * c->cap), (size_t)CONTENT_MIN);
	struct store *s = c->route->store;
	char *grown;

	cap = MIN(cap, (size_t)s->value_max);
	if (!store_charge(s, cap - c->cap))
		return false;
	grown = realloc(c->content, cap);
	if (!grown) {
		store_discharge(s, cap - c->cap);
		return false;
	}
	c->content = grown;
	c->cap = cap;
	return true;
}

void store_take(struct store_call *c, struct span data, bool is_last)
{
	/* The session lets no more through than value_max. */
	if (c->len + data.len > c->cap && !grow(c, c->len + data.len)) {
		store_refuse_busy(c, "store_busy", &c->route->store->stats->busy);
		return;
	}
	if (data.len)
		memcpy(c->content + c->len, data.ptr, data.len);
	c->len += data.len;
	if (is_last)
		hand_over(c);
}

/* 0, or the status; *ret_why is for the log. */
static unsigned check(struct store_call *c, const char **ret_why, uint64_t **ret_counter)
{
	const struct request *req = c->req;
	struct store_stats *s = c->route->store->stats;

	*ret_counter = &s->refused;
	*ret_why = "store_content";
	if (c->kind != STORE_DELETE) {
		unsigned status = check_content(c);

		if (status)
			return status;
	}
	if (c->kind != STORE_CREATE && c->route->requires_match && !req->known[HEADER_IF_MATCH] &&
	    !req->known[HEADER_IF_NONE_MATCH]) {
		*ret_counter = &s->unconditional;
		*ret_why = "store_unconditional";
		return 428;
	}
	return 0;
}

void store_begin_change(struct store_call *c)
{
	const struct request *req = c->req;
	struct store_stats *s = c->route->store->stats;
	uint64_t *counter;
	const char *why;
	unsigned status;

	c->kind = req->method == METHOD_PUT ? STORE_PUT : req->method == METHOD_POST ? STORE_CREATE : STORE_DELETE;
	status = check(c, &why, &counter);
	if (status) {
		store_refuse(c, status, why, counter);
		return;
	}
	if (c->kind == STORE_CREATE) {
		int err = make_name(c);

		if (err) {
			store_refuse(c, err == -ENAMETOOLONG ? 414 : 500, "store_name", &s->refused);
			return;
		}
	}
	if (req->framing == BODY_NONE)
		hand_over(c);
	else if (req->framing == BODY_SIZED && !grow(c, (size_t)req->content_length))
		store_refuse_busy(c, "store_busy", &s->busy);
}
