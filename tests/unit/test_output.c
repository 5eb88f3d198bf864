/* SPDX-License-Identifier: MIT */
/* The queue of bytes of a connection, into a transport that takes as much as the test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "http/output.h"

#define POOL_ITEM 16384

static struct {
	char got[1 << 17];
	size_t got_len;
	size_t take;	     /* bytes at most of each call */
	size_t room;	     /* bytes until the kernel refuses; SIZE_MAX: never */
	ssize_t file_result; /* what sendfile says instead of sending, when not 1 */
	unsigned calls, max_iov;
	bool had_more;
} peer;

static char content[1 << 17]; /* what memory and files are made of: no two places look alike */

static size_t take(size_t len)
{
	size_t n = MIN(MIN(len, peer.take), peer.room);

	if (peer.room != SIZE_MAX)
		peer.room -= n;
	return n;
}

static ssize_t on_writev(struct conn *c, const struct iovec *iov, int count, bool has_more)
{
	size_t len = 0, left;

	peer.calls++;
	peer.max_iov = MAX(peer.max_iov, (unsigned)count);
	peer.had_more = has_more;
	for (int i = 0; i < count; i++)
		len += iov[i].iov_len;
	left = take(len);
	if (left == 0)
		return -EAGAIN;
	len = left;
	for (int i = 0; left > 0; i++) {
		size_t part = MIN(left, iov[i].iov_len);

		memcpy(peer.got + peer.got_len, iov[i].iov_base, part);
		peer.got_len += part;
		left -= part;
	}
	return (ssize_t)len;
}

static ssize_t on_sendfile(struct conn *c, int fd, off_t *offset, size_t len)
{
	size_t n = take(len);

	peer.calls++;
	if (peer.file_result != 1)
		return peer.file_result;
	if (n == 0)
		return -EAGAIN;
	memcpy(peer.got + peer.got_len, content + *offset, n);
	peer.got_len += n;
	*offset += (off_t)n;
	return (ssize_t)n;
}

static const struct transport_ops transport = {
	.name = "fake", .writev = on_writev, .sendfile = on_sendfile};

static struct pool pool;
static struct output out;
static struct conn conn;
static unsigned released;

static void on_release(struct hold *h)
{
	released++;
}

static int open_all(void **state)
{
	memset(&peer, 0, sizeof(peer));
	peer.take = peer.room = SIZE_MAX;
	peer.file_result = 1;
	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (char)(i * 2654435761u >> 13);
	conn = (struct conn){.transport = &transport, .is_writable = true};
	released = 0;
	pool_init(&pool, POOL_ITEM, 0, 0);
	output_init(&out, &pool);
	return 0;
}

static int close_all(void **state)
{
	output_clear(&out);
	assert_int_equal(pool.used_count, 0);
	pool_fini(&pool);
	return 0;
}

static enum flush_result flush(uint64_t budget, uint64_t *ret_written)
{
	return output_flush(&out, &conn, budget, false, ret_written);
}

/* Copied, held, file, copied: 10 + 5000 + 300 + 20 bytes of `content` from 0 on. */
#define MIX_LEN 5330u

static void add_mix(struct hold *h)
{
	output_add(&out, content, 10);
	output_add_held(&out, span_of(content + 10, 5000), h);
	output_add_file(&out, 9, 5010, 300, h);
	output_add(&out, content + 5310, 20);
}

static void output__survives_a_kernel_that_takes_little(void **state)
{
	for (size_t piece = 1; piece <= 64; piece++) {
		struct hold h;
		uint64_t written;

		hold_init(&h, on_release);
		released = 0;
		peer.got_len = 0;
		peer.take = piece;
		add_mix(&h);
		assert_int_equal(out.queued, MIX_LEN);
		assert_int_equal(h.count, 3);
		assert_int_equal(flush(UINT64_MAX, &written), FLUSH_DONE);
		assert_int_equal(written, MIX_LEN);
		assert_int_equal(peer.got_len, MIX_LEN);
		assert_memory_equal(peer.got, content, MIX_LEN);
		assert_true(output_is_empty(&out));
		assert_int_equal(h.count, 1);
		assert_int_equal(released, 0);
		hold_put(&h);
		assert_int_equal(released, 1);
	}
}

