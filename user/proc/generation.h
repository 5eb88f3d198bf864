/* SPDX-License-Identifier: MIT */
/*
 * A generation: one configuration in force, and all that was made of it: routes, log, statistics, upstreams, workers.
 * A reload makes the next one beside it.
 *
 *   STARTING --all workers ready--> SERVING --the next one serves--> LEAVING --last worker gone--> (freed)
 *      `----- one cannot start ----> FAILED ---last worker gone--> (freed)
 *
 * Listening sockets, inboxes and, where the number of slots stays, the steering are lent from one generation to the
 * next: while both have them they are the same descriptors in the master.  generation_release() ends that: it closes
 * what the other one does not have.
 */
#ifndef SLUICE_PROC_GENERATION_H
#define SLUICE_PROC_GENERATION_H

#include <jansson.h>

#include "app/upstream_table.h"
#include "module_shm.h"
#include "net/limit_share.h"
#include "net/listener.h"
#include "net/steer.h"
#include "net/udp_listener.h"
#include "proc/cpus.h"
#include "proc/rebalance.h"
#include "proc/runtime.h"
#include "proc/sandbox.h"
#include "proc/supervisor.h"
#include "proc/worker.h"
#include "stats_shm.h"

struct master;
struct store_share;
struct elder;

enum generation_state { GENERATION_STARTING, GENERATION_SERVING, GENERATION_LEAVING, GENERATION_FAILED };

#define GENERATION_NO_ENDPOINT (~0u)

struct generation {
	struct list node;		/* of master.generations, the oldest first */
	struct master *master;
	struct elder *elder;		/* its processes are those of an earlier master, which is not gone yet; else NULL */
	uint32_t number;		/* from 1 */
	enum generation_state state;
	const struct config *config;
	struct config *own_config;	/* the same, to be freed; NULL: the caller's */
	struct cpus cpus;
	unsigned worker_count;
	int log_fd;			/* access log, -1: none */
	struct runtime *runtime;
	struct sandbox sandbox;		/* of all its processes */
	struct stats_block *stats;	/* one for each slot, in stats_memory */
	struct shm stats_memory;
	struct shm foreign_stats;	/* of a program that lays them out otherwise: stats is a copy (elder_refresh_stats) */
	json_t *foreign_layout;
	struct upstream_table upstreams;	/* its last row of counters: of generations that are gone */
	struct limit_table limits;	/* of clients; may be lent by the generation before */
	struct limit_rows limit_rows;
	struct limit_share limit_share;	/* with other hosts */
	unsigned *endpoint_from;	/* of each endpoint: the same one in the generation before, or NO_ENDPOINT */
	unsigned *endpoint_now;		/* of each endpoint: the same one in the generation in force, or NO_ENDPOINT */
	struct steer *steer;
	struct inboxes inboxes;		/* connections on their way from worker to worker */
	struct listener *listeners;
	unsigned listener_count;
	struct udp_listener *udp_listeners;
	unsigned udp_listener_count;
	struct supervisor workers;
	struct supervisor monitor;	/* one slot, or none: nothing to resolve or to check */
	struct supervisor storers;	/* a slot for each store that has a writer */
	unsigned *storer_stores;	/* of each slot: which one */
	unsigned storer_count;
	struct supervisor sharer;	/* one slot, or none: hosts share no limits */
	struct store_share **store_shares;	/* what is counted of each store; generation_store.c */
	struct store_stats **store_stats;	/* the same, to count in */
	struct module_stats *module_stats;	/* shared: [worker][module]; generation_module.c */
	bool *is_store_linked;		/* [slot of storers][worker]: both have their end of a connection */
	bool is_released[STEER_MAX_SLOTS];	/* the slot is free for its worker */
	struct leave_order order;	/* LEAVING: to each worker, but for what differs by slot */
	bool is_told[STEER_MAX_SLOTS];	/* LEAVING: its worker has the order */
	uint64_t moved_before;		/* moved_out of all slots when it began to leave */
	struct timer kill_timer;
};

