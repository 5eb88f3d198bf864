/* SPDX-License-Identifier: MIT */
/*
 * One process of a load generator: when requests are made, and what is counted of them.
 *
 * Open loop: a timerfd fires when the next request is due, for the timing wheel counts in milliseconds.  A request takes an
 * idle connection, else a new one, else it waits for one; its time counts from when it was due all the same.  Closed
 * loop: due is when the one before has its answer.
 */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/random.h"
#include "load/load_impl.h"

#define WAITING_FIRST 1024u
#define WAITING_MAX   (16u << 20)
#define CONNS_KEPT    64
/* Closed loop: connections under way at a time while the first ones are made, so that no accept queue overflows. */
#define CONNECTING_MAX 512
/* Until connecting is tried again after a refusal. */
#define REFILL_MS 10

static volatile sig_atomic_t is_told_to_stop;

static void on_signal(int sig)
{
	is_told_to_stop = 1;
}

/* What is counted ------------------------------------------------------------------------------------------------ */

bool load_counts(const struct load_worker *w, uint64_t due_ns)
{
	return due_ns >= w->measure_ns && due_ns < w->end_ns;
}

void load_on_answer(struct load_worker *w, const struct load_kind *kind, uint64_t due_ns, unsigned status)
{
	struct load_share *s = w->share;
	unsigned at = (unsigned)(kind - w->options->kinds);
	uint64_t took_ns = clock_ns() - due_ns;

	s->all_answered++;
	if (!load_counts(w, due_ns))
		return;
	s->answered++;
	s->statuses[status / 100]++;
	s->kind_answered[at]++;
	hist_add(&s->latency_ns, took_ns);
	hist_add(&s->kind_ns[at], took_ns);
}

void load_on_fault(struct load_worker *w, enum load_fault fault, uint64_t due_ns, unsigned count)
{
	if (load_counts(w, due_ns))
		w->share->faults[fault] += count;
}

/* Requests that are due and have no connection ------------------------------------------------------------------- */

static bool grow_waiting(struct load_worker *w)
{
	unsigned cap = w->waiting_cap ? w->waiting_cap * 2 : WAITING_FIRST;
	uint64_t *grown = cap <= WAITING_MAX ? malloc(cap * sizeof(*grown)) : NULL;

	if (!grown)
		return false;
	for (unsigned i = 0; i < w->waiting_count; i++)
		grown[i] = w->waiting[(w->waiting_start + i) % w->waiting_cap];
	free(w->waiting);
	w->waiting = grown;
	w->waiting_cap = cap;
	w->waiting_start = 0;
	return true;
}

static void wait_for_conn(struct load_worker *w, uint64_t due_ns)
{
	if (w->waiting_count == w->waiting_cap && !grow_waiting(w)) {
		load_on_fault(w, LOAD_UNSENT, due_ns, 1);
		return;
	}
	w->waiting[(w->waiting_start + w->waiting_count++) % w->waiting_cap] = due_ns;
}

static bool take_waiting(struct load_worker *w, uint64_t *ret_due_ns)
{
	if (w->waiting_count == 0)
		return false;
	*ret_due_ns = w->waiting[w->waiting_start];
	w->waiting_start = (w->waiting_start + 1) % w->waiting_cap;
	w->waiting_count--;
	return true;
}

/* Making requests ------------------------------------------------------------------------------------------------ */

static bool is_open_loop(const struct load_worker *w)
{
	return w->options->rate > 0;
}

static void begin(struct load_worker *w, uint64_t due_ns)
{
	if (!list_is_empty(&w->idle))
		load_conn_ask(container_of(w->idle.next, struct load_conn, node), due_ns);
	else if (w->conn_count < w->conn_max)
		load_conn_open(w, due_ns);
	else
		wait_for_conn(w, due_ns);
}

