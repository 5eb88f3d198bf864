/* SPDX-License-Identifier: MIT */
/*
 * What paths lead to, remembered: an open file with its precompressed siblings, or an answer
 * without one (redirect, listing, error).  Keyed by route and path, bounded in entries and bytes.
 * An entry that is not valid any more is taken out, looked at again by its owner, and put back:
 * while it is out nothing can evict it. Must not know: how paths are resolved, HTTP.
 *
 *   file_cache_find -> valid: use it
 *                   -> NULL or stale: file_cache_take, resolve, file_cache_insert
 *
 * Replacement is second chance (CLOCK): a hit sets one bit and moves nothing.
 */
#ifndef SLUICE_APP_FILE_CACHE_H
#define SLUICE_APP_FILE_CACHE_H

#include "app/file.h"
#include "app/static.h"
#include "base/list.h"

enum file_entry_kind {
	ENTRY_FILE,
	ENTRY_REDIRECT, /* a folder asked for without its slash */
	ENTRY_LISTING,
	ENTRY_STATUS, /* 403, 404, 500 */
};

struct file_entry {
	struct file_entry *next; /* in its bucket */
	uint64_t hash;
	uint64_t route_id;
	uint64_t expires_ms;
	struct file *files[ENCODING_IDENTITY + 1]; /* ENTRY_FILE: [ENCODING_IDENTITY] is set */
	enum file_entry_kind kind;
	uint16_t status;   /* ENTRY_STATUS */
	uint8_t encodings; /* bit per sibling in `files` */
	bool is_used;	   /* since the hand of the clock passed */
	bool is_linked;
	struct list lru;
	size_t path_len;
	char path[];
};

struct file_cache_stats {
	unsigned file_entries, other_entries;
	uint64_t content_bytes;
	unsigned fd_count;
	uint64_t hits, misses, stale, evicted;
};

/* The routes hold it too: it goes when file_cache_free was called and the last route has let go. */
struct file_cache *file_cache_get(struct file_cache *c);
void file_cache_put(struct file_cache *c);

/* Fresh or stale, NULL when unknown; `now_ms` of the cache's clock. */
struct file_entry *file_cache_find(struct file_cache *c, uint64_t route_id, struct span path, uint64_t now_ms);

static inline bool file_cache_is_valid(const struct file_entry *e, uint64_t now_ms)
{
	return now_ms < e->expires_ms;
}

uint64_t file_cache_now_ms(const struct file_cache *c);
uint32_t file_cache_valid_ms(const struct file_cache *c);

/* Out of the cache, the caller's from now on; `e` NULL: a new one.  NULL without memory. */
struct file_entry *file_cache_take(struct file_cache *c, struct file_entry *e, uint64_t route_id,
				   struct span path);
/* Valid from now on; may evict others.  `e` is the cache's again. */
void file_cache_insert(struct file_cache *c, struct file_entry *e);
/* Of an entry that was taken. NULL is allowed. */
void file_entry_free(struct file_entry *e);

/* Makes room for contents of `size` bytes; false when such a file is not kept in memory. */
bool file_cache_reserve(struct file_cache *c, uint64_t size);
/* Descriptors are scarce: gives some up.  False when there are none to give. */
bool file_cache_shed(struct file_cache *c);
/* Forgets everything of one route. */
void file_cache_forget(struct file_cache *c, uint64_t route_id);

struct file_usage *file_cache_usage(struct file_cache *c);
void file_cache_stats(const struct file_cache *c, struct file_cache_stats *ret_stats);

#endif
