/* SPDX-License-Identifier: MIT */
/*
 * `files = "/srv/www"`: a folder served (RFC 9110).  Opens by openat2 RESOLVE_BENEATH below a descriptor of the folder,
 * through an open-file cache that all static routes of a worker share.
 */
#ifndef SLUICE_APP_STATIC_H
#define SLUICE_APP_STATIC_H

#include <stdint.h>

#include "http/handler.h"

struct file_cache;

struct file_cache_options {
	unsigned entry_max;		/* open files; 0: 1024 */
	uint64_t memory_max;		/* bytes of file contents kept in memory; 0: 32 MiB */
	uint64_t content_max;		/* bytes; files up to this size are answered from memory; 0: 64 KiB */
	uint32_t valid_ms;		/* a cached file is looked at again (fstatat) after this; 0: 1000 */
	uint64_t (*now_ms)(void *ctx);	/* the worker's cached monotonic time */
	void *ctx;
};

struct file_cache *file_cache_new(const struct file_cache_options *opt);
/* Entries in flight live on until their last hold is put. NULL is allowed. */
void file_cache_free(struct file_cache *c);

struct static_options {
	const char *root;		/* folder */
	struct span prefix;		/* of the route: cut off the path before it is looked up */
	const char *const *index;	/* names tried in a folder; NULL: {"index.html"} */
	unsigned index_count;
	bool has_listing;		/* list a folder without index; otherwise 403 */
	bool allows_symlinks;		/* follow links that leave the root (RESOLVE_BENEATH otherwise) */
	bool has_precompressed;		/* answer with FILE.br, .zst, .gz where the client takes it and it is not older */
	bool shows_hidden;		/* names that begin with '.'; otherwise 404 ("/.well-known/" is always served) */
	const char *default_type;	/* NULL: application/octet-stream */
	struct file_cache *cache;	/* not owned */
};

extern const struct handler_ops static_ops;

/* Opens the root.  *ret_conf is for site_add_route with static_free.  0 or -errno (-ENOENT, -ENOTDIR, -EACCES). */
int static_new(const struct static_options *opt, void **ret_conf);
void static_free(void *conf);

#endif