/* Refused behind every single byte, then going on: nothing twice, nothing missing. */
static void output__goes_on_where_the_kernel_refused(void **state)
{
	for (size_t at = 0; at <= MIX_LEN; at++) {
		struct hold h;
		uint64_t first, second;

		hold_init(&h, on_release);
		peer.got_len = 0;
		peer.room = at;
		conn.is_writable = true;
		add_mix(&h);
		assert_int_equal(flush(UINT64_MAX, &first),
				 at < MIX_LEN ? FLUSH_BLOCKED : FLUSH_DONE);
		assert_int_equal(first, at);
		assert_int_equal(out.queued, MIX_LEN - at);
		assert_int_equal(conn.is_writable, at == MIX_LEN);
		peer.room = SIZE_MAX;
		assert_int_equal(flush(UINT64_MAX, &second), FLUSH_DONE);
		assert_int_equal(first + second, MIX_LEN);
		assert_memory_equal(peer.got, content, MIX_LEN);
		assert_int_equal(h.count, 1);
	}
}

/* Whatever waits goes first; what the kernel does not take at once waits in turn, and only that was copied. */
static void output__sends_without_a_copy_what_the_kernel_takes(void **state)
{
	for (size_t at = 0; at <= 3000; at += 50) {
		uint64_t first, second;
		size_t before = at % 300; /* bytes that wait already */

		peer.got_len = 0;
		peer.room = at;
		conn.is_writable = true;
		output_add(&out, content, before);
		assert_int_equal(output_send(&out, &conn, content + before, 3000 - before, &first),
				 at < 3000 ? FLUSH_BLOCKED : FLUSH_DONE);
		assert_int_equal(first, at);
		assert_int_equal(out.queued, 3000 - at);
		assert_int_equal(conn.is_writable, at == 3000);
		if (before == 0 && at == 3000)
			assert_int_equal(pool.used_count, 0);
		peer.room = SIZE_MAX;
		assert_int_equal(flush(UINT64_MAX, &second), FLUSH_DONE);
		assert_int_equal(first + second, 3000);
		assert_memory_equal(peer.got, content, 3000);
		assert_int_equal(out.total, 3000);
		output_clear(&out);
	}
}

static void output__stops_at_its_budget(void **state)
{
	uint64_t written, sum = 0;
	unsigned turns = 0;

	add_mix(NULL);
	peer.take = 100;
	while (flush(250, &written) == FLUSH_BUDGET) {
		/* The call that crosses it is the last. */
		assert_in_range(written, 250, 349);
		sum += written;
		turns++;
	}
	assert_int_equal(sum + written, MIX_LEN);
	assert_in_range(turns, MIX_LEN / 349, MIX_LEN / 250);
	assert_memory_equal(peer.got, content, MIX_LEN);
}

/* More than the segments inside the structure, more than one iovec, emptied and filled in between.
 */
static void output__takes_any_number_of_segments(void **state)
{
	struct hold h;
	size_t added = 0;
	uint64_t written;

	hold_init(&h, on_release);
	for (unsigned i = 0; i < 200; i++) {
		size_t len = i % 2 ? 300 : 600;

		if (i % 2)
			output_add_file(&out, 9, (off_t)added, len, &h);
		else
			output_add(&out, content + added, len);
		added += len;
		if (i % 50 == 49) {
			peer.room = 7000;
			assert_int_equal(flush(UINT64_MAX, &written), FLUSH_BLOCKED);
			assert_int_equal(written, 7000);
		}
	}
	assert_false(output_is_memory_only(&out));
	peer.room = SIZE_MAX;
	assert_int_equal(flush(UINT64_MAX, &written), FLUSH_DONE);
	assert_int_equal(peer.got_len, added);
	assert_memory_equal(peer.got, content, added);
	assert_int_equal(h.count, 1);
}

