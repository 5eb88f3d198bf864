/* SPDX-License-Identifier: MIT */
/* The master's part in limits that hosts share: the sharer process of a generation. */
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "proc/master_internal.h"
#include "proc/sharer.h"

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

static const struct supervisor_ops sharer_ops = {
	.run_child = run_child,
	.on_empty = master_on_empty,
};

void master_start_sharer(struct generation *g)
{
	int err;

	g->sharer.name = "sharer";
	g->sharer.loop = &g->master->loop;
	g->sharer.ops = &sharer_ops;
	g->sharer.owner = g;
	if (!g->limit_share.header)
		return;
	err = supervisor_start(&g->sharer, 1);
	if (err)
		log_error("cannot start the sharer, other hosts hear nothing of limited clients: %s", strerror(-err));
}
