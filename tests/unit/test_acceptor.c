/* SPDX-License-Identifier: MIT */
/* Accepting when the kernel refuses: accept4() says what the test wants (--wrap). */
#include "session_fixture.h"

#include "proc/acceptor.h"

int __real_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);

static int fault; /* errno of accept4 for the next `fault_count` calls */
static unsigned fault_count, calls;

int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	calls++;
	if (fault_count == 0)
		return __real_accept4(fd, addr, len, flags);
	fault_count--;
	errno = fault;
	return -1;
}

static struct fixture f;
static struct acceptor a;
static struct steer *steer;
static struct steer_slot slot;
static struct site_table *sites;
/* To the last one come connections with a PROXY protocol header. */
static struct acceptor_source sources[] = {{.fd = -1}, {.fd = -1}, {-1, true}};
static struct sockaddr_in addresses[3];

static int listen_somewhere(struct sockaddr_in *ret_address)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 256), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	*ret_address = at;
	return fd;
}

static int call(unsigned which)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&addresses[which], sizeof(addresses[0])),
			 0);
	return fd;
}

static void on_closed(struct server *srv)
{
	acceptor_on_closed(&a);
}

static int open_all(void **state)
{
	const struct steer_options opt = {
		.slot_count = 1, .policy = STEER_LEAST, .bucket_ns = NS_PER_SEC, .is_disabled = true};

	fault_count = 0;
	calls = 0;
	assert_int_equal(steer_open(&opt, &steer), 0);
	sites = site_table_new();
	site_table_seal(sites);
	fixture_open(&f, sites);
	server_close_all(&f.server, CLOSE_DRAIN);
	close(f.client);
	f.client = -1;
	loop_turn(&f.loop, 0);
	memset(&f.stats, 0, sizeof(f.stats));
	memset(&slot, 0, sizeof(slot));
	f.server.timeouts.header = 5000;
	f.server.timeouts.keepalive = 5000;
	f.server.on_session_closed = on_closed;
	a = (struct acceptor){.loop = &f.loop,
			      .server = &f.server,
			      .steer = steer,
			      .slot = &slot,
			      .stats = &f.stats,
			      .max_count = 100};
	for (unsigned i = 0; i < ARRAY_LEN(sources); i++)
		sources[i].fd = listen_somewhere(&addresses[i]);
	assert_int_equal(acceptor_start(&a, sources, ARRAY_LEN(sources)), 0);
	return 0;
}

static int close_all(void **state)
{
	fault_count = 0;
	acceptor_drain(&a);
	acceptor_drain(&a);
	for (unsigned i = 0; i < ARRAY_LEN(sources); i++)
		close(sources[i].fd);
	fixture_close(&f);
	site_table_free(sites);
	steer_close(steer);
	assert_int_equal(slot.live, 0);
	return 0;
}

static void turn_until_accepted(uint64_t count)
{
	for (unsigned i = 0; i < TURNS_MAX && f.stats.accepted < count; i++)
		loop_turn(&f.loop, 5);
	assert_int_equal(f.stats.accepted, count);
}

/* More than one batch, on two sockets, with one edge each. */
static void acceptor__empties_every_queue(void **state)
{
	int clients[200];

	for (unsigned i = 0; i < 200; i++)
		clients[i] = call(i < 150 ? 0 : 1);
	a.max_count = 1000;
	turn_until_accepted(200);
	assert_int_equal(slot.live, 200);
	assert_int_equal(f.server.session_count, 200);
	for (unsigned i = 0; i < 200; i++)
		close(clients[i]);
	for (unsigned i = 0; i < TURNS_MAX && f.server.session_count; i++)
		loop_turn(&f.loop, 5);
	assert_int_equal(slot.live, 0);
}

/* A connection that failed on its way is not the end of the queue. */
static void acceptor__goes_on_behind_a_broken_connection(void **state)
{
	static const int faults[] = {ECONNABORTED, EPROTO, ENETUNREACH, EHOSTUNREACH};

	for (unsigned i = 0; i < ARRAY_LEN(faults); i++) {
		int client = call(0);

		fault = faults[i];
		fault_count = 3;
		turn_until_accepted(i + 1);
		assert_int_equal(f.stats.accept_pauses, 0);
		assert_int_equal(fault_count, 0);
		close(client);
	}
}

/* Want of descriptors, of memory, or a refusal that leaves the connection where it is: a pause, no
 * spinning. */
static void acceptor__pauses_when_the_kernel_refuses(void **state)
{
	static const int faults[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM, EACCES};

	for (unsigned i = 0; i < ARRAY_LEN(faults); i++) {
		int client = call(0);
		unsigned turns = 0;

		fault = faults[i];
		fault_count = 1;
		calls = 0;
		loop_turn(&f.loop, 100);
		assert_int_equal(f.stats.accept_pauses, i + 1);
		assert_int_equal(f.stats.accept_errors, i + 1);
		assert_true(a.is_paused);
		while (a.is_paused && turns < 20) {
			assert_int_equal(calls, 1);
			loop_turn(&f.loop, -1);
			turns++;
		}
		/* It slept, but for the cascades of the wheel. */
		assert_true(turns < 10);
		turn_until_accepted(i + 1);
		close(client);
	}
}

static void acceptor__goes_on_as_soon_as_one_leaves(void **state)
{
	int first = call(0), second;

	a.max_count = 1;
	turn_until_accepted(1);
	second = call(1);
	loop_turn(&f.loop, 100);
	assert_true(a.is_paused);
	assert_int_equal(f.stats.accepted, 1);
	close(first);
	loop_turn(&f.loop, 100);
	assert_false(a.is_paused);
	turn_until_accepted(2);
	assert_int_equal(slot.live, 1);
	close(second);
}

