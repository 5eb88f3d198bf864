/* SPDX-License-Identifier: MIT */
/*
 * A count of holders of something that must outlive the bytes in flight: a cached file, a mapped
 * page, a configuration.  Single-threaded; embedded in the thing.
 */
#ifndef SLUICE_BASE_HOLD_H
#define SLUICE_BASE_HOLD_H

#include <stddef.h>

#include "base/err.h"

struct hold {
	unsigned count;
	void (*on_release)(struct hold *h);
};

/* The caller is the first holder. */
static inline void hold_init(struct hold *h, void (*on_release)(struct hold *h))
{
	h->count = 1;
	h->on_release = on_release;
}

/* NULL is allowed and returned. */
static inline struct hold *hold_get(struct hold *h)
{
	if (h)
		h->count++;
	return h;
}

/* NULL is allowed; the last one calls on_release, which may free. */
static inline void hold_put(struct hold *h)
{
	if (!h)
		return;
	BUG_ON(h->count == 0);
	if (--h->count == 0)
		h->on_release(h);
}

#endif
