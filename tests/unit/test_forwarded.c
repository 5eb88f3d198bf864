/* SPDX-License-Identifier: MIT */
/* Whom lists of proxies name as the client, and what goes on to the upstream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "http/forwarded.h"
#include "net/cidr.h"
#include "request_text.h"

static struct request req;
static struct cidr_set trusted;

static bool is_trusted(void *ctx, const union sock_addr *addr)
{
	return cidr_set_has(ctx, addr);
}

static int fill_trusted(void **state)
{
	cidr_set_init(&trusted);
	assert_int_equal(cidr_set_add(&trusted, SPAN("10.0.0.0/8")), 0);
	assert_int_equal(cidr_set_add(&trusted, SPAN("2001:db8:1::/48")), 0);
	return 0;
}

static int free_trusted(void **state)
{
	cidr_set_fini(&trusted);
	return 0;
}

static union sock_addr address(const char *text)
{
	union sock_addr a;

	assert_int_equal(sock_addr_parse(span_str(text), &a), 0);
	return a;
}

struct walk_case {
	const char *fields, *peer, *client;
};

/* The client of each case; of lists of elements, X-Forwarded-For: "X ...", Forwarded: "F ...". */
static void check_clients(const struct walk_case *cases, unsigned count)
{
	struct forwarded_trust trust = {is_trusted, &trusted};

	for (unsigned i = 0; i < count; i++) {
		union sock_addr peer = address(cases[i].peer), client;
		/* Of exactly its size: a sanitizer sees every byte read too many. */
		size_t len = strlen(cases[i].fields);
		char text[SOCK_ADDR_TEXT], *copy = malloc(len + 1);

		memcpy(copy, cases[i].fields, len + 1);
		request_fill(&req, copy);
		forwarded_client(&req, &peer, &trust, &client);
		if (strcmp(sock_addr_print(&client, text), cases[i].client) != 0)
			fail_msg("%s from %s: %s, not %s", cases[i].fields, cases[i].peer, text,
				 cases[i].client);
		free(copy);
	}
}

#define X(value) "X-Forwarded-For: " value "\n"
#define F(value) "Forwarded: " value "\n"
#define PROXY	 "10.0.0.1:99"

