/* SPDX-License-Identifier: MIT */
/*
 * Who counts as stalled, and who is asked to serve its queue: real listening sockets, made-up
 * workers, and a clock that the test sets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "net/fd_pass.h"
#include "proc/rescue.h"
#include "proc/watch.h"

#define SLOTS	    4u
#define STALL_NS    (20 * NS_PER_MS)
#define LOOK_NS	    (STALL_NS / 4)
#define CLIENTS_MAX 64

struct host {
	struct loop loop;
	struct steer *steer;
	struct listener listener;
	struct stats_block stats[SLOTS];
	struct supervised workers[SLOTS];
	struct supervisor supervisor;
	int ends[SLOTS]; /* the workers' ends of their channels */
	struct watch watch;
	int clients[CLIENTS_MAX];
	unsigned client_count;
};

static struct host *open_host(uint64_t stall_ns, uint64_t kill_ns)
{
	const struct steer_options steer = {.slot_count = SLOTS,
					    .policy = STEER_LEAST,
					    .stall_ns = stall_ns,
					    .is_disabled = true};
	const struct sock_options sock = {0};
	struct host *h = calloc(1, sizeof(*h));
	union sock_addr addr;
	const char *step;

	assert_non_null(h);
	assert_int_equal(loop_init(&h->loop), 0);
	assert_int_equal(steer_open(&steer, &h->steer), 0);
	assert_int_equal(sock_addr_parse(span_str("127.0.0.1:0"), &addr), 0);
	assert_int_equal(listener_open(&h->listener, &addr, &sock, SLOTS, NULL, &step), 0);
	h->listener.has_proxy_header = true;
	h->supervisor.workers = h->workers;
	h->supervisor.count = SLOTS;
	for (unsigned i = 0; i < SLOTS; i++) {
		int pair[2];

		assert_int_equal(fd_pass_pair(pair), 0);
		h->workers[i].channel.fd = pair[0];
		h->workers[i].pid = (pid_t)(1000000000 + i); /* nobody's */
		h->ends[i] = pair[1];
		h->stats[i].state = WORKER_RUNNING;
		steer_slot_up(h->steer, i, i, 1);
		steer_slot(h->steer, i)->stamp_ns = h->loop.now_ns;
		steer_set_waiting(steer_slot(h->steer, i), true);
	}
	h->watch = (struct watch){.loop = &h->loop,
				  .steer = h->steer,
				  .stats = h->stats,
				  .listeners = &h->listener,
				  .listener_count = 1,
				  .supervisor = &h->supervisor,
				  .kill_ns = kill_ns};
	assert_int_equal(watch_open(&h->watch), 0);
	return h;
}

static void close_host(struct host *h)
{
	watch_close(&h->watch);
	watch_close(&h->watch);
	for (unsigned i = 0; i < h->client_count; i++)
		sock_close(h->clients[i]);
	for (unsigned i = 0; i < SLOTS; i++) {
		close(h->ends[i]);
		if (h->workers[i].channel.fd >= 0)
			close(h->workers[i].channel.fd);
	}
	listener_close(&h->listener, NULL);
	steer_close(h->steer);
	loop_fini(&h->loop);
	free(h);
}

static unsigned queue_of(struct host *h, unsigned slot)
{
	struct pollfd p = {.fd = h->listener.fds[slot], .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

/* The kernel's hash chooses the socket: connections until slot 1 has one; others are taken out
 * again. */
static void fill_queue(struct host *h, unsigned count)
{
	union sock_addr peer;

	while (count) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), other;

		assert_int_equal(connect(fd, &h->listener.addr.any, sizeof(h->listener.addr.v4)),
				 0);
		for (unsigned i = 0; i < SLOTS; i++) {
			if (i != 1 && (other = sock_accept(h->listener.fds[i], &peer)) >= 0) {
				sock_close(other);
				sock_reset(fd);
				fd = -1;
			}
		}
		if (fd >= 0) {
			assert_true(h->client_count < CLIENTS_MAX);
			h->clients[h->client_count++] = fd;
			count--;
		}
	}
	assert_true(queue_of(h, 1));
}

static void empty_queue(struct host *h)
{
	union sock_addr peer;
	int fd;

	while ((fd = sock_accept(h->listener.fds[1], &peer)) >= 0)
		sock_close(fd);
}

