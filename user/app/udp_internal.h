/* SPDX-License-Identifier: MIT */
/*
 * Inside of udp.h.
 *
 *   udp_server.c    life, reading from clients, what each datagram is for
 *   udp_session.c   the table of sessions: begin, end, timeouts, limits
 *   udp_proxy.c     the side of the servers
 *   udp_link.c      sockets to them
 *   udp_one_way.c   datagrams without sessions
 */
#ifndef SLUICE_APP_UDP_INTERNAL_H
#define SLUICE_APP_UDP_INTERNAL_H

#include "app/udp.h"
#include "base/pool.h"
#include "net/udp_io.h"

struct udp_one_way_peer;

/* A listen_udp address at this worker. */
struct udp_service {
	struct io io;
	struct job job;			/* read on: the budget of a turn was spent */
	struct list node;
	struct udp_server *server;
	struct udp_options opt;
	unsigned session_count;
	bool is_refusing;		/* no new sessions */
	struct udp_one_way_peer *peers;	/* one_way: sockets by endpoint */
	unsigned peer_count;
};

enum udp_link_state {
	LINK_RESTS,
	LINK_NEW,	/* nothing was sent yet */
	LINK_ASKED,	/* one datagram, without a connection */
	LINK_CONNECTED,
};

/* A socket to a server, which one session has for itself, or none: it rests until another one wants it. */
struct udp_link {
	/* All that a datagram touches, side by side. */
	struct io io;
	struct udp_session *session;	/* NULL: rests */
	struct udp_server *server;
	enum udp_link_state state;
	bool is_checked;		/* datagrams of others may be in it: each is looked at */
	union sock_addr to;		/* the server */
	struct list node;		/* resting, the longest first */
	struct job job;			/* of freeing */
	uint64_t rests_since_ms;
};

/* A turn of the loop. */
struct udp_turn {
	uint64_t number, began_ms;
	bool is_partial;		/* not all descriptors that were ready were seen */
};

struct udp_session {
	struct udp_session *next;	/* in its bucket */
	struct udp_service *service;
	struct udp_link *link;		/* to the server; NULL: none */
	struct timer timer;
	struct job job;			/* of freeing */
	struct udp_path path;
	struct upstream_lease lease;
	uint64_t hash, serial;
	uint64_t begun_ms, last_ms;
	uint64_t in, out, bytes_in, bytes_out;	/* the client's; bytes_out: granted, whether sent or not */
	uint64_t replies, owed;		/* datagrams from servers; those that still are to come, when that is known */
	bool is_claimed;		/* lease */
	bool is_unanswered;		/* since the last datagram of the client nothing came from the server */
	uint8_t singles;		/* reads in a row that found one datagram, up to SINGLES_MAX */
	bool was_refused;		/* the last thing heard of a server was an ICMP error */
	bool is_verified;		/* no amplification limit */
	char text[UPSTREAM_ADDRESS_TEXT];	/* of the last server; "" none */
};

struct udp_server {
	struct udp_server_options opt;
	struct udp_stats *stats;
	struct udp_receiver receiver;
	struct udp_sender sender;
	struct job flush;		/* at the end of the iteration */
	struct list services;
	struct pool sessions, links;
	struct list resting[2];		/* links, IPv4 and IPv6 */
	unsigned resting_count;
	struct timer unused;		/* of resting links */
	struct udp_turn turn;		/* the last in which a link was looked for */
	uint64_t swept_ms;		/* what had come to resting links by then has been thrown away */
	struct udp_session **buckets;
	unsigned bucket_count;		/* a power of two */
	unsigned session_count;
	uint64_t serial;
	uint64_t seed;
	bool is_draining;
};

/* udp_session.c */
int sessions_init(struct udp_server *s);
/* All end. */
void sessions_fini(struct udp_server *s);
/* The session of that path, begun if need be.  NULL: dropped, *ret_why says for which reason. */
struct udp_session *session_get(struct udp_service *svc, const struct udp_path *path, enum udp_drop *ret_why);
void session_end(struct udp_session *ss, enum udp_end why);
/* For BALANCE_HASH: equal for one client's address, whatever its port. */
uint64_t udp_client_key(const union sock_addr *client);
/* Something came from either side. */
static inline void session_touch(struct udp_session *ss)
{
	ss->last_ms = ss->service->server->opt.loop->now_ms;
}
/* Queues a message to the client, if the amplification limit lets it. */
void session_reply(struct udp_session *ss, const struct udp_message *m, bool is_copied);

/* udp_link.c */
void links_init(struct udp_server *s);
/* All rest, and none is left. */
void links_fini(struct udp_server *s);
/* ss->link, for that address.  0 or -errno. */
int link_open(struct udp_session *ss, const struct upstream_address *address);
/* The job of a link. */
void link_put(struct job *j);
/* `is_quiet`: all that was expected has come, so nothing is on its way any more. */
void link_close(struct udp_session *ss, bool is_quiet);
/* How many were sent; less: *ret_err, as udp_send_connected() or of the connect. */
unsigned link_send(struct udp_link *l, const struct udp_message *m, unsigned count, int *ret_err);
/* What the server has sent to this session, at most `max`, as udp_receive(); of 1 only data and length are told. */
int link_receive(struct udp_link *l, unsigned max);

/* udp_proxy.c: a link is readable, or has an error to tell. */
void proxy_on_ready(struct udp_session *ss);
/* `count` messages of one session, all in the receiver's memory. */
void proxy_forward(struct udp_session *ss, const struct udp_message *m, unsigned count);
/* Lets go of the server; `is_quiet` as above. */
void proxy_leave(struct udp_session *ss, enum upstream_outcome outcome, bool is_quiet);

/* udp_one_way.c */
void one_way_forward(struct udp_service *svc, const struct udp_message *m);
void one_way_close(struct udp_service *svc);

/* udp_server.c: what is queued leaves at the end of the iteration. */
void server_flush_later(struct udp_server *s);

static inline void count_drop(struct udp_server *s, enum udp_drop why, unsigned datagrams)
{
	s->stats->dropped[why] += datagrams;
}

#endif
