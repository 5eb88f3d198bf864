/* SPDX-License-Identifier: MIT */
/*
 * Heads, written anew from what was parsed: of the request for the server, of the response for the client.  What
 * belongs to one connection only stays on it (RFC 9110 7.6.1), what says how the message is framed is said again by us.
 *
 * The path goes on as it came, unless dot or empty segments were removed from it: then what was decided on goes on, so
 * that no server resolves "/public/../private" after the route was chosen for it.
 */
#include "app/proxy_internal.h"
#include "base/err.h"
#include "http/trace.h"

#define SCRATCH_SIZE 65536u

struct buf proxy_scratch(void)
{
	static char memory[SCRATCH_SIZE];
	struct buf b;

	buf_init(&b, memory, sizeof(memory));
	return b;
}

static void put_field(struct buf *b, struct span name, struct span value)
{
	buf_add_span(b, name);
	buf_add_lit(b, ": ");
	buf_add_span(b, value);
	buf_add_lit(b, "\r\n");
}

/* Fields of one connection ------------------------------------------------------------------------------------------ */

/* Is this name an item of one of the Connection fields? */
static bool is_named(const struct field *fields, unsigned count, struct span name)
{
	for (unsigned i = 0; i < count; i++)
		if (fields[i].id == HEADER_CONNECTION && span_list_has(fields[i].value, name))
			return true;
	return false;
}

#define BIT(id) (1u << (id))
_Static_assert(HEADER_COUNT <= 32, "a bit each");

#define OF_CONNECTION                                                                                                  \
	(BIT(HEADER_CONNECTION) | BIT(HEADER_KEEP_ALIVE) | BIT(HEADER_PROXY_CONNECTION) | BIT(HEADER_TE) |             \
	 BIT(HEADER_TRANSFER_ENCODING) | BIT(HEADER_UPGRADE) | BIT(HEADER_CONTENT_LENGTH))

static bool is_of_connection(const struct field *f)
{
	return OF_CONNECTION & BIT(f->id);
}

/* Lines of fields ------------------------------------------------------------------------------------------------ */

/*
 * Fields are written as "Name: value", whatever white space they came with.  Most came in just this form, one behind the
 * other, and then writing them one by one and copying the lot gives the same bytes: a run of such lines is copied at once.
 */
struct line_run {
	const char *start, *end;
};

/* Looks at four bytes around the value, all of which are of the head: a line ends with CRLF in any case. */
static inline bool is_line_usual(const struct field *f)
{
	const char *colon = f->name.ptr + f->name.len, *end = f->value.ptr + f->value.len;

	return f->value.ptr == colon + 2 && colon[0] == ':' && colon[1] == ' ' && end[0] == '\r' && end[1] == '\n';
}

static void end_run(struct line_run *r, struct buf *b)
{
	buf_add(b, r->start, (size_t)(r->end - r->start));
	r->start = r->end = NULL;
}

static inline void put_line(struct line_run *r, struct buf *b, const struct field *f)
{
	bool is_usual = is_line_usual(f);

	if (!is_usual || f->name.ptr != r->end) {
		end_run(r, b);
		r->start = f->name.ptr;
	}
	if (is_usual) {
		r->end = f->value.ptr + f->value.len + 2;
	} else {
		r->start = NULL;
		put_field(b, f->name, f->value);
	}
}

/* The request --------------------------------------------------------------------------------------------------- */

static bool is_path_byte(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("-._~!$&'()*+,;=:@/", c));
}

/* RFC 3986 3.3 */
static void put_encoded(struct buf *b, struct span path)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < path.len; i++) {
		uint8_t c = (uint8_t)path.ptr[i];

		if (is_path_byte(c)) {
			buf_add_char(b, (char)c);
		} else {
			buf_add_char(b, '%');
			buf_add_char(b, hex[c >> 4]);
			buf_add_char(b, hex[c & 15]);
		}
	}
}

/* Did normalising do no more than decode? */
static bool is_only_decoded(const struct request *req)
{
	size_t escapes = 0;

	if (req->raw_path.ptr == req->path.ptr)
		return true;
	for (size_t i = 0; i < req->raw_path.len; i++)
		escapes += req->raw_path.ptr[i] == '%';
	return req->path.len + 2 * escapes == req->raw_path.len;
}

static struct span cut_prefix(struct span path, struct span prefix)
{
	return span_of(path.ptr + prefix.len, path.len - prefix.len);
}

/* The rest of the path behind the rewritten prefix, with exactly one slash in between. */
static void put_rewritten(const struct proxy_call *c, struct buf *b)
{
	const struct request *req = c->req;
	struct span prefix = span_str(c->route->prefix), to = span_str(c->route->rewrite), rest;
	bool is_raw = is_only_decoded(req) && span_starts_with(req->raw_path, prefix);

	rest = cut_prefix(is_raw ? req->raw_path : req->path, prefix);
	while (rest.len && rest.ptr[0] == '/')
		rest = span_of(rest.ptr + 1, rest.len - 1);
	buf_add_span(b, to);
	if (rest.len && !span_ends_with(to, SPAN("/")))
		buf_add_char(b, '/');
	if (is_raw)
		buf_add_span(b, rest);
	else
		put_encoded(b, rest);
}

