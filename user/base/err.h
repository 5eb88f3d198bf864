/* SPDX-License-Identifier: MIT */
/*
 * Errors are 0 or -errno.  BUG_ON is for mistakes of our own: never for what a peer, the kernel, a
 * disk or memory pressure can cause.
 */
#ifndef SLUICE_BASE_ERR_H
#define SLUICE_BASE_ERR_H

#include <errno.h>

/* Prints file, line and condition to stderr, then abort(). */
_Noreturn void bug_at(const char *file, int line, const char *condition);

#define BUG_ON(condition)                                                                          \
	do {                                                                                       \
		if (__builtin_expect(!!(condition), 0))                                            \
			bug_at(__FILE__, __LINE__, #condition);                                    \
	} while (0)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MAX(a, b)    ((a) > (b) ? (a) : (b))

#endif
