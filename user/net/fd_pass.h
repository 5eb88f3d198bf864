/* SPDX-License-Identifier: MIT */
/* Short messages with descriptors over a Unix socket (SCM_RIGHTS, unix(7)). */
#ifndef SLUICE_NET_FD_PASS_H
#define SLUICE_NET_FD_PASS_H

#include <stddef.h>
#include <sys/types.h>

/* A connected pair of non-blocking, close-on-exec seqpacket sockets.  0 or -errno. */
int fd_pass_pair(int ret_fds[2]);
/* The same as stream sockets. */
int fd_pass_stream_pair(int ret_fds[2]);
/* `fd`: -1 for none; stays the caller's.  Bytes sent or -errno. */
ssize_t fd_pass_send(int sock, const void *data, size_t len, int fd);
/*
 * *ret_fd: the caller's from now on, close-on-exec, or -1: none was sent, or there was no room for it (EMFILE) and it is
 * lost.  `ret_fd` NULL: none is expected, and one that comes all the same is closed.  Bytes, 0 at the end, or -errno.
 */
ssize_t fd_pass_receive(int sock, void *data, size_t len, int *ret_fd);

/* Well below what the kernel lets one message carry (253). */
#define FD_PASS_MAX 64u

/* The same with up to FD_PASS_MAX of them.  -EINVAL: too many. */
ssize_t fd_pass_send_all(int sock, const void *data, size_t len, const int *fds, unsigned count);
/* Room for FD_PASS_MAX in ret_fds; *ret_count of them are the caller's.  -EMFILE: not all could be received, none is kept. */
ssize_t fd_pass_receive_all(int sock, void *data, size_t len, int *ret_fds, unsigned *ret_count);

#endif
