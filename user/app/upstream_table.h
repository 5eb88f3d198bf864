/* SPDX-License-Identifier: MIT */
/*
 * Access to the shared table of include/upstream_shm.h: layout, the address under its sequence, the counts that several
 * processes change.
 */
#ifndef SLUICE_APP_UPSTREAM_TABLE_H
#define SLUICE_APP_UPSTREAM_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "upstream_shm.h"

struct upstream_table {		/* private to each process; the memory is shared */
	unsigned endpoint_count, worker_count;
	struct upstream_endpoint *endpoints;
	struct upstream_counters *counters;	/* [worker][endpoint] */
	size_t size;				/* bytes of the shared memory */
};

/* One read of an endpoint: consistent. */
struct upstream_address {
	struct sockaddr_storage addr;
	socklen_t len;		/* bytes; 0: the endpoint has no address */
	uint32_t weight;
};

/* Shared memory for that many; all zero.  No endpoints: nothing is mapped.  0 or -ENOMEM. */
int upstream_table_open(struct upstream_table *t, unsigned endpoint_count, unsigned worker_count);
void upstream_table_close(struct upstream_table *t);
struct upstream_counters *upstream_table_counters(const struct upstream_table *t, unsigned worker, unsigned endpoint);

/* Master (literals) or monitor (names) only.  `len` 0 takes the address away. */
void upstream_endpoint_set(struct upstream_endpoint *e, const struct sockaddr *addr, socklen_t len, uint32_t weight,
			   uint64_t now_ns);
/* Any process, never waits for long: a writer that died in between reads as "no address". */
void upstream_endpoint_get(const struct upstream_endpoint *e, struct upstream_address *ret_address);

/* Counts of a worker that died are taken off the endpoints; called by the master before the slot's next worker starts. */
void upstream_table_forget_worker(struct upstream_table *t, unsigned worker);

#endif
