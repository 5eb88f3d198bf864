/* SPDX-License-Identifier: MIT */
/* Life of the master process; see master.h. */
#include "proc/master.h"

#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/err.h"
#include "proc/master_internal.h"

/* Workers keep the drain limit themselves; one that does not is killed this much later. */
#define KILL_AFTER_MS 1000u
#define TICK_MS	      1000u
#define LIMITS_TICKS  3600u /* an hour: limit_table_refresh() */

/* Signals ----------------------------------------------------------------------------------------------------- */

static unsigned living_helpers(const struct generation *g)
{
	return supervisor_living(&g->monitor) + supervisor_living(&g->storers) + supervisor_living(&g->sharer);
}

/* Of workers or of helpers (monitors, writers of stores, sharers), over all generations. */
static unsigned living(const struct master *m, bool is_helper)
{
	unsigned count = 0;

	list_for_each(node, &m->generations) {
		const struct generation *g = container_of(node, struct generation, node);

		count += is_helper ? living_helpers(g) : supervisor_living(&g->workers);
	}
	if (is_helper)
		return count;
	/* What lives under an earlier master counts as one, and so does one that was to follow and is not to any more. */
	return count + !list_is_empty(&m->elders) + (m->upgrade.pid && m->state == MASTER_STOPPING);
}

static void stop_helpers(struct generation *g, int signal)
{
	supervisor_stop(&g->monitor, signal);
	supervisor_stop(&g->storers, signal);
	supervisor_stop(&g->sharer, signal);
}

static void stop_all(struct master *m, bool is_helper, int signal)
{
	list_for_each(node, &m->generations) {
		struct generation *g = container_of(node, struct generation, node);

		if (is_helper)
			stop_helpers(g, signal);
		else
			supervisor_stop(&g->workers, signal);
	}
}

/* Not in force yet, or no more: what there is to stop is not the server. */
static void stop_early_or_late(struct master *m, bool is_hard)
{
	if (m->state == MASTER_FOLLOWING)
		reload_cancel(&m->reload);
	else
		stop_all(m, false, is_hard ? SIGQUIT : SIGTERM);
}

void master_stop(struct master *m, bool is_hard)
{
	struct generation *g = m->current;
	uint64_t limit_ms;

	if (m->state == MASTER_FOLLOWING || m->state == MASTER_LEAVING) {
		stop_early_or_late(m, is_hard);
		return;
	}
	limit_ms = is_hard ? 0 : g->config->timeouts.drain;
	if (m->state != MASTER_STOPPING) {
		log_info("stopping%s", is_hard ? " at once" : ", connections have their time to end");
		service_stopping(&m->service);
		/* Who passed them has them still, or wants to see them go. */
		inherit_close(&m->inherited);
	}
	m->state = MASTER_STOPPING;
	upgrade_cancel(&m->upgrade);
	reload_cancel(&m->reload);
	elder_stop_all(m, is_hard);
	watch_close(&m->watch);
	/* Before the signals: each worker then takes what waits at its socket and is the last to close it. */
	for (unsigned i = 0; i < g->listener_count; i++)
		listener_close(&g->listeners[i], NULL);
	generation_close_udp_socks(g);
	loop_timer_start(&m->loop, &m->kill_timer, limit_ms + KILL_AFTER_MS);
	stop_all(m, false, is_hard ? SIGQUIT : SIGTERM);
}

static void on_kill_timer(struct timer *t)
{
	struct master *m = container_of(t, struct master, kill_timer);
	bool is_helper = living(m, false) == 0;

	log_warn(is_helper ? "helpers (the monitor, writers of stores, the sharer) that did not end in time are killed"
			   : "workers that did not end in time are killed");
	stop_all(m, is_helper, SIGKILL);
	upgrade_kill(&m->upgrade);
	/* They have the same limits and keep them by themselves. */
	elder_fini(m);
	loop_again(&m->loop, &m->sweep);
}

/*
 * Helpers go last: workers that drain still want to know which servers are well, and have changes made.  Their end stops
 * the loop.
 */
static void sweep_at_stop(struct master *m)
{
	if (living(m, false) > 0)
		return;
	if (living(m, true) == 0) {
		loop_stop(&m->loop);
		return;
	}
	if (m->current->monitor.is_stopping)
		return;
	loop_timer_start(&m->loop, &m->kill_timer, KILL_AFTER_MS);
	stop_all(m, true, SIGTERM);
}

static bool is_gone(const struct master *m, const struct generation *g)
{
	if (g->state != GENERATION_LEAVING && g->state != GENERATION_FAILED)
		return false;
	/* While another master is told what there is, all of it stays. */
	if (m->upgrade.state == UPGRADE_STARTING || m->upgrade.state == UPGRADE_GOING)
		return false;
	/* Nobody is in force yet who could inherit its counts. */
	if (m->state == MASTER_FOLLOWING && g->state == GENERATION_LEAVING)
		return false;
	return !supervisor_living(&g->workers) && !living_helpers(g) && g != m->reload.before && !g->elder;
}

