/* SPDX-License-Identifier: MIT */
/* What faulty upstreams, servers, checks and routes to them are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "config_cases.h"

#define SERVER	   "server 1.2.3.4:1 {}"
#define APP	   "upstream app { " SERVER " }\n"
#define ROUTE(key) APP "site a { route / { proxy = app " key " } }"

static void config_proxy_errors__name_the_nearest(void **state)
{
	static const struct error_case cases[] = {
		{"upstrem app { " SERVER " }",
		 .want = {"1: unknown key 'upstrem' at top level; did you mean 'upstream'?"}},
		{"upstream app { balanc = rr " SERVER " }",
		 .want = {"1: unknown key 'balanc' in upstream; did you mean 'balance'?"}},
		{"upstream app { servr 1.2.3.4:1 {} }",
		 .want = {"1: unknown key 'servr' in upstream; did you mean 'server'?"}},
		{"upstream app { server 1.2.3.4:1 { wieght = 2 } }",
		 .want = {"1: unknown key 'wieght' in server; did you mean 'weight'?"}},
		{"upstream app { check { intervall = 1s } " SERVER " }",
		 .want = {"1: unknown key 'intervall' in check; did you mean 'interval'?"}},
		{"server 1.2.3.4:1 { weight = 2 }",
		 .want = {"1: unknown key 'server' at top level; it belongs in upstream"}},
		{"check {}", .want = {"1: unknown key 'check' at top level; it belongs in "
				      "upstream"}},
		{"proxy = app", .want = {"1: unknown key 'proxy' at top level; it belongs in "
					 "route"}},
		{ROUTE("rewite = /x"), .want = {"2: unknown key 'rewite' in route; did you mean "
						"'rewrite'?"}},
		{ROUTE("zzzzzz = 1"),
		 .want = {"2: unknown key 'zzzzzz' in route; known here: files, respond, redirect, "
			  "proxy, websocket, redis, store, module, status"}},
		{ROUTE("zzzzzz = 1"), .want = {"2: response_add, response_remove, message, frame"}},
		{ROUTE("zzzzzz = 1"), .want = {"2: close_timeout, deflate, publish, origins"}},
		{"upstream app { balance = lest " SERVER " }",
		 .want = {"1: balance: 'lest' is unknown; did you mean 'least'? known: rr least "
			  "p2c random weighted hash"}},
		{"upstream app { send_proxy = v3 " SERVER " }",
		 .want = {"1: send_proxy: 'v3' is unknown; did you mean 'v1'? known: off v1 v2"}},
		{"upstream app { check { type = htttp } " SERVER " }",
		 .want = {"1: type: 'htttp' is unknown; did you mean 'http'? known: off tcp "
			  "http"}},
		{ROUTE("retry = al"),
		 .want = {"2: retry: 'al' is unknown; did you mean 'all'? known: off idempotent "
			  "all"}},
		{"listen :1 { proxy_protcol = on }",
		 .want = {"1: unknown key 'proxy_protcol' in listen; did you mean "
			  "'proxy_protocol'?"}},
	};

	CHECK(cases);
}

static void config_proxy_errors__check_names(void **state)
{
	static const struct error_case cases[] = {
		{APP "site a { route / { proxy = ap } }",
		 .want = {"2: proxy: there is no upstream 'ap'; did you mean 'app'?"}},
		{APP "site a { route / { proxy = '127.0.0.1:3000' } }",
		 .want = {"2: proxy: there is no upstream '127.0.0.1:3000'; expected one such as "
			  "upstream \"app\" { server \"127.0.0.1:9001\" { } }"}},
		{"site a { route / { proxy = '' } }", .want = {"1: proxy: there is no upstream "
							       "''"}},
		{"site a { route /a { proxy = x }\nroute /b { proxy = y } }",
		 .want = {"1: there is no upstream 'x'", "2: there is no upstream 'y'"}},
		{APP "site a { route / { proxy = app files = / } }",
		 .want = {"2: route '/' has two handlers, 'files' and 'proxy': keep one"}},
		{"site a { route / { proxy = } }", .want = {"1: missing value: expected 'proxy = "
							    "VALUE'"}},
		{APP APP, .want = {"2: the name 'app' is taken by the upstream on line 1"}},
		{"upstream 'a b' { " SERVER " }",
		 .want = {"1: upstream: 'a b' is no name of an upstream: expected 1 to 63 letters, "
			  "digits, '-', '_' or '.'"}},
		{"upstream '' { " SERVER " }", .want = {"1: upstream: '' is no name"}},
		{"upstream 0123456789012345678901234567890123456789012345678901234567890123 "
		 "{ " SERVER " }",
		 .want = {"1: is no name of an upstream"}},
		{"upstream { " SERVER " }\nsite a { route / { proxy = app } }",
		 .want = {"1: upstream needs a name: expected 'upstream \"NAME\" { ... }'"}},
		{"upstream = 'app'\nsite a { route / { proxy = app } }",
		 .want = {"1: upstream is a section"}},
		{"upstrem app { " SERVER " }\nsite a { route / { proxy = app } }",
		 .want = {"1: unknown key 'upstrem'"}},
		{"upstream app {}",
		 .want = {"1: upstream 'app' has no server: expected at least one such as server "
			  "\"127.0.0.1:9001\" { }"}},
		{"upstream app { server {} }",
		 .want = {"1: server needs an address: expected 'server \"ADDR:PORT\" { ... }'"}},
		{"upstream app { server = '1.2.3.4:1' }",
		 .want = {"1: server is a section: expected 'server \"ADDR:PORT\" { ... }', "
			  "without '='"}},
		{"upstream app { " SERVER " check {}\ncheck {} }",
		 .want = {"2: check is given twice: first on line 1"}},
		{"upstream app { " SERVER " check x {} }",
		 .want = {"1: check takes no name: expected 'check { ... }'"}},
	};

	CHECK(cases);
}

#define ONE(text) "upstream app { server \"" text "\" {} }"

static void config_proxy_errors__check_servers(void **state)
{
	static const struct error_case cases[] = {
		{ONE(""), .want = {"1: server: '' has no port: expected ADDR:PORT, NAME:PORT, "
				   "unix:/PATH or srv:_SERVICE._PROTO.NAME"}},
		{ONE("127.0.0.1"), .want = {"1: server: '127.0.0.1' has no port"}},
		{ONE("app"), .want = {"1: server: 'app' has no port"}},
		{ONE("3000"), .want = {"1: server: '3000' has no port"}},
		{ONE("app:"), .want = {"1: has no port from 1 to 65535"}},
		{ONE("app:0"), .want = {"1: has no port from 1 to 65535"}},
		{ONE("127.0.0.1:65536"), .want = {"1: has no port from 1 to 65535"}},
		{ONE("app:http"), .want = {"1: has no port from 1 to 65535"}},
		{ONE("app:00000000080"), .want = {"1: has no port from 1 to 65535"}},
		{ONE("127.0.0.300:80"),
		 .want = {"1: is no address: expected one such as 127.0.0.1:9001 or [::1]:9001"}},
		{ONE("10.1:80"), .want = {"1: is no address"}},
		{ONE("[::1:80"), .want = {"1: is no address"}},
		{ONE("[::g]:80"), .want = {"1: is no address"}},
		{ONE("::1:80"),
		 .want = {"1: an IPv6 address stands in brackets, as in [::1]:9001"}},
		{ONE(":80"), .want = {"1: server: ':80' is no server: expected ADDR:PORT"}},
		{ONE("*:80"), .want = {"1: is no server: expected"}},
		{ONE("a b:80"), .want = {"1: is no server: expected"}},
		{ONE("a..b:80"), .want = {"1: is no server: expected"}},
		{ONE(".:80"), .want = {"1: is no address"}},
		{ONE("0123456789012345678901234567890123456789012345678901234567890123.a:80"),
		 .want = {"1: is no server: expected"}},
		{ONE("http://app:80"), .want = {"1: server: 'http://app:80' is a URL: expected"}},
		{ONE("unix:run/x"), .want = {"1: must be an absolute path"}},
		{ONE("unix:"), .want = {"1: must be an absolute path"}},
		{ONE("unix:/run/"), .want = {"1: is a folder: expected the path of a socket"}},
		{ONE("unix:/0123456789012345678901234567890123456789012345678901234567890123456789"
		     "0123456789012345678901234567890123456789"),
		 .want = {"1: is too long for a socket"}},
		{ONE("srv:app"), .want = {"1: is no SRV name: expected one such as "
					  "srv:_http._tcp.app.internal"}},
		{ONE("srv:_http._tcp"), .want = {"1: is no SRV name"}},
		{ONE("srv:_http.tcp.app"), .want = {"1: is no SRV name"}},
		{ONE("srv:_http._tcp.app:80"), .want = {"1: is no SRV name"}},
		{"upstream app { server a {} server 1.2.3.4:x { weight = 0 } }",
		 .want = {"1: server: 'a' has no port", "1: server: '1.2.3.4:x' has no port from",
			  "1: weight: '0' is out of range"}},
	};

	CHECK(cases);
}

#define TWO(a, b) "upstream app { server \"" a "\" {}\nserver \"" b "\" {} }"

static void config_proxy_errors__find_servers_twice(void **state)
{
	static const struct error_case cases[] = {
		{TWO("1.2.3.4:1", "1.2.3.4:1"),
		 .want = {"2: '1.2.3.4:1' is the same server as '1.2.3.4:1' on line 1"}},
		{TWO("[::1]:1", "[0::1]:1"), .want = {"2: is the same server as '[::1]:1'"}},
		{TWO("app:80", "App:80"), .want = {"2: is the same server as 'app:80'"}},
		{TWO("unix:/x", "unix:/x"), .want = {"2: is the same server as 'unix:/x'"}},
		{TWO("srv:_a._b.c", "srv:_a._b.C"), .want = {"2: is the same server"}},
		/* what is faulty is the same as nothing, and another port another server */
		{TWO("a", "a"), .want = {"1: 'a' has no port", "2: 'a' has no port"}},
		{TWO("a:1", "a:2") " workers = 0", .want = {"2: workers"}},
		{TWO("unix:/x", "unix:/X") " workers = 0", .want = {"2: workers"}},
	};

	CHECK(cases);
}

