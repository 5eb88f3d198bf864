/* SPDX-License-Identifier: MIT */
/* What worker.c (life), worker_slot.c (its slot), worker_log.c (access log) and worker_trouble.c (warnings) share. */
#ifndef SLUICE_PROC_WORKER_INTERNAL_H
#define SLUICE_PROC_WORKER_INTERNAL_H

#include "app/udp.h"
#include "base/logfile.h"
#include "proc/acceptor.h"
#include "proc/worker.h"

/* What a worker gives up for want of something, counted in the statistics. */
enum trouble_kind { TROUBLE_ACCEPT, TROUBLE_MEMORY, TROUBLE_LOG, TROUBLE_COUNT };

struct trouble {
	uint64_t told;		/* of the counter, in the log already */
	uint64_t next_ms;	/* not told again before */
};

struct worker {
	const struct worker_options *opt;
	struct loop loop;
	struct server server;
	struct acceptor acceptor;
	struct rebalancer rebalancer;
	/*
	 * Where its connections are counted: the slot's line as long as the slot is its own, before and after that one that
	 * nobody else sees.
	 */
	struct steer_slot *line;
	struct steer_slot own_line;
	struct udp_server *udp;		/* NULL: no listen_udp, or not begun */
	struct timer udp_timer;		/* leaving: for the last replies */
	enum { UDP_SERVES, UDP_RETIRING, UDP_RETIRED } udp_state;
	bool is_udp_over;		/* leaving: the drain limit is reached */
	struct logfile log;
	struct timer log_timer;
	uint64_t lost_before;		/* log lines, by workers before this one */
	struct timer drain_timer;
	struct io signal_io;
	struct io channel_io;
	struct trouble troubles[TROUBLE_COUNT];
	uint64_t stale_noted;		/* of loop.stale_count, in the statistics already */
	int exit_status;
	unsigned heir;			/* leaving: the slot whose worker gets the connections */
	bool has_slot;
	bool is_leaving;		/* another one has the slot, what is left goes there */
	bool is_draining;		/* the server stops */
	bool has_moved;			/* leaving: the master was told that nobody waits here any more */
};

/* worker_slot.c */
/* The master gives the slot: accepting begins. */
void worker_take_slot(struct worker *w);
/* In each turn: has another worker got the slot meanwhile? */
void worker_check_slot(struct worker *w);
/* Gives up the slot and all connections that can go. */
void worker_leave(struct worker *w, const struct leave_order *order);

/* worker_udp.c */
int worker_start_udp(struct worker *w);
void worker_stop_udp(struct worker *w);
void worker_leave_udp(struct worker *w, const struct leave_order *order);
/* The server stops. */
void worker_drain_udp(struct worker *w);
/* Nothing is left, and nothing can come any more. */
bool worker_is_udp_done(struct worker *w);
/* The drain limit is reached; true: it takes a moment more. */
bool worker_end_udp(struct worker *w);
void worker_on_udp_retired(struct worker *w);

/* worker_log.c: the access log.  0 or -errno. */
int worker_start_log(struct worker *w);
void worker_stop_log(struct worker *w);
/* A line for a UDP session. */
void worker_log_udp(struct worker *w, const struct udp_ended *e);
/* Takes the descriptor. */
void worker_replace_log(struct worker *w, int fd);

/* worker_trouble.c: says in the log, at most every 10 s for each kind, what the counters say; cheap. */
void worker_start_troubles(struct worker *w);
void worker_tell_troubles(struct worker *w);

/* worker.c: ends it when there is nothing left to do. */
void worker_stop_if_empty(struct worker *w);
/* From now on the drain limit runs, but `min_ms` at least; tunnels end before.  Harmless twice. */
void worker_start_limit(struct worker *w, uint64_t min_ms);

#endif
