/* SPDX-License-Identifier: MIT */
/*
 * The master's watch over workers that do not move, and over the queues of those that are gone.
 *
 * A worker that is stuck in its loop is known by its old stamp, and the program skips it without
 * help.  One that was stopped in its sleep looks idle: it says that it waits, and so does a healthy
 * one without work.  Reservations are no proof, as a spoofed SYN makes one and never wakes a
 * worker.  A queue of accepted handshakes that stays filled while the stamp does not change is: it
 * is what the watch looks for.
 *
 *   idle      all listening sockets are in an epoll set of their own, which is watched as one
 * descriptor: without new connections the master sleeps, whatever the number of workers. watching
 * from the first connection on the set is left alone and looked at four times within each `stall`:
 * one system call, which names the queues that are filled at that moment, and a walk over the
 * slots' lines. So a flood of connections costs the master no more than a trickle.  Nothing filled
 * and nothing accepted since the last look: idle again.
 *
 * A slot counts as stalled when its stamp is older than `stall` and it does not wait or, says it
 * what it will, its queue has been filled for three looks and its stamp has not changed.  Then it
 * is marked for the program, nudged (should it have been asleep and well, it wakes, stamps its slot
 * and is back), and its queue is shared out among the healthy siblings, again at each look until it
 * is empty.  So are the queues of slots without a worker. The worker itself ends the stall: the
 * next turn of its loop stamps the slot.
 *
 * The length of the stall is the map's, as the program reads it.
 */
#ifndef SLUICE_PROC_WATCH_H
#define SLUICE_PROC_WATCH_H

#include "net/listener.h"
#include "net/loop.h"
#include "proc/supervisor.h"
#include "stats_shm.h"

struct watched;

struct watch {
	/* Set before watch_open. */
	struct loop *loop;
	struct steer *steer;
	struct stats_block *stats; /* one for each slot */
	const struct listener *listeners;
	unsigned listener_count;
	struct supervisor *supervisor;
	uint64_t kill_ns; /* a worker stalled for longer is killed; 0 = never */
	/* private */
	struct io io; /* fd: the set of listening sockets, 0 or -1 = not open */
	struct timer tick;
	struct watched *slots;
	unsigned slot_count;
	uint64_t looked_ns;	/* time of the last look; 0: none since connections came */
	uint64_t accepted; /* by all slots, at the last look */
};

/* Before the first worker is forked.  0 or -errno: the server can do without. */
int watch_open(struct watch *w);
/* In the master, at its end, and in each child after the fork.  Harmless twice. */
void watch_close(struct watch *w);
void watch_abandon(struct watch *w);
/* Once a second: tells of long stalls, ends those beyond kill_ns. */
void watch_review(struct watch *w);
/*
 * Does any worker move: has it gone through its loop within so long, or nothing to do?  One is enough: what waits for the
 * others is shared out.  False also where there is none.
 */
bool watch_is_moving(const struct watch *w, uint64_t within_ns);

#endif