static void forwarded__walks_x_forwarded_for(void **state)
{
	static const struct walk_case cases[] = {
		/* nobody but trusted proxies is believed */
		{"", "192.0.2.1:7", "192.0.2.1:7"},
		{"", PROXY, PROXY},
		{X("203.0.113.9"), "192.0.2.1:7", "192.0.2.1:7"},
		{X("203.0.113.9"), PROXY, "203.0.113.9:0"},
		{X("203.0.113.9"), "[::ffff:10.0.0.1]:9", "203.0.113.9:0"},
		{X("203.0.113.9"), "[2001:db8:1::5]:9", "203.0.113.9:0"},
		{X("203.0.113.9"), "[2001:db8:2::5]:9", "[2001:db8:2::5]:9"},
		/* from the right, as far as needed */
		{X("1.1.1.1, 203.0.113.9"), PROXY, "203.0.113.9:0"},
		{X("1.1.1.1, 203.0.113.9, 10.0.0.2"), PROXY, "203.0.113.9:0"},
		{X("1.1.1.1,203.0.113.9,10.0.0.2,10.0.0.3"), PROXY, "203.0.113.9:0"},
		{X("10.0.0.3, 10.0.0.2"), PROXY, "10.0.0.3:0"},
		{X("2001:db8:1::7, 10.0.0.2"), PROXY, "[2001:db8:1::7]:0"},
		{X("1.1.1.1, 2001:db8:9::7, 2001:db8:1::7"), PROXY, "[2001:db8:9::7]:0"},
		{X("1.1.1.1 ,, ,203.0.113.9 ,\t,"), PROXY, "203.0.113.9:0"},
		/* several fields are one list */
		{X("1.1.1.1") "A: b\n" X("203.0.113.9"), PROXY, "203.0.113.9:0"},
		{X("1.1.1.1, 203.0.113.9") X("10.0.0.3") "A: b\n" X("10.0.0.2"), PROXY,
		 "203.0.113.9:0"},
		{X("203.0.113.9") X(""), PROXY, "203.0.113.9:0"},
		/* forms of an address */
		{X("203.0.113.9:5678"), PROXY, "203.0.113.9:5678"},
		{X("[2001:db8::1]:443"), PROXY, "[2001:db8::1]:443"},
		{X("[2001:db8::1]"), PROXY, "[2001:db8::1]:0"},
		{X("2001:db8::1"), PROXY, "[2001:db8::1]:0"},
		{X("::ffff:203.0.113.9"), PROXY, "203.0.113.9:0"},
		{X("1.1.1.1, ::ffff:10.0.0.5"), PROXY, "1.1.1.1:0"},
		/* whatever is no address ends the walk at who wrote it */
		{X("unknown"), PROXY, PROXY},
		{X("1.1.1.1, unknown"), PROXY, PROXY},
		{X("1.1.1.1, unknown, 10.0.0.2"), PROXY, "10.0.0.2:0"},
		{X("1.1.1.1, unknown") X("10.0.0.2"), PROXY, "10.0.0.2:0"},
		{X("1.1.1.1, _hidden, 10.0.0.2"), PROXY, "10.0.0.2:0"},
		{X("1.1.1.1, localhost"), PROXY, PROXY},
		{X("1.1.1.1, 203.0.113.256"), PROXY, PROXY},
		{X("1.1.1.1, 203.0.113.09"), PROXY, PROXY},
		{X("1.1.1.1, 203.0.113.9:"), PROXY, PROXY},
		{X("1.1.1.1, 203.0.113.9:65536"), PROXY, PROXY},
		{X("1.1.1.1, 203.0.113.9:-1"), PROXY, PROXY},
		{X("1.1.1.1, 203.0.113.9:_p"), PROXY, PROXY},
		{X("1.1.1.1, [203.0.113.9]"), PROXY, PROXY},
		{X("1.1.1.1, [2001:db8::1"), PROXY, PROXY},
		{X("1.1.1.1, [2001:db8::1]443"), PROXY, PROXY},
		{X("1.1.1.1, [2001:db8::1]:"), PROXY, PROXY},
		{X("1.1.1.1, []"), PROXY, PROXY},
		{X("1.1.1.1, fe80::1%lo"), PROXY, PROXY},
		{X("1.1.1.1, \"203.0.113.9\""), PROXY, PROXY},
		{X("1.1.1.1, 203.0.113.9 2.2.2.2"), PROXY, PROXY},
		/* quotes mean nothing here: a client cannot hide what the proxy adds */
		{X("\"1.1.1.1, 203.0.113.9"), PROXY, "203.0.113.9:0"},
		{X("\"1.1.1.1, 203.0.113.9, \"10.0.0.2"), PROXY, PROXY},
		/* it counts before Forwarded */
		{F("for=1.1.1.1") X("203.0.113.9"), PROXY, "203.0.113.9:0"},
	};

	check_clients(cases, ARRAY_LEN(cases));
}

