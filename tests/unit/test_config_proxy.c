/* SPDX-License-Identifier: MIT */
/* Upstreams, their servers and checks, routes to them: defaults, every key, the round trip. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "config/config.h"

#define REST "listen \"127.0.0.1:0\" {}\nsite \"*\" { route \"/\" { proxy = \"app\" } }\n"

/* Fails with the errors when the text is refused. */
static struct config *parse(const char *text)
{
	static struct config_errors errors;
	struct config *c = NULL;

	if (config_parse("test.conf", text, &c, &errors) != 0) {
		config_errors_print(&errors, stderr);
		fail_msg("refused:\n%s", text);
	}
	config_errors_free(&errors);
	return c;
}

static char *dump(const struct config *c)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	config_dump(c, out);
	fclose(out);
	return text;
}

static void config_proxy__has_defaults(void **state)
{
	struct config *c = parse("upstream app { server 127.0.0.1:9001 {} }\n" REST);
	const struct config_upstream *u = &c->upstreams[0];
	const struct config_server *s = &u->servers[0];

	assert_int_equal(c->upstream_count, 1);
	assert_string_equal(u->name, "app");
	assert_int_equal(u->balance, BALANCE_LEAST);
	assert_null(u->hash);
	assert_int_equal(u->keepalive, 64);
	assert_int_equal(u->keepalive_time, 60000);
	assert_int_equal(u->keepalive_requests, 0);
	assert_int_equal(u->queue, 0);
	assert_int_equal(u->queue_time, 5000);
	assert_int_equal(u->fails, 3);
	assert_int_equal(u->fail_window, 10000);
	assert_int_equal(u->eject_time, 10000);
	assert_int_equal(u->error_percent, 0);
	assert_int_equal(u->retry_percent, 20);
	assert_int_equal(u->send_proxy, PROXY_PROTOCOL_OFF);
	assert_int_equal(u->resolve, 30000);
	assert_int_equal(u->check.kind, CHECK_OFF);
	assert_int_equal(u->server_count, 1);
	assert_int_equal(s->weight, 1);
	assert_int_equal(s->max_connections, 0);
	assert_int_equal(s->slow_start, 0);
	assert_false(s->is_backup || s->is_drained);
	assert_int_equal(c->trusted_proxy_count + c->resolver_count, 0);
	assert_false(c->listens[0].has_proxy_protocol);
	config_free(c);
}

static void config_proxy__has_defaults_of_a_route(void **state)
{
	struct config *c = parse("upstream app { server 127.0.0.1:9001 {} }\n" REST);
	const struct config_route *r = &c->sites[0].routes[0];
	const struct config_proxy *p = &r->proxy;

	assert_int_equal(r->kind, ROUTE_PROXY);
	assert_string_equal(r->value, "app");
	assert_string_equal(p->host, "client");
	assert_null(p->rewrite);
	assert_int_equal(p->connect, 5000);
	assert_int_equal(p->first_byte, 60000);
	assert_int_equal(p->between, 60000);
	assert_int_equal(p->total, 0);
	assert_int_equal(p->tunnel, 3600000);
	assert_int_equal(p->retry, PROXY_RETRY_IDEMPOTENT);
	assert_int_equal(p->tries, 2);
	assert_true(p->body == UINT64_MAX);
	assert_int_equal(p->request_set_count + p->request_add_count + p->request_remove_count, 0);
	assert_int_equal(p->response_set_count + p->response_add_count + p->response_remove_count,
			 0);
	config_free(c);
}