/*
 * Everything but the processes.  `before`: the generation in force, NULL for the first.  `own`: the same configuration
 * if it is to be freed with the generation, which owns it only when this succeeds.  0, or -errno after logging why.
 */
int generation_new(struct master *m, const struct config *config, struct config *own, const struct generation *before,
		   struct generation **ret_generation);
/*
 * Lets go of what it only needs to start workers, and of what `heir` (NULL: nobody) does not share.  `steer`: the one in
 * force, from which addresses that are gone are taken, or NULL.  Harmless twice.
 */
void generation_release(struct generation *g, const struct generation *heir, struct steer *steer);
/* An empty one that stands for one of another master (elder.h).  NULL without memory. */
struct generation *generation_new_foreign(struct master *m, struct elder *elder);
/* Every process must be gone. */
void generation_free(struct generation *g);
/* CPU of a slot: slots beyond the usable CPUs wrap around. */
unsigned generation_cpu_of(const struct generation *g, unsigned slot);
/* The settings of the steering that a configuration asks for. */
struct steer_options generation_steer_options(const struct generation *g);
/* Opens the access log anew for its workers; false when it stays as it is. */
bool generation_reopen_log(struct generation *g);
/* Connections that its workers have given to others. */
uint64_t generation_moved(const struct generation *g);

/* generation_listen.c: sockets.  0 or -errno, logged. */
int generation_open_listeners(struct generation *g, const struct generation *before);
/* The listener of `other` with the same sockets; NULL: there is none. */
const struct listener *generation_twin(const struct generation *other, const struct listener *l);
void generation_release_listeners(struct generation *g, const struct generation *heir, struct steer *steer);
/* In force from now on: grown groups listen, changed programs are attached. */
void generation_start_listening(struct generation *g, struct generation *before);

/* generation_udp.c: UDP sockets, in the order of the configuration.  0 or -errno, logged. */
int generation_open_udp(struct generation *g, const struct generation *before);
/* Does another generation listen where this one does? */
bool generation_has_udp_twin(const struct generation *next, const struct udp_listener *l);
/* In force from now on: new flows come here. */
void generation_start_udp(struct generation *g);
/* Known flows of that slot go to the generation in force from now on. */
void generation_retire_udp(struct generation *g, unsigned slot);
/* This process's descriptors; workers keep theirs. */
void generation_close_udp_socks(struct generation *g);
/* In a forked child. */
void generation_disown_udp(struct generation *g);
void generation_free_udp(struct generation *g);

/* generation_store.c: folders and counters of the stores.  0 or -errno, logged; close it anyway. */
int generation_open_stores(struct generation *g, const struct generation *before);
void generation_close_stores(struct generation *g);

/* generation_module.c: what is counted of modules.  0 or -ENOMEM, logged. */
int generation_open_modules(struct generation *g);
void generation_close_modules(struct generation *g);
/* The counters of that worker, one for each module; NULL: there is none. */
struct module_stats *generation_module_stats(const struct generation *g, unsigned slot);
/* That worker is gone, and so is what it had in flight. */
void generation_forget_modules(struct generation *g, unsigned slot);
/* Of all workers and generations, those that are gone included. */
void generation_sum_modules(const struct master *m, const char *path, struct module_stats *ret_sum);
/* The master ends. */
void generation_drop_module_past(struct master *m);

/* generation_limits.c: the tables of clients.  0 or -errno, logged. */
int generation_open_limits(struct generation *g, const struct generation *before);
void generation_close_limits(struct generation *g);

/* generation_upstream.c: the table of upstream servers.  0 or -errno, logged. */
int generation_open_upstreams(struct generation *g, const struct generation *before);
/* `next` follows the one in force: of all others it is known which of its endpoints are theirs. */
void generation_follow_endpoints(struct master *m, const struct generation *next);
/* What it counted goes on counting in the generation in force. */
void generation_bequeath_counters(const struct generation *g, struct generation *current);
/* A table of sums over all generations, to be closed; empty without memory. */
void generation_sum_upstreams(struct master *m, struct upstream_table *ret_table);

#endif
