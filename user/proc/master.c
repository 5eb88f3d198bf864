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

/* Signals ----------------------------------------------------------------------------------------------------- */

/* Of workers or of helpers (monitors, writers of stores), over all generations. */
static unsigned living(const struct master *m, bool is_helper)
{
	unsigned count = 0;

	list_for_each(node, &m->generations) {
		const struct generation *g = container_of(node, struct generation, node);

		count += is_helper ? supervisor_living(&g->monitor) + supervisor_living(&g->storers)
				   : supervisor_living(&g->workers);
	}
	return count;
}

static void stop_helpers(struct generation *g, int signal)
{
	supervisor_stop(&g->monitor, signal);
	supervisor_stop(&g->storers, signal);
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

void master_stop(struct master *m, bool is_hard)
{
	struct generation *g = m->current;
	uint64_t limit_ms = is_hard ? 0 : g->config->timeouts.drain;

	if (m->state != MASTER_STOPPING) {
		log_info("stopping%s", is_hard ? " at once" : ", connections have their time to end");
		service_stopping(&m->service);
		/* Who passed them has them still, or wants to see them go. */
		inherit_close(&m->inherited);
	}
	m->state = MASTER_STOPPING;
	reload_cancel(&m->reload);
	watch_close(&m->watch);
	/* Before the signals: each worker then takes what waits at its socket and is the last to close it. */
	for (unsigned i = 0; i < g->listener_count; i++)
		listener_close(&g->listeners[i], NULL);
	loop_timer_start(&m->loop, &m->kill_timer, limit_ms + KILL_AFTER_MS);
	stop_all(m, false, is_hard ? SIGQUIT : SIGTERM);
}

static void on_kill_timer(struct timer *t)
{
	struct master *m = container_of(t, struct master, kill_timer);
	bool is_helper = living(m, false) == 0;

	log_warn(is_helper ? "helpers (the monitor, writers of stores) that did not end in time are killed"
			   : "workers that did not end in time are killed");
	stop_all(m, is_helper, SIGKILL);
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

/* Not at once: whoever says that the last process is gone still walks over the generation. */
static void on_sweep(struct job *j)
{
	struct master *m = container_of(j, struct master, sweep);

	list_for_each_safe(node, next, &m->generations) {
		struct generation *g = container_of(node, struct generation, node);

		if (g->state != GENERATION_LEAVING && g->state != GENERATION_FAILED)
			continue;
		if (supervisor_living(&g->workers) || supervisor_living(&g->monitor) || g == m->reload.before)
			continue;
		/* Its last worker is gone: nobody has anything to write any more. */
		if (supervisor_living(&g->storers)) {
			if (!g->storers.is_stopping)
				supervisor_stop(&g->storers, SIGTERM);
			continue;
		}
		if (g->state == GENERATION_LEAVING) {
			master_keep_stats(m, g);
			generation_bequeath_counters(g, m->current);
		}
		log_debug("generation %u is gone", g->number);
		generation_free(g);
	}
	if (m->state == MASTER_STOPPING)
		sweep_at_stop(m);
}

static void reap_all(struct master *m)
{
	list_for_each(node, &m->generations) {
		struct generation *g = container_of(node, struct generation, node);

		supervisor_reap(&g->workers);
		supervisor_reap(&g->monitor);
		supervisor_reap(&g->storers);
	}
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
		}
	}
}

static int open_signals(struct master *m)
{
	static const int signals[] = { SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGHUP };
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
	list_for_each(node, &m->generations)
		master_link_stores(container_of(node, struct generation, node));
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

static int serve(struct master *m)
{
	int err;

	master_start_watch(m);
	master_start_monitor(m->current);
	master_start_storers(m->current);
	err = master_start_workers(m->current);
	if (err) {
		log_error("cannot start workers: %s", strerror(-err));
		m->exit_status = 1;
		master_stop(m, true);
	}
	loop_timer_start(&m->loop, &m->tick, TICK_MS);
	err = loop_run(&m->loop);
	if (err)
		log_error("event loop: %s", strerror(-err));
	return err;
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

/* One that stops has its limits elsewhere; without a watch nobody can say. */
static bool is_moving(void *owner, uint64_t within_ns)
{
	struct master *m = owner;

	return m->state != MASTER_SERVING || !m->watch.slots || watch_is_moving(&m->watch, within_ns);
}

int master_run(const struct config *config)
{
	static struct master master;	/* reachable for leak checkers, in the workers too */
	struct master *m = &master;
	int err;

	log_set_name("master");
	log_set_level(config->log.level);
	*m = (struct master){ .started_ns = clock_ns() };
	list_init(&m->generations);
	list_init(&m->store_shares);
	job_init(&m->sweep, on_sweep);
	reload_init(&m->reload, m);
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
	service_start(&m->service, &m->loop, is_moving, m);
	err = master_open(m, config);
	if (!err) {
		err = serve(m);
		watch_close(&m->watch);
	}
	reload_fini(&m->reload);
	loop_timer_stop(&m->loop, &m->tick);
	loop_timer_stop(&m->loop, &m->kill_timer);
	job_cancel(&m->sweep);
	if (!err)
		answer_stop(m);
	master_close(m);
	service_stop(&m->service);
	loop_remove(&m->loop, &m->signals);
	close(m->signals.fd);
	loop_fini(&m->loop);
	if (!err && m->exit_status == 0)
		log_info("stopped");
	return err ? 1 : m->exit_status;
}
