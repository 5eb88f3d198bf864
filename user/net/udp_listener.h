/* SPDX-License-Identifier: MIT */
/*
 * A listen_udp address of one generation: a socket of its own for each slot, opened by the master.  Unlike a listening
 * TCP socket a UDP socket goes with its generation: the sessions of its worker live there, so an old worker reads its
 * own socket until they have ended, while new flows come to the sockets of the next generation.
 *
 * Without steering nothing could tell the two apart: the next generation then gets the same sockets.
 */
#ifndef SLUICE_NET_UDP_LISTENER_H
#define SLUICE_NET_UDP_LISTENER_H

#include "net/steer_udp.h"
#include "net/udp_sock.h"

struct udp_listener_options {
	struct udp_sock_options sock;
	uint32_t generation;
	bool is_one_way;	/* no flows: each datagram goes to another slot */
	unsigned flow_max;	/* of the first generation of an address */
	bool is_taken_over;	/* another master serves the address until udp_listener_start() */
};

struct udp_listener {
	union sock_addr addr;	/* as bound */
	struct udp_listener_options opt;
	unsigned count;		/* slots */
	int *fds;		/* one for each slot, -1: closed; owned */
	struct udp_bank bank;
	bool is_steered;	/* by `bank` */
	bool is_shared;		/* the sockets are those of the generation before, too */
};

/*
 * Opens `count` sockets; nothing is sent to them before udp_listener_start().  `before`: the same address in the
 * generation in force, NULL: there is none.  0 or -errno with *ret_step naming the call; a refusal of the steering of a
 * new address is no error: is_steered is then false and *ret_step names the call.
 */
int udp_listener_open(struct udp_listener *l, const union sock_addr *addr, const struct udp_listener_options *opt,
		      unsigned count, const struct steer *s, const struct udp_listener *before, const char **ret_step);
/* New flows come here from now on.  0 or -errno. */
int udp_listener_start(struct udp_listener *l);
/* A process that serves one slot: closes its descriptors of the others. */
void udp_listener_keep_only(struct udp_listener *l, unsigned slot);
/* Closes this process's descriptors of the sockets; keys and maps stay.  Harmless twice. */
void udp_listener_close_socks(struct udp_listener *l);
/* The rest.  `is_owner`: in the master, whose keys become free. */
void udp_listener_fini(struct udp_listener *l, bool is_owner);

#endif
