/* SPDX-License-Identifier: MIT */
/* What every process that the master forks does with its signals. */
#ifndef SLUICE_PROC_CHILD_H
#define SLUICE_PROC_CHILD_H

/*
 * The master blocked all signals; of these SIGTERM and SIGQUIT arrive by the descriptor that is returned (non-blocking,
 * close-on-exec), those that are the master's business (SIGINT, SIGHUP, SIGUSR1) stay blocked, the others do as they
 * please again.  Descriptor or -errno.
 */
int child_open_signals(void);

#endif
