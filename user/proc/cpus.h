/* SPDX-License-Identifier: MIT */
/*
 * Which CPUs this process may really use: the affinity mask, cut by the CPU quota of its control group (v2 cpu.max, v1
 * cpu.cfs_quota_us), because one worker more than the quota allows only gets throttled.
 */
#ifndef SLUICE_PROC_CPUS_H
#define SLUICE_PROC_CPUS_H

#include <stdbool.h>

#define CPUS_MAX 1024

struct cpus {
	unsigned count;			/* in ids[]: allowed by the affinity mask */
	unsigned usable;		/* workers that make sense: count, or less under a quota; at least 1 */
	unsigned short ids[CPUS_MAX];
};

/* Never fails: without any information there is one CPU, number 0. */
void cpus_detect(struct cpus *ret_cpus);
/*
 * CPUs a quota stands for, rounded up: the text of cpu.max ("max 100000", "150000 100000"), or of v1's two files joined
 * by a space ("-1 100000").  0: no limit, or not understood.
 */
unsigned cpus_of_quota(const char *text);
/* Binds the calling process to one CPU.  0 or -errno. */
int cpus_pin(unsigned id);

#endif
