/* SPDX-License-Identifier: MIT */
/*
 * A worker's UDP sessions.  Where it is steered they stay through a reload: this worker's sockets are its own, and the
 * kernel goes on giving it the flows it has.
 *
 *   SERVES --leaving, the last session has ended, or the drain limit is reached--> RETIRING: the master is asked to let
 *   the flows go elsewhere --it has--> RETIRED: what waits in the sockets is read, what is owed a reply gets it, the end
 */
#include "base/err.h"
#include "net/fd_pass.h"
#include "proc/worker_internal.h"

/* For servers to answer what came last: their silence shall not hold up the end. */
#define LAST_REPLIES_MS 500u

static void on_begun(void *owner)
{
	struct worker *w = owner;

	steer_accepted(w->opt->steer, w->line, w->loop.now_ns);
}

static void on_ended(void *owner, const struct udp_ended *e)
{
	struct worker *w = owner;

	steer_closed(w->line);
	worker_log_udp(w, e);
	worker_stop_if_empty(w);
}

static void on_last_timer(struct timer *t)
{
	struct worker *w = container_of(t, struct worker, udp_timer);

	udp_server_end_all(w->udp);
	if (w->is_udp_over)
		loop_stop(&w->loop);
	worker_stop_if_empty(w);
}

static bool is_steered(const struct worker *w)
{
	for (unsigned i = 0; i < w->opt->udp_listener_count; i++)
		if (w->opt->udp_listeners[i].is_steered)
			return true;
	return false;
}

static struct udp_options options_of(const struct worker *w, const struct config_listen_udp *conf,
				     const struct cidr_set *verified)
{
	const struct config *c = w->opt->config;
	const struct config_upstream *u = config_udp_upstream(c, conf);

	return (struct udp_options){
		.name = conf->text,
		.upstream = u ? w->opt->runtime->upstreams[u - c->upstreams] : NULL,
		.is_one_way = conf->is_one_way,
		.timeout_ms = conf->timeout,
		.replies = conf->replies,
		.amplification = conf->amplification,
		.verified = verified,
		.session_max = conf->sessions,
		.session_total_max = conf->sessions_total,
	};
}

int worker_start_udp(struct worker *w)
{
	const struct worker_options *opt = w->opt;
	const struct udp_server_options server = {
		.loop = &w->loop,
		.stats = opt->stats,
		.all = opt->all_stats,
		.worker_count = opt->worker_count,
		.on_begun = on_begun,
		.on_ended = on_ended,
		.owner = w,
	};
	int err;

	/* It has one already when the slot was lost to another master, and came back: its sockets were never let go. */
	if (opt->udp_listener_count == 0 || w->udp)
		return 0;
	timer_init(&w->udp_timer, on_last_timer);
	err = udp_server_new(&server, &w->udp);
	for (unsigned i = 0; i < opt->udp_listener_count && !err; i++) {
		const struct udp_options udp = options_of(w, &opt->config->udp_listens[i], &opt->runtime->verified[i]);

		err = udp_server_add(w->udp, &udp, opt->udp_listeners[i].fds[opt->slot]);
	}
	return err;
}

void worker_stop_udp(struct worker *w)
{
	struct udp_server *udp = w->udp;

	if (!udp)
		return;
	/* Its sessions end now, and whoever hears of it must not look at it any more. */
	w->udp = NULL;
	loop_timer_stop(&w->loop, &w->udp_timer);
	udp_server_free(udp);
}

void worker_leave_udp(struct worker *w, const struct leave_order *order)
{
	bool is_hashed = w->udp && !is_steered(w);

	/*
	 * Without steering the heir reads the same sockets; those of a slot that is gone nobody else does.  Of an upgrade
	 * it has others, and as long as these are open the kernel's hash goes on giving datagrams to both.
	 */
	if (is_hashed && order->is_udp_apart)
		udp_server_read_out(w->udp);
	else if (is_hashed && order->is_slot_kept)
		udp_server_stop_reading(w->udp);
	for (unsigned i = 0; w->udp && i < MIN(w->opt->udp_listener_count, (unsigned)LEAVE_LISTENERS_MAX); i++)
		if (order->is_udp_gone[i])
			udp_server_refuse(w->udp, i);
}

/* False: none is owed. */
static bool await_last_replies(struct worker *w)
{
	udp_server_drain(w->udp);
	if (udp_server_session_count(w->udp) == 0)
		return false;
	loop_timer_start(&w->loop, &w->udp_timer, LAST_REPLIES_MS);
	return true;
}

void worker_drain_udp(struct worker *w)
{
	if (!w->udp)
		return;
	/* What came before the stop is served. */
	if (w->has_slot || is_steered(w))
		udp_server_read_out(w->udp);
	await_last_replies(w);
}

static void retire(struct worker *w)
{
	char message = CHANNEL_UDP_RETIRE;

	/* Should the channel be full, the drain limit ends it. */
	if (w->udp_state == UDP_SERVES && fd_pass_send(w->opt->channel_fd, &message, sizeof(message), -1) > 0)
		w->udp_state = UDP_RETIRING;
}

bool worker_is_udp_done(struct worker *w)
{
	if (!w->udp)
		return true;
	if (udp_server_session_count(w->udp) > 0)
		return false;
	if (w->is_draining || !is_steered(w) || w->udp_state == UDP_RETIRED)
		return true;
	retire(w);
	return false;
}

bool worker_end_udp(struct worker *w)
{
	if (!w->udp || w->is_draining || !is_steered(w))
		return false;
	w->is_udp_over = true;
	if (w->udp_state == UDP_RETIRED)
		return await_last_replies(w);
	retire(w);
	return w->udp_state == UDP_RETIRING;
}

void worker_on_udp_retired(struct worker *w)
{
	if (!w->udp || w->udp_state != UDP_RETIRING)
		return;
	w->udp_state = UDP_RETIRED;
	/* The last that the kernel put here; it puts no more. */
	udp_server_read_out(w->udp);
	if (w->is_udp_over && !await_last_replies(w))
		loop_stop(&w->loop);
	worker_stop_if_empty(w);
}