static void pass(struct host *h, uint64_t ns)
{
	h->loop.now_ns += ns;
	h->loop.now_ms = h->loop.now_ns / NS_PER_MS;
}

/* Healthy workers wake now and then; slot 1 is what the tests are about. */
static void others_move(struct host *h)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		if (i != 1)
			steer_stamp(steer_slot(h->steer, i), h->loop.now_ns);
	}
}

/* The first look comes with the connection, the others by the timer. */
static void first_look(struct host *h)
{
	h->watch.io.on_ready(&h->watch.io, EPOLLIN);
	assert_true(timer_is_active(&h->watch.tick));
}

static void look_with(struct host *h, void (*move)(struct host *h))
{
	pass(h, LOOK_NS);
	move(h);
	loop_timer_stop(&h->loop, &h->watch.tick);
	h->watch.tick.on_expire(&h->watch.tick);
}

static void look(struct host *h)
{
	look_with(h, others_move);
}

static void only_slot_0_moves(struct host *h)
{
	steer_stamp(steer_slot(h->steer, 0), h->loop.now_ns);
}

/* Orders that wait for a worker: their sum, and how many nudges. */
static unsigned orders_of(struct host *h, unsigned slot, unsigned *ret_nudges)
{
	unsigned sum = 0;

	*ret_nudges = 0;
	for (;;) {
		struct rescue_order m;
		int fd;
		ssize_t n = fd_pass_receive(h->ends[slot], &m, sizeof(m), &fd);

		if (n <= 0)
			return sum;
		if (m.type == CHANNEL_NUDGE) {
			++*ret_nudges;
			continue;
		}
		assert_int_equal(n, sizeof(m));
		assert_int_equal(m.type, CHANNEL_RESCUE);
		assert_int_equal(m.slot, 1);
		assert_true(m.has_proxy_header);
		assert_true(fd >= 0);
		close(fd);
		sum += m.count;
	}
}

static unsigned all_orders(struct host *h)
{
	unsigned sum = 0, nudges;

	for (unsigned i = 0; i < SLOTS; i++)
		sum += orders_of(h, i, &nudges);
	return sum;
}

static void watch__sees_who_sleeps_over_a_filled_queue(void **state)
{
	struct host *h = open_host(STALL_NS, 0);
	unsigned looks = 0, nudges;

	pass(h, 3600 * NS_PER_SEC); /* idle for an hour: no stamp is fresh, nobody is stalled */
	fill_queue(h, 7);
	first_look(h);
	while (!h->stats[1].stalls && looks < 10) {
		assert_int_equal(all_orders(h), 0);
		assert_int_equal(steer_slot(h->steer, 1)->is_waiting, 1);
		look(h);
		looks++;
	}
	assert_int_equal(looks, 3);
	assert_int_equal(h->stats[1].stalls, 1);
	assert_int_equal(steer_slot(h->steer, 1)->is_waiting, 0);
	assert_true(steer_is_stalled(h->steer, 1, h->loop.now_ns));
	assert_int_equal(orders_of(h, 1, &nudges), 0);
	assert_int_equal(nudges, 1);
	for (unsigned i = 0; i < SLOTS; i++) {
		if (i != 1) /* 7 among 3: nobody gets more than a third, rounded up */
			assert_int_equal(orders_of(h, i, &nudges), 3);
		assert_int_equal(h->stats[i].stalls, i == 1);
	}
	/* Asked again while anything waits, but nudged and counted once. */
	look(h);
	assert_int_equal(orders_of(h, 1, &nudges), 0);
	assert_int_equal(nudges, 0);
	assert_true(all_orders(h) > 0);
	empty_queue(h);
	look(h);
	assert_int_equal(all_orders(h), 0);
	assert_int_equal(h->stats[1].stalls, 1);
	close_host(h);
}

static void watch__trusts_who_moves(void **state)
{
	struct host *h = open_host(STALL_NS, 0);

	fill_queue(h, 2);
	first_look(h);
	for (unsigned i = 0; i < 20; i++) {
		/* A worker too slow for its queue, but at work. */
		if (i % 2)
			steer_stamp(steer_slot(h->steer, 1), h->loop.now_ns);
		look(h);
	}
	assert_int_equal(h->stats[1].stalls, 0);
	assert_int_equal(all_orders(h), 0);
	close_host(h);
}

