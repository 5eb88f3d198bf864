/* SPDX-License-Identifier: MIT */
/*
 * GET and HEAD of a collection: a page of what is in it, as JSON.
 *
 *   {"items": [{"name": "a", "etag": "\"7-1f\"", "size": 5, "type": "text/plain", "modified": 1700000000},
 *              {"name": "sub/"}], "next": "sub/"}
 *
 * `next` and a Link to the next page (RFC 8288) are there as long as there is more.
 */
#include "app/store_internal.h"

#include "app/escape.h"

#define PAGE_MIN 8192u
#define PAGE_MAX (256u * 1024)	/* bytes; a page ends before it, whatever its limit */
/* A name and a type of which each byte is escaped, and the rest. */
#define ITEM_MAX (2 * STORE_KEY_MAX + 2 * STORE_TYPE_MAX + 256)
#define END_MAX	 (2 * STORE_KEY_MAX + 64)

/* Names have no control characters and types are printable ASCII, so these two are all. */
static void print_string(struct buf *b, struct span text)
{
	buf_add_char(b, '"');
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '"' || text.ptr[i] == '\\')
			buf_add_char(b, '\\');
		buf_add_char(b, text.ptr[i]);
	}
	buf_add_char(b, '"');
}

static void print_item(struct buf *b, struct span name, const struct store_value *v)
{
	char etag[STORE_ETAG_SIZE];

	buf_add_lit(b, "{\"name\": ");
	print_string(b, name);
	if (v) {
		buf_add_lit(b, ", \"etag\": ");
		print_string(b, store_etag_print(&v->version, etag));
		buf_add_lit(b, ", \"size\": ");
		buf_add_u64(b, v->content.len);
		buf_add_lit(b, ", \"type\": ");
		print_string(b, v->type);
		buf_add_lit(b, ", \"modified\": ");
		buf_add_u64(b, (uint64_t)v->modified_s);
	}
	buf_add_char(b, '}');
}

static bool has_room(struct store_call *c)
{
	struct store_body *b = c->listing;

	if (b->cap - b->len >= ITEM_MAX + END_MAX)
		return true;
	if (b->cap >= PAGE_MAX)
		return false;
	b = store_body_grow(b, MIN(2 * b->cap, (size_t)PAGE_MAX));
	if (!b)
		return false;
	c->listing = b;
	return true;
}

static bool on_item(struct store_ask *a, struct span name, const struct store_value *v)
{
	struct store_call *c = container_of(a, struct store_call, ask);
	struct buf b;

	if (c->count == c->limit || !has_room(c))
		return false;
	buf_init(&b, c->listing->data + c->listing->len, ITEM_MAX);
	if (c->count++)
		buf_add_lit(&b, ",\n");
	print_item(&b, name, v);
	BUG_ON(b.is_truncated);
	c->listing->len += b.len;
	memcpy(c->last, name.ptr, name.len);
	c->last_len = name.len;
	return true;
}

static void print_end(struct store_call *c, bool has_more)
{
	struct buf b;

	buf_init(&b, c->listing->data + c->listing->len, END_MAX);
	buf_add_lit(&b, "]");
	if (has_more) {
		buf_add_lit(&b, ", \"next\": ");
		print_string(&b, span_of(c->last, c->last_len));
	}
	buf_add_lit(&b, "}\n");
	BUG_ON(b.is_truncated);
	c->listing->len += b.len;
}

static void send_page(struct store_call *c, bool has_more)
{
	char memory[ESCAPE_URL_MAX * STORE_KEY_MAX + 64];
	struct reply *r = c->reply;
	struct buf link;

	print_end(c, has_more);
	buf_init(&link, memory, sizeof(memory));
	buf_add_lit(&link, "<?");
	store_page_print(&link, span_of(c->last, c->last_len), c->limit);
	buf_add_lit(&link, ">; rel=\"next\"");
	if (has_more)
		reply_add(r, SPAN("Link"), buf_span(&link));
	reply_add(r, SPAN("Content-Type"), SPAN("application/json"));
	reply_add(r, SPAN("Cache-Control"), SPAN("no-cache"));
	reply_add(r, SPAN("X-Content-Type-Options"), SPAN("nosniff"));
	store_count(&c->route->store->stats->listings);
	reply_begin(r, c->listing->len);
	if (c->req->method != METHOD_HEAD)
		reply_write_held(r, span_of(c->listing->data, c->listing->len), &c->listing->hold);
	reply_end(r);
	store_call_end(c);
}

static void on_listed(struct store_ask *a, int err, bool has_more)
{
	struct store_call *c = container_of(a, struct store_call, ask);
	struct store_stats *stats = c->route->store->stats;

	if (err)
		store_refuse_error(c, err);
	else if (has_more && c->count == 0)
		store_refuse_busy(c, "store_busy", &stats->busy);
	else
		send_page(c, has_more);
}

void store_list(struct store_call *c)
{
	struct store *s = c->route->store;
	struct store_page page;

	if (store_page_parse(c->req->query, &page)) {
		store_refuse(c, 400, "store_query", &s->stats->refused);
		return;
	}
	c->limit = page.limit;
	c->listing = store_body_new(s, PAGE_MIN);
	if (!c->listing) {
		store_refuse_busy(c, "store_busy", &s->stats->busy);
		return;
	}
	memcpy(c->listing->data, "{\"items\": [", 11);
	c->listing->len = 11;
	c->ask.on_item = on_item;
	c->ask.on_listed = on_listed;
	s->engine->ops->list(s->engine, &c->ask, c->key, page.after, page.limit);
}
