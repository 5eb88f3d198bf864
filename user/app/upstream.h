/* SPDX-License-Identifier: MIT */
/*
 * A named group of servers as one worker sees it: whom the next request goes to, the connections it keeps to them, who
 * waits when all are busy.  Knows nothing of HTTP: the proxy, and later Redis, say what a connection is used for.
 *
 *   upstream_acquire(lease) --> on_connected(lease): lease->conn is the asker's until ...
 *                           \-> on_failed(lease, why)
 *   ... upstream_release(lease, outcome, is_reusable)      back into the pool, or closed
 *
 * Both callbacks may come before upstream_acquire returns.  upstream_cancel() is right at any time in between and calls
 * nobody back.  Counts of requests at a server (`active`) are shared by all workers: "least" means least on the host.
 */
#ifndef SLUICE_APP_UPSTREAM_H
#define SLUICE_APP_UPSTREAM_H

#include "app/upstream_table.h"
#include "base/list.h"
#include "net/conn.h"
#include "net/loop.h"

enum upstream_balance { BALANCE_RR, BALANCE_LEAST, BALANCE_P2C, BALANCE_RANDOM, BALANCE_WEIGHTED, BALANCE_HASH };

struct upstream_server_options {
	unsigned weight;		/* 1 to 65535 */
	unsigned max_connections;	/* on the host, 0 = no limit */
	uint64_t slow_start_ms;		/* 0 = off */
	bool is_backup;			/* used only when no other can be */
	unsigned first_endpoint, endpoint_count;	/* in the table */
};

struct upstream_options {
	const char *name;		/* copied */
	enum upstream_balance balance;
	unsigned keepalive_max;		/* idle connections a worker keeps to all of its servers; 0 = none */
	uint64_t keepalive_ms;		/* an idle one is closed after this */
	uint64_t keepalive_requests;	/* per connection, 0 = no limit */
	unsigned queue_max;		/* requests of a worker that may wait for a server; 0 = none waits */
	uint64_t queue_ms;
	unsigned fail_max;		/* failures within fail_window_ms that eject an endpoint; 0 = never */
	uint64_t fail_window_ms;
	uint64_t eject_ms;		/* the first ejection; doubled each time in a row, up to 16 times that */
	unsigned error_percent;		/* 5xx of the last requests (at least 20 in the window) that eject; 0 = never */
	const struct upstream_server_options *servers;	/* copied */
	unsigned server_count;
};

enum upstream_failure {		/* why there is no connection */
	UPSTREAM_NO_SERVER,	/* none is well, or none has an address */
	UPSTREAM_QUEUE_FULL,
	UPSTREAM_QUEUE_TIMEOUT,
	UPSTREAM_REFUSED,	/* connect: refused, unreachable ... */
	UPSTREAM_CONNECT_TIMEOUT,
	UPSTREAM_NO_MEMORY,	/* or no descriptor */
};

enum upstream_outcome {		/* what became of a request; passive health lives from it */
	OUTCOME_OK,		/* answered, not 5xx */
	OUTCOME_ERROR,		/* answered with 5xx */
	OUTCOME_FAILED,		/* closed early, or rubbish */
	OUTCOME_TIMEOUT,
	OUTCOME_NEUTRAL,	/* the client left, or a reused connection turned out closed: says nothing of the server */
};

struct upstream;

struct upstream_conn {
	struct conn conn;
	struct upstream *upstream;
	struct list node;		/* idle: in the pool */
	struct timer timer;
	struct job job;
	unsigned endpoint;		/* index in the table */
	uint64_t request_count;		/* requests it was leased for, this one included: above 1 it is a reused one */
	struct upstream_lease *lease;	/* who has it; NULL: idle */
	/*
	 * Whoever has it is told of every event while it has it; conn_note_events was called already.  Set in on_connected
	 * or before the acquire.
	 */
};

#define UPSTREAM_TRIED_MAX 8

struct upstream_lease {
	/* The asker fills these. */
	void (*on_connected)(struct upstream_lease *lease);
	void (*on_failed)(struct upstream_lease *lease, enum upstream_failure why);
	void (*on_ready)(struct upstream_lease *lease);	/* an event of lease->conn, from the loop */
	uint64_t key;			/* BALANCE_HASH: equal keys go to the same server while it is well */
	uint64_t connect_ms;		/* timeout of connecting */
	bool is_fresh;			/* no kept connection, please */
	bool is_lone;			/* a connection of its own: neither taken from the pool nor put into it */
	/* Private, but for conn and endpoint between on_connected and the release. */
	struct upstream *upstream;
	struct upstream_conn *conn;
	unsigned endpoint;
	struct list node;		/* in the queue */
	struct timer timer;
	uint8_t state;
	uint8_t tried_count;
	uint16_t tried[UPSTREAM_TRIED_MAX];	/* endpoints that failed this request: chosen again only if no other is left */
};

/* Needs no loop yet: made by the master, inherited by the workers.  0, -ENOMEM, -EINVAL. */
int upstream_new(const struct upstream_options *opt, struct upstream **ret_upstream);
/* Every lease must be gone; idle connections are closed. */
void upstream_free(struct upstream *u);
/* In the worker.  The table must outlive the upstream. */
void upstream_start(struct upstream *u, struct loop *loop, const struct upstream_table *table, unsigned worker);
/* The worker drains: idle connections are closed now, others when they are released. */
void upstream_drain(struct upstream *u);

/* Zeroed lease with its first part filled; forgets what was tried. */
void upstream_lease_init(struct upstream_lease *lease);
/* May be called again with the same lease after on_failed, or after a release: the endpoint tried then is avoided. */
void upstream_acquire(struct upstream *u, struct upstream_lease *lease);
/* Before on_connected and on_failed: withdraws.  Holding a connection: closes it, OUTCOME_NEUTRAL.  Else harmless. */
void upstream_cancel(struct upstream_lease *lease);
void upstream_release(struct upstream_lease *lease, enum upstream_outcome outcome, bool is_reusable);
/* Counters of this worker for the leased endpoint; NULL without one. */
struct upstream_counters *upstream_lease_counters(const struct upstream_lease *lease);
/* "127.0.0.1:9001", "unix:/run/app.sock" of the leased endpoint, for the log. */
#define UPSTREAM_ADDRESS_TEXT 128
const char *upstream_lease_address(const struct upstream_lease *lease, char text[UPSTREAM_ADDRESS_TEXT]);
const char *upstream_name(const struct upstream *u);
/* Was the lease's connection used before?  It may have died while it was idle. */
static inline bool upstream_is_reused(const struct upstream_lease *lease)
{
	return lease->conn && lease->conn->request_count > 1;
}
const char *upstream_failure_name(enum upstream_failure why);	/* one word for the log: "connect_refused" */

#endif