static void config_proxy__reads_every_upstream_value(void **state)
{
	struct config *c = parse("\nupstream app {\n balance = hash hash = \"cookie:id\"\n"
				 "keepalive = 7 keepalive_time = 30s keepalive_requests = 100\n"
				 "queue = 50 queue_time = 2s fails = off fail_window = 20s\n"
				 "eject_time = 5s error_percent = 50 retry_percent = 0\n"
				 "send_proxy = v2 resolve = 5s\n"
				 "server 127.0.0.1:9001 {\n weight = 65535 max_connections = 10\n"
				 "slow_start = 30s backup = yes drain = yes }\n"
				 "check { type = tcp path = \"/up?x=%20\" host = \"a.b:81\"\n"
				 "status = 200-299 interval = 500ms timeout = 250ms rise = 1 "
				 "fall = 5 } }\n" REST);
	const struct config_upstream *u = &c->upstreams[0];
	const struct config_server *s = &u->servers[0];

	assert_int_equal(u->place.line, 2);
	assert_int_equal(u->balance, BALANCE_HASH);
	assert_string_equal(u->hash, "cookie:id");
	assert_int_equal(u->keepalive, 7);
	assert_int_equal(u->keepalive_time, 30000);
	assert_int_equal(u->keepalive_requests, 100);
	assert_int_equal(u->queue, 50);
	assert_int_equal(u->queue_time, 2000);
	assert_int_equal(u->fails, 0);
	assert_int_equal(u->fail_window, 20000);
	assert_int_equal(u->eject_time, 5000);
	assert_int_equal(u->error_percent, 50);
	assert_int_equal(u->retry_percent, 0);
	assert_int_equal(u->send_proxy, PROXY_PROTOCOL_V2);
	assert_int_equal(u->resolve, 5000);
	assert_int_equal(s->place.line, 8);
	assert_int_equal(s->weight, 65535);
	assert_int_equal(s->max_connections, 10);
	assert_int_equal(s->slow_start, 30000);
	assert_true(s->is_backup && s->is_drained);
	assert_int_equal(u->check.kind, CHECK_TCP);
	assert_string_equal(u->check.path, "/up?x=%20");
	assert_string_equal(u->check.host, "a.b:81");
	assert_int_equal(u->check.status_min, 200);
	assert_int_equal(u->check.status_max, 299);
	assert_int_equal(u->check.interval, 500);
	assert_int_equal(u->check.timeout, 250);
	assert_int_equal(u->check.rise, 1);
	assert_int_equal(u->check.fall, 5);
	config_free(c);
}

static void config_proxy__reads_every_choice(void **state)
{
	static const struct {
		const char *text;
		enum upstream_balance balance;
		enum proxy_protocol send_proxy;
	} cases[] = {
		{"balance = rr send_proxy = off", BALANCE_RR, PROXY_PROTOCOL_OFF},
		{"balance = least send_proxy = v1", BALANCE_LEAST, PROXY_PROTOCOL_V1},
		{"balance = p2c send_proxy = v2", BALANCE_P2C, PROXY_PROTOCOL_V2},
		{"balance = random", BALANCE_RANDOM, PROXY_PROTOCOL_OFF},
		{"balance = weighted", BALANCE_WEIGHTED, PROXY_PROTOCOL_OFF},
		{"balance = hash hash = ip", BALANCE_HASH, PROXY_PROTOCOL_OFF},
		{"balance = hash hash = uri", BALANCE_HASH, PROXY_PROTOCOL_OFF},
		{"hash = 'header:X-User' balance = hash", BALANCE_HASH, PROXY_PROTOCOL_OFF},
	};
	char text[512];

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct config *c;

		snprintf(text, sizeof(text), "upstream app { %s server 127.0.0.1:1 {} }\n" REST,
			 cases[i].text);
		c = parse(text);
		assert_int_equal(c->upstreams[0].balance, cases[i].balance);
		assert_int_equal(c->upstreams[0].send_proxy, cases[i].send_proxy);
		config_free(c);
	}
}

/* A section `check` turns checks on, by HTTP unless it says otherwise. */
static void config_proxy__checks_when_told_to(void **state)
{
	static const struct {
		const char *text;
		enum check_kind kind;
		unsigned status_min, status_max;
	} cases[] = {
		{"", CHECK_OFF, 200, 399},
		{"check {}", CHECK_HTTP, 200, 399},
		{"check { status = 204 }", CHECK_HTTP, 204, 204},
		{"check { status = \"100-599\" }", CHECK_HTTP, 100, 599},
		{"check { type = off status = 200 }", CHECK_OFF, 200, 200},
		{"check { type = tcp }", CHECK_TCP, 200, 399},
	};
	char text[512];

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		const struct config_check *check;
		struct config *c;

		snprintf(text, sizeof(text), "upstream app { %s\nserver 127.0.0.1:1 {} }\n" REST,
			 cases[i].text);
		c = parse(text);
		check = &c->upstreams[0].check;
		assert_int_equal(check->kind, cases[i].kind);
		assert_int_equal(check->status_min, cases[i].status_min);
		assert_int_equal(check->status_max, cases[i].status_max);
		assert_string_equal(check->path, "/");
		assert_null(check->host);
		assert_int_equal(check->interval, 2000);
		assert_int_equal(check->timeout, 1000);
		assert_int_equal(check->rise, 2);
		assert_int_equal(check->fall, 3);
		config_free(c);
	}
}

