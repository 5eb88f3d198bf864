/* SPDX-License-Identifier: MIT */
/*
 * What the files of the master share: master.c (life), master_open.c (resources), master_workers.c (their life),
 * master_upstream.c (monitor), master_store.c (writers of stores), master_share.c (sharer), master_ctl.c and master_steer.c (commands),
 * master_upgrade.c (its end), generation*.c, reload*.c, upgrade*.c and elder*.c.
 */
#ifndef SLUICE_PROC_MASTER_INTERNAL_H
#define SLUICE_PROC_MASTER_INTERNAL_H

#include "base/privilege.h"
#include "net/inherit.h"
#include "net/steer.h"
#include "proc/bus.h"
#include "proc/ctl.h"
#include "proc/elder.h"
#include "proc/generation.h"
#include "proc/monitor.h"
#include "proc/reload.h"
#include "proc/service.h"
#include "proc/stats.h"
#include "proc/upgrade.h"
#include "proc/version.h"
#include "proc/watch.h"
#include "stats_shm.h"

/* FOLLOWING: starts in the place of another master; LEAVING: another one has taken the place of this one. */
enum master_state { MASTER_STARTING, MASTER_FOLLOWING, MASTER_SERVING, MASTER_STOPPING, MASTER_LEAVING };

struct master {
	enum master_state state;
	int exit_status;
	unsigned file_limit;		/* descriptors a process may open */
	uint64_t started_ns;		/* CLOCK_MONOTONIC */
	struct identity identity;
	struct service service;		/* systemd, say */
	struct inherited inherited;	/* sockets from there */
	struct loop loop;
	struct list generations;	/* the oldest first */
	struct generation *current;	/* in force; NULL before the first and after the last */
	uint32_t last_number;
	uint32_t *owners;		/* shared, one for each slot there can be: the generation whose worker has it */
	struct shm owners_memory;
	struct stats_block *past;	/* of generations that are gone, one for each slot there can be */
	struct list store_shares;	/* generation_store.c */
	struct list module_past;	/* generation_module.c */
	struct shm past_memory;
	struct bus bus;			/* between workers; open as soon as a configuration has a channel */
	struct reload reload;
	struct upgrade upgrade;
	struct list elders;		/* masters before this one that are not gone yet */
	int follow_fd;			/* the socket to the one whose place this takes; -1: none */
	int ctl_fd;			/* FOLLOWING: its control socket; -1 once it is in use */
	struct ctl *ctl;
	struct ctl_request *stop_requests[CTL_CLIENT_MAX];	/* wait for the end */
	unsigned stop_request_count;
	struct watch watch;
	struct io signals;
	struct timer tick;
	unsigned tick_count;
	struct timer kill_timer;
	struct job sweep;		/* of generations without processes */
};

/* master_open.c: resources in the order they depend on each other.  0, or -errno after logging why. */
int master_open(struct master *m, const struct config *config);
/* The control socket, that of the master before this one if there is any: then failure is logged only. */
int master_open_ctl(struct master *m);
int master_open_identity(struct master *m, const struct config *config);
/* Owners and past, all zero.  0 or -ENOMEM, logged. */
int master_open_memory(struct master *m);
/* Everything master_open opened, in the reverse order; copes with a half-open master. */
void master_close(struct master *m);
/* Opens the access logs anew and hands them to the workers. */
void master_reopen_log(struct master *m);

/* master_upgrade.c */
/* Everything is the new master's: what is left here drains. */
void master_leave(struct master *m, const struct upgrade_leave *order);
/* The new master is gone before it had everything. */
void master_take_back(struct master *m);
/* The other side of it: in force from now on. */
void master_follow(struct master *m);

/* master_ctl.c */
extern const struct ctl_command master_commands[];

/* master_steer.c */
void master_on_steer(struct ctl_request *rq, const json_t *args, void *owner);

/* master_upstream.c */
void master_start_monitor(struct generation *g);
void master_on_upstream(struct ctl_request *rq, const json_t *args, void *owner);

/* master_share.c */
void master_start_sharer(struct generation *g);

/* master_store.c */
void master_start_storers(struct generation *g);
/* Connects workers and writers that are ready and are not. */
void master_link_stores(struct generation *g);
/* That worker is gone. */
void master_unlink_worker(struct generation *g, unsigned worker);

/* master_workers.c.  0 or -errno: those that have started are to be stopped. */
int master_start_workers(struct generation *g);
/* The slot is free for the worker of `g`; it is told now, or as soon as it is ready. */
void master_release_slot(struct generation *g, unsigned slot);
/* In a forked child of `mine`: lets go of what only the master may have, and of all other generations. */
void master_abandon(struct master *m, struct generation *mine);
/* The same for a helper, which has nothing to do with clients: a socket kept there would take connections nobody serves. */
void master_abandon_clients(struct master *m, struct generation *mine);
/* For a supervisor of a generation, which may have lost its last process. */
void master_on_empty(void *owner);

/* master.c: `is_hard`: connections are not waited for. */
void master_stop(struct master *m, bool is_hard);
void master_start_watch(struct master *m);
void master_start_tick(struct master *m);

/* The service manager hears what is in force. */
void master_tell_ready(struct master *m);

/* master_stats.c: the counters of a slot over all generations. */
void master_sum_stats(struct master *m, unsigned slot, struct stats_block *ret_sum);
/* Of a generation that ends. */
void master_keep_stats(struct master *m, const struct generation *g);

#endif
