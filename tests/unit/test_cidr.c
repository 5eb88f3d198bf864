/* SPDX-License-Identifier: MIT */
/* Sets of networks: what text is one, and which addresses it holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/err.h"
#include "net/cidr.h"

static union sock_addr address(const char *text)
{
	union sock_addr a;

	assert_int_equal(sock_addr_parse_host(span_str(text), &a), 0);
	return a;
}

static void cidr__holds_its_addresses(void **state)
{
	static const struct {
		const char *network, *addr;
		bool has;
	} cases[] = {
		{"10.0.0.0/8", "10.0.0.0", true},
		{"10.0.0.0/8", "10.255.255.255", true},
		{"10.0.0.0/8", "11.0.0.0", false},
		{"10.0.0.0/8", "9.255.255.255", false},
		{"10.1.2.3/8", "10.9.9.9", true},
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1/32", "192.0.2.1", true},
		{"192.0.2.1/32", "192.0.2.0", false},
		{"192.0.2.0/31", "192.0.2.1", true},
		{"192.0.2.0/31", "192.0.2.2", false},
		{"0.0.0.0/0", "255.255.255.255", true},
		{"0.0.0.0/0", "::1", false},
		{"0.0.0.0/0", "::ffff:1.2.3.4", true},
		{"128.0.0.0/1", "127.255.255.255", false},
		{"128.0.0.0/1", "200.0.0.1", true},
		{"10.0.0.0/8", "::ffff:10.1.1.1", true},
		{"10.0.0.0/8", "::ffff:11.1.1.1", false},
		{"10.0.0.0/8", "::10.1.1.1", false},
		{"::ffff:10.0.0.0/104", "10.1.1.1", true},
		{"::ffff:10.0.0.0/104", "11.1.1.1", false},
		{"::ffff:0.0.0.0/96", "1.2.3.4", true},
		{"::ffff:10.1.1.1", "10.1.1.1", true},
		{"::/0", "::1", true},
		{"::/0", "ffff::", true},
		{"::/0", "10.1.1.1", false},
		{"::/0", "::ffff:10.1.1.1", false},
		{"::1", "::1", true},
		{"::1", "::2", false},
		{"::1", "127.0.0.1", false},
		{"2001:db8::/32", "2001:db8:ffff::1", true},
		{"2001:db8::/32", "2001:db9::1", false},
		{"2001:db8::1/32", "2001:db8::2", true},
		{"2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff", true},
		{"2001:db8::/64", "2001:db8:0:1::", false},
		{"2001:db8::/65", "2001:db8::7fff:ffff:ffff:ffff", true},
		{"2001:db8::/65", "2001:db8::8000:0:0:0", false},
		{"2001:db8::/63", "2001:db8:0:1::", true},
		{"2001:db8::/63", "2001:db8:0:2::", false},
		{"fe80::/10", "febf::1", true},
		{"fe80::/10", "fec0::1", false},
		{"2001:db8::1/128", "2001:db8::1", true},
		{"2001:db8::1/128", "2001:db8::", false},
		{"2001:db8::/127", "2001:db8::1", true},
		{"2001:db8::/127", "2001:db8::2", false},
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		union sock_addr a = address(cases[i].addr);
		struct cidr_set s;

		cidr_set_init(&s);
		assert_int_equal(cidr_set_add(&s, span_str(cases[i].network)), 0);
		if (cidr_set_has(&s, &a) != cases[i].has)
			fail_msg("%s in %s", cases[i].addr, cases[i].network);
		cidr_set_fini(&s);
	}
}

static void cidr__refuses_what_is_no_network(void **state)
{
	static const char *const bad[] = {
		"",	       "/",	       "/8",		 "10.0.0.0/",	  "10.0.0.0/33",
		"10.0.0.0/-1", "10.0.0.0/+8",  "10.0.0.0/08",	 "10.0.0.0/00",	  "10.0.0.0/8 ",
		" 10.0.0.0/8", "10.0.0.0 /8",  "10.0.0/8",	 "10.0.0.0/8/8",  "10.0.0.0/a",
		"10/8",	       "010.0.0.0/8",  "256.0.0.0/8",	 "10.0.0.0:80",	  "10.0.0.0/255.0.0.0",
		"::/129",      "::/1000",      "::/",		 "[::1]",	  "[::1]/128",
		"fe80::1%lo",  "fe80::1%1/64", "::ffff:0:0/95",	 "::ffff:10.0.0.0/8", "localhost",
		"*",	       "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "0x0a.0.0.0/8",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa/128",
	};
	struct cidr_set s;

	cidr_set_init(&s);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
		if (cidr_set_add(&s, span_str(bad[i])) != -EINVAL)
			fail_msg("'%s' is taken", bad[i]);
	assert_int_equal(cidr_set_add(&s, SPAN("10.0.0.0\0/8")), -EINVAL);
	assert_int_equal(cidr_set_add(&s, SPAN("10.0.0.0/8\0")), -EINVAL);
	assert_int_equal(s.count, 0);
	cidr_set_fini(&s);
}

static void cidr__holds_any_of_many(void **state)
{
	union sock_addr a = address("10.99.0.1"), unix_peer = {.any = {.sa_family = AF_UNIX}};
	struct cidr_set s;

	cidr_set_init(&s);
	assert_false(cidr_set_has(&s, &a));
	for (unsigned i = 0; i < 100; i++) {
		char text[32];

		snprintf(text, sizeof(text), "10.%u.0.0/16", i);
		assert_false(cidr_set_has(&s, &a));
		assert_int_equal(cidr_set_add(&s, span_str(text)), 0);
	}
	assert_true(cidr_set_has(&s, &a));
	assert_int_equal(cidr_set_add(&s, SPAN("0.0.0.0/0")), 0);
	assert_int_equal(cidr_set_add(&s, SPAN("::/0")), 0);
	assert_false(cidr_set_has(&s, &unix_peer));
	cidr_set_fini(&s);
	assert_false(cidr_set_has(&s, &a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cidr__holds_its_addresses),
		cmocka_unit_test(cidr__refuses_what_is_no_network),
		cmocka_unit_test(cidr__holds_any_of_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