static void config_proxy__tells_servers_apart(void **state)
{
	static const struct {
		const char *text;
		enum server_kind kind;
		const char *name; /* NULL: an address */
		unsigned port;
	} cases[] = {
		{"127.0.0.1:9001", SERVER_ADDRESS, NULL, 9001},
		{"[::1]:65535", SERVER_ADDRESS, NULL, 65535},
		{"unix:/run/app.sock", SERVER_UNIX, "/run/app.sock", 0},
		{"unix:/run/a:80", SERVER_UNIX, "/run/a:80", 0},
		{"localhost:1", SERVER_NAME, "localhost", 1},
		{"app.internal:80", SERVER_NAME, "app.internal", 80},
		{"App_1.internal.:80", SERVER_NAME, "App_1.internal.", 80},
		{"1and1.example:80", SERVER_NAME, "1and1.example", 80},
		{"srv:_http._tcp.app", SERVER_SRV, "_http._tcp.app", 0},
	};
	char text[512];

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		const struct config_server *s;
		struct config *c;

		snprintf(text, sizeof(text), "upstream app { server \"%s\" {} }\n" REST,
			 cases[i].text);
		c = parse(text);
		s = &c->upstreams[0].servers[0];
		assert_string_equal(s->text, cases[i].text);
		assert_int_equal(s->kind, cases[i].kind);
		if (cases[i].name)
			assert_string_equal(s->name, cases[i].name);
		else
			assert_null(s->name);
		if (s->kind == SERVER_ADDRESS)
			assert_int_equal(sock_addr_port(&s->addr), cases[i].port);
		else
			assert_int_equal(s->port, cases[i].port);
		config_free(c);
	}
}

static void config_proxy__numbers_endpoints(void **state)
{
	struct config *c = parse("upstream a { server 127.0.0.1:1 {} server app:80 {}\n"
				 "server unix:/x {} }\n" REST
				 "upstream app { server srv:_a._b.c {} server [::1]:1 {} }\n");
	const struct config_server *a = c->upstreams[0].servers, *b = c->upstreams[1].servers;

	assert_int_equal(a[0].first_endpoint, 0);
	assert_int_equal(a[0].endpoint_count, 1);
	assert_int_equal(a[1].first_endpoint, 1);
	assert_int_equal(a[1].endpoint_count, UPSTREAM_NAME_ENDPOINTS);
	assert_int_equal(a[2].first_endpoint, 1 + UPSTREAM_NAME_ENDPOINTS);
	assert_int_equal(a[2].endpoint_count, 1);
	assert_int_equal(b[0].first_endpoint, 2 + UPSTREAM_NAME_ENDPOINTS);
	assert_int_equal(b[0].endpoint_count, UPSTREAM_NAME_ENDPOINTS);
	assert_int_equal(b[1].first_endpoint, 2 + 2 * UPSTREAM_NAME_ENDPOINTS);
	assert_int_equal(c->endpoint_count, 3 + 2 * UPSTREAM_NAME_ENDPOINTS);
	config_free(c);
}

