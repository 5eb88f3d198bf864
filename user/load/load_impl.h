/* SPDX-License-Identifier: MIT */
/*
 * One process of `sluice load`: load_worker.c decides when a request is made and what it counts, load_conn.c is a
 * connection and the requests on it.
 */
#ifndef SLUICE_PROC_LOAD_IMPL_H
#define SLUICE_PROC_LOAD_IMPL_H

#include "base/pool.h"
#include "http/response.h"
#include "load/load.h"
#include "net/conn.h"

#define LOAD_READ_SIZE 65536u

struct load_worker {
	const struct load_options *options;
	struct load_share *share;
	struct loop loop;
	struct pool conns, answers;
	struct parse_limits limits;
	unsigned slice;
	unsigned conn_max, conn_count;	/* of this process */
	uint64_t connected_count;	/* ever: chooses the source address */
	struct list idle;		/* connections that wait for a request, used last first */
	uint64_t start_ns, measure_ns, end_ns;	/* CLOCK_MONOTONIC; what is due in [measure, end) counts */
	/* Open loop. */
	struct io pace;			/* timerfd */
	double distance_ns;		/* between two requests, on average */
	double next_due_ns;
	uint64_t *waiting;		/* ring of due times without a connection */
	unsigned waiting_start, waiting_count, waiting_cap;
	struct timer end;
	struct job refill;		/* connections in the place of those that are gone */
	struct timer refill_timer;	/* the same, later */
	bool is_over;			/* nothing new begins */
	unsigned in_flight;		/* connections with a request, or on their way to one */
};

/* A response being read, borrowed while bytes of it are there. */
struct load_answer {
	struct response_parser parser;
	struct response res;
	unsigned start, end;		/* bytes of data[] not used yet */
	bool has_head;
	char data[LOAD_READ_SIZE];
};

enum load_state { LOAD_CONNECTING, LOAD_IDLE, LOAD_BUSY, LOAD_HELD, LOAD_DEAD };

struct load_conn {
	struct conn conn;
	struct load_worker *worker;
	struct list node;		/* in worker->idle */
	struct timer timer;
	struct job job;			/* to be freed */
	enum load_state state;
	const struct load_kind *kind;
	unsigned left, unsent;		/* requests without an answer; bytes of the last one that are not sent */
	uint64_t due_ns;		/* of the requests at hand */
	uint64_t began_ns;		/* connecting */
	struct load_answer *answer;
};

/* load_conn.c */
/* A new connection for a request that is due then.  False: none can be made now, which is counted. */
bool load_conn_open(struct load_worker *w, uint64_t due_ns);
/* An idle one asks. */
void load_conn_ask(struct load_conn *c, uint64_t due_ns);
void load_conn_close(struct load_conn *c, bool is_reset);

/* load_worker.c: what became of it. */
void load_on_answer(struct load_worker *w, const struct load_kind *kind, uint64_t due_ns, unsigned status);
void load_on_fault(struct load_worker *w, enum load_fault fault, uint64_t due_ns, unsigned count);
/* The connection is idle, or held: something else may begin. */
void load_on_free(struct load_worker *w, struct load_conn *c);
/* It is gone.  `is_refused`: another one would hardly fare better at once. */
void load_on_gone(struct load_worker *w, bool is_refused);
/* Within the time that counts. */
bool load_counts(const struct load_worker *w, uint64_t due_ns);

#endif