/* More servers than indexes of 16 bits can tell apart. */
static void config_proxy_errors__bound_the_endpoints(void **state)
{
	static struct config_errors errors;
	struct config *c = NULL;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	unsigned count = CONFIG_ENDPOINTS_MAX / UPSTREAM_NAME_ENDPOINTS + 1;

	assert_non_null(out);
	fprintf(out, "listen :0 {}\nsite a { route / { proxy = app } }\nupstream app {\n");
	for (unsigned i = 0; i < count; i++)
		fprintf(out, "server a%u:80 {}\n", i);
	fputs("}\n", out);
	fclose(out);
	assert_int_equal(config_parse("t", text, &c, &errors), -EINVAL);
	assert_int_equal(errors.count, 1);
	assert_int_equal(errors.items[0].line, 3 + count);
	assert_non_null(strstr(errors.items[0].message,
			       "is one too many: all servers together may have 65535 addresses, "
			       "and a name counts for 16"));
	config_errors_free(&errors);
	free(text);
}

#define UP(keys) "upstream app { " keys " " SERVER " }"

static void config_proxy_errors__check_upstream_values(void **state)
{
	static const struct error_case cases[] = {
		{UP("balance = hash"),
		 .want = {"1: balance: 'hash' needs what to hash: expected hash = \"ip\""}},
		{UP("hash = ip"), .want = {"1: 'hash' has no effect with balance = \"least\""}},
		{UP("balance = rr hash = ip"),
		 .want = {"1: 'hash' has no effect with balance = \"rr\": it goes with balance = "
			  "\"hash\""}},
		{UP("balance = hasch hash = ip"), .want = {"1: balance: 'hasch' is unknown"}},
		{UP("balance = hash hash = path"),
		 .want = {"1: hash: 'path' is unknown; known: ip uri header:NAME cookie:NAME"}},
		{UP("balance = hash hash = 'headr:X'"),
		 .want = {"1: hash: 'headr:X' is unknown; did you mean 'header'?"}},
		{UP("balance = hash hash = 'header:'"), .want = {"1: hash: 'header:' is unknown"}},
		{UP("balance = hash hash = 'cookie:a b'"), .want = {"1: hash: 'cookie:a b' is"}},
		{UP("keepalive = 65537"), .want = {"1: out of range: expected 1 to 65536, or "
						   "off"}},
		{UP("keepalive_time = 1"), .want = {"1: keepalive_time: '1' needs a unit"}},
		{UP("keepalive_requests = -1"), .want = {"1: is no whole number"}},
		{UP("queue = 65537"), .want = {"1: expected 1 to 65536, or off"}},
		{UP("queue_time = off"), .want = {"1: queue_time: 'off' is no duration"}},
		{UP("fails = 65536"), .want = {"1: expected 1 to 65535, or off"}},
		{UP("fail_window = 2h"), .want = {"1: expected 10ms to 1h"}},
		{UP("eject_time = 0"), .want = {"1: expected 10ms to 1d"}},
		{UP("error_percent = 101"), .want = {"1: expected 1 to 100, or off"}},
		{UP("retry_percent = 1001"), .want = {"1: expected 0 to 1000"}},
		{UP("resolve = 1ms"), .want = {"1: expected 100ms to 1d"}},
		{"upstream app { server 1.2.3.4:1 { weight = 65536 } }",
		 .want = {"1: expected 1 to 65535"}},
		{"upstream app { server 1.2.3.4:1 { max_connections = many } }",
		 .want = {"1: max_connections: 'many' is no whole number"}},
		{"upstream app { server 1.2.3.4:1 { slow_start = 2d } }",
		 .want = {"1: expected 10ms to 1d, or off"}},
		{"upstream app { server 1.2.3.4:1 { backup = maybe } }",
		 .want = {"1: neither true nor false"}},
	};

	CHECK(cases);
}

