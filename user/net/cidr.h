/* SPDX-License-Identifier: MIT */
/*
 * A set of networks: whose word is believed (trusted_proxies), who is limited.  An address that maps
 * IPv4 into IPv6 (::ffff:192.0.2.1, as a dual-stack socket names its peers) is the IPv4 address
 * here, in the set as in the question, and no IPv6 network holds an IPv4 address, not even ::/0.
 */
#ifndef SLUICE_NET_CIDR_H
#define SLUICE_NET_CIDR_H

#include "net/sock.h"

struct cidr {
	uint64_t high, low; /* the address as 128 bits, host bits 0; IPv4 as mapped into IPv6 */
	uint64_t high_mask, low_mask;
	bool is_v4;
};

struct cidr_set {
	struct cidr *networks; /* owned */
	unsigned count, capacity;
};

/*
 * "10.0.0.0/8", "2001:db8::/32", or an address alone, which is a network of one.  Host bits are
 * cleared: "10.1.2.3/8" is "10.0.0.0/8".  0 or -EINVAL.
 */
int cidr_parse(struct span text, struct cidr *ret_network);

void cidr_set_init(struct cidr_set *s);
void cidr_set_fini(struct cidr_set *s);
/* As cidr_parse; 0, -EINVAL or -ENOMEM. */
int cidr_set_add(struct cidr_set *s, struct span text);
/* Walks the set: meant for dozens of networks.  False for whatever is not an IP address. */
bool cidr_set_has(const struct cidr_set *s, const union sock_addr *addr);

#endif