/* HOLD and BURST: each connection is made once. */
static bool has_all(const struct load_worker *w)
{
	return (w->options->mode == LOAD_HOLD || w->options->mode == LOAD_BURST) && w->connected_count >= w->conn_max;
}

/* The timer of the end comes in whole milliseconds; nothing is asked that would not count. */
static bool is_ending(struct load_worker *w)
{
	w->is_over = w->is_over || clock_ns() >= w->end_ns;
	return w->is_over;
}

/* Closed loop: as many connections as were wanted. */
static void open_more(struct load_worker *w)
{
	unsigned most = w->options->mode == LOAD_BURST ? w->conn_max : CONNECTING_MAX;

	while (!is_ending(w) && !is_open_loop(w) && w->conn_count < w->conn_max && w->in_flight < most && !has_all(w)) {
		if (!load_conn_open(w, clock_ns())) {
			load_on_gone(w, true);
			return;
		}
	}
}

/* What was due before the end and still waits is sent behind it: leaving out the slowest would flatter the server. */
static void end_if_done(struct load_worker *w)
{
	bool has_ended = w->is_over || (w->options->mode == LOAD_BURST && has_all(w));

	if (has_ended && w->in_flight == 0 && w->waiting_count == 0)
		loop_stop(&w->loop);
}

void load_on_free(struct load_worker *w, struct load_conn *c)
{
	uint64_t due_ns;

	if (c->state == LOAD_HELD) {
		open_more(w);
	} else if (!is_open_loop(w) && !is_ending(w)) {
		load_conn_ask(c, clock_ns());
		open_more(w);
	} else {
		list_push_front(&w->idle, &c->node);
		if (take_waiting(w, &due_ns))
			load_conn_ask(c, due_ns);
	}
	end_if_done(w);
}

static void fill_up(struct load_worker *w)
{
	uint64_t due_ns;

	while (w->conn_count < w->conn_max && take_waiting(w, &due_ns))
		load_conn_open(w, due_ns);
	open_more(w);
	end_if_done(w);
}

static void on_refill(struct job *j)
{
	fill_up(container_of(j, struct load_worker, refill));
}

static void on_refill_timer(struct timer *t)
{
	fill_up(container_of(t, struct load_worker, refill_timer));
}

/* A server that refuses everybody must not keep this loop from ever sleeping. */
void load_on_gone(struct load_worker *w, bool is_refused)
{
	if (!is_refused || w->is_over)
		loop_again(&w->loop, &w->refill);
	else if (!timer_is_active(&w->refill_timer))
		loop_timer_start(&w->loop, &w->refill_timer, REFILL_MS);
}

/* Pace ----------------------------------------------------------------------------------------------------------- */

static double next_distance(const struct load_worker *w)
{
	double u = ((double)(random_u64() >> 11) + 0.5) / 9007199254740992.0;

	return w->options->is_even ? w->distance_ns : -log(u) * w->distance_ns;
}

static void arm_pace(struct load_worker *w)
{
	uint64_t at = (uint64_t)w->next_due_ns;
	struct itimerspec when = { .it_value = { (time_t)(at / NS_PER_SEC), (long)(at % NS_PER_SEC) } };

	/* The time was checked by the caller; a timer that cannot be set would be a bug. */
	BUG_ON(timerfd_settime(w->pace.fd, TFD_TIMER_ABSTIME, &when, NULL) < 0);
}

