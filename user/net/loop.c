/* SPDX-License-Identifier: MIT */
/*
 * Edge-triggered epoll loop: see loop.h for the order of one iteration and its invariants.
 *
 * Why a generation: a handler may close descriptor 7 and accept a new connection that gets number 7 again while later
 * events of the same batch still speak of the old one.  The table of entries says which generation of a descriptor is
 * the live one; events of another are counted and dropped.
 */
#include "net/loop.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

struct loop_entry {
	struct io *io;
	uint32_t generation;
};

#define LOOP_MAX_EVENTS	 512
#define LOOP_MIN_ENTRIES 64

static void update_time(struct loop *l)
{
	l->now_ns = clock_ns();
	l->now_ms = l->now_ns / NS_PER_MS;
}

int loop_init(struct loop *l)
{
	memset(l, 0, sizeof(*l));
	list_init(&l->again);
	list_init(&l->finals);
	l->max_events = LOOP_MAX_EVENTS;
	l->events = calloc(l->max_events, sizeof(*l->events));
	if (!l->events)
		return -ENOMEM;
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0) {
		int err = -errno;

		free(l->events);
		l->events = NULL;
		return err;
	}
	update_time(l);
	wheel_init(&l->wheel, l->now_ms);
	return 0;
}

static void run_jobs(struct list *jobs)
{
	struct list *node;

	while ((node = list_pop_front(jobs))) {
		struct job *j = container_of(node, struct job, node);

		j->run(j);
	}
}

void loop_fini(struct loop *l)
{
	run_jobs(&l->finals);
	if (l->epfd > 0)
		close(l->epfd);
	free(l->entries);
	free(l->events);
	memset(l, 0, sizeof(*l));
	l->epfd = -1;
}

/* Descriptors are small numbers handed out lowest first, so a plain array is dense. */
static int reserve_entry(struct loop *l, int fd)
{
	unsigned count = MAX(l->entry_count, LOOP_MIN_ENTRIES);
	struct loop_entry *entries;

	if ((unsigned)fd < l->entry_count)
		return 0;
	while (count <= (unsigned)fd)
		count *= 2;
	entries = realloc(l->entries, count * sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	memset(entries + l->entry_count, 0, (count - l->entry_count) * sizeof(*entries));
	l->entries = entries;
	l->entry_count = count;
	return 0;
}

static int control(struct loop *l, int op, struct io *io, uint32_t events, bool is_level)
{
	struct epoll_event ev = {
		.events = events | (is_level ? 0 : EPOLLET),
		.data.u64 = (uint64_t)io->generation << 32 | (uint32_t)io->fd,
	};

	return epoll_ctl(l->epfd, op, io->fd, &ev) < 0 ? -errno : 0;
}

int loop_add(struct loop *l, struct io *io, uint32_t events, bool is_level)
{
	int err = reserve_entry(l, io->fd);

	if (err)
		return err;
	/* Zero means "not watched", so it is skipped when the counter wraps. */
	if (++l->last_generation == 0)
		l->last_generation = 1;
	io->generation = l->last_generation;
	err = control(l, EPOLL_CTL_ADD, io, events, is_level);
	if (err) {
		io->generation = 0;
		return err;
	}
	l->entries[io->fd] = (struct loop_entry){ io, io->generation };
	return 0;
}

int loop_modify(struct loop *l, struct io *io, uint32_t events, bool is_level)
{
	return control(l, EPOLL_CTL_MOD, io, events, is_level);
}

void loop_forget(struct loop *l, struct io *io)
{
	if (io->generation == 0)
		return;
	if (l->entries[io->fd].io == io)
		l->entries[io->fd] = (struct loop_entry){ NULL, 0 };
	io->generation = 0;
}

void loop_remove(struct loop *l, struct io *io)
{
	if (io->generation == 0)
		return;
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, io->fd, NULL);
	loop_forget(l, io);
}

void loop_again(struct loop *l, struct job *j)
{
	if (list_is_empty(&j->node))
		list_push_back(&l->again, &j->node);
}

void loop_free_later(struct loop *l, struct job *j)
{
	list_remove(&j->node);
	list_push_back(&l->finals, &j->node);
}

void loop_timer_start(struct loop *l, struct timer *t, uint64_t after_ms)
{
	wheel_start(&l->wheel, t, l->now_ms + after_ms);
}

void loop_timer_stop(struct loop *l, struct timer *t)
{
	wheel_stop(&l->wheel, t);
}

static int wait_ms(const struct loop *l, int max_wait_ms)
{
	uint64_t next = wheel_next(&l->wheel);
	uint64_t wait;

	if (!list_is_empty(&l->again))
		return 0;
	if (next == UINT64_MAX)
		return max_wait_ms;
	wait = next > l->now_ms ? next - l->now_ms : 0;
	/* An hour bounds the sleep: a far timer costs one needless wake-up an hour, and no integer overflows. */
	wait = MIN(wait, 3600000u);
	return max_wait_ms < 0 ? (int)wait : MIN((int)wait, max_wait_ms);
}

static void dispatch(struct loop *l, const struct epoll_event *ev)
{
	unsigned fd = (unsigned)(ev->data.u64 & UINT32_MAX);
	uint32_t generation = (uint32_t)(ev->data.u64 >> 32);
	struct io *io = fd < l->entry_count ? l->entries[fd].io : NULL;

	if (!io || l->entries[fd].generation != generation) {
		l->stale_count++;
		return;
	}
	io->on_ready(io, ev->events);
}

int loop_turn(struct loop *l, int max_wait_ms)
{
	struct list due;
	bool is_interrupted;
	int count;
	int err = 0;

	/* Jobs queued by this turn's events belong to the next one: a chain of jobs cannot starve the sockets. */
	int timeout = wait_ms(l, max_wait_ms);

	list_init(&due);
	list_splice_back(&due, &l->again);
	if (l->on_turn)
		l->on_turn(l, -1);
	count = epoll_wait(l->epfd, l->events, (int)l->max_events, timeout);
	is_interrupted = count < 0 && errno == EINTR;
	if (count < 0) {
		err = is_interrupted ? 0 : -errno;
		count = 0;
	}
	update_time(l);
	/* One that a signal cut short has none of those that are ready. */
	l->is_batch_full = is_interrupted || (unsigned)count == l->max_events;
	l->turn_count++;
	l->event_count += (uint64_t)count;
	if (l->on_turn)
		l->on_turn(l, count);
	l->is_walking = true;
	for (int i = 0; i < count; i++)
		dispatch(l, &l->events[i]);
	/*
	 * A process that was stopped and goes on is interrupted first.  What came for it in that time
	 * came in time: it is seen before any timer, in the next turn, which does not sleep.
	 */
	if (!is_interrupted)
		wheel_advance(&l->wheel, l->now_ms);
	run_jobs(&due);
	l->is_walking = false;
	run_jobs(&l->finals);
	return err;
}

int loop_run(struct loop *l)
{
	int err = 0;

	while (!l->is_stopping && !err)
		err = loop_turn(l, -1);
	return err;
}

void loop_stop(struct loop *l)
{
	l->is_stopping = true;
}
