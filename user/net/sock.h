/* SPDX-License-Identifier: MIT */
/*
 * One wrapper for each socket system call in use: EINTR is repeated here, -errno returned, so that errno is read
 * nowhere else.  Also text forms of addresses (sock_addr.c).
 */
#ifndef SLUICE_NET_SOCK_H
#define SLUICE_NET_SOCK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/span.h"

union sock_addr {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* Longest text form: "[" + 45 + "%4294967295" + "]:65535" and NUL. */
#define SOCK_ADDR_TEXT 72

/*
 * "127.0.0.1:80", "[::1]:80", ":80" and "*:80" (both 0.0.0.0).  Port 0 is allowed.  0 or -EINVAL.
 */
int sock_addr_parse(struct span text, union sock_addr *ret_addr);
/*
 * An address alone: "127.0.0.1" or "::1", without brackets, scope or port (which is 0 then).  Asks the kernel nothing:
 * fit for what peers send.  A v4-mapped address stays IPv6.  0 or -EINVAL.
 */
int sock_addr_parse_host(struct span text, union sock_addr *ret_addr);
/* The IPv4 address of a v4-mapped one, anything else as it is. */
void sock_addr_unmap(union sock_addr *a);
socklen_t sock_addr_len(const union sock_addr *a);
uint16_t sock_addr_port(const union sock_addr *a);
/* Address and port; a v4-mapped address prints as v4.  Always terminated; returns out. */
char *sock_addr_print(const union sock_addr *a, char out[SOCK_ADDR_TEXT]);
/* The same of any stream socket's address, cut to `size`: "unix:/run/app.sock", "unix:@name" of an abstract one too. */
char *sock_addr_print_any(const struct sockaddr *addr, socklen_t len, char *out, size_t size);
/* Address alone, without brackets. */
char *sock_addr_print_host(const union sock_addr *a, char out[SOCK_ADDR_TEXT]);

struct sock_options {
	int backlog;		/* connections; 0: 4096 (the kernel caps it at net.core.somaxconn) */
	bool has_nodelay;	/* TCP_NODELAY */
	int defer_accept_s;	/* TCP_DEFER_ACCEPT, seconds, 0 = off */
	int keepalive_s;	/* TCP_KEEPIDLE, seconds, 0 = off */
	int fastopen;		/* TCP_FASTOPEN queue length, 0 = off */
	int busy_poll_us;	/* SO_BUSY_POLL, microseconds, 0 = off */
	bool is_v6only;		/* IPV6_V6ONLY */
	int rcvbuf, sndbuf;	/* bytes, 0 = the kernel's own tuning */
	int unsent;		/* TCP_NOTSENT_LOWAT, bytes: takes no more while so much waits to be sent; 0 = no limit */
	bool has_reuseport;
};

/*
 * A non-blocking, close-on-exec TCP socket, bound and listening.  The descriptor becomes the caller's.
 * *ret_step, when the result is negative, names the call that failed ("bind").
 * An option an older kernel does not know is skipped only for busy_poll and fastopen.
 */
int sock_listen(const union sock_addr *addr, const struct sock_options *opt, const char **ret_step);
/* The same in two steps: nobody can connect before the second. */
int sock_bind(const union sock_addr *addr, const struct sock_options *opt, const char **ret_step);
int sock_start_listening(int fd, const struct sock_options *opt);
/* Other options for a socket that listens already, its backlog too; connections accepted later have them.  0 or -errno. */
int sock_change_options(int fd, const struct sock_options *opt);
/* Those fixed at the bind, or not to be taken back, must be the same. */
bool sock_can_change_options(const struct sock_options *from, const struct sock_options *to);
/*
 * Makes a listening socket that somebody else opened into one of ours: the options as far as they can still be set, and
 * SO_REUSEPORT, which lets siblings join it.  0 or -errno with *ret_step as above; the descriptor stays the caller's.
 */
int sock_adopt(int fd, const struct sock_options *opt, const char **ret_step);
int sock_local_addr(int fd, union sock_addr *ret_addr);
/*
 * A non-blocking, close-on-exec stream socket on its way to `addr`: TCP (with TCP_NODELAY) or Unix.  The descriptor, which
 * becomes the caller's, or -errno.  *ret_is_connected: there at once (Unix); else EPOLLOUT, EPOLLERR or EPOLLHUP tells
 * when it is decided, and sock_error() how.
 */
int sock_connect(const struct sockaddr *addr, socklen_t len, bool *ret_is_connected);
/* The same of TCP from an address of ours, whose port the kernel chooses as it connects: one may serve again for each peer. */
int sock_connect_from(const union sock_addr *source, const union sock_addr *addr, bool *ret_is_connected);
/* Takes the socket's pending error: 0, or -ECONNREFUSED ... */
int sock_error(int fd);

/* Accepted sockets are non-blocking and close-on-exec.  Descriptor, or -errno (-EAGAIN: none is waiting). */
int sock_accept(int fd, union sock_addr *ret_peer);
ssize_t sock_read(int fd, void *to, size_t len);
ssize_t sock_writev(int fd, const struct iovec *iov, int count, bool has_more);
ssize_t sock_sendfile(int fd, int from_fd, off_t *offset, size_t len);
/*
 * splice(2) between a socket and a pipe, whose other end never blocks us.  Bytes moved, 0 (the peer has ended its side),
 * -EAGAIN: the socket has nothing or takes nothing, or the pipe is full or empty.
 */
ssize_t sock_splice(int from_fd, int to_fd, size_t len, bool has_more);
/* TCP_NOTSENT_LOWAT, as of sock_options.unsent: bytes, 0 (no limit), or -errno. */
int sock_unsent_limit(int fd);
int sock_set_unsent_limit(int fd, int bytes);
int sock_shutdown_write(int fd);
/* True while the peer has neither sent anything nor ended its side. */
bool sock_is_quiet(int fd);
/* Bytes written that the peer has not acknowledged yet; 0 when that cannot be known. */
unsigned sock_unacked(int fd);
/* SO_LINGER 0 and close: the peer gets RST. */
void sock_reset(int fd);
void sock_close(int fd);

#endif
