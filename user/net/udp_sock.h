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
 * Non-blocking, close-on-exec, neither bound nor connected: the first datagram gives it a port.  ICMP errors are seen, and
 * one that was seen has made the socket useless: close it.
 */
int udp_sock_open(sa_family_t family);
/* It keeps the port, if it has one, and what is in it already, of whomever.  0 or -errno. */
int udp_sock_set_peer(int fd, const union sock_addr *addr);
/* Neither bound nor connected any more: nobody reaches it, and its next port is another one.  0 or -errno. */
int udp_sock_disconnect(int fd);
/* Nothing has been received, and no error is pending. */
bool udp_sock_is_empty(int fd);
/* Errors of our own sending wait too, and EPOLLERR tells of them for as long. */
void udp_sock_drop_errors(int fd);
/* Throws away what it has received.  False: an error was pending, or there is no end of it. */
bool udp_sock_empty(int fd);

#endif