static void output__gathers_what_is_copied(void **state)
{
	uint64_t written;

	for (unsigned i = 0; i < 100; i++)
		output_add(&out, content + i * 100, 100);
	assert_true(output_is_memory_only(&out));
	assert_int_equal(out.end - out.first, 1);
	assert_int_equal(flush(UINT64_MAX, &written), FLUSH_DONE);
	assert_int_equal(peer.calls, 1);
	assert_false(peer.had_more);
	assert_memory_equal(peer.got, content, 10000);
	/* Small pieces that somebody holds are copied, and the hold is not needed for them. */
	output_add_held(&out, span_of(content, 2048), NULL);
	output_add_held(&out, span_of(content, 0), NULL);
	assert_int_equal(out.end - out.first, 1);
	assert_ptr_not_equal(out.segments[out.first].ptr, content);
}

static void output__tells_the_kernel_that_a_file_follows(void **state)
{
	uint64_t written;

	output_add(&out, content, 10);
	output_add_file(&out, 9, 10, 10, NULL);
	peer.take = 10;
	peer.room = 10;
	assert_int_equal(flush(UINT64_MAX, &written), FLUSH_BLOCKED);
	assert_true(peer.had_more);
}

static void output__names_what_failed(void **state)
{
	static const struct {
		ssize_t file_result;
		enum flush_result wanted;
	} cases[] = {
		{0, FLUSH_FILE},	  {-EIO, FLUSH_FILE},	       {-EINVAL, FLUSH_FILE},
		{-EPIPE, FLUSH_FAILED},	  {-ECONNRESET, FLUSH_FAILED}, {-ETIMEDOUT, FLUSH_FAILED},
		{-EAGAIN, FLUSH_BLOCKED},
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct hold h;
		uint64_t written;

		hold_init(&h, on_release);
		peer.file_result = cases[i].file_result;
		output_add(&out, content, 10);
		output_add_file(&out, 9, 10, 10, &h);
		assert_int_equal(flush(UINT64_MAX, &written), cases[i].wanted);
		assert_int_equal(written, 10);
		assert_int_equal(out.queued, 10);
		/* What waits is dropped, and the hold with it, once. */
		output_clear(&out);
		assert_int_equal(h.count, 1);
		assert_int_equal(out.queued, 0);
	}
}

static void output__fails_without_memory_and_says_so(void **state)
{
	struct hold h;
	uint64_t written;

	hold_init(&h, on_release);
	pool.max_count = 1;
	output_add(&out, content, 100);
	output_add_held(&out, span_of(content, 5000), &h);
	output_add(&out, content, POOL_ITEM);
	assert_true(out.has_failed);
	assert_null(output_reserve(&out, 100));
	/* Nothing is added behind a hole. */
	output_add_file(&out, 9, 0, 100, &h);
	output_add_held(&out, span_of(content, 5000), &h);
	assert_int_equal(h.count, 2);
	assert_int_equal(flush(UINT64_MAX, &written), FLUSH_FAILED);
	output_clear(&out);
	assert_int_equal(h.count, 1);
	assert_false(out.has_failed);
}

static void output__reserves_and_commits_less(void **state)
{
	uint64_t written;

	for (unsigned i = 0; i < 50; i++) {
		char *at = output_reserve(&out, OUTPUT_RESERVE_MAX);

		assert_non_null(at);
		memcpy(at, content + i * 1000, 1000);
		output_commit(&out, i % 10 == 9 ? 0 : 1000);
	}
	assert_int_equal(out.total, 45000);
	assert_int_equal(flush(UINT64_MAX, &written), FLUSH_DONE);
	assert_int_equal(written, 45000);
	assert_memory_equal(peer.got + 9000, content + 10000, 9000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(output__survives_a_kernel_that_takes_little),
		TEST(output__goes_on_where_the_kernel_refused),
		TEST(output__sends_without_a_copy_what_the_kernel_takes),
		TEST(output__stops_at_its_budget),
		TEST(output__takes_any_number_of_segments),
		TEST(output__gathers_what_is_copied),
		TEST(output__tells_the_kernel_that_a_file_follows),
		TEST(output__names_what_failed),
		TEST(output__fails_without_memory_and_says_so),
		TEST(output__reserves_and_commits_less),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
