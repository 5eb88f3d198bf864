/* SPDX-License-Identifier: MIT */
/* GET and HEAD of a resource: 200, 206 for one range, 304, 404, 412, 416 (RFC 9110). */
#include "app/store_internal.h"

#include "app/range.h"

/* Up to here the reply's own buffers take it, and nothing is allocated. */
#define COPY_MAX 16384u

static void add_identity(struct reply *r, const struct store_value *v, struct span etag)
{
	reply_add(r, SPAN("ETag"), etag);
	reply_add_date(r, SPAN("Last-Modified"), v->modified_s);
}

static void add_head(struct reply *r, const struct store_value *v, struct span etag)
{
	reply_add(r, SPAN("Content-Type"), v->type);
	add_identity(r, v, etag);
	reply_add(r, SPAN("Accept-Ranges"), SPAN("bytes"));
	/* Whoever may write here chose the type; a browser shall not choose another one. */
	reply_add(r, SPAN("X-Content-Type-Options"), SPAN("nosniff"));
}

/* The head is there; `part` is in the map, which the view is about to leave. */
static bool send_part(struct store_call *c, struct span part, struct store_body **ret_copy)
{
	*ret_copy = NULL;
	if (c->req->method == METHOD_HEAD || part.len <= COPY_MAX)
		return true;
	*ret_copy = store_body_new(c->route->store, part.len);
	if (!*ret_copy)
		return false;
	memcpy((*ret_copy)->data, part.ptr, part.len);
	return true;
}

static void send_content(struct store_call *c, const struct store_value *v, struct span etag, struct span part)
{
	struct store *s = c->route->store;
	struct reply *r = c->reply;
	struct store_body *copy;

	/* Before the head, so that it can still be refused. */
	if (!send_part(c, part, &copy)) {
		r->field_count = 0;
		reply_set_status(r, 200);
		store_refuse_busy(c, "store_busy", &s->stats->busy);
		return;
	}
	add_head(r, v, etag);
	store_count(&s->stats->reads);
	reply_begin(r, part.len);
	if (copy)
		reply_write_held(r, span_of(copy->data, part.len), &copy->hold);
	else if (c->req->method != METHOD_HEAD)
		reply_write(r, part.ptr, part.len);
	reply_end(r);
	if (copy)
		hold_put(&copy->hold);
	store_call_end(c);
}

static void send_range(struct store_call *c, const struct store_value *v, struct span etag, const struct byte_range *range)
{
	reply_set_status(c->reply, 206);
	reply_addf(c->reply, SPAN("Content-Range"), "bytes %llu-%llu/%zu", (unsigned long long)range->first,
		   (unsigned long long)(range->first + range->len - 1), v->content.len);
	send_content(c, v, etag, span_of(v->content.ptr + range->first, range->len));
}

/* RFC 9110 14.2: Range is for GET; a server may answer several ranges with the whole, and resources are small here. */
static void send_value(struct store_call *c, const struct store_value *v, const struct validators *valid)
{
	enum range_result result = RANGE_IGNORE;
	struct range_set set;

	if (c->req->known[HEADER_RANGE] && c->req->method == METHOD_GET && conditional_allows_range(c->req, valid))
		result = range_parse(request_header(c->req, HEADER_RANGE), v->content.len, &set);
	if (result == RANGE_UNSATISFIABLE) {
		reply_addf(c->reply, SPAN("Content-Range"), "bytes */%zu", v->content.len);
		store_refuse(c, 416, NULL, &c->route->store->stats->refused);
	} else if (result == RANGE_PARTIAL && set.count == 1) {
		send_range(c, v, valid->etag, &set.ranges[0]);
	} else {
		send_content(c, v, valid->etag, v->content);
	}
}

static void on_value(struct store_ask *a, int err, const struct store_value *v)
{
	struct store_call *c = container_of(a, struct store_call, ask);
	struct store_stats *stats = c->route->store->stats;
	char text[STORE_ETAG_SIZE], date[HTTP_DATE_LEN];
	struct validators valid;

	if (err == -ENOENT) {
		store_refuse(c, 404, NULL, &stats->missing);
		return;
	}
	if (err) {
		store_refuse_error(c, err);
		return;
	}
	/* Two changes within a second have the same date: it is no strong validator. */
	http_date_print(v->modified_s, date);
	valid = (struct validators){
		.etag = store_etag_print(&v->version, text),
		.modified = span_of(date, sizeof(date)),
		.modified_s = v->modified_s,
	};
	switch (conditional_check(c->req, &valid)) {
	case CONDITIONAL_NOT_MODIFIED:
		reply_set_status(c->reply, 304);
		add_identity(c->reply, v, valid.etag);
		store_count(&stats->not_modified);
		reply_begin(c->reply, v->content.len);
		reply_end(c->reply);
		store_call_end(c);
		return;
	case CONDITIONAL_FAILED:
		store_refuse(c, 412, NULL, &stats->mismatches);
		return;
	case CONDITIONAL_PROCEED:
		send_value(c, v, &valid);
		return;
	}
}

void store_read(struct store_call *c)
{
	struct store_engine *e = c->route->store->engine;

	c->ask.on_value = on_value;
	e->ops->get(e, &c->ask, c->key);
}
