/* SPDX-License-Identifier: MIT */
/* Heads as the proxy writes them anew: what is passed on, what is not, what is added, and the rules of a route. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "proxy_head_driver.h"

static struct head_driver d;
static char memory[65536];

/* "\r\n" is written "\n" in here. */
static struct span lines(const char *text)
{
	static char wire[65536];
	struct buf b;

	buf_init(&b, wire, sizeof(wire));
	for (; *text; text++) {
		if (*text == '\n')
			buf_add_char(&b, '\r');
		buf_add_char(&b, *text);
	}
	assert_false(b.is_truncated);
	return buf_span(&b);
}

static const char *plain(struct buf *b)
{
	static char text[65536];
	size_t len = 0;

	for (size_t i = 0; i < b->len; i++)
		if (b->ptr[i] != '\r')
			text[len++] = b->ptr[i];
	text[len] = '\0';
	return text;
}

static const char *write_request(const char *text)
{
	struct buf b;

	assert_true(head_driver_parse(&d, lines(text)));
	buf_init(&b, memory, sizeof(memory));
	assert_true(proxy_write_request(&d.call, &b));
	return plain(&b);
}

static void open_route(const struct proxy_route_options *opt)
{
	assert_int_equal(head_driver_open(&d, opt), 0);
}

static void open_plain(void)
{
	open_route(&(struct proxy_route_options){ 0 });
}

#define FORWARDED                                                                                                  \
	"X-Forwarded-For: 192.0.2.7\nX-Forwarded-Proto: http\nX-Forwarded-Host: a\n"                               \
	"Forwarded: for=192.0.2.7;host=a;proto=http\nVia: 1.1 sluice\nX-Request-Id: id\n"

static void head__is_written_anew(void **state)
{
	open_plain();
	assert_string_equal(write_request("GET /x HTTP/1.1\nhOsT:  a  \nX-A:1\nx-b:\t2 \nX-Empty:\n\n"),
			    "GET /x HTTP/1.1\nHost: a\nX-A: 1\nx-b: 2\nX-Empty: \n" FORWARDED "\n");
	head_driver_close(&d);
}

/* The line that begins with `name`, or "". */
static const char *line_of(const char *text, const char *name)
{
	static char line[1024];
	const char *at = strstr(text, name);

	line[0] = '\0';
	if (at)
		snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n"), at);
	return line;
}

static void head__asks_for_what_was_decided_on(void **state)
{
	static const struct {
		const char *target, *expected;
	} rows[] = {
		{ "/", "/" },
		{ "/a/b?c=d&e", "/a/b?c=d&e" },
		{ "/a?", "/a?" },
		{ "/a?b?c#", NULL },			/* no byte of a target */
		{ "/%61/%2F%c3%bc", "/a/%C3%BC" },	/* a slash too many was removed */
		{ "/%61/%c3%bc", "/%61/%c3%bc" },	/* only decoded: as it came */
		{ "/a/../b", "/b" },
		{ "/a/%2e%2e/b", "/b" },
		{ "/a//b", "/a/b" },
		{ "/a/./b/", "/a/b/" },
		{ "/x/../%3f%23%25%0a", "/%3F%23%25%0A" },
		{ "/x/../a b", NULL },
		{ "http://a/p?q", "/p?q" },
		{ "http://a", "/" },
		{ "http://a?q", "/?q" },
	};

	open_plain();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[256], line[256];

		snprintf(text, sizeof(text), "GET %s HTTP/1.1\nHost: a\n\n", rows[i].target);
		if (!rows[i].expected) {
			assert_false(head_driver_parse(&d, lines(text)));
			continue;
		}
		snprintf(line, sizeof(line), "GET %s HTTP/1.1", rows[i].expected);
		assert_string_equal(line_of(write_request(text), "GET "), line);
	}
	head_driver_close(&d);
}

