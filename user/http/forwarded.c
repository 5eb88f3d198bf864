/* SPDX-License-Identifier: MIT */
/*
 * Who the client is, by the lists of trusted proxies; see forwarded.h.
 *
 * Lists are read from the right, where the nearest proxy wrote, and no further than needed.  Reading
 * from the left would let a client hide what a proxy appends: `for="x` and a quote that never closes
 * would swallow it.
 */
#include "http/forwarded.h"

#include "http/scan.h"

/* Bytes of a node with its port, unescaped: "[" 45 "]:65535", or a name somebody made up. */
#define NODE_MAX 64

/* Lists from the right ------------------------------------------------------------------------ */

/* Where the quoted string opens that closes at `close`; 0 when it never does. */
static size_t quote_start(struct span list, size_t close)
{
	for (size_t i = close; i > 0; i--) {
		size_t slashes = 0;

		if (list.ptr[i - 1] != '"')
			continue;
		while (i - 1 > slashes && list.ptr[i - 2 - slashes] == '\\')
			slashes++;
		if (slashes % 2 == 0)
			return i - 1;
	}
	return 0;
}

/* Takes the last element that is not empty off the list; false when there is none. */
static bool prev_item(struct span *list, bool has_quotes, struct span *ret_item)
{
	while (list->len) {
		size_t start = list->len;

		while (start > 0 && list->ptr[start - 1] != ',') {
			start--;
			if (has_quotes && list->ptr[start] == '"')
				start = quote_start(*list, start);
		}
		*ret_item = span_trim(span_of(list->ptr + start, list->len - start));
		list->len = start > 0 ? start - 1 : 0;
		if (ret_item->len)
			return true;
	}
	return false;
}

/* Nodes --------------------------------------------------------------------------------------- */

/* "80", and where names may stand for it "_http": told, but no number. */
static bool parse_port(struct span text, bool may_be_hidden, in_port_t *ret_port)
{
	uint64_t value;

	*ret_port = 0;
	if (may_be_hidden && text.len > 1 && text.ptr[0] == '_')
		return true;
	if (text.len > 5 || span_to_u64(text, &value) || value > 65535)
		return false;
	*ret_port = htons((uint16_t)value);
	return true;
}

/* Cuts "HOST:PORT" or "[HOST]:PORT"; *ret_port is empty without one.  False: brackets do not match. */
static bool cut_node(struct span node, struct span *ret_host, struct span *ret_port)
{
	const char *end = node.ptr + node.len;
	const char *behind = memchr(node.ptr, ':', node.len);

	*ret_host = node;
	*ret_port = span_of(end, 0);
	if (node.ptr[0] == '[') {
		behind = memchr(node.ptr, ']', node.len);
		if (!behind)
			return false;
		*ret_host = span_of(node.ptr + 1, (size_t)(behind - node.ptr) - 1);
		behind++;
		if (behind == end)
			return true;
		if (*behind != ':' || behind + 1 == end)
			return false;
	} else if (!behind || memchr(behind + 1, ':', (size_t)(end - behind) - 1)) {
		/* A bare address of either family. */
		return true;
	} else {
		*ret_host = span_of(node.ptr, (size_t)(behind - node.ptr));
		if (behind + 1 == end)
			return false;
	}
	*ret_port = span_of(behind + 1, (size_t)(end - behind) - 1);
	return true;
}

/* `is_strict`: as RFC 7239 6 has it, which wants brackets around IPv6 and knows hidden ports. */
static bool parse_node(struct span node, bool is_strict, union sock_addr *ret)
{
	struct span host, port_text;
	in_port_t port = 0;
	bool is_v6;

	if (node.len == 0 || !cut_node(node, &host, &port_text) ||
	    sock_addr_parse_host(host, ret) ||
	    (port_text.len && !parse_port(port_text, is_strict, &port)))
		return false;
	is_v6 = ret->any.sa_family == AF_INET6;
	if (node.ptr[0] == '[' ? !is_v6 : is_v6 && is_strict)
		return false;
	if (is_v6)
		ret->v6.sin6_port = port;
	else
		ret->v4.sin_port = port;
	sock_addr_unmap(ret);
	return true;
}

/* Elements of Forwarded ----------------------------------------------------------------------- */

/* Takes a token or a quoted string, unescaped into `to`. */
static bool take_value(struct span *rest, struct buf *to)
{
	const char *p = rest->ptr, *end = rest->ptr + rest->len;
	bool is_quoted = p < end && *p == '"';

	for (p += is_quoted; p < end && *p != (is_quoted ? '"' : ';'); p++) {
		if (is_quoted && *p == '\\' && ++p == end)
			return false;
		buf_add_char(to, *p);
	}
	if (is_quoted && p++ == end)
		return false;
	*rest = span_of(p, (size_t)(end - p));
	return true;
}

/* Takes one "name=value" and the semicolon behind it. */
static bool take_pair(struct span *rest, struct span *ret_name, struct buf *value)
{
	const char *end = rest->ptr + rest->len;
	const char *equals = scan_token(rest->ptr, end);

	if (equals == rest->ptr || equals == end || *equals != '=')
		return false;
	*ret_name = span_of(rest->ptr, (size_t)(equals - rest->ptr));
	*rest = span_of(equals + 1, (size_t)(end - equals) - 1);
	if (!take_value(rest, value))
		return false;
	*rest = span_trim(*rest);
	if (rest->len && *rest->ptr != ';')
		return false;
	if (rest->len)
		*rest = span_trim(span_of(rest->ptr + 1, rest->len - 1));
	return true;
}

/* The address of the one "for" of an element. */
static bool parse_element(struct span element, union sock_addr *ret)
{
	bool is_found = false;

	while (element.len) {
		char memory[NODE_MAX];
		struct span name;
		struct buf value;

		if (*element.ptr == ';') {
			element = span_trim(span_of(element.ptr + 1, element.len - 1));
			continue;
		}
		buf_init(&value, memory, sizeof(memory));
		if (!take_pair(&element, &name, &value))
			return false;
		if (!span_ieq(name, SPAN("for")))
			continue;
		if (is_found || value.is_truncated ||
		    !parse_node(span_trim(buf_span(&value)), true, ret))
			return false;
		is_found = true;
	}
	return is_found;
}

/* The walk ------------------------------------------------------------------------------------ */

static bool is_trusted(const struct forwarded_trust *t, const union sock_addr *addr)
{
	return t->is_trusted && t->is_trusted(t->ctx, addr);
}

/* False: the walk has ended. */
static bool walk(struct span list, bool is_forwarded, const struct forwarded_trust *trust,
		 union sock_addr *client)
{
	struct span item;

	while (is_trusted(trust, client)) {
		union sock_addr next;

		if (!prev_item(&list, is_forwarded, &item))
			return true;
		if (!(is_forwarded ? parse_element(item, &next) : parse_node(item, false, &next)))
			return false;
		*client = next;
	}
	return false;
}

void forwarded_client(const struct request *req, const union sock_addr *peer,
		      const struct forwarded_trust *trust, union sock_addr *ret_client)
{
	bool is_forwarded = !req->known[HEADER_X_FORWARDED_FOR];
	enum header_id id = is_forwarded ? HEADER_FORWARDED : HEADER_X_FORWARDED_FOR;

	*ret_client = *peer;
	if (!req->known[id])
		return;
	for (unsigned i = req->field_count; i >= req->known[id]; i--) {
		const struct field *f = &req->fields[i - 1];

		if (f->id == id && !walk(f->value, is_forwarded, trust, ret_client))
			return;
	}
}
