/* SPDX-License-Identifier: MIT */
/* Subscriptions, against a server that answers when the test says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "app/redis_channel.h"
#include "base/err.h"

#define TURNS_MAX 500

struct fixture {
	struct loop loop;
	struct upstream_endpoint endpoint;
	struct upstream_table table;
	struct stats_redis stats;
	struct redis_server *server;
	struct redis_hub *hub;
	int listener, other, fd;	/* `fd`: the hub's connection, over there */
};

struct ear {
	struct redis_subscriber sub;
	unsigned live_count, lost_count, message_count;
	char last[32];
};

static void on_message(struct redis_subscriber *s, struct redis_message *m)
{
	struct ear *e = container_of(s, struct ear, sub);

	e->message_count++;
	snprintf(e->last, sizeof(e->last), "%.*s", SPAN_ARG(m->payload));
}

static void on_live(struct redis_subscriber *s, bool is_live)
{
	struct ear *e = container_of(s, struct ear, sub);

	e->live_count += is_live;
	e->lost_count += !is_live;
}

static bool listen_to(struct fixture *f, struct ear *e, const char *name)
{
	bool is_live;

	memset(e, 0, sizeof(*e));
	list_init(&e->sub.node);
	e->sub.on_message = on_message;
	e->sub.on_live = on_live;
	assert_int_equal(redis_subscribe(f->hub, &e->sub, span_str(name), false, &is_live), 0);
	return is_live;
}

static void until(struct fixture *f, const unsigned *count, unsigned wanted)
{
	for (unsigned i = 0; i < TURNS_MAX && *count != wanted; i++)
		assert_int_equal(loop_turn(&f->loop, 5), 0);
	assert_int_equal(*count, wanted);
}

static void until_channels(struct fixture *f, uint64_t wanted)
{
	for (unsigned i = 0; i < TURNS_MAX && f->stats.channels != wanted; i++)
		assert_int_equal(loop_turn(&f->loop, 5), 0);
	assert_int_equal(f->stats.channels, wanted);
}

/* Until the server has been sent just that. */
static void expect(struct fixture *f, int fd, const char *wanted)
{
	char got[512] = "";
	size_t len = 0;

	for (unsigned i = 0; i < TURNS_MAX && len < strlen(wanted); i++) {
		ssize_t n = recv(fd, got + len, sizeof(got) - 1 - len, MSG_DONTWAIT);

		len += n > 0 ? (size_t)n : 0;
		assert_int_equal(loop_turn(&f->loop, 5), 0);
	}
	assert_string_equal(got, wanted);
}

