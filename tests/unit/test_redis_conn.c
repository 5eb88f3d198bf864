/* SPDX-License-Identifier: MIT */
/* The introduction to a server, when there is no memory for a part of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "app/redis_conn.h"
#include "base/err.h"

#define TURNS_MAX 250

static const char *unsent; /* the command for which there is no memory */

int __real_redis_link_send_words(struct redis_link *l, unsigned count, const struct span *words, redisCallbackFn *fn,
				 void *ctx);
int __wrap_redis_link_send_words(struct redis_link *l, unsigned count, const struct span *words, redisCallbackFn *fn,
				 void *ctx);

int __wrap_redis_link_send_words(struct redis_link *l, unsigned count, const struct span *words, redisCallbackFn *fn,
				 void *ctx)
{
	if (unsent && span_eq(words[0], span_str(unsent)))
		return -ENOTCONN;
	return __real_redis_link_send_words(l, count, words, fn, ctx);
}

struct fixture {
	struct loop loop;
	struct upstream_endpoint endpoint;
	struct stats_redis stats;
	struct redis_access access;
	struct redis_conn conn;
	unsigned ready_count, gone_count;
	int listener;
};

static void on_ready(struct redis_conn *c)
{
	container_of(c, struct fixture, conn)->ready_count++;
}

static void on_gone(struct redis_conn *c, bool was_ready, const char *why)
{
	container_of(c, struct fixture, conn)->gone_count++;
}

static void set_up(struct fixture *f)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);

	memset(f, 0, sizeof(*f));
	assert_int_equal(loop_init(&f->loop), 0);
	f->listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(f->listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(f->listener, 1), 0);
	assert_int_equal(getsockname(f->listener, (struct sockaddr *)&a, &len), 0);
	upstream_endpoint_set(&f->endpoint, (struct sockaddr *)&a, len, 1, 1);
	f->access = (struct redis_access){
		.password = "secret", .database = 3, .connect_ms = 200, .pause_max_ms = 1000, .reply_max = 4096,
		.endpoints = &f->endpoint, .endpoint_count = 1, .stats = &f->stats,
	};
	redis_conn_init(&f->conn, &f->loop, &f->access, false);
	f->conn.on_ready = on_ready;
	f->conn.on_gone = on_gone;
	redis_conn_start(&f->conn);
}

/* A server that finds everything fine answers `answers` times; until the introduction is over, one way or the other. */
static void introduce(struct fixture *f, unsigned answers)
{
	int fd = -1;

	for (unsigned i = 0; i < TURNS_MAX && !f->ready_count && !f->gone_count; i++) {
		assert_int_equal(loop_turn(&f->loop, 10), 0);
		if (fd >= 0 || f->conn.state != REDIS_CONN_CONNECTING)
			continue;
		fd = accept(f->listener, NULL, NULL);
		assert_true(fd >= 0);
		/* The commands are on their way by then: what nobody has asked for would close the connection. */
		while (f->conn.answers_due == 0)
			assert_int_equal(loop_turn(&f->loop, 10), 0);
		for (unsigned k = 0; k < answers; k++)
			assert_int_equal(write(fd, "+OK\r\n", 5), 5);
	}
	redis_conn_stop(&f->conn);
	close(fd);
	close(f->listener);
	loop_fini(&f->loop);
}

static void redis_conn__is_ready_when_all_is_answered(void **state)
{
	struct fixture f;

	unsent = NULL;
	set_up(&f);
	introduce(&f, 3);
	assert_int_equal(f.ready_count, 1);
}

/* Without SELECT it would work in somebody else's database, without AUTH as somebody else. */
static void redis_conn__is_not_ready_without_a_part_of_it(void **state)
{
	static const char *const parts[] = { "AUTH", "SELECT" };
	struct fixture f;

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		unsent = parts[i];
		set_up(&f);
		introduce(&f, 2);
		assert_int_equal(f.ready_count, 0);
		assert_int_equal(f.gone_count, 1);
	}
}

/* Who refuses what comes behind the introduction is not asked again as fast as it can refuse. */
static void redis_conn__for_messages_is_not_proven_by_its_introduction(void **state)
{
	struct fixture f;
	int fd;

	unsent = NULL;
	set_up(&f);
	f.access.password = NULL;
	f.conn.link.is_push = true;
	for (unsigned round = 1; round <= 3; round++) {
		for (unsigned i = 0; i < TURNS_MAX && f.conn.answers_due == 0; i++)
			assert_int_equal(loop_turn(&f.loop, 10), 0);
		fd = accept(f.listener, NULL, NULL);
		assert_int_equal(write(fd, "+PONG\r\n", 7), 7);
		for (unsigned i = 0; i < TURNS_MAX && f.ready_count < round; i++)
			assert_int_equal(loop_turn(&f.loop, 10), 0);
		if (round == 3)
			redis_conn_prove(&f.conn);
		f.conn.answers_due = 0;
		close(fd);
		for (unsigned i = 0; i < TURNS_MAX && f.conn.state == REDIS_CONN_READY; i++)
			assert_int_equal(loop_turn(&f.loop, 10), 0);
		assert_int_equal(f.conn.failures, round == 3 ? 0 : round);
	}
	redis_conn_stop(&f.conn);
	close(f.listener);
	loop_fini(&f.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(redis_conn__is_ready_when_all_is_answered),
		cmocka_unit_test(redis_conn__is_not_ready_without_a_part_of_it),
		cmocka_unit_test(redis_conn__for_messages_is_not_proven_by_its_introduction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
