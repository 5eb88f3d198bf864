/* SPDX-License-Identifier: MIT */
/* A module of the test's own behind a session: what it is told, what its answers become, what its mistakes do. */
#include "session_fixture.h"

#include "app/module_internal.h"

/* The module ------------------------------------------------------------------------------------------------------ */

static struct {
	unsigned requests, aborts, timers, exits, drains, releases;
	unsigned body_len;
	char body[64];
	struct sluice_request *pending;
	int result;		/* of what was tried */
	struct sluice_timer timer;
} seen;

static void on_hello(struct sluice_request *r)
{
	seen.requests++;
	sluice_reply(r, 200, "text/plain", "hello", 5);
}

static void on_chunked(struct sluice_request *r)
{
	sluice_begin(r, SLUICE_UNKNOWN);
	sluice_write(r, "abc", 3);
	sluice_write(r, "defg", 4);
	sluice_end(r);
}

static void on_later(struct sluice_request *r)
{
	seen.requests++;
	seen.pending = r;
}

static void on_begun(struct sluice_request *r)
{
	seen.pending = r;
	sluice_begin(r, 100);
	sluice_write(r, "some", 4);
}

static void on_woken(struct sluice_request *r)
{
	seen.pending = r;
	sluice_wake(r, 10);
}

static void on_timer(struct sluice_request *r)
{
	seen.timers++;
	sluice_error(r, 503);
}

static void on_abort(struct sluice_request *r)
{
	seen.aborts++;
	seen.pending = NULL;
}

static void on_take_body(struct sluice_request *r, const void *data, size_t len, int is_last)
{
	if (seen.body_len + len <= sizeof(seen.body) && len)
		memcpy(seen.body + seen.body_len, data, len);
	seen.body_len += (unsigned)len;
	if (is_last)
		sluice_reply(r, 200, NULL, seen.body, seen.body_len);
}

static void on_release(void *ctx)
{
	assert_ptr_equal(ctx, &seen);
	seen.releases++;
}

static void on_lend(struct sluice_request *r)
{
	static char large[1 << 23];

	sluice_begin(r, sizeof(large));
	sluice_write_held(r, large, sizeof(large), on_release, &seen);
	sluice_end(r);
}

static void on_fields(struct sluice_request *r)
{
	char value[2000];

	memset(value, 'v', sizeof(value));
	sluice_add(r, "X-One", "1", 1);
	sluice_add(r, "X-Long", value, sizeof(value));
	sluice_add(r, "X-Two", "2", 1);
	/* They are copies. */
	memset(value, 'w', sizeof(value));
	sluice_status(r, 201);
	sluice_begin(r, 0);
	sluice_end(r);
}

static void on_asked(struct sluice_request *r)
{
	struct sluice_span name, value;
	char client[64];

	assert_int_equal(r->length, 0);
	assert_int_equal(r->version, 11);
	assert_int_equal(sluice_header(r, "x-a").len, 1);
	assert_null(sluice_header(r, "x-c").ptr);
	assert_int_equal(sluice_field(r, 1, &name, &value), 0);
	assert_memory_equal(name.ptr, "X-A", 3);
	assert_int_equal(sluice_field(r, 2, &name, &value), -ENOENT);
	assert_int_equal(sluice_client(r, client, sizeof(client)), 7);
	assert_string_equal(client, "0.0.0.0");
	assert_int_equal(sluice_client(r, client, 4), 3);
	assert_string_equal(client, "0.0");
	assert_true(sluice_has(r->api, log));
	sluice_reply(r, 200, NULL, r->query.ptr, r->query.len);
}

/* Mistakes */

static void on_injection(struct sluice_request *r)
{
	seen.result = sluice_add(r, "X-A", "b\r\nX-B: c", 9);
	sluice_reply(r, 200, NULL, NULL, 0);
}

static void on_bad_name(struct sluice_request *r)
{
	seen.result = sluice_add(r, "X A", "b", 1);
	sluice_reply(r, 200, NULL, NULL, 0);
}

