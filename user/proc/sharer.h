/* SPDX-License-Identifier: MIT */
/*
 * The sharer process: tells other hosts which requests of limited clients the workers of a generation have admitted, and
 * hears what those have let them have (app/limit_sync.h).  A helper (helper.h), one for the host, since its workers have
 * one table; beside the monitor, since it has to stay as long as there is a worker of its generation that admits anybody.
 */
#ifndef SLUICE_PROC_SHARER_H
#define SLUICE_PROC_SHARER_H

#include "app/upstream_table.h"
#include "base/privilege.h"
#include "config/config.h"
#include "net/limit_share.h"
#include "proc/sandbox.h"

/* That of limits { redis }; NULL: there is none, or nothing to share. */
const struct config_redis *sharer_redis(const struct config *c);
/* For so long after a good answer it counts as known what other hosts let clients have. */
uint64_t sharer_lease_ns(const struct config *c);

struct sharer_options {
	const struct config *config;
	const struct upstream_table *upstreams;
	struct limit_share *share;
	struct limit_table *table;
	int channel_fd;		/* to the master, as a worker's */
	struct identity identity;
	const struct sandbox *sandbox;
};

/* The process: runs until it is told to leave; its exit status. */
int sharer_run(const struct sharer_options *opt);

#endif