static void config_proxy_errors__check_the_checks(void **state)
{
	static const struct error_case cases[] = {
		{UP("check { status = ok }"),
		 .want = {"1: status: 'ok' is neither a number nor two, such as 200-399: expected "
			  "100 to 599"}},
		{UP("check { status = \"200-\" }"), .want = {"1: is neither a number nor two"}},
		{UP("check { status = \"200,204\" }"), .want = {"1: is neither a number nor two"}},
		{UP("check { status = 99 }"), .want = {"1: status: '99' is out of range: expected "
						       "100 to 599"}},
		{UP("check { status = \"200-600\" }"), .want = {"1: is out of range"}},
		{UP("check { status = \"300-200\" }"), .want = {"1: ends before it begins"}},
		{UP("check { path = up }"), .want = {"1: path: 'up' must begin with '/'"}},
		{UP("check { path = \"/a b\" }"),
		 .want = {"1: cannot stand in a request line: blanks, '#' and what is not ASCII "
			  "are written as %20"}},
		{UP("check { path = \"/\\r\\nX: y\" }"), .want = {"1: cannot stand in a request"}},
		{UP("check { host = \"a b\" }"),
		 .want = {"1: host: 'a b' cannot be a Host field: expected NAME or NAME:PORT"}},
		{UP("check { interval = 1ms }"), .want = {"1: expected 10ms to 1d"}},
		{UP("check { timeout = off }"), .want = {"1: timeout: 'off' is no duration"}},
		{UP("check { rise = 0 fall = 1001 }"),
		 .want = {"1: rise: '0' is out of range", "1: fall: '1001' is out of range"}},
	};

	CHECK(cases);
}

