/* SPDX-License-Identifier: MIT */
/*
 * Datagrams in batches: one system call takes many in, one sends many out.
 *
 * A message may be several datagrams of the same peer, all of `segment` bytes but the last, as the kernel joins them
 * (UDP_GRO) and takes them apart again (UDP_SEGMENT).  One receiver and one sender serve all sockets of a worker: what
 * was received is dealt with before the next receive.
 */
#ifndef SLUICE_NET_UDP_IO_H
#define SLUICE_NET_UDP_IO_H

#include "net/sock.h"

#define UDP_BATCH	64
#define UDP_MESSAGE_MAX 65536u

/* Who sent it, and which of our addresses to: replies go back the same way. */
struct udp_path {
	union sock_addr peer;
	union sock_addr local;	/* no port; AF_UNSPEC: the socket is bound to it */
	unsigned ifindex;	/* with a link-local address; else 0 */
};

struct udp_message {
	struct udp_path path;
	void *data;		/* valid until the next receive */
	size_t len;
	unsigned segment;	/* 0: one datagram */
	bool is_truncated;
};

/* Datagrams that it is. */
static inline unsigned udp_message_count(const struct udp_message *m)
{
	return m->segment && m->len ? (unsigned)((m->len + m->segment - 1) / m->segment) : 1;
}

struct udp_receiver {
	struct mmsghdr *headers;
	struct udp_message messages[UDP_BATCH];
};

/* 0 or -ENOMEM.  Memory is touched as far as datagrams fill it. */
int udp_receiver_init(struct udp_receiver *r);
void udp_receiver_fini(struct udp_receiver *r);
/* Into r->messages: how many, 0 = none is waiting, or -errno (of an ICMP message, on a connected socket). */
int udp_receive(struct udp_receiver *r, int fd, unsigned max);

/*
 * One datagram of a socket without UDP_GRO, of which only data and length are told, and the peer if that is wanted: 15 %
 * cheaper than a batch of one.  1, 0, or -errno as above.
 */
int udp_receive_one(struct udp_receiver *r, int fd, bool tells_peer);

struct udp_send_counts {
	uint64_t datagrams, bytes;
	uint64_t segmented;	/* datagrams of those that went out several in a message */
	uint64_t busy, failed;	/* datagrams lost: no room in the socket's buffer; any other error */
};

struct udp_sender {
	int fd;			/* of what is queued */
	unsigned count;
	struct udp_queued *queue;
	char *memory;		/* copies */
	size_t used;
	struct udp_send_counts counts;
};

int udp_sender_init(struct udp_sender *s);
/* What is queued is lost. */
void udp_sender_fini(struct udp_sender *s);
/*
 * Queues to be sent from `fd`; sends what is queued first when there is no room, or it is for another socket.  Data of a
 * message up to 2 KiB is copied; anything larger leaves at once, with all that was queued before it.
 */
void udp_sender_add(struct udp_sender *s, int fd, const struct udp_path *path, const struct udp_message *m);
/* The same without a copy: flush before the next receive. */
void udp_sender_add_uncopied(struct udp_sender *s, int fd, const struct udp_path *path, const struct udp_message *m);
void udp_sender_flush(struct udp_sender *s);

/* One datagram over a socket that is not connected.  0 or -errno. */
int udp_send_to(int fd, const union sock_addr *to, const struct udp_message *m);

/*
 * Messages over a connected socket, `count` at most UDP_BATCH.  How many were sent; less: *ret_err is that of the next
 * one, -EAGAIN or -ECONNREFUSED (of an ICMP message: that one was not sent).
 */
unsigned udp_send_connected(int fd, const struct udp_message *m, unsigned count, int *ret_err);

#endif
