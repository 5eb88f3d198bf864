/* SPDX-License-Identifier: MIT */
/* A worker's changes on their way to a writer that is there, is not, does not answer, or dies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "app/store_link.h"
#include "base/err.h"
#include "net/fd_pass.h"

#define TIMEOUT_MS 600000	/* passes by pass_ms() alone */

struct asked {
	struct store_ask ask;
	unsigned answers;
	struct store_result result;
};

static struct loop loop;
static struct store_link store_link;
static int writer = -1;

static void on_changed(struct store_ask *a, const struct store_result *r)
{
	struct asked *q = container_of(a, struct asked, ask);

	q->answers++;
	q->result = *r;
}

static void turn(void)
{
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(loop_turn(&loop, 0), 0);
}

static void pass_ms(uint64_t ms)
{
	wheel_advance(&loop.wheel, loop.wheel.now_ms + ms);
}

static int set_up(void **state)
{
	writer = -1;
	if (loop_init(&loop))
		return -1;
	store_link_init(&store_link, &loop, TIMEOUT_MS, "test");
	return 0;
}

static void hang_up(void)
{
	if (writer >= 0)
		close(writer);
	writer = -1;
}

static int tear_down(void **state)
{
	store_link_fini(&store_link);
	loop_fini(&loop);
	hang_up();
	return 0;
}

static void connect_writer(void)
{
	int pair[2];

	hang_up();
	assert_int_equal(fd_pass_stream_pair(pair), 0);
	writer = pair[1];
	store_link_connect(&store_link, pair[0]);
}

static void ask(struct asked *q, const char *key, size_t len)
{
	struct store_change c = { .kind = STORE_PUT, .key = span_str(key), .type = SPAN("text/plain") };
	char *content = calloc(1, len + 1);

	*q = (struct asked){ .ask = { .on_changed = on_changed } };
	c.content = span_of(content, len);
	store_link_change(&store_link, &q->ask, &c, content);
}

/* Reads one change whole; its id. */
static uint32_t take_change(const char *key)
{
	static char bytes[1 << 20];
	struct store_change c;
	size_t len = 0, size = 0;
	uint32_t id;

	for (;;) {
		/* No byte of the next one. */
		size_t wanted = (size ? size : sizeof(struct store_wire_change)) - len;
		ssize_t n = recv(writer, bytes + len, wanted, MSG_DONTWAIT);

		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			turn();
			continue;
		}
		len += (size_t)n;
		if (store_wire_parse(span_of(bytes, len), sizeof(bytes), &c, &id, &size) == STORE_WIRE_DONE)
			break;
	}
	assert_true(span_eq(c.key, span_str(key)));
	return id;
}

static void answer(uint32_t id, enum store_outcome outcome)
{
	struct store_wire_result w = { .id = id, .outcome = (uint32_t)outcome, .serial = 7, .random = 9, .modified_s = 11 };

	assert_int_equal(write(writer, &w, sizeof(w)), sizeof(w));
	turn();
}

static void link__carries_changes_and_results(void **state)
{
	struct asked a, b;

	connect_writer();
	ask(&a, "a", 3);
	ask(&b, "b", 0);
	turn();
	answer(take_change("a"), STORE_CREATED);
	assert_int_equal(a.answers, 1);
	assert_int_equal(b.answers, 0);
	assert_int_equal(a.result.outcome, STORE_CREATED);
	assert_int_equal(a.result.version.serial, 7);
	assert_int_equal(a.result.version.random, 9);
	assert_int_equal(a.result.modified_s, 11);
	answer(take_change("b"), STORE_MISMATCH);
	assert_int_equal(b.result.outcome, STORE_MISMATCH);
	pass_ms(10 * TIMEOUT_MS);
	assert_int_equal(a.answers + b.answers, 2);
}

static void link__waits_for_a_writer(void **state)
{
	struct asked a;

	ask(&a, "a", 3);
	turn();
	pass_ms(TIMEOUT_MS / 2);
	assert_int_equal(a.answers, 0);
	connect_writer();
	turn();
	answer(take_change("a"), STORE_REPLACED);
	assert_int_equal(a.result.outcome, STORE_REPLACED);
}

