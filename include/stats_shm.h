/* SPDX-License-Identifier: MIT */
/*
 * The statistics segment: shared memory made by the master before it forks; each generation has one with a block for
 * each of its slots, written only by the worker of that slot, read by the master.  A worker that follows one that died
 * goes on counting where that stopped.  What the master shows of a slot is the sum over all generations, those that are
 * gone included: it only grows over the life of the server, upgrades included, so readers may compute rates.  A new
 * counter goes into the table of user/proc/stats.c too.
 */
#ifndef SLUICE_STATS_SHM_H
#define SLUICE_STATS_SHM_H

#include <stdint.h>

/* lint: the histogram has no system and no process in it, only numbers */
#include "base/hist.h"

/* Why a connection was closed; every close counts in exactly one. */
#define CLOSE_REASONS(X)                                                                           \
	X(CLOSE_DONE, "done")				/* last response sent, Connection: close */    \
	X(CLOSE_CLIENT, "client")			/* client closed between requests */           \
	X(CLOSE_CLIENT_ABORT, "client_abort")		/* client closed or reset within a request */  \
	X(CLOSE_IDLE, "idle")				/* keep-alive timeout */                       \
	X(CLOSE_HEADER_TIMEOUT, "header_timeout")	/* request head not complete in time */        \
	X(CLOSE_BODY_TIMEOUT, "body_timeout")		/* request body not in time */                 \
	X(CLOSE_WRITE_TIMEOUT, "write_timeout")	/* client does not read */                     \
	X(CLOSE_BAD_REQUEST, "bad_request")		/* 4xx/5xx of the guard or parser */           \
	X(CLOSE_MAX_REQUESTS, "max_requests")		/* requests per connection reached */          \
	X(CLOSE_MAX_AGE, "max_age")			/* age of a connection reached */              \
	X(CLOSE_REBALANCE, "rebalance")		/* asked to come back and be steered anew */   \
	X(CLOSE_DRAIN, "drain")			/* server is stopping */                       \
	X(CLOSE_MEMORY, "memory")			/* no memory for it */                         \
	X(CLOSE_IO_ERROR, "io_error")			/* other error of the socket or a file */      \
	X(CLOSE_REFUSED, "refused")			/* no descriptors are left: answered by 503, or idle */ \
	X(CLOSE_CLIENT_CONNECTIONS, "client_connections") /* its client has too many: answered by 429 */ \
	X(CLOSE_TOTAL_CONNECTIONS, "total_connections")	/* there are too many: answered by 503 */      \
	X(CLOSE_HEADER_RATE, "header_rate")		/* request head slower than the least rate */  \
	X(CLOSE_BODY_RATE, "body_rate")		/* request body slower than the least rate */  \
	X(CLOSE_WRITE_RATE, "write_rate")		/* reads slower than the least rate */         \
	X(CLOSE_PROXY_HEADER, "proxy_header")		/* no PROXY protocol header, a wrong or late one */ \
	X(CLOSE_TUNNEL, "tunnel")			/* after a 101: both sides have ended */       \
	X(CLOSE_TUNNEL_IDLE, "tunnel_idle")		/* after a 101: nothing came in time */        \
	X(CLOSE_TUNNEL_FAILED, "tunnel_failed")	/* after a 101: a side was reset */

#define X(id, text) id,
enum close_reason { CLOSE_REASONS(X) CLOSE_REASON_COUNT };
#undef X

struct stats_block {
	uint64_t accepted;			/* connections */
	uint64_t requests;			/* requests answered, whatever the status */
	uint64_t status[6];			/* by class: [2] counts 2xx; [0] answered by nobody (aborted) */
	uint64_t bytes_in;			/* bytes of requests read from sockets */
	uint64_t bytes_out;			/* bytes of responses written to sockets */
	uint64_t closed[CLOSE_REASON_COUNT];
	uint64_t accept_errors;			/* accept failed for want of descriptors or memory */
	uint64_t accept_pauses;			/* times accepting was paused */
	uint64_t stalls;			/* written by the master: times the worker was found stalled */
	uint64_t stall_kills;			/* written by the master: times it was killed for it */
	uint64_t rescued;			/* connections taken from the queues of stalled siblings */
	uint64_t restarts;			/* written by the master: workers of this slot that died */
	uint64_t stale_events;
	uint64_t log_lost;			/* access log lines dropped: the disk refused */
	uint64_t keepalive_reuses;		/* requests beyond the first of their connection */
	uint64_t moved_in, moved_out;		/* connections taken from and given to other workers */
	uint64_t timeouts;
	uint64_t rate_limited;			/* requests answered by 429: their client asks too often */
	uint64_t memory_refused;		/* requests answered by 503: the memory for buffers is used up */
	uint64_t sandbox_refused;		/* system calls that the worker's sandbox refused */
	uint32_t pid;
	uint32_t generation;			/* configuration the worker runs */
	uint32_t state;				/* enum worker_state */
	uint32_t confined;			/* CONFINED_... of the worker that runs */
	uint32_t connections;			/* open at this worker, at the end of its last turn */
	struct hist latency_us;			/* of answered requests: first byte read to reply complete */
} __attribute__((aligned(64)));

/* What holds a process, all of it set by itself before it serves. */
#define CONFINED_NO_NEW_PRIVS 1u
#define CONFINED_SECCOMP      2u
#define CONFINED_LANDLOCK     4u

enum worker_state { WORKER_DOWN, WORKER_STARTING, WORKER_RUNNING, WORKER_DRAINING };

#endif
