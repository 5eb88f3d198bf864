/* SPDX-License-Identifier: MIT */
/*
 * What waits to be written to one connection, in order: copied bytes, bytes somebody holds, ranges of files, bytes in pipes.
 * Copied bytes gather in buffers of the worker's pool, so that many small replies leave in one writev.
 * Running out of memory marks the output as failed and drops what comes later: the connection must then be closed, since
 * a reply with a hole is worse than none.
 */
#ifndef SLUICE_HTTP_OUTPUT_H
#define SLUICE_HTTP_OUTPUT_H

#include "base/hold.h"
#include "base/pool.h"
#include "base/span.h"
#include "net/conn.h"
#include "net/pipe.h"

#define OUTPUT_INLINE_SEGMENTS 16

struct output_buffer;

struct output_segment {
	const char *ptr;	/* NULL: a range of a file, or a pipe */
	uint64_t len;		/* bytes left */
	off_t offset;
	int fd;
	struct pipe *pipe;	/* NULL: a file */
	struct hold *hold;	/* NULL: none */
	struct output_buffer *buffer;	/* the bytes lie in it; counted as one user */
};

struct output {
	struct pool *buffers;		/* of OUTPUT_BUFFER-sized items */
	struct output_segment *segments;
	unsigned first, end, cap;	/* segments[first .. end) wait */
	bool has_failed;
	int error;		/* -errno of the write that failed last; 0: none has */
	uint64_t queued;		/* bytes that wait */
	uint64_t total;			/* bytes ever added */
	struct output_buffer *tail;	/* where copied bytes go, NULL: none yet */
	struct output_segment inline_segments[OUTPUT_INLINE_SEGMENTS];
};

enum flush_result {
	FLUSH_DONE,	/* nothing waits */
	FLUSH_BLOCKED,	/* the kernel takes no more: wait for EPOLLOUT */
	FLUSH_BUDGET,	/* stopped to let others run; call again */
	FLUSH_FAILED,	/* the socket failed, or memory ran out */
	FLUSH_FILE,	/* a file ended before its announced length, or could not be read */
};

/* `buffers`: a pool whose items are `item_size` bytes, not owned. */
void output_init(struct output *o, struct pool *buffers);
/* Drops what waits and releases every hold and buffer. */
void output_clear(struct output *o);

/* Copies. */
void output_add(struct output *o, const void *data, size_t len);
/* Room to write up to `len` bytes in place (len at most OUTPUT_RESERVE_MAX): NULL without memory. */
char *output_reserve(struct output *o, size_t len);
/* `used` of the bytes reserved last were written. */
void output_commit(struct output *o, size_t used);
/* Small ones are copied, bigger ones referred to through the hold. */
void output_add_held(struct output *o, struct span data, struct hold *hold);
void output_add_file(struct output *o, int fd, off_t offset, uint64_t len, struct hold *hold);
/*
 * The next `len` bytes in the pipe, which are in it already; pipe->filled goes down as they leave.  The pipe must stay
 * until `hold` is released; one that is released with bytes in it is to be destroyed.
 */
void output_add_pipe(struct output *o, struct pipe *pipe, unsigned len, struct hold *hold);

/*
 * Writes until done, blocked or `budget` bytes; *ret_written counts the bytes the kernel took.  `has_end`: the caller
 * ends the sending side as soon as all is written; the kernel may then put FIN on the last segment.
 */
enum flush_result output_flush(struct output *o, struct conn *c, uint64_t budget, bool has_end,
			       uint64_t *ret_written);
/* Adds and writes.  Bytes that the kernel takes at once, which is nearly always, are not copied. */
enum flush_result output_send(struct output *o, struct conn *c, const void *data, size_t len, uint64_t *ret_written);

static inline bool output_is_empty(const struct output *o)
{
	return o->queued == 0;
}

/* True when everything that waits is memory (no range of a file, no pipe). */
bool output_is_memory_only(const struct output *o);

#define OUTPUT_RESERVE_MAX 8192

#endif
