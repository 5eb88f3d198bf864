/* SPDX-License-Identifier: MIT */
/*
 * A worker and its slot.  Two workers of one slot live side by side during a reload, and only one of them accepts and
 * counts there:
 *
 *   standby --CHANNEL_TAKE--> has the slot --CHANNEL_LEAVE, or the slot has another owner--> leaving
 *
 * Who the owner is stands in memory that all share, and is looked at in each turn before anything else: a worker that
 * was stopped or stuck while the slot was given away writes nothing of it any more once it wakes.
 *
 * A leaving worker accepts what waits where nobody follows it (an address or a slot that is gone), gives every
 * connection that waits between two requests to its heir, and each other one when its request has ended.  What cannot
 * move (a tunnel, half a head) stays until it ends by itself, at most for the drain limit; tunnels end spread over the
 * last part of it, so that their clients do not come back all at once.
 */
#include <limits.h>
#include <stdlib.h>

#include "base/err.h"
#include "net/fd_pass.h"
#include "proc/worker_internal.h"

static void tell(const struct worker *w, char message)
{
	fd_pass_send(w->opt->channel_fd, &message, sizeof(message), -1);
}

/* Taking ------------------------------------------------------------------------------------------------------ */

static int start_acceptor(struct worker *w)
{
	const struct worker_options *opt = w->opt;
	struct acceptor_source *sources = calloc(opt->listener_count + 1, sizeof(*sources));
	int err;

	if (!sources)
		return -ENOMEM;
	for (unsigned i = 0; i < opt->listener_count; i++) {
		sources[i].fd = opt->listeners[i].fds[opt->slot];
		sources[i].has_proxy_header = opt->listeners[i].has_proxy_header;
	}
	w->acceptor.slot = w->line;
	/* Of the last time, where the slot was lost and has come back. */
	acceptor_close(&w->acceptor);
	err = acceptor_start(&w->acceptor, sources, opt->listener_count);
	free(sources);
	return err;
}

void worker_take_slot(struct worker *w)
{
	int err;

	if (w->has_slot || w->is_leaving)
		return;
	w->has_slot = true;
	w->line = steer_slot(w->opt->steer, w->opt->slot);
	steer_slot_begin(w->line, w->loop.now_ns);
	w->rebalancer.line = w->line;
	w->rebalancer.is_auto = w->opt->config->steering.rebalance == REBALANCE_AUTO;
	err = rebalancer_start(&w->rebalancer, &w->loop);
	if (!err)
		err = start_acceptor(w);
	if (!err)
		err = worker_start_udp(w);
	if (!err) {
		__atomic_store_n(&w->opt->stats->state, WORKER_RUNNING, __ATOMIC_RELAXED);
		return;
	}
	/* Better another try by the next worker than one that serves half of its addresses. */
	log_error("cannot accept connections: %s", strerror(-err));
	w->exit_status = 1;
	loop_stop(&w->loop);
}

/* Leaving ----------------------------------------------------------------------------------------------------- */

static void lose_slot(struct worker *w)
{
	if (!w->has_slot)
		return;
	w->has_slot = false;
	acceptor_stop(&w->acceptor);
	w->own_line = (struct steer_slot){ .live = w->server.session_count + udp_server_session_count(w->udp) };
	w->line = &w->own_line;
	w->acceptor.slot = w->line;
	rebalancer_rest(&w->rebalancer, w->line);
}

void worker_check_slot(struct worker *w)
{
	if (!w->has_slot || __atomic_load_n(w->opt->owner, __ATOMIC_ACQUIRE) == w->opt->generation)
		return;
	lose_slot(w);
	tell(w, CHANNEL_STOPPED);
}

static int give_to_heir(void *ctx, int fd, const struct server_guest *guest)
{
	struct worker *w = ctx;
	int err = inboxes_send(w->opt->inboxes, w->heir, fd, guest);

	if (!err)
		w->opt->stats->moved_out++;
	return err;
}

/*
 * The queue of an address or a slot that nobody serves any more.  The master has closed its sockets already.
 *
 * A worker that stood still hears late of the generation that followed, and then others have followed
 * that: an address which the first of them still had may be gone by now, and clients have come to this
 * worker's socket, the only one left.
 */
static void take_rests(struct worker *w, const struct leave_order *order)
{
	bool is_late = __atomic_load_n(w->opt->owner, __ATOMIC_ACQUIRE) != w->opt->generation + 1;

	for (unsigned i = 0; i < w->opt->listener_count; i++)
		if (is_late || !order->is_slot_kept || i >= order->listener_count || !order->is_kept[i])
			acceptor_take(&w->acceptor, i);
}

/*
 * The heir is of another version and would not understand what is in an inbox: each client is asked at its next reply to
 * come back.  Nobody is sent away who waits: closing would race with its next request.
 */
static void stay(struct worker *w)
{
	w->server.close_quota = UINT_MAX;
	tell(w, CHANNEL_MOVED);
}

void worker_leave(struct worker *w, const struct leave_order *order)
{
	/* Yet another generation: where connections go from now on. */
	w->heir = order->heir;
	if (w->is_leaving || w->is_draining)
		return;
	lose_slot(w);
	/* Again, should it have said so by itself: in an upgrade the old master may not have known yet for whom. */
	tell(w, CHANNEL_STOPPED);
	w->is_leaving = true;
	__atomic_store_n(&w->opt->stats->state, WORKER_DRAINING, __ATOMIC_RELAXED);
	take_rests(w, order);
	acceptor_close(&w->acceptor);
	for (unsigned i = 0; i < w->opt->listener_count; i++)
		listener_close(&w->opt->listeners[i], NULL);
	/* Of a slot that goes on the successor reads the inbox; what comes here is given on. */
	if (order->is_slot_kept && order->can_move)
		rebalancer_stop(&w->rebalancer, &w->loop);
	runtime_drain(w->opt->runtime);
	worker_start_limit(w, LEAVE_MIN_MS);
	if (order->can_move)
		server_leave(&w->server, give_to_heir, w);
	else
		stay(w);
	worker_leave_udp(w, order);
	worker_stop_if_empty(w);
}
