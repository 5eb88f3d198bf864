/* SPDX-License-Identifier: MIT */
/*
 * The tables of clients of a generation.  Where their size stays they are those of the generation before, so that a reload
 * neither forgives what clients owe nor forgets what they have.  Each generation has rows of its own: two workers of one
 * slot may live side by side.
 */
#include "base/err.h"
#include "proc/master_internal.h"

static bool can_lend(const struct generation *before, const struct generation *g)
{
	return before && before->limits.header &&
	       limit_table_room(before->config->limits.clients) == limit_table_room(g->config->limits.clients);
}

static int open_all(struct generation *g, const struct generation *before)
{
	bool wants_counts = runtime_wants_counts(g->runtime);
	int err = 0;

	if (!wants_counts && !runtime_wants_rates(g->runtime))
		return 0;
	if (can_lend(before, g))
		g->limits = before->limits;
	else
		err = limit_table_open(&g->limits, g->config->limits.clients);
	if (err)
		return err;
	g->limits.window_max = runtime_window_max(g->runtime);
	return wants_counts ? limit_rows_open(&g->limit_rows, &g->limits, g->worker_count) : 0;
}

int generation_open_limits(struct generation *g, const struct generation *before)
{
	int err = open_all(g, before);

	if (err)
		log_error("cannot map the tables of clients: %s", strerror(-err));
	return err;
}

void generation_close_limits(struct generation *g)
{
	bool is_shared = false;

	limit_rows_close(&g->limit_rows);
	list_for_each(node, &g->master->generations) {
		const struct generation *other = container_of(node, struct generation, node);

		is_shared |= other != g && other->limits.header == g->limits.header;
	}
	if (is_shared)
		g->limits = (struct limit_table){ 0 };
	limit_table_close(&g->limits);
}
