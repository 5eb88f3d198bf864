/* SPDX-License-Identifier: MIT */
/* What resolve.c (questions), resolve_channel.c (c-ares on the loop) and resolve_answer.c (what answers say) share. */
#ifndef SLUICE_NET_RESOLVE_IMPL_H
#define SLUICE_NET_RESOLVE_IMPL_H

#include <ares.h>

#include "net/resolve.h"

/* RFC 1035 3.2.4, RFC 2782; <arpa/nameser.h> brings names with it that are ours. */
#define DNS_CLASS_IN 1
#define DNS_TYPE_SRV 33

struct resolver {
	struct loop *loop;
	ares_channel channel;
	struct timer timer;	/* next timeout of c-ares */
	struct list sockets;
	struct list inquiries;	/* that somebody waits for */
	unsigned limit_ms;
};

struct target {			/* one name whose addresses are asked for */
	struct inquiry *inquiry;
	uint16_t priority, weight, port;
	bool is_gone;		/* there is no such name, or no address of it */
	bool has_failed;	/* not known */
	char name[RESOLVE_NAME_MAX + 1];
};

/* 0, -ENOMEM or -EIO. */
int resolver_open_channel(struct resolver *r, const struct resolver_options *opt);
/* After every call of c-ares: its next timeout may have changed. */
void resolver_arm(struct resolver *r);
/* -errno of a status of c-ares. */
int resolve_error_of(int status);
/* 0 or -errno; -ENODATA: no target, which is also how a service says that it is not there (RFC 2782, target "."). */
int resolve_parse_srv(const unsigned char *packet, int len, struct target targets[RESOLVE_TARGETS_MAX],
		      unsigned *ret_count, uint32_t *ret_ttl_s);
/* Adds the addresses of one target, sorted, none twice; shortens the time to live. */
void resolve_add(struct resolve_answer *a, const struct ares_addrinfo *info, uint16_t port, uint16_t weight);

#endif
