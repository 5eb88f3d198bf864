/* SPDX-License-Identifier: MIT */
/*
 * What all sessions of one worker share: limits, timeouts, routes, pools, counters.  The worker fills it, accepts
 * connections and hands them in; it learns of finished requests and closed sessions through the two callbacks.
 */
#ifndef SLUICE_HTTP_SERVER_H
#define SLUICE_HTTP_SERVER_H

#include "base/pool.h"
#include "http/access_log.h"
#include "http/parse.h"
#include "http/route.h"
#include "net/cidr.h"
#include "net/limit_share.h"
#include "net/loop.h"
#include "net/sock.h"
#include "stats_shm.h"

struct server_timeouts {	/* ms; 0 = none */
	uint64_t header;	/* from the first byte of a head (or from accept) to its end */
	uint64_t body;		/* between two pieces of a request body */
	uint64_t keepalive;	/* between two requests */
	uint64_t write;		/* between two pieces the client takes */
	uint64_t linger;	/* silence after which a connection that was refused is closed */
};

/* What clients are held to besides the parser's limits.  0 and NULL: no limit. */
struct server_limits {
	struct limit_table *table;	/* shared by all workers; NULL: neither rates nor connections are counted */
	struct limit_row row;		/* this worker's share of the connections */
	struct limit_post post;		/* what other hosts hear of it */
	uint32_t client_connections;	/* of one client */
	uint64_t total_connections;	/* of all workers */
	const struct limit_rate *rate;	/* of requests that no route answers; others: route->rate */
	const struct cidr_set *exempt;	/* who is not limited by any of these */
	const struct cidr_set *trusted;	/* proxies: not limited in connections, and believed who asks */
	uint64_t memory;		/* bytes of buffers */
	uint32_t age_ms;		/* of a connection: the reply after it is the last */
	uint32_t header_rate, body_rate, write_rate;	/* bytes per second */
	bool has_pace;			/* any of those three */
	uint32_t rate_grace_ms;
	/* Bytes of buffers that handlers have; and to keep less of what is free (as long as is_short).  NULL: none. */
	uint64_t (*handler_memory)(void *ctx);
	void (*on_memory)(void *ctx, bool is_short);
	void *memory_ctx;
};

/* What a session is between two requests, besides its descriptor: enough to go on in another worker. */
struct server_guest {
	union sock_addr peer, transport_peer, announced_local;	/* as in struct conn */
	uint64_t request_count;
	uint64_t limit_id;		/* of the table it is counted in; 0: in none */
	uint32_t limit_entry;		/* of its client there; 0: not counted for it */
	uint32_t opened_ms;		/* low bits of CLOCK_MONOTONIC */
	/* No bool: another process wrote them. */
	uint8_t is_counted;		/* among all connections */
	uint8_t has_proxy_header;	/* is still to come */
};

/* Connections for which the kernel may hold more than their listener says: session_unsent.c. */
#define SERVER_RAISED_MAX 64

