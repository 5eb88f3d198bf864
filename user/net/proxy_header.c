/* SPDX-License-Identifier: MIT */
/*
 * Reading and writing PROXY protocol headers; see proxy_header.h.
 *
 * Version 1 is a line:   PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT CRLF, or PROXY UNKNOWN ... CRLF
 * Version 2 is binary:   12 bytes of signature, version and command, family and transport, length (16
 *                        bytes so far), addresses, then type-length-value records, which are skipped
 *
 * Strict, for what is let through here becomes the client's address in logs and limits: no number
 * with leading zeros, no second space, no address of the other family, no record beyond the end.
 */
#include "net/proxy_header.h"

#include <arpa/inet.h>

#include "base/err.h"

#define V1_MAX	     107 /* bytes, CRLF included */
#define V2_FIXED     16
#define V2_V4_LEN    12
#define V2_V6_LEN    36
#define V2_UNIX_LEN  216
#define V2_TLV_FIXED 3

enum { V2_LOCAL = 0x20, V2_PROXY = 0x21 };
enum { FAMILY_UNSPEC, FAMILY_INET, FAMILY_INET6, FAMILY_UNIX, FAMILY_COUNT };
enum { TRANSPORT_UNSPEC, TRANSPORT_STREAM, TRANSPORT_DGRAM, TRANSPORT_COUNT };

static const char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";
static const char v1_start[6] = "PROXY ";

/* Version 1 --------------------------------------------------------------------------------- */

/* Up to the next space; *rest moves behind it.  An empty word is none. */
static bool next_word(struct span *rest, struct span *ret_word)
{
	const char *space = rest->len ? memchr(rest->ptr, ' ', rest->len) : NULL;

	if (!space || space == rest->ptr)
		return false;
	*ret_word = span_of(rest->ptr, (size_t)(space - rest->ptr));
	*rest = span_of(space + 1, rest->len - ret_word->len - 1);
	return true;
}

static bool parse_port(struct span text, in_port_t *ret_port)
{
	uint64_t value;

	if (text.len > 5 || span_to_u64(text, &value) || value > 65535 ||
	    (text.ptr[0] == '0' && text.len > 1))
		return false;
	*ret_port = htons((uint16_t)value);
	return true;
}

static bool parse_v1_address(struct span text, int family, union sock_addr *ret)
{
	return sock_addr_parse_host(text, ret) == 0 && ret->any.sa_family == family;
}

static void set_port(union sock_addr *a, in_port_t port)
{
	if (a->any.sa_family == AF_INET6)
		a->v6.sin6_port = port;
	else
		a->v4.sin_port = port;
}

/* `line`: without "PROXY " and CRLF. */
static enum proxy_verdict parse_line(struct span line, struct proxy_header *ret)
{
	struct span word, ports;
	in_port_t from, to;
	int family;

	/* What comes after UNKNOWN must be ignored, whatever it is. */
	if (span_eq(line, SPAN("UNKNOWN")) || span_starts_with(line, SPAN("UNKNOWN "))) {
		ret->is_local = true;
		return PROXY_HEADER_DONE;
	}
	if (!next_word(&line, &word))
		return PROXY_HEADER_FAIL;
	if (span_eq(word, SPAN("TCP4")))
		family = AF_INET;
	else if (span_eq(word, SPAN("TCP6")))
		family = AF_INET6;
	else
		return PROXY_HEADER_FAIL;
	if (!next_word(&line, &word) || !parse_v1_address(word, family, &ret->source) ||
	    !next_word(&line, &word) || !parse_v1_address(word, family, &ret->destination) ||
	    !next_word(&line, &ports) || !parse_port(ports, &from) || !parse_port(line, &to))
		return PROXY_HEADER_FAIL;
	set_port(&ret->source, from);
	set_port(&ret->destination, to);
	return PROXY_HEADER_DONE;
}

static enum proxy_verdict parse_v1(const char *data, size_t len, struct proxy_header *ret)
{
	size_t seen = MIN(len, (size_t)V1_MAX), text_len;
	const char *cr = memchr(data, '\r', seen);
	const char *lf = memchr(data, '\n', seen);

	if (lf && (!cr || lf != cr + 1))
		return PROXY_HEADER_FAIL;
	if (!lf && cr && cr != data + seen - 1)
		return PROXY_HEADER_FAIL;
	if (!lf)
		return len < V1_MAX ? PROXY_HEADER_MORE : PROXY_HEADER_FAIL;
	text_len = (size_t)(cr - data);
	ret->len = text_len + 2;
	return parse_line(span_of(data + sizeof(v1_start), text_len - sizeof(v1_start)), ret);
}

