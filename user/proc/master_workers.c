/* SPDX-License-Identifier: MIT */
/* The worker processes of each generation: what is to be done when one starts, is ready, or is gone. */
#include <unistd.h>

#include "base/err.h"
#include "proc/master_internal.h"
#include "proc/worker.h"

static void on_start(void *owner, unsigned slot)
{
	struct generation *g = owner;

	/* Before the fork, since it sets the slot's counts to zero and the worker counts from its first accept on. */
	if (g->is_released[slot])
		steer_slot_up(g->steer, slot, generation_cpu_of(g, slot), 0);
	g->stats[slot].state = WORKER_STARTING;
	g->stats[slot].generation = g->number;
	stats_forget_gauges(&g->stats[slot]);
}

static void on_started(void *owner, unsigned slot, pid_t pid)
{
	struct generation *g = owner;

	if (g->is_released[slot])
		steer_slot(g->steer, slot)->pid = (uint32_t)pid;
	g->stats[slot].pid = (uint32_t)pid;
	g->stats[slot].restarts = g->workers.workers[slot].restarts;
}

static void drop_log(struct generation *g)
{
	if (g->log_fd >= 0)
		close(g->log_fd);
	g->log_fd = -1;
}

/* What another generation has is of no use here: descriptors above all, which would keep its sockets open. */
static void abandon_generation(struct generation *g, const struct generation *mine)
{
	supervisor_abandon(&g->workers);
	supervisor_abandon(&g->monitor);
	supervisor_abandon(&g->storers);
	supervisor_abandon(&g->sharer);
	shm_drop_fd(&g->stats_memory);
	if (g->steer)
		steer_disown(g->steer);
	generation_disown_udp(g);
	if (g == mine)
		return;
	generation_release(g, mine, NULL);
	drop_log(g);
	upstream_table_close(&g->upstreams);
	sandbox_close(&g->sandbox);
}

void master_abandon(struct master *m, struct generation *mine)
{
	watch_abandon(&m->watch);
	ctl_abandon(m->ctl);
	service_abandon(&m->service);
	inherit_close(&m->inherited);
	upgrade_abandon(&m->upgrade);
	elder_abandon(m);
	sock_close(m->ctl_fd);
	shm_drop_fd(&m->owners_memory);
	shm_drop_fd(&m->past_memory);
	list_for_each(node, &m->generations)
		abandon_generation(container_of(node, struct generation, node), mine);
	close(m->signals.fd);
	close(m->loop.epfd);
}

void master_abandon_clients(struct master *m, struct generation *mine)
{
	master_abandon(m, mine);
	generation_release(mine, NULL, NULL);
	bus_close(&m->bus);
	drop_log(mine);
	log_set_level(mine->config->log.level);
}

static int run_child(void *owner, unsigned slot, int channel_fd)
{
	struct generation *g = owner;
	struct master *m = g->master;
	struct worker_options opt = {
		.config = g->config,
		.runtime = g->runtime,
		.steer = g->steer,
		.inboxes = &g->inboxes,
		.upstreams = &g->upstreams,
		.bus = bus_is_open(&m->bus) ? &m->bus : NULL,
		.store_stats = g->store_stats,
		.module_stats = generation_module_stats(g, slot),
		.limits = &g->limits,
		.limit_row = limit_rows_of(&g->limit_rows, slot),
		.limit_post = limit_share_post(&g->limit_share, &g->limits, slot, !g->config->limits.is_closed),
		.stats = &g->stats[slot],
		.all_stats = g->stats,
		.worker_count = g->worker_count,
		.generation = g->number,
		.owner = &m->owners[slot],
		.listeners = g->listeners,
		.listener_count = g->listener_count,
		.udp_listeners = g->udp_listeners,
		.udp_listener_count = g->udp_listener_count,
		.slot = slot,
		.cpu = (int)generation_cpu_of(g, slot),
		.file_limit = m->file_limit,
		.channel_fd = channel_fd,
		.log_fd = g->log_fd,
		.identity = m->identity,
		.sandbox = &g->sandbox,
	};

	master_abandon(m, g);
	/*
	 * A listening socket lives as long as anybody has it open: that shall be the master and the worker of its slot, or
	 * a stopping server would go on taking connections for workers that have left.
	 */
	for (unsigned i = 0; i < g->listener_count; i++)
		listener_keep_only(&g->listeners[i], slot);
	for (unsigned i = 0; i < g->udp_listener_count; i++)
		udp_listener_keep_only(&g->udp_listeners[i], slot);
	return worker_run(&opt);
}

