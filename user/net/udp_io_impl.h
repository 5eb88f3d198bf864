/* SPDX-License-Identifier: MIT */
/* Between udp_io.c and udp_send.c. */
#ifndef SLUICE_NET_UDP_IO_IMPL_H
#define SLUICE_NET_UDP_IO_IMPL_H

#include "net/udp_io.h"

/* Room for all that may come or go beside a message: UDP_GRO or UDP_SEGMENT, and the address of our side. */
union udp_control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* Behind what is in there already. */
void udp_add_segment(struct msghdr *h, union udp_control *control, unsigned segment);

#endif
