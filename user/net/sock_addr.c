/* SPDX-License-Identifier: MIT */
/*
 * Text forms of socket addresses.  Numeric only: a name would need a resolver, which may block.
 */
#include "net/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/err.h"

static int parse_port(struct span text, in_port_t *ret_port)
{
	unsigned value = 0;

	if (text.len == 0 || text.len > 5)
		return -EINVAL;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return -EINVAL;
		value = value * 10 + (unsigned)(text.ptr[i] - '0');
	}
	if (value > 65535)
		return -EINVAL;
	*ret_port = htons((uint16_t)value);
	return 0;
}

/* inet_pton wants a terminated string: a copy, refused when a NUL within would hide what follows.
 */
static int copy_text(struct span text, char *out, size_t size)
{
	if (text.len >= size || memchr(text.ptr, '\0', text.len))
		return -EINVAL;
	memcpy(out, text.ptr, text.len);
	out[text.len] = '\0';
	return 0;
}

/* Scope of a link-local address: an interface's name or its number. */
static int parse_scope(const char *text, uint32_t *ret_scope)
{
	struct span digits = span_str(text);
	uint64_t value = 0;

	*ret_scope = if_nametoindex(text);
	if (*ret_scope)
		return 0;
	if (digits.len == 0 || digits.len > 10)
		return -EINVAL;
	for (size_t i = 0; i < digits.len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		value = value * 10 + (uint64_t)(text[i] - '0');
	}
	if (value == 0 || value > UINT32_MAX)
		return -EINVAL;
	*ret_scope = (uint32_t)value;
	return 0;
}

static int parse_v6(struct span host, union sock_addr *a)
{
	char text[SOCK_ADDR_TEXT];
	char *scope;

	if (copy_text(host, text, sizeof(text)))
		return -EINVAL;
	a->v6.sin6_family = AF_INET6;
	scope = strchr(text, '%');
	if (scope) {
		*scope++ = '\0';
		if (parse_scope(scope, &a->v6.sin6_scope_id))
			return -EINVAL;
	}
	return inet_pton(AF_INET6, text, &a->v6.sin6_addr) == 1 ? 0 : -EINVAL;
}

static int parse_v4(struct span host, union sock_addr *a)
{
	char text[INET_ADDRSTRLEN];

	a->v4.sin_family = AF_INET;
	if (host.len == 0 || span_eq(host, SPAN("*"))) {
		a->v4.sin_addr.s_addr = htonl(INADDR_ANY);
		return 0;
	}
	if (copy_text(host, text, sizeof(text)))
		return -EINVAL;
	return inet_pton(AF_INET, text, &a->v4.sin_addr) == 1 ? 0 : -EINVAL;
}

int sock_addr_parse(struct span text, union sock_addr *ret_addr)
{
	union sock_addr a;
	size_t colon = text.len;
	struct span host;
	in_port_t port;
	int r;

	while (colon > 0 && text.ptr[colon - 1] != ':')
		colon--;
	if (colon == 0 || parse_port(span_of(text.ptr + colon, text.len - colon), &port))
		return -EINVAL;
	host = span_of(text.ptr, colon - 1);
	memset(&a, 0, sizeof(a));
	if (host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']') {
		r = parse_v6(span_of(host.ptr + 1, host.len - 2), &a);
		a.v6.sin6_port = port;
	} else {
		r = parse_v4(host, &a);
		a.v4.sin_port = port;
	}
	if (r == 0)
		*ret_addr = a;
	return r;
}

int sock_addr_parse_host(struct span text, union sock_addr *ret_addr)
{
	char host[INET6_ADDRSTRLEN];
	union sock_addr a;

	memset(&a, 0, sizeof(a));
	if (copy_text(text, host, sizeof(host)))
		return -EINVAL;
	if (inet_pton(AF_INET, host, &a.v4.sin_addr) == 1) {
		a.v4.sin_family = AF_INET;
	} else {
		/* A try that failed may have left something where the flow label is. */
		memset(&a, 0, sizeof(a));
		if (inet_pton(AF_INET6, host, &a.v6.sin6_addr) != 1)
			return -EINVAL;
		a.v6.sin6_family = AF_INET6;
	}
	*ret_addr = a;
	return 0;
}

