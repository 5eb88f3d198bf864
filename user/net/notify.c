/* SPDX-License-Identifier: MIT */
/* Datagrams to a service manager; see notify.h. */
#include "net/notify.h"

#include <errno.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define PATIENCE_US 500000

static int fill_addr(struct notify *n, const char *address)
{
	size_t len = strlen(address);

	if ((address[0] != '/' && address[0] != '@') || len < 2)
		return -EAFNOSUPPORT;
	if (len >= sizeof(n->addr.sun_path))
		return -ENAMETOOLONG;
	n->addr.sun_family = AF_UNIX;
	memcpy(n->addr.sun_path, address, len + 1);
	n->addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	/* An abstract name has no end but its length. */
	if (address[0] == '@') {
		n->addr.sun_path[0] = '\0';
		n->addr_len--;
	}
	return 0;
}

int notify_open(struct notify *n, const char *address)
{
	const struct timeval patience = { .tv_usec = PATIENCE_US };
	int err;

	*n = (struct notify){ .fd = -1 };
	if (!address || !*address)
		return 0;
	err = fill_addr(n, address);
	if (err)
		return err;
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (n->fd < 0)
		return -errno;
	/* Without it a manager that hangs would hang us. */
	if (setsockopt(n->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0)
		return 0;
	err = -errno;
	notify_close(n);
	return err;
}

void notify_close(struct notify *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
}

int notify_send(const struct notify *n, const char *message)
{
	size_t len = strlen(message);
	ssize_t sent;

	if (n->fd < 0)
		return 0;
	do {
		sent = sendto(n->fd, message, len, MSG_NOSIGNAL, (const struct sockaddr *)&n->addr,
			      n->addr_len);
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}
