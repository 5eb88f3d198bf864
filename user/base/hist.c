/* SPDX-License-Identifier: MIT */
/* Log-linear histogram; see hist.h. */
#include "base/hist.h"

#include "base/err.h"

#define STEPS (1u << HIST_STEP_BITS)

/* Below STEPS a value is its own bucket; above, the power of two picks a row and the next bits its
 * step. */
unsigned hist_bucket(uint64_t value)
{
	unsigned power, bucket;

	if (value < STEPS)
		return (unsigned)value;
	power = 63u - (unsigned)__builtin_clzll(value) - HIST_STEP_BITS;
	bucket = ((power + 1) << HIST_STEP_BITS) + (unsigned)(value >> power) - STEPS;
	return MIN(bucket, HIST_BUCKETS - 1u);
}

uint64_t hist_bucket_floor(unsigned bucket)
{
	unsigned row = bucket >> HIST_STEP_BITS;
	uint64_t step = bucket & (STEPS - 1);

	return row == 0 ? step : (STEPS + step) << (row - 1);
}

void hist_add(struct hist *h, uint64_t value)
{
	h->counts[hist_bucket(value)]++;
	h->total_count++;
	h->sum += value;
	h->max = MAX(h->max, value);
}

void hist_merge(struct hist *to, const struct hist *from)
{
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		to->counts[i] += from->counts[i];
	to->total_count += from->total_count;
	to->sum += from->sum;
	to->max = MAX(to->max, from->max);
}

/* The middle of the bucket that holds the wanted rank, so that the error is half a step. */
uint64_t hist_quantile(const struct hist *h, unsigned per_10000)
{
	uint64_t rank = (h->total_count * MIN(per_10000, 10000u) + 9999) / 10000;
	uint64_t seen = 0;

	if (h->total_count == 0)
		return 0;
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		uint64_t low = hist_bucket_floor(i);
		uint64_t high = hist_bucket_floor(i + 1) - 1;

		seen += h->counts[i];
		if (seen >= MAX(rank, 1u))
			return i == HIST_BUCKETS - 1 ? h->max : MIN(low + (high - low) / 2, h->max);
	}
	return h->max;
}