/* Version 2 --------------------------------------------------------------------------------- */

static void take_v4(const unsigned char *from, struct proxy_header *ret)
{
	ret->source.v4.sin_family = AF_INET;
	ret->destination.v4.sin_family = AF_INET;
	memcpy(&ret->source.v4.sin_addr, from, 4);
	memcpy(&ret->destination.v4.sin_addr, from + 4, 4);
	memcpy(&ret->source.v4.sin_port, from + 8, 2);
	memcpy(&ret->destination.v4.sin_port, from + 10, 2);
}

static void take_v6(const unsigned char *from, struct proxy_header *ret)
{
	ret->source.v6.sin6_family = AF_INET6;
	ret->destination.v6.sin6_family = AF_INET6;
	memcpy(&ret->source.v6.sin6_addr, from, 16);
	memcpy(&ret->destination.v6.sin6_addr, from + 16, 16);
	memcpy(&ret->source.v6.sin6_port, from + 32, 2);
	memcpy(&ret->destination.v6.sin6_port, from + 34, 2);
}

static bool are_records_whole(const unsigned char *from, size_t len)
{
	while (len > 0) {
		size_t record;

		if (len < V2_TLV_FIXED)
			return false;
		record = V2_TLV_FIXED + ((size_t)from[1] << 8 | from[2]);
		if (record > len)
			return false;
		from += record;
		len -= record;
	}
	return true;
}

static enum proxy_verdict parse_payload(unsigned char family, const unsigned char *from, size_t len,
					struct proxy_header *ret)
{
	static const size_t address_len[FAMILY_COUNT] = {0, V2_V4_LEN, V2_V6_LEN, V2_UNIX_LEN};
	unsigned kind = family >> 4;

	/* Without a family nothing says where addresses would end: all of it is skipped. */
	ret->is_local = kind == FAMILY_UNSPEC || kind == FAMILY_UNIX ||
			(family & 15) == TRANSPORT_UNSPEC;
	if (kind == FAMILY_UNSPEC)
		return PROXY_HEADER_DONE;
	if (len < address_len[kind] ||
	    !are_records_whole(from + address_len[kind], len - address_len[kind]))
		return PROXY_HEADER_FAIL;
	if (!ret->is_local && kind == FAMILY_INET)
		take_v4(from, ret);
	else if (!ret->is_local)
		take_v6(from, ret);
	return PROXY_HEADER_DONE;
}

/* Each byte is judged as soon as it is there: nobody waits for the rest of what is wrong already. */
static enum proxy_verdict parse_v2(const unsigned char *data, size_t len, struct proxy_header *ret)
{
	size_t payload;

	if (len > 12 && data[12] != V2_LOCAL && data[12] != V2_PROXY)
		return PROXY_HEADER_FAIL;
	/* Of LOCAL the family is ignored, as the specification wants. */
	if (len > 13 && data[12] == V2_PROXY &&
	    (data[13] >> 4 >= FAMILY_COUNT || (data[13] & 15) >= TRANSPORT_COUNT))
		return PROXY_HEADER_FAIL;
	if (len < V2_FIXED)
		return PROXY_HEADER_MORE;
	payload = (size_t)data[14] << 8 | data[15];
	if (V2_FIXED + payload > PROXY_HEADER_MAX)
		return PROXY_HEADER_FAIL;
	if (len < V2_FIXED + payload)
		return PROXY_HEADER_MORE;
	ret->len = V2_FIXED + payload;
	if (data[12] == V2_LOCAL) {
		ret->is_local = true;
		return PROXY_HEADER_DONE;
	}
	return parse_payload(data[13], data + V2_FIXED, payload, ret);
}

enum proxy_verdict proxy_header_parse(const char *data, size_t len, struct proxy_header *ret)
{
	struct proxy_header h;
	enum proxy_verdict verdict;

	if (len == 0)
		return PROXY_HEADER_MORE;
	memset(&h, 0, sizeof(h));
	if (data[0] == v1_start[0]) {
		if (memcmp(data, v1_start, MIN(len, sizeof(v1_start))) != 0)
			return PROXY_HEADER_FAIL;
		verdict = len > sizeof(v1_start) ? parse_v1(data, len, &h) : PROXY_HEADER_MORE;
	} else {
		if (memcmp(data, v2_signature, MIN(len, sizeof(v2_signature))) != 0)
			return PROXY_HEADER_FAIL;
		verdict = parse_v2((const unsigned char *)data, len, &h);
	}
	if (verdict == PROXY_HEADER_DONE)
		*ret = h;
	return verdict;
}