static void forwarded__walks_forwarded(void **state)
{
	static const struct walk_case cases[] = {
		{F("for=203.0.113.9"), "192.0.2.1:7", "192.0.2.1:7"},
		{F("for=203.0.113.9"), PROXY, "203.0.113.9:0"},
		/* RFC 7239, the examples of section 4 */
		{F("for=\"_gazonk\""), PROXY, PROXY},
		{F("For=\"[2001:db8:cafe::17]:4711\""), PROXY, "[2001:db8:cafe::17]:4711"},
		{F("for=192.0.2.60;proto=http;by=203.0.113.43"), PROXY, "192.0.2.60:0"},
		{F("for=192.0.2.43, for=198.51.100.17"), PROXY, "198.51.100.17:0"},
		{F("for=192.0.2.43, for=\"[2001:db8:cafe::17]\""), PROXY, "[2001:db8:cafe::17]:0"},
		{F("for=192.0.2.43, for=10.0.0.2"), PROXY, "192.0.2.43:0"},
		{F("for=_SEVKISEK, for=10.0.0.2"), PROXY, "10.0.0.2:0"},
		{F("for=unknown, for=10.0.0.2"), PROXY, "10.0.0.2:0"},
		/* several fields are one list */
		{F("for=1.1.1.1") F("for=192.0.2.43") F("for=10.0.0.2"), PROXY, "192.0.2.43:0"},
		{F("for=192.0.2.43") F("proto=http") F("for=10.0.0.2"), PROXY, "10.0.0.2:0"},
		/* parameters around it */
		{F("by=a;proto=https;for=192.0.2.60;host=\"a:80\""), PROXY, "192.0.2.60:0"},
		{F("host=\"a,b;for=1.1.1.1\";for=192.0.2.60"), PROXY, "192.0.2.60:0"},
		{F("host=\"\\\",for=1.1.1.1\";for=192.0.2.60"), PROXY, "192.0.2.60:0"},
		{F("host=\"\\\\\";for=192.0.2.60, for=10.0.0.2"), PROXY, "192.0.2.60:0"},
		{F(";;for=192.0.2.60;;"), PROXY, "192.0.2.60:0"},
		{F("proto=http ; for=192.0.2.60 ; by=_b"), PROXY, "192.0.2.60:0"},
		{F("for=\"192.0.2.60:80\""), PROXY, "192.0.2.60:80"},
		{F("for=192.0.2.60:80"), PROXY, "192.0.2.60:80"},
		{F("for=\"192.0.2.60:_p\""), PROXY, "192.0.2.60:0"},
		{F("for=\"1\\92.0.2.60\""), PROXY, "192.0.2.60:0"},
		/* wrong elements end the walk at who wrote them */
		{F("for=1.1.1.1, for"), PROXY, PROXY},
		{F("for=1.1.1.1, for="), PROXY, PROXY},
		{F("for=1.1.1.1, proto=http"), PROXY, PROXY},
		{F("for=1.1.1.1, 192.0.2.60"), PROXY, PROXY},
		{F("for=1.1.1.1, for =192.0.2.60"), PROXY, PROXY},
		{F("for=1.1.1.1, for=192.0.2.60;for=192.0.2.61"), PROXY, PROXY},
		{F("for=1.1.1.1, for=\"192.0.2.60"), PROXY, PROXY},
		{F("for=1.1.1.1, for=\"192.0.2.60\"x"), PROXY, PROXY},
		{F("for=1.1.1.1, for=\"192.0.2.60\\\""), PROXY, PROXY},
		{F("for=1.1.1.1, for=\"2001:db8::1\""), PROXY, PROXY},
		{F("for=1.1.1.1, for=\"[192.0.2.60]\""), PROXY, PROXY},
		{F("for=1.1.1.1, for=\"192.0.2.60:_\""), PROXY, PROXY},
		{F("for=1.1.1.1, for=\"_0123456789012345678901234567890123456789"
		   "0123456789012345678901234567890123456789\""), PROXY, PROXY},
		/* a quote that a client left open does not hide what the proxy adds */
		{F("for=\"1.1.1.1, for=203.0.113.9"), PROXY, "203.0.113.9:0"},
		{F("for=\"1.1.1.1, for=203.0.113.9, for=\"[2001:db8:1::1]\""), PROXY,
		 "203.0.113.9:0"},
		{F("for=\"1.1.1.1\\, for=203.0.113.9"), PROXY, "203.0.113.9:0"},
	};

	check_clients(cases, ARRAY_LEN(cases));
}

static void forwarded__believes_nobody_by_default(void **state)
{
	union sock_addr peer = address(PROXY), client;
	struct forwarded_trust nobody = {0};
	char text[SOCK_ADDR_TEXT];

	request_fill(&req, X("1.1.1.1") F("for=1.1.1.1"));
	forwarded_client(&req, &peer, &nobody, &client);
	assert_string_equal(sock_addr_print(&client, text), PROXY);
}

/* Printing ------------------------------------------------------------------------------------ */