static void put_target(const struct proxy_call *c, struct buf *b)
{
	const struct request *req = c->req;

	if (c->route->rewrite)
		put_rewritten(c, b);
	else if (is_only_decoded(req))
		buf_add_span(b, req->raw_path);
	else
		put_encoded(b, req->path);
	if (req->has_query) {
		buf_add_char(b, '?');
		buf_add_span(b, req->query);
	}
}

static void put_host(const struct proxy_call *c, struct buf *b)
{
	char text[UPSTREAM_ADDRESS_TEXT];
	struct span host = span_str(c->route->host);

	if (c->route->is_host_client)
		host = c->req->authority;
	if (c->route->is_host_server || host.len == 0)
		host = span_str(upstream_lease_host(&c->lease, text));
	/* A Unix socket has no name that could stand here. */
	if (span_starts_with(host, SPAN("unix:")))
		host = SPAN("localhost");
	put_field(b, SPAN("Host"), host);
}

/* What proxies say of their clients besides what is written anew: believed as far as they are. */
static bool is_hearsay(struct span name)
{
	static const struct span prefix = SPAN("X-Forwarded-");

	return span_ieq(name, SPAN("X-Real-IP")) ||
	       (name.len > prefix.len && span_ieq(span_of(name.ptr, prefix.len), prefix));
}

static bool is_stale(const struct field *f, bool is_trusted)
{
	if (f->id != HEADER_OTHER || (f->name.ptr[0] | 0x20) != 'x')
		return false;
	return !is_trusted && is_hearsay(f->name);
}

/* Fields that are written anew, or are nobody's business but ours. */
#define OURS                                                                                                           \
	(BIT(HEADER_HOST) | BIT(HEADER_EXPECT) | BIT(HEADER_X_FORWARDED_FOR) | BIT(HEADER_X_FORWARDED_HOST) |          \
	 BIT(HEADER_X_FORWARDED_PROTO) | BIT(HEADER_FORWARDED) | BIT(HEADER_VIA) | BIT(HEADER_X_REQUEST_ID))

static bool is_ours(const struct field *f)
{
	if (f->id != HEADER_OTHER)
		return (OF_CONNECTION | OURS) & BIT(f->id);
	switch (f->name.len) {
	case 5:
		/* No field of HTTP, but a setting of programs that read it as HTTP_PROXY from their environment. */
		return span_ieq(f->name, SPAN("Proxy"));
	case 14:
		return span_ieq(f->name, SPAN("HTTP2-Settings"));
	case 19:
		return span_ieq(f->name, SPAN("Proxy-Authorization"));
	default:
		return false;
	}
}

#define NAME_MAX_OURS 32	/* longer names are none of ours */

/*
 * "X_Forwarded_For" is another name to HTTP and the same to every server that hands its fields on as environment
 * variables (RFC 3875 4.1.18), where '-' becomes '_' too: it would say what only we may say.
 */
static bool is_disguised(struct span name)
{
	char plain[NAME_MAX_OURS];
	struct field f = { .name = span_of(plain, name.len) };

	if (name.len > sizeof(plain) || !memchr(name.ptr, '_', name.len))
		return false;
	for (size_t i = 0; i < name.len; i++)
		plain[i] = name.ptr[i] == '_' ? '-' : name.ptr[i];
	f.id = header_id_of(f.name);
	return is_ours(&f) || f.id == HEADER_CONTENT_TYPE || is_hearsay(f.name);
}

/* A traceparent that is not valid, or came twice, goes no further, and what belongs to it neither (W3C Trace Context 3.3). */
static bool breaks_trace(const struct request *req)
{
	return req->known[HEADER_TRACEPARENT] && !trace_is_parent(request_only_header(req, HEADER_TRACEPARENT));
}

static bool is_of_trace(const struct field *f)
{
	return f->id == HEADER_TRACEPARENT || span_ieq(f->name, SPAN("tracestate"));
}

/* "h2c" would make the server speak what nobody here understands; other protocols are the client's and the server's. */
static bool passes_upgrade(const struct request *req)
{
	bool is_fine = req->has_upgrade && req->framing == BODY_NONE;

	for (unsigned i = 0; i < req->field_count && is_fine; i++)
		if (req->fields[i].id == HEADER_UPGRADE && span_list_has(req->fields[i].value, SPAN("h2c")))
			is_fine = false;
	return is_fine;
}

static void put_connection(struct proxy_call *c, struct buf *b)
{
	const struct request *req = c->req;

	c->has_upgrade = passes_upgrade(req);
	if (c->has_upgrade) {
		buf_add_lit(b, "Connection: Upgrade\r\n");
		for (unsigned i = 0; i < req->field_count; i++)
			if (req->fields[i].id == HEADER_UPGRADE)
				put_field(b, SPAN("Upgrade"), req->fields[i].value);
	} else if (c->lease.is_lone) {
		buf_add_lit(b, "Connection: close\r\n");
	}
	/* Trailers are passed on, so a client that wants them may say so. */
	if (req->known[HEADER_TE] && span_list_has(request_header(req, HEADER_TE), SPAN("trailers")) && !c->has_upgrade)
		buf_add_lit(b, "Connection: TE\r\nTE: trailers\r\n");
}

