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

#include "base/shm.h"
#include "upstream_shm.h"

struct upstream_table {		/* private to each process; the memory is shared */
	unsigned endpoint_count, worker_count;
	struct upstream_endpoint *endpoints;
	struct upstream_counters *counters;	/* [worker][endpoint] */
	struct shm memory;
};

/* One read of an endpoint: consistent. */
struct upstream_address {
	struct sockaddr_storage addr;
	socklen_t len;		/* bytes; 0: the endpoint has no address */
	uint32_t weight;
};

/* Shared memory for that many; all zero.  No endpoints: nothing is mapped.  0 or -ENOMEM. */
int upstream_table_open(struct upstream_table *t, unsigned endpoint_count, unsigned worker_count);
/* That of another process by its descriptor, which is taken over, also on failure.  0 or -errno. */
int upstream_table_map(struct upstream_table *t, int fd, unsigned endpoint_count, unsigned worker_count);
void upstream_table_close(struct upstream_table *t);
struct upstream_counters *upstream_table_counters(const struct upstream_table *t, unsigned worker, unsigned endpoint);

/*
 * Master (literals) or monitor (names) only.  `len` 0 takes the address away.  Another address than before begins anew:
 * health unknown, not ejected, in use since `now_ns`; the same one keeps all that.
 */
void upstream_endpoint_set(struct upstream_endpoint *e, const struct sockaddr *addr, socklen_t len, uint32_t weight,
			   uint64_t now_ns);
/* Any process, never waits for long: a writer that died in between reads as "no address". */
void upstream_endpoint_get(const struct upstream_endpoint *e, struct upstream_address *ret_address);

/*
 * Into a table that nobody uses yet: the address and all that is known of it, but not what its workers have there at the
 * moment.
 */
void upstream_endpoint_copy(struct upstream_endpoint *to, const struct upstream_endpoint *from);
/* All but what each has at the moment, which the endpoints say too. */
void upstream_counters_add(struct upstream_counters *to, const struct upstream_counters *from);

/*
 * One request or connection more (less) at an endpoint: in the shared count of all workers and in this worker's block.
 * The order is such that a worker which dies in between leaves one too many, never one too few: a count that wrapped
 * below zero would keep the endpoint from being chosen for ever.
 */
static inline void upstream_count_up(uint32_t *shared, uint32_t *own)
{
	__atomic_fetch_add(shared, 1, __ATOMIC_RELAXED);
	__atomic_store_n(own, *own + 1, __ATOMIC_RELEASE);
}

static inline void upstream_count_down(uint32_t *shared, uint32_t *own)
{
	__atomic_store_n(own, *own - 1, __ATOMIC_RELAXED);
	__atomic_fetch_sub(shared, 1, __ATOMIC_RELEASE);
}

/* Counts of a worker that died are taken off the endpoints; called by the master before the slot's next worker starts. */
void upstream_table_forget_worker(struct upstream_table *t, unsigned worker);

#endif
