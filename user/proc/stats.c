/* SPDX-License-Identifier: MIT */
/* Sums of statistics blocks; see stats.h. */
#include "proc/stats.h"

#include <stddef.h>

#include "base/err.h"

void stats_add(struct stats_block *to, const struct stats_block *from)
{
#define ADD(field) to->field += __atomic_load_n(&from->field, __ATOMIC_RELAXED)
	ADD(accepted);
	ADD(requests);
	for (size_t i = 0; i < ARRAY_LEN(to->status); i++)
		ADD(status[i]);
	ADD(bytes_in);
	ADD(bytes_out);
	for (size_t i = 0; i < ARRAY_LEN(to->closed); i++)
		ADD(closed[i]);
	ADD(accept_errors);
	ADD(accept_pauses);
	ADD(stalls);
	ADD(stall_kills);
	ADD(rescued);
	ADD(restarts);
	ADD(stale_events);
	ADD(log_lost);
	ADD(keepalive_reuses);
	ADD(moved_in);
	ADD(moved_out);
	ADD(timeouts);
	ADD(rate_limited);
	ADD(memory_refused);
	ADD(sandbox_refused);
#undef ADD
	hist_merge(&to->latency_us, &from->latency_us);
}