static void head__replaces_the_prefix(void **state)
{
	static const struct {
		const char *prefix, *rewrite, *target, *expected;
	} rows[] = {
		{ "/api", "/", "/api", "/" },
		{ "/api", "/", "/api/", "/" },
		{ "/api", "/", "/api/x?y", "/x?y" },
		{ "/api/", "/v1", "/api/x", "/v1/x" },
		{ "/api/", "/v1/", "/api/x", "/v1/x" },
		{ "/api/", "/v1", "/api/", "/v1" },
		{ "/api", "/v1", "/api/%20x", "/v1/%20x" },
		{ "/api", "/v1", "/%61pi/%20x%2e", "/v1/%20x." },	/* the prefix was written otherwise */
		{ "/api", "/v1", "/b/../api/../api/%20", "/v1/%20" },
		{ "/api", "/v1", "/api//..//x", "/v1/x" },
		{ "/api", "/v1", "/api/%2Fetc", "/v1/etc" },
		{ "/", "/in", "/x", "/in/x" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct proxy_route_options opt = {
			.prefix = span_str(rows[i].prefix), .rewrite = rows[i].rewrite
		};
		char text[256], line[256];

		open_route(&opt);
		snprintf(text, sizeof(text), "GET %s HTTP/1.1\nHost: a\n\n", rows[i].target);
		snprintf(line, sizeof(line), "GET %s HTTP/1.1", rows[i].expected);
		assert_string_equal(line_of(write_request(text), "GET "), line);
		head_driver_close(&d);
	}
}

static void head__names_a_host(void **state)
{
	static const struct {
		const char *host, *request, *expected;
	} rows[] = {
		{ "client", "GET / HTTP/1.1\nHost: a:80\n\n", "Host: a:80" },
		{ "client", "GET http://b/ HTTP/1.1\nHost: a\n\n", "Host: b" },
		{ "app.internal:8080", "GET / HTTP/1.1\nHost: a\n\n", "Host: app.internal:8080" },
		{ "app.internal", "GET / HTTP/1.0\n\n", "Host: app.internal" },
		/* Of the lease, which has no server here. */
		{ "server", "GET / HTTP/1.1\nHost: a\n\n", "Host: -" },
		{ "client", "GET / HTTP/1.0\n\n", "Host: -" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		open_route(&(struct proxy_route_options){ .host = rows[i].host });
		assert_string_equal(line_of(write_request(rows[i].request), "Host"), rows[i].expected);
		head_driver_close(&d);
	}
}

static void head__keeps_to_one_connection_what_belongs_to_it(void **state)
{
	const char *got;

	open_plain();
	got = write_request("GET / HTTP/1.1\nHost: a\nConnection: close, X-Hop, x-forwarded-for,\nX-Hop: 1\nX-Hop2: 2\n"
			    "Keep-Alive: timeout=5\nProxy-Connection: close\nProxy-Authorization: x\nTE: gzip\n"
			    "HTTP2-Settings: x\nProxy: y\nUpgrade: x\nX-Forwarded-For: 1.1.1.1\nX-Forwarded-Port: 1\n"
			    "Forwarded: for=1.1.1.1\nX-Real-IP: 1.1.1.1\nX_Forwarded_For: 1.1.1.1\ncontent_length: 5\n\n");
	assert_string_equal(got, "GET / HTTP/1.1\nHost: a\nX-Hop2: 2\n" FORWARDED "\n");
	got = write_request("GET / HTTP/1.1\nHost: a\nConnection: TE\nTE: gzip;q=0, trailers\n\n");
	assert_string_equal(got, "GET / HTTP/1.1\nHost: a\n" FORWARDED "Connection: TE\nTE: trailers\n\n");
	head_driver_close(&d);
}

static void head__passes_an_upgrade(void **state)
{
	static const struct {
		const char *fields, *expected;
	} rows[] = {
		{ "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: x\n",
		  "GET / HTTP/1.1\nHost: a\nSec-WebSocket-Key: x\n" FORWARDED "Connection: Upgrade\nUpgrade: websocket\n\n" },
		{ "Connection: Upgrade\nUpgrade: a\nUpgrade: b\n",
		  "GET / HTTP/1.1\nHost: a\n" FORWARDED "Connection: Upgrade\nUpgrade: a\nUpgrade: b\n\n" },
		{ "Connection: Upgrade, HTTP2-Settings\nUpgrade: H2C\nHTTP2-Settings: x\n", "GET / HTTP/1.1\nHost: a\n" FORWARDED "\n" },
		{ "Connection: Upgrade\nUpgrade: websocket\nUpgrade: x, h2c\n", "GET / HTTP/1.1\nHost: a\n" FORWARDED "\n" },
		{ "Upgrade: websocket\n", "GET / HTTP/1.1\nHost: a\n" FORWARDED "\n" },
		/* Where content comes first a tunnel would begin in its middle. */
		{ "Connection: Upgrade\nUpgrade: x\nContent-Length: 5\n",
		  "GET / HTTP/1.1\nHost: a\n" FORWARDED "Content-Length: 5\n\n" },
	};

	open_plain();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[512];

		snprintf(text, sizeof(text), "GET / HTTP/1.1\nHost: a\n%s\n", rows[i].fields);
		assert_string_equal(write_request(text), rows[i].expected);
		assert_int_equal(d.call.has_upgrade, strstr(rows[i].expected, "Upgrade") != NULL);
	}
	head_driver_close(&d);
}

static void head__frames_by_itself(void **state)
{
	static const struct {
		const char *method, *fields, *expected;
	} rows[] = {
		{ "POST", "Content-Length: 007\n", "Content-Length: 7\n" },
		{ "GET", "Content-Length: 0\n", "Content-Length: 0\n" },
		{ "POST", "", "Content-Length: 0\n" },
		{ "PUT", "", "Content-Length: 0\n" },
		{ "DELETE", "", "" },
		{ "PATCH", "Transfer-Encoding: Chunked\n", "Transfer-Encoding: chunked\n" },
		{ "POST", "Expect: 100-Continue\nContent-Length: 1\n", "Content-Length: 1\nExpect: 100-continue\n" },
		/* Nothing to wait for. */
		{ "GET", "Expect: 100-continue\n", "" },
	};

	open_plain();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[512], expected[1024];

		snprintf(text, sizeof(text), "%s / HTTP/1.1\nHost: a\n%s\n", rows[i].method, rows[i].fields);
		snprintf(expected, sizeof(expected), "%s / HTTP/1.1\nHost: a\n" FORWARDED "%s\n", rows[i].method,
			 rows[i].expected);
		assert_string_equal(write_request(text), expected);
	}
	/* One connection for one request, as the PROXY protocol wants. */
	d.call.lease.is_lone = true;
	assert_string_equal(write_request("GET / HTTP/1.1\nHost: a\n\n"),
			    "GET / HTTP/1.1\nHost: a\n" FORWARDED "Connection: close\n\n");
	head_driver_close(&d);
}