/* Writing ----------------------------------------------------------------------------------- */

static bool is_ip(const union sock_addr *a)
{
	return a && (a->any.sa_family == AF_INET || a->any.sa_family == AF_INET6);
}

static void map(union sock_addr *a)
{
	union sock_addr v6;

	if (a->any.sa_family != AF_INET)
		return;
	memset(&v6, 0, sizeof(v6));
	v6.v6.sin6_family = AF_INET6;
	v6.v6.sin6_port = a->v4.sin_port;
	memset(&v6.v6.sin6_addr.s6_addr[10], 0xff, 2);
	memcpy(&v6.v6.sin6_addr.s6_addr[12], &a->v4.sin_addr, 4);
	*a = v6;
}

/* Both of one family; false when there is nothing to announce. */
static bool make_pair(const union sock_addr *source, const union sock_addr *destination,
		      union sock_addr *ret_from, union sock_addr *ret_to)
{
	if (!is_ip(source) || !is_ip(destination))
		return false;
	*ret_from = *source;
	*ret_to = *destination;
	sock_addr_unmap(ret_from);
	sock_addr_unmap(ret_to);
	if (ret_from->any.sa_family != ret_to->any.sa_family) {
		map(ret_from);
		map(ret_to);
	}
	return true;
}

/* Not sock_addr_print_host: that writes mapped addresses as IPv4, and scopes. */
static void add_host(struct buf *b, const union sock_addr *a)
{
	char text[INET6_ADDRSTRLEN] = "";

	if (a->any.sa_family == AF_INET)
		inet_ntop(AF_INET, &a->v4.sin_addr, text, sizeof(text));
	else
		inet_ntop(AF_INET6, &a->v6.sin6_addr, text, sizeof(text));
	buf_add_span(b, span_str(text));
}

void proxy_header_write_v1(struct buf *b, const union sock_addr *source,
			   const union sock_addr *destination)
{
	union sock_addr from, to;

	if (!make_pair(source, destination, &from, &to)) {
		buf_add_lit(b, "PROXY UNKNOWN\r\n");
		return;
	}
	buf_add_span(b, from.any.sa_family == AF_INET ? SPAN("PROXY TCP4 ") : SPAN("PROXY TCP6 "));
	add_host(b, &from);
	buf_add_char(b, ' ');
	add_host(b, &to);
	buf_add_char(b, ' ');
	buf_add_u64(b, sock_addr_port(&from));
	buf_add_char(b, ' ');
	buf_add_u64(b, sock_addr_port(&to));
	buf_add_lit(b, "\r\n");
}

static void add_v2_fixed(struct buf *b, unsigned char command, unsigned char family, unsigned len)
{
	buf_add(b, v2_signature, sizeof(v2_signature));
	buf_add_char(b, (char)command);
	buf_add_char(b, (char)family);
	buf_add_char(b, (char)(len >> 8));
	buf_add_char(b, (char)len);
}

void proxy_header_write_v2(struct buf *b, const union sock_addr *source,
			   const union sock_addr *destination)
{
	union sock_addr from, to;

	if (!make_pair(source, destination, &from, &to)) {
		add_v2_fixed(b, V2_LOCAL, FAMILY_UNSPEC << 4 | TRANSPORT_UNSPEC, 0);
	} else if (from.any.sa_family == AF_INET) {
		add_v2_fixed(b, V2_PROXY, FAMILY_INET << 4 | TRANSPORT_STREAM, V2_V4_LEN);
		buf_add(b, &from.v4.sin_addr, 4);
		buf_add(b, &to.v4.sin_addr, 4);
		buf_add(b, &from.v4.sin_port, 2);
		buf_add(b, &to.v4.sin_port, 2);
	} else {
		add_v2_fixed(b, V2_PROXY, FAMILY_INET6 << 4 | TRANSPORT_STREAM, V2_V6_LEN);
		buf_add(b, &from.v6.sin6_addr, 16);
		buf_add(b, &to.v6.sin6_addr, 16);
		buf_add(b, &from.v6.sin6_port, 2);
		buf_add(b, &to.v6.sin6_port, 2);
	}
}