static void on_own_length(struct sluice_request *r)
{
	seen.result = sluice_add(r, "content-LENGTH", "7", 1);
	sluice_reply(r, 200, NULL, NULL, 0);
}

static void on_bad_status(struct sluice_request *r)
{
	seen.result = sluice_status(r, 101);
	sluice_begin(r, 0);
	sluice_end(r);
}

static void on_unbegun(struct sluice_request *r)
{
	seen.result = sluice_write(r, "x", 1);
	sluice_end(r);
}

static void on_too_long(struct sluice_request *r)
{
	sluice_begin(r, 3);
	seen.result = sluice_write(r, "abcd", 4);
	sluice_write(r, "abc", 3);
	sluice_end(r);
}

static void on_begun_twice(struct sluice_request *r)
{
	sluice_begin(r, 3);
	seen.result = sluice_begin(r, 5);
	sluice_write(r, "abc", 3);
	sluice_end(r);
}

static void on_short(struct sluice_request *r)
{
	sluice_begin(r, 5);
	sluice_write(r, "abc", 3);
	seen.result = sluice_end(r);
}

static void on_replied_twice(struct sluice_request *r)
{
	sluice_begin(r, 5);
	seen.result = sluice_reply(r, 200, NULL, "abc", 3);
}

static void on_cut(struct sluice_request *r)
{
	sluice_begin(r, 5);
	sluice_abort(r);
}

static const struct sluice_route routes[] = {
	{ "GET", "/hello", on_hello, NULL, NULL, NULL, NULL },
	{ "GET", "/chunked", on_chunked, NULL, NULL, NULL, NULL },
	{ "GET", "/later", on_later, NULL, NULL, NULL, on_abort },
	{ "GET", "/begun", on_begun, NULL, NULL, NULL, on_abort },
	{ "GET", "/woken", on_woken, NULL, NULL, on_timer, on_abort },
	{ "POST", "/body", on_later, on_take_body, NULL, NULL, on_abort },
	{ "POST", "/dropped", on_later, NULL, NULL, NULL, on_abort },
	{ "GET", "/lend", on_lend, NULL, NULL, NULL, on_abort },
	{ "GET", "/fields", on_fields, NULL, NULL, NULL, NULL },
	{ "GET", "/asked", on_asked, NULL, NULL, NULL, NULL },
	{ "GET", "/injection", on_injection, NULL, NULL, NULL, NULL },
	{ "GET", "/bad-name", on_bad_name, NULL, NULL, NULL, NULL },
	{ "GET", "/own-length", on_own_length, NULL, NULL, NULL, NULL },
	{ "GET", "/bad-status", on_bad_status, NULL, NULL, NULL, NULL },
	{ "GET", "/unbegun", on_unbegun, NULL, NULL, NULL, NULL },
	{ "GET", "/too-long", on_too_long, NULL, NULL, NULL, NULL },
	{ "GET", "/begun-twice", on_begun_twice, NULL, NULL, NULL, NULL },
	{ "GET", "/short", on_short, NULL, NULL, NULL, NULL },
	{ "GET", "/replied-twice", on_replied_twice, NULL, NULL, NULL, NULL },
	{ "GET", "/cut", on_cut, NULL, NULL, NULL, NULL },
};

static int init(struct sluice_instance *in)
{
	assert_string_equal(in->args, "words");
	assert_string_equal(in->prefix, "/m/");
	assert_int_equal(in->worker, 3);
	return 0;
}

static void on_exit_worker(struct sluice_instance *in)
{
	seen.exits++;
}

static void on_drain(struct sluice_instance *in)
{
	seen.drains++;
}

/* Version 1 is what modules were built for: members come at the end or not at all, on whatever machine. */

#define WORD sizeof(void *)
#define AT(type, member, words) _Static_assert(offsetof(struct type, member) == (words) * WORD, #member " has moved")

