/* SPDX-License-Identifier: MIT */
/* Sessions that begin with a PROXY protocol header. */
#include "session_fixture.h"

#define REQUEST "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
#define V1	"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"
#define V2	"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\7\xdc\4\1\xbb"
#define LOCAL	"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"

static struct fixture f;
static struct site_table *sites;
static char peer[SOCK_ADDR_TEXT];

static void on_hello(struct request *req, struct reply *r, void *conf)
{
	reply_begin(r, 5);
	reply_write(r, "hello", 5);
	reply_end(r);
}

static void on_log(struct server *srv, const struct access_entry *e)
{
	snprintf(peer, sizeof(peer), "%.*s:%u", SPAN_ARG(e->peer_host), e->peer_port);
	on_done(srv, e);
}

static int open_all(void **state)
{
	static const struct handler_ops ops = {.name = "hello", .on_request = on_hello};

	sites = one_handler("/", &ops);
	fixture_open(&f, sites);
	f.server.on_request_done = on_log;
	close(f.client);
	server_close_all(&f.server, CLOSE_DRAIN);
	loop_turn(&f.loop, 0);
	memset(&f.stats, 0, sizeof(f.stats));
	peer[0] = '\0';
	connect_client_as(&f, true);
	return 0;
}

static int close_all(void **state)
{
	fixture_close(&f);
	site_table_free(sites);
	return 0;
}

static struct session *only_session(struct list *of)
{
	assert_false(list_is_empty(of));
	assert_true(of->next == of->prev);
	return container_of(of->next, struct session, node);
}

static void turn(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		loop_turn(&f.loop, 0);
}

struct opening {
	const char *data;
	size_t len;
	const char *peer;
};

#define OPENING(text, peer_text) {text, sizeof(text) - 1, peer_text}

static const struct opening openings[] = {
	OPENING(V1, "192.0.2.1:56324"),
	OPENING(V2, "192.0.2.1:56324"),
	OPENING("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "2001:db8::1:1"),
	OPENING("PROXY UNKNOWN\r\n", "0.0.0.0:0"), /* as the fixture calls its client */
	OPENING(LOCAL, "0.0.0.0:0"),
};

/* Header and requests in one segment, and the second request after it. */
static void session_proxy__logs_the_announced_peer(void **state)
{
	for (unsigned i = 0; i < ARRAY_LEN(openings); i++) {
		char data[512];

		memcpy(data, openings[i].data, openings[i].len);
		memcpy(data + openings[i].len, REQUEST REQUEST, 2 * strlen(REQUEST));
		client_send(&f, data, openings[i].len + 2 * strlen(REQUEST));
		run_until_replies(&f, 2);
		assert_int_equal(count_text(f.got, "HTTP/1.1 200 "), 2);
		assert_string_equal(peer, openings[i].peer);
		peer[0] = '\0';
		client_say(&f, REQUEST);
		run_until_replies(&f, 3);
		assert_string_equal(peer, openings[i].peer);
		close(f.client);
		turn(3);
		connect_client_as(&f, true);
	}
	assert_int_equal(f.logged, 3 * ARRAY_LEN(openings));
}

static void session_proxy__takes_it_byte_by_byte(void **state)
{
	for (unsigned i = 0; i < ARRAY_LEN(openings); i++) {
		for (size_t at = 0; at < openings[i].len; at++) {
			client_send(&f, openings[i].data + at, 1);
			turn(2);
		}
		/* Complete, and nothing behind it: as idle as any other, without a buffer. */
		assert_int_equal(only_session(&f.server.idle)->state, SESSION_IDLE);
		assert_int_equal(f.server.buffers.used_count, 0);
		client_say(&f, REQUEST);
		run_until_replies(&f, 1);
		assert_string_equal(peer, openings[i].peer);
		close(f.client);
		turn(3);
		connect_client_as(&f, true);
	}
}

static void session_proxy__keeps_both_peers(void **state)
{
	struct session *s = only_session(&f.server.idle);
	char text[SOCK_ADDR_TEXT];
	union sock_addr local;

	assert_int_equal(conn_local_addr(&s->conn, &local), 0);
	assert_string_equal(sock_addr_print_host(&local, text), "127.0.0.1");
	client_send(&f, V2, sizeof(V2) - 1);
	turn(2);
	assert_string_equal(sock_addr_print(&s->conn.peer, text), "192.0.2.1:56324");
	assert_int_equal(conn_local_addr(&s->conn, &local), 0);
	assert_string_equal(sock_addr_print(&local, text), "198.51.100.7:443");
	assert_string_equal(sock_addr_print(&s->conn.transport_peer, text), "0.0.0.0:0");
}

static void session_proxy__closes_on_anything_else(void **state)
{
	static const char *const bad[] = {
		REQUEST,
		"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\n" REQUEST,
		"PROXY TCP4 192.0.2.256 198.51.100.7 56324 443\r\n" REQUEST,
		"\r\n" REQUEST,
		"\x16\x03\x01",
	};

	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		client_say(&f, bad[i]);
		run_until_end(&f);
		assert_int_equal(f.got_len, 0);
		assert_int_equal(f.stats.closed[CLOSE_PROXY_HEADER], i + 1);
		close(f.client);
		connect_client_as(&f, true);
	}
	assert_int_equal(f.stats.requests, 0);
	assert_int_equal(f.logged, 0);
}

