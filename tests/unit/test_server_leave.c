/* SPDX-License-Identifier: MIT */
/* Sessions that go to the successor of their worker: here that is the same server, once it stays. */
#include "session_fixture.h"

#define REQUEST "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

static struct fixture f;
static struct site_table *sites;
static struct parcels {
	int fds[16];
	struct server_guest guests[16];
	unsigned count, refusals, swept;
} parcels;

static void on_hello(struct request *req, struct reply *r, void *conf)
{
	reply_begin(r, 5);
	reply_write(r, "hello", 5);
	reply_end(r);
}

static int take_parcel(void *ctx, int fd, const struct server_guest *g)
{
	struct parcels *p = ctx;

	if (p->refusals > 0) {
		p->refusals--;
		return -EAGAIN;
	}
	p->guests[p->count] = *g;
	p->fds[p->count++] = dup(fd);
	return 0;
}

static void on_given(struct server *srv)
{
	parcels.swept++;
}

static int open_all(void **state)
{
	static const struct handler_ops ops = {.name = "hello", .on_request = on_hello};

	memset(&parcels, 0, sizeof(parcels));
	sites = one_handler("/", &ops);
	fixture_open(&f, sites);
	f.server.timeouts = (struct server_timeouts){5000, 5000, 5000, 5000, 20};
	f.server.on_given = on_given;
	return 0;
}

static int close_all(void **state)
{
	for (unsigned i = 0; i < parcels.count; i++)
		close(parcels.fds[i]);
	fixture_close(&f);
	site_table_free(sites);
	return 0;
}

static void turn_until_parcels(unsigned count)
{
	for (unsigned i = 0; i < TURNS_MAX && parcels.count < count; i++)
		loop_turn(&f.loop, 1);
	assert_int_equal(parcels.count, count);
}

static void ask(unsigned replies)
{
	client_say(&f, REQUEST);
	run_until_replies(&f, replies);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200 "), replies);
}

/* What the successor does with what it got last. */
static void adopt_last(void)
{
	server_stay(&f.server);
	parcels.count--;
	assert_int_equal(server_adopt(&f.server, parcels.fds[parcels.count], &parcels.guests[parcels.count]), 0);
}

static void assert_nothing_closed(void)
{
	for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++)
		assert_int_equal(f.stats.closed[i], 0);
	assert_false(f.has_end || f.has_reset);
	assert_null(strstr(f.got, "Connection: close"));
}

static void server_leave__gives_who_waits_at_once(void **state)
{
	ask(1);
	server_leave(&f.server, take_parcel, &parcels);
	assert_int_equal(parcels.count, 1);
	assert_int_equal(parcels.swept, 1);
	assert_int_equal(parcels.guests[0].request_count, 1);
	assert_int_equal(f.server.session_count, 0);
	assert_int_equal(f.server.given_count, 1);
	/* On its way while nobody has it. */
	client_say(&f, REQUEST);
	loop_turn(&f.loop, 0);
	adopt_last();
	run_until_replies(&f, 2);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200 "), 2);
	assert_nothing_closed();
}

static void server_leave__gives_who_has_asked_nothing_yet(void **state)
{
	loop_turn(&f.loop, 0);
	server_leave(&f.server, take_parcel, &parcels);
	assert_int_equal(parcels.count, 1);
	assert_int_equal(parcels.guests[0].request_count, 0);
	adopt_last();
	ask(1);
	assert_nothing_closed();
}

/* Half a head is in a buffer of this worker: it is answered here, without a word of the change. */
static void server_leave__a_request_begun_ends_here(void **state)
{
	client_say(&f, "GET /hello HT");
	for (unsigned i = 0; i < 3; i++)
		loop_turn(&f.loop, 1);
	server_leave(&f.server, take_parcel, &parcels);
	assert_int_equal(parcels.count, 0);
	assert_int_equal(parcels.swept, 1);
	client_say(&f, "TP/1.1\r\nHost: a\r\n\r\n" REQUEST REQUEST);
	turn_until_parcels(1);
	client_read(&f);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200 "), 3);
	assert_int_equal(parcels.guests[0].request_count, 3);
	assert_nothing_closed();
	adopt_last();
	ask(4);
}

/* The way is full: it is tried again, and a request that comes meanwhile is answered here. */
static void server_leave__tries_again(void **state)
{
	ask(1);
	parcels.refusals = 3;
	server_leave(&f.server, take_parcel, &parcels);
	assert_int_equal(parcels.count, 0);
	assert_int_equal(parcels.swept, 0);
	ask(2);
	turn_until_parcels(1);
	assert_int_equal(parcels.swept, 1);
	assert_int_equal(parcels.guests[0].request_count, 2);
	assert_nothing_closed();
}

/* Its end was seen, so there is nobody to give. */
static void server_leave__who_is_gone_is_not_given(void **state)
{
	ask(1);
	shutdown(f.client, SHUT_WR);
	for (unsigned i = 0; i < TURNS_MAX && f.server.session_count; i++)
		loop_turn(&f.loop, 1);
	server_leave(&f.server, take_parcel, &parcels);
	assert_int_equal(parcels.count, 0);
	assert_int_equal(f.stats.closed[CLOSE_CLIENT], 1);
}

static void server_leave__a_stop_ends_it(void **state)
{
	ask(1);
	parcels.refusals = 1000;
	server_leave(&f.server, take_parcel, &parcels);
	server_drain(&f.server);
	run_until_end(&f);
	assert_int_equal(f.stats.closed[CLOSE_DRAIN], 1);
	assert_int_equal(parcels.count, 0);
}

static void server_leave__a_proxy_header_comes_later(void **state)
{
	close(f.client);
	server_close_all(&f.server, CLOSE_DRAIN);
	memset(&f.stats, 0, sizeof(f.stats));
	loop_turn(&f.loop, 0);
	connect_client_as(&f, true);
	loop_turn(&f.loop, 0);
	server_leave(&f.server, take_parcel, &parcels);
	assert_int_equal(parcels.count, 1);
	assert_true(parcels.guests[0].has_proxy_header);
	adopt_last();
	client_say(&f, "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n");
	ask(1);
	assert_nothing_closed();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(server_leave__gives_who_waits_at_once),
		TEST(server_leave__gives_who_has_asked_nothing_yet),
		TEST(server_leave__a_request_begun_ends_here),
		TEST(server_leave__tries_again),
		TEST(server_leave__who_is_gone_is_not_given),
		TEST(server_leave__a_stop_ends_it),
		TEST(server_leave__a_proxy_header_comes_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
