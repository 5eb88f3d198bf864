/* SPDX-License-Identifier: MIT */
/* Trying something in a process of a moment, with the rights of who is going to do it: it may hang, or die of it. */
#ifndef SLUICE_PROC_TRIAL_H
#define SLUICE_PROC_TRIAL_H

#include <stddef.h>

#include "base/privilege.h"

struct trial {
	const struct identity *identity;
	/* In the process.  What is wrong goes into `why`, which is empty before. */
	void (*run)(const void *ctx, char *why, size_t size);
	const void *ctx;
	unsigned limit_ms;		/* it is killed then */
};

#define TRIAL_KILLED 1	/* by a signal of its own */
#define TRIAL_LATE   2

/*
 * 0: nothing is wrong; -EIO: `why` says what; another -errno: it could not be tried.  `size`: at least 64.
 * TRIAL_KILLED, *ret_signal: by which; TRIAL_LATE: after the limit; `why` is empty with both.
 */
int trial_run(const struct trial *t, char *why, size_t size, int *ret_signal);

#endif
