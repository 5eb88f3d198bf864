/* SPDX-License-Identifier: MIT */
/* Limits of clients over real sockets: what is refused, what is cut, and who is not. */
#include "session_fixture.h"

#include <poll.h>

#define REQUEST(target) "GET " target " HTTP/1.1\r\nHost: a\r\n\r\n"

static struct fixture f;
static struct site_table *sites;
static struct limit_table table;
static struct limit_rows rows;
static struct cidr_set networks;
static struct limit_rate all_rate, own_rate;
static struct reply *pending;
static int clients[8];
static unsigned client_count;

/* Handlers ---------------------------------------------------------------------------------------------------- */

static void on_hello(struct request *req, struct reply *r, void *conf)
{
	reply_begin(r, 5);
	reply_write(r, "hello", 5);
	reply_end(r);
}

static char big[1 << 22];

static void on_big(struct request *req, struct reply *r, void *conf)
{
	reply_begin(r, sizeof(big));
	reply_write(r, big, sizeof(big));
	reply_end(r);
}

/* A server behind it that is slow: content is not wanted, the reply comes later. */
static void on_slow(struct request *req, struct reply *r, void *conf)
{
	pending = r;
	if (req->framing != BODY_NONE)
		reply_pause_body(r, true);
}

static void on_body(struct request *req, struct reply *r, struct span data, bool is_last)
{
	if (!is_last)
		return;
	reply_begin(r, 0);
	reply_end(r);
}

static void on_abort(struct request *req, struct reply *r)
{
	pending = NULL;
}

static void on_upload(struct request *req, struct reply *r, void *conf)
{
}

static void add_route(struct site *site, const char *prefix, const struct handler_ops *ops, const struct limit_rate *rate)
{
	assert_int_equal(site_add_route(site, span_str(prefix), ops, NULL, NULL), 0);
	site_limit_route(site, rate);
}

static int open_all(void **state)
{
	static const struct handler_ops hello = { .name = "hello", .on_request = on_hello };
	static const struct handler_ops big_ops = { .name = "big", .on_request = on_big };
	static const struct handler_ops slow = { .name = "slow", .on_request = on_slow, .on_body = on_body,
						 .on_abort = on_abort };
	static const struct handler_ops upload = { .name = "upload", .on_request = on_upload, .on_body = on_body };
	static const char *const names[] = { "*" };
	struct site *site;

	pending = NULL;
	client_count = 0;
	assert_int_equal(limit_table_open(&table, 100), 0);
	assert_int_equal(limit_rows_open(&rows, &table, 2), 0);
	table.debt_max = 3600 * LIMIT_HOUR / 3600;
	cidr_set_init(&networks);
	all_rate = (struct limit_rate){ .zone = 0, .interval = LIMIT_HOUR, .window = 3 * LIMIT_HOUR };
	own_rate = (struct limit_rate){ .zone = 7, .interval = LIMIT_HOUR, .window = LIMIT_HOUR };
	sites = site_table_new();
	assert_int_equal(site_add(sites, names, 1, &site), 0);
	add_route(site, "/hello", &hello, NULL);
	add_route(site, "/all/1", &hello, &all_rate);
	add_route(site, "/all/2", &upload, &all_rate);
	add_route(site, "/own", &hello, &own_rate);
	add_route(site, "/big", &big_ops, NULL);
	add_route(site, "/slow", &slow, NULL);
	add_route(site, "/upload", &upload, NULL);
	site_table_seal(sites);
	fixture_open(&f, sites);
	f.server.timeouts = (struct server_timeouts){ 5000, 5000, 5000, 5000, 20 };
	f.server.limits.table = &table;
	return 0;
}

static int close_all(void **state)
{
	for (unsigned i = 0; i < client_count; i++)
		close(clients[i]);
	fixture_close(&f);
	site_table_free(sites);
	cidr_set_fini(&networks);
	limit_rows_close(&rows);
	limit_table_close(&table);
	return 0;
}

