/* SPDX-License-Identifier: MIT */
/* What a server is told about the client and the request, and by what requests are kept together. */
#include "app/proxy_internal.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/err.h"
#include "http/forwarded.h"
#include "http/trace.h"

/* Whom a request belongs to ----------------------------------------------------------------------------------------- */

static struct span address_bytes(const union sock_addr *a)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	switch (a->any.sa_family) {
	case AF_INET:
		return span_of((const char *)&a->v4.sin_addr, sizeof(a->v4.sin_addr));
	case AF_INET6:
		/* The same client by either kind of socket. */
		if (memcmp(&a->v6.sin6_addr, mapped, sizeof(mapped)) == 0)
			return span_of((const char *)&a->v6.sin6_addr + 12, 4);
		return span_of((const char *)&a->v6.sin6_addr, sizeof(a->v6.sin6_addr));
	default:
		return span_of("", 0);
	}
}

/* RFC 6265 4.2.1: "name=value; name=value". */
static struct span find_cookie(const struct request *req, struct span name)
{
	for (unsigned i = 0; i < req->field_count; i++) {
		struct span rest = req->fields[i].value;

		if (!span_ieq(req->fields[i].name, SPAN("Cookie")))
			continue;
		while (rest.len) {
			const char *end = memchr(rest.ptr, ';', rest.len);
			struct span pair = span_trim(span_of(rest.ptr, end ? (size_t)(end - rest.ptr) : rest.len));
			size_t used = end ? (size_t)(end + 1 - rest.ptr) : rest.len;

			if (pair.len > name.len && pair.ptr[name.len] == '=' && memcmp(pair.ptr, name.ptr, name.len) == 0)
				return span_of(pair.ptr + name.len + 1, pair.len - name.len - 1);
			rest = span_of(rest.ptr + used, rest.len - used);
		}
	}
	return span_of(NULL, 0);
}

static struct span find_field(const struct request *req, struct span name)
{
	for (unsigned i = 0; i < req->field_count; i++)
		if (span_ieq(req->fields[i].name, name))
			return req->fields[i].value;
	return span_of(NULL, 0);
}

static bool is_trusted(void *ctx, const union sock_addr *addr)
{
	return cidr_set_has(ctx, addr);
}

/* Behind a balancer all requests come from the balancer: its clients would be one client, on one server. */
static void find_client(const struct proxy *p, const struct request *req, union sock_addr *ret_client)
{
	struct forwarded_trust trust = { .ctx = (void *)p->trusted };

	if (p->trusted)
		trust.is_trusted = is_trusted;
	forwarded_client(req, req->peer, &trust, ret_client);
}

/* Requests without what is asked for are spread by the client's address. */
uint64_t proxy_hash_key(const struct proxy_group *g, const struct request *req)
{
	struct span key = span_of(NULL, 0);
	union sock_addr client;

	switch (g->hash) {
	case PROXY_HASH_URI:
		return XXH3_64bits(req->path.ptr, req->path.len) ^
		       (req->query.len ? XXH3_64bits(req->query.ptr, req->query.len) : 0);
	case PROXY_HASH_HEADER:
		key = find_field(req, span_str(g->hash_name));
		break;
	case PROXY_HASH_COOKIE:
		key = find_cookie(req, span_str(g->hash_name));
		break;
	case PROXY_HASH_IP:
		break;
	}
	if (key.len == 0) {
		find_client(g->proxy, req, &client);
		key = address_bytes(&client);
	}
	return XXH3_64bits(key.ptr, key.len);
}

/* What the server is told ---------------------------------------------------------------------------------------- */

/* What a route sets or removes is not written here as well: two of a name are a riddle to the server. */
static bool is_ours_to_write(const struct proxy_call *c, struct span name)
{
	const struct proxy_rules *rules = &c->route->request_rules;

	return !rules->dropped_count || !proxy_rules_drop(rules, name);
}

/* Inlined, so that each of the few printers is called directly. */
static inline void put_value(const struct proxy_call *c, struct buf *b, struct span name,
			     void (*print)(struct buf *b, const struct forwarded_hop *h), const struct forwarded_hop *hop)
{
	size_t start = b->len, value;

	if (!is_ours_to_write(c, name))
		return;
	buf_add_span(b, name);
	buf_add_lit(b, ": ");
	value = b->len;
	print(b, hop);
	if (b->len == value)
		b->len = start;
	else
		buf_add_lit(b, "\r\n");
}

/*
 * One that came is kept, so that it stays the same along the whole way; else it begins here, and a second attempt keeps
 * the first one's.
 */
static void put_request_id(const struct proxy_call *c, struct buf *b)
{
	char *kept = c->reply->origin.request_id;
	size_t start;

	if (!is_ours_to_write(c, SPAN("X-Request-Id")))
		return;
	buf_add_lit(b, "X-Request-Id: ");
	start = b->len;
	if (kept[0])
		buf_add(b, kept, strlen(kept));
	else
		trace_print_request_id(b, c->req);
	/* A longer one is the client's, which the log finds in the request. */
	if (!kept[0] && b->len - start < ORIGIN_ID_SIZE) {
		memcpy(kept, b->ptr + start, b->len - start);
		kept[b->len - start] = '\0';
	}
	buf_add_lit(b, "\r\n");
}

/* Proxies of this kind behind one another are few; a server that is ourselves, by whatever name, would get thousands. */
#define ROUNDS_MAX 10u

static const struct span own_name = SPAN("sluice");

bool proxy_goes_round(const struct request *req)
{
	return forwarded_via_count(req, own_name) >= ROUNDS_MAX;
}

bool proxy_trusts(const struct proxy_call *c, const union sock_addr *peer)
{
	const struct cidr_set *trusted = call_proxy(c)->trusted;

	return trusted && trusted->count > 0 && cidr_set_has(trusted, peer);
}

void proxy_write_forwarded(const struct proxy_call *c, struct buf *b)
{
	const struct request *req = c->req;
	struct forwarded_hop hop;

	forwarded_hop_init(&hop, req, req->peer, proxy_trusts(c, req->peer));
	put_value(c, b, SPAN("X-Forwarded-For"), forwarded_print_for, &hop);
	put_value(c, b, SPAN("X-Forwarded-Proto"), forwarded_print_proto, &hop);
	put_value(c, b, SPAN("X-Forwarded-Host"), forwarded_print_host, &hop);
	put_value(c, b, SPAN("Forwarded"), forwarded_print_forwarded, &hop);
	if (is_ours_to_write(c, SPAN("Via"))) {
		buf_add_lit(b, "Via: ");
		forwarded_print_via(b, req->fields, req->known[HEADER_VIA] ? req->field_count : 0, req->version_minor,
				    own_name);
		buf_add_lit(b, "\r\n");
	}
	put_request_id(c, b);
}
