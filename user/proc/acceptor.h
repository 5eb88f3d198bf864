/* SPDX-License-Identifier: MIT */
/*
 * Takes connections from the listening sockets of one slot and counts them there.
 *
 * Out of descriptors or memory, or at the limit of connections, accepting pauses: the queue of the kernel holds who
 * comes, nothing spins, and accepting goes on as soon as a connection closes (or after 100 ms).  If descriptors are
 * still short then, connections that wait between requests are closed to make room; when there is none, a descriptor
 * kept in reserve serves to answer one waiting client with 503 each time.
 */
#ifndef SLUICE_PROC_ACCEPTOR_H
#define SLUICE_PROC_ACCEPTOR_H

#include "http/server.h"
#include "net/steer.h"

/* A listening socket, and how its connections begin. */
struct acceptor_source {
	int fd;
	bool has_proxy_header;		/* listen { proxy_protocol } */
};

struct acceptor_socket {
	struct io io;
	bool has_proxy_header;
	struct acceptor *acceptor;
};

struct acceptor {
	struct loop *loop;
	struct server *server;
	const struct steer *steer;
	struct steer_slot *slot;
	struct stats_block *stats;
	unsigned max_count;		/* connections */
	unsigned socket_count;
	struct acceptor_socket *sockets;
	struct job job;			/* accept on every socket */
	struct timer timer;		/* while paused */
	int reserve_fd;
	bool is_paused;
	bool is_stopped;
	bool is_starved;		/* the pause came from a lack of descriptors or memory */
	int error;			/* -errno of the accept that failed last; 0: none has */
};

/* `sources`: this slot's socket of each listen address; the descriptors stay the caller's.  0 or -errno. */
int acceptor_start(struct acceptor *a, const struct acceptor_source *sources, unsigned count);
/* No more accepting; what waits goes on waiting.  The sockets can still be emptied. */
void acceptor_stop(struct acceptor *a);
/* Stopped: takes what waits at one of them, by its place in `sources`. */
void acceptor_take(struct acceptor *a, unsigned i);
/* Forgets the sockets (does not close them).  Harmless twice. */
void acceptor_close(struct acceptor *a);
/* Takes what still waits in the queues, then forgets the sockets (does not close them). Harmless twice. */
void acceptor_drain(struct acceptor *a);
/* A connection has gone: its count, and room for another. */
void acceptor_on_closed(struct acceptor *a);

#endif
