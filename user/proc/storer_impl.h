/* SPDX-License-Identifier: MIT */
/* What storer.c (process, batches) and storer_peer.c (connections of workers) share. */
#ifndef SLUICE_PROC_STORER_IMPL_H
#define SLUICE_PROC_STORER_IMPL_H

#include "app/store_wire.h"
#include "app/store_writer.h"
#include "proc/storer.h"

#define STORER_BATCH_MAX 1024u	/* changes in a transaction */

struct storer;

/* A worker.  Its bytes stay where they are from the time they are parsed until they are committed. */
struct storer_peer {
	struct list node;
	struct storer *storer;
	struct io io;
	char *in;		/* cap bytes, len of them used, the first `taken` of them in the batch at hand */
	size_t len, cap, taken;
	char *out;		/* results that are not sent yet */
	size_t out_len, out_cap;
	bool is_readable;	/* there may be bytes, or the end, to be read */
	bool has_ended;		/* nothing comes any more */
	bool is_broken;		/* it broke the protocol, or memory ran out: to be closed */
};

struct storer {
	const struct storer_options *opt;
	struct loop loop;
	struct store_writer writer;
	struct io signal_io, channel_io;
	struct timer look;
	struct job work;
	struct list peers;
	bool is_orphan;		/* the master is gone */
	bool has_failed;
	unsigned count;		/* of the batch */
	struct store_change changes[STORER_BATCH_MAX];
	struct store_result results[STORER_BATCH_MAX];
	uint32_t ids[STORER_BATCH_MAX];
	struct storer_peer *from[STORER_BATCH_MAX];
};

/* Takes the descriptor.  0 or -errno. */
int storer_peer_add(struct storer *s, int fd);
void storer_peer_close(struct storer_peer *p);
/* Reads until there is nothing, or no room; not while results wait. */
void storer_peer_fill(struct storer_peer *p);
/* Puts the changes that are complete into the batch, as many as it takes. */
void storer_peer_gather(struct storer_peer *p);
void storer_peer_answer(struct storer_peer *p, uint32_t id, const struct store_result *r);
/* After the batch: sends, moves what is left to the front.  False: the peer is closed. */
bool storer_peer_settle(struct storer_peer *p);
/* Is there something to do without waiting for it? */
bool storer_peer_has_work(const struct storer_peer *p);

#endif
