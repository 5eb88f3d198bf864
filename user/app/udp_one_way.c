/* SPDX-License-Identifier: MIT */
/*
 * Datagrams that nobody answers (log lines, measurements): each goes to the server that the upstream chooses for it.  The
 * worker keeps one connected socket for each server, so that an ICMP error tells which one is gone.
 */
#include <stdlib.h>
#include <unistd.h>

#include "app/udp_internal.h"
#include "base/err.h"

#define TRIES 3

struct udp_one_way_peer {
	unsigned endpoint;
	socklen_t len;
	struct sockaddr_storage addr;	/* what the socket is connected to: an endpoint's address may change */
	int fd;
};

void one_way_close(struct udp_service *svc)
{
	for (unsigned i = 0; i < svc->peer_count; i++)
		sock_close(svc->peers[i].fd);
	free(svc->peers);
	svc->peers = NULL;
	svc->peer_count = 0;
}

static struct udp_one_way_peer *peer_of_endpoint(struct udp_service *svc, unsigned endpoint)
{
	struct udp_one_way_peer *grown;

	for (unsigned i = 0; i < svc->peer_count; i++)
		if (svc->peers[i].endpoint == endpoint)
			return &svc->peers[i];
	grown = realloc(svc->peers, (svc->peer_count + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	svc->peers = grown;
	grown[svc->peer_count] = (struct udp_one_way_peer){ .endpoint = endpoint, .fd = -1 };
	return &grown[svc->peer_count++];
}

/* Descriptor or -errno. */
static int socket_to(struct udp_service *svc, unsigned endpoint, const struct upstream_address *a)
{
	struct udp_one_way_peer *p = peer_of_endpoint(svc, endpoint);

	if (!p)
		return -ENOMEM;
	if (p->fd >= 0 && p->len == a->len && memcmp(&p->addr, &a->addr, a->len) == 0)
		return p->fd;
	sock_close(p->fd);
	p->len = a->len;
	p->addr = a->addr;
	p->fd = udp_sock_connect((const struct sockaddr *)&a->addr, a->len);
	return p->fd;
}

/* 0, -EAGAIN: dropped, another server makes no difference; else the server failed. */
static int send_to_one(struct udp_service *svc, struct upstream_lease *lease, const struct upstream_address *a,
		       const struct udp_message *m)
{
	int fd = socket_to(svc, lease->endpoint, a), err;

	if (fd < 0)
		return fd;
	udp_send_connected(fd, m, 1, &err);
	if (err == 0)
		upstream_lease_counters(lease)->bytes_out += m->len;
	return err;
}

void one_way_forward(struct udp_service *svc, const struct udp_message *m)
{
	struct udp_server *s = svc->server;
	unsigned datagrams = udp_message_count(m);
	struct upstream_lease lease = { .key = udp_client_key(&m->path.peer) };
	struct upstream_address address;
	enum udp_drop why = UDP_DROP_NO_SERVER;

	upstream_lease_init(&lease);
	for (unsigned i = 0; i < TRIES; i++) {
		int err;

		if (upstream_claim(svc->opt.upstream, &lease, &address) < 0)
			break;
		err = send_to_one(svc, &lease, &address, m);
		if (err == 0) {
			/* Sent is not received: that it is well is shown by no error coming back. */
			upstream_unclaim(&lease, OUTCOME_NEUTRAL);
			s->stats->forwarded += datagrams;
			return;
		}
		if (err == -EAGAIN || err == -ENOBUFS || err == -EMFILE || err == -ENFILE || err == -ENOMEM) {
			upstream_unclaim(&lease, OUTCOME_NEUTRAL);
			why = err == -EAGAIN || err == -ENOBUFS ? UDP_DROP_BUSY : UDP_DROP_MEMORY;
			break;
		}
		s->stats->server_errors++;
		why = UDP_DROP_UNREACHABLE;
		upstream_unclaim(&lease, OUTCOME_FAILED);
	}
	count_drop(s, why, datagrams);
}
