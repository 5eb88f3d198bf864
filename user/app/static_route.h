/* SPDX-License-Identifier: MIT */
/* Inside of the static handler: what its files share. */
#ifndef SLUICE_APP_STATIC_ROUTE_H
#define SLUICE_APP_STATIC_ROUTE_H

#include "app/beneath.h"
#include "app/file_cache.h"
#include "app/static.h"

/* The longest path below a root, its NUL included: the kernel's PATH_MAX, within which an index
 * name must fit too. */
#define RELATIVE_SIZE 4096

struct static_route {
	uint64_t id; /* key in the cache; a new one when the root is another folder */
	struct beneath root;
	char *root_path;
	dev_t root_dev;
	ino_t root_ino;
	uint64_t root_checked_ms;
	bool has_told_fenced;
	char *prefix;
	size_t prefix_len;
	char **index;
	unsigned index_count;
	bool has_listing, has_precompressed, shows_hidden;
	char *default_type;
	struct file_cache *cache;
	struct encoding_memo accepted;
};

/*
 * The path of a request below the root, without leading slash, with the NUL it needs for the
 * kernel. 0, or -ENOENT for a path that cannot name a file that is served (hidden, NUL inside, too
 * long, "..").
 */
int static_relative(const struct static_route *r, struct span path, char to[RELATIVE_SIZE]);

/*
 * Looks again at what the path of `e` leads to and fills `e`, keeping the files it already has
 * where they are unchanged.  `e` is out of the cache.
 */
void static_resolve(struct static_route *r, struct file_entry *e);

/* The status for an error of open or stat. */
unsigned static_status_of(int err);

/* Answers GET and HEAD with a file: preconditions, ranges, whole.  `varies`: by Accept-Encoding. */
void static_send_file(const struct request *req, struct reply *reply, struct file *f, bool varies);

/* Answers with a page that lists the folder `relative`. */
void static_send_listing(struct static_route *r, const struct request *req, struct reply *reply,
			 const char *relative);

#endif