static void put_framing(const struct proxy_call *c, struct buf *b)
{
	const struct request *req = c->req;

	if (req->framing == BODY_SIZED || (req->framing == BODY_NONE && req->known[HEADER_CONTENT_LENGTH])) {
		buf_add_lit(b, "Content-Length: ");
		buf_add_u64(b, req->framing == BODY_SIZED ? req->content_length : 0);
		buf_add_lit(b, "\r\n");
	} else if (req->framing == BODY_CHUNKED) {
		buf_add_lit(b, "Transfer-Encoding: chunked\r\n");
	} else if (req->method == METHOD_POST || req->method == METHOD_PUT) {
		/* RFC 9110 8.6: said even where there is none. */
		buf_add_lit(b, "Content-Length: 0\r\n");
	}
	if (req->expects_continue)
		buf_add_lit(b, "Expect: 100-continue\r\n");
}

bool proxy_write_request(struct proxy_call *c, struct buf *b)
{
	const struct request *req = c->req;
	const struct proxy_rules *rules = &c->route->request_rules;
	struct line_run run = { NULL, NULL };
	bool drops_trace = breaks_trace(req), is_trusted = proxy_trusts(c, req->peer);

	buf_add_span(b, req->method_text);
	buf_add_char(b, ' ');
	put_target(c, b);
	buf_add_lit(b, " HTTP/1.1\r\n");
	put_host(c, b);
	for (unsigned i = 0; i < req->field_count; i++) {
		const struct field *f = &req->fields[i];

		if (is_ours(f) || is_stale(f, is_trusted) || is_disguised(f->name) ||
		    (req->names_fields && is_named(req->fields, req->field_count, f->name)) ||
		    (drops_trace && is_of_trace(f)) ||
		    (rules->dropped_count && proxy_rules_drop(rules, f->name)))
			continue;
		put_line(&run, b, f);
	}
	end_run(&run, b);
	proxy_write_forwarded(c, b);
	proxy_rules_write(rules, b);
	put_connection(c, b);
	put_framing(c, b);
	buf_add_lit(b, "\r\n");
	return !b->is_truncated;
}

/* The response -------------------------------------------------------------------------------------------------- */

/* What a connection changes to is said by who changes it: us, but in the server's words. */
static bool says_upgrade(const struct response *res, const struct field *f)
{
	return f->id == HEADER_UPGRADE && res->status == 101;
}

void proxy_write_fields(const struct proxy_call *c, struct buf *b)
{
	const struct response *res = &c->res;
	const struct proxy_rules *rules = &c->route->response_rules;
	struct line_run run = { NULL, NULL };
	bool is_final = res->status >= 200 || res->status == 101;

	for (unsigned i = 0; i < res->field_count; i++) {
		const struct field *f = &res->fields[i];

		if (!says_upgrade(res, f) &&
		    (is_of_connection(f) ||
		     (res->names_fields && is_named(res->fields, res->field_count, f->name)) ||
		     (rules->dropped_count && proxy_rules_drop(rules, f->name))))
			continue;
		put_line(&run, b, f);
	}
	end_run(&run, b);
	/* Once for each answer: nobody expects the answer's cookies in a 100. */
	if (is_final)
		proxy_rules_write(rules, b);
}

/* RFC 9110 6.5.1: nothing that decides about framing, routing or who somebody is. */
static bool may_trail(struct span name)
{
	static const struct span refused[] = {
		SPAN("Set-Cookie"),	SPAN("Cookie"),		  SPAN("Authorization"),
		SPAN("Cache-Control"),	SPAN("Max-Forwards"),	  SPAN("Content-Encoding"),
		SPAN("Content-Range"),	SPAN("Location"),	  SPAN("Age"),
		SPAN("Expires"),	SPAN("Vary"),		  SPAN("Retry-After"),
		SPAN("WWW-Authenticate"), SPAN("Proxy-Authenticate"), SPAN("Proxy-Authorization"),
	};

	if (header_id_of(name) != HEADER_OTHER)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		if (span_ieq(refused[i], name))
			return false;
	return true;
}

void proxy_filter_trailers(struct span in, struct buf *out)
{
	while (in.len) {
		const char *end = memchr(in.ptr, '\n', in.len);
		struct span line = span_of(in.ptr, end ? (size_t)(end + 1 - in.ptr) : in.len);
		const char *colon = memchr(line.ptr, ':', line.len);

		if (colon && may_trail(span_of(line.ptr, (size_t)(colon - line.ptr))))
			buf_add_span(out, line);
		in = span_of(line.ptr + line.len, in.len - line.len);
	}
}
