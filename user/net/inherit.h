/* SPDX-License-Identifier: MIT */
/*
 * Listening sockets that a service manager opened before it started us: $LISTEN_PID, $LISTEN_FDS (sd_listen_fds(3),
 * without its library).  Clients may connect while the server is not there; they wait in that socket's queue.
 */
#ifndef SLUICE_NET_INHERIT_H
#define SLUICE_NET_INHERIT_H

#include "net/sock.h"

#define INHERIT_FIRST_FD 3

struct inherited_sock {
	int fd;			/* close-on-exec; owned; -1: none */
	bool is_taken;
	bool is_listening;	/* else addr is not known: a socket of another kind, or none at all */
	union sock_addr addr;
};

struct inherited {
	struct inherited_sock *socks;
	unsigned count;
};

/*
 * Takes what the environment says and removes it from there, so that no program we start takes it for its own.  Nothing,
 * where it is not about this process.  0 or -ENOMEM.
 */
int inherit_open(struct inherited *in);
/*
 * A descriptor of the socket that listens on exactly this address, which becomes the caller's; -1: there is none.  Ours
 * stays, for an address that goes with one reload and comes back with another.
 */
int inherit_take(struct inherited *in, const union sock_addr *addr);
/* Those of another process instead, which received them: `count` of them, to be set one by one.  0 or -ENOMEM. */
int inherit_restore(struct inherited *in, unsigned count);
/* Takes the descriptor, -1 for none. */
void inherit_set(struct inherited *in, unsigned i, int fd);
/* Also in a forked child: who has these open keeps them listening. */
void inherit_close(struct inherited *in);

#endif
