/* SPDX-License-Identifier: MIT */
/*
 * Inside of upstream.h: what its files share.
 *
 *   upstream.c           life of an upstream
 *   upstream_lease.c     states of a lease
 *   upstream_claim.c     a server without a connection to it
 *   upstream_balance.c   who may be chosen, who is
 *   upstream_health.c    ejection of endpoints that fail (circuit breaker)
 *   upstream_pool.c      connections: connecting, idle ones
 *   upstream_queue.c     leases that wait for room; fairness between workers
 */
#ifndef SLUICE_APP_UPSTREAM_INTERNAL_H
#define SLUICE_APP_UPSTREAM_INTERNAL_H

#include "app/upstream.h"
#include "base/pool.h"

/* What this worker has seen of an endpoint's answers. */
struct peer_health {
	uint64_t *fail_ms;		/* ring: when the last fail_max failures were */
	unsigned fail_count, fail_at;	/* failures in a row, at most fail_max; where the next one goes */
	/* Two halves of the sliding window: the one at hand, the one before. */
	uint64_t half_start_ms;
	uint32_t requests[2], errors[2];
};

/* An endpoint as this worker sees it. */
struct peer {
	struct upstream_endpoint *shared;
	struct upstream_counters *counters;	/* this worker's */
	const struct upstream_server_options *server;
	uint32_t sequence;		/* of the address below: read again when the shared one differs */
	uint32_t address_id;		/* counts the addresses it has had */
	int64_t turn;			/* rr and weighted: the highest is next */
	uint64_t hash;			/* of the address */
	struct list idle;		/* connections, newest first */
	uint64_t yields_until_ms;	/* room is left to other workers until then */
	uint64_t yielded_ms;		/* when that was last decided */
	uint32_t own_wanted_ms;		/* the last value of wanted_ms that is ours */
	struct upstream_address address;
	char address_text[UPSTREAM_ADDRESS_TEXT];	/* for the log */
	struct peer_health health;
};

struct candidate {
	uint32_t peer;			/* index */
	uint32_t weight;		/* in units of 1/WEIGHT_ONE, slow start included */
};

struct upstream {
	struct upstream_options opt;	/* with copies of name and servers */
	struct loop *loop;
	unsigned first_endpoint, peer_count;
	struct peer *peers;
	uint64_t *fail_times;		/* memory of all rings */
	uint8_t *fits;			/* scratch of the choice, by peer */
	struct candidate *candidates;	/* the same */
	uint64_t random_state;
	bool has_turns;			/* rr and weighted: the first choice among several was made */
	struct pool conns;
	struct list idle;		/* connections of all peers, oldest first */
	struct list dying;		/* closed ones, freed at the end of the iteration */
	unsigned idle_count;
	unsigned limited_idle_count;	/* those whose server has max_connections */
	unsigned conn_count;		/* open ones, idle and connecting included */
	struct timer idle_timer;	/* armed for the oldest, or for one that was it */
	struct list queue;		/* leases, in order of arrival */
	unsigned queue_count;
	unsigned queue_untried_count;	/* those that have tried nobody yet: what they cannot get nobody can */
	struct timer tick;		/* while leases wait, or limited connections idle */
	struct list deferred;		/* leases to be begun in the next iteration */
	struct job job;
	unsigned lease_count;		/* leases that are queued, deferred, connecting or held */
	unsigned depth;			/* callbacks that have not returned */
	bool is_serving;		/* the queue is being served further up the stack */
	bool is_draining;
};

enum lease_state { LEASE_OFF, LEASE_DEFERRED, LEASE_QUEUED, LEASE_CONNECTING, LEASE_HELD, LEASE_CLAIMED };

enum choice { CHOICE_MADE, CHOICE_FULL, CHOICE_NONE };

static inline struct peer *peer_of(const struct upstream *u, unsigned endpoint)
{
	return &u->peers[endpoint - u->first_endpoint];
}

