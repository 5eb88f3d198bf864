/* SPDX-License-Identifier: MIT */
/*
 * Established connections move from a hot worker to a cool one.  Steering places new connections only: when clients of
 * one worker leave, or a slot comes back from a drain, the others keep what they have until this evens it out.
 *
 * Each worker looks at the slots' live counts, at most every REBALANCE_EVERY_MS and only when it is awake anyway.  Its
 * fair share is the total in proportion to the slots' weights.  Above share + 10 % + 2 it hands connections that wait
 * between two requests to the slots furthest below their share: descriptor and peer address in one message
 * (SCM_RIGHTS) to the inbox of the slot.  What the client has sent meanwhile lies in the socket and moves with it, so no
 * request is lost.  Where too few connections wait, `Connection: close` on at most one reply in twenty makes clients
 * come back and be steered anew.
 *
 * The inboxes belong to the master and outlive any worker, as the listening sockets do: a connection in an inbox whose
 * worker has died is taken by the next one.
 */
#ifndef SLUICE_PROC_REBALANCE_H
#define SLUICE_PROC_REBALANCE_H

#include "base/shm.h"
#include "http/server.h"
#include "net/steer.h"

#define REBALANCE_EVERY_MS 100

/* One Unix socket pair for each slot. */
struct inboxes {
	unsigned count;
	int (*fds)[2];		/* [0] is read by the slot's worker, [1] written by the others */
	/*
	 * Connections that lie in each inbox, in shared memory: they are in nobody's live count, and a plan that did not
	 * see them would send more and more to a worker that is slow to take them.
	 */
	uint32_t *waiting;
	struct shm memory;	/* of waiting, for all slots there can be */
};

int inboxes_open(struct inboxes *in, unsigned count);
/* Harmless when never opened. */
void inboxes_close(struct inboxes *in);
/*
 * Those of `from`, all of them, since old workers may still send to a slot that is gone, and new ones up to `count`;
 * with the same counts.  Both have the sockets: in the end one calls inboxes_close_apart() and inboxes_release(), and the
 * other is closed.  0 or -errno, with nothing left open.
 */
int inboxes_take_over(struct inboxes *in, const struct inboxes *from, unsigned count);
/* Memory of `waiting` in a process that receives the sockets (and sets fds, count) from another.  0 or -errno. */
int inboxes_map_waiting(struct inboxes *in, int fd);
/* Closes those that `keep` does not have. */
void inboxes_close_apart(const struct inboxes *in, const struct inboxes *keep);
/* What lies in the inbox of a slot that nobody reads goes to another one's.  How many. */
unsigned inboxes_forward(const struct inboxes *in, unsigned from, unsigned to);
/* Forgets them without closing. */
void inboxes_release(struct inboxes *in);

/* The connection lies in the inbox of that slot; the caller's descriptor is not needed any more.  0 or -errno. */
int inboxes_send(const struct inboxes *in, unsigned slot, int fd, const struct server_guest *guest);

/* Counts at one moment, for the plan. */
struct rebalance_view {
	unsigned count;
	struct rebalance_slot {
		uint32_t live, weight;
		bool can_take;		/* up, moving, not drained */
	} slots[STEER_MAX_SLOTS];
};

/* How many connections `self` has above its share; 0 within the tolerance (`is_exact`: without tolerance). */
unsigned rebalance_excess(const struct rebalance_view *v, unsigned self, bool is_exact);
/* The slot furthest below its share, -1 when none is. The caller counts what it sends in the view. */
int rebalance_target(const struct rebalance_view *v, unsigned self);

struct rebalancer {
	struct server *server;
	struct steer *steer;
	const struct inboxes *inboxes;
	struct stats_block *stats;
	struct steer_slot *line;	/* where what comes in is counted */
	unsigned slot;
	bool is_auto;
	bool is_asked;			/* on demand: to the exact share, once */
	uint64_t checked_ms;
	uint64_t requests_before;	/* at the last round */
	struct timer timer;
	struct io inbox;
};

/* Once, before all else. */
void rebalancer_init(struct rebalancer *r);
/* Also after rebalancer_rest().  0 or -errno. */
int rebalancer_start(struct rebalancer *r, struct loop *loop);
/* Sends nobody away any more, and goes on reading the inbox; what comes is counted in `line`. */
void rebalancer_rest(struct rebalancer *r, struct steer_slot *line);
/* Takes all that lies in the inbox now. */
void rebalancer_empty(struct rebalancer *r);
/* Harmless twice, and when it was never started. */
void rebalancer_stop(struct rebalancer *r, struct loop *loop);
/* Cheap; to be called in each turn of the loop. */
void rebalancer_on_turn(struct rebalancer *r);
/* Now, whatever the mode. */
void rebalancer_ask(struct rebalancer *r);

#endif
