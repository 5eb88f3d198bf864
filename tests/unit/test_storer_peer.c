/* SPDX-License-Identifier: MIT */
/* What the writer of a store makes of a worker's bytes: whole, in parts, large, wrong, cut off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "net/fd_pass.h"
#include "proc/storer_impl.h"

#define VALUE_MAX 300000

static const struct config_store config = { .name = (char *)"test", .value = VALUE_MAX };
static struct store_stats stats;
static const struct storer_options options = { .config = &config, .stats = &stats };
static struct storer *storer;
static struct storer_peer *peer;
static int worker;
static unsigned work_count;
static const char zeros[VALUE_MAX];

static void on_work(struct job *j)
{
	work_count++;
}

static int set_up(void **state)
{
	int pair[2];

	storer = calloc(1, sizeof(*storer));
	if (!storer || loop_init(&storer->loop) || fd_pass_stream_pair(pair))
		return -1;
	stats = (struct store_stats){ 0 };
	storer->opt = &options;
	list_init(&storer->peers);
	job_init(&storer->work, on_work);
	worker = pair[1];
	work_count = 0;
	if (storer_peer_add(storer, pair[0]))
		return -1;
	peer = container_of(storer->peers.next, struct storer_peer, node);
	return 0;
}

static int tear_down(void **state)
{
	while (!list_is_empty(&storer->peers))
		storer_peer_close(container_of(storer->peers.next, struct storer_peer, node));
	job_cancel(&storer->work);
	loop_fini(&storer->loop);
	if (worker >= 0)
		close(worker);
	free(storer);
	return 0;
}

static void send_bytes(const void *bytes, size_t len)
{
	assert_int_equal(write(worker, bytes, len), len);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(loop_turn(&storer->loop, 0), 0);
}

static char *print(const char *key, uint32_t id, size_t content_len, size_t *ret_len)
{
	struct store_change c = { .kind = STORE_PUT, .key = span_str(key), .type = SPAN("a/b"),
				  .content = span_of(zeros, content_len) };
	size_t head_len = store_wire_head_len(&c);
	char *bytes = calloc(1, head_len + content_len);

	assert_non_null(bytes);
	store_wire_print(&c, id, bytes);
	*ret_len = head_len + content_len;
	return bytes;
}

static void gather(void)
{
	storer->count = 0;
	storer_peer_fill(peer);
	storer_peer_gather(peer);
}

static void peer__gathers_what_is_complete(void **state)
{
	struct store_wire_result w;
	size_t a_len, b_len;
	char *a = print("a", 1, 5, &a_len), *b = print("b", 2, 0, &b_len);

	send_bytes(a, a_len);
	assert_true(work_count > 0);
	send_bytes(b, b_len - 1);
	gather();
	assert_int_equal(storer->count, 1);
	assert_int_equal(storer->ids[0], 1);
	assert_true(span_eq(storer->changes[0].key, SPAN("a")));
	storer_peer_answer(peer, 1, &(struct store_result){ .outcome = STORE_CREATED });
	assert_true(storer_peer_settle(peer));
	assert_false(storer_peer_has_work(peer));
	assert_int_equal(read(worker, &w, sizeof(w)), sizeof(w));
	assert_int_equal(w.id, 1);
	send_bytes(b + b_len - 1, 1);
	gather();
	assert_int_equal(storer->count, 1);
	assert_true(span_eq(storer->changes[0].key, SPAN("b")));
	free(a);
	free(b);
}

/* More than the buffer has at first: it grows to what is announced and no further. */
static void peer__takes_the_largest_there_is(void **state)
{
	size_t len, at = 0;
	char *bytes = print("large", 7, VALUE_MAX, &len);

	storer->count = 0;
	for (unsigned i = 0; storer->count == 0 && i < 100; i++) {
		size_t n = MIN(len - at, (size_t)50000);

		if (n)
			send_bytes(bytes + at, n);
		at += n;
		gather();
		if (storer->count == 0)
			assert_true(storer_peer_settle(peer));
	}
	assert_int_equal(storer->count, 1);
	assert_int_equal(storer->changes[0].content.len, VALUE_MAX);
	assert_int_equal(peer->cap, len);
	free(bytes);
}

static void peer__that_breaks_the_protocol_is_closed(void **state)
{
	static const char rubbish[64] = "GET / HTTP/1.1\r\n";
	size_t len;
	char *bytes = print("a", 1, 5, &len);

	/* What came whole before it is made. */
	send_bytes(bytes, len);
	send_bytes(rubbish, sizeof(rubbish));
	gather();
	assert_int_equal(storer->count, 1);
	assert_int_equal(stats.bad_frames, 1);
	assert_false(storer_peer_settle(peer));
	assert_true(list_is_empty(&storer->peers));
	free(bytes);
}

static void peer__that_ends_in_the_middle_changes_nothing(void **state)
{
	size_t len;
	char *bytes = print("a", 1, 5, &len);

	send_bytes(bytes, len - 1);
	close(worker);
	worker = -1;
	loop_turn(&storer->loop, 0);
	gather();
	assert_int_equal(storer->count, 0);
	assert_false(storer_peer_settle(peer));
	free(bytes);
}

/* Who does not read its results is not read from either: nothing grows without bound. */
static void peer__that_does_not_read_is_left_waiting(void **state)
{
	size_t len;
	char *bytes = print("a", 1, 5, &len);

	for (unsigned i = 0; peer->out_len == 0 && i < 100000; i++) {
		storer_peer_answer(peer, i, &(struct store_result){ .outcome = STORE_MISSING });
		assert_true(storer_peer_settle(peer));
	}
	assert_true(peer->out_len > 0);
	send_bytes(bytes, len);
	gather();
	assert_int_equal(storer->count, 0);
	assert_false(storer_peer_has_work(peer));
	free(bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(peer__gathers_what_is_complete),
		TEST(peer__takes_the_largest_there_is),
		TEST(peer__that_breaks_the_protocol_is_closed),
		TEST(peer__that_ends_in_the_middle_changes_nothing),
		TEST(peer__that_does_not_read_is_left_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
