/* SPDX-License-Identifier: MIT */
/* What sim_model.c (arrivals, choice, figures) and sim_worker.c (accept, serve, close, stall)
 * share. */
#ifndef SLUICE_PROC_SIM_INTERNAL_H
#define SLUICE_PROC_SIM_INTERNAL_H

#include "sim/sim_model.h"
#include "sim/sim_queue.h"

#define SIM_NONE UINT32_MAX

enum sim_event_kind {
	SIM_ARRIVAL, /* one SYN of the Poisson stream */
	SIM_HERD,
	SIM_READY,  /* connection: the worker may accept it */
	SIM_SERVED, /* slot: the request it serves is done */
	SIM_CLOSE,  /* connection */
	SIM_STALL,
	SIM_RESUME,
	SIM_LOOK, /* slot: the master looks after it */
};

struct sim_conn {
	uint64_t ready_ns, service_ns, life_ns;
	uint32_t next; /* in a worker's queue */
	uint16_t slot;
	bool is_counted;
};

struct sim_fifo {
	uint32_t head, tail; /* of connections, SIM_NONE when empty */
};

struct sim_worker {
	struct sim_fifo accept_queue, work_queue;
	uint32_t serving; /* connection, SIM_NONE while it waits */
	bool is_stalled, stalls_when_idle;
};

struct sim {
	const struct sim_config *config;
	bool reserves;
	uint64_t now_ns, stall_began_ns, queued_since_ns;
	struct sim_queue queue;
	struct sim_conn *conns;
	uint32_t conn_count; /* arrived so far */
	uint64_t *sojourns;
	uint32_t sojourn_count, served_count;
	uint64_t fingerprint;
	/* What steer_pick() sees. */
	struct steer_slot slots[STEER_MAX_SLOTS];
	__u32 weights[STEER_MAX_SLOTS];
	struct steer_config steer;
	uint32_t turn;
	/* What it does not. */
	struct sim_worker workers[STEER_MAX_SLOTS];
	uint32_t open[STEER_MAX_SLOTS], assigned[STEER_MAX_SLOTS], herd[STEER_MAX_SLOTS];
	uint32_t fallbacks, in_stall, in_stall_to_it;
	double sd_sum, herd_ratio_sum;
	uint32_t sd_count, herd_count;
	struct sim_rng arrivals, services, lives, hashes, cpus;
};

void sim_worker_init(struct sim *sim, uint32_t slot);
/* The SYN's connection has reached the worker. */
void sim_worker_ready(struct sim *sim, uint32_t conn);
void sim_worker_served(struct sim *sim, uint32_t slot);
void sim_worker_close(struct sim *sim, uint32_t conn);
void sim_worker_stall(struct sim *sim, uint32_t slot);
void sim_worker_resume(struct sim *sim, uint32_t slot);
/* The first of the connections that `from` has not accepted becomes a connection of `slot`. */
void sim_worker_rescue(struct sim *sim, uint32_t slot, uint32_t from);

/* sim_watch.c: from the begin of the stall on. */
void sim_watch_start(struct sim *sim, uint32_t slot);
void sim_watch_look(struct sim *sim, uint32_t slot);

#endif
