/* SPDX-License-Identifier: MIT */
/* Receiving, and sending over connected sockets; see udp_io.h. */
#include "net/udp_io.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "net/udp_io_impl.h"

/* Not a power of two: the beginnings of all messages would share a few sets of the caches. */
#define STRIDE	    (UDP_MESSAGE_MAX + 19 * 64)
#define MEMORY_SIZE ((size_t)UDP_BATCH * STRIDE)

/* What recvmmsg() works on, side by side with the messages. */
struct receive_slot {
	struct iovec iov;
	union sock_addr peer;
	union udp_control control;
};

struct receive_memory {
	struct mmsghdr headers[UDP_BATCH];
	struct receive_slot slots[UDP_BATCH];
};

/* The kernel writes how much it used.  Of those it has not come to, the most of a batch, nothing need be touched. */
static void make_room(struct msghdr *h)
{
	h->msg_namelen = sizeof(union sock_addr);
	h->msg_controllen = sizeof(union udp_control);
}

int udp_receiver_init(struct udp_receiver *r)
{
	struct receive_memory *m = calloc(1, sizeof(*m));
	char *data = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	r->headers = m ? m->headers : NULL;
	if (!m || data == MAP_FAILED) {
		free(m);
		if (data != MAP_FAILED)
			munmap(data, MEMORY_SIZE);
		r->headers = NULL;
		return -ENOMEM;
	}
	for (unsigned i = 0; i < UDP_BATCH; i++) {
		struct receive_slot *s = &m->slots[i];
		struct msghdr *h = &m->headers[i].msg_hdr;

		r->messages[i].data = data + (size_t)i * STRIDE;
		s->iov = (struct iovec){ r->messages[i].data, UDP_MESSAGE_MAX };
		*h = (struct msghdr){ .msg_name = &s->peer, .msg_iov = &s->iov, .msg_iovlen = 1, .msg_control = &s->control };
		make_room(h);
	}
	return 0;
}

void udp_receiver_fini(struct udp_receiver *r)
{
	if (!r->headers)
		return;
	munmap(r->messages[0].data, MEMORY_SIZE);
	free((struct receive_memory *)(void *)r->headers);
	r->headers = NULL;
}

static void take_local_v6(struct udp_path *p, const struct in6_pktinfo *info)
{
	p->local.v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_addr = info->ipi6_addr };
	if (IN6_IS_ADDR_LINKLOCAL(&info->ipi6_addr))
		p->ifindex = info->ipi6_ifindex;
}

static void take_control(struct udp_message *m, struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		const void *data = CMSG_DATA(c);

		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			int segment;

			memcpy(&segment, data, sizeof(segment));
			m->segment = segment > 0 && (size_t)segment < m->len ? (unsigned)segment : 0;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			const struct in_pktinfo *info = data;

			m->path.local.v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = info->ipi_addr };
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			take_local_v6(&m->path, data);
		}
	}
}

static void take(struct udp_message *m, struct mmsghdr *h, const union sock_addr *peer)
{
	/* The last reader may have moved messages. */
	m->data = h->msg_hdr.msg_iov->iov_base;
	m->len = h->msg_len;
	m->segment = 0;
	m->is_truncated = h->msg_hdr.msg_flags & MSG_TRUNC;
	m->path.ifindex = 0;
	m->path.local.any.sa_family = AF_UNSPEC;
	if (h->msg_hdr.msg_namelen)
		m->path.peer = *peer;
	if (h->msg_hdr.msg_controllen)
		take_control(m, &h->msg_hdr);
}

int udp_receive(struct udp_receiver *r, int fd, unsigned max)
{
	struct receive_memory *memory = (void *)r->headers;
	int n;

	do
		n = recvmmsg(fd, r->headers, max, 0, NULL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		take(&r->messages[i], &r->headers[i], &memory->slots[i].peer);
		make_room(&r->headers[i].msg_hdr);
	}
	return n;
}

int udp_receive_one(struct udp_receiver *r, int fd, bool tells_peer)
{
	struct udp_message *m = &r->messages[0];
	socklen_t len = sizeof(m->path.peer);
	ssize_t n;

	do
		n = tells_peer ? recvfrom(fd, m->data, UDP_MESSAGE_MAX, 0, &m->path.peer.any, &len)
			       : recv(fd, m->data, UDP_MESSAGE_MAX, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	m->len = (size_t)n;
	m->segment = 0;
	m->is_truncated = false;
	return 1;
}

void udp_add_segment(struct msghdr *h, union udp_control *control, unsigned segment)
{
	uint16_t size = (uint16_t)segment;
	struct cmsghdr *c;

	h->msg_control = control;
	c = (struct cmsghdr *)(void *)(control->bytes + h->msg_controllen);
	c->cmsg_level = IPPROTO_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(size));
	memcpy(CMSG_DATA(c), &size, sizeof(size));
	h->msg_controllen += CMSG_SPACE(sizeof(size));
}

int udp_send_to(int fd, const union sock_addr *to, const struct udp_message *m)
{
	ssize_t n;

	do
		n = sendto(fd, m->data, m->len, MSG_NOSIGNAL, &to->any, sock_addr_len(to));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static ssize_t send_piece(int fd, const void *data, size_t len)
{
	ssize_t n;

	do
		n = send(fd, data, len, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Where UDP_SEGMENT is refused: datagram by datagram. */
static int send_pieces(int fd, const struct udp_message *m)
{
	for (size_t at = 0; at < m->len; at += m->segment) {
		size_t left = m->len - at;
		ssize_t n = send_piece(fd, (const char *)m->data + at, left < m->segment ? left : m->segment);

		if (n < 0)
			return (int)n;
	}
	return 0;
}

static int send_one(int fd, const struct udp_message *m)
{
	struct iovec iov = { m->data, m->len };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	union udp_control control;
	ssize_t n;

	if (!m->segment) {
		n = send_piece(fd, m->data, m->len);
		return n < 0 ? (int)n : 0;
	}
	udp_add_segment(&h, &control, m->segment);
	do
		n = sendmsg(fd, &h, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EINVAL || errno == EIO || errno == EMSGSIZE || errno == EOPNOTSUPP))
		return send_pieces(fd, m);
	return n < 0 ? -errno : 0;
}

static unsigned send_plain(int fd, const struct udp_message *m, unsigned count, int *ret_err)
{
	struct mmsghdr headers[UDP_BATCH];
	struct iovec iov[UDP_BATCH];
	int n;

	for (unsigned i = 0; i < count; i++) {
		iov[i] = (struct iovec){ m[i].data, m[i].len };
		headers[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &iov[i], .msg_iovlen = 1 } };
	}
	do
		n = sendmmsg(fd, headers, count, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	*ret_err = n < 0 ? -errno : 0;
	return n < 0 ? 0 : (unsigned)n;
}

unsigned udp_send_connected(int fd, const struct udp_message *m, unsigned count, int *ret_err)
{
	unsigned sent = 0;

	*ret_err = 0;
	while (sent < count && !*ret_err) {
		unsigned run = 0;

		while (sent + run < count && !m[sent + run].segment)
			run++;
		if (run > 1) {
			sent += send_plain(fd, m + sent, run, ret_err);
			continue;
		}
		*ret_err = send_one(fd, &m[sent]);
		sent += *ret_err == 0;
	}
	return sent;
}