static void head__believes_whom_it_may(void **state)
{
	static const char request[] = "GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 1.1.1.1\nX-Forwarded-Proto: https\n"
				      "X-Forwarded-Port: 443\nVia: 1.0 b\n\n";

	open_plain();
	assert_string_equal(line_of(write_request(request), "X-Forwarded-For"), "X-Forwarded-For: 192.0.2.7");
	assert_int_equal(cidr_set_add(&d.trusted, SPAN("192.0.2.0/24")), 0);
	assert_string_equal(line_of(write_request(request), "X-Forwarded-For"), "X-Forwarded-For: 1.1.1.1, 192.0.2.7");
	assert_string_equal(line_of(write_request(request), "X-Forwarded-Proto"), "X-Forwarded-Proto: https");
	assert_string_equal(line_of(write_request(request), "X-Forwarded-Port"), "X-Forwarded-Port: 443");
	assert_string_equal(line_of(write_request(request), "Via"), "Via: 1.0 b, 1.1 sluice");
	head_driver_close(&d);
}

static void head__that_does_not_fit_is_told(void **state)
{
	struct buf b;

	open_plain();
	assert_true(head_driver_parse(&d, lines("GET / HTTP/1.1\nHost: a\nX: 1\n\n")));
	for (size_t size = 1; size < 400; size++) {
		bool fits;

		buf_init(&b, memory, size);
		fits = proxy_write_request(&d.call, &b);
		assert_int_equal(fits, !b.is_truncated);
		assert_int_equal(fits, size >= sizeof("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n" FORWARDED "\r\n") - 1 + 6);
	}
	head_driver_close(&d);
}

