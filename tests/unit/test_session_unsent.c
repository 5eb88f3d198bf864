/* SPDX-License-Identifier: MIT */
/* How much the kernel may hold for a reader: raised for the fast, lowered for the slow, and for so many at most. */
#include "session_fixture.h"

#define OWN	  (128 << 10)
#define FAST_MS	  50
#define SLOW_MS	  1000
#define TOP	  (1 << 20)

static struct fixture f;
static struct site_table *sites;
static char big[8 << 20];
static int clients[SERVER_RAISED_MAX + 1];
static unsigned client_count;

static void on_big(struct request *req, struct reply *r, void *conf)
{
	reply_begin(r, sizeof(big));
	reply_write(r, big, sizeof(big));
	reply_end(r);
}

static int open_all(void **state)
{
	static const struct handler_ops big_ops = { .name = "big", .on_request = on_big };

	client_count = 0;
	sites = one_handler("/big", &big_ops);
	fixture_open(&f, sites);
	f.server.timeouts = (struct server_timeouts){ 60000, 60000, 60000, 60000, 20 };
	return 0;
}

static int close_all(void **state)
{
	for (unsigned i = 0; i < client_count; i++)
		close(clients[i]);
	fixture_close(&f);
	site_table_free(sites);
	return 0;
}

/* The client so far stays open. */
static void another_client(void)
{
	clients[client_count++] = f.client;
	connect_client(&f);
}

static struct session *newest(void)
{
	list_for_each_safe(node, next, &f.server.active)
	{
		struct session *s = container_of(node, struct session, node);

		if (s->serial == f.server.serial)
			return s;
	}
	return NULL;
}

/* The newest connection, its reply blocked. */
static struct session *blocked_reader(int own)
{
	struct session *s = NULL;

	client_say(&f, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
	for (unsigned i = 0; i < TURNS_MAX && !(s && s->exchange->is_blocked); i++) {
		loop_turn(&f.loop, 5);
		s = newest();
	}
	assert_true(s && s->exchange->is_blocked);
	assert_true(s->exchange->blocked_ms > 0);
	assert_int_equal(sock_set_unsent_limit(s->conn.io.fd, own), 0);
	return s;
}

static void judge_after(struct session *s, unsigned took_ms)
{
	s->exchange->blocked_ms = f.loop.now_ms - took_ms;
	session_judge_reader(s);
}

static unsigned places_taken(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < SERVER_RAISED_MAX; i++)
		count += f.server.raised[i] != NULL;
	return count;
}

static void check(const struct session *s, enum unsent_state state, int limit, unsigned taken)
{
	assert_int_equal(s->unsent_state, state);
	assert_int_equal(sock_unsent_limit(s->conn.io.fd), limit);
	assert_int_equal(places_taken(), taken);
}

static void session_unsent__raises_who_reads_fast_and_lowers_who_is_slow(void **state)
{
	struct session *s = blocked_reader(OWN);

	judge_after(s, FAST_MS + 1);
	check(s, UNSENT_OWN, OWN, 0);
	judge_after(s, FAST_MS);
	check(s, UNSENT_RAISED, 8 * OWN, 1);
	judge_after(s, SLOW_MS);
	check(s, UNSENT_RAISED, 8 * OWN, 1);
	/* The kernel may still hold more than the listener allows. */
	judge_after(s, SLOW_MS + 1);
	check(s, UNSENT_FALLING, OWN, 1);
	judge_after(s, SLOW_MS + 1);
	check(s, UNSENT_OWN, OWN, 0);
	judge_after(s, 0);
	check(s, UNSENT_RAISED, 8 * OWN, 1);
	session_close(s, CLOSE_CLIENT);
	assert_int_equal(places_taken(), 0);
}

static void session_unsent__follows_the_limit_of_the_listener(void **state)
{
	static const struct {
		int own, raised;
		enum unsent_state state;
	} cases[] = {
		{ 4096, 8 * 4096, UNSENT_RAISED },
		{ TOP / 4, TOP, UNSENT_RAISED },
		{ TOP, TOP, UNSENT_OWN },
		{ 1 << 30, 1 << 30, UNSENT_OWN },
		{ 0, 0, UNSENT_OWN },
	};
	struct session *s = blocked_reader(OWN);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(sock_set_unsent_limit(s->conn.io.fd, cases[i].own), 0);
		judge_after(s, 0);
		check(s, cases[i].state, cases[i].raised, cases[i].state != UNSENT_OWN);
		session_lower_unsent(s);
		check(s, UNSENT_OWN, cases[i].own, 0);
	}
}

static void session_unsent__is_judged_when_the_output_goes_on(void **state)
{
	struct session *s = blocked_reader(OWN);

	judge_after(s, 0);
	judge_after(s, SLOW_MS + 1);
	assert_int_equal(s->unsent_state, UNSENT_FALLING);
	s->exchange->blocked_ms = f.loop.now_ms;
	for (unsigned i = 0; i < TURNS_MAX && s->unsent_state == UNSENT_FALLING; i++) {
		client_read(&f);
		loop_turn(&f.loop, 5);
	}
	/* From OWN it may have gone on already, as fast as this machine is. */
	assert_int_not_equal(s->unsent_state, UNSENT_FALLING);
}

static void session_unsent__has_so_many_places_and_takes_those_of_the_idle(void **state)
{
	struct session *first = blocked_reader(OWN), *last;
	int first_client = f.client;

	judge_after(first, 0);
	while (places_taken() < SERVER_RAISED_MAX) {
		another_client();
		judge_after(blocked_reader(OWN), 0);
	}
	another_client();
	last = blocked_reader(OWN);
	for (unsigned i = 0; i < SERVER_RAISED_MAX; i++) {
		judge_after(last, 0);
		check(last, UNSENT_OWN, OWN, SERVER_RAISED_MAX);
	}
	/* The first has read all, and waits for what comes next. */
	clients[client_count++] = f.client;
	f.client = first_client;
	for (unsigned i = 0; i < TURNS_MAX && first->exchange; i++) {
		client_read(&f);
		loop_turn(&f.loop, 5);
	}
	client_read(&f);
	assert_int_equal(first->state, SESSION_IDLE);
	for (unsigned i = 0; i < SERVER_RAISED_MAX && last->unsent_state == UNSENT_OWN; i++)
		judge_after(last, 0);
	check(last, UNSENT_RAISED, 8 * OWN, SERVER_RAISED_MAX);
	check(first, UNSENT_OWN, OWN, SERVER_RAISED_MAX);
	for (unsigned i = 0; i < client_count; i++)
		clients[i] = clients[i] == first_client ? -1 : clients[i];
}

static int keep_descriptor(void *ctx, int fd, const struct server_guest *g)
{
	*(int *)ctx = dup(fd);
	return 0;
}

static void session_unsent__ends_where_another_worker_goes_on(void **state)
{
	struct session *s = blocked_reader(OWN);
	int fd = -1;

	judge_after(s, 0);
	for (unsigned i = 0; i < TURNS_MAX && s->exchange; i++) {
		client_read(&f);
		loop_turn(&f.loop, 5);
	}
	assert_int_equal(server_hand_over(&f.server, keep_descriptor, &fd), 1);
	assert_int_equal(sock_unsent_limit(fd), OWN);
	assert_int_equal(places_taken(), 0);
	close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(session_unsent__##name, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(raises_who_reads_fast_and_lowers_who_is_slow),
		TEST(follows_the_limit_of_the_listener),
		TEST(is_judged_when_the_output_goes_on),
		TEST(has_so_many_places_and_takes_those_of_the_idle),
		TEST(ends_where_another_worker_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
