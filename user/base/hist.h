/* SPDX-License-Identifier: MIT */
/*
 * Log-linear histogram of durations: 2^5 linear steps for each power of two, so a value is known to
 * about 3 %. Fixed size and plain counters: it lies in shared memory, has one writer, and any
 * reader may merge several.
 */
#ifndef SLUICE_BASE_HIST_H
#define SLUICE_BASE_HIST_H

#include <stdint.h>

#define HIST_STEP_BITS 5
#define HIST_POWERS    32 /* values below 2^37; larger ones count in the last bucket */
#define HIST_BUCKETS   ((HIST_POWERS + 1) << HIST_STEP_BITS)

struct hist {
	uint64_t total_count;
	uint64_t max;
	uint64_t sum;
	uint64_t counts[HIST_BUCKETS]; /* 32 bits would wrap within a day at 10^5 a second */
};

unsigned hist_bucket(uint64_t value);
/* The lowest value that falls into the bucket. */
uint64_t hist_bucket_floor(unsigned bucket);
void hist_add(struct hist *h, uint64_t value);
void hist_merge(struct hist *to, const struct hist *from);
/* `per_10000`: 5000 is the median, 9990 p99.9.  0 when empty. */
uint64_t hist_quantile(const struct hist *h, unsigned per_10000);

#endif
