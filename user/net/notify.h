/* SPDX-License-Identifier: MIT */
/*
 * Telling a service manager how we are: datagrams "KEY=VALUE\n..." to the Unix socket that $NOTIFY_SOCKET names
 * (sd_notify(3), without its library).  What is told when is others' business: proc/service.h.
 */
#ifndef SLUICE_NET_NOTIFY_H
#define SLUICE_NET_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
	int fd;			/* -1: nobody wants to know */
	struct sockaddr_un addr;
	socklen_t addr_len;
};

/*
 * `address`: an absolute path, or "@NAME" of an abstract socket; NULL: nobody is there.  0, or -EAFNOSUPPORT (of another
 * kind), -ENAMETOOLONG ...; then nothing is ever told.
 */
int notify_open(struct notify *n, const char *address);
void notify_close(struct notify *n);
/* One message.  Waits half a second at most for a reader that is behind.  0 (nobody there, too) or -errno. */
int notify_send(const struct notify *n, const char *message);

#endif
