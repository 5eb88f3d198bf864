/* SPDX-License-Identifier: MIT */
/* Taking over a sibling's queue; see rescue.h. */
#include "proc/rescue.h"

#include "base/err.h"

/* Errors of single connections that were to be accepted are passed over, but not for ever. */
#define FAULTS_MAX 16u

/* Of these the connection that was to be accepted is not the cause: there is no use in trying the
 * next. */
static bool is_for_good(int err)
{
	return err != -ECONNABORTED && err != -EPROTO;
}

static void take(struct acceptor *a, struct steer_slot *from, int fd, const union sock_addr *peer,
		 bool has_proxy_header)
{
	a->stats->accepted++;
	a->stats->rescued++;
	steer_rescued(a->steer, a->slot, from, a->loop->now_ns);
	if (server_add(a->server, fd, peer, has_proxy_header) < 0) {
		a->stats->accept_errors++;
		a->stats->closed[CLOSE_MEMORY]++;
		steer_closed(a->slot);
	}
}

unsigned rescue_take(struct acceptor *a, const struct rescue_order *order, int listen_fd,
		     struct steer *steer)
{
	struct steer_slot *from = steer_slot(steer, order->slot);
	unsigned taken = 0, faults = 0;

	/* A paused acceptor has no descriptors to spare, one that is stopped or without sockets drains. */
	if (!from || from == a->slot || a->is_paused || a->is_stopped || !a->sockets)
		return 0;
	while (taken < order->count && faults < FAULTS_MAX &&
	       a->server->session_count < a->max_count) {
		union sock_addr peer;
		int fd = sock_accept(listen_fd, &peer);

		if (fd >= 0) {
			take(a, from, fd, &peer, order->has_proxy_header);
			taken++;
		} else if (is_for_good(fd)) {
			break;
		} else {
			faults++;
		}
	}
	return taken;
}
