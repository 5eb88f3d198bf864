/* SPDX-License-Identifier: MIT */
/* listen_udp: what is read, what is refused, and that a dump gives the same again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "config_cases.h"

#define DNS "\nupstream dns { server 127.0.0.1:53 {} }\n"

static struct config *parse(const char *text)
{
	static struct config_errors errors;
	struct config *c = NULL;

	if (config_parse("t", text, &c, &errors) != 0) {
		print_errors(&errors, text);
		fail();
	}
	config_errors_free(&errors);
	return c;
}

static void config_udp__has_defaults(void **state)
{
	struct config *c = parse("listen_udp ':53' { udp = echo }");
	const struct config_listen_udp *l = &c->udp_listens[0];

	assert_int_equal(c->udp_listen_count, 1);
	assert_int_equal(c->listen_count, 0);
	assert_int_equal(sock_addr_port(&l->addr), 53);
	assert_null(config_udp_upstream(c, l));
	assert_int_equal(l->timeout, 60000);
	assert_int_equal(l->replies, 0);
	assert_int_equal(l->amplification, 0);
	assert_int_equal(l->sessions, 4096);
	assert_int_equal(l->sessions_total, 0);
	assert_int_equal(l->flows, 65536);
	assert_true(l->has_gro);
	assert_false(l->is_one_way);
	config_free(c);
}

static void config_udp__knows_its_upstream(void **state)
{
	struct config *c = parse("listen_udp :1 { udp = 'proxy   dns' replies = 1 timeout = 2s }"
				 "listen_udp :2 { udp = 'proxy app' one_way = yes }"
				 "upstream app { server 127.0.0.1:1 {} }" DNS);

	assert_ptr_equal(config_udp_upstream(c, &c->udp_listens[0]), &c->upstreams[1]);
	assert_ptr_equal(config_udp_upstream(c, &c->udp_listens[1]), &c->upstreams[0]);
	assert_int_equal(c->udp_listens[0].replies, 1);
	assert_int_equal(c->udp_listens[0].timeout, 2000);
	assert_true(c->udp_listens[1].is_one_way);
	config_free(c);
}

static void config_udp__dump_parses_back(void **state)
{
	struct config *c = parse("listen_udp '[::1]:1' { udp = 'proxy dns' amplification = 3 verified = { ::1, 10.0.0.0/8 }"
				 " v6only = on rcvbuf = 1m sessions = 7 sessions_total = 9 flows = 2048 gro = no }" DNS);
	char *texts[2];
	size_t len;

	for (unsigned i = 0; i < 2; i++) {
		FILE *out = open_memstream(&texts[i], &len);

		assert_non_null(out);
		config_dump(c, out);
		fclose(out);
		config_free(c);
		c = parse(texts[i]);
	}
	assert_string_equal(texts[0], texts[1]);
	assert_int_equal(c->udp_listens[0].verified_count, 2);
	config_free(c);
	free(texts[0]);
	free(texts[1]);
}

static void config_udp__faults(void **state)
{
	static const struct error_case cases[] = {
		{ "listen_udp :1 { }", false, { "1: listen_udp ':1' has no mode" } },
		{ "listen_udp x { udp = echo }", false, { "1: 'x' is no address" } },
		{ "listen_udp :1 { udp = proxy }", false, { "1: udp: 'proxy' is no mode" } },
		{ "listen_udp :1 { udp = 'proxy dsn' }" DNS, false,
		  { "1: udp: there is no upstream 'dsn'; did you mean 'dns'?" } },
		{ "listen_udp :1 { udp = echo }\nlisten_udp '0.0.0.0:1' { udp = echo }", false,
		  { "2: '0.0.0.0:1' is the same address as ':1' on line 1" } },
		{ "listen_udp :1 { udp = echo one_way = on }", false, { "1: 'one_way' goes with" } },
		{ "listen_udp :1 { udp = echo replies = 1 }", false, { "1: 'replies' goes with replies" } },
		{ "listen_udp :1 { udp = 'proxy dns' one_way = on amplification = 2 }" DNS, false,
		  { "1: 'amplification' has no effect" } },
		{ "listen_udp :1 { udp = echo verified = { ::1 } }", false, { "1: 'verified' has no effect" } },
		{ "listen_udp :1 { udp = echo v6only = on }", false, { "1: 'v6only' goes with" } },
		{ "listen_udp :1 { udp = 'proxy a' }\nupstream a { server unix:/run/a {} }", false,
		  { "1: udp: upstream 'a' has a server that takes no datagrams: 'unix:/run/a'" } },
		{ "listen_udp :1 { upd = echo }", false, { "1: unknown key 'upd' in listen_udp; did you mean 'udp'?" } },
	};

	CHECK(cases);
}

/* The same port by TCP and by UDP is no conflict. */
static void config_udp__shares_ports_with_listen(void **state)
{
	struct config *c = parse("listen :53 {} listen_udp :53 { udp = echo } site '*' { route / { respond = x } }");

	assert_int_equal(c->listen_count, 1);
	assert_int_equal(c->udp_listen_count, 1);
	config_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_udp__has_defaults),
		cmocka_unit_test(config_udp__knows_its_upstream),
		cmocka_unit_test(config_udp__dump_parses_back),
		cmocka_unit_test(config_udp__faults),
		cmocka_unit_test(config_udp__shares_ports_with_listen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