AT(sluice_module, name, 8 / WORD);
AT(sluice_module, routes, 8 / WORD + 1);
AT(sluice_module, route_count, 8 / WORD + 2);
AT(sluice_module, check, 16 / WORD + 2);
AT(sluice_module, on_drain, 16 / WORD + 5);
AT(sluice_route, path, 1);
AT(sluice_route, on_request, 2);
AT(sluice_route, on_body, 3);
AT(sluice_route, on_writable, 4);
AT(sluice_route, on_timer, 5);
AT(sluice_route, on_abort, 6);
AT(sluice_instance, args, 1);
AT(sluice_instance, data, 4);
AT(sluice_request, instance, 1);
AT(sluice_request, data, 2);
AT(sluice_request, method, 3);
AT(sluice_request, query, 13);
AT(sluice_request, length, 15);
AT(sluice_timer, data, 1);
AT(sluice_api, status, 8 / WORD);
AT(sluice_api, add, 8 / WORD + 1);
AT(sluice_api, begin, 8 / WORD + 2);
AT(sluice_api, write, 8 / WORD + 3);
AT(sluice_api, write_held, 8 / WORD + 4);
AT(sluice_api, write_file, 8 / WORD + 5);
AT(sluice_api, end, 8 / WORD + 6);
AT(sluice_api, reply, 8 / WORD + 7);
AT(sluice_api, error, 8 / WORD + 8);
AT(sluice_api, abort, 8 / WORD + 9);
AT(sluice_api, queued, 8 / WORD + 10);
AT(sluice_api, pause, 8 / WORD + 11);
AT(sluice_api, wake, 8 / WORD + 12);
AT(sluice_api, header, 8 / WORD + 13);
AT(sluice_api, field, 8 / WORD + 14);
AT(sluice_api, client, 8 / WORD + 15);
AT(sluice_api, timer_start, 8 / WORD + 16);
AT(sluice_api, timer_stop, 8 / WORD + 17);
AT(sluice_api, now_ms, 8 / WORD + 18);
AT(sluice_api, log, 8 / WORD + 19);

/* The server ------------------------------------------------------------------------------------------------------ */

static struct fixture f;
static struct site_table *sites;
static struct module m;
static struct module_stats stats;
static struct module_route *route;

static int open_all(void **state)
{
	struct module_route_options opt = {
		.module = &m, .prefix = SPAN("/m/"), .args = "words", .timeout_ms = 50, .body_max = 100
	};
	const char *name = "*";
	struct site *site;
	char why[MODULE_WHY_SIZE];
	void *conf;

	memset(&seen, 0, sizeof(seen));
	stats = (struct module_stats){ 0 };
	m = (struct module){
		.fd = -1, .path = (char *)"test",
		.code = { SLUICE_HEAD, "test", SLUICE_ROUTES(routes), NULL, init, on_exit_worker, on_drain },
	};
	list_init(&m.routes);
	assert_int_equal(module_table_new(&m.code, &m.table, why, sizeof(why)), 0);
	assert_int_equal(module_route_new(&opt, &conf), 0);
	route = conf;
	sites = site_table_new();
	assert_int_equal(site_add(sites, &name, 1, &site), 0);
	assert_int_equal(site_add_route(site, SPAN("/m/"), &module_ops, conf, module_route_free), 0);
	site_table_seal(sites);
	fixture_open(&f, sites);
	assert_int_equal(module_start(&m, &f.loop, 3, &stats), 0);
	return 0;
}

static int close_all(void **state)
{
	server_close_all(&f.server, CLOSE_DRAIN);
	module_drain(&m);
	module_drain(&m);
	module_stop(&m);
	fixture_close(&f);
	assert_int_equal(seen.exits, 1);
	assert_int_equal(seen.drains, 1);
	assert_int_equal(stats.in_flight, 0);
	site_table_free(sites);
	module_table_free(m.table);
	return 0;
}

static void ask(const char *path)
{
	char text[256];

	snprintf(text, sizeof(text), "GET /m%s HTTP/1.1\r\nHost: a\r\n\r\n", path);
	client_say(&f, text);
}

/* Turns until the module has had so many requests. */
static void run_until_asked(unsigned count)
{
	for (unsigned i = 0; i < TURNS_MAX && seen.requests < count; i++)
		loop_turn(&f.loop, 1);
	assert_int_equal(seen.requests, count);
}

/* Tests ----------------------------------------------------------------------------------------------------------- */

