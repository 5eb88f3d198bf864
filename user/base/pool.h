/* SPDX-License-Identifier: MIT */
/*
 * Fixed-size objects of one worker (no locks).  Objects come from chunks of many, so that a small
 * object costs no allocator header; a free object is reused last-in-first-out while it is still in
 * the cache.  A chunk whose objects are all free is given back to the system when more than `keep`
 * objects are free.
 */
#ifndef SLUICE_BASE_POOL_H
#define SLUICE_BASE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

#define POOL_HOT 4

struct pool {
	void *hot[POOL_HOT]; /* put back last, ready to be taken */
	unsigned hot_count;
	struct list partial; /* chunks with a free object */
	struct list full;    /* chunks without */
	size_t item_size;    /* bytes, rounded up to 16 */
	size_t chunk_size;   /* bytes, a power of two; chunks are aligned to it */
	size_t used_count;
	size_t free_count;
	size_t keep_count;
	size_t max_count; /* 0: no limit */
};

/* Allocates nothing yet.  `keep`: free objects kept for reuse; `max`: pool_get fails past it (0:
 * never). */
void pool_init(struct pool *p, size_t item_size, size_t keep_count, size_t max_count);
/* Every object must have been put back (BUG_ON otherwise). */
void pool_fini(struct pool *p);
/* Uninitialised memory, aligned to 16, or NULL when memory or `max` is exhausted. */
void *pool_get(struct pool *p);
/* NULL is allowed.  The object must be one of this pool. */
void pool_put(struct pool *p, void *item);
/* From now on `keep` free objects are kept for reuse; what is free beyond them goes back to the system. */
void pool_keep(struct pool *p, size_t keep_count);

/* Bytes of the objects that are handed out. */
static inline uint64_t pool_used(const struct pool *p)
{
	return (uint64_t)p->used_count * p->item_size;
}

/* Checks every link and count; false names an inconsistency (tests and debug builds). */
bool pool_validate(const struct pool *p);

#endif