static void config_proxy__reads_every_route_value(void **state)
{
	struct config *c =
		parse("listen :0 { proxy_protocol = yes }\nsite '*' { route /api/ { proxy = app\n"
		      "host = \"a.example:8080\" rewrite = \"/new%20one/\" connect_timeout = 1s\n"
		      "first_byte_timeout = 2s between_timeout = 3s total_timeout = 4s\n"
		      "tunnel_timeout = 30d retry = all tries = 8 body = 0\n"
		      "request_set = { \"X-A: 1\", \"X-Empty:\", } request_add = 'X-B:  b c '\n"
		      "request_remove = { Cookie, Origin } response_set = {'X-C: \xc3\xbc'}\n"
		      "response_add = {'Link: <x>; rel=y'} response_remove = {Server} } }\n"
		      "upstream app { server 127.0.0.1:1 {} } # behind its use\n"
		      "upstream unused { server 127.0.0.1:1 {} }\n"
		      "trusted_proxies = { \"10.0.0.0/8\", \"127.0.0.1\", \"::/0\", \"::1/128\" }\n"
		      "resolvers = { \"127.0.0.1:53\", \"[::1]:5353\" }\n");
	const struct config_proxy *p = &c->sites[0].routes[0].proxy;

	assert_true(c->listens[0].has_proxy_protocol);
	assert_string_equal(p->host, "a.example:8080");
	assert_string_equal(p->rewrite, "/new%20one/");
	assert_int_equal(p->connect, 1000);
	assert_int_equal(p->first_byte, 2000);
	assert_int_equal(p->between, 3000);
	assert_int_equal(p->total, 4000);
	assert_int_equal(p->tunnel, UINT64_C(30) * 86400000);
	assert_int_equal(p->retry, PROXY_RETRY_ALL);
	assert_int_equal(p->tries, 8);
	assert_int_equal(p->body, 0);
	assert_int_equal(p->request_set_count, 2);
	assert_string_equal(p->request_set[0], "X-A: 1");
	assert_string_equal(p->request_set[1], "X-Empty:");
	assert_int_equal(p->request_add_count, 1);
	assert_string_equal(p->request_add[0], "X-B:  b c ");
	assert_int_equal(p->request_remove_count, 2);
	assert_string_equal(p->request_remove[1], "Origin");
	assert_string_equal(p->response_set[0], "X-C: \xc3\xbc");
	assert_string_equal(p->response_add[0], "Link: <x>; rel=y");
	assert_string_equal(p->response_remove[0], "Server");
	assert_int_equal(c->trusted_proxy_count, 4);
	assert_string_equal(c->trusted_proxies[1], "127.0.0.1");
	assert_int_equal(c->resolver_count, 2);
	assert_string_equal(c->resolvers[1], "[::1]:5353");
	config_free(c);
}

static void config_proxy__dump_reads_back_as_the_same(void **state)
{
	static const char *const cases[] = {
		"upstream app { server 127.0.0.1:1 {} }\n" REST,
		"trusted_proxies = { '10.0.0.0/8', '::1' } resolvers = '1.2.3.4:53'"
		"upstream app { balance = hash hash = 'header:a' keepalive = off fails = off "
		"error_percent = 1 send_proxy = v1 server 'unix:/a b\\\\${x}' { backup = on "
		"slow_start = 90s drain = on } server srv:_a._b.c { weight = 7 } "
		"check { type = off status = 204 host = x path = '/$a' } }"
		"upstream b { server a.b:1 {} check { timeout = 1500ms } }"
		"site a { route / { proxy = b body = 0 total_timeout = 1m retry = off "
		"rewrite = '/${a}' host = server request_set = { 'A: \"', 'B:\t\\\\' } "
		"response_remove = Via } }" REST,
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct config *c = parse(cases[i]), *again;
		char *first = dump(c), *second;

		again = parse(first);
		second = dump(again);
		assert_string_equal(first, second);
		assert_int_equal(again->upstream_count, c->upstream_count);
		assert_int_equal(again->endpoint_count, c->endpoint_count);
		assert_int_equal(again->upstreams[0].check.kind, c->upstreams[0].check.kind);
		config_free(c);
		config_free(again);
		free(first);
		free(second);
	}
}

static void config_proxy__dump_keeps_values(void **state)
{
	struct config *c = parse("upstream app { server unix:/x { weight = 3 } check {} }\n"
				 "site a { route / { proxy = app body = 2g tries = 3 } }\n" REST);
	char *text = dump(c);

	assert_non_null(strstr(text, "\nupstream \"app\" {\n\tbalance = \"least\"\n"));
	assert_non_null(strstr(text, "\tcheck {\n\t\ttype = \"http\"\n\t\tpath = \"/\"\n"
				     "\t\tstatus = \"200-399\"\n"));
	assert_non_null(strstr(text, "\tserver \"unix:/x\" {\n\t\tweight = 3\n"));
	assert_non_null(strstr(text, "\t\tbody = 2g\n"));
	assert_non_null(strstr(text, "\t\ttries = 3\n"));
	assert_non_null(strstr(text, "trusted_proxies = {}\n"));
	/* what has neither value nor default is left out, and so is what another handler has */
	assert_null(strstr(text, "hash ="));
	assert_null(strstr(text, "rewrite ="));
	assert_null(strstr(text, "listing ="));
	free(text);
	config_free(c);
}

