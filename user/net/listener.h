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
	bool is_steered;		/* with steer_id */
	bool is_shared;			/* all slots have the same socket: nobody may join the one that was inherited */
	bool has_proxy_header;		/* connections begin with a PROXY protocol header; set by the owner once open */
};

/*
 * Opens `count` sockets and hands them to the steering.  0, or -errno with *ret_step naming the failed call; a refusal
 * of the steering alone is no error: is_steered is then false and *ret_step names the call.
 */
int listener_open(struct listener *l, const union sock_addr *addr, const struct sock_options *opt,
		  unsigned count, struct steer *steer, const char **ret_step);
/*
 * The same with a socket that listens on `addr` already (inherit.h) as that of slot 0; it becomes the listener's, also on
 * failure.  Where no other may be bound beside it (its owner is another user), all slots accept from that one.
 */
int listener_open_inherited(struct listener *l, int fd, const union sock_addr *addr, const struct sock_options *opt,
			    unsigned count, struct steer *steer, const char **ret_step);
/*
 * The sockets of `from`, and further ones up to `count`, which are bound and do not listen yet: nobody comes to them as
 * long as the step may still be taken back.  `from` stays as it is, so both have the sockets: in the end one calls
 * listener_close_apart() and both listener_release().  0 or -errno, with nothing left open.
 */
int listener_take_over(struct listener *l, const struct listener *from, const struct sock_options *opt, unsigned count,
		       const char **ret_step);
/* Those further sockets listen, and the others get what changed of the options.  0 or -errno. */
int listener_start_rest(struct listener *l, const struct listener *from);
/* Closes the sockets of slots that `keep` (NULL: nobody) does not have. */
void listener_close_apart(const struct listener *l, const struct listener *keep);
/* Forgets the sockets without closing them. */
void listener_release(struct listener *l);
/* A process that serves one slot: closes its descriptors of the others. */
void listener_keep_only(struct listener *l, unsigned slot);
/* Takes the address out of the steering (NULL: leaves it) and closes its sockets; harmless when never opened. */
void listener_close(struct listener *l, struct steer *steer);

#endif
