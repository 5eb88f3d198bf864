/* SPDX-License-Identifier: MIT */
/* Pipes of a worker, and tunnels through them: two socket pairs, the test at both outer ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "net/tunnel.h"

#define BULK (3u << 20)

static struct {
	struct loop loop;
	struct pipe_pool pipes;
	struct conn a, b;
	struct tunnel tunnel;
	int outer_a, outer_b;	/* what the test holds */
	unsigned end_count;
	enum tunnel_end how;
} f;

static void on_end(struct tunnel *t, enum tunnel_end how)
{
	f.end_count++;
	f.how = how;
}

static void on_ready(struct io *io, uint32_t events)
{
	struct conn *c = io == &f.a.io ? &f.a : &f.b;

	conn_note_events(c, events);
	if (f.end_count == 0)
		tunnel_run(&f.tunnel);
}

static void open_side(struct conn *c, int *ret_outer)
{
	union sock_addr nobody = { .any.sa_family = AF_UNIX };
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	conn_open(c, &f.loop, fds[0], &nobody, on_ready);
	assert_int_equal(conn_watch(c), 0);
	*ret_outer = fds[1];
}

static int open_all(void **state)
{
	memset(&f, 0, sizeof(f));
	assert_int_equal(loop_init(&f.loop), 0);
	pipe_pool_init(&f.pipes, 65536, 4, 8);
	open_side(&f.a, &f.outer_a);
	open_side(&f.b, &f.outer_b);
	tunnel_init(&f.tunnel, &f.loop, &f.pipes, &f.a, &f.b, 50, on_end);
	return 0;
}

static int close_all(void **state)
{
	tunnel_close(&f.tunnel);
	conn_close(&f.a, false);
	conn_close(&f.b, false);
	close(f.outer_a);
	close(f.outer_b);
	assert_int_equal(f.pipes.open_count, f.pipes.free_count);
	pipe_pool_fini(&f.pipes);
	loop_fini(&f.loop);
	return 0;
}

static void turn(unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		loop_turn(&f.loop, 0);
}

static void expect(int fd, const char *text)
{
	char got[256];
	ssize_t n = read(fd, got, sizeof(got));

	assert_int_equal(n, strlen(text));
	assert_memory_equal(got, text, strlen(text));
}

