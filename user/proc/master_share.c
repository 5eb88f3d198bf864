/* SPDX-License-Identifier: MIT */
/* The master's part in limits that hosts share: the sharer process of a generation. */
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "proc/master_internal.h"
#include "proc/sharer.h"

static void on_start(void *owner, unsigned slot)
{
}

static void on_started(void *owner, unsigned slot, pid_t pid)
{
	log_debug("sharer has pid %d", (int)pid);
}

static int run_child(void *owner, unsigned slot, int channel_fd)
{
	struct generation *g = owner;
	struct sharer_options opt = {
		.config = g->config,
		.upstreams = &g->upstreams,
		.share = &g->limit_share,
		.table = &g->limits,
		.channel_fd = channel_fd,
		.identity = g->master->identity,
		.sandbox = &g->sandbox,
	};

	master_abandon_clients(g->master, g);
	return sharer_run(&opt);
}

static void on_ready(void *owner, unsigned slot, bool all_ready)
{
	const struct generation *g = owner;

	if (g->sharer.workers[slot].restarts)
		log_info("the sharer works again");
}

static void on_gone(void *owner, unsigned slot, pid_t pid, const char *how, long will_restart_ms)
{
	if (will_restart_ms >= 0)
		log_error("sharer (pid %d) %s; another starts in %ld ms", (int)pid, how, will_restart_ms);
}

static const struct supervisor_ops sharer_ops = {
	.on_start = on_start,
	.on_started = on_started,
	.run_child = run_child,
	.on_ready = on_ready,
	.on_gone = on_gone,
	.on_empty = master_on_empty,
};

void master_start_sharer(struct generation *g)
{
	int err;

	g->sharer.loop = &g->master->loop;
	g->sharer.ops = &sharer_ops;
	g->sharer.owner = g;
	if (!g->limit_share.header)
		return;
	err = supervisor_start(&g->sharer, 1);
	if (err)
		log_error("cannot start the sharer, other hosts hear nothing of limited clients: %s", strerror(-err));
}
