/* SPDX-License-Identifier: MIT */
/* What is said to a server, and what becomes of its answers, wrong ones above all: the test is the server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/limit_sync.h"
#include "base/err.h"
#include "base/log.h"

#define TURNS_MAX 2000
#define TIMEOUT_MS 60u

static struct loop loop;
static struct upstream_endpoint endpoint;
static struct upstream_table upstreams = { .endpoint_count = 1, .endpoints = &endpoint };
static struct limit_table table;
static struct limit_share share;
static struct limit_post post;
static struct limit_sync *sharer;
static int listener, fd;
static char in[1 << 18];
static size_t in_len;
static unsigned left_count;

static const struct limit_rate rate = {
	.zone = 0xab, .interval = LIMIT_HOUR / 3600, .window = 10 * (LIMIT_HOUR / 3600), .beyond = LIMIT_HOUR,
};

/* The server ---------------------------------------------------------------------------------------------------- */

static void say(const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* Words of the next command, without lengths, a blank between them; false: it has not come yet. */
static bool next_command(char *out, size_t size)
{
	const char *at = in;
	unsigned words = 0;
	int used = 0;

	if (sscanf(at, "*%u\r\n%n", &words, &used) != 1 || used == 0)
		return false;
	*out = '\0';
	for (at += used; words > 0; words--) {
		size_t len;

		used = 0;
		if (sscanf(at, "$%zu\r\n%n", &len, &used) != 1 || used == 0 || at + used + len + 2 > in + in_len)
			return false;
		if (strlen(out) + len + 2 < size)
			snprintf(out + strlen(out), size - strlen(out), "%s%.*s", *out ? " " : "", (int)len, at + used);
		at += (size_t)used + len + 2;
	}
	in_len -= (size_t)(at - in);
	memmove(in, at, in_len);
	in[in_len] = '\0';
	return true;
}

static void read_more(void)
{
	ssize_t n;

	if (fd < 0)
		fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	if (fd < 0)
		return;
	n = read(fd, in + in_len, sizeof(in) - 1 - in_len);
	in_len += n > 0 ? (size_t)n : 0;
	in[in_len] = '\0';
}

static const char *hear(void)
{
	static char words[1 << 16];

	for (unsigned i = 0; i < TURNS_MAX; i++) {
		if (next_command(words, sizeof(words)))
			return words;
		assert_int_equal(loop_turn(&loop, 5), 0);
		read_more();
	}
	fail_msg("no command");
	return NULL;
}

static void expect(const char *begin)
{
	const char *words = hear();

	if (strncmp(words, begin, strlen(begin)) != 0)
		fail_msg("'%.60s' instead of '%s'", words, begin);
}

/* Until the loop has seen what was said. */
static bool is_known(void)
{
	return share.header->known_until_ns > loop.now_ns;
}

static void wait_until(bool known)
{
	for (unsigned i = 0; i < TURNS_MAX && is_known() != known; i++)
		assert_int_equal(loop_turn(&loop, 5), 0);
	assert_int_equal(is_known(), known);
}

/* ---------------------------------------------------------------------------------------------------------------- */

static int open_all(void **state)
{
	const struct redis_server_options redis = {
		.name = "main", .connections = 4, .queue_max = 1, .connect_ms = 5000, .timeout_ms = TIMEOUT_MS,
		.pause_max_ms = 20, .reply_max = 100, .endpoint_count = 1,
	};
	struct limit_sync_options opt = {
		.redis = &redis, .upstreams = &upstreams, .share = &share, .table = &table, .prefix = "p:", .every_ms = 5,
	};
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);

	log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
	in_len = left_count = 0;
	*in = '\0';
	fd = -1;
	assert_int_equal(loop_init(&loop), 0);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(listener, 8), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
	memset(&endpoint, 0, sizeof(endpoint));
	upstream_endpoint_set(&endpoint, (struct sockaddr *)&a, len, 1, 1);
	assert_int_equal(limit_table_open(&table, 1000), 0);
	table.debt_max = rate.window + rate.beyond;
	assert_int_equal(limit_share_open(&share, &rate, 1, 1, 0), 0);
	post = limit_share_post(&share, &table, 0, false);
	assert_int_equal(limit_sync_new(&loop, &opt, &sharer), 0);
	expect("COMMAND");
	say("*0\r\n");
	expect("PING");
	say("+PONG\r\n");
	return 0;
}

static int close_all(void **state)
{
	limit_sync_free(sharer);
	close(fd);
	close(listener);
	limit_share_close(&share);
	limit_table_close(&table);
	loop_fini(&loop);
	return 0;
}

static struct limit_client client_number(uint32_t i)
{
	return (struct limit_client){ .network = htonl(0x0a000000 + i), .family = AF_INET };
}

