/* SPDX-License-Identifier: MIT */
/* Life of the master process; see master.h. */
#include "proc/master.h"

#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/err.h"
#include "proc/master_internal.h"
#include "proc/worker.h"

/* Workers keep the drain limit themselves; one that does not is killed this much later. */
#define KILL_AFTER_MS 1000u
#define TICK_MS	      1000u

/* Signals ----------------------------------------------------------------------------------------------------- */

void master_stop(struct master *m, bool is_hard)
{
	uint64_t limit_ms = is_hard ? 0 : m->config->timeouts.drain;

	if (m->state != MASTER_STOPPING) {
		log_info("stopping%s", is_hard ? " at once" : ", connections have their time to end");
		service_stopping(&m->service);
	}
	m->state = MASTER_STOPPING;
	watch_close(&m->watch);
	/* Before the signals: each worker then takes what waits at its socket and is the last to close it. */
	for (unsigned i = 0; i < m->listener_count; i++)
		listener_close(&m->listeners[i], NULL);
	loop_timer_start(&m->loop, &m->kill_timer, limit_ms + KILL_AFTER_MS);
	supervisor_stop(&m->supervisor, is_hard ? SIGQUIT : SIGTERM);
}

static void on_kill_timer(struct timer *t)
{
	struct master *m = container_of(t, struct master, kill_timer);

	if (m->monitor.is_stopping) {
		log_warn("the monitor did not end in time and is killed");
		supervisor_stop(&m->monitor, SIGKILL);
		return;
	}
	log_warn("workers that did not end in time are killed");
	supervisor_stop(&m->supervisor, SIGKILL);
}

