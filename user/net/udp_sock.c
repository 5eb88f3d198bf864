/* SPDX-License-Identifier: MIT */
/* See udp_sock.h. */
#include "net/udp_sock.h"

#include <errno.h>
#include <netinet/udp.h>
#include <unistd.h>

/* More than one reads before it has ended, unless something is wrong. */
#define EMPTY_TRIES 1024

static int set_int(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) ? -errno : 0;
}

static bool is_wildcard(const union sock_addr *a)
{
	if (a->any.sa_family == AF_INET)
		return a->v4.sin_addr.s_addr == htonl(INADDR_ANY);
	return a->any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr);
}

int udp_sock_change(int fd, const struct udp_sock_options *opt)
{
	int r = opt->rcvbuf ? set_int(fd, SOL_SOCKET, SO_RCVBUF, opt->rcvbuf) : 0;

	if (!r && opt->sndbuf)
		r = set_int(fd, SOL_SOCKET, SO_SNDBUF, opt->sndbuf);
	/* Older kernels have none; datagrams then come one by one. */
	(void)set_int(fd, IPPROTO_UDP, UDP_GRO, opt->has_gro);
	return r;
}

static int prepare(int fd, const union sock_addr *addr, const struct udp_sock_options *opt, const char **ret_step)
{
	bool is_v6 = addr->any.sa_family == AF_INET6;
	int r;

	*ret_step = "SO_REUSEPORT";
	r = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (!r && is_v6) {
		*ret_step = "IPV6_V6ONLY";
		r = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, opt->is_v6only);
	}
	if (!r && is_wildcard(addr)) {
		*ret_step = is_v6 ? "IPV6_RECVPKTINFO" : "IP_PKTINFO";
		r = is_v6 ? set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) : set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
	}
	if (!r) {
		*ret_step = "SO_RCVBUF";
		r = udp_sock_change(fd, opt);
	}
	return r;
}

int udp_sock_bind(const union sock_addr *addr, const struct udp_sock_options *opt, const char **ret_step)
{
	int fd = socket(addr->any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	*ret_step = "socket";
	if (fd < 0)
		return -errno;
	r = prepare(fd, addr, opt, ret_step);
	if (!r) {
		*ret_step = "bind";
		if (bind(fd, &addr->any, sock_addr_len(addr)) == 0)
			return fd;
		r = -errno;
	}
	close(fd);
	return r;
}

int udp_sock_disconnect(int fd)
{
	const struct sockaddr none = { .sa_family = AF_UNSPEC };

	return connect(fd, &none, sizeof(none)) ? -errno : 0;
}

void udp_sock_drop_errors(int fd)
{
	char byte;

	for (unsigned i = 0; i < EMPTY_TRIES && recv(fd, &byte, 1, MSG_ERRQUEUE) >= 0; i++)
		;
}

bool udp_sock_is_empty(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
}

bool udp_sock_empty(int fd)
{
	char byte;

	for (unsigned i = 0; i < EMPTY_TRIES; i++)
		if (recv(fd, &byte, 1, 0) < 0 && errno != EINTR)
			return errno == EAGAIN;
	return false;
}

int udp_sock_set_peer(int fd, const union sock_addr *addr)
{
	return connect(fd, &addr->any, sock_addr_len(addr)) ? -errno : 0;
}

int udp_sock_open(sa_family_t family)
{
	bool is_v6 = family == AF_INET6;
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return -errno;
	/* Without it only a connected socket hears of ICMP errors. */
	r = is_v6 ? set_int(fd, IPPROTO_IPV6, IPV6_RECVERR, 1) : set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
	if (!r)
		return fd;
	close(fd);
	return r;
}

int udp_sock_connect(const struct sockaddr *addr, socklen_t len)
{
	int fd = socket(addr->sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return -errno;
	if (connect(fd, addr, len) == 0)
		return fd;
	r = -errno;
	close(fd);
	return r;
}
