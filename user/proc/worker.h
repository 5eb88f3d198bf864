/* SPDX-License-Identifier: MIT */
/*
 * A worker process: one slot's connections on one core.  Forked by the master, from which it inherits the sockets, the
 * routes and the shared memory; it gives up all rights before it accepts anything.
 *
 * The channel (Unix seqpacket) to the master carries short messages:
 *   worker -> master   'R' ready: nothing but its slot is missing    'F' + text: it cannot start
 *                      'U' (leaving) its UDP sessions have ended: their flows are to go elsewhere
 *                      'S' it accepts no more, the slot is free    'M' nobody waits here who could move
 *   master -> worker   'G' take the slot: accept
 *                      'H' leave it: struct leave_order
 *                      'V' the answer to 'U': they do
 *                      'L' + descriptor: the access log, opened anew
 *                      'B': move connections until all slots have their share
 *                      'D' + a byte + descriptor: a connection to the writer of that store
 *                      'T' take connections from a sibling's queue, 'N' nothing, be awake (rescue.h)
 * Its end (the master is gone) means drain and leave, so that no worker is left over.
 * Signals: SIGTERM drains, SIGQUIT ends at once.
 */
#ifndef SLUICE_PROC_WORKER_H
#define SLUICE_PROC_WORKER_H

#include "app/upstream_table.h"
#include "base/privilege.h"
#include "net/listener.h"
#include "net/udp_listener.h"
#include "proc/rebalance.h"
#include "proc/runtime.h"
#include "proc/sandbox.h"
#include "stats_shm.h"
#include "upgrade_proto.h"

#define CHANNEL_READY 'R'
#define CHANNEL_FAILED 'F'
#define CHANNEL_STOPPED 'S'
#define CHANNEL_MOVED 'M'
#define CHANNEL_TAKE  'G'
#define CHANNEL_LEAVE 'H'
#define CHANNEL_LOG   'L'
#define CHANNEL_REBALANCE 'B'
#define CHANNEL_UDP_RETIRE 'U'
#define CHANNEL_UDP_RETIRED 'V'
#define CHANNEL_STORE 'D'

#define LEAVE_LISTENERS_MAX UPGRADE_LISTENERS_MAX
/* Whatever the drain limit, connections that can move have this long for it. */
#define LEAVE_MIN_MS 1000u

struct leave_order {
	char type;			/* CHANNEL_LEAVE */
	bool is_slot_kept;		/* another worker has it from now on */
	bool can_move;			/* connections can go to the heir's inbox */
	bool is_udp_apart;		/* the heir has UDP sockets of its own, steered or not */
	uint16_t heir;			/* the slot whose inbox takes the connections */
	uint16_t listener_count;	/* of is_kept; what is beyond counts as gone */
	bool is_kept[LEAVE_LISTENERS_MAX];	/* in the order of the worker's listeners */
	bool is_udp_gone[LEAVE_LISTENERS_MAX];	/* in the order of its UDP listeners: nobody listens there any more */
};

struct worker_options {
	const struct config *config;
	struct runtime *runtime;
	struct steer *steer;
	const struct inboxes *inboxes;
	const struct upstream_table *upstreams;
	struct bus *bus;		/* NULL: no channel is configured */
	struct store_stats *const *store_stats;	/* of each store; NULL: there is none */
	struct module_stats *module_stats;	/* this worker's, of each module; NULL: there is none */
	struct limit_table *limits;	/* of clients; may have no memory */
	struct limit_row limit_row;
	struct limit_post limit_post;
	struct stats_block *stats;	/* of this slot and generation */
	const struct stats_block *all_stats;	/* of all slots of the generation */
	unsigned worker_count;
	uint32_t generation;
	const uint32_t *owner;		/* shared: the generation whose worker has the slot */
	struct listener *listeners;
	unsigned listener_count;
	struct udp_listener *udp_listeners;
	unsigned udp_listener_count;
	unsigned slot;
	int cpu;			/* -1: not pinned */
	unsigned file_limit;		/* descriptors this process may open */
	int channel_fd;
	int log_fd;			/* of the access log, -1: none */
	struct identity identity;
	const struct sandbox *sandbox;
};

/* Runs until the worker has drained or failed; the exit status of the process. */
int worker_run(const struct worker_options *opt);

#endif
