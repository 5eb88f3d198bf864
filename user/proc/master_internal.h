/* SPDX-License-Identifier: MIT */
/* What master.c (life), master_open.c (resources), master_upstream.c and master_ctl.c (commands) share. */
#ifndef SLUICE_PROC_MASTER_INTERNAL_H
#define SLUICE_PROC_MASTER_INTERNAL_H

#include "app/upstream_table.h"
#include "net/inherit.h"
#include "net/listener.h"
#include "net/steer.h"
#include "proc/cpus.h"
#include "proc/ctl.h"
#include "proc/monitor.h"
#include "proc/privilege.h"
#include "proc/rebalance.h"
#include "proc/runtime.h"
#include "proc/sandbox.h"
#include "proc/service.h"
#include "proc/supervisor.h"
#include "proc/watch.h"
#include "stats_shm.h"

enum master_state { MASTER_STARTING, MASTER_SERVING, MASTER_STOPPING };

/* Number of the configuration in force; there is no reload yet. */
#define MASTER_GENERATION 1u

struct master {
	const struct config *config;
	enum master_state state;
	int exit_status;
	unsigned worker_count;
	unsigned file_limit;		/* descriptors a process may open */
	uint64_t started_ns;		/* CLOCK_MONOTONIC */
	struct cpus cpus;
	struct identity identity;
	struct sandbox sandbox;
	struct service service;		/* systemd, say */
	struct inherited inherited;	/* sockets from there, until they are taken */
	struct loop loop;
	struct steer *steer;
	struct listener *listeners;
	unsigned listener_count;
	struct stats_block *stats;	/* shared memory, one for each slot */
	struct runtime *runtime;
	struct ctl *ctl;
	struct ctl_request *stop_requests[CTL_CLIENT_MAX];	/* wait for the end */
	unsigned stop_request_count;
	struct inboxes inboxes;		/* connections on their way from worker to worker */
	struct upstream_table upstreams;
	struct supervisor supervisor;
	struct supervisor monitor;	/* one slot, or none: nothing to resolve or to check */
	struct watch watch;
	struct io signals;
	struct timer tick;
	struct timer kill_timer;
	int log_fd;			/* access log, -1: none */
};

/* master_open.c: resources in the order they depend on each other.  0, or -errno after logging why. */
int master_open(struct master *m);
/* Everything master_open opened, in the reverse order; copes with a half-open master. */
void master_close(struct master *m);
/* Opens the access log anew and hands it to the workers. */
void master_reopen_log(struct master *m);
/* CPU of a slot: slots beyond the usable CPUs wrap around. */
unsigned master_cpu_of(const struct master *m, unsigned slot);

/* master_ctl.c */
extern const struct ctl_command master_commands[];

/* master_steer.c */
void master_on_steer(struct ctl_request *rq, const json_t *args, void *owner);

/* master_upstream.c.  The table: 0 or -ENOMEM, logged. */
int master_open_upstreams(struct master *m);
void master_start_monitor(struct master *m);
void master_on_upstream(struct ctl_request *rq, const json_t *args, void *owner);

/* master.c: `is_hard`: connections are not waited for. */
void master_stop(struct master *m, bool is_hard);
/* In a forked child: lets go of what only the master may have, but for sockets and channels. */
void master_abandon(struct master *m);

#endif
