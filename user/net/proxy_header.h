/* SPDX-License-Identifier: MIT */
/*
 * The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): one header in front of
 * everything else on a connection, by which a proxy says whose connection it passes on.  Parser of
 * the accepting side, writer towards an upstream; bytes only, no sockets.
 * Must not know: whether the sender may be believed.  Whoever can connect to an address that takes
 * the header can claim any source.
 */
#ifndef SLUICE_NET_PROXY_HEADER_H
#define SLUICE_NET_PROXY_HEADER_H

#include "base/buf.h"
#include "net/sock.h"

/* The longest header that is taken; version 2 allows 64 KiB, of which nobody sends a twentieth. */
#define PROXY_HEADER_MAX 4096
/* Room for either writer. */
#define PROXY_HEADER_WRITE_MAX 108

enum proxy_verdict {
	PROXY_HEADER_MORE, /* a beginning of a header: needs more bytes */
	PROXY_HEADER_DONE,
	PROXY_HEADER_FAIL, /* no header, or a wrong one */
};

struct proxy_header {
	/*
	 * The addresses of the connection itself stand: the sender speaks for itself (LOCAL: a
	 * health check), or does not know (UNKNOWN, UNSPEC), or the client came by a Unix socket.
	 */
	bool is_local;
	union sock_addr source;	     /* the client; family 0 when is_local */
	union sock_addr destination; /* what the client connected to; family 0 when is_local */
	size_t len;		     /* bytes of the header: the next protocol begins behind them */
};

/*
 * All bytes received so far, from the first of the connection on.  *ret is filled by DONE only.
 * MORE is never said of PROXY_HEADER_MAX bytes or more.
 */
enum proxy_verdict proxy_header_parse(const char *data, size_t len, struct proxy_header *ret);

/*
 * The header for a connection from `source` to `destination`.  Either NULL, or of a family that is
 * not IP: UNKNOWN and LOCAL, which is also what our own health checks say.  Mapped IPv4 is written
 * as IPv4; of two families both are written as IPv6.
 */
void proxy_header_write_v1(struct buf *b, const union sock_addr *source,
			   const union sock_addr *destination);
void proxy_header_write_v2(struct buf *b, const union sock_addr *source,
			   const union sock_addr *destination);

#endif
