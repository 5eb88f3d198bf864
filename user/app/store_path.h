/* SPDX-License-Identifier: MIT */
/*
 * Names in a store: from the path of a request to a key, from a query to a page of a listing, new names.  Pure functions
 * but for the clock and the random numbers of new names.
 *
 * A key is the path below the route's prefix, "notes/a" below "/api/".  What ends with '/', and the empty one, is a
 * collection: it is there whatever is in it.
 */
#ifndef SLUICE_APP_STORE_PATH_H
#define SLUICE_APP_STORE_PATH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define STORE_KEY_MAX	  511	/* bytes: LMDB's own limit */
#define STORE_TYPE_MAX	  255	/* bytes of a media type */
#define STORE_LIMIT_MAX	  1000	/* entries of a page */
#define STORE_LIMIT_USUAL 100
#define STORE_NAME_LEN	  26	/* of a new name: 130 bits, 5 a character */

/*
 * `path` is decoded and begins with the prefix, which ends with '/'.  0 and the key, a part of `path`; -EINVAL: not UTF-8,
 * or with control characters; -ENAMETOOLONG.
 */
int store_key(struct span path, size_t prefix_len, struct span *ret_key);

static inline bool store_is_collection(struct span key)
{
	return key.len == 0 || key.ptr[key.len - 1] == '/';
}

struct store_page {
	char memory[STORE_KEY_MAX + 1];
	struct span after;	/* in `memory`: the last name of the page before; empty: from the beginning */
	unsigned limit;
};

/*
 * "after=NAME&limit=N", as received; other parts are for others.  0; -EINVAL: a malformed escape, a name that cannot be,
 * or a limit that is no number from 1 to STORE_LIMIT_MAX.
 */
int store_page_parse(struct span query, struct store_page *ret_page);
/* "after=NAME&limit=N" */
void store_page_print(struct buf *b, struct span after, unsigned limit);

/* Well-formed UTF-8 (RFC 3629) without control characters. */
bool store_is_name(struct span text);
/* A media type that is kept as it was sent: printable ASCII. */
bool store_is_type(struct span text);

/*
 * A name that nobody guesses: 128 bits of the kernel's random numbers.  `is_timed`: the first 48 are the time in ms, so
 * that names sort by it, and those that one process makes in a ms by their order.  0 or -errno: no random numbers.
 */
int store_name_make(bool is_timed, uint64_t now_ms, char out[STORE_NAME_LEN]);

#endif
