/* SPDX-License-Identifier: MIT */
/*
 * The process that writes a store, one for each store of a generation: workers hand it their changes (app/store_wire.h),
 * it makes them in batches, one transaction each, and answers when the disk has.
 *
 * A process, because a writer waits: for the lock that writers of LMDB have between them, and for the disk.  A worker
 * must do neither.  One, because what gathers while the disk is at work then goes into one transaction.  Its own, because
 * workers may not write files.  The writers of two generations, or of two servers, take turns by LMDB's lock.
 *
 * Forked by the master and supervised as workers are, unprivileged, in a sandbox.  Workers come and go as connections that
 * the master passes on.  It leaves at SIGTERM at once, and when the master is gone as soon as the last worker is.
 */
#ifndef SLUICE_PROC_STORER_H
#define SLUICE_PROC_STORER_H

#include "base/privilege.h"
#include "config/config.h"
#include "proc/sandbox.h"
#include "store_shm.h"

struct storer_options {
	const struct config_store *config;
	struct store_stats *stats;
	int channel_fd;		/* to the master, as a worker's */
	struct identity identity;
	const struct sandbox *sandbox;
};

/* The process: runs until it is told to leave; its exit status. */
int storer_run(const struct storer_options *opt);

#endif