static void on_pace(struct io *io, uint32_t events)
{
	struct load_worker *w = container_of(io, struct load_worker, pace);
	double until_ns = fmin((double)clock_ns(), (double)w->end_ns - 1);
	uint64_t count;

	if (read(io->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	while (!w->is_over && !has_all(w) && w->next_due_ns <= until_ns) {
		begin(w, (uint64_t)w->next_due_ns);
		w->next_due_ns += next_distance(w);
	}
	if (!w->is_over && !has_all(w) && w->next_due_ns < (double)w->end_ns)
		arm_pace(w);
}

static int open_pace(struct load_worker *w)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	io_init(&w->pace, fd, on_pace);
	w->next_due_ns = (double)w->start_ns;
	if (is_open_loop(w)) {
		w->distance_ns = 1e9 * w->options->processes / w->options->rate;
		w->next_due_ns += w->options->is_even ? w->distance_ns * w->slice / w->options->processes :
							next_distance(w);
	}
	return loop_add(&w->loop, &w->pace, EPOLLIN, true);
}

/* Closed loop: the timer is for the beginning only. */
static void on_start(struct io *io, uint32_t events)
{
	struct load_worker *w = container_of(io, struct load_worker, pace);

	loop_remove(&w->loop, io);
	open_more(w);
	end_if_done(w);
}

/* Life ----------------------------------------------------------------------------------------------------------- */

/* What has waited for a connection until now is given up. */
static void on_late_end(struct timer *t)
{
	struct load_worker *w = container_of(t, struct load_worker, end);
	uint64_t due_ns;

	while (take_waiting(w, &due_ns))
		load_on_fault(w, LOAD_UNSENT, due_ns, 1);
	end_if_done(w);
}

static void stop_asking(struct load_worker *w)
{
	w->is_over = true;
	timer_init(&w->end, on_late_end);
	loop_timer_start(&w->loop, &w->end, w->options->timeout_ns / NS_PER_MS);
	end_if_done(w);
}

static void on_end(struct timer *t)
{
	stop_asking(container_of(t, struct load_worker, end));
}

/* Signals end the wait of epoll; what was asked is still waited for. */
static void on_turn(struct loop *l, int event_count)
{
	struct load_worker *w = l->owner;

	if (is_told_to_stop && event_count < 0 && clock_ns() < w->end_ns) {
		w->end_ns = clock_ns();
		w->share->measured_ns = w->end_ns > w->measure_ns ? w->end_ns - w->measure_ns : 0;
		loop_timer_stop(&w->loop, &w->end);
		stop_asking(w);
	}
}

static unsigned share_of(unsigned total, unsigned slice, unsigned slices)
{
	return total / slices + (slice < total % slices);
}

static int open_worker(struct load_worker *w)
{
	const struct load_options *o = w->options;
	uint64_t wait_ms = (w->end_ns - clock_ns()) / NS_PER_MS + 1;
	int err = loop_init(&w->loop);

	if (err)
		return err;
	w->loop.owner = w;
	w->loop.on_turn = on_turn;
	w->limits = (struct parse_limits){ 8192, LOAD_READ_SIZE, RESPONSE_FIELDS_MAX, UINT64_MAX };
	w->conn_max = share_of(o->connections, w->slice, o->processes);
	list_init(&w->idle);
	pool_init(&w->conns, sizeof(struct load_conn), CONNS_KEPT, 0);
	pool_init(&w->answers, sizeof(struct load_answer), CONNS_KEPT, 0);
	job_init(&w->refill, on_refill);
	timer_init(&w->refill_timer, on_refill_timer);
	timer_init(&w->end, on_end);
	loop_timer_start(&w->loop, &w->end, wait_ms);
	err = open_pace(w);
	if (err)
		return err;
	if (!is_open_loop(w))
		w->pace.on_ready = on_start;
	arm_pace(w);
	return 0;
}

int load_worker_run(const struct load_options *o, unsigned slice, uint64_t start_ns, struct load_share *share)
{
	static struct load_worker worker;	/* of this process, to its end */
	struct sigaction stop = { .sa_handler = on_signal };
	int err;

	worker = (struct load_worker){
		.options = o,
		.share = share,
		.slice = slice,
		.start_ns = start_ns,
		.measure_ns = start_ns + o->warmup_ns,
		.end_ns = start_ns + o->warmup_ns + o->duration_ns,
	};
	share->measured_ns = o->duration_ns;
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	err = open_worker(&worker);
	return err ? err : loop_run(&worker.loop);
}