static void config_proxy_errors__check_routes(void **state)
{
	static const struct error_case cases[] = {
		{ROUTE("index = a"), .want = {"2: 'index' has no effect on a route with 'proxy'"}},
		{ROUTE("status = 200"), .want = {"2: 'status' has no effect on a route with "
						 "'proxy'"}},
		{"site a { route / { respond = x retry = off } }",
		 .want = {"1: 'retry' has no effect on a route with 'respond'"}},
		{ROUTE("host = \"\""), .want = {"2: host: '' cannot be a Host field"}},
		{ROUTE("host = \"a/b\""), .want = {"2: cannot be a Host field"}},
		{ROUTE("host = \"a\\r\\nb\""), .want = {"2: cannot be a Host field"}},
		{ROUTE("rewrite = new"), .want = {"2: rewrite: 'new' must begin with '/'"}},
		{ROUTE("rewrite = \"\""), .want = {"2: must begin with '/'"}},
		{ROUTE("rewrite = \"/a b\""), .want = {"2: cannot stand in a request line"}},
		{ROUTE("rewrite = \"/a%2\""), .want = {"2: cannot stand in a request line"}},
		{ROUTE("rewrite = \"/a%zz\""), .want = {"2: cannot stand in a request line"}},
		{ROUTE("rewrite = \"/\xc3\xbc\""), .want = {"2: cannot stand in a request line"}},
		{ROUTE("rewrite = \"/a?b\""), .want = {"2: is no path: without query"}},
		{ROUTE("rewrite = /a/../b"), .want = {"2: expected no '//', '/.' or '/..'"}},
		{ROUTE("connect_timeout = 5"), .want = {"2: needs a unit"}},
		{ROUTE("first_byte_timeout = off"), .want = {"2: is no duration"}},
		{ROUTE("between_timeout = 1ms"), .want = {"2: expected 10ms to 1d"}},
		{ROUTE("total_timeout = 1ms"), .want = {"2: expected 10ms to 1d, or off"}},
		{ROUTE("tunnel_timeout = 31d"), .want = {"2: expected 10ms to 30d"}},
		{ROUTE("tries = 9"), .want = {"2: tries: '9' is out of range: expected 1 to 8"}},
		{ROUTE("body = 1x"), .want = {"2: body: '1x' has an unknown unit"}},
	};

	CHECK(cases);
}

