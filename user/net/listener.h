/* SPDX-License-Identifier: MIT */
/*
 * A listen address: one listening socket for each slot (SO_REUSEPORT), opened by the master, kept over any worker.
 */
#ifndef SLUICE_NET_LISTENER_H
#define SLUICE_NET_LISTENER_H

#include "net/sock.h"
#include "net/steer.h"

struct listener {
	union sock_addr addr;		/* as bound: a port of 0 is replaced by the one the kernel gave */
	struct sock_options opt;
	unsigned count;			/* slots */
	int *fds;			/* one for each slot; owned */
	unsigned steer_id;
	bool is_steered;
	bool has_proxy_header;		/* connections begin with a PROXY protocol header; set by the owner once open */
};

/*
 * Opens `count` sockets and hands them to the steering.  0, or -errno with *ret_step naming the failed call; a refusal
 * of the steering alone is no error: is_steered is then false and *ret_step names the call.
 */
int listener_open(struct listener *l, const union sock_addr *addr, const struct sock_options *opt,
		  unsigned count, struct steer *steer, const char **ret_step);
/* A process that serves one slot: closes its descriptors of the others. */
void listener_keep_only(struct listener *l, unsigned slot);
/* Takes the address out of the steering (NULL: leaves it) and closes its sockets; harmless when never opened. */
void listener_close(struct listener *l, struct steer *steer);

#endif