static void check_print(void (*print)(struct buf *b, const struct forwarded_hop *h),
			const struct forwarded_hop *h, const char *expected)
{
	char memory[512];
	size_t len = strlen(expected);
	struct buf b;

	buf_init(&b, memory, sizeof(memory));
	print(&b, h);
	assert_false(b.is_truncated);
	if (!span_eq(buf_span(&b), span_str(expected)))
		fail_msg("%.*s, not %s", SPAN_ARG(buf_span(&b)), expected);
	/* Whatever the room, nothing is written behind it, and what does not fit is said. */
	for (size_t room = 0; room < len; room++) {
		buf_init(&b, memory, room);
		memory[room] = '~';
		print(&b, h);
		assert_true(b.is_truncated);
		assert_int_equal(memory[room], '~');
	}
}

static void forwarded__prints_for_the_upstream(void **state)
{
	static const struct {
		const char *fields, *peer;
		bool is_trusted, is_secure;
		const char *expected_for, *proto, *host, *forwarded;
	} cases[] = {
		{"Host: a.example\n", "192.0.2.1:7", false, false, "192.0.2.1", "http", "a.example",
		 "for=192.0.2.1;host=a.example;proto=http"},
		{"Host: a.example:8080\n", "[2001:db8::1]:7", false, true, "2001:db8::1", "https",
		 "a.example:8080",
		 "for=\"[2001:db8::1]\";host=\"a.example:8080\";proto=https"},
		{"Host: [::1]:80\n", "[::ffff:192.0.2.1]:7", false, false, "192.0.2.1", "http",
		 "[::1]:80", "for=192.0.2.1;host=\"[::1]:80\";proto=http"},
		{"", "[fe80::1%1]:7", false, false, "fe80::1", "http", "",
		 "for=\"[fe80::1]\";proto=http"},
		/* what a stranger says is dropped */
		{"Host: a\nX-Forwarded-For: 1.1.1.1\nX-Forwarded-Proto: https\n"
		 "X-Forwarded-Host: b\nForwarded: for=1.1.1.1\n",
		 "192.0.2.1:7", false, false, "192.0.2.1", "http", "a",
		 "for=192.0.2.1;host=a;proto=http"},
		/* what a trusted proxy says goes on */
		{"Host: a\nX-Forwarded-For: 1.1.1.1\nX-Forwarded-Proto: https\n"
		 "X-Forwarded-Host: b.example:444\nForwarded: for=1.1.1.1\n",
		 "10.0.0.1:7", true, false, "1.1.1.1, 10.0.0.1", "https", "b.example:444",
		 "for=1.1.1.1, for=10.0.0.1;host=a;proto=http"},
		{"Host: a\nx-forwarded-for: 1.1.1.1, 2.2.2.2\nA: b\nX-Forwarded-For:\n"
		 "X-Forwarded-For: 3.3.3.3\nForwarded: for=1.1.1.1;by=_x\nForwarded: for=\"[::1]\"\n",
		 "10.0.0.1:7", true, true, "1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1", "https", "a",
		 "for=1.1.1.1;by=_x, for=\"[::1]\", for=10.0.0.1;host=a;proto=https"},
		{"Host: a\nX-Forwarded-For: \nForwarded:\n", "10.0.0.1:7", true, false, "10.0.0.1",
		 "http", "a", "for=10.0.0.1;host=a;proto=http"},
		/* nonsense, or two of what must be one, is dropped whoever says it */
		{"Host: a\nX-Forwarded-Proto: https\nX-Forwarded-Proto: http\n"
		 "X-Forwarded-Host: b\nX-Forwarded-Host: c\nForwarded: for=\"1.1.1.1\n",
		 "10.0.0.1:7", true, false, "10.0.0.1", "http", "a",
		 "for=10.0.0.1;host=a;proto=http"},
		{"Host: a\nX-Forwarded-Proto: https, http\nX-Forwarded-Host: b, c\n"
		 "Forwarded: for=\"1.1.1.1\\\"\nForwarded: for=2.2.2.2\n",
		 "10.0.0.1:7", true, false, "10.0.0.1", "http", "a",
		 "for=10.0.0.1;host=a;proto=http"},
		{"Host: a\nX-Forwarded-Proto: 1http\nX-Forwarded-Host: user@b/path\n", "10.0.0.1:7",
		 true, false, "10.0.0.1", "http", "a", "for=10.0.0.1;host=a;proto=http"},
		{"Host: a\nX-Forwarded-Proto: wss+unix-1.0\nX-Forwarded-Host: [2001:db8::1]:80\n",
		 "10.0.0.1:7", true, false, "10.0.0.1", "wss+unix-1.0", "[2001:db8::1]:80",
		 "for=10.0.0.1;host=a;proto=http"},
		{"Host: a\nX-Forwarded-Proto: httpshttpshttpsht\n", "10.0.0.1:7", true, false,
		 "10.0.0.1", "http", "a", "for=10.0.0.1;host=a;proto=http"},
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		union sock_addr peer = address(cases[i].peer);
		struct forwarded_hop h;

		forwarded_hop_init(&h, &req, &peer, cases[i].is_trusted);
		request_fill(&req, cases[i].fields);
		req.is_secure = cases[i].is_secure;
		check_print(forwarded_print_for, &h, cases[i].expected_for);
		check_print(forwarded_print_proto, &h, cases[i].proto);
		check_print(forwarded_print_host, &h, cases[i].host);
		check_print(forwarded_print_forwarded, &h, cases[i].forwarded);
	}
}

