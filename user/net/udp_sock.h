/* SPDX-License-Identifier: MIT */
/* UDP sockets: those of a listen_udp address, and connected ones towards a server.  errno is read here only. */
#ifndef SLUICE_NET_UDP_SOCK_H
#define SLUICE_NET_UDP_SOCK_H

#include "net/sock.h"

struct udp_sock_options {
	int rcvbuf, sndbuf;	/* bytes, 0 = the kernel's default */
	bool is_v6only;
	bool has_gro;		/* UDP_GRO, where the kernel has it (5.0) */
};

/*
 * Non-blocking, close-on-exec, bound with SO_REUSEPORT.  On a wildcard address each datagram tells which address it was
 * sent to.  The descriptor becomes the caller's; -errno with *ret_step naming the call.
 */
int udp_sock_bind(const union sock_addr *addr, const struct udp_sock_options *opt, const char **ret_step);
/* The buffers and UDP_GRO may change while it is open.  0 or -errno. */
int udp_sock_change(int fd, const struct udp_sock_options *opt);
/* Non-blocking, close-on-exec, connected: only that server's datagrams come in, and its ICMP errors are seen. */
int udp_sock_connect(const struct sockaddr *addr, socklen_t len);
/*
 * Such a socket as if it were new: nobody reaches it until it is connected again, which gives it another port.  What has
 * been received stays in it.  0 or -errno.
 */
int udp_sock_disconnect(int fd);
/* 0 or -errno. */
int udp_sock_reconnect(int fd, const struct sockaddr *addr, socklen_t len);
/* Throws away what it has received, pending errors too.  False: there is no end of it. */
bool udp_sock_empty(int fd);

#endif
