/* SPDX-License-Identifier: MIT */
/*
 * Steering of datagrams (master only): of each listen_udp address the maps that outlive its generations, and of each
 * generation a bank: its sockets in those maps, and a program that gives new flows to them.  include/udp_shared.h
 * explains the maps; slots, weights and policy are those of the steering of connections.
 *
 *   udp_bank_open --> udp_bank_attach: new flows come here --> udp_bank_retire: known flows go elsewhere --> udp_bank_close
 */
#ifndef SLUICE_NET_STEER_UDP_H
#define SLUICE_NET_STEER_UDP_H

#include <linux/types.h>

#include "net/steer.h"
#include "udp_shared.h"

struct steer_udp;		/* the maps of one address, held by its banks */

struct udp_bank {
	struct steer_udp *maps;
	unsigned first_key, count;	/* one key for each slot */
	int prog_fd;
};

/*
 * Takes keys for the `count` sockets (bound, SO_REUSEPORT, one for each slot of `s`) and loads the program; nothing goes
 * there yet.  `before`: a bank of the same address, whose flows stay where they are; NULL: new maps, with room for
 * `flow_max` flows.  `generation` is not 0.  0, -EBUSY (too many generations still have keys), or -errno of the kernel.
 */
int udp_bank_open(struct udp_bank *b, const struct steer *s, const struct udp_bank *before, const int *fds,
		  unsigned count, uint32_t generation, bool is_one_way, unsigned flow_max);
/* In force from the next datagram on, for all sockets of the address.  `fd`: any of them.  0 or -errno. */
int udp_bank_attach(const struct udp_bank *b, int fd);
/* Flows of that slot's socket are placed anew from the next datagram on; what waits in it still has to be read. */
void udp_bank_retire(struct udp_bank *b, unsigned slot);
/* Retires all and gives the keys back; the sockets leave the maps when they are closed.  Harmless twice. */
void udp_bank_close(struct udp_bank *b);
/* In a forked child: closes the descriptors, touches nothing else. */
void udp_bank_disown(struct udp_bank *b);
/* Of the address since its first bank.  0 or -errno; zeros when closed. */
int udp_bank_read_verdicts(const struct udp_bank *b, struct udp_verdicts *ret_verdicts);
static inline bool udp_bank_is_open(const struct udp_bank *b)
{
	return b->maps;
}

#endif
