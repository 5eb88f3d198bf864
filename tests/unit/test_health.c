/* SPDX-License-Identifier: MIT */
/* Real checks of servers within the test (fake_server.h); intervals of milliseconds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/health.h"
#include "fake_server.h"

#define WAIT_MS 3000u

static struct loop loop;
static struct fake_server server;
static struct upstream_endpoint endpoint;
static struct health_options options;
static struct health health;
static struct {
	unsigned changes;
	enum endpoint_health before;
	bool stops;
} seen;

static void on_change(struct health *h, enum endpoint_health before)
{
	assert_ptr_equal(h, &health);
	assert_int_not_equal(endpoint.health, before);
	seen.changes++;
	seen.before = before;
	if (seen.stops)
		health_stop(h);
}

static void use_address(const union sock_addr *a)
{
	upstream_endpoint_set(&endpoint, &a->any, sock_addr_len(a), 1, 1);
}

static int open_all(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	memset(&endpoint, 0, sizeof(endpoint));
	memset(&seen, 0, sizeof(seen));
	options = (struct health_options){
		.path = "/up?x=1", .host = "app.test:81", .status_min = 200, .status_max = 299, .interval_ms = 5,
		.timeout_ms = 1000, .rise = 2, .fall = 3,
	};
	health = (struct health){ .opt = &options, .endpoint = &endpoint, .on_change = on_change };
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(fake_server_open(&server, &loop, "127.0.0.1:0"), 0);
	use_address(&server.addr);
	return 0;
}

static int close_all(void **state)
{
	health_stop(&health);
	health_stop(&health);
	fake_server_close(&server);
	loop_turn(&loop, 0);
	assert_int_equal(loop.wheel.timer_count, 0);
	loop_fini(&loop);
	return 0;
}

static void run_until_checks(uint64_t count)
{
	uint64_t end_ns = clock_ns() + WAIT_MS * NS_PER_MS;

	while (endpoint.checks < count && clock_ns() < end_ns)
		loop_turn(&loop, 20);
	assert_true(endpoint.checks >= count);
}

static void start(void)
{
	health_start(&health, &loop, 0);
}

/* One check more, and no other after it. */
static void check_once(void)
{
	uint64_t checks = endpoint.checks;

	options.interval_ms = 60000;
	start();
	run_until_checks(checks + 1);
	health_stop(&health);
}

static void health__finds_a_server_up_at_once(void **state)
{
	start();
	run_until_checks(1);
	assert_int_equal(endpoint.health, HEALTH_UP);
	assert_int_equal(seen.changes, 1);
	assert_int_equal(seen.before, HEALTH_UNKNOWN);
	assert_int_equal(endpoint.check_streak, 0);
	assert_int_equal(endpoint.check_failures, 0);
	assert_string_equal(endpoint.check_error, "");
	assert_int_equal(endpoint.used_since_ns, 1);
}

static void health__finds_a_dead_server_down_at_once(void **state)
{
	fake_server_close(&server);
	start();
	run_until_checks(1);
	assert_int_equal(endpoint.health, HEALTH_DOWN);
	assert_int_equal(endpoint.check_failures, 1);
	assert_string_equal(endpoint.check_error, "connect refused");
}

