/* SPDX-License-Identifier: MIT */
/* PROXY protocol headers, both versions, cut at every byte; what the writers write reads back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "net/proxy_header.h"

/* A piece in a block of exactly its size: a sanitizer sees every byte read too many. */
static enum proxy_verdict parse(const char *data, size_t len, struct proxy_header *ret)
{
	char *copy = malloc(MAX(len, 1u));
	enum proxy_verdict verdict;

	memcpy(copy, data, len);
	verdict = proxy_header_parse(copy, len, ret);
	free(copy);
	return verdict;
}

/* "source > destination", or "local". */
static const char *print(const struct proxy_header *h)
{
	static char text[2 * SOCK_ADDR_TEXT + 4];
	char from[SOCK_ADDR_TEXT], to[SOCK_ADDR_TEXT];

	if (h->is_local)
		return "local";
	snprintf(text, sizeof(text), "%s > %s", sock_addr_print(&h->source, from),
		 sock_addr_print(&h->destination, to));
	return text;
}

/* Whole, cut at every byte, and with the request behind it. */
static void check_good(const char *data, size_t len, const char *expected)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\nPROXY TCP4 ";
	struct proxy_header h;
	char longer[PROXY_HEADER_MAX + sizeof(request)];

	for (size_t cut = 0; cut < len; cut++)
		if (parse(data, cut, &h) != PROXY_HEADER_MORE)
			fail_msg("not MORE after %zu bytes: %s", cut, expected);
	memset(&h, 0xa5, sizeof(h));
	assert_int_equal(parse(data, len, &h), PROXY_HEADER_DONE);
	assert_int_equal(h.len, len);
	assert_string_equal(print(&h), expected);
	if (h.is_local)
		assert_int_equal(h.source.any.sa_family | h.destination.any.sa_family, 0);
	memcpy(longer, data, len);
	memcpy(longer + len, request, sizeof(request));
	assert_int_equal(parse(longer, len + sizeof(request), &h), PROXY_HEADER_DONE);
	assert_int_equal(h.len, len);
	assert_string_equal(print(&h), expected);
}

/* Refused at the latest when all of it is there, never taken before, and refused for good. */
static void check_bad(const char *data, size_t len, const char *what)
{
	struct proxy_header h;
	bool has_failed = false;

	for (size_t cut = 0; cut <= len; cut++) {
		enum proxy_verdict verdict = parse(data, cut, &h);

		if (verdict == PROXY_HEADER_DONE || (has_failed && verdict == PROXY_HEADER_MORE))
			fail_msg("verdict %d after %zu bytes of %s", verdict, cut, what);
		has_failed |= verdict == PROXY_HEADER_FAIL;
	}
	if (!has_failed)
		fail_msg("not refused: %s", what);
}

#define V6_LONG	 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
#define V6_LONGA "1111:2222:3333:4444:5555:6666:7777:8888"

static void proxy_header__reads_version_1(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
		 "192.0.2.1:56324 > 198.51.100.7:443"},
		{"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
		 "255.255.255.255:65535 > 255.255.255.255:65535"},
		{"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0 > 0.0.0.0:0"},
		{"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "[2001:db8::1]:1 > [::1]:2"},
		{"PROXY TCP6 2001:DB8:0:0:0:0:0:1 ::1 1 2\r\n", "[2001:db8::1]:1 > [::1]:2"},
		{"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1:1 > [::1]:2"},
		{"PROXY TCP6 " V6_LONG " " V6_LONGA " 65535 65535\r\n",
		 "[" V6_LONG "]:65535 > [" V6_LONGA "]:65535"},
		{"PROXY UNKNOWN\r\n", "local"},
		{"PROXY UNKNOWN \r\n", "local"},
		{"PROXY UNKNOWN anything at all\r\n", "local"},
		/* 107 bytes, the longest there is */
		{"PROXY UNKNOWN " V6_LONG " " V6_LONG " 65535 65535\r\n", "local"},
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		check_good(cases[i].text, strlen(cases[i].text), cases[i].expected);
	assert_int_equal(strlen(cases[ARRAY_LEN(cases) - 1].text), 107);
}