static void watch__sleeps_when_nothing_comes(void **state)
{
	struct host *h = open_host(STALL_NS, 0);

	fill_queue(h, 1);
	first_look(h);
	empty_queue(h);
	h->stats[1].accepted++;
	look(h);
	assert_true(timer_is_active(&h->watch.tick)); /* something was accepted since */
	look(h);
	assert_false(timer_is_active(&h->watch.tick));
	/* What comes now is told by the loop again. */
	fill_queue(h, 1);
	h->loop.now_ns = 0; /* loop_turn reads the clock */
	assert_int_equal(loop_turn(&h->loop, 1000), 0);
	assert_true(timer_is_active(&h->watch.tick));
	close_host(h);
}

static void watch__counts_a_busy_worker_once(void **state)
{
	struct host *h = open_host(STALL_NS, 0);
	struct steer_slot *line = steer_slot(h->steer, 1);
	unsigned nudges;

	steer_set_waiting(line, false);
	first_look(h);
	for (unsigned i = 0; i < 4; i++)
		look(h);
	assert_int_equal(h->stats[1].stalls, 0); /* exactly `stall` old is not older */
	fill_queue(h, 1);
	first_look(h);
	look(h);
	assert_int_equal(h->stats[1].stalls, 1);
	assert_int_equal(orders_of(h, 1, &nudges), 0);
	assert_int_equal(nudges, 0); /* it is awake */
	assert_true(all_orders(h) > 0);
	steer_stamp(line, h->loop.now_ns);
	look(h);
	assert_int_equal(all_orders(h), 0);
	/* A look that is late itself forgives; the next one does not. */
	pass(h, STALL_NS);
	look(h);
	assert_int_equal(h->stats[1].stalls, 1);
	look(h);
	assert_int_equal(h->stats[1].stalls, 2);
	close_host(h);
}

static void watch__serves_the_queue_of_a_slot_without_worker(void **state)
{
	struct host *h = open_host(STALL_NS, 0);

	h->stats[1].state = WORKER_DOWN;
	close(h->workers[1].channel.fd);
	h->workers[1].channel.fd = -1;
	fill_queue(h, 5);
	first_look(h);
	assert_in_range(all_orders(h), 5, 6);
	assert_int_equal(h->stats[1].stalls, 0);
	close_host(h);
}

static void watch__asks_only_who_can(void **state)
{
	static const struct {
		const char *name;
		bool is_stalled[SLOTS], is_drained[SLOTS], is_down[SLOTS];
		unsigned orders[SLOTS];
	} rows[] = {
		{"one is drained", .is_drained = {true}, .orders = {0, 0, 3, 3}},
		{"one is stalled too", .is_stalled = {[2] = true}, .orders = {3, 0, 0, 3}},
		{"one is down", .is_down = {[3] = true}, .orders = {3, 0, 3, 0}},
		{"only a drained one moves", .is_drained = {true}, .is_stalled = {[2] = true},
		 .is_down = {[3] = true}, .orders = {6, 0, 0, 0}},
		{"most stand still", .is_stalled = {[2] = true, [3] = true}, .orders = {0}},
		{"nobody moves", .is_stalled = {true, false, true, true}, .orders = {0}},
	};

	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		struct host *h = open_host(STALL_NS, 0);
		unsigned nudges;

		fill_queue(h, 6);
		pass(h, 2 * STALL_NS);
		others_move(h);
		for (unsigned i = 0; i < SLOTS; i++) {
			struct steer_slot *line = steer_slot(h->steer, i);

			if (rows[r].is_drained[i])
				assert_int_equal(steer_set_weight(h->steer, i, 0), 0);
			if (rows[r].is_down[i])
				h->stats[i].state = WORKER_DOWN;
			if (rows[r].is_stalled[i] || i == 1) {
				line->stamp_ns = 1;
				steer_set_waiting(line, false);
			}
		}
		first_look(h);
		for (unsigned i = 0; i < SLOTS; i++) {
			unsigned sum = orders_of(h, i, &nudges);

			if (sum != rows[r].orders[i])
				fail_msg("%s: slot %u got %u", rows[r].name, i, sum);
		}
		close_host(h);
	}
}