static void announce(const struct generation *g)
{
	char text[SOCK_ADDR_TEXT];
	unsigned cpus = MIN(g->cpus.count, g->worker_count);

	for (unsigned i = 0; i < g->listener_count; i++)
		log_info("listening on %s", sock_addr_print(&g->listeners[i].addr, text));
	for (unsigned i = 0; i < g->udp_listener_count; i++)
		log_info("listening on %s (UDP)", sock_addr_print(&g->udp_listeners[i].addr, text));
	if (steer_is_active(g->steer))
		log_info("serving with %u workers on %u cpus; the kernel steers, policy %s", g->worker_count, cpus,
			 steer_policy_name(steer_policy(g->steer)));
	else
		log_info("serving with %u workers on %u cpus; no steering", g->worker_count, cpus);
}

void master_release_slot(struct generation *g, unsigned slot)
{
	const struct supervised *w = &g->workers.workers[slot];

	if (!g->is_released[slot] && w->pid)
		steer_slot_pass(g->steer, slot, generation_cpu_of(g, slot), (uint32_t)w->pid);
	g->is_released[slot] = true;
	if (w->is_ready)
		supervisor_tell(&g->workers, slot, CHANNEL_TAKE);
}

static void on_ready(void *owner, unsigned slot, bool all_ready)
{
	struct generation *g = owner;
	struct master *m = g->master;

	if (g->is_released[slot])
		supervisor_tell(&g->workers, slot, CHANNEL_TAKE);
	master_link_stores(g);
	if (all_ready && m->state == MASTER_STARTING) {
		m->state = MASTER_SERVING;
		g->state = GENERATION_SERVING;
		announce(g);
		master_tell_ready(m);
	} else if (all_ready && g->state == GENERATION_STARTING) {
		reload_on_all_ready(&m->reload, g);
	} else if (g->state == GENERATION_SERVING && m->state == MASTER_SERVING) {
		log_info("worker %u serves again", slot);
	}
}

static void on_message(void *owner, unsigned slot, char message)
{
	struct generation *g = owner;

	if (message == CHANNEL_STOPPED)
		reload_on_stopped(&g->master->reload, g, slot);
	else if (message == CHANNEL_MOVED)
		reload_on_moved(&g->master->reload, g, slot);
	else if (message == CHANNEL_UDP_RETIRE) {
		generation_retire_udp(g, slot);
		supervisor_tell(&g->workers, slot, CHANNEL_UDP_RETIRED);
	}
}

static void on_old_gone(struct generation *g, unsigned slot, pid_t pid, const char *how)
{
	struct reload *r = &g->master->reload;

	if (!g->workers.workers[slot].has_ended_well)
		log_error("old worker %u (pid %d) %s", slot, (int)pid, how);
	reload_on_stopped(r, g, slot);
	reload_on_moved(r, g, slot);
}

static void on_gone_at_start(struct master *m, unsigned slot, pid_t pid, const char *how)
{
	log_error("worker %u (pid %d) %s before it served", slot, (int)pid, how);
	m->exit_status = 1;
	master_stop(m, true);
}

static void on_gone(void *owner, unsigned slot, pid_t pid, const char *how, long will_restart_ms)
{
	struct generation *g = owner;
	struct master *m = g->master;

	/* Now, not at its successor's start: until then its requests would count at servers that are free. */
	upstream_table_forget_worker(&g->upstreams, slot);
	bus_forget(&m->bus, (uint32_t)pid);
	master_unlink_worker(g, slot);
	limit_rows_forget(&g->limit_rows, &g->limits, slot);
	g->stats[slot].state = WORKER_DOWN;
	g->stats[slot].pid = 0;
	stats_forget_gauges(&g->stats[slot]);
	generation_forget_modules(g, slot);
	if (g->state == GENERATION_LEAVING)
		on_old_gone(g, slot, pid, how);
	if (g->state == GENERATION_LEAVING || g->state == GENERATION_FAILED)
		return;
	/* A slot whose next worker comes at once keeps being chosen: its socket holds the queue meanwhile. */
	if (g->is_released[slot])
		steer_slot_down(g->steer, slot, will_restart_ms == 0);
	if (m->state == MASTER_STOPPING)
		return;
	if (m->state == MASTER_STARTING)
		on_gone_at_start(m, slot, pid, how);
	else if (g->state == GENERATION_STARTING)
		reload_on_failed(&m->reload, g, slot, how);
	else
		log_error("worker %u (pid %d) %s; another starts in %ld ms", slot, (int)pid, how, will_restart_ms);
}

void master_on_empty(void *owner)
{
	struct generation *g = owner;

	loop_again(&g->master->loop, &g->master->sweep);
}

static const struct supervisor_ops supervisor_ops = {
	.on_start = on_start,
	.on_started = on_started,
	.run_child = run_child,
	.on_ready = on_ready,
	.on_message = on_message,
	.on_gone = on_gone,
	.on_empty = master_on_empty,
};

int master_start_workers(struct generation *g)
{
	g->workers.loop = &g->master->loop;
	g->workers.ops = &supervisor_ops;
	g->workers.owner = g;
	return supervisor_start(&g->workers, g->worker_count);
}
