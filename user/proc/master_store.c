/* SPDX-License-Identifier: MIT */
/*
 * The master's part in the stores: a writer process for each that has one (those in files), and a connection between each
 * writer and each worker of a generation, made when both are ready and anew when one of them follows another that died.
 * The master keeps neither end, so that each side sees the other go.
 */
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "net/fd_pass.h"
#include "proc/master_internal.h"
#include "proc/storer.h"
#include "proc/worker.h"

/* Connections -------------------------------------------------------------------------------------------------- */

/* `slot`: of the writer; it has its store's number in messages to workers only. */
static bool *link_of(const struct generation *g, unsigned slot, unsigned worker)
{
	return &g->is_store_linked[slot * g->worker_count + worker];
}

static const struct config_store *config_of(const struct generation *g, unsigned slot)
{
	return &g->config->stores[g->storer_stores[slot]];
}

static struct store_stats *stats_of(const struct generation *g, unsigned slot)
{
	return g->store_stats[g->storer_stores[slot]];
}

/* A process that does not read its channel now is tried again a second later. */
static void link_pair(struct generation *g, unsigned slot, unsigned worker)
{
	const struct supervised *writer = &g->storers.workers[slot], *w = &g->workers.workers[worker];
	const char message[2] = { CHANNEL_STORE, (char)g->storer_stores[slot] };
	int pair[2];

	if (!writer->is_ready || !w->is_ready || *link_of(g, slot, worker))
		return;
	if (fd_pass_stream_pair(pair) < 0)
		return;
	/* The worker first: if only the writer had its end, that would be an end of the connection for it, no more. */
	*link_of(g, slot, worker) = fd_pass_send(w->channel.fd, message, sizeof(message), pair[0]) > 0 &&
				    fd_pass_send(writer->channel.fd, message, sizeof(message), pair[1]) > 0;
	close(pair[0]);
	close(pair[1]);
}

void master_link_stores(struct generation *g)
{
	if (!g->storers.workers || !g->workers.workers)
		return;
	for (unsigned i = 0; i < g->storers.count; i++)
		for (unsigned w = 0; w < g->workers.count; w++)
			link_pair(g, i, w);
}

void master_unlink_worker(struct generation *g, unsigned worker)
{
	for (unsigned i = 0; i < g->storer_count; i++)
		*link_of(g, i, worker) = false;
}

/* Writers ------------------------------------------------------------------------------------------------------ */

static void on_start(void *owner, unsigned slot)
{
	struct generation *g = owner;

	memset(link_of(g, slot, 0), 0, g->worker_count * sizeof(*g->is_store_linked));
}

static void on_started(void *owner, unsigned slot, pid_t pid)
{
	const struct generation *g = owner;

	if (g->storers.workers[slot].restarts)
		store_count(&stats_of(g, slot)->restarts);
	log_debug("the writer of store %s has pid %d", config_of(g, slot)->name, (int)pid);
}

static int run_child(void *owner, unsigned slot, int channel_fd)
{
	struct generation *g = owner;
	struct storer_options opt = {
		.config = config_of(g, slot),
		.stats = stats_of(g, slot),
		.channel_fd = channel_fd,
		.identity = g->master->identity,
		.sandbox = &g->sandbox,
	};

	master_abandon_clients(g->master, g);
	return storer_run(&opt);
}

/* Of several generations with a writer of that store the latest one's is shown: one that failed leaves that before it. */
static void show_writer(const struct master *m, struct store_stats *stats)
{
	uint32_t pid = 0;

	list_for_each(node, &m->generations) {
		const struct generation *g = container_of(node, struct generation, node);

		for (unsigned i = 0; i < g->storers.count; i++)
			if (stats_of(g, i) == stats && g->storers.workers[i].is_ready)
				pid = (uint32_t)g->storers.workers[i].pid;
	}
	stats->pid = pid;
}

static void on_ready(void *owner, unsigned slot, bool all_ready)
{
	struct generation *g = owner;

	show_writer(g->master, stats_of(g, slot));
	if (g->storers.workers[slot].restarts)
		log_info("store %s is written again", config_of(g, slot)->name);
	master_link_stores(g);
}

static void on_gone(void *owner, unsigned slot, pid_t pid, const char *how, long will_restart_ms)
{
	const struct generation *g = owner;

	show_writer(g->master, stats_of(g, slot));
	if (will_restart_ms >= 0)
		log_error("the writer of store %s (pid %d) %s; another starts in %ld ms", config_of(g, slot)->name,
			  (int)pid, how, will_restart_ms);
}

static const struct supervisor_ops storer_ops = {
	.on_start = on_start,
	.on_started = on_started,
	.run_child = run_child,
	.on_ready = on_ready,
	.on_gone = on_gone,
	.on_empty = master_on_empty,
};

/* Reading goes on without them, and changes wait for a moment before they are refused. */
void master_start_storers(struct generation *g)
{
	int err;

	g->storers.loop = &g->master->loop;
	g->storers.ops = &storer_ops;
	g->storers.owner = g;
	if (g->storer_count == 0)
		return;
	err = supervisor_start(&g->storers, g->storer_count);
	if (err)
		log_error("cannot start the writers of the stores: %s", strerror(-err));
}