static void proxy_header__refuses_in_version_1(void **state)
{
	static const char *const cases[] = {
		"GET / HTTP/1.1\r\n",
		" PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
		"proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
		"PROXY\r\n",
		"PROXYTCP4 1.2.3.4 5.6.7.8 1 2\r\n",
		"PROXY \r\n",
		"PROXY\tTCP4 1.2.3.4 5.6.7.8 1 2\r\n",
		"PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
		"PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n",
		"PROXY TCP 1.2.3.4 5.6.7.8 1 2\r\n",
		"PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
		"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
		"PROXY TCP4\r\n",
		"PROXY TCP4 \r\n",
		"PROXY TCP4 1.2.3.4\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8  2\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
		"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
		"PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1  2\r\n",
		"PROXY TCP4 1.2.3.4\t5.6.7.8 1 2\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rGET / HTTP/1.1\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8\n1 2\r\n",
		"PROXY UNKNOWN\n",
		"PROXY UNKNOWN a\rb\r\n",
		"PROXY UNKNOWNS\r\n",
		"PROXY unknown\r\n",
		/* ports */
		"PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1 4294967297\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1 00\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1 0x2\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1 2a\r\n",
		/* addresses */
		"PROXY TCP4 1.2.3.4 ::1 1 2\r\n",
		"PROXY TCP4 ::1 5.6.7.8 1 2\r\n",
		"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
		"PROXY TCP6 ::1 5.6.7.8 1 2\r\n",
		"PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
		"PROXY TCP4 1.2.3.04 5.6.7.8 1 2\r\n",
		"PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n",
		"PROXY TCP4 localhost 5.6.7.8 1 2\r\n",
		"PROXY TCP4 * 5.6.7.8 1 2\r\n",
		"PROXY TCP6 [::1] ::1 1 2\r\n",
		"PROXY TCP6 fe80::1%1 ::1 1 2\r\n",
		"PROXY TCP6 fe80::1%lo ::1 1 2\r\n",
		"PROXY TCP6 ::1::2 ::1 1 2\r\n",
		"PROXY TCP6 " V6_LONG ":ffff ::1 1 2\r\n",
		/* 108 bytes */
		"PROXY UNKNOWN " V6_LONG " " V6_LONG " 65535 655355\r\n",
		"PROXY UNKNOWN " V6_LONG " " V6_LONG " 65535 65535 and no end",
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		check_bad(cases[i], strlen(cases[i]), cases[i]);
	check_bad("PROXY TCP4 1.2.3.4\0 5.6.7.8 1 2\r\n", 33, "a NUL in an address");
	check_bad("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\0\r\n", 33, "a NUL in a port");
}

/* One header of version 2: its four bytes behind the signature, addresses, and records. */
static size_t build(char *to, unsigned command, unsigned family, size_t payload, const void *addresses,
		    size_t address_len, const void *records, size_t record_len)
{
	memcpy(to, "\r\n\r\n\0\r\nQUIT\n", 12);
	to[12] = (char)command;
	to[13] = (char)family;
	to[14] = (char)(payload >> 8);
	to[15] = (char)payload;
	memset(to + 16, 0, payload);
	memcpy(to + 16, addresses, MIN(address_len, payload));
	if (record_len)
		memcpy(to + 16 + address_len, records, record_len);
	return 16 + payload;
}

static const char v4_pair[] = "\xc0\0\2\1\xc6\x33\x64\7\xdc\4\1\xbb";
static const char v6_pair[] = "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
			      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\1\0\2";
#define V4_TEXT "192.0.2.1:56324 > 198.51.100.7:443"
#define V6_TEXT "[2001:db8::1]:1 > [::1]:2"

static void proxy_header__reads_version_2(void **state)
{
	static const char unix_pair[216] = "/run/a";
	/* alpn "h2", an empty record, one of 300 bytes */
	static const char records[3 + 2 + 3 + 3 + 300] = "\1\0\2h2\4\0\0\5\1\x2c";
	static const struct {
		unsigned command, family;
		size_t payload;
		const char *addresses;
		size_t address_len, record_len;
		const char *expected;
	} cases[] = {
		{0x21, 0x11, 12, v4_pair, 12, 0, V4_TEXT},
		{0x21, 0x12, 12, v4_pair, 12, 0, V4_TEXT},
		{0x21, 0x21, 36, v6_pair, 36, 0, V6_TEXT},
		{0x21, 0x22, 36, v6_pair, 36, 0, V6_TEXT},
		{0x21, 0x10, 12, v4_pair, 12, 0, "local"},
		{0x21, 0x20, 36, v6_pair, 36, 0, "local"},
		{0x21, 0x31, 216, unix_pair, 216, 0, "local"},
		{0x21, 0x32, 216, unix_pair, 216, 0, "local"},
		{0x21, 0x00, 0, "", 0, 0, "local"},
		{0x21, 0x01, 0, "", 0, 0, "local"},
		{0x21, 0x00, 5, "xxxxx", 5, 0, "local"},
		{0x20, 0x00, 0, "", 0, 0, "local"},
		{0x20, 0x11, 12, v4_pair, 12, 0, "local"},
		{0x20, 0x11, 0, "", 0, 0, "local"},
		{0x20, 0xff, 3, "xxx", 3, 0, "local"},
		{0x21, 0x11, 12 + 5, v4_pair, 12, 5, V4_TEXT},
		{0x21, 0x11, 12 + 8, v4_pair, 12, 8, V4_TEXT},
		{0x21, 0x11, 12 + sizeof(records), v4_pair, 12, sizeof(records), V4_TEXT},
		{0x21, 0x21, 36 + sizeof(records), v6_pair, 36, sizeof(records), V6_TEXT},
		{0x21, 0x31, 216 + sizeof(records), unix_pair, 216, sizeof(records), "local"},
		{0x20, 0x00, PROXY_HEADER_MAX - 16, "", 0, 0, "local"},
	};
	static char data[PROXY_HEADER_MAX];

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		size_t len = build(data, cases[i].command, cases[i].family, cases[i].payload,
				   cases[i].addresses, cases[i].address_len, records,
				   cases[i].record_len);

		check_good(data, len, cases[i].expected);
	}
}