static void module__answers_as_the_version_says(void **state)
{
	client_say(&f, "GET /m/hello HTTP/1.1\r\nHost: a\r\n\r\nHEAD /m/hello HTTP/1.1\r\nHost: a\r\n\r\n"
		       "GET /m/chunked HTTP/1.1\r\nHost: a\r\n\r\nGET /m/hello HTTP/1.0\r\n\r\n");
	run_until_end(&f);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200"), 4);
	assert_int_equal(count_text(f.got, "Content-Length: 5\r\n"), 3);
	assert_int_equal(count_text(f.got, "hello"), 2);
	assert_int_equal(count_text(f.got, "\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"), 1);
	assert_int_equal(stats.requests, 4);
	assert_int_equal(stats.errors, 0);
	assert_int_equal(f.logged, 4);
}

static void module__has_no_chunks_in_1_0(void **state)
{
	client_say(&f, "GET /m/chunked HTTP/1.0\r\n\r\n");
	run_until_end(&f);
	assert_non_null(strstr(f.got, "\r\n\r\nabcdefg"));
	assert_null(strstr(f.got, "chunked"));
}

static void module__is_not_asked_for_what_it_does_not_have(void **state)
{
	ask("/hello/x");
	client_say(&f, "DELETE /m/hello HTTP/1.1\r\nHost: a\r\n\r\nOPTIONS /m/hello HTTP/1.1\r\nHost: a\r\n\r\n"
		       "BREW /m/hello HTTP/1.1\r\nHost: a\r\n\r\n");
	run_until_replies(&f, 4);
	assert_int_equal(count_text(f.got, "HTTP/1.1 404"), 1);
	assert_int_equal(count_text(f.got, "HTTP/1.1 405"), 1);
	assert_int_equal(count_text(f.got, "HTTP/1.1 204"), 1);
	assert_int_equal(count_text(f.got, "HTTP/1.1 501"), 1);
	assert_int_equal(count_text(f.got, "Allow: GET, HEAD, OPTIONS\r\n"), 2);
	assert_int_equal(stats.unrouted, 4);
	assert_int_equal(stats.requests, 0);
}