static void link__says_when_nobody_took_it(void **state)
{
	struct asked a;

	ask(&a, "a", 3);
	pass_ms(TIMEOUT_MS + 1);
	assert_int_equal(a.result.outcome, STORE_NO_WRITER);
	/* It is not sent to who comes later. */
	connect_writer();
	turn();
	ask(&a, "b", 3);
	turn();
	answer(take_change("b"), STORE_CREATED);
	assert_int_equal(a.answers, 1);
}

/* What was handed over may be done; its late result belongs to nobody, and the next one is not taken for it. */
static void link__says_when_no_answer_came(void **state)
{
	struct asked a, b;
	uint32_t id;

	connect_writer();
	ask(&a, "a", 3);
	turn();
	id = take_change("a");
	pass_ms(TIMEOUT_MS + 1);
	assert_int_equal(a.result.outcome, STORE_TIMEOUT);
	ask(&b, "b", 3);
	turn();
	answer(id, STORE_CREATED);
	assert_int_equal(a.answers, 1);
	assert_int_equal(b.answers, 0);
	answer(take_change("b"), STORE_CREATED);
	assert_int_equal(b.answers, 1);
}

static void link__says_what_is_lost_with_a_writer(void **state)
{
	struct asked a;

	connect_writer();
	ask(&a, "a", 3);
	turn();
	take_change("a");
	hang_up();
	turn();
	assert_int_equal(a.answers, 1);
	assert_int_equal(a.result.outcome, STORE_LOST);
}

/* Half a change is none: the next writer gets it whole. */
static void link__sends_again_what_was_sent_in_part(void **state)
{
	struct asked a, b;

	connect_writer();
	ask(&a, "a", 900000);
	turn();
	assert_true(store_link.is_blocked);
	connect_writer();
	ask(&b, "b", 1);
	turn();
	assert_int_equal(a.answers, 0);
	answer(take_change("a"), STORE_CREATED);
	answer(take_change("b"), STORE_CREATED);
	assert_int_equal(a.answers + b.answers, 2);
}

static void link__forgets(void **state)
{
	struct asked waits, sent, last;
	uint32_t id;

	connect_writer();
	ask(&sent, "sent", 3);
	turn();
	id = take_change("sent");
	ask(&waits, "waits", 3);
	store_link_forget(&store_link, &waits.ask);
	store_link_forget(&store_link, &sent.ask);
	ask(&last, "last", 3);
	turn();
	answer(id, STORE_CREATED);
	answer(take_change("last"), STORE_CREATED);
	pass_ms(10 * TIMEOUT_MS);
	assert_int_equal(waits.answers + sent.answers, 0);
	assert_int_equal(last.answers, 1);
}

/* A result that nobody asked for: the connection cannot be trusted any more. */
static void link__gives_up_a_connection_that_makes_no_sense(void **state)
{
	struct asked a;

	connect_writer();
	ask(&a, "a", 3);
	turn();
	answer(take_change("a") + 1, STORE_CREATED);
	assert_int_equal(a.result.outcome, STORE_LOST);
	assert_int_equal(store_link.io.fd, -1);
}

static void link__is_taken_down_with_changes_under_way(void **state)
{
	static struct asked a, b;

	connect_writer();
	ask(&a, "a", 3);
	turn();
	take_change("a");
	ask(&b, "b", 3);
	store_link_fini(&store_link);
	assert_int_equal(a.answers + b.answers, 0);
	store_link_init(&store_link, &loop, TIMEOUT_MS, "test");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(link__carries_changes_and_results),
		TEST(link__waits_for_a_writer),
		TEST(link__says_when_nobody_took_it),
		TEST(link__says_when_no_answer_came),
		TEST(link__says_what_is_lost_with_a_writer),
		TEST(link__sends_again_what_was_sent_in_part),
		TEST(link__forgets),
		TEST(link__gives_up_a_connection_that_makes_no_sense),
		TEST(link__is_taken_down_with_changes_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
