/* SPDX-License-Identifier: MIT */
/*
 * What is counted of a module: anonymous shared memory made by the master, of which each generation has one block for each
 * of its slots and modules, written only by the worker of that slot.  What the master shows is the sum over all slots and
 * generations, those that are gone included.
 */
#ifndef SLUICE_MODULE_SHM_H
#define SLUICE_MODULE_SHM_H

#include <stdint.h>

#define MODULE_COUNTERS(X)                                                                                 \
	X(requests)	/* given to a function of the module */                                            \
	X(errors)	/* of those: answered by 5xx, cut by the module, or too late */                    \
	X(timeouts)	/* of those: the module did nothing in time */                                     \
	X(aborted)	/* of requests: the client was gone, or too slow, before the answer was complete */ \
	X(unrouted)	/* answered without the module: no route of it has this path, or this method */    \
	X(busy)		/* 503: no memory for another request */                                           \
	X(mistakes)	/* calls that were refused */

struct module_stats {
#define X(name) uint64_t name;
	MODULE_COUNTERS(X)
#undef X
	uint64_t in_flight;	/* requests that the module has at the moment */
};

_Static_assert(sizeof(struct module_stats) == 64, "one cache line for one writer");

#endif
