/* SPDX-License-Identifier: MIT */
/*
 * The tables of clients of a generation.  Where their size stays they are those of the generation before, so that a reload
 * neither forgives what clients owe nor forgets what they have.  Each generation has rows of its own: two workers of one
 * slot may live side by side.
 */
#include "base/err.h"
#include "proc/master_internal.h"
#include "proc/sharer.h"

static bool can_lend(const struct generation *before, const struct generation *g)
{
	return before && before->limits.header &&
	       limit_table_room(before->config->limits.clients) == limit_table_room(g->config->limits.clients);
}

/* What is known goes on being known.  Who is the first has a moment to find out. */
static int open_share(struct generation *g, const struct generation *before)
{
	uint64_t known_until_ns = clock_ns() + sharer_lease_ns(g->config);

	if (!sharer_redis(g->config) || !runtime_wants_rates(g->runtime))
		return 0;
	if (before && before->limit_share.header)
		known_until_ns = __atomic_load_n(&before->limit_share.header->known_until_ns, __ATOMIC_RELAXED);
	return limit_share_open(&g->limit_share, g->runtime->rates, g->runtime->rate_count, g->worker_count,
				known_until_ns);
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
	g->limits.debt_max = runtime_debt_max(g->runtime);
	err = open_share(g, before);
	if (err)
		return err;
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
	limit_share_close(&g->limit_share);
	list_for_each(node, &g->master->generations) {
		const struct generation *other = container_of(node, struct generation, node);

		is_shared |= other != g && other->limits.header == g->limits.header;
	}
	if (is_shared)
		g->limits = (struct limit_table){ 0 };
	limit_table_close(&g->limits);
}
