/* SPDX-License-Identifier: MIT */
/* Counters over all generations: see include/stats_shm.h. */
#include "base/err.h"
#include "proc/master_internal.h"

void master_sum_stats(struct master *m, unsigned slot, struct stats_block *ret_sum)
{
	*ret_sum = m->past[slot];
	list_for_each(node, &m->generations) {
		const struct generation *g = container_of(node, struct generation, node);

		if (slot < g->worker_count)
			stats_add(ret_sum, &g->stats[slot]);
	}
}

void master_keep_stats(struct master *m, const struct generation *g)
{
	for (unsigned i = 0; i < g->worker_count; i++) {
		struct stats_block last = g->stats[i];

		/* Of a master that was killed nobody has done it, and its workers may live a little longer. */
		stats_forget_gauges(&last);
		stats_add(&m->past[i], &last);
	}
}
