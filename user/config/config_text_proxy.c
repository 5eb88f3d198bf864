/* SPDX-License-Identifier: MIT */
/*
 * Checks of the proxy's texts: names, paths, header fields, networks.  What goes into a request to
 * an upstream must not be able to end a line or to change what a request is, so the grammar is that
 * of RFC 9110 and nothing looser.
 */
#include <arpa/inet.h>
#include <stdio.h>

#include "base/err.h"
#include "base/suggest.h"
#include "config/config_schema.h"
#include "http/scan.h"
#include "http/target.h"
#include "net/sock.h"

#define UPSTREAM_NAME_MAX 63 /* so that "did you mean" knows every name */

static bool is_all(struct span s, uint8_t class)
{
	const char *end = s.ptr + s.len;

	return s.len && scan_class(s.ptr, end, class) == end;
}

void config_check_upstream_name(const char *text, char *why, size_t size)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "0123456789-_.");

	if (len == 0 || text[len] || len > UPSTREAM_NAME_MAX)
		snprintf(why, size,
			 "is no name of an upstream: expected 1 to %d letters, digits, '-', '_' or "
			 "'.'",
			 UPSTREAM_NAME_MAX);
}

void config_check_hash(const char *text, char *why, size_t size)
{
	static const char *const known[] = {"ip", "uri", "header", "cookie"};
	size_t len = strcspn(text, ":");
	char word[SUGGEST_WORD_MAX + 1];
	const char *near;

	if (strcmp(text, "ip") == 0 || strcmp(text, "uri") == 0)
		return;
	if ((strncmp(text, "header:", 7) == 0 || strncmp(text, "cookie:", 7) == 0) &&
	    is_all(span_str(text + 7), CLASS_TOKEN))
		return;
	snprintf(word, sizeof(word), "%.*s", (int)MIN(len, sizeof(word)), text);
	near = suggest_nearest(word, known, ARRAY_LEN(known));
	if (near && strcmp(near, word) != 0)
		snprintf(why, size,
			 "is unknown; did you mean '%s'? known: ip uri header:NAME "
			 "cookie:NAME",
			 near);
	else
		snprintf(why, size, "is unknown; known: ip uri header:NAME cookie:NAME");
}

/* Every '%' begins an encoded byte, as it must in a request line (RFC 3986 2.1). */
static bool has_right_escapes(const char *text)
{
	for (const char *at = strchr(text, '%'); at; at = strchr(at + 1, '%')) {
		if (!is_all(span_of(at + 1, strnlen(at + 1, 2)), CLASS_HEX) || !at[2])
			return false;
	}
	return true;
}

void config_check_target(const char *text, char *why, size_t size)
{
	if (*text != '/')
		snprintf(why, size, "must begin with '/'");
	else if (!is_all(span_str(text), CLASS_TARGET) || !has_right_escapes(text))
		snprintf(why, size,
			 "cannot stand in a request line: blanks, '#' and what is not "
			 "ASCII are written as %%20 and the like");
}

void config_check_rewrite(const char *text, char *why, size_t size)
{
	config_check_target(text, why, size);
	if (!*why)
		config_check_prefix(text, why, size);
}

void config_check_host(const char *text, char *why, size_t size)
{
	struct span host, port;

	if (authority_split(span_str(text), &host, &port) != 0)
		snprintf(why, size, "cannot be a Host field: expected NAME or NAME:PORT");
}

/* --- header fields --- */

/* What belongs to one connection or says where a message ends: ours to write. */
static bool is_reserved(struct span name)
{
	static const char *const reserved[] = {
		"Connection", "Transfer-Encoding", "Content-Length", "Upgrade",		 "TE",
		"Trailer",    "Keep-Alive",	   "Expect",	     "Proxy-Connection",
	};

	for (unsigned i = 0; i < ARRAY_LEN(reserved); i++) {
		if (span_ieq(name, span_str(reserved[i])))
			return true;
	}
	return false;
}

static void check_name(struct span name, char *why, size_t size)
{
	if (!is_all(name, CLASS_TOKEN))
		snprintf(why, size, "has no right field name: expected letters, digits and '-'");
	else if (span_ieq(name, SPAN("Host")))
		snprintf(why, size,
			 "cannot be changed here: requests are routed by Host, which the key "
			 "'host' sets");
	else if (is_reserved(name))
		snprintf(why, size,
			 "cannot be changed: '%.*s' says how a message is framed or what the "
			 "connection is for, which is the proxy's to say",
			 (int)MIN(name.len, 60), name.ptr);
}

void config_check_field_line(const char *text, char *why, size_t size)
{
	const char *colon = strchr(text, ':');
	struct span value;

	if (!colon) {
		snprintf(why, size, "is no field: expected \"NAME: VALUE\"");
		return;
	}
	value = span_trim(span_str(colon + 1));
	check_name(span_of(text, (size_t)(colon - text)), why, size);
	if (!*why && value.len && !is_all(value, CLASS_VALUE))
		snprintf(why, size, "has a control character in its value");
}

void config_check_field_name(const char *text, char *why, size_t size)
{
	if (strchr(text, ':'))
		snprintf(why, size, "is more than a name: expected \"NAME\"");
	else
		check_name(span_str(text), why, size);
}

/* --- addresses --- */

/* Are all bits of the address behind the first `bits` zero? */
static bool is_network(const uint8_t *address, unsigned len, unsigned bits)
{
	for (unsigned i = 0; i < len; i++) {
		unsigned first = i * 8, mask = 0xff;

		if (bits > first)
			mask = bits - first >= 8 ? 0 : 0xffu >> (bits - first);
		if (address[i] & mask)
			return false;
	}
	return true;
}

/* An address whose bits go on behind the prefix may mean the address or the network: it is refused,
 * since whose word is believed must not be a guess. */
void config_check_network(const char *text, char *why, size_t size)
{
	size_t len = strcspn(text, "/");
	char host[INET6_ADDRSTRLEN];
	uint64_t bits, bits_max;
	uint8_t address[16];
	bool is_v6 = memchr(text, ':', len) != NULL;

	bits = bits_max = is_v6 ? 128 : 32;
	snprintf(host, sizeof(host), "%.*s", (int)MIN(len, sizeof(host)), text);
	if (len >= sizeof(host) || inet_pton(is_v6 ? AF_INET6 : AF_INET, host, address) != 1)
		snprintf(why, size,
			 "is no network: expected ADDR or ADDR/BITS, such as "
			 "127.0.0.0/8 or ::1/128");
	else if (text[len] && (span_to_u64(span_str(text + len + 1), &bits) || bits > bits_max))
		snprintf(why, size, "is no network: expected 0 to %u bits behind the '/'",
			 (unsigned)bits_max);
	else if (!is_network(address, (unsigned)bits_max / 8, (unsigned)bits))
		snprintf(why, size,
			 "has bits behind the first %u: is the network meant, or the "
			 "address with /%u?",
			 (unsigned)bits, (unsigned)bits_max);
}

void config_check_resolver(const char *text, char *why, size_t size)
{
	union sock_addr addr;

	if (*text == ':' || *text == '*' || sock_addr_parse(span_str(text), &addr) ||
	    sock_addr_port(&addr) == 0)
		snprintf(why, size,
			 "is no name server: expected a numeric address and a port, "
			 "such as 127.0.0.1:53");
}
