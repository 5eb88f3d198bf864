/* SPDX-License-Identifier: MIT */
/*
 * The one who writes: many changes in one transaction, which the disk answers once.  Blocks until it has.
 *
 * Invariants: what was answered with success is durable; conditions are looked at within the transaction that makes the
 * change; a change that fails fails alone, and those beside it are made.
 *
 * `size` bounds what resources take.  The map is larger by a part that only deletions may use: they write too, and a
 * store that is full could never be emptied again.
 */
#ifndef SLUICE_APP_STORE_WRITER_H
#define SLUICE_APP_STORE_WRITER_H

#include "app/store_db.h"

struct store_writer {
	struct store_db db;
	uint64_t page_size;
	uint64_t page_max;	/* that `size` is */
	uint64_t batch_pages;	/* that the transaction at hand may have taken so far */
	uint64_t free_pages;	/* of those that were used before; known once has_free */
	bool has_free;
	struct store_stats *stats;	/* borrowed */
};

/* Makes the files where there are none.  0, or -errno and why (store_db_open). */
int store_writer_open(struct store_writer *w, const char *path, uint64_t size, struct store_stats *stats,
		      char why[STORE_WHY_SIZE]);
void store_writer_close(struct store_writer *w);
/*
 * Reads all names and the ends of what they name, as long as `limit_ms`: a file that is cut short kills by SIGBUS here,
 * before it is served.  0 or -errno.
 */
int store_writer_verify(struct store_writer *w, uint64_t limit_ms);
/*
 * In this order.  `now_s`: since the epoch.  0; or -errno: the environment can no longer be used, and what the results
 * say of success is true all the same.
 */
int store_writer_commit(struct store_writer *w, const struct store_change *changes, struct store_result *results,
			unsigned count, int64_t now_s);
/* Once a second: what `status` shows of the files; places of dead readers are cleared. */
void store_writer_look(struct store_writer *w);

#endif