static void proxy_header__refuses_in_version_2(void **state)
{
	static const struct {
		unsigned command, family;
		size_t payload;
		const char *records; /* behind a pair of IPv4 addresses */
		size_t record_len;
		const char *what;
	} cases[] = {
		{0x11, 0x11, 12, NULL, 0, "version 1 in binary"},
		{0x31, 0x11, 12, NULL, 0, "version 3"},
		{0x01, 0x11, 12, NULL, 0, "version 0"},
		{0x22, 0x11, 12, NULL, 0, "command 2"},
		{0x2f, 0x11, 12, NULL, 0, "command 15"},
		{0x21, 0x41, 12, NULL, 0, "family 4"},
		{0x21, 0xf1, 12, NULL, 0, "family 15"},
		{0x21, 0x13, 12, NULL, 0, "transport 3"},
		{0x21, 0x1f, 12, NULL, 0, "transport 15"},
		{0x21, 0x03, 0, NULL, 0, "transport 3 of no family"},
		{0x21, 0x11, 0, NULL, 0, "IPv4 without addresses"},
		{0x21, 0x11, 11, NULL, 0, "IPv4, a byte short"},
		{0x21, 0x10, 11, NULL, 0, "IPv4 of no transport, a byte short"},
		{0x21, 0x21, 35, NULL, 0, "IPv6, a byte short"},
		{0x21, 0x31, 215, NULL, 0, "Unix, a byte short"},
		{0x21, 0x11, 13, "\1", 1, "a record of one byte"},
		{0x21, 0x11, 14, "\1\0", 2, "a record of two bytes"},
		{0x21, 0x11, 15, "\1\0\1", 3, "a record past the end"},
		{0x21, 0x11, 20, "\1\0\2h2\4\0\1", 8, "a second record past the end"},
		{0x21, 0x11, 16, "\1\0\0\1", 4, "a byte behind the last record"},
		{0x21, 0x11, 15, "\1\xff\xff", 3, "a record of 64 KiB"},
		{0x20, 0x00, PROXY_HEADER_MAX - 15, NULL, 0, "a byte more than is taken"},
		{0x21, 0x11, 65535, NULL, 0, "64 KiB"},
	};
	static char data[65536 + 16];

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		size_t len = build(data, cases[i].command, cases[i].family, cases[i].payload,
				   v4_pair, 12, cases[i].records, cases[i].record_len);

		check_bad(data, MIN(len, 200u + 36u), cases[i].what);
	}
	for (unsigned at = 0; at < 12; at++) {
		size_t len = build(data, 0x21, 0x11, 12, v4_pair, 12, NULL, 0);

		data[at] ^= 1;
		check_bad(data, len, "a byte of the signature");
	}
}