static void module__gets_content_without_its_framing(void **state)
{
	client_say(&f, "POST /m/body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		       "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
	run_until_replies(&f, 1);
	assert_non_null(strstr(f.got, "\r\n\r\nabcdefg"));
	assert_int_equal(stats.in_flight, 0);
	/* The end of no content comes too. */
	seen.body_len = 0;
	client_say(&f, "POST /m/body HTTP/1.1\r\nHost: a\r\n\r\n");
	run_until_replies(&f, 2);
	assert_non_null(strstr(f.got, "Content-Length: 0\r\n"));
}

static void module__bears_content_it_does_not_take(void **state)
{
	client_say(&f, "POST /m/dropped HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde");
	run_until_asked(1);
	assert_int_equal(seen.pending->length, 5);
	sluice_reply(seen.pending, 204, NULL, NULL, 0);
	run_until_replies(&f, 1);
	ask("/hello");
	run_until_replies(&f, 2);
	assert_int_equal(count_text(f.got, "HTTP/1.1 204"), 1);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200"), 1);
}

static void module__is_told_when_content_is_too_long(void **state)
{
	client_say(&f, "POST /m/body HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n");
	run_until_end(&f);
	assert_non_null(strstr(f.got, "HTTP/1.1 413"));
	assert_int_equal(stats.requests, 0);
	close(f.client);
	connect_client(&f);
	client_say(&f, "POST /m/body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n70\r\n");
	run_until_end(&f);
	assert_non_null(strstr(f.got, "HTTP/1.1 413"));
	assert_int_equal(seen.aborts, 1);
	assert_int_equal(stats.aborted, 1);
}

static void module__answers_later(void **state)
{
	ask("/later");
	run_until_asked(1);
	assert_int_equal(stats.in_flight, 1);
	sluice_reply(seen.pending, 200, NULL, "now", 3);
	assert_int_equal(stats.in_flight, 0);
	run_until_replies(&f, 1);
	assert_non_null(strstr(f.got, "\r\n\r\nnow"));
}

static void module__is_woken_once(void **state)
{
	ask("/woken");
	run_until_replies(&f, 1);
	assert_non_null(strstr(f.got, "HTTP/1.1 503"));
	assert_int_equal(seen.timers, 1);
	assert_int_equal(stats.errors, 1);
	assert_int_equal(stats.timeouts, 0);
}

static void on_own_timer(struct sluice_timer *t)
{
	assert_ptr_equal(t, &seen.timer);
	assert_ptr_equal(t->data, &seen);
	seen.timers++;
}

static void module__has_timers_of_its_own(void **state)
{
	seen.timer.on_expire = on_own_timer;
	seen.timer.data = &seen;
	sluice_timer_stop(&route->instance, &seen.timer);
	sluice_timer_start(&route->instance, &seen.timer, UINT64_MAX);
	sluice_timer_start(&route->instance, &seen.timer, 1);
	for (unsigned i = 0; i < TURNS_MAX && !seen.timers; i++)
		loop_turn(&f.loop, 1);
	assert_int_equal(seen.timers, 1);
	sluice_timer_start(&route->instance, &seen.timer, 1);
	sluice_timer_stop(&route->instance, &seen.timer);
	for (unsigned i = 0; i < 5; i++)
		loop_turn(&f.loop, 1);
	assert_int_equal(seen.timers, 1);
}

static void module__is_late(void **state)
{
	static const struct {
		const char *path;
		const char *answer;
	} cases[] = { { "/later", "HTTP/1.1 504" }, { "/begun", "HTTP/1.1 200" } };

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		ask(cases[i].path);
		if (i == 0)
			run_until_replies(&f, 1);
		else
			run_until_end(&f);
		assert_non_null(strstr(f.got, cases[i].answer));
		assert_string_equal(f.last_reason, "module_timeout");
		assert_int_equal(seen.aborts, i + 1);
		assert_int_equal(stats.timeouts, i + 1);
		assert_int_equal(stats.in_flight, 0);
		f.got_len = 0;
	}
	/* What was announced has not come: that must show. */
	assert_true(f.has_reset);
}

/* Whoever waits for the client, or for an instant of its own, is not late. */
static void module__is_not_late_while_it_waits_for_others(void **state)
{
	f.server.timeouts.body = 10000;
	client_say(&f, "POST /m/body HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
	run_until_asked(1);
	for (uint64_t until_ms = f.loop.now_ms + 120; f.loop.now_ms < until_ms;)
		loop_turn(&f.loop, 5);
	assert_int_equal(stats.timeouts, 0);
	client_say(&f, "cde");
	run_until_replies(&f, 1);
	assert_non_null(strstr(f.got, "abcde"));
	ask("/later");
	run_until_asked(2);
	sluice_wake(seen.pending, 120);
	for (uint64_t until_ms = f.loop.now_ms + 90; f.loop.now_ms < until_ms;)
		loop_turn(&f.loop, 5);
	assert_int_equal(stats.timeouts, 0);
	sluice_wake(seen.pending, SLUICE_UNKNOWN);
	run_until_replies(&f, 2);
	assert_int_equal(stats.timeouts, 1);
}

static void module__is_told_that_the_client_is_gone(void **state)
{
	ask("/later");
	run_until_asked(1);
	/* With bytes unread a close is a reset, which is seen at once. */
	client_say(&f, "x");
	assert_int_equal(setsockopt(f.client, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger)), 0);
	close(f.client);
	f.client = -1;
	for (unsigned i = 0; i < TURNS_MAX && !seen.aborts; i++)
		loop_turn(&f.loop, 1);
	assert_int_equal(seen.aborts, 1);
	assert_int_equal(stats.aborted, 1);
	assert_int_equal(stats.in_flight, 0);
}

