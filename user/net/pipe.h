/* SPDX-License-Identifier: MIT */
/*
 * Pipes of one worker, through which bytes go from one socket to another without being copied (splice(2)).  A pipe is
 * borrowed while bytes are in flight.  One that comes back with bytes left in it is destroyed, never kept: the next
 * connection would get them.
 */
#ifndef SLUICE_NET_PIPE_H
#define SLUICE_NET_PIPE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"

struct pipe {
	struct list node;	/* in the pool, while nobody has it */
	int read_fd, write_fd;
	unsigned size;		/* bytes it holds at most, if they come in whole pages */
	unsigned filled;	/* bytes in it; kept by who has it */
};

struct pipe_pool {
	struct list free;
	unsigned free_count, keep_count;
	unsigned open_count;	/* those in use too */
	unsigned max_count;	/* pipe_get fails past it */
	unsigned size;		/* bytes asked for; what an unprivileged process gets may be less (pipe(7)) */
	bool is_starved;	/* the system had none to give: not asked again before one of ours has come back */
};

void pipe_pool_init(struct pipe_pool *p, unsigned size, unsigned keep_count, unsigned max_count);
/* Every pipe must have been put back. */
void pipe_pool_fini(struct pipe_pool *p);
/* Empty, non-blocking.  NULL: out of descriptors, of memory, past max_count, or so small that copying is better. */
struct pipe *pipe_get(struct pipe_pool *p);
/* NULL is allowed. */
void pipe_put(struct pipe_pool *p, struct pipe *pipe);

#endif
