/* SPDX-License-Identifier: MIT */
/*
 * What is counted of a store: anonymous shared memory made by the master, one block for each path, which stays as long as
 * any generation has a store there.  Workers and writers of all generations count in it, so counters change atomically; the
 * last three are looked at by whichever writer did so last, and mean the same whoever it was.
 */
#ifndef SLUICE_STORE_SHM_H
#define SLUICE_STORE_SHM_H

#include <stdint.h>

/* By workers: what became of requests. */
#define STORE_COUNTERS(X)                                                                                  \
	X(reads)		/* GET and HEAD of a resource that there is */                             \
	X(listings)		/* of collections */                                                       \
	X(created)		/* by PUT and POST */                                                      \
	X(replaced)		/* by PUT */                                                               \
	X(deleted)                                                                                         \
	X(not_modified)		/* 304 */                                                                  \
	X(missing)		/* 404 */                                                                  \
	X(mismatches)		/* 412: another one was faster */                                          \
	X(unconditional)	/* 428: a change without If-Match or If-None-Match */                      \
	X(refused)		/* methods, names, types and queries that are not taken: 4xx */            \
	X(full)			/* 507 */                                                                  \
	X(busy)			/* 503: more bytes in flight than `memory` allows */                       \
	X(down)			/* 503: no server there that takes it now; nothing was changed */          \
	X(no_writer)		/* 503: nobody to write in time; nothing was changed */                    \
	X(timeouts)		/* 504: no answer in time; it may be done all the same */                  \
	X(lost)			/* 502: the writer went away meanwhile; likewise */                        \
	X(failed)		/* 500: the disk, or the file */

/* By the writer. */
#define STORE_WRITER_COUNTERS(X)                                                                           \
	X(commits)		/* transactions made durable */                                            \
	X(changes)		/* requests in them that changed something */                              \
	X(commit_us)		/* microseconds spent in them, waiting for the disk included */            \
	X(batch_max)		/* most changes in one */                                                  \
	X(commit_errors)	/* transactions given up */                                                \
	X(readers_cleared)	/* places in the reader table that dead processes had left */              \
	X(bad_frames)		/* messages of a worker that broke the protocol */                         \
	X(restarts)		/* by the master: writers that died */                                     \
	X(entries)		/* resources; looked at once a second, like the next ones */               \
	X(used_bytes)                                                                                      \
	X(size_bytes)		/* `size` of the configuration */

struct store_stats {
#define X(name) uint64_t name;
	STORE_COUNTERS(X)
	uint64_t pad[8];	/* another cache line for another writer */
	STORE_WRITER_COUNTERS(X)
#undef X
	uint32_t pid;		/* of the writer; 0: none at the moment */
	uint32_t confined;	/* CONFINED_... of stats_shm.h, of the writer */
} __attribute__((aligned(64)));

static inline void store_add(uint64_t *counter, uint64_t count)
{
	__atomic_fetch_add(counter, count, __ATOMIC_RELAXED);
}

static inline void store_count(uint64_t *counter)
{
	store_add(counter, 1);
}

#endif