static void on_signal(struct io *io, uint32_t events)
{
	struct master *m = container_of(io, struct master, signals);
	struct signalfd_siginfo info;

	while (read(io->fd, &info, sizeof(info)) == sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			supervisor_reap(&m->supervisor);
			supervisor_reap(&m->monitor);
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
			log_warn("SIGHUP: this version cannot reload; nothing has changed");
			service_reloading(&m->service);
			service_ready(&m->service, "Serving; this version cannot reload");
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

/* Once a second reservations are retired, so that who reads the map sees them go even when no SYN comes. */
static void on_tick(struct timer *t)
{
	struct master *m = container_of(t, struct master, tick);

	steer_retire(m->steer, m->loop.now_ns);
	watch_review(&m->watch);
	loop_timer_start(&m->loop, &m->tick, TICK_MS);
}

/* Workers ----------------------------------------------------------------------------------------------------- */

static void on_start(void *owner, unsigned slot)
{
	struct master *m = owner;

	/* Before the fork, since it sets the slot's counts to zero and the worker counts from its first accept on. */
	steer_slot_up(m->steer, slot, master_cpu_of(m, slot), 0);
	m->stats[slot].state = WORKER_STARTING;
	m->stats[slot].generation = MASTER_GENERATION;
}

static void on_started(void *owner, unsigned slot, pid_t pid)
{
	struct master *m = owner;

	steer_slot(m->steer, slot)->pid = (uint32_t)pid;
	m->stats[slot].pid = (uint32_t)pid;
	m->stats[slot].restarts = m->supervisor.workers[slot].restarts;
}

void master_abandon(struct master *m)
{
	watch_abandon(&m->watch);
	ctl_abandon(m->ctl);
	service_abandon(&m->service);
	steer_disown(m->steer);
	close(m->signals.fd);
	close(m->loop.epfd);
}

static int run_child(void *owner, unsigned slot, int channel_fd)
{
	struct master *m = owner;
	struct worker_options opt = {
		.config = m->config,
		.runtime = m->runtime,
		.steer = m->steer,
		.inboxes = &m->inboxes,
		.upstreams = &m->upstreams,
		.stats = &m->stats[slot],
		.listeners = m->listeners,
		.listener_count = m->listener_count,
		.slot = slot,
		.cpu = (int)master_cpu_of(m, slot),
		.file_limit = m->file_limit,
		.channel_fd = channel_fd,
		.log_fd = m->log_fd,
		.identity = m->identity,
		.sandbox = &m->sandbox,
	};

	/*
	 * A listening socket lives as long as anybody has it open: that shall be the master and the worker of its slot, or
	 * a stopping server would go on taking connections for workers that have left.
	 */
	for (unsigned i = 0; i < m->listener_count; i++)
		listener_keep_only(&m->listeners[i], slot);
	supervisor_abandon(&m->monitor);
	master_abandon(m);
	return worker_run(&opt);
}

static void tell_ready(struct master *m)
{
	char text[128];

	snprintf(text, sizeof(text), "Serving with %u workers; %s", m->worker_count,
		 steer_is_active(m->steer) ? "the kernel steers" : "no steering");
	service_ready(&m->service, text);
}

static void announce(const struct master *m)
{
	char text[SOCK_ADDR_TEXT];

	for (unsigned i = 0; i < m->listener_count; i++)
		log_info("listening on %s", sock_addr_print(&m->listeners[i].addr, text));
	if (steer_is_active(m->steer))
		log_info("serving with %u workers on %u cpus; the kernel steers, policy %s",
			 m->worker_count, MIN(m->cpus.count, m->worker_count),
			 steer_policy_name(steer_policy(m->steer)));
	else
		log_info("serving with %u workers on %u cpus; no steering", m->worker_count,
			 MIN(m->cpus.count, m->worker_count));
}

static void on_worker_ready(void *owner, unsigned slot, bool all_ready)
{
	struct master *m = owner;

	if (all_ready && m->state == MASTER_STARTING) {
		m->state = MASTER_SERVING;
		announce(m);
		tell_ready(m);
	} else if (m->state == MASTER_SERVING) {
		log_info("worker %u serves again", slot);
	}
}

static void on_gone(void *owner, unsigned slot, pid_t pid, const char *how, long will_restart_ms)
{
	struct master *m = owner;

	/* Now, not at its successor's start: until then its requests would count at servers that are free. */
	upstream_table_forget_worker(&m->upstreams, slot);
	m->stats[slot].state = WORKER_DOWN;
	m->stats[slot].pid = 0;
	/* A slot whose next worker comes at once keeps being chosen: its socket holds the queue meanwhile. */
	steer_slot_down(m->steer, slot, will_restart_ms == 0);
	if (m->state == MASTER_STOPPING)
		return;
	if (m->state == MASTER_STARTING && !m->supervisor.was_ready) {
		log_error("worker %u (pid %d) %s before it served", slot, (int)pid, how);
		m->exit_status = 1;
		master_stop(m, true);
		return;
	}
	log_error("worker %u (pid %d) %s; another starts in %ld ms", slot, (int)pid, how,
		  will_restart_ms);
}

/* The monitor goes last: workers that drain still want to know which servers are well.  Its own end stops the loop. */
static void on_empty(void *owner)
{
	struct master *m = owner;

	loop_timer_start(&m->loop, &m->kill_timer, KILL_AFTER_MS);
	supervisor_stop(&m->monitor, SIGTERM);
}

static const struct supervisor_ops supervisor_ops = {
	.on_start = on_start,
	.on_started = on_started,
	.run_child = run_child,
	.on_ready = on_worker_ready,
	.on_gone = on_gone,
	.on_empty = on_empty,
};

/* Run --------------------------------------------------------------------------------------------------------- */

/* Serving is worth more than watching: without it a stalled worker's queue waits. */
static void start_watch(struct master *m)
{
	int err;

	m->watch.loop = &m->loop;
	m->watch.steer = m->steer;
	m->watch.stats = m->stats;
	m->watch.listeners = m->listeners;
	m->watch.listener_count = m->listener_count;
	m->watch.supervisor = &m->supervisor;
	m->watch.kill_ns = m->config->steering.stall_kill_ms * NS_PER_MS;
	err = watch_open(&m->watch);
	if (err)
		log_warn("stalled workers will not be noticed: %s", strerror(-err));
}

static int serve(struct master *m)
{
	int err;

	m->supervisor.loop = &m->loop;
	m->supervisor.ops = &supervisor_ops;
	m->supervisor.owner = m;
	start_watch(m);
	master_start_monitor(m);
	err = supervisor_start(&m->supervisor, m->worker_count);
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
	*m = (struct master){ .config = config, .log_fd = -1, .started_ns = clock_ns() };
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
	err = master_open(m);
	if (!err) {
		err = serve(m);
		watch_close(&m->watch);
		supervisor_fini(&m->supervisor);
		supervisor_fini(&m->monitor);
	}
	loop_timer_stop(&m->loop, &m->tick);
	loop_timer_stop(&m->loop, &m->kill_timer);
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