/* The client so far stays open. */
static void another_client(void)
{
	clients[client_count++] = f.client;
	connect_client(&f);
}

static void count_connections(void)
{
	f.server.limits.row = limit_rows_of(&rows, 0);
}

static void assert_refused(const char *status, const char *reason)
{
	/* Others are open all the while. */
	for (unsigned i = 0; i < TURNS_MAX && (!f.has_end || f.server.refused_count); i++) {
		loop_turn(&f.loop, 2);
		client_read(&f);
	}
	assert_true(strncmp(f.got, "HTTP/1.1 ", 9) == 0);
	assert_memory_equal(f.got + 9, status, 3);
	assert_non_null(strstr(f.got, "\r\nRetry-After: 1\r\n"));
	assert_non_null(strstr(f.got, "\r\nConnection: close\r\n"));
	assert_false(f.has_reset);
	assert_string_equal(f.last_reason, reason);
	assert_int_equal(f.last_status, atoi(status));
	assert_int_equal(f.server.refused_count, 0);
}

static void assert_served(void)
{
	f.got_len = 0;
	client_say(&f, REQUEST("/hello"));
	run_until_replies(&f, 1);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200 OK"), 1);
}

/* Connections ------------------------------------------------------------------------------------------------- */

static void session__refuses_a_client_with_too_many_connections(void **state)
{
	count_connections();
	f.server.limits.client_connections = 2;
	another_client();
	another_client();
	assert_served();
	another_client();
	client_say(&f, REQUEST("/hello"));
	assert_refused("429", "client_connections");
	assert_int_equal(f.stats.closed[CLOSE_CLIENT_CONNECTIONS], 1);
	assert_int_equal(f.stats.requests, 2);
	assert_int_equal(f.stats.status[4], 1);
	assert_int_equal(f.logged, 2);
	/* One of the two leaves: there is room again. */
	close(clients[--client_count]);
	for (unsigned i = 0; i < 10; i++)
		loop_turn(&f.loop, 1);
	close(f.client);
	connect_client(&f);
	assert_served();
}

static void session__refuses_above_the_total(void **state)
{
	count_connections();
	f.server.limits.total_connections = 1;
	another_client();
	assert_served();
	another_client();
	assert_refused("503", "total_connections");
	assert_int_equal(f.stats.closed[CLOSE_TOTAL_CONNECTIONS], 1);
	assert_int_equal(table.header->connections, 1);
}

/* The address of the fixture's clients is 0.0.0.0. */
static void session__does_not_limit_who_is_exempt(void **state)
{
	count_connections();
	f.server.limits.client_connections = 1;
	f.server.limits.total_connections = 1;
	f.server.limits.exempt = &networks;
	assert_int_equal(cidr_set_add(&networks, SPAN("0.0.0.0/8")), 0);
	for (unsigned i = 0; i < 3; i++) {
		another_client();
		assert_served();
	}
	assert_int_equal(table.header->connections, 3);
}

static void session__does_not_count_connections_of_trusted_proxies(void **state)
{
	count_connections();
	f.server.limits.client_connections = 1;
	f.server.limits.trusted = &networks;
	assert_int_equal(cidr_set_add(&networks, SPAN("0.0.0.0/8")), 0);
	another_client();
	another_client();
	assert_served();
}

/* Beyond some hundreds nobody is listened to any more: descriptors are dear. */
static void session__closes_at_once_when_too_many_are_refused(void **state)
{
	count_connections();
	f.server.limits.client_connections = 1;
	another_client();
	f.server.refused_count = 512;
	another_client();
	run_until_replies(&f, 0);
	assert_int_equal(f.got_len, 0);
	assert_int_equal(f.last_status, 0);
	assert_int_equal(f.stats.closed[CLOSE_CLIENT_CONNECTIONS], 1);
	f.server.refused_count = 0;
}