static void config_proxy__makes_one_line_configurations(void **state)
{
	static const struct {
		const char *to, *text;
		enum server_kind kind;
	} cases[] = {
		{"3000", "127.0.0.1:3000", SERVER_ADDRESS},
		{"127.0.0.1:3000", "127.0.0.1:3000", SERVER_ADDRESS},
		{"[::1]:3000", "[::1]:3000", SERVER_ADDRESS},
		{"app.internal:80", "app.internal:80", SERVER_NAME},
		{"http://127.0.0.1:3000", "127.0.0.1:3000", SERVER_ADDRESS},
		{"http://127.0.0.1:3000/", "127.0.0.1:3000", SERVER_ADDRESS},
		{"http://3000", "127.0.0.1:3000", SERVER_ADDRESS},
		{"http://app.internal/", "app.internal:80", SERVER_NAME},
		{"http://app.internal", "app.internal:80", SERVER_NAME},
		{"unix:/run/app.sock", "unix:/run/app.sock", SERVER_UNIX},
		{"http://unix:/run/app.sock", "unix:/run/app.sock", SERVER_UNIX},
		{"srv:_http._tcp.app", "srv:_http._tcp.app", SERVER_SRV},
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct config *c = NULL, *again;
		char *text;

		assert_int_equal(config_for_proxy(cases[i].to, NULL, &c), 0);
		assert_null(c->path);
		assert_string_equal(c->listens[0].text, "127.0.0.1:8080");
		assert_string_equal(c->sites[0].names[0], "*");
		assert_int_equal(c->sites[0].routes[0].kind, ROUTE_PROXY);
		assert_string_equal(c->sites[0].routes[0].value, c->upstreams[0].name);
		assert_string_equal(c->sites[0].routes[0].prefix, "/");
		assert_string_equal(c->upstreams[0].servers[0].text, cases[i].text);
		assert_int_equal(c->upstreams[0].servers[0].kind, cases[i].kind);
		assert_int_equal(c->endpoint_count, c->upstreams[0].servers[0].endpoint_count);
		assert_true(c->endpoint_count > 0);
		text = dump(c);
		again = parse(text);
		assert_string_equal(again->upstreams[0].servers[0].text, cases[i].text);
		free(text);
		config_free(again);
		config_free(c);
	}
}

static void config_proxy__refuses_one_line_configurations(void **state)
{
	static const char *const cases[] = {
		"",
		"0",
		"65536",
		"app",
		"127.0.0.1",
		":3000",
		"http://",
		"https://app:443",
		"http://app:80/path",
		"unix:",
		"unix:x",
		"::1:80",
		"a b:80",
		"http://user@app:80/",
		"a:b",
	};
	struct config *c = (struct config *)1;
	char text[2000];

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(config_for_proxy(cases[i], NULL, &c), -EDOM);
		assert_null(c);
	}
	assert_int_equal(config_for_proxy("3000", "nowhere", &c), -EINVAL);
	memset(text, '1', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(config_for_proxy(text, NULL, &c), -EDOM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_proxy__has_defaults),
		cmocka_unit_test(config_proxy__has_defaults_of_a_route),
		cmocka_unit_test(config_proxy__reads_every_upstream_value),
		cmocka_unit_test(config_proxy__reads_every_choice),
		cmocka_unit_test(config_proxy__checks_when_told_to),
		cmocka_unit_test(config_proxy__tells_servers_apart),
		cmocka_unit_test(config_proxy__numbers_endpoints),
		cmocka_unit_test(config_proxy__reads_every_route_value),
		cmocka_unit_test(config_proxy__dump_reads_back_as_the_same),
		cmocka_unit_test(config_proxy__dump_keeps_values),
		cmocka_unit_test(config_proxy__makes_one_line_configurations),
		cmocka_unit_test(config_proxy__refuses_one_line_configurations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