/* With its last worker nobody has anything to write, or to tell other hosts, any more. */
static void stop_idle_helpers(struct generation *g)
{
	struct supervisor *const helpers[] = { &g->storers, &g->sharer };

	if ((g->state != GENERATION_LEAVING && g->state != GENERATION_FAILED) || supervisor_living(&g->workers))
		return;
	for (unsigned i = 0; i < ARRAY_LEN(helpers); i++)
		if (supervisor_living(helpers[i]) && !helpers[i]->is_stopping)
			supervisor_stop(helpers[i], SIGTERM);
}

static void bury(struct master *m, struct generation *g)
{
	/* After an upgrade all counts are kept elsewhere. */
	if (g->state == GENERATION_LEAVING && m->state != MASTER_LEAVING) {
		master_keep_stats(m, g);
		generation_bequeath_counters(g, m->current);
	}
	if (g == m->current)
		m->current = NULL;
	log_debug("generation %u is gone", g->number);
	generation_free(g);
}

/* Not at once: whoever says that the last process is gone still walks over the generation. */
static void on_sweep(struct job *j)
{
	struct master *m = container_of(j, struct master, sweep);

	list_for_each_safe(node, next, &m->generations) {
		struct generation *g = container_of(node, struct generation, node);

		stop_idle_helpers(g);
		if (is_gone(m, g))
			bury(m, g);
	}
	if (m->state == MASTER_STOPPING)
		sweep_at_stop(m);
	else if (m->state == MASTER_FOLLOWING && m->exit_status && living(m, false) + living(m, true) == 1)
		loop_stop(&m->loop);
	else if (m->state == MASTER_LEAVING && list_is_empty(&m->generations) && m->upgrade.state == UPGRADE_OVER)
		loop_stop(&m->loop);
}

static void reap_all(struct master *m)
{
	list_for_each(node, &m->generations) {
		struct generation *g = container_of(node, struct generation, node);

		supervisor_reap(&g->workers);
		supervisor_reap(&g->monitor);
		supervisor_reap(&g->storers);
		supervisor_reap(&g->sharer);
	}
	upgrade_reap(&m->upgrade);
}

static void on_signal(struct io *io, uint32_t events)
{
	struct master *m = container_of(io, struct master, signals);
	struct signalfd_siginfo info;

	while (read(io->fd, &info, sizeof(info)) == sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			reap_all(m);
			break;
		case SIGTERM:
		case SIGINT:
			master_stop(m, m->state == MASTER_STOPPING);
			break;
		case SIGQUIT:
			master_stop(m, true);
			break;
		case SIGUSR1:
			master_reopen_log(m);
			break;
		case SIGHUP:
			reload_ask(&m->reload, NULL);
			break;
		case SIGUSR2:
			upgrade_ask(&m->upgrade, NULL, NULL, 0);
			break;
		}
	}
}