static uint64_t counted(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

#define COUNTED(name) counted(&table.header->share.name)

static void limit_sync__sends_the_script_where_it_is_missing(void **state)
{
	expect("EVALSHA ");
	assert_false(is_known());
	say("-NOSCRIPT No matching script.\r\n");
	expect("EVAL local t = redis.call('TIME')");
	say("*0\r\n");
	wait_until(true);
	/* From then on it is there, and silence is no reason to believe so for ever. */
	expect("EVALSHA ");
	say("*0\r\n");
	assert_int_equal(COUNTED(failures), 0);
}

static void be_known(void)
{
	expect("EVALSHA ");
	say("*0\r\n");
	wait_until(true);
}

/* Probes are answered until the report comes. */
static const char *hear_report(void)
{
	for (;;) {
		const char *words = hear();

		if (strncmp(words + 8 + 40, " 0 ", 3) != 0)
			return words;
		say("*0\r\n");
	}
}

static void limit_sync__tells_and_hears(void **state)
{
	const char *words;
	uint64_t number[4];

	be_known();
	for (unsigned i = 0; i < 3; i++)
		limit_post_put(&post, &rate, client_number(7));
	words = hear_report() + 8 + 40;
	if (sscanf(words, " 1 p:ab:10.0.0.7 %lu %lu %lu %lu", &number[0], &number[1], &number[2], &number[3]) != 4)
		fail_msg("%s", words);
	assert_int_equal(number[0], 3000000);
	assert_in_range(number[1], 0, 5000000);
	assert_int_equal(number[2], 3610000000);
	assert_int_equal(number[3], 10000000);
	say("*1\r\n:8000000\r\n");
	for (unsigned i = 0; i < TURNS_MAX && COUNTED(reports) == 0; i++)
		loop_turn(&loop, 5);
	assert_int_equal(COUNTED(raised), 1);
	/* Eight of ten are gone, whoever admitted them. */
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(limit_table_take(&table, &rate, client_number(7), loop.now_ns), 0);
	assert_true(limit_table_take(&table, &rate, client_number(7), loop.now_ns) > 0);
}

static void limit_sync__divides_what_is_too_much(void **state)
{
	unsigned count = 0, commands = 0;

	be_known();
	for (uint32_t i = 0; i < 300; i++)
		limit_post_put(&post, &rate, client_number(i));
	while (count < 300) {
		unsigned n = (unsigned)atoi(hear_report() + 8 + 40);
		char text[32];

		snprintf(text, sizeof(text), "*%u\r\n", n);
		say(text);
		for (unsigned i = 0; i < n; i++)
			say(":-5\r\n");
		count += n;
		commands++;
		assert_in_range(n, 1, 64);
	}
	assert_int_equal(count, 300);
	assert_int_equal(commands, 5);
	for (unsigned i = 0; i < TURNS_MAX && COUNTED(reports) < 300; i++)
		loop_turn(&loop, 5);
	assert_int_equal(COUNTED(raised), 0);
}

static void limit_sync__believes_no_other_answer(void **state)
{
	static const char *const answers[] = {
		"-ERR no\r\n", "+OK\r\n", ":1\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n", "*2\r\n:1\r\n:2\r\n", "*1\r\n+1\r\n",
		"*1\r\n*1\r\n:1\r\n",
	};

	be_known();
	for (unsigned i = 0; i < ARRAY_LEN(answers); i++) {
		limit_post_put(&post, &rate, client_number(i));
		hear_report();
		/* Each for itself from here on, and nobody is told later of what was admitted meanwhile. */
		say(answers[i]);
		wait_until(false);
		assert_int_equal(COUNTED(failures), i + 1);
		assert_int_equal(COUNTED(untold), 2 * i + 1);
		limit_post_put(&post, &rate, client_number(i));
		expect("EVALSHA ");
		say("*0\r\n");
		wait_until(true);
		assert_int_equal(COUNTED(untold), 2 * i + 2);
	}
	assert_int_equal(COUNTED(reports), 0);
}

static void limit_sync__waits_no_longer_than_the_timeout(void **state)
{
	be_known();
	limit_post_put(&post, &rate, client_number(1));
	hear_report();
	wait_until(false);
	assert_int_equal(COUNTED(failures), 1);
	assert_int_equal(COUNTED(untold), 1);
	/* The answer comes when nobody waits for it any more, and then that to the next question. */
	say("*1\r\n:5000000\r\n");
	expect("EVALSHA ");
	say("*0\r\n");
	wait_until(true);
	assert_int_equal(COUNTED(reports), 0);
}

static void on_left(void *ctx)
{
	left_count++;
}

static void limit_sync_leave__tells_the_rest(void **state)
{
	be_known();
	limit_post_put(&post, &rate, client_number(1));
	limit_sync_leave(sharer, on_left, NULL);
	assert_int_equal(left_count, 0);
	assert_non_null(strstr(hear_report(), "p:ab:10.0.0.1"));
	assert_int_equal(left_count, 0);
	say("*1\r\n:1\r\n");
	for (unsigned i = 0; i < TURNS_MAX && !left_count; i++)
		loop_turn(&loop, 5);
	assert_true(left_count > 0);
	assert_int_equal(COUNTED(reports), 1);
}

static void limit_sync_leave__waits_for_nobody_who_is_silent(void **state)
{
	be_known();
	limit_post_put(&post, &rate, client_number(1));
	limit_sync_leave(sharer, on_left, NULL);
	for (unsigned i = 0; i < TURNS_MAX && !left_count; i++)
		loop_turn(&loop, 5);
	assert_true(left_count > 0);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(limit_sync__sends_the_script_where_it_is_missing),
		TEST(limit_sync__tells_and_hears),
		TEST(limit_sync__divides_what_is_too_much),
		TEST(limit_sync__believes_no_other_answer),
		TEST(limit_sync__waits_no_longer_than_the_timeout),
		TEST(limit_sync_leave__tells_the_rest),
		TEST(limit_sync_leave__waits_for_nobody_who_is_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