static void pipe__is_kept_empty_and_destroyed_full(void **state)
{
	struct pipe *first = pipe_get(&f.pipes), *second;
	int fd = first->read_fd;

	assert_true(first->size >= 4096);
	pipe_put(&f.pipes, first);
	assert_int_equal(f.pipes.free_count, 1);
	second = pipe_get(&f.pipes);
	assert_int_equal(second->read_fd, fd);
	second->filled = 1;
	pipe_put(&f.pipes, second);
	assert_int_equal(f.pipes.open_count, 0);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void pipe__has_a_limit(void **state)
{
	struct pipe *all[8];

	for (unsigned i = 0; i < 8; i++) {
		all[i] = pipe_get(&f.pipes);
		assert_non_null(all[i]);
	}
	assert_null(pipe_get(&f.pipes));
	for (unsigned i = 0; i < 8; i++)
		pipe_put(&f.pipes, all[i]);
	/* No more than `keep` are kept. */
	assert_int_equal(f.pipes.free_count, 4);
	assert_int_equal(f.pipes.open_count, 4);
}

/* A user that has used up its allowance: what the kernel gives then are pipes of two pages. */
static int use_up_pipes(void)
{
	struct pipe *all[256];
	struct pipe_pool pool;
	unsigned count = 0;
	int fd;

	if (setuid(64998) < 0)
		return 77;
	pipe_pool_init(&pool, 1u << 20, 256, 256);
	while (count < 256 && (all[count] = pipe_get(&pool)))
		count++;
	if (count == 256)
		return 77;	/* there is no allowance here */
	for (unsigned i = 0; i < count; i++)
		if (all[i]->size < 65536)
			return 1;
	/* Not asked again: the lowest free descriptor stays what it is. */
	fd = dup(0);
	close(fd);
	if (!pool.is_starved || pipe_get(&pool) || fd != dup(0))
		return 2;
	pipe_put(&pool, all[--count]);
	all[count] = pipe_get(&pool);
	if (!all[count] || all[count]->size < 65536)
		return 3;
	/* With room again one is asked for again. */
	for (unsigned i = 0; i < 20 && count > 0; i++, count--) {
		all[count]->filled = 1;
		pipe_put(&pool, all[count]);
	}
	return pipe_get(&pool) ? 0 : 4;
}

static void pipe__is_not_had_when_it_would_be_tiny(void **state)
{
	pid_t child = fork();
	int status;

	if (child == 0)
		_exit(use_up_pipes());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void tunnel__passes_bytes_both_ways(void **state)
{
	assert_int_equal(write(f.outer_a, "ping", 4), 4);
	turn(2);
	expect(f.outer_b, "ping");
	assert_int_equal(write(f.outer_b, "pong!", 5), 5);
	turn(2);
	expect(f.outer_a, "pong!");
	assert_int_equal(f.tunnel.ways[0].bytes, 4);
	assert_int_equal(f.tunnel.ways[1].bytes, 5);
	/* Nothing is held while nothing is in flight. */
	assert_null(f.tunnel.ways[0].pipe);
	assert_null(f.tunnel.ways[0].rest);
}

static void tunnel__passes_what_came_early_first(void **state)
{
	assert_int_equal(tunnel_add_early(&f.tunnel, &f.a, SPAN("early ")), 0);
	assert_int_equal(write(f.outer_a, "late", 4), 4);
	turn(2);
	expect(f.outer_b, "early late");
}

/* Much more than the sockets hold, written and read in odd pieces: every byte in its place. */
static void tunnel__moves_much_and_holds_little(void **state)
{
	char piece[7919], got[10007];
	size_t sent = 0, received = 0;
	bool was_piped = false;

	for (unsigned i = 0; i < 100000 && received < BULK; i++) {
		size_t len = MIN(sizeof(piece), (size_t)BULK - sent);
		ssize_t n;

		for (size_t k = 0; k < len; k++)
			piece[k] = (char)((sent + k) * 31 >> 3);
		n = write(f.outer_a, piece, len);
		sent += n > 0 ? (size_t)n : 0;
		turn(1);
		was_piped |= f.tunnel.ways[0].pipe != NULL;
		if (i % 3)
			continue;
		n = read(f.outer_b, got, sizeof(got));
		for (ssize_t k = 0; k < n; k++)
			assert_int_equal(got[k], (char)((received + (size_t)k) * 31 >> 3));
		received += n > 0 ? (size_t)n : 0;
	}
	assert_int_equal(received, BULK);
	assert_true(was_piped);
	assert_null(f.tunnel.ways[0].pipe);
}

static void tunnel__passes_one_end_and_goes_on_with_the_other(void **state)
{
	char byte;

	assert_int_equal(write(f.outer_a, "last", 4), 4);
	shutdown(f.outer_a, SHUT_WR);
	turn(3);
	expect(f.outer_b, "last");
	assert_int_equal(read(f.outer_b, &byte, 1), 0);
	assert_int_equal(f.end_count, 0);
	assert_int_equal(write(f.outer_b, "answer", 6), 6);
	turn(3);
	expect(f.outer_a, "answer");
	shutdown(f.outer_b, SHUT_WR);
	turn(3);
	assert_int_equal(f.end_count, 1);
	assert_int_equal(f.how, TUNNEL_DONE);
}

static void tunnel__ends_when_nothing_comes(void **state)
{
	uint64_t end = f.loop.now_ms + 5000;

	while (f.end_count == 0 && f.loop.now_ms < end)
		loop_turn(&f.loop, 10);
	assert_int_equal(f.end_count, 1);
	assert_int_equal(f.how, TUNNEL_IDLE);
}

static void tunnel__breaks_with_either_side(void **state)
{
	/* Closed with bytes unread: the next write to it fails. */
	assert_int_equal(write(f.outer_a, "x", 1), 1);
	turn(2);
	close(f.outer_b);
	f.outer_b = -1;
	assert_int_equal(write(f.outer_a, "y", 1), 1);
	turn(3);
	assert_int_equal(f.end_count, 1);
	assert_int_equal(f.how, TUNNEL_FAILED);
}

/* A transport that cannot be spliced (TLS) moves the same bytes. */
static void tunnel__copies_where_it_cannot_splice(void **state)
{
	static char piece[65536];
	struct transport_ops plain = transport_plain;
	size_t sent = 0, received = 0;

	plain.splice_in = NULL;
	plain.splice_out = NULL;
	f.a.transport = &plain;
	for (unsigned i = 0; i < 100000 && received < BULK; i++) {
		ssize_t n = sent < BULK ? write(f.outer_a, piece, MIN(sizeof(piece), (size_t)BULK - sent)) : 0;

		sent += n > 0 ? (size_t)n : 0;
		turn(1);
		assert_null(f.tunnel.ways[0].pipe);
		n = read(f.outer_b, piece, sizeof(piece));
		received += n > 0 ? (size_t)n : 0;
	}
	assert_int_equal(received, BULK);
	f.a.transport = &transport_plain;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pipe__is_kept_empty_and_destroyed_full),
		TEST(pipe__has_a_limit),
		TEST(pipe__is_not_had_when_it_would_be_tiny),
		TEST(tunnel__passes_bytes_both_ways),
		TEST(tunnel__passes_what_came_early_first),
		TEST(tunnel__moves_much_and_holds_little),
		TEST(tunnel__passes_one_end_and_goes_on_with_the_other),
		TEST(tunnel__ends_when_nothing_comes),
		TEST(tunnel__breaks_with_either_side),
		TEST(tunnel__copies_where_it_cannot_splice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
