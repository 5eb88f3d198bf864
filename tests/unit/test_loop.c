/* SPDX-License-Identifier: MIT */
/* The event loop: generations, jobs, timers, edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "net/loop.h"

static unsigned interrupts;	/* of the next calls of epoll_wait */

int __real_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout);
int __wrap_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout);

int __wrap_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout)
{
	if (interrupts == 0)
		return __real_epoll_wait(epfd, events, max, timeout);
	interrupts--;
	errno = EINTR;
	return -1;
}

struct peer {
	struct io io;
	struct loop *loop;
	unsigned calls;
	uint32_t events;
	struct peer *victim;	/* closed and replaced by another descriptor of the same number when called */
	struct job job;
	struct timer timer;
	unsigned job_runs, timer_runs;
};

static void on_ready(struct io *io, uint32_t events)
{
	struct peer *p = container_of(io, struct peer, io);

	p->calls++;
	p->events = events;
	if (p->victim) {
		int fd = p->victim->io.fd;

		loop_remove(p->loop, &p->victim->io);
		close(fd);
		/* The number is free again: the next descriptor gets it. */
		p->victim->io.fd = dup(p->io.fd);
		assert_int_equal(p->victim->io.fd, fd);
		assert_int_equal(loop_add(p->loop, &p->victim->io, EPOLLOUT, false), 0);
		p->victim = NULL;
	}
}

static void on_job(struct job *j)
{
	struct peer *p = container_of(j, struct peer, job);

	p->job_runs++;
	if (p->job_runs < 3)
		loop_again(p->loop, &p->job);
}

static void on_timer(struct timer *t)
{
	container_of(t, struct peer, timer)->timer_runs++;
}

static void peer_init(struct peer *p, struct loop *l, int fd)
{
	*p = (struct peer){ .loop = l };
	io_init(&p->io, fd, on_ready);
	job_init(&p->job, on_job);
	timer_init(&p->timer, on_timer);
}

/* A loop and one end of a pair in it; something can be read there. */
static void pair_open(struct loop *l, struct peer *p, int fds[2], bool is_level)
{
	assert_int_equal(loop_init(l), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	peer_init(p, l, fds[0]);
	assert_int_equal(loop_add(l, &p->io, EPOLLIN, is_level), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
}

static void pair_close(struct loop *l, const int fds[2])
{
	close(fds[0]);
	close(fds[1]);
	loop_fini(l);
}

static void loop__reports_an_edge_once(void **state)
{
	struct loop l;
	struct peer p;
	int fds[2];

	pair_open(&l, &p, fds, false);
	assert_int_equal(loop_turn(&l, 0), 0);
	assert_int_equal(loop_turn(&l, 0), 0);
	assert_int_equal(p.calls, 1);
	assert_true(p.events & EPOLLIN);
	loop_remove(&l, &p.io);
	loop_remove(&l, &p.io);
	assert_int_equal(write(fds[1], "x", 1), 1);
	loop_turn(&l, 0);
	assert_int_equal(p.calls, 1);
	pair_close(&l, fds);
}

/* Whoever relies on having seen all that was ready must know when a turn has not. */
static void loop__knows_when_it_has_not_seen_all(void **state)
{
	struct loop l;
	struct peer p;
	int fds[2];

	pair_open(&l, &p, fds, true);
	loop_turn(&l, 0);
	assert_false(l.is_batch_full);
	l.max_events = 1;
	loop_turn(&l, 0);
	assert_true(l.is_batch_full);
	l.max_events = 2;
	interrupts = 1;
	loop_turn(&l, 0);
	assert_true(l.is_batch_full);
	loop_turn(&l, 0);
	assert_false(l.is_batch_full);
	assert_int_equal(p.calls, 3);
	loop_remove(&l, &p.io);
	pair_close(&l, fds);
}

/* Two ready descriptors; whoever is called first replaces the other one: its old event must not reach the new owner. */
static void loop__drops_events_of_a_reused_descriptor(void **state)
{
	struct loop l;
	struct peer a, b;
	int first[2], second[2];

	assert_int_equal(loop_init(&l), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, first), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, second), 0);
	peer_init(&a, &l, first[0]);
	peer_init(&b, &l, second[0]);
	a.victim = &b;
	b.victim = &a;
	assert_int_equal(loop_add(&l, &a.io, EPOLLIN, false), 0);
	assert_int_equal(loop_add(&l, &b.io, EPOLLIN, false), 0);
	assert_int_equal(write(first[1], "x", 1), 1);
	assert_int_equal(write(second[1], "x", 1), 1);
	loop_turn(&l, 0);
	assert_int_equal(a.calls + b.calls, 1);
	assert_int_equal(l.stale_count, 1);
	loop_remove(&l, &a.io);
	loop_remove(&l, &b.io);
	close(a.io.fd);
	close(b.io.fd);
	close(first[1]);
	close(second[1]);
	loop_fini(&l);
}

