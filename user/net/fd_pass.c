/* SPDX-License-Identifier: MIT */
/* Descriptors over Unix sockets; see fd_pass.h. */
#include "net/fd_pass.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int fd_pass_pair(int ret_fds[2])
{
	int type = SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC;

	return socketpair(AF_UNIX, type, 0, ret_fds) < 0 ? -errno : 0;
}

int fd_pass_stream_pair(int ret_fds[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ret_fds) < 0 ? -errno : 0;
}

union control {
	struct cmsghdr head;
	char space[CMSG_SPACE(FD_PASS_MAX * sizeof(int))];
};

ssize_t fd_pass_send_all(int sock, const void *data, size_t len, const int *fds, unsigned count)
{
	struct iovec iov = { (void *)data, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control control = { 0 };
	ssize_t n;

	if (count > FD_PASS_MAX)
		return -EINVAL;
	if (count) {
		struct cmsghdr *c = &control.head;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(*fds));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(*fds));
		memcpy(CMSG_DATA(c), fds, count * sizeof(*fds));
	}
	do {
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static void take_fds(struct msghdr *msg, int *fds, unsigned *count)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		unsigned more;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		more = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(*fds));
		memcpy(fds + *count, CMSG_DATA(c), more * sizeof(*fds));
		*count += more;
	}
}

/*
 * `room`: descriptors at most; *ret_is_cut: there were more, or no room for them in this process.  The length is not that of
 * CMSG_SPACE, which is rounded up: the kernel would find room for two where one was meant.
 */
static ssize_t receive(int sock, void *data, size_t len, int *fds, unsigned room, unsigned *ret_count, bool *ret_is_cut)
{
	struct iovec iov = { data, len };
	union control control;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_LEN(room * sizeof(*fds)),
	};
	ssize_t n;

	*ret_count = 0;
	do {
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	take_fds(&msg, fds, ret_count);
	*ret_is_cut = msg.msg_flags & MSG_CTRUNC;
	return n;
}

ssize_t fd_pass_receive_all(int sock, void *data, size_t len, int *ret_fds, unsigned *ret_count)
{
	bool is_cut;
	ssize_t n = receive(sock, data, len, ret_fds, FD_PASS_MAX, ret_count, &is_cut);

	if (n < 0 || !is_cut)
		return n;
	while (*ret_count)
		close(ret_fds[--*ret_count]);
	return -EMFILE;
}

ssize_t fd_pass_send(int sock, const void *data, size_t len, int fd)
{
	return fd_pass_send_all(sock, data, len, &fd, fd >= 0);
}

ssize_t fd_pass_receive(int sock, void *data, size_t len, int *ret_fd)
{
	unsigned count;
	bool is_cut;
	int fd;
	ssize_t n = receive(sock, data, len, &fd, 1, &count, &is_cut);

	if (n < 0 || count == 0)
		fd = -1;
	if (ret_fd)
		*ret_fd = fd;
	else if (fd >= 0)
		close(fd);
	return n;
}
