/* SPDX-License-Identifier: MIT */
/* Workers that do not move; see watch.h. */
#include "proc/watch.h"

#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "net/fd_pass.h"
#include "proc/rescue.h"

#define LOOKS_PER_STALL 4u
#define LOOK_MS_MIN	1u
#define LOOK_MS_MAX	1000u
#define EVENT_MAX	256
/* A stall shorter than this is counted but not logged. */
#define TOLD_NS NS_PER_SEC
/*
 * When fewer than half of the workers move, the host is short of time rather than they: whoever runs first would be given
 * all the queues.  They are shared out only when that has lasted this many times `stall`.
 */
#define MAJORITY_PATIENCE 10u

struct watched {
	uint64_t stamp_ns;	  /* at the last look */
	uint64_t queued_since_ns; /* its queue was filled at every look since then; 0: it was not */
	uint64_t stalled_since_ns;
	bool is_queued;	 /* at this look */
	bool is_stalled; /* found so, and its stamp has not changed since */
	bool is_told;	 /* and logged */
	bool is_killed;	 /* once is enough: it may take its time to die */
};

static uint64_t look_ms(const struct watch *w)
{
	uint64_t stall_ns = steer_stall_ns(w->steer);
	uint64_t ms = stall_ns ? stall_ns / LOOKS_PER_STALL / NS_PER_MS : LOOK_MS_MAX;

	return MIN(MAX(ms, LOOK_MS_MIN), LOOK_MS_MAX);
}

static uint64_t stamp_of(const struct steer_slot *line)
{
	return __atomic_load_n(&line->stamp_ns, __ATOMIC_RELAXED);
}

static bool has_worker(struct watch *w, unsigned slot)
{
	return __atomic_load_n(&w->stats[slot].state, __ATOMIC_RELAXED) == WORKER_RUNNING &&
	       w->supervisor->workers[slot].channel.fd >= 0;
}

/* Sharing out a queue ----------------------------------------------------------------------- */

static bool is_healthy(struct watch *w, unsigned slot, bool may_be_drained)
{
	return has_worker(w, slot) && !w->slots[slot].is_stalled &&
	       !steer_is_stalled(w->steer, slot, w->loop->now_ns) &&
	       (may_be_drained || steer_weight(w->steer, slot) > 0);
}

/* Connections that wait to be accepted there.  Of a listening socket tcpi_unacked is their number.
 */