/* Most stand still, but for too long to be a pause of the host: the one that moves serves after all. */
static void watch__loses_patience_with_a_majority(void **state)
{
	struct host *h = open_host(STALL_NS, 0);
	unsigned nudges, looks = 0;

	fill_queue(h, 6);
	for (unsigned i = 1; i < SLOTS; i++)
		steer_set_waiting(steer_slot(h->steer, i), false);
	first_look(h);
	while (orders_of(h, 0, &nudges) == 0) {
		assert_true(++looks < 100);
		look_with(h, only_slot_0_moves);
	}
	assert_in_range(looks, 40, 50); /* 4 looks in each of 10 stalls */
	close_host(h);
}

static void watch__kills_when_told_to(void **state)
{
	static const struct {
		uint64_t kill_ns;
		bool is_killed;
	} rows[] = {{0, false}, {2 * NS_PER_SEC, true}, {5 * NS_PER_SEC, false}};

	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		struct host *h = open_host(STALL_NS, rows[r].kill_ns);
		pid_t pid = fork();
		int status = 0;

		if (pid == 0) {
			for (;;)
				pause();
		}
		h->workers[1].pid = pid;
		steer_set_waiting(steer_slot(h->steer, 1), false);
		for (unsigned i = 0; i < 4; i++) {
			pass(h, NS_PER_SEC);
			others_move(h);
			assert_int_equal(h->stats[1].stall_kills, 0);
			watch_review(&h->watch);
			if (h->stats[1].stall_kills)
				break;
		}
		/* Not reaped yet: not killed again. */
		watch_review(&h->watch);
		assert_int_equal(h->stats[1].stalls, 1);
		assert_int_equal(h->stats[1].stall_kills, rows[r].is_killed);
		if (!rows[r].is_killed)
			kill(pid, SIGTERM);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(WTERMSIG(status), rows[r].is_killed ? SIGKILL : SIGTERM);
		close_host(h);
	}
}

static void watch__off_means_off(void **state)
{
	struct host *h = open_host(0, NS_PER_SEC);

	steer_set_waiting(steer_slot(h->steer, 1), false);
	fill_queue(h, 3);
	first_look(h);
	assert_true(h->watch.tick.expires_ms >= h->loop.now_ms + 1000); /* and wakes nobody */
	for (unsigned i = 0; i < 10; i++) {
		pass(h, NS_PER_SEC);
		look(h);
		watch_review(&h->watch);
	}
	assert_int_equal(h->stats[1].stalls, 0);
	assert_int_equal(h->stats[1].stall_kills, 0);
	assert_int_equal(all_orders(h), 0);
	close_host(h);
}

static void watch__says_whether_anybody_moves(void **state)
{
	struct host *h = open_host(STALL_NS, 0);

	assert_true(watch_is_moving(&h->watch, STALL_NS));
	/* Nobody sleeps any more, and the stamps grow old. */
	for (unsigned i = 0; i < SLOTS; i++)
		steer_set_waiting(steer_slot(h->steer, i), false);
	assert_true(watch_is_moving(&h->watch, STALL_NS));
	h->loop.now_ns += STALL_NS + 1;
	assert_false(watch_is_moving(&h->watch, STALL_NS));
	/* One with nothing to do, or with a fresh stamp, is enough. */
	steer_set_waiting(steer_slot(h->steer, 2), true);
	assert_true(watch_is_moving(&h->watch, STALL_NS));
	steer_set_waiting(steer_slot(h->steer, 2), false);
	steer_stamp(steer_slot(h->steer, 3), h->loop.now_ns);
	assert_true(watch_is_moving(&h->watch, STALL_NS));
	/* But it has to be there. */
	h->stats[3].state = WORKER_DOWN;
	assert_false(watch_is_moving(&h->watch, STALL_NS));
	close_host(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(watch__sees_who_sleeps_over_a_filled_queue),
		cmocka_unit_test(watch__trusts_who_moves),
		cmocka_unit_test(watch__sleeps_when_nothing_comes),
		cmocka_unit_test(watch__counts_a_busy_worker_once),
		cmocka_unit_test(watch__serves_the_queue_of_a_slot_without_worker),
		cmocka_unit_test(watch__asks_only_who_can),
		cmocka_unit_test(watch__loses_patience_with_a_majority),
		cmocka_unit_test(watch__kills_when_told_to),
		cmocka_unit_test(watch__off_means_off),
		cmocka_unit_test(watch__says_whether_anybody_moves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
