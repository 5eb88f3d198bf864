/* SPDX-License-Identifier: MIT */
/* redis "NAME" { ... } and routes to it: what they become, and what is said of faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "config_cases.h"

#define SITE(route)   "site a { route / { " route " } }"
#define GOOD_ROUTE    SITE("redis = c allow = { GET }")

static struct config *load(const char *text)
{
	static struct config_errors errors;
	struct config *c;

	if (config_parse("t", text, &c, &errors) != 0) {
		config_errors_print(&errors, stderr);
		fail_msg("not taken: %s", text);
	}
	config_errors_free(&errors);
	return c;
}

static void config_redis__reads_all_of_it(void **state)
{
	struct config *c = load("listen :0 { }\n"
				"upstream u { server 127.0.0.1:80 { } server b.test:81 { } }\n"
				"redis c { server = \"10.0.0.1:6380\" password = p user = u database = 3 timeout = 2s }\n"
				"redis d { }\n"
				"site a { route / { redis = c allow = { GET, \"*\" } key_prefix = \"x:\" body = 5k } }\n");
	const struct config_redis *r = &c->redis[0];
	const struct config_route *route = &c->sites[0].routes[0];

	assert_int_equal(c->redis_count, 2);
	assert_string_equal(r->name, "c");
	assert_string_equal(r->upstream.name, "redis:c");
	assert_int_equal(sock_addr_port(&r->upstream.servers[0].addr), 6380);
	assert_int_equal(r->database, 3);
	assert_int_equal(r->timeout, 2000);
	assert_string_equal(c->redis[1].server, "127.0.0.1:6379");
	assert_null(c->redis[1].password);
	/* Behind those of the upstreams, of which a name has sixteen. */
	assert_int_equal(r->upstream.servers[0].first_endpoint, 17);
	assert_int_equal(c->redis[1].upstream.servers[0].first_endpoint, 18);
	assert_int_equal(c->endpoint_count, 19);
	assert_int_equal(c->upstream_count, 1);
	assert_int_equal(config_group_count(c), 3);
	assert_ptr_equal(config_group(c, 2), &c->redis[1].upstream);
	assert_int_equal(route->kind, ROUTE_REDIS);
	assert_int_equal(route->redis.allow_count, 2);
	assert_string_equal(route->redis.key_prefix, "x:");
	assert_int_equal(route->proxy.body, 5120);
	assert_int_equal(route->redis.stream, 256 * 1024);
	config_free(c);
}

static void config_redis__takes_servers_in_every_form(void **state)
{
	static const struct {
		const char *text;
		enum server_kind kind;
		const char *name;
	} cases[] = {
		{ "'[::1]:6379'", SERVER_ADDRESS, NULL },
		{ "/run/r.sock", SERVER_UNIX, "/run/r.sock" },
		{ "'unix:/run/r.sock'", SERVER_UNIX, "/run/r.sock" },
		{ "'redis.test:6379'", SERVER_NAME, "redis.test" },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		const struct config_server *s;
		struct config *c;
		char text[256];

		snprintf(text, sizeof(text), "listen :0 { }\nredis c { server = %s }\n" GOOD_ROUTE, cases[i].text);
		c = load(text);
		s = &c->redis[0].upstream.servers[0];
		assert_int_equal(s->kind, cases[i].kind);
		if (cases[i].name)
			assert_string_equal(s->name, cases[i].name);
		config_free(c);
	}
}

static void config_redis__prints_what_it_read(void **state)
{
	struct config *c = load("listen :0 { }\nredis c { password = \"a b\" server = /r.sock }\n" GOOD_ROUTE);
	char *first = NULL, *second = NULL;
	size_t len;
	FILE *out = open_memstream(&first, &len);

	config_dump(c, out);
	fclose(out);
	config_free(c);
	assert_non_null(strstr(first, "password = \"a b\""));
	c = load(first);
	out = open_memstream(&second, &len);
	config_dump(c, out);
	fclose(out);
	config_free(c);
	assert_string_equal(first, second);
	free(first);
	free(second);
}

