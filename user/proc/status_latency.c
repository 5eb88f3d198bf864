/* SPDX-License-Identifier: MIT */
/* A histogram as JSON: its quantiles, and on demand its buckets. */
#include "base/err.h"
#include "proc/status.h"

#define MERGED 4 /* steps of the histogram in one bucket of the JSON: 8 remain to a power of two   \
		  */

/* One [value, count] for each row of MERGED steps that holds anything. */
static json_t *buckets(const struct hist *h)
{
	json_t *list = json_array();

	_Static_assert(HIST_BUCKETS % MERGED == 0, "no step is left over");
	for (unsigned i = 0; i < HIST_BUCKETS; i += MERGED) {
		uint64_t count = 0;

		for (unsigned k = 0; k < MERGED; k++)
			count += h->counts[i + k];
		if (count &&
		    json_array_append_new(
			    list, json_pack("[I, I]", (json_int_t)hist_bucket_floor(i + MERGED / 2),
					    (json_int_t)count)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

json_t *status_quantiles(const struct hist *h, bool has_buckets)
{
	json_t *all = json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I}", "count", (json_int_t)h->total_count, "p50",
		(json_int_t)hist_quantile(h, 5000), "p90", (json_int_t)hist_quantile(h, 9000),
		"p99", (json_int_t)hist_quantile(h, 9900), "p999",
		(json_int_t)hist_quantile(h, 9990), "max", (json_int_t)h->max);

	if (has_buckets && json_object_set_new(all, "buckets", buckets(h)) < 0) {
		json_decref(all);
		return NULL;
	}
	return all;
}