static void module__gets_back_what_it_lends(void **state)
{
	ask("/lend");
	for (unsigned i = 0; i < TURNS_MAX && !seen.releases; i++) {
		loop_turn(&f.loop, 1);
		client_read(&f);
	}
	assert_int_equal(seen.releases, 1);
	close(f.client);
	connect_client(&f);
	/* And so it does from a client that reads none of it. */
	ask("/lend");
	for (unsigned i = 0; i < 20; i++)
		loop_turn(&f.loop, 1);
	assert_int_equal(seen.releases, 1);
	server_close_all(&f.server, CLOSE_DRAIN);
	loop_turn(&f.loop, 0);
	assert_int_equal(seen.releases, 2);
}

static void module__adds_fields_of_any_length(void **state)
{
	ask("/fields");
	run_until_replies(&f, 1);
	assert_non_null(strstr(f.got, "HTTP/1.1 201"));
	assert_non_null(strstr(f.got, "\r\nX-One: 1\r\nX-Long: vvv"));
	assert_non_null(strstr(f.got, "vvv\r\nX-Two: 2\r\n"));
	assert_null(strstr(f.got, "ww"));
}

static void module__sees_what_is_asked(void **state)
{
	client_say(&f, "GET /m/asked?q=%20 HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n");
	run_until_replies(&f, 1);
	assert_non_null(strstr(f.got, "\r\n\r\nq=%20"));
}

static void module__does_no_harm_by_mistakes(void **state)
{
	static const struct {
		const char *path;
		int result;
		const char *answer;	/* status line of what the client gets */
		bool is_cut;
		unsigned mistakes;
	} cases[] = {
		{ "/injection", -EINVAL, "HTTP/1.1 500", false, 1 },
		{ "/bad-name", -EINVAL, "HTTP/1.1 500", false, 1 },
		{ "/own-length", -EINVAL, "HTTP/1.1 500", false, 1 },
		{ "/bad-status", -EINVAL, "HTTP/1.1 500", false, 1 },
		{ "/unbegun", -EINVAL, "HTTP/1.1 500", false, 2 },
		{ "/too-long", -EMSGSIZE, "HTTP/1.1 200", false, 1 },
		{ "/begun-twice", -EALREADY, "HTTP/1.1 200", false, 1 },
		{ "/short", 0, "HTTP/1.1 200", true, 0 },
		{ "/replied-twice", -EALREADY, "HTTP/1.1 200", true, 1 },
		{ "/cut", 0, "HTTP/1.1 200", true, 0 },
	};

	log_set_level(LOG_ERROR);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t before = stats.mistakes, errors = stats.errors;

		if (i > 0) {
			close(f.client);
			connect_client(&f);
		}
		seen.result = 0;
		ask(cases[i].path);
		if (cases[i].is_cut)
			run_until_end(&f);
		else
			run_until_replies(&f, 1);
		if (seen.result != cases[i].result || !strstr(f.got, cases[i].answer) || strstr(f.got, "X-B:") ||
		    f.has_reset != cases[i].is_cut || stats.mistakes - before != cases[i].mistakes)
			fail_msg("%s: %d, %llu mistakes, reset %d: %s", cases[i].path, seen.result,
				 (unsigned long long)(stats.mistakes - before), f.has_reset, f.got);
		/* Each 5xx and each answer that was cut is an error, once. */
		assert_int_equal(stats.errors - errors, cases[i].is_cut || strstr(f.got, " 500 ") ? 1 : 0);
		assert_int_equal(stats.in_flight, 0);
	}
	log_set_level(LOG_INFO);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(module__answers_as_the_version_says),
		TEST(module__has_no_chunks_in_1_0),
		TEST(module__is_not_asked_for_what_it_does_not_have),
		TEST(module__gets_content_without_its_framing),
		TEST(module__bears_content_it_does_not_take),
		TEST(module__is_told_when_content_is_too_long),
		TEST(module__answers_later),
		TEST(module__is_woken_once),
		TEST(module__has_timers_of_its_own),
		TEST(module__is_late),
		TEST(module__is_not_late_while_it_waits_for_others),
		TEST(module__is_told_that_the_client_is_gone),
		TEST(module__gets_back_what_it_lends),
		TEST(module__adds_fields_of_any_length),
		TEST(module__sees_what_is_asked),
		TEST(module__does_no_harm_by_mistakes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
