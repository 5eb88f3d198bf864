/* SPDX-License-Identifier: MIT */
/*
 * Bytes between two connections, both ways, until both have ended: what is left of HTTP after a 101.  Knows nothing of
 * what the bytes mean.
 *
 * While nothing is in flight a tunnel holds neither buffer nor pipe.  A little at a time is read and written from the
 * stack; who sends much is spliced through a pipe of the worker.  The end of one direction is passed on (half-close),
 * the other goes on.  The two connections and their events stay the owner's: it calls tunnel_run() on each.
 */
#ifndef SLUICE_NET_TUNNEL_H
#define SLUICE_NET_TUNNEL_H

#include "base/span.h"
#include "net/conn.h"
#include "net/pipe.h"

enum tunnel_end {
	TUNNEL_DONE,	/* both sides have ended in good order */
	TUNNEL_IDLE,	/* nothing came from either side in time */
	TUNNEL_FAILED,	/* a side was reset, or memory ran out */
};

struct tunnel_way {
	struct conn *from, *to;
	struct pipe *pipe;	/* NULL: none borrowed */
	char *rest;		/* read and not yet written, of malloc; NULL: none */
	unsigned rest_at, rest_len;
	bool is_bulk;		/* the last read filled its buffer */
	bool has_ended;		/* the end was read */
	bool is_shut;		/* and passed on */
	uint64_t bytes;
};

struct tunnel {
	struct loop *loop;
	struct pipe_pool *pipes;
	struct tunnel_way ways[2];
	struct timer timer;
	struct job job;
	uint64_t idle_ms;	/* 0 = for ever */
	uint64_t moved_ms;	/* when bytes moved last */
	/* Once, from tunnel_run or the loop; tunnel_close has been called.  It may free the tunnel. */
	void (*on_end)(struct tunnel *t, enum tunnel_end how);
};

void tunnel_init(struct tunnel *t, struct loop *loop, struct pipe_pool *pipes, struct conn *a, struct conn *b,
		 uint64_t idle_ms, void (*on_end)(struct tunnel *t, enum tunnel_end how));
/* Bytes that were read from `from` already, to go before all others; copied.  0 or -ENOMEM. */
int tunnel_add_early(struct tunnel *t, const struct conn *from, struct span bytes);
/* Moves what can be moved now; after on_end nothing. */
void tunnel_run(struct tunnel *t);
/* Gives back what is borrowed and stops the timer; the connections are not touched.  Harmless twice. */
void tunnel_close(struct tunnel *t);

#endif