static void config_proxy_errors__check_fields(void **state)
{
	static const struct error_case cases[] = {
		{ROUTE("request_set = X-A"), .want = {"2: request_set: 'X-A' is no field: expected "
						      "\"NAME: VALUE\""}},
		{ROUTE("request_add = {'X A: b'}"),
		 .want = {"2: request_add: 'X A: b' has no right field name"}},
		{ROUTE("response_set = {'X-A : b'}"), .want = {"2: has no right field name"}},
		{ROUTE("response_add = {': b'}"), .want = {"2: has no right field name"}},
		{ROUTE("request_set = {\"X-A: b\\r\\nX-B: c\"}"),
		 .want = {"2: has a control character in its value"}},
		{ROUTE("response_add = {\"X-A: \\x7f\"}"), .want = {"2: has a control character"}},
		{ROUTE("request_remove = {'X-A: b'}"),
		 .want = {"2: request_remove: 'X-A: b' is more than a name: expected \"NAME\""}},
		{ROUTE("response_remove = {''}"), .want = {"2: has no right field name"}},
		{ROUTE("request_set = {'host: x'}"),
		 .want = {"2: request_set: 'host: x' cannot be changed here: requests are routed "
			  "by Host, which the key 'host' sets"}},
		{ROUTE("request_set = {'A: 1', 'B: 2', 'a: 3'}"),
		 .want = {"2: request_set: 'a' is set twice"}},
		{ROUTE("response_set = {'A: 1'} response_remove = {'B', 'a'}"),
		 .want = {"2: response_remove: 'a' is set as well, by response_set"}},
		{ROUTE("request_set = {'A: 1'} response_remove = {'A'} retry = x"),
		 .want = {"2: retry: 'x' is unknown"}},
	};

	CHECK(cases);
}

