/* SPDX-License-Identifier: MIT */
/*
 * What proxies say of the client they speak for: X-Forwarded-For, -Proto and -Host, Forwarded (RFC
 * 7239), Via (RFC 9110 7.6.3).  Reading what came (forwarded.c) and printing what goes on
 * (forwarded_print.c); pure functions of the request and its peer.
 *
 * All of it but Via is hearsay: anybody can send these fields.  They count as far as they come from
 * proxies the configuration trusts, and whatever a peer says that is not trusted is dropped.
 * Several fields of one name are one list (RFC 9110 5.3).
 */
#ifndef SLUICE_HTTP_FORWARDED_H
#define SLUICE_HTTP_FORWARDED_H

#include "base/buf.h"
#include "http/message.h"
#include "net/sock.h"

struct forwarded_trust {
	bool (*is_trusted)(void *ctx, const union sock_addr *addr); /* NULL: nobody is */
	void *ctx;
};

/*
 * The client of a request that came from `peer` (of the connection, or as a PROXY protocol header
 * announced it).  As long as the address at hand is trusted, the next one from the right of the
 * list takes its place; an element that holds no address (unknown, _hidden, nonsense) ends the walk
 * at the proxy that wrote it.  The port is 0 where the list has none.
 *
 * X-Forwarded-For is what counts where it is present, else Forwarded: a trusted proxy that writes
 * only one of them has to remove the other, or a client can make it up.
 */
void forwarded_client(const struct request *req, const union sock_addr *peer,
		      const struct forwarded_trust *trust, union sock_addr *ret_client);

/* A request on its way through this proxy. */
struct forwarded_hop {
	const struct request *req;
	const union sock_addr *peer; /* as for forwarded_client; its port is not told */
	bool is_trusted; /* the peer: what it said of those before it is passed on */
	/* private */
	struct span address;	/* of the peer, as it is told */
	char text[SOCK_ADDR_TEXT];
};

/* Stays where it is: the address is printed once for all fields. */
void forwarded_hop_init(struct forwarded_hop *h, const struct request *req, const union sock_addr *peer,
			bool is_trusted);

/*
 * Values for the upstream, without name and line end, in place of all fields of the name that came.
 * What does not fit truncates the buffer: a value must then not be sent.
 */

/* The old list and the peer; of a peer that is not trusted, itself alone. */
void forwarded_print_for(struct buf *b, const struct forwarded_hop *h);
/* "http" or "https": the client's, as far as known. */
void forwarded_print_proto(struct buf *b, const struct forwarded_hop *h);
/* What the client asked for, host and port; prints nothing for a request without Host (1.0). */
void forwarded_print_host(struct buf *b, const struct forwarded_hop *h);
/* "for=192.0.2.1;host=example.com;proto=http" behind the old list, or alone. */
void forwarded_print_forwarded(struct buf *b, const struct forwarded_hop *h);
/*
 * The Via fields among `fields`, of a request or a response, and our own entry, "1.1 sluice" for a
 * message that came as HTTP/1.1.
 */
void forwarded_print_via(struct buf *b, const struct field *fields, unsigned field_count,
			 unsigned version_minor, struct span name);
/* How many entries of Via have that name: so often the request has come by here. */
unsigned forwarded_via_count(const struct request *req, struct span name);

#endif