static struct server_guest guest;
static int guest_fd = -1;

static int take_guest(void *ctx, int fd, const struct server_guest *g)
{
	guest = *g;
	guest_fd = dup(fd);
	return 0;
}

/* In the inbox, and with the next worker, it is still one of its client's. */
static void session__stays_counted_when_it_moves(void **state)
{
	count_connections();
	f.server.limits.client_connections = 1;
	f.server.limits.total_connections = 5;
	another_client();
	assert_served();
	assert_int_equal(server_hand_over(&f.server, take_guest, NULL), 1);
	assert_int_equal(rows.memory[0], 0);
	assert_int_equal(table.header->connections, 1);
	another_client();
	assert_refused("429", "client_connections");
	/* The other worker. */
	f.server.limits.row = limit_rows_of(&rows, 1);
	assert_int_equal(server_adopt(&f.server, guest_fd, &guest), 0);
	close(f.client);
	f.client = clients[--client_count];
	f.has_end = false;
	assert_served();
	another_client();
	assert_refused("429", "client_connections");
	/* The worker dies, as far as the master is concerned. */
	limit_rows_forget(&rows, &table, 1);
	assert_int_equal(table.header->connections, 0);
	close(f.client);
	connect_client(&f);
	assert_served();
}

/* From a generation whose table was another: counted anew, and let in whatever the limit. */
static void session__is_counted_anew_in_another_table(void **state)
{
	count_connections();
	f.server.limits.client_connections = 1;
	another_client();
	assert_served();
	assert_int_equal(server_hand_over(&f.server, take_guest, NULL), 1);
	guest.limit_id ^= 2;
	limit_rows_forget(&rows, &table, 0);
	assert_int_equal(server_adopt(&f.server, guest_fd, &guest), 0);
	assert_served();
	another_client();
	assert_refused("429", "client_connections");
}

/* To a generation without such limits, whose table is the same for the sake of its rates: no count is left behind. */
static void session__leaves_no_count_where_nobody_counts(void **state)
{
	count_connections();
	f.server.limits.client_connections = 1;
	f.server.limits.total_connections = 5;
	another_client();
	assert_served();
	assert_int_equal(server_hand_over(&f.server, take_guest, NULL), 1);
	f.server.limits.row.connections = NULL;
	assert_int_equal(server_adopt(&f.server, guest_fd, &guest), 0);
	assert_int_equal(table.header->connections, 0);
	assert_served();
	count_connections();
	another_client();
	assert_served();
}

static void session__is_told_when_it_is_too_old(void **state)
{
	f.server.limits.age_ms = 20;
	another_client();
	assert_served();
	for (unsigned i = 0; i < 30; i++)
		loop_turn(&f.loop, 1);
	poll(NULL, 0, 25); /* the age is the input */
	client_say(&f, REQUEST("/hello") REQUEST("/hello"));
	f.got_len = 0;
	run_until_end(&f);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200 OK"), 1);
	assert_non_null(strstr(f.got, "Connection: close"));
	assert_int_equal(f.stats.closed[CLOSE_MAX_AGE], 1);
}

/* Requests ---------------------------------------------------------------------------------------------------- */

static void session__refuses_requests_over_the_rate(void **state)
{
	for (unsigned i = 0; i < 4; i++)
		client_say(&f, REQUEST("/all/1"));
	run_until_replies(&f, 4);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200 OK"), 3);
	assert_int_equal(count_text(f.got, "HTTP/1.1 429 Too Many Requests"), 1);
	assert_non_null(strstr(f.got, "\r\nRetry-After: 3600\r\n"));
	assert_string_equal(f.last_reason, "rate_limited");
	assert_int_equal(f.stats.rate_limited, 1);
	/* The connection goes on, and so do routes with another count, or none. */
	f.got_len = 0;
	client_say(&f, REQUEST("/own") REQUEST("/own") REQUEST("/hello"));
	run_until_replies(&f, 3);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200 OK"), 2);
	assert_int_equal(f.stats.rate_limited, 2);
}

