/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the UDP program and user space share beside steer_shared.h: slots, weights and configuration are those of the
 * TCP steering.  Includes nothing: before it, the BPF side includes vmlinux.h and user space <linux/types.h>.  Each
 * listen_udp address has maps of its own:
 *
 *   steer_udp_flows  LRU hash, struct udp_flow -> struct udp_target: which socket has the flow
 *   steer_udp_socks  reuseport_sockarray, by key: the sockets of all generations that live
 *   steer_udp_owner  array, by key: generation of the socket, 0 = none, or one whose flows are to go elsewhere
 *   steer_udp_stat   per-CPU array of 1, struct udp_verdicts
 *
 * A generation of workers has the keys of a bank, side by side; its program knows the first one.  The program in force
 * is thus what says where new flows go, and replacing it is one atomic step.
 */
#ifndef SLUICE_UDP_SHARED_H
#define SLUICE_UDP_SHARED_H

#define UDP_KEYS_MAX 8192 /* sockets of one address, of all generations that live */

/* Addresses and ports as on the wire; IPv4 as mapped into IPv6. */
struct udp_flow {
	__u32 from[4], to[4];
	__u16 from_port, to_port;
};

/* Changed as one word. */
struct udp_target {
	__u32 key;
	__u32 generation;
} __attribute__((aligned(8)));

union udp_target_word {
	__u64 word;
	struct udp_target target;
};

/* Every datagram that the program sees ends in exactly one of these, so their sum is the number of runs. */
struct udp_verdicts {
	__u64 kept;		/* to the socket that has the flow, of the generation in force */
	__u64 kept_old;		/* likewise, of an earlier generation */
	__u64 placed;		/* a new flow, by the policy; reserved unless that is hash */
	__u64 replaced;		/* the socket that had the flow is gone: placed anew */
	__u64 spread;		/* one_way: each datagram for itself */
	__u64 all_stalled;	/* a new flow, and no slot may be chosen: by its hash, then kept */
	__u64 bad_config;	/* a new flow, and the contents of a map are unusable: likewise */
	__u64 not_kept;		/* placed, but the table of flows took no entry */
	__u64 no_socket;	/* bpf_sk_select_reuseport refused: kernel hash */
	__u64 short_header;	/* the headers could not be read: kernel hash */
};

_Static_assert(sizeof(struct udp_flow) == 36, "no holes");
_Static_assert(sizeof(union udp_target_word) == 8, "one atomic word");
_Static_assert(sizeof(struct udp_verdicts) == 80, "counters only");

#endif