static int open_signals(struct master *m)
{
	static const int signals[] = { SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGHUP };
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (unsigned i = 0; i < ARRAY_LEN(signals); i++)
		sigaddset(&set, signals[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	signal(SIGPIPE, SIG_IGN);
	/* Who started us may have ignored it: the kernel would then reap the workers before us. */
	signal(SIGCHLD, SIG_DFL);
	/* A log at its size limit (RLIMIT_FSIZE) must fail a write, not kill the process. */
	signal(SIGXFSZ, SIG_IGN);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	io_init(&m->signals, fd, on_signal);
	return loop_add(&m->loop, &m->signals, EPOLLIN, false);
}

/* A worker that leaves may send to a slot that has gone just then. */
static void forward_strays(const struct generation *g)
{
	for (unsigned i = g->worker_count; i < g->inboxes.count; i++)
		inboxes_forward(&g->inboxes, i, i % g->worker_count);
}

/* Once a second reservations are retired, so that who reads the map sees them go even when no SYN comes. */
static void on_tick(struct timer *t)
{
	struct master *m = container_of(t, struct master, tick);

	steer_retire(m->current->steer, m->loop.now_ns);
	forward_strays(m->current);
	watch_review(&m->watch);
	m->tick_count++;
	list_for_each(node, &m->generations) {
		struct generation *g = container_of(node, struct generation, node);

		master_link_stores(g);
		if (m->tick_count % LIMITS_TICKS == 0)
			limit_table_refresh(&g->limits, m->loop.now_ns);
	}
	loop_timer_start(&m->loop, &m->tick, TICK_MS);
}

/* Run --------------------------------------------------------------------------------------------------------- */

/* Serving is worth more than watching: without it a stalled worker's queue waits. */
void master_start_watch(struct master *m)
{
	struct generation *g = m->current;
	int err;

	m->watch = (struct watch){
		.loop = &m->loop,
		.steer = g->steer,
		.stats = g->stats,
		.listeners = g->listeners,
		.listener_count = g->listener_count,
		.supervisor = &g->workers,
		.kill_ns = g->config->steering.stall_kill_ms * NS_PER_MS,
	};
	err = watch_open(&m->watch);
	if (err)
		log_warn("stalled workers will not be noticed: %s", strerror(-err));
}

static int run(struct master *m)
{
	int err = loop_run(&m->loop);

	if (err)
		log_error("event loop: %s", strerror(-err));
	return err;
}

static int serve(struct master *m)
{
	int err;

	master_start_watch(m);
	master_start_monitor(m->current);
	master_start_storers(m->current);
	master_start_sharer(m->current);
	err = master_start_workers(m->current);
	if (err) {
		log_error("cannot start workers: %s", strerror(-err));
		m->exit_status = 1;
		master_stop(m, true);
	}
	master_start_tick(m);
	return run(m);
}

/* In the place of another master: everything begins with its word. */
static int follow(struct master *m, struct config *config)
{
	int err = elder_open(m, m->follow_fd, config);

	if (err)
		return err;
	/* Where it fails the loop ends with the last of the workers that have started. */
	reload_follow(&m->reload, config);
	return run(m);
}

void master_start_tick(struct master *m)
{
	loop_timer_start(&m->loop, &m->tick, TICK_MS);
}

static void answer_stop(struct master *m)
{
	for (unsigned i = 0; i < m->stop_request_count; i++)
		ctl_reply_last(m->stop_requests[i], json_pack("{s:b}", "ok", 1));
	/* One turn to hand the answers to the sockets. */
	if (m->stop_request_count)
		loop_turn(&m->loop, 0);
	m->stop_request_count = 0;
}

void master_tell_ready(struct master *m)
{
	const struct generation *g = m->current;
	char text[128];

	snprintf(text, sizeof(text), "Serving with %u workers, generation %u; %s", g->worker_count, g->number,
		 steer_is_active(g->steer) ? "the kernel steers" : "no steering");
	service_ready(&m->service, text);
}

/* One that stops, or hands slots over, has its limits elsewhere; without a watch nobody can say. */
static bool is_moving(void *owner, uint64_t within_ns)
{
	struct master *m = owner;

	return m->state != MASTER_SERVING || m->reload.state == RELOAD_HANDING || !m->watch.slots ||
	       watch_is_moving(&m->watch, within_ns);
}

void master_follow(struct master *m)
{
	m->state = MASTER_SERVING;
	service_start(&m->service, &m->loop, is_moving, m);
	reload_hand_over(&m->reload);
	/* The other one accepts no more once it has heard of it. */
	master_open_ctl(m);
	master_start_tick(m);
}

int master_run(struct config *config)
{
	static struct master master;	/* reachable for leak checkers, in the workers too */
	struct master *m = &master;
	int err;

	log_set_name("master");
	log_set_level(config->log.level);
	*m = (struct master){
		.started_ns = clock_ns(), .follow_fd = elder_find(), .ctl_fd = -1, .service.notify.fd = -1,
		.owners_memory = SHM_NONE, .past_memory = SHM_NONE,
	};
	list_init(&m->generations);
	list_init(&m->store_shares);
	list_init(&m->module_past);
	list_init(&m->elders);
	job_init(&m->sweep, on_sweep);
	reload_init(&m->reload, m);
	upgrade_init(&m->upgrade, m);
	timer_init(&m->tick, on_tick);
	timer_init(&m->kill_timer, on_kill_timer);
	/* Before anything else has its numbers of descriptors. */
	err = inherit_open(&m->inherited);
	if (!err)
		err = loop_init(&m->loop);
	if (!err)
		err = open_signals(m);
	if (err) {
		log_error("cannot start: %s", strerror(-err));
		return 1;
	}
	if (m->follow_fd >= 0) {
		m->state = MASTER_FOLLOWING;
		err = follow(m, config);
	} else {
		service_start(&m->service, &m->loop, is_moving, m);
		err = master_open(m, config);
		if (!err)
			err = serve(m);
	}
	watch_close(&m->watch);
	reload_fini(&m->reload);
	loop_timer_stop(&m->loop, &m->tick);
	loop_timer_stop(&m->loop, &m->kill_timer);
	job_cancel(&m->sweep);
	if (!err)
		answer_stop(m);
	master_close(m);
	upgrade_fini(&m->upgrade);
	service_stop(&m->service);
	loop_remove(&m->loop, &m->signals);
	close(m->signals.fd);
	loop_fini(&m->loop);
	if (!err && m->exit_status == 0)
		log_info(m->state == MASTER_LEAVING ? "ended: another master serves" : "stopped");
	return err ? 1 : m->exit_status;
}
