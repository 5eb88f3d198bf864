/* SPDX-License-Identifier: MIT */
/* The queue of datagrams to peers of an unconnected socket; see udp_io.h. */
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#include "net/udp_io_impl.h"

#define QUEUE_MAX   64
#define COPY_MAX    2048u
#define MEMORY_SIZE (QUEUE_MAX * COPY_MAX)

struct udp_queued {
	union sock_addr peer;
	struct iovec iov;
	struct udp_message m;
	union udp_control control;	/* its size is not fixed, strictly speaking: the last */
};

/* Of one flush; beside the queue because sendmmsg() wants them in an array. */
static struct mmsghdr headers[QUEUE_MAX];

int udp_sender_init(struct udp_sender *s)
{
	*s = (struct udp_sender){ .fd = -1 };
	s->queue = calloc(QUEUE_MAX, sizeof(*s->queue));
	s->memory = malloc(MEMORY_SIZE);
	if (s->queue && s->memory)
		return 0;
	udp_sender_fini(s);
	return -ENOMEM;
}

void udp_sender_fini(struct udp_sender *s)
{
	free(s->queue);
	free(s->memory);
	s->queue = NULL;
	s->memory = NULL;
	s->count = 0;
}

/* Our side of the path: on a wildcard socket the kernel would choose by its routes. */
static void add_local(struct msghdr *h, union udp_control *control, const struct udp_path *p)
{
	struct cmsghdr *c = &control->align;

	if (p->local.any.sa_family == AF_INET) {
		struct in_pktinfo info = { .ipi_spec_dst = p->local.v4.sin_addr };

		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		h->msg_controllen = CMSG_SPACE(sizeof(info));
	} else if (p->local.any.sa_family == AF_INET6) {
		struct in6_pktinfo info = { .ipi6_addr = p->local.v6.sin6_addr, .ipi6_ifindex = p->ifindex };

		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		h->msg_controllen = CMSG_SPACE(sizeof(info));
	}
	h->msg_control = h->msg_controllen ? control : NULL;
}

static void fill(struct msghdr *h, struct udp_queued *q)
{
	*h = (struct msghdr){
		.msg_name = &q->peer, .msg_namelen = sock_addr_len(&q->peer), .msg_iov = &q->iov, .msg_iovlen = 1,
	};
	add_local(h, &q->control, &q->m.path);
	if (q->m.segment)
		udp_add_segment(h, &q->control, q->m.segment);
}

static void count_sent(struct udp_sender *s, const struct udp_message *m)
{
	unsigned count = udp_message_count(m);

	s->counts.datagrams += count;
	s->counts.bytes += m->len;
	if (m->segment)
		s->counts.segmented += count;
}

static void count_lost(struct udp_sender *s, unsigned count, int err)
{
	if (err == EAGAIN || err == ENOBUFS)
		s->counts.busy += count;
	else
		s->counts.failed += count;
}

/* Datagram by datagram, where the kernel or a device does not take UDP_SEGMENT (or not that one). */
static void send_pieces(struct udp_sender *s, struct udp_queued *q)
{
	const struct udp_message whole = q->m;

	q->m.segment = 0;
	for (size_t at = 0; at < whole.len; at += whole.segment) {
		struct msghdr h;

		q->iov.iov_base = (char *)whole.data + at;
		q->iov.iov_len = whole.len - at < whole.segment ? whole.len - at : whole.segment;
		fill(&h, q);
		if (sendmsg(s->fd, &h, MSG_NOSIGNAL) < 0) {
			count_lost(s, 1, errno);
			continue;
		}
		s->counts.datagrams++;
		s->counts.bytes += q->iov.iov_len;
	}
}

/* Of the one that stopped the rest; true when it was dealt with. */
static void handle_refused(struct udp_sender *s, struct udp_queued *q, int err)
{
	if (q->m.segment && (err == EINVAL || err == EIO || err == EMSGSIZE || err == EOPNOTSUPP))
		send_pieces(s, q);
	else
		count_lost(s, udp_message_count(&q->m), err);
}

void udp_sender_flush(struct udp_sender *s)
{
	unsigned done = 0;

	for (unsigned i = 0; i < s->count; i++)
		fill(&headers[i].msg_hdr, &s->queue[i]);
	while (done < s->count) {
		int n = sendmmsg(s->fd, headers + done, s->count - done, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			handle_refused(s, &s->queue[done++], errno);
			continue;
		}
		for (int i = 0; i < n; i++)
			count_sent(s, &s->queue[done++].m);
	}
	s->count = 0;
	s->used = 0;
}

static struct udp_queued *queue_place(struct udp_sender *s, int fd)
{
	if (s->count == QUEUE_MAX || (s->count && s->fd != fd))
		udp_sender_flush(s);
	s->fd = fd;
	return &s->queue[s->count++];
}

void udp_sender_add_uncopied(struct udp_sender *s, int fd, const struct udp_path *path, const struct udp_message *m)
{
	struct udp_queued *q = queue_place(s, fd);

	q->peer = path->peer;
	q->m = *m;
	q->m.path = *path;
	q->iov = (struct iovec){ m->data, m->len };
}

void udp_sender_add(struct udp_sender *s, int fd, const struct udp_path *path, const struct udp_message *m)
{
	struct udp_queued *q;

	udp_sender_add_uncopied(s, fd, path, m);
	if (m->len > COPY_MAX) {
		udp_sender_flush(s);
		return;
	}
	q = &s->queue[s->count - 1];
	q->m.data = q->iov.iov_base = memcpy(s->memory + s->used, m->data, m->len);
	s->used += m->len;
}