/* A sender that never comes to an end is refused while its bytes still fit. */
static void proxy_header__is_bounded(void **state)
{
	static char data[PROXY_HEADER_MAX + 1];
	struct proxy_header h;

	memset(data, ' ', sizeof(data));
	memcpy(data, "PROXY UNKNOWN", 13);
	assert_int_equal(parse(data, 106, &h), PROXY_HEADER_MORE);
	assert_int_equal(parse(data, 107, &h), PROXY_HEADER_FAIL);
	assert_int_equal(parse(data, sizeof(data), &h), PROXY_HEADER_FAIL);
}

static void write_both(const union sock_addr *from, const union sock_addr *to, const char *line,
		       const char *expected)
{
	char memory[2][PROXY_HEADER_WRITE_MAX];
	struct buf b[2];

	for (unsigned i = 0; i < 2; i++) {
		buf_init(&b[i], memory[i], sizeof(memory[i]));
		(i ? proxy_header_write_v2 : proxy_header_write_v1)(&b[i], from, to);
		assert_false(b[i].is_truncated);
		check_good(b[i].ptr, b[i].len, expected);
	}
	assert_int_equal(b[0].len, strlen(line));
	assert_memory_equal(b[0].ptr, line, b[0].len);
}

static void proxy_header__writes_what_it_reads(void **state)
{
	static const struct {
		const char *from, *to, *line, *expected;
	} cases[] = {
		{"192.0.2.1:56324", "198.51.100.7:443",
		 "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", V4_TEXT},
		{"[2001:db8::1]:1", "[::1]:2", "PROXY TCP6 2001:db8::1 ::1 1 2\r\n", V6_TEXT},
		{"[::ffff:192.0.2.1]:56324", "198.51.100.7:443",
		 "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", V4_TEXT},
		{"[::ffff:192.0.2.1]:56324", "[::ffff:198.51.100.7]:443",
		 "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", V4_TEXT},
		{"192.0.2.1:1", "[::1]:2", "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n",
		 "192.0.2.1:1 > [::1]:2"},
		{"[fe80::1%1]:1", "[::1]:2", "PROXY TCP6 fe80::1 ::1 1 2\r\n",
		 "[fe80::1]:1 > [::1]:2"},
		{"[" V6_LONG "]:65535", "[" V6_LONG "]:65535",
		 "PROXY TCP6 " V6_LONG " " V6_LONG " 65535 65535\r\n",
		 "[" V6_LONG "]:65535 > [" V6_LONG "]:65535"},
		{"0.0.0.0:0", "0.0.0.0:0", "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n",
		 "0.0.0.0:0 > 0.0.0.0:0"},
	};
	union sock_addr from, to, other = {.any = {.sa_family = AF_UNIX}};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(sock_addr_parse(span_str(cases[i].from), &from), 0);
		assert_int_equal(sock_addr_parse(span_str(cases[i].to), &to), 0);
		write_both(&from, &to, cases[i].line, cases[i].expected);
	}
	write_both(NULL, NULL, "PROXY UNKNOWN\r\n", "local");
	write_both(&from, NULL, "PROXY UNKNOWN\r\n", "local");
	write_both(NULL, &to, "PROXY UNKNOWN\r\n", "local");
	write_both(&other, &to, "PROXY UNKNOWN\r\n", "local");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(proxy_header__reads_version_1),
		cmocka_unit_test(proxy_header__refuses_in_version_1),
		cmocka_unit_test(proxy_header__reads_version_2),
		cmocka_unit_test(proxy_header__refuses_in_version_2),
		cmocka_unit_test(proxy_header__is_bounded),
		cmocka_unit_test(proxy_header__writes_what_it_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