struct server {
	struct loop *loop;
	struct stats_block *stats;	/* this worker's block; one writer */
	const struct site_table *sites;
	struct parse_limits parse;
	struct server_timeouts timeouts;
	struct server_limits limits;
	uint64_t max_requests;		/* per connection, 0 = no limit */
	unsigned slot;
	unsigned close_quota;		/* replies that are still to close their connection (rebalancing) */
	bool is_draining;		/* replies say Connection: close, idle connections are closed */
	/* A reply has ended or its connection died; NULL: no access log.  The entry is valid during the call only. */
	void (*on_request_done)(struct server *srv, const struct access_entry *e);
	/* A session is gone (its memory follows at the end of the iteration). */
	void (*on_session_closed)(struct server *srv);
	/* After server_leave: nobody waits here any more who could have gone.  NULL is allowed. */
	void (*on_given)(struct server *srv);
	void *owner;
	uint64_t given_count;		/* sessions that went to a successor */
	/* private */
	uint64_t body_max;		/* bytes of content, unless the route has a limit of its own */
	struct pool sessions;
	struct pool exchanges;
	struct pool buffers;
	struct list idle;		/* between requests, the longest waiting first */
	struct list active;
	int (*send)(void *ctx, int fd, const struct server_guest *g);	/* to the successor; NULL: there is none */
	void *send_ctx;
	struct timer retry;
	/* Loop time: in between, tunnels are closed; 0: they are not. */
	uint64_t spread_from_ms, spread_until_ms;
	unsigned session_count;
	unsigned refused_count;		/* sessions that only wait for their refusal to arrive */
	bool is_short;			/* of memory for buffers */
	struct session *raised[SERVER_RAISED_MAX];	/* NULL: a free place */
	unsigned raised_next;		/* the place that is looked at next */
	uint64_t serial;		/* connections so far */
	int early_score;		/* how often a read right after accept finds something */
	/* Wall-clock time, read once a second: what CLOCK_MONOTONIC lacks to it, and when its second ends. */
	uint64_t wall_offset_ns, second_end_ns;
	unsigned ok_head_len;
	char ok_head[192];		/* "HTTP/1.1 200 OK\r\nServer: ...\r\nDate: ...\r\n" of that second */
	char server_name[64];
};

/*
 * Fills the private part; loop, stats, sites, parse and timeouts must be set.  `server_name`: of the Server field,
 * NULL or "" for none; at most 63 characters.
 */
void server_init(struct server *srv, const char *server_name);
/* Routes may let through content up to this many bytes (handler_ops.body_max); the limit of others stays. */
void server_allow_body(struct server *srv, uint64_t body_max);
/* Bytes of buffers in use. */
uint64_t server_memory(const struct server *srv);
/* Every session must be gone. */
void server_fini(struct server *srv);
/*
 * Takes the accepted descriptor; may read from it, answer and even close it at once.  `has_proxy_header`: a PROXY
 * protocol header comes first, or the connection is closed.  0; -ENOMEM: closed, and nobody is told by
 * on_session_closed.
 */
int server_add(struct server *srv, int fd, const union sock_addr *peer, bool has_proxy_header);
/*
 * Gives away the session between two requests that was active last: `send` hands its descriptor and state on, and only
 * when it returns 0 the session is forgotten (its descriptor closed here, not shut down).
 * 1: one has gone; 0: none waits; -errno of `send`.
 */
int server_hand_over(struct server *srv, int (*send)(void *ctx, int fd, const struct server_guest *g),
		     void *ctx);
/*
 * Another worker succeeds this one: from now on every session that is between two requests, or comes to be, is given
 * away by `send`, as above.  Where that fails it is tried again.  Nothing of this shows in a response.
 */
void server_leave(struct server *srv, int (*send)(void *ctx, int fd, const struct server_guest *g), void *ctx);
/* The successor takes no more. */
void server_stay(struct server *srv);
/*
 * Tunnels cannot move, and their clients come back at once when they end: so each one, those that
 * are still to begin too, is closed at an instant of its own, drawn from the last `spread_ms` of
 * `limit_ms`.  Only the first call counts.
 */
void server_spread_closes(struct server *srv, uint64_t limit_ms, uint64_t spread_ms);
/* Takes a session another server gave away.  0; -ENOMEM: closed. */
int server_adopt(struct server *srv, int fd, const struct server_guest *guest);
/* Its descriptor did not arrive: what counted it no longer does. */
void server_lose(struct server *srv, const struct server_guest *guest);
/*
 * Closes up to `count` connections that wait between requests, or a second for their first, the longest waiting first;
 * how many.
 */
unsigned server_close_idle(struct server *srv, unsigned count, enum close_reason reason);
/* From now on every reply closes its connection; those between requests are closed at once. */
void server_drain(struct server *srv);
/* Closes everything, whatever its state. */
void server_close_all(struct server *srv, enum close_reason reason);

#endif
