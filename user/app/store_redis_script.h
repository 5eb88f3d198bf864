/* SPDX-License-Identifier: MIT */
/*
 * What a Redis server runs for a store, each as one step that nothing comes between: a change with its conditions, and a
 * page of a collection.  Of the keys below a store's prefix these know two kinds:
 *
 *   PREFIX names      sorted set: the names of all resources, all with score 0, and so in the order of their bytes
 *   PREFIX serial     number of the last change, for entity tags
 *   PREFIX r:NAME     hash: etag (without quotes), modified (seconds since the epoch), type, content
 *
 * Written for Redis 5 and later: scripts are replicated by what they do.  The first command that writes is called so that
 * its error comes back as it is, and nothing is changed by then; those behind it have no reason to fail any more.
 */
#ifndef SLUICE_APP_STORE_REDIS_SCRIPT_H
#define SLUICE_APP_STORE_REDIS_SCRIPT_H

#include "base/span.h"

#define STORE_REDIS_NAMES  "names"
#define STORE_REDIS_SERIAL "serial"
#define STORE_REDIS_VALUE  "r:"

#define STORE_SCRIPT_SHA_LEN 40

struct store_script {
	const char *text;
	char sha[STORE_SCRIPT_SHA_LEN + 1];	/* by which the server knows it; store_script_init() */
};

/*
 * keys: names, value, serial.  Arguments: "put", "create" or "delete"; name; If-Match and If-None-Match as "*", as entity
 * tags one behind the other, or "-": none; If-Unmodified-Since in seconds, or "-"; random digits; type; content.
 * {"created" | "replaced", etag, modified}, or one of "deleted", "missing", "taken", "mismatch" alone.
 */
extern struct store_script store_script_change;
/*
 * key: names.  Arguments: prefix of values; collection; the name behind which it begins, or ""; how many; how many bytes
 * the answer may have, more or less.  {1 if there is more, {name, about, name, about ...}}, where `about` is "ETAG MODIFIED
 * SIZE TYPE", or empty: a collection.
 */
extern struct store_script store_script_list;

/* The names the server gives to them.  Harmless twice. */
void store_script_init(void);

#endif
