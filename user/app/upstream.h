/* SPDX-License-Identifier: MIT */
/*
 * A named group of servers as one worker sees it: whom the next request goes to, the connections it keeps to them, who
 * waits when all are busy.  Knows nothing of HTTP: the proxy, and later Redis, say what a connection is used for.
 *
 *   upstream_acquire(lease) --> on_connected(lease): lease->conn is the asker's until ...
 *                           \-> on_failed(lease, why)
 *   ... upstream_release(lease, outcome, is_reusable)      back into the pool, or closed
 *
 * Both callbacks may come before upstream_acquire returns, and upstream_release may give what it got to another lease
 * and call that one back.  upstream_cancel() is right at any time in between and calls nobody back.  A callback may
 * do all of this with any lease, free its own included; deeper than a few calls, what follows waits for the next
 * iteration of the loop.  Counts of requests at a server (`active`) are shared by all workers: "least" means least on
 * the host.
 *
 * Who is chosen: a server that has an address, is not drained, is not found down by the health checks and has room.  Of
 * those, in this order: primary ones, backups; ejected ones ("panic": one that failed is better than none); those that
 * have failed this very request.  While one that is better is merely full, the request waits, where it may.
 */
#ifndef SLUICE_APP_UPSTREAM_H
#define SLUICE_APP_UPSTREAM_H

#include "app/upstream_table.h"
#include "base/list.h"
#include "net/conn.h"
#include "net/loop.h"

enum upstream_balance {
	BALANCE_RR,		/* one after the other, whatever their weights; each worker begins somewhere else */
	BALANCE_LEAST,		/* the fewest requests on the host for its weight; at random among equals */
	BALANCE_P2C,		/* the better one of two drawn at random */
	BALANCE_RANDOM,		/* at random, as often as its weight says */
	BALANCE_WEIGHTED,	/* in turn, as often as its weight says, well mixed */
	BALANCE_HASH,		/* by the lease's key: the same one while it can be had; others keep theirs */
};

#define UPSTREAM_HOST_SIZE 264	/* a name of 255 bytes, ":65535" */

struct upstream_server_options {
	unsigned weight;		/* 1 to 65535 */
	unsigned max_connections;	/* on the host, idle ones included; 0 = no limit */
	uint64_t slow_start_ms;		/* 0 = off */
	bool is_backup;			/* used only when no other can be */
	unsigned first_endpoint, endpoint_count;	/* in the table; each server's follow those of the one before */
	char host[UPSTREAM_HOST_SIZE];	/* "app.internal:8080", what it calls itself; "": its address */
};

struct upstream_options {
	const char *name;		/* copied */
	enum upstream_balance balance;
	unsigned keepalive_max;		/* idle connections a worker keeps to all of its servers; 0 = none */
	uint64_t keepalive_ms;		/* an idle one is closed after this */
	uint64_t keepalive_requests;	/* per connection, 0 = no limit */
	unsigned queue_max;		/* requests of a worker that may wait for a server; 0 = none waits */
	uint64_t queue_ms;
	unsigned fail_max;		/* failures in a row, in fail_window_ms, that eject an endpoint; 0 = never */
	uint64_t fail_window_ms;
	uint64_t eject_ms;		/* the first ejection; doubled each time in a row, up to 16 times that */
	unsigned error_percent;		/* 5xx and failures of the last requests, at least 20 in the window; 0 = off */
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
	struct list node, age;		/* idle: among those of the endpoint, newest first; among all, oldest first */
	struct timer timer;		/* of connecting */
	struct job job;			/* of freeing */
	unsigned endpoint;		/* index in the table */
	uint32_t address_id;		/* which of the addresses that the endpoint has had */
	uint64_t idle_until_ms;
	uint64_t kept_turn;		/* idle since this iteration of the loop */
	uint64_t request_count;		/* requests it was leased for, this one included: above 1 it is a reused one */
	struct upstream_lease *lease;	/* who has it; NULL: idle */
};

#define UPSTREAM_TRIED_MAX   8
#define UPSTREAM_NO_ENDPOINT (~0u)

