/* SPDX-License-Identifier: MIT */
/*
 * Access to the shared tables of include/limits_shm.h: one of rates, one of connections.
 *
 * Connections are counted twice, in the entry that all share and in the row of the worker that has them, so that the
 * master can take off what a dead worker had.  Rows belong to a generation, the tables go on from one to the next.
 */
#ifndef SLUICE_NET_LIMIT_TABLE_H
#define SLUICE_NET_LIMIT_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "limits_shm.h"
#include "net/sock.h"

struct limit_table {			/* private to each process; the memory is shared */
	struct limit_header *header;	/* NULL: there is none */
	struct limit_set *rates, *counts;	/* set_mask + 1 of each */
	uint32_t set_mask;
	uint64_t debt_max;		/* units: the most a client can owe, of all rates in force */
	size_t size;			/* bytes of the shared memory */
};

/* One worker's share of the counts. */
struct limit_row {
	uint32_t *connections;		/* [entry + 1]; [0] are all connections.  NULL: nothing is counted */
};

struct limit_rows {
	uint32_t *memory;		/* shared; NULL: none */
	unsigned worker_count;
	size_t row_len;			/* counts */
};

/* A rate as the table wants it. */
struct limit_rate {
	uint32_t zone;			/* clients are counted apart in each */
	uint64_t interval;		/* units that a request costs; not 0 */
	uint64_t window;		/* units: interval * burst, at most LIMIT_WINDOW_MAX */
	/* Units that a client may owe beyond that for what other hosts let it have; together LIMIT_WINDOW_MAX at most. */
	uint64_t beyond;
	uint32_t number;		/* of those of a generation; for limit_share */
};

/* Room for at least that many clients.  0 or -errno. */
int limit_table_open(struct limit_table *t, unsigned client_count);
/* Harmless when never opened, and for one that was lent: whoever has it last closes it. */
void limit_table_close(struct limit_table *t);
/* Clients that a table opened for `client_count` has room for: the same means that it can be lent. */
size_t limit_table_room(unsigned client_count);

/* Who is limited: an IPv4 address, or the /64 of an IPv6 address, since that is what one customer gets. */
struct limit_client {
	uint64_t network;
	uint32_t family;	/* AF_INET of a mapped address too */
};

/* False for what is no IP address. */
bool limit_client_of(const union sock_addr *addr, struct limit_client *ret_client);

/*
 * A request at `now_ns` (CLOCK_MONOTONIC).  Admitted: 0; otherwise the milliseconds until one would be, at least 1.  All
 * callers together admit at most burst + time / interval.
 */
uint64_t limit_table_take(struct limit_table *t, const struct limit_rate *rate, struct limit_client client,
			  uint64_t now_ns);

/* The client owes at least `debt` units at `now_ns`, whoever admitted it.  False: it did so already. */
bool limit_table_raise(struct limit_table *t, const struct limit_rate *rate, struct limit_client client, uint64_t debt,
		       uint64_t now_ns);

/*
 * Times long past become times just past: the counter wraps, and an older one would read as one to come.  To be called
 * at least every 12 hours, by whoever likes and beside all others.
 */
void limit_table_refresh(struct limit_table *t, uint64_t now_ns);

/* False for what no limit_table_add() of this table can have given. */
bool limit_table_has(const struct limit_table *t, uint32_t entry);

enum limit_verdict { LIMIT_COUNTED, LIMIT_REFUSED, LIMIT_UNTRACKED };

/*
 * One connection more, unless that makes more than `max` (0: no limit).  COUNTED: *ret_entry, not 0, is for
 * limit_table_drop.  UNTRACKED: there is no room to count it, and it is let in.
 */
enum limit_verdict limit_table_add(struct limit_table *t, struct limit_row row, struct limit_client client,
				   uint32_t max, uint32_t *ret_entry);
void limit_table_drop(struct limit_table *t, struct limit_row row, uint32_t entry);
/* All connections, of all workers: false when that makes more than `max` (0: no limit). */
bool limit_table_add_any(struct limit_table *t, struct limit_row row, uint64_t max);
void limit_table_drop_any(struct limit_table *t, struct limit_row row);
/* The connection goes to another worker, which takes it on: in between it stays counted.  `entry` 0: all connections. */
static inline void limit_row_leave(struct limit_row row, uint32_t entry)
{
	if (row.connections && row.connections[entry])
		__atomic_store_n(&row.connections[entry], row.connections[entry] - 1, __ATOMIC_RELAXED);
}

static inline void limit_row_join(struct limit_row row, uint32_t entry)
{
	if (row.connections)
		__atomic_store_n(&row.connections[entry], row.connections[entry] + 1, __ATOMIC_RELAXED);
}

/* 0 or -ENOMEM.  `t` without memory: none, and nothing is counted. */
int limit_rows_open(struct limit_rows *r, const struct limit_table *t, unsigned worker_count);
void limit_rows_close(struct limit_rows *r);
struct limit_row limit_rows_of(const struct limit_rows *r, unsigned worker);
/* Connections of a worker that died are taken off; called by the master. */
void limit_rows_forget(const struct limit_rows *r, struct limit_table *t, unsigned worker);

#endif