static unsigned queue_len(int listen_fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	return getsockopt(listen_fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ? 0
									     : info.tcpi_unacked;
}

static unsigned count_healthy(struct watch *w, unsigned slot, bool may_be_drained)
{
	unsigned count = 0;

	for (unsigned i = 0; i < w->slot_count; i++)
		count += i != slot && is_healthy(w, i, may_be_drained);
	return count;
}

/* One queue among `count` siblings, each of which gets an equal share. */
static void share_queue(struct watch *w, unsigned slot, const struct listener *l, unsigned count,
			bool may_be_drained)
{
	struct rescue_order order = {.type = CHANNEL_RESCUE,
				     .has_proxy_header = l->has_proxy_header,
				     .slot = (uint16_t)slot};
	int listen_fd = l->fds[slot];
	unsigned left = queue_len(listen_fd);

	order.count = (uint16_t)MIN((left + count - 1) / count, UINT16_MAX);
	/* The next in line begins, so that short queues of different slots reach different
	 * siblings. */
	for (unsigned n = 1; n < w->slot_count && left > 0; n++) {
		unsigned i = (slot + n) % w->slot_count;
		int channel = w->supervisor->workers[i].channel.fd;

		if (is_healthy(w, i, may_be_drained) &&
		    fd_pass_send(channel, &order, sizeof(order), listen_fd) > 0)
			left -= MIN(left, order.count);
	}
}

static bool is_host_short(struct watch *w, unsigned slot)
{
	const struct watched *s = &w->slots[slot];
	uint64_t patience_ns = MAJORITY_PATIENCE * steer_stall_ns(w->steer);
	unsigned running = 0;

	for (unsigned i = 0; i < w->slot_count; i++)
		running += i != slot && has_worker(w, i);
	return s->is_stalled && 2 * count_healthy(w, slot, true) < running &&
	       w->loop->now_ns - s->stalled_since_ns < patience_ns;
}

static void share_out(struct watch *w, unsigned slot)
{
	unsigned count = count_healthy(w, slot, false);
	/* Better by a drained worker, as the kernel's hash would have it, than not at all. */
	bool may_be_drained = count == 0;

	if (may_be_drained)
		count = count_healthy(w, slot, true);
	for (unsigned i = 0; count && i < w->listener_count; i++)
		share_queue(w, slot, &w->listeners[i], count, may_be_drained);
}

/* Judging ----------------------------------------------------------------------------------- */

static void note_moving(struct watch *w, unsigned slot, uint64_t stamp_ns)
{
	struct watched *s = &w->slots[slot];

	if (s->is_told)
		log_info("worker %u moves again after %llu ms", slot,
			 (unsigned long long)((w->loop->now_ns - s->stalled_since_ns) / NS_PER_MS));
	*s = (struct watched){.stamp_ns = stamp_ns, .is_queued = s->is_queued};
}

static void nudge(const struct watch *w, unsigned slot)
{
	const char byte = CHANNEL_NUDGE;

	/* Refused only when the channel is full: then there is something to wake for. */
	fd_pass_send(w->supervisor->workers[slot].channel.fd, &byte, sizeof(byte), -1);
}

static void note_stalled(struct watch *w, unsigned slot, struct steer_slot *line)
{
	struct watched *s = &w->slots[slot];

	s->is_stalled = true;
	s->stalled_since_ns = w->loop->now_ns;
	w->stats[slot].stalls++;
	if (!__atomic_load_n(&line->is_waiting, __ATOMIC_RELAXED))
		return;
	/* In this order: who wakes after the mark clears it. */
	steer_mark_stalled(line);
	nudge(w, slot);
}

/* Has the queue been filled for as long as makes a stall, when it may have filled just after the
 * look before? */
static bool is_neglected(const struct watch *w, const struct watched *s, uint64_t stall_ns)
{
	return s->queued_since_ns &&
	       w->loop->now_ns - s->queued_since_ns + look_ms(w) * NS_PER_MS >= stall_ns;
}

static void judge(struct watch *w, unsigned slot, uint64_t stall_ns)
{
	struct steer_slot *line = steer_slot(w->steer, slot);
	struct watched *s = &w->slots[slot];
	uint64_t stamp_ns = stamp_of(line), now_ns = w->loop->now_ns;

	if (stamp_ns != s->stamp_ns)
		note_moving(w, slot, stamp_ns);
	if (!s->is_queued)
		s->queued_since_ns = 0;
	else if (!s->queued_since_ns)
		s->queued_since_ns = now_ns;
	if (!has_worker(w, slot)) {
		if (s->is_queued)
			share_out(w, slot);
		return;
	}
	if (!s->is_stalled && stamp_ns < now_ns && now_ns - stamp_ns > stall_ns &&
	    (steer_is_stalled(w->steer, slot, now_ns) || is_neglected(w, s, stall_ns)))
		note_stalled(w, slot, line);
	if (s->is_stalled && s->is_queued && !is_host_short(w, slot))
		share_out(w, slot);
}

/* Looking ----------------------------------------------------------------------------------- */

/* Level-triggered: says which sockets hold connections now; an empty one costs nothing. */
static bool find_queues(struct watch *w)
{
	struct epoll_event events[EVENT_MAX];
	int count = epoll_wait(w->io.fd, events, EVENT_MAX, 0);

	for (unsigned i = 0; i < w->slot_count; i++)
		w->slots[i].is_queued = false;
	for (int i = 0; i < count; i++)
		w->slots[events[i].data.u32].is_queued = true;
	return count > 0;
}

static bool has_accepted(struct watch *w)
{
	uint64_t sum = 0;
	bool has_changed;

	for (unsigned i = 0; i < w->slot_count; i++)
		sum += __atomic_load_n(&w->stats[i].accepted, __ATOMIC_RELAXED);
	has_changed = sum != w->accepted;
	w->accepted = sum;
	return has_changed;
}

/*
 * A look that comes late by as much as makes a stall: this process has not run either (a busy host, a paused virtual
 * machine), and old stamps say nothing about the workers.  They get until the next look.
 */
static bool was_late(struct watch *w, uint64_t stall_ns)
{
	uint64_t due_ns = w->looked_ns + look_ms(w) * NS_PER_MS;
	bool is_late = w->looked_ns && w->loop->now_ns > due_ns + stall_ns / 2;

	w->looked_ns = w->loop->now_ns;
	return is_late;
}

static bool look(struct watch *w)
{
	uint64_t stall_ns = steer_stall_ns(w->steer);
	bool is_busy = find_queues(w);

	is_busy |= has_accepted(w);
	if (stall_ns && !was_late(w, stall_ns)) {
		for (unsigned i = 0; i < w->slot_count; i++)
			judge(w, i, stall_ns);
	}
	return is_busy;
}

static void on_tick(struct timer *t)
{
	struct watch *w = container_of(t, struct watch, tick);

	/* Watched again, it tells at once of what came in between. */
	if (look(w) || loop_modify(w->loop, &w->io, EPOLLIN | EPOLLONESHOT, true) < 0)
		loop_timer_start(w->loop, &w->tick, look_ms(w));
	else
		w->looked_ns = 0;
}

static void on_connection(struct io *io, uint32_t events)
{
	struct watch *w = container_of(io, struct watch, io);

	look(w);
	loop_timer_start(w->loop, &w->tick, look_ms(w));
}

void watch_review(struct watch *w)
{
	uint64_t stall_ns = steer_stall_ns(w->steer), now_ns = w->loop->now_ns;

	if (!stall_ns)
		return;
	for (unsigned i = 0; i < w->slot_count; i++) {
		struct watched *s = &w->slots[i];
		uint64_t for_ns;

		s->is_queued = false;
		judge(w, i, stall_ns);
		if (!s->is_stalled || !has_worker(w, i))
			continue;
		for_ns = now_ns - s->stalled_since_ns;
		if (!s->is_told && for_ns >= TOLD_NS) {
			log_warn("worker %u (pid %d) does not move; new connections go to others",
				 i, (int)w->supervisor->workers[i].pid);
			s->is_told = true;
		}
		if (!w->kill_ns || for_ns < w->kill_ns || s->is_killed)
			continue;
		s->is_killed = true;
		log_error("worker %u (pid %d) is killed: it has not moved for %llu ms", i,
			  (int)w->supervisor->workers[i].pid,
			  (unsigned long long)(for_ns / NS_PER_MS));
		w->stats[i].stall_kills++;
		kill(w->supervisor->workers[i].pid, SIGKILL);
	}
}

bool watch_is_moving(const struct watch *w, uint64_t within_ns)
{
	for (unsigned i = 0; i < w->slot_count; i++) {
		const struct steer_slot *line = steer_slot(w->steer, i);
		uint64_t stamp_ns = stamp_of(line);

		if (__atomic_load_n(&w->stats[i].state, __ATOMIC_RELAXED) != WORKER_RUNNING)
			continue;
		if (__atomic_load_n(&line->is_waiting, __ATOMIC_RELAXED) ||
		    stamp_ns + within_ns >= w->loop->now_ns)
			return true;
	}
	return false;
}

/* Open and close ---------------------------------------------------------------------------- */

static int add_sockets(struct watch *w)
{
	for (unsigned i = 0; i < w->listener_count; i++) {
		for (unsigned slot = 0; slot < w->slot_count; slot++) {
			struct epoll_event ev = {.events = EPOLLIN, .data.u32 = slot};

			if (epoll_ctl(w->io.fd, EPOLL_CTL_ADD, w->listeners[i].fds[slot], &ev) < 0)
				return -errno;
		}
	}
	return 0;
}

int watch_open(struct watch *w)
{
	int err = -ENOMEM;
	int fd;

	w->slot_count = steer_slot_count(w->steer);
	timer_init(&w->tick, on_tick);
	w->slots = calloc(w->slot_count, sizeof(*w->slots));
	if (!w->slots)
		return -ENOMEM;
	fd = epoll_create1(EPOLL_CLOEXEC);
	if (fd < 0)
		return -errno;
	io_init(&w->io, fd, on_connection);
	err = add_sockets(w);
	if (!err)
		err = loop_add(w->loop, &w->io, EPOLLIN | EPOLLONESHOT, true);
	if (err)
		watch_close(w);
	return err;
}

void watch_abandon(struct watch *w)
{
	if (w->io.fd > 0)
		close(w->io.fd);
	w->io.fd = -1;
	free(w->slots);
	w->slots = NULL;
	w->slot_count = 0;
}

void watch_close(struct watch *w)
{
	if (w->loop && w->slots) {
		loop_timer_stop(w->loop, &w->tick);
		loop_remove(w->loop, &w->io);
	}
	watch_abandon(w);
}
