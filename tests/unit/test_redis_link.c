/* SPDX-License-Identifier: MIT */
/*
 * The connection, against a server that says what the test tells it to.  hiredis 0.14 by itself ends the process at some
 * of this: a worker must not end because of what a server says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "net/redis_link.h"

#define TURN_MS	  20
#define TURNS_MAX 250
#define REPLY_MAX 4096u

static struct loop loop;
static struct redis_link conn;
static struct sockaddr_in addr;
static int listener = -1, server = -1;
static unsigned up_count, down_count, reply_count, null_count;
static char why[128], last[64];
static bool closes_in_callback;

static void on_up(struct redis_link *l)
{
	up_count++;
}

static void on_down(struct redis_link *l, const char *text)
{
	down_count++;
	snprintf(why, sizeof(why), "%s", text);
}

static void on_reply(struct redisAsyncContext *context, void *reply, void *ctx)
{
	const redisReply *r = reply;

	if (!r) {
		null_count++;
		assert_false(redis_link_is_usable(&conn));
		assert_int_equal(redis_link_send_words(&conn, 1, &SPAN("PING"), on_reply, NULL), -ENOTCONN);
		return;
	}
	reply_count++;
	snprintf(last, sizeof(last), "%s", r->str ? r->str : "");
	if (closes_in_callback)
		redis_link_close(&conn, "enough");
}

static void turn_until(const unsigned *count, unsigned wanted)
{
	for (unsigned i = 0; i < TURNS_MAX && *count < wanted; i++)
		assert_int_equal(loop_turn(&loop, TURN_MS), 0);
	assert_int_equal(*count, wanted);
}

static int set_up(void **state)
{
	socklen_t len = sizeof(addr);

	up_count = down_count = reply_count = null_count = 0;
	closes_in_callback = false;
	assert_int_equal(loop_init(&loop), 0);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	addr = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listener, 8), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
	redis_link_init(&conn, &loop);
	conn.on_up = on_up;
	conn.on_down = on_down;
	conn.reply_max = REPLY_MAX;
	return 0;
}

static int tear_down(void **state)
{
	redis_link_close(&conn, "the end");
	loop_fini(&loop);
	close(listener);
	if (server >= 0)
		close(server);
	server = -1;
	return 0;
}

static void connect_it(void)
{
	assert_int_equal(redis_link_open(&conn, (struct sockaddr *)&addr, sizeof(addr)), 0);
	server = accept(listener, NULL, NULL);
	assert_true(server >= 0);
	turn_until(&up_count, 1);
}

static void connect_again(void)
{
	close(server);
	up_count = 0;
	connect_it();
}

static void say(const char *text, size_t len)
{
	assert_int_equal(write(server, text, len), (ssize_t)len);
}

static void ask(const char *command)
{
	struct span words[4];
	unsigned count = 0;

	while (*command) {
		size_t len = strcspn(command, " ");

		words[count++] = span_of(command, len);
		command += len + (command[len] == ' ');
	}
	assert_int_equal(redis_link_send_words(&conn, count, words, on_reply, NULL), 0);
}

static void redis_link__answers_in_order(void **state)
{
	char text[256] = "";

	connect_it();
	ask("GET a");
	ask("GET b");
	/* Both in one write, in the turn after this one. */
	assert_int_equal(loop_turn(&loop, 0), 0);
	assert_int_equal(loop_turn(&loop, 0), 0);
	assert_int_equal(read(server, text, sizeof(text) - 1), 40);
	say("$1\r\nx\r\n$1\r\n", 11);
	turn_until(&reply_count, 1);
	assert_string_equal(last, "x");
	say("y\r\n", 3);
	turn_until(&reply_count, 2);
	assert_string_equal(last, "y");
	assert_int_equal(down_count, 0);
}

static void redis_link__tells_of_a_refused_connection(void **state)
{
	int err;

	close(listener);
	listener = -1;
	err = redis_link_open(&conn, (struct sockaddr *)&addr, sizeof(addr));
	if (err == 0)
		turn_until(&down_count, 1);
	else
		assert_int_equal(err, -ECONNREFUSED);
	assert_int_equal(up_count, 0);
}

static void redis_link__fails_what_waits_when_lost(void **state)
{
	connect_it();
	ask("GET a");
	ask("GET b");
	close(server);
	server = -1;
	turn_until(&down_count, 1);
	assert_int_equal(null_count, 2);
	assert_false(redis_link_is_usable(&conn));
}

static void redis_link__may_be_closed_in_a_callback(void **state)
{
	closes_in_callback = true;
	connect_it();
	ask("GET a");
	ask("GET b");
	say("$1\r\nx\r\n$1\r\ny\r\n", 14);
	turn_until(&down_count, 1);
	assert_int_equal(reply_count, 1);
	assert_int_equal(null_count, 1);
	assert_string_equal(why, "enough");
}