static void say(struct fixture *f, const char *text)
{
	assert_int_equal(write(f->fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* The server's own connection asks for its commands first, the hub's does not. */
static int accept_hub(struct fixture *f)
{
	for (unsigned i = 0; i < TURNS_MAX; i++) {
		int fd = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK);
		char got[64] = "";

		assert_int_equal(loop_turn(&f->loop, 5), 0);
		while (fd >= 0 && recv(fd, got, sizeof(got) - 1, MSG_PEEK) <= 0)
			assert_int_equal(loop_turn(&f->loop, 5), 0);
		if (fd >= 0 && !strstr(got, "COMMAND"))
			return fd;
		if (fd >= 0)
			f->other = fd;
	}
	fail_msg("the hub does not connect");
	return -1;
}

#define PING "*1\r\n$4\r\nPING\r\n"

static void connect_hub(struct fixture *f)
{
	f->fd = accept_hub(f);
	expect(f, f->fd, PING);
	say(f, "+PONG\r\n");
}

static int set_up(void **state)
{
	static struct fixture f;
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct redis_server_options opt = {
		.name = "r", .connections = 1, .queue_max = 10, .connect_ms = 60000, .timeout_ms = 60000, .pause_max_ms = 10,
		.reply_max = 4096, .endpoint_count = 1,
	};
	socklen_t len = sizeof(a);

	f = (struct fixture){ .other = -1, .fd = -1 };
	assert_int_equal(loop_init(&f.loop), 0);
	f.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(f.listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(f.listener, 8), 0);
	assert_int_equal(getsockname(f.listener, (struct sockaddr *)&a, &len), 0);
	upstream_endpoint_set(&f.endpoint, (struct sockaddr *)&a, len, 1, 1);
	f.table.endpoints = &f.endpoint;
	assert_int_equal(redis_server_new(&opt, &f.server), 0);
	assert_int_equal(redis_hub_new(f.server, &f.hub), 0);
	redis_server_start(f.server, &f.loop, &f.table, &f.stats);
	redis_hub_start(f.hub);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	redis_hub_stop(f->hub);
	redis_server_stop(f->server);
	redis_hub_free(f->hub);
	redis_server_free(f->server);
	loop_fini(&f->loop);
	close(f->listener);
	close(f->other);
	close(f->fd);
	return 0;
}

#define SUBSCRIBE(name)	  "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\n" name "\r\n"
#define UNSUBSCRIBE(name) "*2\r\n$11\r\nUNSUBSCRIBE\r\n$1\r\n" name "\r\n"
#define TAKEN(name, count) "*3\r\n$9\r\nsubscribe\r\n$1\r\n" name "\r\n:" count "\r\n"
#define ENDED(name, count) "*3\r\n$11\r\nunsubscribe\r\n$1\r\n" name "\r\n:" count "\r\n"
#define MESSAGE(name, text) "*3\r\n$7\r\nmessage\r\n$1\r\n" name "\r\n$1\r\n" text "\r\n"

static void redis_channel__is_one_subscription_for_all(void **state)
{
	struct fixture *f = *state;
	struct ear one, two, other;

	assert_false(listen_to(f, &one, "a"));
	assert_false(listen_to(f, &two, "a"));
	connect_hub(f);
	expect(f, f->fd, SUBSCRIBE("a"));
	say(f, TAKEN("a", "1"));
	until(f, &two.live_count, 1);
	assert_int_equal(one.live_count, 1);
	listen_to(f, &other, "b");
	expect(f, f->fd, SUBSCRIBE("b"));
	say(f, TAKEN("b", "2") MESSAGE("a", "x"));
	until(f, &two.message_count, 1);
	assert_int_equal(one.message_count, 1);
	assert_int_equal(other.message_count, 0);
	redis_unsubscribe(&one.sub);
	assert_true(listen_to(f, &one, "a"));
	redis_unsubscribe(&one.sub);
	redis_unsubscribe(&two.sub);
	expect(f, f->fd, UNSUBSCRIBE("a"));
	redis_unsubscribe(&other.sub);
	expect(f, f->fd, UNSUBSCRIBE("b"));
	assert_int_equal(f->stats.channels, 2);
	say(f, ENDED("a", "1") ENDED("b", "0"));
	until_channels(f, 0);
}

/* It lies between the end that was asked for and its answer, and is nobody's: asked for twice, it was never over. */
static void redis_channel__may_be_left_before_a_message(void **state)
{
	struct fixture *f = *state;
	struct ear stays, e;

	listen_to(f, &stays, "s");
	listen_to(f, &e, "a");
	connect_hub(f);
	expect(f, f->fd, SUBSCRIBE("s") SUBSCRIBE("a"));
	say(f, TAKEN("s", "1") TAKEN("a", "2"));
	until(f, &e.live_count, 1);
	redis_unsubscribe(&e.sub);
	say(f, MESSAGE("a", "x") MESSAGE("s", "x"));
	until(f, &stays.message_count, 1);
	assert_int_equal(e.message_count, 0);
	expect(f, f->fd, UNSUBSCRIBE("a"));
	say(f, ENDED("a", "1"));
	until_channels(f, 1);
	listen_to(f, &e, "a");
	expect(f, f->fd, SUBSCRIBE("a"));
	say(f, TAKEN("a", "2") MESSAGE("a", "y"));
	until(f, &e.message_count, 1);
	assert_int_equal(e.live_count, 1);
	assert_string_equal(e.last, "y");
	redis_unsubscribe(&e.sub);
	redis_unsubscribe(&stays.sub);
}

/* What is asked for again before the end was answered is answered behind it. */
static void redis_channel__may_be_left_and_wanted_again(void **state)
{
	struct fixture *f = *state;
	struct ear stays, e;

	listen_to(f, &stays, "s");
	connect_hub(f);
	expect(f, f->fd, SUBSCRIBE("s"));
	say(f, TAKEN("s", "1"));
	until(f, &stays.live_count, 1);
	for (unsigned i = 0; i < 3; i++) {
		listen_to(f, &e, "a");
		redis_unsubscribe(&e.sub);
	}
	assert_false(listen_to(f, &e, "a"));
#define BOTH SUBSCRIBE("a") UNSUBSCRIBE("a")
	expect(f, f->fd, BOTH BOTH BOTH SUBSCRIBE("a"));
#define ANSWERS TAKEN("a", "2") ENDED("a", "1")
	say(f, ANSWERS ANSWERS ANSWERS MESSAGE("s", "x"));
	until(f, &stays.message_count, 1);
	assert_int_equal(e.live_count, 0);
	say(f, TAKEN("a", "2"));
	until(f, &e.live_count, 1);
	assert_int_equal(stays.lost_count, 0);
	redis_unsubscribe(&e.sub);
	redis_unsubscribe(&stays.sub);
}

/* What the server sends waits over there until as many have caught up as had not. */
static void redis_channel__waits_for_those_who_listen(void **state)
{
	struct fixture *f = *state;
	struct ear e;

	listen_to(f, &e, "a");
	redis_hub_pause(f->hub);
	redis_hub_pause(f->hub);
	connect_hub(f);
	expect(f, f->fd, SUBSCRIBE("a"));
	redis_hub_resume(f->hub);
	say(f, TAKEN("a", "1") MESSAGE("a", "x"));
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(loop_turn(&f->loop, 5), 0);
	assert_int_equal(e.live_count + e.message_count, 0);
	redis_hub_resume(f->hub);
	until(f, &e.message_count, 1);
	assert_int_equal(e.live_count, 1);
	assert_string_equal(e.last, "x");
	redis_unsubscribe(&e.sub);
}

/* Told when it is lost, and when it is back; asked for by itself. */
static void redis_channel__comes_back(void **state)
{
	struct fixture *f = *state;
	struct ear e;

	listen_to(f, &e, "a");
	connect_hub(f);
	expect(f, f->fd, SUBSCRIBE("a"));
	say(f, TAKEN("a", "1"));
	until(f, &e.live_count, 1);
	close(f->fd);
	until(f, &e.lost_count, 1);
	connect_hub(f);
	expect(f, f->fd, SUBSCRIBE("a"));
	say(f, TAKEN("a", "1") MESSAGE("a", "x"));
	until(f, &e.message_count, 1);
	assert_int_equal(e.live_count, 2);
	assert_string_equal(e.last, "x");
	redis_unsubscribe(&e.sub);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(redis_channel__is_one_subscription_for_all),
		TEST(redis_channel__may_be_left_before_a_message),
		TEST(redis_channel__may_be_left_and_wanted_again),
		TEST(redis_channel__waits_for_those_who_listen),
		TEST(redis_channel__comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
