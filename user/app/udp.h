/* SPDX-License-Identifier: MIT */
/*
 * UDP: what a worker does with the datagrams of its listen_udp sockets.  Knows nothing of processes and steering: who
 * made the sockets tells it through callbacks' absence and presence what is new (on_begun) and what has gone (on_ended).
 *
 *   echo      back to where it came from
 *   proxy     to a server of an upstream, over a socket for each session; whatever the server sends back goes to the client
 *   one_way   to a server of an upstream, each datagram to another one; nothing comes back, and there are no sessions
 *
 * A session is what one client's address sends to one of ours:
 *
 *   (none) --first datagram--> OPEN --`replies` replies came, silence for `timeout_ms`, the worker ends--> (none)
 *
 * It has a server, or none: before the first datagram, and after an ICMP error; the next datagram then looks for one.
 */
#ifndef SLUICE_APP_UDP_H
#define SLUICE_APP_UDP_H

#include "app/upstream.h"
#include "net/cidr.h"
#include "net/loop.h"
#include "net/udp_sock.h"
#include "stats_shm.h"

struct udp_options {
	const char *name;		/* of the address, for the log; not copied */
	struct upstream *upstream;	/* NULL: echo */
	bool is_one_way;
	uint64_t timeout_ms;
	unsigned replies;		/* a session ends with so many for each datagram; 0: never by number */
	unsigned amplification;		/* bytes out for each byte in, at most; 0: no limit */
	const struct cidr_set *verified;	/* clients that this limit is not for */
	unsigned session_max;		/* of this worker at this address */
	unsigned session_total_max;	/* of all workers at all addresses; 0: no limit */
};

struct udp_server;

/* A session that ended, for the log; valid during the call. */
struct udp_ended {
	const char *name;		/* of the address */
	const union sock_addr *client;
	const char *server;		/* "" if none was asked */
	const char *reason;
	uint64_t in, out, bytes_in, bytes_out;
	uint64_t duration_ms;
	uint64_t serial;
};

struct udp_server_options {
	struct loop *loop;
	struct stats_block *stats;	/* of this worker */
	const struct stats_block *all;	/* of all workers, for session_total_max */
	unsigned worker_count;
	void (*on_begun)(void *owner);
	void (*on_ended)(void *owner, const struct udp_ended *e);
	void *owner;
};

/* 0 or -ENOMEM. */
int udp_server_new(const struct udp_server_options *opt, struct udp_server **ret_server);
/* Every session ends, as of a drain; nothing is closed that udp_server_add() was given. */
void udp_server_free(struct udp_server *s);
/* Reads from `fd`, which stays the caller's, from now on.  0 or -errno. */
int udp_server_add(struct udp_server *s, const struct udp_options *opt, int fd);
/* No new sessions at one address, by the order of udp_server_add(). */
void udp_server_refuse(struct udp_server *s, unsigned index);
/* Sockets are read no more, replies go on being sent from them: another worker has them too. */
void udp_server_stop_reading(struct udp_server *s);
/* Reads what waits, at most for a bounded number of datagrams. */
void udp_server_read_out(struct udp_server *s);
/* No new sessions; those that owe nobody a reply end now, others when it has come, or by their timeouts. */
void udp_server_drain(struct udp_server *s);
/* Every session ends now. */
void udp_server_end_all(struct udp_server *s);
/* NULL: none. */
unsigned udp_server_session_count(const struct udp_server *s);

#endif