static void acceptor__answers_one_by_the_reserve(void **state)
{
	char text[256] = "";
	int client = call(0);

	fault = EMFILE;
	fault_count = 1;
	loop_turn(&f.loop, 100);
	assert_true(a.is_paused);
	/* The timer fires: the descriptor in reserve takes the connection, 503 says why it ends. */
	for (unsigned i = 0; i < 20 && a.is_paused; i++)
		loop_turn(&f.loop, -1);
	assert_int_equal(f.stats.closed[CLOSE_REFUSED], 1);
	assert_int_equal(f.stats.status[5], 1);
	assert_true(a.reserve_fd >= 0);
	assert_int_equal(f.server.session_count + slot.live, 0);
	assert_true(read(client, text, sizeof(text) - 1) > 0);
	assert_non_null(strstr(text, "HTTP/1.1 503 "));
	assert_int_equal(read(client, text, sizeof(text)), 0);
	close(client);
}

static void acceptor__takes_the_reserve_back(void **state)
{
	int client = call(0);

	close(a.reserve_fd);
	a.reserve_fd = -1;
	fault = EMFILE;
	fault_count = 1;
	loop_turn(&f.loop, 100);
	for (unsigned i = 0; i < 20 && a.is_paused; i++)
		loop_turn(&f.loop, -1);
	assert_int_equal(f.stats.closed[CLOSE_REFUSED], 1);
	assert_true(a.reserve_fd >= 0);
	close(client);
}

/* Who waits between requests makes room; who has just come is left to ask. */
static void acceptor__sheds_the_idle_first(void **state)
{
	int fresh = call(0), second;
	char text[512];

	turn_until_accepted(1);
	second = call(0);
	turn_until_accepted(2);
	assert_int_equal(write(second, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27), 27);
	for (unsigned i = 0; i < 100 && f.stats.requests == 0; i++)
		loop_turn(&f.loop, 5);
	assert_true(read(second, text, sizeof(text)) > 0);
	assert_int_equal(server_close_idle(&f.server, 16, CLOSE_REFUSED), 1);
	assert_int_equal(read(second, text, sizeof(text)), 0);
	assert_int_equal(f.server.session_count, 1);
	/* A second later it is idle like any other. */
	f.loop.now_ms += 1001;
	assert_int_equal(server_close_idle(&f.server, 16, CLOSE_REFUSED), 1);
	close(fresh);
	close(second);
}

static void acceptor__takes_what_waits_when_it_drains(void **state)
{
	int clients[100];

	for (unsigned i = 0; i < 100; i++)
		clients[i] = call(i % 2);
	acceptor_drain(&a);
	assert_int_equal(f.stats.accepted, 100);
	assert_int_equal(slot.live, 100);
	for (unsigned i = 0; i < 100; i++)
		close(clients[i]);
}

/* The header is wanted where the address says so, and nowhere else. */
static void acceptor__knows_who_sends_a_proxy_header(void **state)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
	static const char header[] = "PROXY UNKNOWN\r\n";

	for (unsigned i = 0; i < 4; i++) {
		bool sends_header = i & 1, wants_header = i & 2;
		int client = call(wants_header ? 2 : 0);
		char text[512] = "";

		if (sends_header)
			assert_true(write(client, header, sizeof(header) - 1) > 0);
		assert_true(write(client, request, sizeof(request) - 1) > 0);
		turn_until_accepted(i + 1);
		for (unsigned turn = 0; turn < 50; turn++)
			loop_turn(&f.loop, 1);
		if (recv(client, text, sizeof(text) - 1, MSG_DONTWAIT) < 0)
			text[0] = '\0';
		assert_int_equal(strncmp(text, "HTTP/1.1 404 ", 13) == 0, sends_header == wants_header);
		close(client);
	}
	assert_int_equal(f.stats.closed[CLOSE_PROXY_HEADER], 1);
	assert_int_equal(f.stats.closed[CLOSE_BAD_REQUEST], 1);
}

/* What waits is the successor's, but where there is none. */
static void acceptor__stopped_takes_only_what_it_is_told_to(void **state)
{
	int clients[60];

	acceptor_stop(&a);
	for (unsigned i = 0; i < 60; i++)
		clients[i] = call(i % 2);
	for (unsigned i = 0; i < 5; i++)
		loop_turn(&f.loop, 1);
	assert_int_equal(f.stats.accepted, 0);
	acceptor_take(&a, 1);
	assert_int_equal(f.stats.accepted, 30);
	acceptor_take(&a, 99);
	acceptor_drain(&a);
	assert_int_equal(f.stats.accepted, 30);
	/* Another one finds the rest, and needs no new edge for it. */
	assert_int_equal(acceptor_start(&a, sources, ARRAY_LEN(sources)), 0);
	turn_until_accepted(60);
	for (unsigned i = 0; i < 60; i++)
		close(clients[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(acceptor__empties_every_queue),
		TEST(acceptor__goes_on_behind_a_broken_connection),
		TEST(acceptor__pauses_when_the_kernel_refuses),
		TEST(acceptor__goes_on_as_soon_as_one_leaves),
		TEST(acceptor__answers_one_by_the_reserve),
		TEST(acceptor__takes_the_reserve_back),
		TEST(acceptor__sheds_the_idle_first),
		TEST(acceptor__takes_what_waits_when_it_drains),
		TEST(acceptor__stopped_takes_only_what_it_is_told_to),
		TEST(acceptor__knows_who_sends_a_proxy_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
