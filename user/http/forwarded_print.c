/* SPDX-License-Identifier: MIT */
/* What this proxy says of the requests it passes on; see forwarded.h. */
#include "http/forwarded.h"

#include "http/scan.h"

/* Longest scheme and host that are taken over from a trusted proxy. */
#define SCHEME_MAX 16
#define HOST_MAX   261 /* 255, ':' and a port */

/* Adds every value of this id, as one list; false when there is none. */
static bool add_list(struct buf *b, const struct field *fields, unsigned count, enum header_id id)
{
	bool has_any = false;

	for (unsigned i = 0; i < count; i++) {
		if (fields[i].id != id || fields[i].value.len == 0)
			continue;
		if (has_any)
			buf_add_lit(b, ", ");
		buf_add_span(b, fields[i].value);
		has_any = true;
	}
	return has_any;
}

static void add_old_list(struct buf *b, const struct request *req, enum header_id id)
{
	if (req->known[id] && add_list(b, req->fields, req->field_count, id))
		buf_add_lit(b, ", ");
}

static bool is_ip(const union sock_addr *a)
{
	return a->any.sa_family == AF_INET || a->any.sa_family == AF_INET6;
}

/* Without a scope: the number of an interface means nothing elsewhere. */
static struct span print_address(const union sock_addr *peer, char text[SOCK_ADDR_TEXT])
{
	union sock_addr a = *peer;

	if (!is_ip(&a))
		return SPAN("unknown");
	if (a.any.sa_family == AF_INET6)
		a.v6.sin6_scope_id = 0;
	return span_str(sock_addr_print_host(&a, text));
}

static struct span own_scheme(const struct request *req)
{
	return req->is_secure ? SPAN("https") : SPAN("http");
}

void forwarded_hop_init(struct forwarded_hop *h, const struct request *req, const union sock_addr *peer,
			bool is_trusted)
{
	h->req = req;
	h->peer = peer;
	h->is_trusted = is_trusted;
	h->address = print_address(peer, h->text);
}

void forwarded_print_for(struct buf *b, const struct forwarded_hop *h)
{
	if (h->is_trusted)
		add_old_list(b, h->req, HEADER_X_FORWARDED_FOR);
	buf_add_span(b, h->address);
}

/* RFC 3986 3.1, but short. */
static bool is_scheme(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		char lower = (char)(s.ptr[i] | 0x20);
		bool is_letter = lower >= 'a' && lower <= 'z';
		bool is_other = (s.ptr[i] >= '0' && s.ptr[i] <= '9') || s.ptr[i] == '+' ||
				s.ptr[i] == '-' || s.ptr[i] == '.';

		if (!is_letter && (i == 0 || !is_other))
			return false;
	}
	return s.len > 0 && s.len <= SCHEME_MAX;
}

void forwarded_print_proto(struct buf *b, const struct forwarded_hop *h)
{
	struct span told = request_only_header(h->req, HEADER_X_FORWARDED_PROTO);

	buf_add_span(b, h->is_trusted && is_scheme(told) ? told : own_scheme(h->req));
}

/* No list, no path, no user: what could stand in a Host field. */
static bool is_host(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (!(byte_class[c] & CLASS_HOST) && c != ':' && c != '[' && c != ']')
			return false;
	}
	return s.len > 0 && s.len <= HOST_MAX;
}

void forwarded_print_host(struct buf *b, const struct forwarded_hop *h)
{
	struct span told = request_only_header(h->req, HEADER_X_FORWARDED_HOST);

	buf_add_span(b, h->is_trusted && is_host(told) ? told : h->req->authority);
}

/* An old list with a quote that never closes would swallow what is added to it. */
static bool is_closed(struct span list)
{
	bool is_quoted = false;

	for (size_t i = 0; i < list.len; i++) {
		if (list.ptr[i] == '"')
			is_quoted = !is_quoted;
		else if (list.ptr[i] == '\\' && is_quoted)
			i++;
	}
	return !is_quoted;
}

static bool are_all_closed(const struct request *req)
{
	for (unsigned i = 0; i < req->field_count; i++)
		if (req->fields[i].id == HEADER_FORWARDED && !is_closed(req->fields[i].value))
			return false;
	return true;
}

/* As a token where it is one, else in quotes. */
static void add_value(struct buf *b, struct span value)
{
	const char *end = value.ptr + value.len;

	if (value.len && scan_token(value.ptr, end) == end) {
		buf_add_span(b, value);
		return;
	}
	buf_add_char(b, '"');
	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] == '"' || value.ptr[i] == '\\')
			buf_add_char(b, '\\');
		buf_add_char(b, value.ptr[i]);
	}
	buf_add_char(b, '"');
}

void forwarded_print_forwarded(struct buf *b, const struct forwarded_hop *h)
{
	struct span address = h->address;

	if (h->is_trusted && are_all_closed(h->req))
		add_old_list(b, h->req, HEADER_FORWARDED);
	buf_add_lit(b, "for=");
	if (memchr(address.ptr, ':', address.len)) {
		buf_add_lit(b, "\"[");
		buf_add_span(b, address);
		buf_add_lit(b, "]\"");
	} else {
		buf_add_span(b, address);
	}
	if (h->req->authority.len) {
		buf_add_lit(b, ";host=");
		add_value(b, h->req->authority);
	}
	buf_add_lit(b, ";proto=");
	buf_add_span(b, own_scheme(h->req));
}

void forwarded_print_via(struct buf *b, const struct field *fields, unsigned field_count,
			 unsigned version_minor, struct span name)
{
	if (add_list(b, fields, field_count, HEADER_VIA))
		buf_add_lit(b, ", ");
	buf_add_span(b, version_minor ? SPAN("1.1 ") : SPAN("1.0 "));
	buf_add_span(b, name);
}

/* "1.1 sluice", "HTTP/1.1 sluice (comment)": the second word. */
static struct span received_by(struct span entry)
{
	const char *end = entry.ptr + entry.len, *name = memchr(entry.ptr, ' ', entry.len), *behind;

	if (!name)
		return span_of(end, 0);
	entry = span_trim(span_of(name, (size_t)(end - name)));
	behind = memchr(entry.ptr, ' ', entry.len);
	return behind ? span_of(entry.ptr, (size_t)(behind - entry.ptr)) : entry;
}

unsigned forwarded_via_count(const struct request *req, struct span name)
{
	unsigned count = 0;

	if (!req->known[HEADER_VIA])
		return 0;
	for (unsigned i = 0; i < req->field_count; i++) {
		struct span list = req->fields[i].value, entry;

		while (req->fields[i].id == HEADER_VIA && span_next_item(&list, &entry))
			count += span_ieq(received_by(entry), name);
	}
	return count;
}
