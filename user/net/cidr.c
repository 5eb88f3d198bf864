/* SPDX-License-Identifier: MIT */
/* Networks as value and mask of 128 bits; see cidr.h. */
#include "net/cidr.h"

#include <endian.h>
#include <stdlib.h>

#include "base/err.h"

/* Bits before the IPv4 address in a mapped one. */
#define MAPPED_BITS 96

struct key {
	uint64_t high, low;
	bool is_v4;
};

static bool key_of(const union sock_addr *addr, struct key *ret)
{
	uint64_t halves[2];

	switch (addr->any.sa_family) {
	case AF_INET:
		ret->high = 0;
		ret->low = 0xffff00000000ull | ntohl(addr->v4.sin_addr.s_addr);
		ret->is_v4 = true;
		return true;
	case AF_INET6:
		memcpy(halves, &addr->v6.sin6_addr, sizeof(halves));
		ret->high = be64toh(halves[0]);
		ret->low = be64toh(halves[1]);
		ret->is_v4 = IN6_IS_ADDR_V4MAPPED(&addr->v6.sin6_addr);
		return true;
	default:
		return false;
	}
}

/* The first `bits` of 64; all of them from 64 on. */
static uint64_t mask_of(unsigned bits)
{
	return bits == 0 ? 0 : bits >= 64 ? UINT64_MAX : ~(UINT64_MAX >> bits);
}

/* "8", not "08" nor "+8".  0 or -EINVAL. */
static int parse_bits(struct span text, unsigned max, unsigned *ret_bits)
{
	uint64_t bits;

	if (text.len > 3 || span_to_u64(text, &bits) || bits > max ||
	    (text.ptr[0] == '0' && text.len > 1))
		return -EINVAL;
	*ret_bits = (unsigned)bits;
	return 0;
}

int cidr_parse(struct span text, struct cidr *ret_network)
{
	const char *slash = text.len ? memchr(text.ptr, '/', text.len) : NULL;
	struct span host = span_of(text.ptr, slash ? (size_t)(slash - text.ptr) : text.len);
	union sock_addr addr;
	struct key key;
	unsigned bits, max;

	if (sock_addr_parse_host(host, &addr) || !key_of(&addr, &key))
		return -EINVAL;
	max = addr.any.sa_family == AF_INET ? 32 : 128;
	bits = max;
	if (slash && parse_bits(span_of(slash + 1, text.len - host.len - 1), max, &bits))
		return -EINVAL;
	if (addr.any.sa_family == AF_INET)
		bits += MAPPED_BITS;
	/* "::ffff:10.0.0.0/90" would be IPv4 in its text and hold IPv6 addresses. */
	if (key.is_v4 && bits < MAPPED_BITS)
		return -EINVAL;
	ret_network->high_mask = mask_of(bits);
	ret_network->low_mask = mask_of(bits > 64 ? bits - 64 : 0);
	ret_network->high = key.high & ret_network->high_mask;
	ret_network->low = key.low & ret_network->low_mask;
	ret_network->is_v4 = key.is_v4;
	return 0;
}

void cidr_set_init(struct cidr_set *s)
{
	*s = (struct cidr_set){0};
}

void cidr_set_fini(struct cidr_set *s)
{
	free(s->networks);
	cidr_set_init(s);
}

int cidr_set_add(struct cidr_set *s, struct span text)
{
	struct cidr network;
	int err = cidr_parse(text, &network);

	if (err)
		return err;
	if (s->count == s->capacity) {
		unsigned capacity = MAX(2 * s->capacity, 8u);
		struct cidr *grown = realloc(s->networks, capacity * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		s->networks = grown;
		s->capacity = capacity;
	}
	s->networks[s->count++] = network;
	return 0;
}

bool cidr_set_has(const struct cidr_set *s, const union sock_addr *addr)
{
	struct key key;

	if (s->count == 0 || !key_of(addr, &key))
		return false;
	for (unsigned i = 0; i < s->count; i++) {
		const struct cidr *n = &s->networks[i];

		if (n->is_v4 == key.is_v4 && (key.high & n->high_mask) == n->high &&
		    (key.low & n->low_mask) == n->low)
			return true;
	}
	return false;
}
