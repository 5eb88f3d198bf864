/* SPDX-License-Identifier: MIT */
/*
 * The master process: owns the listening sockets, the BPF objects and the statistics, keeps the workers alive, answers
 * on the control socket.  It touches no connection.
 *
 *   STARTING --all workers ready--> SERVING --SIGTERM, SIGINT, stop--> STOPPING --last worker gone--> end
 *                 a worker dies before --> STOPPING, status 1            again, or SIGQUIT: at once
 */
#ifndef SLUICE_PROC_MASTER_H
#define SLUICE_PROC_MASTER_H

#include "proc/config.h"

/* Serves until stopped.  The configuration stays the caller's.  The exit status of the process: 0 or 1. */
int master_run(const struct config *config);

#endif