static void config_redis__is_where_limits_are_shared(void **state)
{
	struct config *c = load("listen :0 { }\nredis c { }\nlimits { rate = 5r/s redis = c }\n" SITE("respond = x"));

	assert_string_equal(c->limits.redis, "c");
	assert_string_equal(c->limits.key_prefix, "sluice:rate:");
	assert_int_equal(c->limits.sync, 50);
	assert_false(c->limits.is_closed);
	config_free(c);
	c = load("listen :0 { }\nredis c { }\nlimits { redis = c key_prefix = 'x:' sync = 1s fail_open = no }\n"
		 SITE("respond = x rate = 1r/h"));
	assert_string_equal(c->limits.key_prefix, "x:");
	assert_int_equal(c->limits.sync, 1000);
	assert_true(c->limits.is_closed);
	config_free(c);
}

static void config_redis__finds_faults(void **state)
{
	static const struct error_case cases[] = {
		{ "redis cache { }\n" SITE("redis = cahce allow = { GET }"),
		  .want = { "2: redis: there is no redis 'cahce'; did you mean 'cache'?" } },
		{ SITE("redis = d allow = { GET }"), .want = { "1: there is no redis 'd'; expected a section such as redis" } },
		{ "redis c { }\n" SITE("redis = c"), .want = { "2: the route allows no command: expected allow" } },
		{ "redis c { }\n" SITE("redis = c allow = { GET, MULTI }"), .want = { "2: allow: 'MULTI' is never passed on" } },
		{ "redis c { }\n" SITE("redis = c allow = { 'G T' }"), .want = { "2: allow: 'G T' is no name of a command" } },
		{ "redis c { }\n" SITE("redis = c allow = { '*', SUBSCRIBE } key_prefix = 'a*'"),
		  .want = { "2: key_prefix: 'a*' may have none of" } },
		{ "redis c { }\n" SITE("redis = c allow = { GET } tries = 2"),
		  .want = { "2: 'tries' has no effect on a route with 'redis'" } },
		{ "redis c { }\nupstream u { server 1.2.3.4:1 { } }\n" SITE("proxy = u allow = { GET }"),
		  .want = { "3: 'allow' has no effect on a route with 'proxy'" } },
		{ "redis c { }\n" SITE("proxy = c"), .want = { "2: proxy: there is no upstream 'c'" } },
		{ "redis c { }\nredis c { }\n" GOOD_ROUTE, .want = { "2: the name 'c' is taken by the redis on line 1" } },
		{ "redis 'c/' { }\n" SITE("respond = x"), .want = { "1: redis: 'c/' is no name" } },
		{ "redis c { server = 'srv:_r._tcp.x.test' }\n" GOOD_ROUTE, .want = { "1: server: 'srv:_r._tcp.x.test' is a service" } },
		{ "redis c { server = 127.0.0.1 }\n" GOOD_ROUTE, .want = { "1: server: '127.0.0.1' has no port" } },
		{ "redis c { user = a }\n" GOOD_ROUTE, .want = { "1: a user needs a password" } },
		{ "redis c { password = '' }\n" GOOD_ROUTE, .want = { "1: password: '' is empty" } },
		{ "redis c { database = 70000 }\n" GOOD_ROUTE, .want = { "1: database: '70000'" } },
		{ "limits { rate = 1r/s redis = d }\n" SITE("respond = x"),
		  .want = { "1: redis: there is no redis 'd'; expected a section such as redis" } },
		{ "redis c { }\nlimits { redis = c }\n" SITE("respond = x rate = off"),
		  .want = { "2: limits: it is rates that hosts share by redis, and no rate is set" } },
		{ "redis c { }\nlimits { rate = 60r/h burst = 61 redis = c }\n" SITE("respond = x"),
		  .want = { "2: burst: 61 requests at this rate take more than 1 hour to come back, too long for hosts" } },
		{ "redis c { }\nlimits { rate = 1r/s redis = c sync = 2s }\n" SITE("respond = x"),
		  .want = { "2: sync: '2s' is out of range: expected 5ms to 1s" } },
		{ "redis c { }\nlimits { rate = 1r/s redis = c key_prefix = 'a?' }\n" SITE("respond = x"),
		  .want = { "2: key_prefix: 'a?' may have none of" } },
		{ "redis c { databse = 1 }\n" GOOD_ROUTE, .want = { "1: unknown key 'databse' in redis; did you mean 'database'?" } },
	};

	check_cases(cases, ARRAY_LEN(cases));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_redis__reads_all_of_it),
		cmocka_unit_test(config_redis__takes_servers_in_every_form),
		cmocka_unit_test(config_redis__prints_what_it_read),
		cmocka_unit_test(config_redis__is_where_limits_are_shared),
		cmocka_unit_test(config_redis__finds_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
