/* SPDX-License-Identifier: MIT */
/* Time.  Monotonic for every wait, wall-clock only for what people read. */
#ifndef SLUICE_BASE_CLOCK_H
#define SLUICE_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_MS  1000000ull
#define NS_PER_SEC 1000000000ull

/* CLOCK_MONOTONIC in ns: the clock of bpf_ktime_get_ns(), so both sides compare stamps directly. */
static inline uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* CLOCK_REALTIME in ns since the epoch. */
static inline uint64_t clock_wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

#endif