/* Other hosts hear of what was admitted, of nothing else. */
static void session__tells_whom_it_has_admitted(void **state)
{
	const struct limit_rate all[] = { own_rate, all_rate };
	struct limit_share share;
	struct limit_use use;

	all_rate.number = 1;
	assert_int_equal(limit_share_open(&share, all, 2, 2, 0), 0);
	f.server.limits.post = limit_share_post(&share, &table, 1, true);
	client_say(&f, REQUEST("/all/1") REQUEST("/own") REQUEST("/own") REQUEST("/hello"));
	run_until_replies(&f, 4);
	assert_int_equal(f.stats.rate_limited, 1);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(limit_ring_take(&share.rings[1], &use));
		assert_int_equal(use.rate, i == 0);
		assert_int_equal(use.family, AF_INET);
		assert_int_equal(use.network, 0);
	}
	assert_false(limit_ring_take(&share.rings[1], &use));
	assert_false(limit_ring_take(&share.rings[0], &use));
	limit_share_close(&share);
}

static void session__refuses_what_it_cannot_know(void **state)
{
	struct limit_share share;

	assert_int_equal(limit_share_open(&share, &all_rate, 1, 1, f.loop.now_ns + 3600 * NS_PER_SEC), 0);
	f.server.limits.post = limit_share_post(&share, &table, 0, false);
	client_say(&f, REQUEST("/all/1"));
	run_until_replies(&f, 1);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200 OK"), 1);
	share.header->known_until_ns = f.loop.now_ns;
	f.got_len = 0;
	client_say(&f, REQUEST("/all/1"));
	run_until_replies(&f, 1);
	assert_int_equal(count_text(f.got, "HTTP/1.1 503 "), 1);
	assert_non_null(strstr(f.got, "\r\nRetry-After: 1\r\n"));
	assert_string_equal(f.last_reason, "rate_unknown");
	assert_int_equal(f.stats.rate_unknown, 1);
	/* What has no limit is not concerned, and who is exempt neither. */
	f.got_len = 0;
	client_say(&f, REQUEST("/hello"));
	run_until_replies(&f, 1);
	assert_int_equal(cidr_set_add(&networks, SPAN("0.0.0.0/8")), 0);
	f.server.limits.exempt = &networks;
	client_say(&f, REQUEST("/all/1"));
	run_until_replies(&f, 2);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200 OK"), 2);
	limit_share_close(&share);
}

static void session__counts_what_no_route_answers(void **state)
{
	f.server.limits.rate = &all_rate;
	for (unsigned i = 0; i < 4; i++)
		client_say(&f, REQUEST("/nowhere"));
	run_until_replies(&f, 4);
	assert_int_equal(count_text(f.got, "HTTP/1.1 404 "), 3);
	assert_int_equal(count_text(f.got, "HTTP/1.1 429 "), 1);
}

static void session__closes_on_content_over_the_rate(void **state)
{
	for (unsigned i = 0; i < 3; i++)
		client_say(&f, REQUEST("/all/1"));
	client_say(&f, "POST /all/2 HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc");
	run_until_end(&f);
	assert_int_equal(count_text(f.got, "HTTP/1.1 429 "), 1);
	assert_non_null(strstr(f.got, "Connection: close"));
	assert_false(f.has_reset);
}

static void ask_for(const char *client)
{
	char text[256];

	snprintf(text, sizeof(text), "GET /own HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: %s\r\n\r\n", client);
	client_say(&f, text);
}

static void session__limits_whom_a_trusted_proxy_names(void **state)
{
	f.server.limits.trusted = &networks;
	assert_int_equal(cidr_set_add(&networks, SPAN("0.0.0.0/8")), 0);
	ask_for("192.0.2.1");
	ask_for("192.0.2.2");
	ask_for("192.0.2.1");
	ask_for("2001:db8:0:1::1");
	ask_for("2001:db8:0:1::2");
	run_until_replies(&f, 5);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200 OK"), 3);
	assert_int_equal(count_text(f.got, "HTTP/1.1 429 "), 2);
}

