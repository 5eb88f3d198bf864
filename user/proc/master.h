/* SPDX-License-Identifier: MIT */
/*
 * The master process: owns the listening sockets, the BPF objects and the statistics, keeps the workers alive, answers
 * on the control socket.  It touches no connection.
 *
 *   STARTING --all workers ready--> SERVING --SIGTERM, SIGINT, stop--> STOPPING --last worker gone--> end
 *                 a worker dies before --> STOPPING, status 1            again, or SIGQUIT: at once
 *
 * In an upgrade (upgrade.h, elder.h) the new one starts as FOLLOWING instead, and the old one ends as LEAVING.
 */
#ifndef SLUICE_PROC_MASTER_H
#define SLUICE_PROC_MASTER_H

#include "config/config.h"

/*
 * Serves until stopped.  The configuration stays the caller's; where this takes the place of another master, what cannot
 * change is set in it.  The exit status of the process: 0 or 1.
 */
int master_run(struct config *config);

#endif
