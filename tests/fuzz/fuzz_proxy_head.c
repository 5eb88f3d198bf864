/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: a request that our parser takes, through the proxy's writer, and what the server gets back through
 * the parser: it has to be the same request.  Method, framing, path and query are those that were decided on; each field
 * is one that came, in order, or one of ours; nothing of the client's connection is among them.
 *
 * The first byte picks the route.  In the text that follows a LF stands for CRLF, so that the fuzzer gets somewhere.
 */
#include <stdio.h>

#include "../unit/proxy_head_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_MAX 4096u

static const char *const set[] = { "X-Set: 1", "X-Forwarded-Proto: https" };
static const char *const gone[] = { "Cookie", "Via" };

static const struct proxy_route_options routes[] = {
	{ .host = "client" },
	{ .host = "app.internal:81" },
	{ .prefix = { "/a", 2 }, .rewrite = "/" },
	{ .prefix = { "/a", 2 }, .rewrite = "/v1/x" },
	{ .prefix = { "/a/", 3 }, .rewrite = "/v1/" },
	{ .request_set = { (char *const *)set, 2 }, .request_remove = { (char *const *)gone, 2 } },
};

#define ROUTE_COUNT ARRAY_LEN(routes)

static struct head_driver drivers[ROUTE_COUNT];
static struct request again;

static void open_all(void)
{
	for (size_t i = 0; i < ROUTE_COUNT; i++) {
		BUG_ON(head_driver_open(&drivers[i], &routes[i]));
		drivers[i].call.lease.is_lone = i == 1;
	}
	BUG_ON(cidr_set_add(&drivers[3].trusted, SPAN("192.0.2.0/24")));
}

/* As the routes of a site would have it, and as the session answers by itself. */
static bool comes_here(const struct head_driver *d)
{
	struct span prefix = span_str(d->route->prefix), path = d->req.path;

	if (d->req.method == METHOD_CONNECT || d->req.method == METHOD_TRACE || span_eq(path, SPAN("*")))
		return false;
	return span_starts_with(path, prefix) && (path.len == prefix.len || prefix.ptr[prefix.len - 1] == '/' ||
						  path.ptr[prefix.len] == '/');
}

static void check_path(const struct head_driver *d)
{
	struct span prefix = span_str(d->route->prefix), to = span_str(d->route->rewrite), rest = d->req.path;
	char memory[2 * TEXT_MAX];
	struct buf b;

	if (!d->route->rewrite) {
		BUG_ON(!span_eq(again.path, d->req.path));
		return;
	}
	rest = span_of(rest.ptr + prefix.len, rest.len - prefix.len);
	while (rest.len && *rest.ptr == '/')
		rest = span_of(rest.ptr + 1, rest.len - 1);
	buf_init(&b, memory, sizeof(memory));
	buf_add_span(&b, to);
	if (rest.len && !span_ends_with(to, SPAN("/")))
		buf_add_char(&b, '/');
	buf_add_span(&b, rest);
	BUG_ON(!span_eq(again.path, buf_span(&b)));
}

static void check_message(const struct head_driver *d)
{
	const struct request *req = &d->req;
	bool is_client_host = d->route->is_host_client && req->authority.len;

	BUG_ON(!span_eq(again.method_text, req->method_text) || again.version_minor != 1);
	BUG_ON(again.framing != req->framing || again.expects_continue != req->expects_continue);
	BUG_ON(req->framing == BODY_SIZED && again.content_length != req->content_length);
	BUG_ON(again.has_query != req->has_query || !span_eq(again.query, req->query));
	BUG_ON(again.has_upgrade != d->call.has_upgrade || (again.has_upgrade && !req->has_upgrade));
	BUG_ON(again.is_keep_alive != (!d->call.lease.is_lone || again.has_upgrade));
	BUG_ON(!span_eq(again.authority, is_client_host ? req->authority : again.authority));
	check_path(d);
}

static bool is_written_by_us(struct span name)
{
	static const struct span ours[] = {
		SPAN("Host"),	    SPAN("X-Forwarded-For"), SPAN("X-Forwarded-Proto"), SPAN("X-Forwarded-Host"),
		SPAN("Forwarded"),  SPAN("Via"),	     SPAN("X-Request-Id"),	SPAN("X-Set"),
		SPAN("Connection"), SPAN("Upgrade"),	     SPAN("TE"),		SPAN("Content-Length"),
		SPAN("Transfer-Encoding"), SPAN("Expect"),
	};

	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		if (span_ieq(ours[i], name))
			return true;
	return false;
}

static bool is_connection_named(const struct request *req, struct span name)
{
	for (unsigned i = 0; i < req->field_count; i++)
		if (req->fields[i].id == HEADER_CONNECTION && span_list_has(req->fields[i].value, name))
			return true;
	return false;
}

/* Each name that we write once, and only once; the others in the order in which they came. */
static void check_fields(const struct request *req)
{
	unsigned at = 0;

	BUG_ON(again.known[HEADER_KEEP_ALIVE] || again.known[HEADER_PROXY_CONNECTION]);
	for (unsigned i = 0; i < again.field_count; i++) {
		const struct field *f = &again.fields[i];

		if (is_written_by_us(f->name))
			continue;
		while (at < req->field_count && !(span_eq(req->fields[at].name, f->name) &&
						  span_eq(req->fields[at].value, f->value)))
			at++;
		BUG_ON(at++ == req->field_count);
		BUG_ON(is_connection_named(req, f->name) && !span_ieq(f->name, SPAN("close")) &&
		       !span_ieq(f->name, SPAN("keep-alive")) && !span_ieq(f->name, SPAN("upgrade")));
	}
	for (unsigned id = HEADER_X_FORWARDED_FOR; id <= HEADER_X_REQUEST_ID; id++)
		for (unsigned i = again.known[id], count = 0; i > 0 && i <= again.field_count; i++)
			BUG_ON(again.fields[i - 1].id == id && count++ > 0);
}

static void check(struct head_driver *d, struct span text)
{
	static char memory[1 << 20];
	struct parse_limits limits = head_limits;
	struct parser p;
	struct buf b;
	size_t len;

	if (!head_driver_parse(d, text) || !comes_here(d))
		return;
	buf_init(&b, memory, sizeof(memory));
	BUG_ON(!proxy_write_request(&d->call, &b));
	limits.head_max = sizeof(memory);
	/* Ours come on top. */
	if (d->req.field_count > REQUEST_FIELDS_MAX - 16)
		return;
	parser_init(&p, &limits);
	parser_reset(&p, &again);
	if (parser_head(&p, b.ptr, b.len, &len) != PARSE_DONE || len != b.len) {
		fprintf(stderr, "%u %s\n%.*s", p.status, p.why ? p.why : "unfinished", (int)b.len, b.ptr);
		abort();
	}
	check_message(d);
	check_fields(&d->req);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[2 * TEXT_MAX];
	struct buf b;

	if (!drivers[0].route)
		open_all();
	if (size < 2 || size > TEXT_MAX)
		return 0;
	buf_init(&b, text, sizeof(text));
	for (size_t i = 1; i < size; i++) {
		if (data[i] == '\n')
			buf_add_char(&b, '\r');
		buf_add_char(&b, (char)data[i]);
	}
	check(&drivers[data[0] % ROUTE_COUNT], buf_span(&b));
	return 0;
}