/* Counters of the upstream as a whole. */
static inline struct upstream_counters *upstream_totals(const struct upstream *u)
{
	return u->peers[0].counters;
}

/* upstream_lease.c */
/* Deferred leases, and the queue. */
void upstream_run_job(struct job *j);
/* Gives the lease to the peer.  0: done, or on its way; -EBUSY: the peer has filled up meanwhile, nothing happened. */
int upstream_give(struct upstream *u, struct upstream_lease *lease, struct peer *p);
/* The lease is over: tells the asker. */
void upstream_fail(struct upstream *u, struct upstream_lease *lease, enum upstream_failure why);
/* The request is at the peer from now on, whether connected or not. */
void lease_enter(struct upstream *u, struct upstream_lease *lease, struct peer *p);
void lease_leave(struct upstream *u, struct upstream_lease *lease, struct peer *p, enum upstream_outcome outcome);
/* Connecting has ended; `err` 0 or -errno.  The connection is closed by then unless err is 0. */
void upstream_connected(struct upstream *u, struct upstream_lease *lease, int err);

/* upstream_balance.c */
#define WEIGHT_ONE 256u
/* Takes over a change of the peer's address; connections to the old one are closed. */
void peer_refresh(struct upstream *u, struct peer *p);
uint32_t peer_weight_now(const struct upstream *u, const struct peer *p);
/* Well enough for new requests; whether it has room is not asked. */
bool peer_is_well(const struct upstream *u, const struct peer *p);
/* CHOICE_FULL: somebody who could be chosen has no room, and waiting makes sense. */
enum choice balance_choose(struct upstream *u, const struct upstream_lease *lease, struct peer **ret_peer);
/* Each worker begins at another peer. */
void balance_start(struct upstream *u);

/* upstream_health.c */
/* Before a request is given to a peer: marks a trial of an ejected one.  False: another worker was faster. */
bool health_claim(struct upstream *u, struct upstream_lease *lease, struct peer *p);
/* Nothing was seen of it yet. */
void health_forget(struct peer_health *h);
void health_note(struct upstream *u, struct upstream_lease *lease, struct peer *p, enum upstream_outcome outcome);

/* upstream_pool.c */
void conns_start(struct upstream *u);
void conns_stop(struct upstream *u);
/* Without a place among max_connections an idle connection of our own is the only way. */
bool peer_has_room(const struct upstream *u, const struct peer *p);
/* An idle connection, or NULL. */
struct upstream_conn *conns_take(struct upstream *u, struct peer *p);
/* Keeps an open connection that nobody has; closes it when it cannot be kept. */
void conns_keep(struct upstream *u, struct upstream_conn *uc);
bool conns_can_keep(struct upstream *u, struct upstream_conn *uc);
/*
 * A new connection for the lease.  0 with *ret_is_connected; -EBUSY: max_connections; else -errno, nothing is left.
 * When it is not connected yet upstream_connected() follows, never from within this call.
 */
int conns_connect(struct upstream *u, struct peer *p, struct upstream_lease *lease, bool *ret_is_connected);
void conns_close(struct upstream *u, struct upstream_conn *uc);
void conns_close_idle(struct upstream *u, struct peer *p);	/* those of one peer */
void conns_close_all_idle(struct upstream *u);

/* upstream_queue.c */
void queue_start(struct upstream *u);
void queue_stop(struct upstream *u);
/* False: the queue is full. */
bool queue_push(struct upstream *u, struct upstream_lease *lease);
void queue_remove(struct upstream *u, struct upstream_lease *lease);
/* Gives what can be given, in order.  Calls back. */
void queue_serve(struct upstream *u);
/* Asks for ticks: leases wait, or limited connections idle. */
void queue_want_tick(struct upstream *u);
/* A connection of this peer has come free: shall another worker have its place? */
bool queue_should_yield(struct upstream *u, struct peer *p);

#endif