/* Each on a connection of its own; the process lives, the connection does not. */
static void bear(const char *command, bool is_push, const char *text, size_t len, const char *wanted)
{
	conn.is_push = is_push;
	up_count = down_count = 0;
	connect_it();
	if (*command)
		ask(command);
	say(text, len);
	turn_until(&down_count, 1);
	if (!strstr(why, wanted))
		fail_msg("closed for '%s', not for '%s'", why, wanted);
	close(server);
	server = -1;
}

#define BEAR(command, is_push, text, wanted) bear(command, is_push, text, sizeof(text) - 1, wanted)

static void redis_link__bears_with_a_server_gone_mad(void **state)
{
	BEAR("", false, "+OK\r\n", "nobody asked for");
	BEAR("", false, "*2\r\n:1\r\n:2\r\n", "nobody asked for");
	BEAR("", false, "-ERR max number of clients reached\r\n", "max number of clients");
	BEAR("PING", false, "+PONG\r\n+PONG\r\n", "nobody asked for");
	BEAR("PING", false, "?\r\n", "rotocol");
	BEAR("PING", false, "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "depth");
}

static void redis_link__bounds_replies(void **state)
{
	char *large = calloc(1, 2 * REPLY_MAX + 32768);

	BEAR("X", false, "*2000000000\r\n", "larger than allowed");
	down_count = 0;
	memset(large, 'x', 2 * REPLY_MAX + 32768);
	memcpy(large, "$1000000000\r\n", 13);
	bear("X", false, large, 2 * REPLY_MAX + 32768, "larger than allowed");
	memcpy(large, "$5000\r\n", 7);
	memcpy(large + 5007, "\r\n", 2);
	bear("X", false, large, 5009, "larger than allowed");
	free(large);
}

static void redis_link__bears_with_odd_messages(void **state)
{
	BEAR("SUBSCRIBE a", true, "*1\r\n$1\r\nx\r\n", "nobody asked for");
	BEAR("SUBSCRIBE a", true, "*0\r\n", "nobody asked for");
	BEAR("SUBSCRIBE a", true, "*3\r\n:1\r\n:2\r\n:3\r\n", "nobody asked for");
	BEAR("SUBSCRIBE a", true, "*3\r\n$7\r\nmessage\r\n:2\r\n$1\r\nx\r\n", "nobody asked for");
	BEAR("SUBSCRIBE a", true, "*3\r\n$7\r\nmessage\r\n$-1\r\n$1\r\nx\r\n", "nobody asked for");
	BEAR("SUBSCRIBE a", true, "*3\r\n*1\r\n:1\r\n$1\r\na\r\n:1\r\n", "nobody asked for");
	BEAR("SUBSCRIBE a", true, "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n$1\r\nx\r\n", "nobody asked for");
}

/* What the server says meanwhile waits at the kernel; that a connection is made anew is the end of it. */
static void redis_link__can_be_paused(void **state)
{
	redis_link_pause(&conn, true);
	connect_it();
	ask("GET");
	redis_link_pause(&conn, true);
	say("$1\r\na\r\n", 7);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(loop_turn(&loop, TURN_MS), 0);
	assert_int_equal(reply_count, 0);
	redis_link_pause(&conn, false);
	turn_until(&reply_count, 1);
	assert_string_equal(last, "a");
	redis_link_pause(&conn, true);
	redis_link_close(&conn, "enough");
	connect_again();
	ask("GET");
	say("$1\r\nb\r\n", 7);
	turn_until(&reply_count, 2);
}

/* Before the loop has had its turn. */
static void redis_link__can_be_flushed(void **state)
{
	struct pollfd there;
	char got[64];

	redis_link_flush(&conn);
	connect_it();
	assert_int_equal(redis_link_send_words(&conn, 1, &SPAN("PING"), on_reply, NULL), 0);
	assert_int_equal(recv(server, got, sizeof(got), MSG_DONTWAIT), -1);
	redis_link_flush(&conn);
	there = (struct pollfd){ .fd = server, .events = POLLIN };
	assert_int_equal(poll(&there, 1, 5000), 1);
	assert_int_equal(recv(server, got, sizeof(got), MSG_DONTWAIT), 14);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(redis_link__answers_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(redis_link__tells_of_a_refused_connection, set_up, tear_down),
		cmocka_unit_test_setup_teardown(redis_link__fails_what_waits_when_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(redis_link__may_be_closed_in_a_callback, set_up, tear_down),
		cmocka_unit_test_setup_teardown(redis_link__bears_with_a_server_gone_mad, set_up, tear_down),
		cmocka_unit_test_setup_teardown(redis_link__bounds_replies, set_up, tear_down),
		cmocka_unit_test_setup_teardown(redis_link__bears_with_odd_messages, set_up, tear_down),
		cmocka_unit_test_setup_teardown(redis_link__can_be_paused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(redis_link__can_be_flushed, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
