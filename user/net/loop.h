/* SPDX-License-Identifier: MIT */
/*
 * Edge-triggered epoll loop of one process, with a timing wheel and jobs.
 *
 * One iteration: compute the timeout from the wheel, epoll_wait, walk the batch, fire timers, run the jobs queued so far,
 * then the jobs of the end (frees).  Invariants:
 *  - epoll data carries descriptor and generation: an event of a descriptor that was removed (and perhaps opened anew)
 *    since the batch was fetched is counted in stale_count and dropped.
 *  - nothing is freed while the batch is walked: memory goes through loop_free_later().
 *  - who stops before EAGAIN (a spent budget) must queue a job with loop_again(), or the edge is lost.
 */
#ifndef SLUICE_NET_LOOP_H
#define SLUICE_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/wheel.h"

struct io {
	int fd;
	uint32_t generation;
	/* `events`: EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLERR, EPOLLHUP. */
	void (*on_ready)(struct io *io, uint32_t events);
};

struct job {
	struct list node;
	void (*run)(struct job *j);
};

struct loop_entry;

struct loop {
	int epfd;
	bool is_stopping;
	bool is_walking;		/* a batch of events is being walked */
	bool is_batch_full;		/* the last one: more descriptors may be ready */
	uint64_t now_ns;		/* CLOCK_MONOTONIC, read once after each epoll_wait */
	uint64_t now_ms;
	struct wheel wheel;
	struct list again;		/* jobs of the next iteration */
	struct list finals;		/* jobs of the end of this iteration: frees */
	struct loop_entry *entries;	/* by descriptor */
	unsigned entry_count;
	uint32_t last_generation;
	unsigned max_events;
	struct epoll_event *events;
	/* Called with the number of events after each epoll_wait and before it (count < 0). NULL is allowed. */
	void (*on_turn)(struct loop *l, int event_count);
	void *owner;
	uint64_t turn_count, event_count, stale_count;
};

int loop_init(struct loop *l);
/* Every io must be gone; pending final jobs are run. */
void loop_fini(struct loop *l);

static inline void io_init(struct io *io, int fd, void (*on_ready)(struct io *io, uint32_t events))
{
	io->fd = fd;
	io->generation = 0;
	io->on_ready = on_ready;
}

static inline void job_init(struct job *j, void (*run)(struct job *j))
{
	list_init(&j->node);
	j->run = run;
}

/* Watches io->fd; EPOLLET is added unless `is_level`.  -errno of epoll_ctl (-ENOSPC, -ENOMEM, -EEXIST). */
int loop_add(struct loop *l, struct io *io, uint32_t events, bool is_level);
int loop_modify(struct loop *l, struct io *io, uint32_t events, bool is_level);
/* Forgets the io: no callback from now on, not even from the batch at hand.  Does not close. Harmless twice. */
void loop_remove(struct loop *l, struct io *io);
/* The same for a descriptor the caller closes at once and nobody shares: closing takes it out of epoll (epoll(7)). */
void loop_forget(struct loop *l, struct io *io);

/* Runs the job in the next iteration, which then does not sleep.  Queued twice is queued once. */
void loop_again(struct loop *l, struct job *j);
/* Runs the job at the end of this iteration: the place for freeing memory. */
void loop_free_later(struct loop *l, struct job *j);
static inline void job_cancel(struct job *j)
{
	list_remove(&j->node);
}

/* Timers of the loop's wheel, relative to the loop's cached time. */
void loop_timer_start(struct loop *l, struct timer *t, uint64_t after_ms);
void loop_timer_stop(struct loop *l, struct timer *t);

/* One iteration; `max_wait_ms` bounds the sleep (-1: none).  0 or -errno of epoll_wait (EINTR is no error). */
int loop_turn(struct loop *l, int max_wait_ms);
/* Until loop_stop(). */
int loop_run(struct loop *l);
void loop_stop(struct loop *l);

#endif