/* As many in a row as asked for, both ways; a result of the other kind begins anew. */
static void health__changes_after_rise_and_fall(void **state)
{
	static const struct {
		enum endpoint_health before;
		unsigned streak;
		bool is_well;
		enum endpoint_health after;
		unsigned streak_after;
	} rows[] = {
		{ HEALTH_UNKNOWN, 0, true, HEALTH_UP, 0 },   { HEALTH_UNKNOWN, 0, false, HEALTH_DOWN, 0 },
		{ HEALTH_UP, 0, true, HEALTH_UP, 0 },	     { HEALTH_UP, 2, true, HEALTH_UP, 0 },
		{ HEALTH_UP, 0, false, HEALTH_UP, 1 },	     { HEALTH_UP, 1, false, HEALTH_UP, 2 },
		{ HEALTH_UP, 2, false, HEALTH_DOWN, 0 },     { HEALTH_DOWN, 0, false, HEALTH_DOWN, 0 },
		{ HEALTH_DOWN, 1, false, HEALTH_DOWN, 0 },   { HEALTH_DOWN, 0, true, HEALTH_DOWN, 1 },
		{ HEALTH_DOWN, 1, true, HEALTH_UP, 0 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		seen.changes = 0;
		endpoint.health = rows[i].before;
		endpoint.check_streak = rows[i].streak;
		endpoint.used_since_ns = 1;
		if (rows[i].is_well && server.io.fd < 0)
			assert_int_equal(fake_server_open(&server, &loop, "127.0.0.1:0"), 0);
		else if (!rows[i].is_well)
			fake_server_close(&server);
		upstream_endpoint_get(&endpoint, &(struct upstream_address){ 0 });
		memcpy(endpoint.address, &server.addr, sizeof(server.addr.v4));
		check_once();
		assert_int_equal(endpoint.health, rows[i].after);
		assert_int_equal(endpoint.check_streak, rows[i].streak_after);
		assert_int_equal(seen.changes, rows[i].before != rows[i].after);
		/* Back from being down: its slow start begins. */
		assert_int_equal(endpoint.used_since_ns > 1, rows[i].before == HEALTH_DOWN && rows[i].after == HEALTH_UP);
	}
}

static void health__goes_down_and_up_again(void **state)
{
	char text[SOCK_ADDR_TEXT];

	start();
	run_until_checks(3);
	assert_int_equal(endpoint.health, HEALTH_UP);
	fake_server_close(&server);
	while (endpoint.health == HEALTH_UP && endpoint.checks < 1000)
		loop_turn(&loop, 20);
	assert_int_equal(endpoint.health, HEALTH_DOWN);
	assert_int_equal(endpoint.check_failures, 3);
	assert_int_equal(fake_server_open(&server, &loop, sock_addr_print(&server.addr, text)), 0);
	while (endpoint.health == HEALTH_DOWN && endpoint.checks < 1000)
		loop_turn(&loop, 20);
	assert_int_equal(endpoint.health, HEALTH_UP);
	assert_int_equal(seen.changes, 3);
	assert_true(endpoint.used_since_ns > 1);
	/* The last failure can still be read. */
	assert_string_equal(endpoint.check_error, "connect refused");
}

static void health__sends_a_whole_request(void **state)
{
	options.is_http = true;
	server.answer = "HTTP/1.1 204 No Content\r\n\r\n";
	start();
	run_until_checks(1);
	assert_int_equal(endpoint.health, HEALTH_UP);
	assert_string_equal(server.request, "GET /up?x=1 HTTP/1.1\r\nHost: app.test:81\r\nUser-Agent: sluice-check\r\n"
					    "Accept: */*\r\nConnection: close\r\n\r\n");
}

static void health__says_the_preamble_first(void **state)
{
	options.preamble = SPAN("PROXY UNKNOWN\r\n");
	check_once();
	assert_int_equal(endpoint.health, HEALTH_UP);
	for (unsigned i = 0; i < 50 && !server.request_len; i++)
		loop_turn(&loop, 5);
	assert_string_equal(server.request, "PROXY UNKNOWN\r\n");
	options.is_http = true;
	server.answer = "HTTP/1.1 200 OK\r\n\r\n";
	check_once();
	assert_true(strncmp(server.request, "PROXY UNKNOWN\r\nGET /up", 22) == 0);
}

static void health__reads_the_status(void **state)
{
	static char long_head[40000];
	const struct {
		const char *answer, *error;
	} rows[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", NULL },
		{ "HTTP/1.0 299 Odd\r\n\r\n", NULL },
		{ "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", NULL },
		{ "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "status 503" },
		{ "HTTP/1.1 199 Not Yet\r\n\r\n", "closed before an answer" },
		{ "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "status 302" },
		{ "", "closed before an answer" },
		{ "HTTP/1.1 200 OK\r\nX-Cut: o", "closed before an answer" },
		{ "SSH-2.0-OpenSSH_9.2\r\n\r\n", "bad answer" },
		{ "HTTP/1.1 2000 OK\r\n\r\n", "bad answer" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "bad answer" },
		{ long_head, "" },
	};

	options.is_http = true;
	memset(long_head, 'x', sizeof(long_head) - 1);
	memcpy(long_head, "HTTP/1.1 200 OK\r\nX: ", 20);
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t failures = endpoint.check_failures;

		endpoint.health = HEALTH_UNKNOWN;
		server.answer = rows[i].answer;
		check_once();
		if (!rows[i].error != (endpoint.check_failures == failures) ||
		    (rows[i].error && strncmp(endpoint.check_error, rows[i].error, strlen(rows[i].error)) != 0))
			fail_msg("row %u: '%s', failures %u", i, endpoint.check_error, (unsigned)endpoint.check_failures);
		assert_int_equal(endpoint.health, rows[i].error ? HEALTH_DOWN : HEALTH_UP);
	}
}

/* The verdict does not wait for the rest of an answer that keeps the connection open. */
static void health__needs_no_more_than_the_head(void **state)
{
	options.is_http = true;
	server.keeps_open = true;
	server.answer = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nsome";
	check_once();
	assert_int_equal(endpoint.health, HEALTH_UP);
}

static void health__has_no_patience_with_the_silent(void **state)
{
	uint64_t start_ns = clock_ns();

	options.is_http = true;
	options.timeout_ms = 40;
	check_once();
	assert_int_equal(endpoint.health, HEALTH_DOWN);
	assert_string_equal(endpoint.check_error, "no answer in time");
	assert_true(clock_ns() - start_ns >= 39 * NS_PER_MS);
	server.closes_at_once = true;
	check_once();
	assert_true(strcmp(endpoint.check_error, "closed before an answer") == 0 ||
		    strcmp(endpoint.check_error, "connection reset") == 0);
}

/* A full accept queue: the kernel drops the SYN, nothing comes back. */
static void health__gives_up_connecting(void **state)
{
	int fds[8], listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	union sock_addr full;
	bool is_connected;

	sock_addr_parse(SPAN("127.0.0.1:0"), &full);
	assert_int_equal(bind(listen_fd, &full.any, sizeof(full.v4)), 0);
	assert_int_equal(listen(listen_fd, 0), 0);
	sock_local_addr(listen_fd, &full);
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = sock_connect(&full.any, sizeof(full.v4), &is_connected);
	options.timeout_ms = 50;
	use_address(&full);
	check_once();
	assert_int_equal(endpoint.health, HEALTH_DOWN);
	assert_string_equal(endpoint.check_error, "connect timed out");
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
		sock_close(fds[i]);
	close(listen_fd);
}

static void health__checks_unix_sockets(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	socklen_t len = offsetof(struct sockaddr_un, sun_path) + 1 + 20;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* Abstract: nothing to remove. */
	snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "sluice-test-%08d", (int)getpid());
	assert_int_equal(bind(fd, (struct sockaddr *)&un, len), 0);
	upstream_endpoint_set(&endpoint, (struct sockaddr *)&un, len, 1, 1);
	check_once();
	assert_int_equal(endpoint.health, HEALTH_DOWN);
	assert_string_equal(endpoint.check_error, "connect refused");
	assert_int_equal(listen(fd, 4), 0);
	endpoint.health = HEALTH_UNKNOWN;
	check_once();
	assert_int_equal(endpoint.health, HEALTH_UP);
	close(fd);
}

/* Want of descriptors says nothing of the server. */
static void health__blames_nobody_for_its_own_limits(void **state)
{
	struct rlimit limit, low;
	uint64_t turns = 0;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	low.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	start();
	while (turns++ < 10)
		loop_turn(&loop, 10);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(endpoint.checks, 0);
	assert_int_equal(endpoint.health, HEALTH_UNKNOWN);
	run_until_checks(1);
	assert_int_equal(endpoint.health, HEALTH_UP);
}

static void health__waits_for_an_address(void **state)
{
	upstream_endpoint_set(&endpoint, NULL, 0, 1, 1);
	start();
	for (unsigned i = 0; i < 5; i++)
		loop_turn(&loop, 10);
	assert_int_equal(endpoint.checks, 0);
	use_address(&server.addr);
	run_until_checks(1);
	assert_int_equal(endpoint.health, HEALTH_UP);
}

static void health__may_stop_at_any_time(void **state)
{
	seen.stops = true;
	start();
	run_until_checks(1);
	assert_null(health.loop);
	for (unsigned turns = 0; turns < 6; turns++) {
		start();
		for (unsigned i = 0; i < turns; i++)
			loop_turn(&loop, 1);
		health_stop(&health);
		assert_null(health.probe);
	}
}

/* From begin to begin; the delays differ, by no more than a tenth. */
static void health__keeps_its_interval_with_jitter(void **state)
{
	uint64_t shortest = UINT64_MAX, longest = 0, last;

	options.interval_ms = 40;
	health_start(&health, &loop, 20);
	assert_true(health.timer.expires_ms <= loop.now_ms + 20);
	run_until_checks(1);
	last = health.begun_ms;
	for (unsigned i = 2; i < 22; i++) {
		uint64_t gap;

		gap = health.timer.expires_ms - last;
		shortest = MIN(shortest, gap);
		longest = MAX(longest, gap);
		run_until_checks(i);
		last = health.begun_ms;
	}
	assert_true(shortest >= 36 && longest <= 44);
	assert_true(shortest < longest);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(health__finds_a_server_up_at_once),
		TEST(health__finds_a_dead_server_down_at_once),
		TEST(health__changes_after_rise_and_fall),
		TEST(health__goes_down_and_up_again),
		TEST(health__sends_a_whole_request),
		TEST(health__says_the_preamble_first),
		TEST(health__reads_the_status),
		TEST(health__needs_no_more_than_the_head),
		TEST(health__has_no_patience_with_the_silent),
		TEST(health__gives_up_connecting),
		TEST(health__checks_unix_sockets),
		TEST(health__blames_nobody_for_its_own_limits),
		TEST(health__waits_for_an_address),
		TEST(health__may_stop_at_any_time),
		TEST(health__keeps_its_interval_with_jitter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