/* One header a connection: a second is a bad request like any other. */
static void session_proxy__takes_one_header_only(void **state)
{
	client_say(&f, V1 V1 REQUEST);
	run_until_end(&f);
	assert_non_null(strstr(f.got, "HTTP/1.1 400 "));
	assert_int_equal(f.stats.closed[CLOSE_BAD_REQUEST], 1);
}

/* Neither silence nor a drip holds the connection longer than the header timeout. */
static void session_proxy__has_one_time_limit(void **state)
{
	run_until_end(&f);
	assert_int_equal(f.stats.closed[CLOSE_PROXY_HEADER], 1);
	assert_int_equal(f.stats.timeouts, 1);
	close(f.client);
	connect_client_as(&f, true);
	for (unsigned i = 0; i < 40 && !f.has_end; i++) {
		client_send(&f, &V1[i], 1);
		loop_turn(&f.loop, 5);
		client_read(&f);
	}
	run_until_end(&f);
	assert_int_equal(f.stats.closed[CLOSE_PROXY_HEADER], 2);
}

static void session_proxy__counts_who_leaves(void **state)
{
	shutdown(f.client, SHUT_WR);
	run_until_end(&f);
	assert_int_equal(f.stats.closed[CLOSE_CLIENT], 1);
	close(f.client);
	connect_client_as(&f, true);
	client_say(&f, "PROXY TCP4 192");
	turn(3);
	shutdown(f.client, SHUT_WR);
	run_until_end(&f);
	assert_int_equal(f.stats.closed[CLOSE_PROXY_HEADER], 1);
}

static int count_and_refuse(void *ctx, int fd, const struct server_guest *g)
{
	struct server_guest *guest = ctx;

	*guest = *g;
	return -EAGAIN;
}

/* Another worker would not know that a header is still to come; once it is read, both peers go along. */
static void session_proxy__moves_with_both_peers(void **state)
{
	struct server_guest guest = {.request_count = 99};
	char text[SOCK_ADDR_TEXT];
	int fd;

	assert_int_equal(server_hand_over(&f.server, count_and_refuse, &guest), 0);
	client_say(&f, V1);
	turn(3);
	assert_int_equal(server_hand_over(&f.server, count_and_refuse, &guest), -EAGAIN);
	fd = dup(only_session(&f.server.idle)->conn.io.fd);
	session_forget(only_session(&f.server.idle));
	turn(1);
	assert_int_equal(server_adopt(&f.server, fd, &guest), 0);
	assert_string_equal(sock_addr_print(&only_session(&f.server.idle)->conn.transport_peer, text),
			    "0.0.0.0:0");
	client_say(&f, REQUEST);
	run_until_replies(&f, 1);
	assert_string_equal(peer, "192.0.2.1:56324");
}

static void session_proxy__drains(void **state)
{
	server_drain(&f.server);
	client_say(&f, V1 REQUEST);
	run_until_end(&f);
	assert_non_null(strstr(f.got, "HTTP/1.1 200 "));
	assert_non_null(strstr(f.got, "Connection: close"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(session_proxy__logs_the_announced_peer),
		TEST(session_proxy__takes_it_byte_by_byte),
		TEST(session_proxy__keeps_both_peers),
		TEST(session_proxy__closes_on_anything_else),
		TEST(session_proxy__takes_one_header_only),
		TEST(session_proxy__has_one_time_limit),
		TEST(session_proxy__counts_who_leaves),
		TEST(session_proxy__moves_with_both_peers),
		TEST(session_proxy__drains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
