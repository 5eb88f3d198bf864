/* SPDX-License-Identifier: MIT */
/*
 * The monitor process: resolves the names of upstream servers and checks their health, once for the host, and writes
 * what it finds into the shared table that all workers read.  One process for all of it, so that a name server or an
 * application sees one asker and not one for each core.
 *
 * A helper (helper.h): without it all goes on as it is, only nothing new is learned.
 */
#ifndef SLUICE_PROC_MONITOR_H
#define SLUICE_PROC_MONITOR_H

#include "app/upstream_table.h"
#include "base/privilege.h"
#include "config/config.h"
#include "net/loop.h"
#include "proc/sandbox.h"

/* Is there a name to resolve or a server to check? */
bool monitor_is_needed(const struct config *c);

struct monitor;

/* Starts on that loop; config and table must outlive it.  0 or -errno, logged. */
int monitor_new(struct loop *loop, const struct config *config, const struct upstream_table *table,
		struct monitor **ret_monitor);
/* Stops at once; the table stays as it is.  NULL is allowed. */
void monitor_free(struct monitor *m);

struct monitor_options {
	const struct config *config;
	const struct upstream_table *upstreams;
	int channel_fd;		/* to the master, as a worker's */
	struct identity identity;
	const struct sandbox *sandbox;
};

/* The process: runs until it is told to leave; its exit status. */
int monitor_run(const struct monitor_options *opt);

#endif
