/* SPDX-License-Identifier: MIT */
/*
 * A worker takes connections from the queue of a sibling that does not move or is gone, as the
 * master's watch asks (watch.h).  Every worker has inherited all slots' listening sockets.  The
 * connection counts in the slot of its new worker; the reservation cancelled is the one in the slot
 * that the program had chosen.
 */
#ifndef SLUICE_PROC_RESCUE_H
#define SLUICE_PROC_RESCUE_H

#include "net/listener.h"
#include "proc/acceptor.h"

/* Master to worker, over the channel (worker.h). */
#define CHANNEL_RESCUE 'T'
#define CHANNEL_NUDGE  'N' /* one byte, to be awake for a moment */

struct rescue_order { /* and the listening socket */
	char type;    /* CHANNEL_RESCUE */
	bool has_proxy_header; /* of its connections (listener.h) */
	uint16_t slot;	/* whose queue */
	uint16_t count; /* connections to take at most */
};

/* `listen_fd` stays the caller's.  How many were taken. */
unsigned rescue_take(struct acceptor *a, const struct rescue_order *order, int listen_fd,
		     struct steer *steer);

#endif