static void session__believes_nobody_else(void **state)
{
	ask_for("192.0.2.1");
	ask_for("192.0.2.2");
	run_until_replies(&f, 2);
	assert_int_equal(count_text(f.got, "HTTP/1.1 429 "), 1);
}

static void session__does_not_limit_requests_of_who_is_exempt(void **state)
{
	f.server.limits.exempt = &networks;
	assert_int_equal(cidr_set_add(&networks, SPAN("0.0.0.0")), 0);
	client_say(&f, REQUEST("/own") REQUEST("/own"));
	run_until_replies(&f, 2);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200 OK"), 2);
}

/* Memory ------------------------------------------------------------------------------------------------------ */

static unsigned short_count;

static uint64_t handler_memory(void *ctx)
{
	return 1000;
}

static void on_memory(void *ctx, bool is_short)
{
	short_count += is_short;
}

static void session__refuses_requests_without_memory_and_ends_others(void **state)
{
	struct server_limits *l = &f.server.limits;
	int first;

	l->handler_memory = handler_memory;
	l->on_memory = on_memory;
	short_count = 0;
	client_say(&f, REQUEST("/slow"));
	for (unsigned i = 0; i < 10 && !pending; i++)
		loop_turn(&f.loop, 5);
	assert_true(server_memory(&f.server) > 1000 + f.server.buffers.item_size);
	l->memory = server_memory(&f.server) + f.server.buffers.item_size;
	first = f.client;
	another_client();
	client_say(&f, REQUEST("/hello"));
	assert_refused("503", "memory");
	assert_int_equal(f.stats.closed[CLOSE_MEMORY], 1);
	assert_int_equal(f.stats.memory_refused, 1);
	assert_int_equal(short_count, 1);
	assert_int_equal(f.server.buffers.keep_count, 0);
	/* Who had got in is served. */
	close(f.client);
	f.client = first;
	client_count--;
	f.has_end = false;
	f.got_len = 0;
	reply_begin(pending, 0);
	reply_end(pending);
	run_until_replies(&f, 1);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200 OK"), 1);
	assert_served();
	assert_false(f.server.is_short);
	assert_true(f.server.buffers.keep_count > 0);
}

/* Rates of bytes ---------------------------------------------------------------------------------------------- */

static void set_rates(uint32_t grace_ms)
{
	struct server_limits *l = &f.server.limits;

	l->header_rate = l->body_rate = 1000;
	l->write_rate = 10000;
	l->has_pace = true;
	l->rate_grace_ms = grace_ms;
}

/* The client sends a byte each time it is slower than the rate by a factor of some ten. */
static void drip_until_end(const char *text)
{
	for (unsigned i = 0; i < TURNS_MAX && !f.has_end; i++) {
		if (i % 4 == 0 && *text)
			send(f.client, text++, 1, MSG_NOSIGNAL);
		loop_turn(&f.loop, 3);
		client_read(&f);
	}
	run_until_end(&f);
}