static void loop__runs_a_job_once_a_turn(void **state)
{
	struct loop l;
	struct peer p;

	assert_int_equal(loop_init(&l), 0);
	peer_init(&p, &l, -1);
	loop_again(&l, &p.job);
	loop_again(&l, &p.job);
	for (unsigned turn = 1; turn <= 3; turn++) {
		/* A queued job must keep the loop from sleeping: no timeout here. */
		loop_turn(&l, -1);
		assert_int_equal(p.job_runs, turn);
	}
	loop_turn(&l, 0);
	assert_int_equal(p.job_runs, 3);
	loop_again(&l, &p.job);
	job_cancel(&p.job);
	loop_turn(&l, 0);
	assert_int_equal(p.job_runs, 3);
	loop_fini(&l);
}

static void loop__fires_timers_after_their_time(void **state)
{
	struct loop l;
	struct peer p;
	uint64_t start;

	assert_int_equal(loop_init(&l), 0);
	peer_init(&p, &l, -1);
	start = clock_ns();
	loop_timer_start(&l, &p.timer, 5);
	for (unsigned turns = 0; turns < 10 && p.timer_runs == 0; turns++)
		loop_turn(&l, -1);
	assert_int_equal(p.timer_runs, 1);
	/* The loop's cached time may be a millisecond behind when the timer is armed. */
	assert_true(clock_ns() - start >= 4 * NS_PER_MS);
	loop_fini(&l);
}

/* A worker was stopped for seconds with half a head read; the rest of it was there long before it went on. */
static void loop__looks_before_timers_strike_when_it_was_stopped(void **state)
{
	struct loop l;
	struct peer p;
	int fds[2];

	assert_int_equal(loop_init(&l), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	peer_init(&p, &l, fds[0]);
	assert_int_equal(loop_add(&l, &p.io, EPOLLIN, false), 0);
	loop_timer_start(&l, &p.timer, 1);
	assert_int_equal(write(fds[1], "x", 1), 1);
	usleep(5000);
	interrupts = 1;
	assert_int_equal(loop_turn(&l, -1), 0);
	assert_int_equal(interrupts, 0);
	assert_int_equal(p.calls, 0);
	assert_int_equal(p.timer_runs, 0);
	assert_int_equal(loop_turn(&l, -1), 0);
	assert_int_equal(p.calls, 1);
	assert_int_equal(p.timer_runs, 1);
	loop_remove(&l, &p.io);
	pair_close(&l, fds);
}

static void loop__frees_at_the_end_of_the_turn(void **state)
{
	struct loop l;
	struct peer p;

	assert_int_equal(loop_init(&l), 0);
	peer_init(&p, &l, -1);
	p.job_runs = 2;
	loop_again(&l, &p.job);
	loop_free_later(&l, &p.job);
	assert_true(list_is_empty(&l.again));
	loop_turn(&l, 0);
	assert_int_equal(p.job_runs, 3);
	assert_true(list_is_empty(&l.finals));
	loop_fini(&l);
}

static void loop__reports_what_epoll_refuses(void **state)
{
	struct loop l;
	struct peer p;

	assert_int_equal(loop_init(&l), 0);
	peer_init(&p, &l, 999);
	assert_int_equal(loop_add(&l, &p.io, EPOLLIN, false), -EBADF);
	loop_remove(&l, &p.io);
	loop_fini(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loop__reports_an_edge_once),
		cmocka_unit_test(loop__knows_when_it_has_not_seen_all),
		cmocka_unit_test(loop__drops_events_of_a_reused_descriptor),
		cmocka_unit_test(loop__runs_a_job_once_a_turn),
		cmocka_unit_test(loop__fires_timers_after_their_time),
		cmocka_unit_test(loop__looks_before_timers_strike_when_it_was_stopped),
		cmocka_unit_test(loop__frees_at_the_end_of_the_turn),
		cmocka_unit_test(loop__reports_what_epoll_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
