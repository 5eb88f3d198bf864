/* SPDX-License-Identifier: MIT */
/*
 * The table of upstream servers: shared memory that the master makes before it forks, for what all processes
 * must agree on: which addresses there are, which of them are well, how many requests each has at the moment.
 *
 * An endpoint is one address.  A server that is configured by address or Unix socket has one, one configured by name has
 * room for UPSTREAM_NAME_ENDPOINTS.  Endpoints of a server, and servers of an upstream, lie side by side.
 *
 * Each field has one writer, or is changed by atomic operations only:  [M] master  [P] monitor process, which resolves
 * names and checks health  [W] any worker, atomically.
 */
#ifndef SLUICE_UPSTREAM_SHM_H
#define SLUICE_UPSTREAM_SHM_H

#include <stdint.h>

#define UPSTREAM_NAME_ENDPOINTS	  16	/* addresses of one name; more are left out */
#define UPSTREAM_ADDRESS_SIZE	  112	/* bytes: struct sockaddr_un is the largest, 110 */

enum endpoint_health { HEALTH_UNKNOWN, HEALTH_UP, HEALTH_DOWN };	/* unknown counts as well */

/* All that a balancer looks at lies in the first cache line. */
struct upstream_endpoint {
	/* Address and weight are read under the sequence: odd while they change.  [M] of a literal, at start; else [P] */
	uint32_t sequence;
	uint32_t is_used;		/* there is an address */
	uint32_t weight;		/* of the configuration, or of SRV; 1 to 65535 */
	uint32_t address_len;		/* bytes */
	uint32_t health;		/* [P] enum endpoint_health of the active checks */
	uint32_t is_drained;		/* [M] no new requests */
	uint32_t active;		/* [W] requests it has at the moment, of all workers */
	uint32_t connections;		/* [W] connections open to it, of all workers */
	uint64_t ejected_until_ns;	/* [W] passive: not chosen before this time (CLOCK_MONOTONIC) */
	uint64_t used_since_ns;		/* [P] CLOCK_MONOTONIC: first seen, or well again: slow start counts from here; 0: never */
	uint32_t ejections;		/* [W] in a row: each lasts longer */
	uint32_t ejection_count;	/* [W] counter */
	uint32_t wanted_ms;		/* [W] when a worker without a connection last found all taken, low bits */
	uint8_t address[UPSTREAM_ADDRESS_SIZE] __attribute__((aligned(64)));	/* struct sockaddr, under the sequence */
	uint64_t checks, check_failures;/* [P] counters */
	char check_error[40];		/* [P] the last failure in words, "" if none; may be torn, always ends in NUL */
	uint32_t check_streak;		/* [P] checks in a row that say otherwise than `health` */
	uint32_t spare;
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct upstream_endpoint) == 256, "four cache lines, of which the first is the balancer's");

/* What one worker did with one endpoint; written by that worker only, set right by the master when it dies. */
struct upstream_counters {
	uint32_t active, connections;	/* its share of the endpoint's */
	uint64_t requests;		/* given to the endpoint, retries included */
	uint64_t connects, reuses;	/* connections made; requests on one that was there already */
	uint64_t connect_failures, timeouts, failures;	/* refused or unreachable; no (whole) answer in time; other errors */
	uint64_t retries;		/* requests that went elsewhere after this endpoint failed */
	uint64_t status[6];		/* by class, [2] counts 2xx; [0] no answer */
	uint64_t bytes_in, bytes_out;	/* bytes read from it, written to it */
	uint64_t idle_closed;		/* kept connections that it closed, or sent something on unasked */
	uint64_t panics;		/* requests given to it although it was ejected: no other was left */
	uint64_t waits;			/* requests that waited in the queue before it got them */
	/* Of the whole upstream: kept at its first endpoint. */
	uint64_t queued;		/* requests that wait in the queue now */
	uint64_t queue_full, queue_timeouts, no_server;	/* requests that failed so */
} __attribute__((aligned(64)));

#endif