static void config_proxy_errors__reserve_what_frames(void **state)
{
	static const char *const names[] = {
		"Connection", "Transfer-Encoding", "content-length", "UPGRADE",		 "TE",
		"Trailer",    "Keep-Alive",	   "Expect",	     "Proxy-Connection",
	};
	static const char *const keys[] = {"request_set",  "request_add",  "request_remove",
					   "response_set", "response_add", "response_remove"};

	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		for (unsigned k = 0; k < ARRAY_LEN(keys); k++) {
			char text[256], want[256];

			snprintf(text, sizeof(text), ROUTE("%s = {'%s%s'}"), keys[k], names[i],
				 strstr(keys[k], "remove") ? "" : ": x");
			snprintf(want, sizeof(want),
				 "2: cannot be changed: '%s' says how a message is framed or what "
				 "the connection is for, which is the proxy's to say",
				 names[i]);
			check_case(&(struct error_case){text, .want = {want}});
		}
	}
}

static void config_proxy_errors__bound_the_fields(void **state)
{
	char text[2000] = APP "site a { route / { proxy = app request_add = {'A:1'";

	for (unsigned i = 0; i < 64; i++)
		memcpy(text + strlen(text), ",'A:1'", 7);
	memcpy(text + strlen(text), "} } }", 6);
	check_case(&(struct error_case){text, .want = {"2: request_add: more than 64 fields"}});
}

static void config_proxy_errors__check_addresses(void **state)
{
	static const struct error_case cases[] = {
		{"trusted_proxies = { localhost }",
		 .want = {"1: trusted_proxies: 'localhost' is no network: expected ADDR or "
			  "ADDR/BITS, such as 127.0.0.0/8 or ::1/128"}},
		{"trusted_proxies = { '' }", .want = {"1: is no network"}},
		{"trusted_proxies = { '10.0.0.0/33' }",
		 .want = {"1: is no network: expected 0 to 32 bits behind the '/'"}},
		{"trusted_proxies = { '::/129' }", .want = {"1: expected 0 to 128 bits"}},
		{"trusted_proxies = { '10.0.0.0/' }", .want = {"1: expected 0 to 32 bits"}},
		{"trusted_proxies = { '10.0.0.0/-1' }", .want = {"1: expected 0 to 32 bits"}},
		{"trusted_proxies = { '[::1]/128' }", .want = {"1: is no network"}},
		{"trusted_proxies = { '10.1.2.3/8' }",
		 .want = {"1: has bits behind the first 8: is the network meant, or the address "
			  "with /32?"}},
		{"trusted_proxies = { '10.0.0.1/31', '10.0.0.2/31', 'fe80::1/64' }",
		 .want = {"1: '10.0.0.1/31' has bits behind the first 31",
			  "1: 'fe80::1/64' has bits behind the first 64"}},
		{"trusted_proxies = { '1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb' }",
		 .want = {"1: is no network"}},
		{"resolvers = { '127.0.0.1' }",
		 .want = {"1: resolvers: '127.0.0.1' is no name server: expected a numeric address "
			  "and a port, such as 127.0.0.1:53"}},
		{"resolvers = { ':53', '*:53', '127.0.0.1:0', 'dns:53' }",
		 .want = {"1: ':53' is no", "1: '*:53' is no", "1: '127.0.0.1:0' is no",
			  "1: 'dns:53' is no"}},
	};

	CHECK(cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_proxy_errors__name_the_nearest),
		cmocka_unit_test(config_proxy_errors__check_names),
		cmocka_unit_test(config_proxy_errors__check_servers),
		cmocka_unit_test(config_proxy_errors__find_servers_twice),
		cmocka_unit_test(config_proxy_errors__bound_the_endpoints),
		cmocka_unit_test(config_proxy_errors__check_upstream_values),
		cmocka_unit_test(config_proxy_errors__check_the_checks),
		cmocka_unit_test(config_proxy_errors__check_routes),
		cmocka_unit_test(config_proxy_errors__check_fields),
		cmocka_unit_test(config_proxy_errors__reserve_what_frames),
		cmocka_unit_test(config_proxy_errors__bound_the_fields),
		cmocka_unit_test(config_proxy_errors__check_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