/* Rules --------------------------------------------------------------------------------------------------------- */

#define LIST(...) { (char *const[]){ __VA_ARGS__ }, sizeof((char *const[]){ __VA_ARGS__ }) / sizeof(char *) }

static void rules__set_add_and_remove(void **state)
{
	struct proxy_route_options opt = {
		.request_set = LIST("X-Set: 1", "X-Forwarded-Proto:https", "x-user: nobody"),
		.request_add = LIST("X-Add:  a: b ", "X-Set: 2", "X-None:"),
		.request_remove = LIST("Cookie", "Via", "X-Request-ID"),
	};

	open_route(&opt);
	assert_string_equal(write_request("GET / HTTP/1.1\nHost: a\nx-sET: 0\nX-Add: 0\ncookie: c\nX_User: root\nX-Set2: 0\n\n"),
			    "GET / HTTP/1.1\nHost: a\nX-Add: 0\nX-Set2: 0\nX-Forwarded-For: 192.0.2.7\nX-Forwarded-Host: a\n"
			    "Forwarded: for=192.0.2.7;host=a;proto=http\nX-Set: 1\nX-Forwarded-Proto: https\n"
			    "x-user: nobody\nX-Add: a: b\nX-Set: 2\nX-None: \n\n");
	head_driver_close(&d);
}

static void rules__need_a_colon_and_a_name(void **state)
{
	struct proxy_rule_list none = { 0 }, no_colon = LIST("X-A"), no_name = LIST("X-A: 1", ": 1");
	struct proxy_rules r;

	assert_int_equal(proxy_rules_init(&r, &no_colon, &none, &none), -EINVAL);
	assert_int_equal(proxy_rules_init(&r, &none, &no_name, &none), -EINVAL);
	assert_null(r.memory);
	assert_int_equal(proxy_rules_init(&r, &none, &none, &no_colon), 0);
	assert_true(proxy_rules_drop(&r, SPAN("x-a")));
	assert_true(proxy_rules_drop(&r, SPAN("X_A")));
	assert_false(proxy_rules_drop(&r, SPAN("x-ab")));
	assert_false(proxy_rules_drop(&r, SPAN("x-@")));
	proxy_rules_fini(&r);
	proxy_rules_fini(&r);
}

/* Responses ----------------------------------------------------------------------------------------------------- */

static const char *write_fields(const char *text)
{
	struct span wire = lines(text);
	size_t len;
	struct buf b;

	response_init(&d.call.parser, &head_limits);
	response_reset(&d.call.parser, &d.call.res, METHOD_GET);
	assert_int_equal(response_head(&d.call.parser, wire.ptr, wire.len, &len), PARSE_DONE);
	buf_init(&b, memory, sizeof(memory));
	proxy_write_fields(&d.call, &b);
	assert_false(b.is_truncated);
	return plain(&b);
}

static void head__of_a_response_is_written_anew(void **state)
{
	struct proxy_route_options opt = {
		.response_set = LIST("Cache-Control: no-store"),
		.response_add = LIST("X-By: sluice"),
		.response_remove = LIST("Server"),
	};

	open_route(&opt);
	assert_string_equal(write_fields("HTTP/1.1 200 OK\nServer: s\nSet-Cookie: a\nSet-Cookie: b\ncache-control: max-age=1\n"
					 "Connection: X-Hop, keep-alive\nX-Hop: 1\nKeep-Alive: timeout=5\nUpgrade: h2\n"
					 "Transfer-Encoding: chunked\nTrailer: X-Sum\nDate: d\n\n"),
			    "Set-Cookie: a\nSet-Cookie: b\nTrailer: X-Sum\nDate: d\nCache-Control: no-store\nX-By: sluice\n");
	assert_string_equal(write_fields("HTTP/1.1 103 Early\nLink: </a>\nServer: s\n\n"), "Link: </a>\n");
	assert_string_equal(write_fields("HTTP/1.1 101 Up\nConnection: upgrade, x-hop\nUpgrade: a\nX-Hop: 1\nUpgrade: b\n\n"),
			    "Upgrade: a\nUpgrade: b\nCache-Control: no-store\nX-By: sluice\n");
	head_driver_close(&d);
}