void sock_addr_unmap(union sock_addr *a)
{
	union sock_addr v4;

	if (a->any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr))
		return;
	memset(&v4, 0, sizeof(v4));
	v4.v4.sin_family = AF_INET;
	v4.v4.sin_port = a->v6.sin6_port;
	memcpy(&v4.v4.sin_addr, &a->v6.sin6_addr.s6_addr[12], sizeof(v4.v4.sin_addr));
	*a = v4;
}

bool sock_addr_is_same_host(const union sock_addr *a, const union sock_addr *b)
{
	if (a->any.sa_family != b->any.sa_family)
		return false;
	if (a->any.sa_family == AF_INET)
		return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	if (a->any.sa_family == AF_INET6)
		return a->v6.sin6_scope_id == b->v6.sin6_scope_id &&
		       memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0;
	return true;
}

socklen_t sock_addr_len(const union sock_addr *a)
{
	switch (a->any.sa_family) {
	case AF_INET:
		return sizeof(a->v4);
	case AF_INET6:
		return sizeof(a->v6);
	default:
		return sizeof(a->any);
	}
}

uint16_t sock_addr_port(const union sock_addr *a)
{
	return ntohs(a->any.sa_family == AF_INET6 ? a->v6.sin6_port : a->v4.sin_port);
}

static bool is_plain_v6(const union sock_addr *a)
{
	return a->any.sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr);
}

/* By hand: inet_ntop formats by printf, which costs more than all else in a line of the access log.
 */
static void print_v4(const void *address, char out[SOCK_ADDR_TEXT])
{
	const unsigned char *bytes = address;
	char *at = out;

	for (unsigned i = 0; i < 4; i++) {
		unsigned byte = bytes[i];

		if (byte >= 100)
			*at++ = (char)('0' + byte / 100);
		if (byte >= 10)
			*at++ = (char)('0' + byte / 10 % 10);
		*at++ = (char)('0' + byte % 10);
		*at++ = i < 3 ? '.' : '\0';
	}
}

char *sock_addr_print_host(const union sock_addr *a, char out[SOCK_ADDR_TEXT])
{
	char text[INET6_ADDRSTRLEN] = "?";

	if (is_plain_v6(a)) {
		inet_ntop(AF_INET6, &a->v6.sin6_addr, text, sizeof(text));
		if (a->v6.sin6_scope_id)
			snprintf(out, SOCK_ADDR_TEXT, "%s%%%u", text, a->v6.sin6_scope_id);
		else
			snprintf(out, SOCK_ADDR_TEXT, "%s", text);
	} else if (a->any.sa_family == AF_INET6) {
		print_v4(&a->v6.sin6_addr.s6_addr[12], out);
	} else if (a->any.sa_family == AF_INET) {
		print_v4(&a->v4.sin_addr, out);
	} else {
		snprintf(out, SOCK_ADDR_TEXT, "?");
	}
	return out;
}

char *sock_addr_print(const union sock_addr *a, char out[SOCK_ADDR_TEXT])
{
	char host[SOCK_ADDR_TEXT];
	const char *format = is_plain_v6(a) ? "[%.60s]:%u" : "%.60s:%u";

	sock_addr_print_host(a, host);
	snprintf(out, SOCK_ADDR_TEXT, format, host, sock_addr_port(a));
	return out;
}

static char *print_unix(const struct sockaddr_un *addr, size_t len, char *out, size_t size)
{
	size_t path_len = len > offsetof(struct sockaddr_un, sun_path) ? len - offsetof(struct sockaddr_un, sun_path) : 0;
	bool is_abstract = path_len > 0 && addr->sun_path[0] == '\0';

	if (is_abstract)
		snprintf(out, size, "unix:@%.*s", (int)path_len - 1, addr->sun_path + 1);
	else
		snprintf(out, size, "unix:%.*s", (int)path_len, addr->sun_path);
	return out;
}

char *sock_addr_print_any(const struct sockaddr *addr, socklen_t len, char *out, size_t size)
{
	union sock_addr a = { 0 };
	char text[SOCK_ADDR_TEXT];

	if (len >= sizeof(addr->sa_family) && addr->sa_family == AF_UNIX)
		return print_unix((const struct sockaddr_un *)addr, MIN(len, sizeof(struct sockaddr_un)), out, size);
	memcpy(&a, addr, MIN(len, sizeof(a)));
	snprintf(out, size, "%s", sock_addr_print(&a, text));
	return out;
}
