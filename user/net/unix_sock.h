/* SPDX-License-Identifier: MIT */
/*
 * Unix stream sockets by path: for the control socket.  One wrapper for each system call in use, EINTR repeated here,
 * -errno returned.
 */
#ifndef SLUICE_NET_UNIX_SOCK_H
#define SLUICE_NET_UNIX_SOCK_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

struct unix_listener {
	int fd;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	dev_t dev;	/* of the socket file: only that very file is removed in the end */
	ino_t ino;
};

/*
 * A non-blocking, close-on-exec listening socket at `path`, mode 0600 from its first moment.  The folder is made (0755)
 * when only it is missing.  A socket file that nobody listens on any more is replaced.
 * -EADDRINUSE: somebody listens there.  -ENOTSOCK: something else than a socket lies there, and is left alone.
 * *ret_step, when the result is negative, names the call that failed ("bind").  l->fd is then -1.
 */
int unix_listen(struct unix_listener *l, const char *path, int backlog, const char **ret_step);
/*
 * Another process's listening socket, received from it: `fd` becomes the listener's.  From here on clients see this process
 * as their peer (SO_PEERCRED is that of who called listen(2) last).  0 or -errno; then the descriptor is still the caller's.
 */
int unix_adopt(struct unix_listener *l, int fd, const char *path, int backlog);
/* Closes and leaves the file, which is another process's now. */
void unix_leave(struct unix_listener *l);
/* Closes, and removes the file unless another server's has taken its place.  Harmless when never opened (fd -1). */
void unix_unlisten(struct unix_listener *l);

/*
 * Connects, waiting at most `timeout_ms` for room in the listener's queue (-EAGAIN).  The descriptor is non-blocking
 * and close-on-exec.  Or -errno: -ENOENT, -ECONNREFUSED (nobody listens), -EACCES, -ENAMETOOLONG.
 */
int unix_connect(const char *path, uint64_t timeout_ms);

/* Non-blocking and close-on-exec.  Descriptor, or -errno (-EAGAIN: none is waiting). */
int unix_accept(int fd);
/* Who opened the other end. */
int unix_peer(int fd, struct ucred *ret_peer);
ssize_t unix_read(int fd, void *to, size_t len);
/* No SIGPIPE: -EPIPE. */
ssize_t unix_write(int fd, const void *from, size_t len);

#endif