struct upstream_lease {
	/* The asker fills these. */
	/* The flags of lease->conn may say already that it is readable. */
	void (*on_connected)(struct upstream_lease *lease);
	void (*on_failed)(struct upstream_lease *lease, enum upstream_failure why);
	/* An event of lease->conn; conn_note_events was called already.  Set by on_connected at the latest. */
	void (*on_ready)(struct upstream_lease *lease);
	uint64_t key;			/* BALANCE_HASH: equal keys go to the same server while it is well */
	uint64_t connect_ms;		/* timeout of connecting */
	bool is_fresh;			/* no kept connection, please */
	bool is_lone;			/* a connection of its own: neither taken from the pool nor put into it */
	/* Private, but for conn from on_connected to the release (else NULL), and for endpoint. */
	struct upstream *upstream;
	struct upstream_conn *conn;
	struct upstream_conn *connecting;
	unsigned endpoint;		/* the last one it was given to; UPSTREAM_NO_ENDPOINT: none yet */
	struct list node;		/* in the queue, or among the deferred */
	struct timer timer;		/* in the queue */
	uint64_t trial_ns;		/* the trial of an ejected endpoint: what ejected_until_ns was set to */
	bool is_panic;			/* given to an endpoint that is ejected */
	uint8_t state;
	uint8_t tried_count;
	/* Endpoints that failed this request, by their place in the upstream: chosen again only if no other is left. */
	uint16_t tried[UPSTREAM_TRIED_MAX];
};

/* Needs no loop yet: made by the master, inherited by the workers.  0, -ENOMEM, -EINVAL. */
int upstream_new(const struct upstream_options *opt, struct upstream **ret_upstream);
/* Every lease must be gone; idle connections are closed.  Before the loop ends, and not from within a callback. */
void upstream_free(struct upstream *u);
/* In the worker.  The table must outlive the upstream. */
void upstream_start(struct upstream *u, struct loop *loop, const struct upstream_table *table, unsigned worker);
/* The worker drains: idle connections are closed now, others when they are released. */
void upstream_drain(struct upstream *u);

/* A zeroed lease, or one that is done; its first part stays as the asker filled it.  Forgets what was tried. */
void upstream_lease_init(struct upstream_lease *lease);
/*
 * May be called again with the same lease after on_failed, or after a release: endpoints that failed then (not those of
 * OUTCOME_OK and OUTCOME_NEUTRAL) are avoided.
 */
void upstream_acquire(struct upstream *u, struct upstream_lease *lease);
/* Before on_connected and on_failed: withdraws.  Holding a connection: closes it, OUTCOME_NEUTRAL.  Else harmless. */
void upstream_cancel(struct upstream_lease *lease);
/*
 * The server answers, however long the rest will take: a trial of an ejected one is decided now, and others may have it.
 * `is_all`: there is no more to learn from it (a tunnel); in any case the release follows.
 */
void upstream_answered(struct upstream_lease *lease, enum upstream_outcome outcome, bool is_all);
/* The lease, which holds a connection, lives on in other memory; callbacks are those of `from`, which is as new. */
void upstream_lease_move(struct upstream_lease *to, struct upstream_lease *from);
/*
 * `is_reusable`: the exchange has ended in good order on both sides.  Bytes that are left unread, an end or an error
 * close the connection all the same.  Counts timeouts and failures; status and bytes are the asker's to count.
 */
void upstream_release(struct upstream_lease *lease, enum upstream_outcome outcome, bool is_reusable);
/*
 * For datagrams: a server chosen and counted as for a connection, but the socket is the asker's business.  Nobody waits
 * and nobody is called back; of the lease only `key` is used, and lease->endpoint says who it is.  0; -ENOENT: none can
 * be had.  The claim ends with upstream_unclaim() or upstream_cancel(), and the lease may then claim again.
 */
int upstream_claim(struct upstream *u, struct upstream_lease *lease, struct upstream_address *ret_address);
/* Counts timeouts and failures. */
void upstream_unclaim(struct upstream_lease *lease, enum upstream_outcome outcome);
/* Counters of this worker for lease->endpoint; NULL without one. */
struct upstream_counters *upstream_lease_counters(const struct upstream_lease *lease);
/* "127.0.0.1:9001", "unix:/run/app.sock" of lease->endpoint, for the log; "-" without one.  `text` may stay unused. */
#define UPSTREAM_ADDRESS_TEXT 128
const char *upstream_lease_address(const struct upstream_lease *lease, char text[UPSTREAM_ADDRESS_TEXT]);
/* How a request names the server it is given to (Host); as upstream_lease_address where it has no name. */
const char *upstream_lease_host(const struct upstream_lease *lease, char text[UPSTREAM_ADDRESS_TEXT]);
const char *upstream_name(const struct upstream *u);
/* Was the lease's connection used before?  It may have died while it was idle. */
static inline bool upstream_is_reused(const struct upstream_lease *lease)
{
	return lease->conn && lease->conn->request_count > 1;
}
const char *upstream_failure_name(enum upstream_failure why);	/* one word for the log: "connect_refused" */

#endif