static void session__cuts_a_head_that_drips(void **state)
{
	set_rates(60);
	drip_until_end("GET /hello HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	assert_int_equal(count_text(f.got, "HTTP/1.1 408 "), 1);
	assert_string_equal(f.last_reason, "header_rate");
	assert_int_equal(f.stats.closed[CLOSE_HEADER_RATE], 1);
	assert_false(f.has_reset);
}

static void session__cuts_a_body_that_drips(void **state)
{
	set_rates(60);
	client_say(&f, "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
	drip_until_end("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	assert_int_equal(count_text(f.got, "HTTP/1.1 408 "), 1);
	assert_string_equal(f.last_reason, "body_rate");
	assert_int_equal(f.stats.closed[CLOSE_BODY_RATE], 1);
}

static void session__cuts_who_does_not_read(void **state)
{
	set_rates(60);
	client_say(&f, REQUEST("/big"));
	for (unsigned i = 0; i < TURNS_MAX && f.server.session_count; i++)
		loop_turn(&f.loop, 5);
	assert_int_equal(f.stats.closed[CLOSE_WRITE_RATE], 1);
	assert_string_equal(f.last_reason, "write_rate");
}

/* The timeouts stay what they are, however fast a client is in between. */
static void session__keeps_the_header_timeout(void **state)
{
	uint64_t began = f.loop.now_ms;

	set_rates(60);
	f.server.limits.header_rate = 1;
	f.server.timeouts.header = 100;
	drip_until_end("GET /hello HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	assert_int_equal(count_text(f.got, "HTTP/1.1 408 "), 1);
	assert_int_equal(f.stats.closed[CLOSE_HEADER_TIMEOUT], 1);
	assert_true(f.loop.now_ms - began < 4000);
}

/* Not the client but a server behind us: the content is not wanted, the answer is not there. */
static void session__bears_a_slow_handler(void **state)
{
	set_rates(30);
	client_say(&f, "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
	for (unsigned i = 0; i < 40; i++)
		loop_turn(&f.loop, 5);
	assert_non_null(pending);
	client_say(&f, "hello");
	reply_pause_body(pending, false);
	run_until_replies(&f, 1);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200 OK"), 1);
}

/* Nor when this process itself stood still while all had been sent. */
static void session__bears_a_stall_of_its_own(void **state)
{
	set_rates(30);
	client_say(&f, "GET /hello HTTP/1.1\r\n");
	for (unsigned i = 0; i < 3; i++)
		loop_turn(&f.loop, 1);
	client_say(&f, "Host: a\r\n\r\n");
	poll(NULL, 0, 100); /* the stall is the input */
	run_until_replies(&f, 1);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200 OK"), 1);
}

static void session__bears_a_client_at_the_rate(void **state)
{
	/* Bytes that bought no time would be too late before the last of them. */
	set_rates(300);
	f.server.limits.header_rate = 20;
	for (const char *at = "GET /hello HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n"; *at; at++) {
		uint64_t began_ms = f.loop.now_ms;

		client_send(&f, at, 1);
		while (f.loop.now_ms < began_ms + 8) /* the pace is the input */
			loop_turn(&f.loop, 3);
	}
	run_until_replies(&f, 1);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200 OK"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(session__refuses_a_client_with_too_many_connections),
		TEST(session__refuses_above_the_total),
		TEST(session__does_not_limit_who_is_exempt),
		TEST(session__does_not_count_connections_of_trusted_proxies),
		TEST(session__closes_at_once_when_too_many_are_refused),
		TEST(session__stays_counted_when_it_moves),
		TEST(session__is_counted_anew_in_another_table),
		TEST(session__leaves_no_count_where_nobody_counts),
		TEST(session__is_told_when_it_is_too_old),
		TEST(session__refuses_requests_over_the_rate),
		TEST(session__counts_what_no_route_answers),
		TEST(session__tells_whom_it_has_admitted),
		TEST(session__refuses_what_it_cannot_know),
		TEST(session__closes_on_content_over_the_rate),
		TEST(session__limits_whom_a_trusted_proxy_names),
		TEST(session__believes_nobody_else),
		TEST(session__does_not_limit_requests_of_who_is_exempt),
		TEST(session__refuses_requests_without_memory_and_ends_others),
		TEST(session__cuts_a_head_that_drips),
		TEST(session__cuts_a_body_that_drips),
		TEST(session__cuts_who_does_not_read),
		TEST(session__keeps_the_header_timeout),
		TEST(session__bears_a_slow_handler),
		TEST(session__bears_a_stall_of_its_own),
		TEST(session__bears_a_client_at_the_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