static void forwarded__prints_a_peer_without_address(void **state)
{
	union sock_addr peer = {.any = {.sa_family = AF_UNIX}};
	struct forwarded_hop h;

	forwarded_hop_init(&h, &req, &peer, true);
	request_fill(&req, X("1.1.1.1") "Host: a\"b\\c\n");
	check_print(forwarded_print_for, &h, "1.1.1.1, unknown");
	check_print(forwarded_print_forwarded, &h, "for=unknown;host=\"a\\\"b\\\\c\";proto=http");
}

static void forwarded__prints_via(void **state)
{
	static const struct {
		const char *fields;
		unsigned version_minor;
		const char *expected;
	} cases[] = {
		{"", 1, "1.1 sluice"},
		{"", 0, "1.0 sluice"},
		{"Via: 1.0 fred, 1.1 p.example.com (a, b)\n", 1,
		 "1.0 fred, 1.1 p.example.com (a, b), 1.1 sluice"},
		{"via: 1.0 a\nHost: x\nVia:\nVIA: 2 b\n", 1, "1.0 a, 2 b, 1.1 sluice"},
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		char memory[128];
		struct buf b;

		request_fill(&req, cases[i].fields);
		buf_init(&b, memory, strlen(cases[i].expected));
		forwarded_print_via(&b, req.fields, req.field_count, cases[i].version_minor,
				    SPAN("sluice"));
		assert_false(b.is_truncated);
		assert_true(span_eq(buf_span(&b), span_str(cases[i].expected)));
		buf_init(&b, memory, strlen(cases[i].expected) - 1);
		forwarded_print_via(&b, req.fields, req.field_count, cases[i].version_minor,
				    SPAN("sluice"));
		assert_true(b.is_truncated);
	}
}

static void forwarded__counts_how_often_a_request_has_come_by(void **state)
{
	static const struct {
		const char *fields;
		unsigned expected;
	} cases[] = {
		{"", 0},
		{"Via:\n", 0},
		{"Via: sluice\n", 0}, /* no version: somebody else's nonsense */
		{"Via: 1.1 sluice\n", 1},
		{"X-Via: 1.1 sluice\nVia: 1.0 fred, HTTP/1.1   Sluice (a), 1.1 sluice2, 1.1 sluice:80\n", 1},
		{"Via: 1.1 sluice, 1.1 a\nHost: x\nVIA: 1.0 sluice,,1.1 sluice\n", 3},
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		request_fill(&req, cases[i].fields);
		assert_int_equal(forwarded_via_count(&req, SPAN("sluice")), cases[i].expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forwarded__walks_x_forwarded_for),
		cmocka_unit_test(forwarded__walks_forwarded),
		cmocka_unit_test(forwarded__believes_nobody_by_default),
		cmocka_unit_test(forwarded__prints_for_the_upstream),
		cmocka_unit_test(forwarded__prints_a_peer_without_address),
		cmocka_unit_test(forwarded__prints_via),
		cmocka_unit_test(forwarded__counts_how_often_a_request_has_come_by),
	};

	return cmocka_run_group_tests(tests, fill_trusted, free_trusted);
}