static void trailers__pass_where_they_say_nothing_of_the_message(void **state)
{
	struct buf b;

	buf_init(&b, memory, sizeof(memory));
	proxy_filter_trailers(lines("X-Sum: 1\nContent-Length: 5\nSet-Cookie: a\nhost: x\nauthorization: x\nX-Forwarded-For: 1\n"
				    "X-Request-Id: 1\nDate: x\nServer-Timing: a: b\nTE: x\n"),
			      &b);
	assert_string_equal(plain(&b), "X-Sum: 1\nServer-Timing: a: b\n");
	buf_init(&b, memory, sizeof(memory));
	proxy_filter_trailers(span_of(NULL, 0), &b);
	assert_int_equal(b.len, 0);
}

/* Whose request it is -------------------------------------------------------------------------------------------- */

static uint64_t key_of(enum proxy_hash hash, const char *name, const char *text)
{
	char *copy = name ? strdup(name) : NULL;
	uint64_t key;

	d.group.hash = hash;
	d.group.hash_name = copy;
	assert_true(head_driver_parse(&d, lines(text)));
	key = proxy_hash_key(&d.group, &d.req);
	free(copy);
	return key;
}

#define GET(target, fields) "GET " target " HTTP/1.1\nHost: a\n" fields "\n"

static void key__is_of_what_is_asked_for(void **state)
{
	uint64_t by_peer;

	open_plain();
	by_peer = key_of(PROXY_HASH_IP, NULL, GET("/", ""));
	assert_int_equal(key_of(PROXY_HASH_IP, NULL, GET("/x", "X: y\n")), by_peer);
	assert_int_not_equal(key_of(PROXY_HASH_URI, NULL, GET("/x", "")), key_of(PROXY_HASH_URI, NULL, GET("/y", "")));
	assert_int_equal(key_of(PROXY_HASH_URI, NULL, GET("/a/../x", "")), key_of(PROXY_HASH_URI, NULL, GET("/x", "")));
	assert_int_not_equal(key_of(PROXY_HASH_URI, NULL, GET("/x?1", "")), key_of(PROXY_HASH_URI, NULL, GET("/x?2", "")));
	assert_int_equal(key_of(PROXY_HASH_HEADER, "x-user", GET("/", "X-User: u\n")),
			 key_of(PROXY_HASH_COOKIE, "id", GET("/", "Cookie: a=b; id=u\n")));
	assert_int_equal(key_of(PROXY_HASH_COOKIE, "id", GET("/", "Cookie: xid=1\nCookie: id=u ; id=v\n")),
			 key_of(PROXY_HASH_HEADER, "X-User", GET("/", "x-user: u\n")));
	/* Without it, by the client. */
	assert_int_equal(key_of(PROXY_HASH_HEADER, "X-User", GET("/", "X-User:\n")), by_peer);
	assert_int_equal(key_of(PROXY_HASH_COOKIE, "id", GET("/", "Cookie: ID=1; id; idx=2\n")), by_peer);
	head_driver_close(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(head__is_written_anew),
		cmocka_unit_test(head__asks_for_what_was_decided_on),
		cmocka_unit_test(head__replaces_the_prefix),
		cmocka_unit_test(head__names_a_host),
		cmocka_unit_test(head__keeps_to_one_connection_what_belongs_to_it),
		cmocka_unit_test(head__passes_an_upgrade),
		cmocka_unit_test(head__frames_by_itself),
		cmocka_unit_test(head__believes_whom_it_may),
		cmocka_unit_test(head__that_does_not_fit_is_told),
		cmocka_unit_test(rules__set_add_and_remove),
		cmocka_unit_test(rules__need_a_colon_and_a_name),
		cmocka_unit_test(head__of_a_response_is_written_anew),
		cmocka_unit_test(trailers__pass_where_they_say_nothing_of_the_message),
		cmocka_unit_test(key__is_of_what_is_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
