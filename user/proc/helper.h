/* SPDX-License-Identifier: MIT */
/*
 * A process beside the workers that does one thing for all of them and touches no connection of a client: forked by the
 * master and supervised as workers are, unprivileged, pinned nowhere, in a sandbox.  It leaves at SIGTERM and SIGQUIT,
 * and when the master is gone.
 */
#ifndef SLUICE_PROC_HELPER_H
#define SLUICE_PROC_HELPER_H

#include "base/privilege.h"
#include "net/loop.h"
#include "proc/sandbox.h"

struct helper {			/* set by the caller, which must outlive the process's work */
	const char *name;	/* in the log */
	enum sandbox_role role;
	int channel_fd;		/* to the master, as a worker's */
	struct identity identity;
	const struct sandbox *sandbox;
	/* What it does: begins on the loop, before the sandbox; 0 or -errno, logged.  Then ends, also half begun. */
	int (*start)(struct helper *h);
	void (*stop)(struct helper *h);
	/* At SIGTERM: calls loop_stop() as soon as there is nothing to finish.  NULL: there never is. */
	void (*leave)(struct helper *h);
	struct loop loop;
	/* private */
	struct io signal_io, channel_io;
};

/* Runs until it is told to leave; the exit status. */
int helper_run(struct helper *h);

#endif
