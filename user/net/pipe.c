/* SPDX-License-Identifier: MIT */
/* A pool of pipes; see pipe.h. */
#include "net/pipe.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"

/* Of a smaller one each filling takes two calls that a read and a write into a buffer do without. */
#define SIZE_MIN 65536u

void pipe_pool_init(struct pipe_pool *p, unsigned size, unsigned keep_count, unsigned max_count)
{
	*p = (struct pipe_pool){ .size = size, .keep_count = keep_count, .max_count = max_count };
	list_init(&p->free);
}

static void destroy(struct pipe_pool *p, struct pipe *pipe)
{
	close(pipe->read_fd);
	close(pipe->write_fd);
	free(pipe);
	p->open_count--;
	p->is_starved = false;
}

void pipe_pool_fini(struct pipe_pool *p)
{
	struct list *node;

	while ((node = list_pop_front(&p->free)))
		destroy(p, container_of(node, struct pipe, node));
	p->free_count = 0;
	BUG_ON(p->open_count > 0);
}

/*
 * Past the user's allowance the kernel refuses the size, and the pipe stays as it is: of 64 KiB, or of two pages once the
 * allowance is used up (pipe(7), pipe-user-pages-soft).  Bytes, or -1: that would be too small.
 */
static int set_size(const struct pipe_pool *p, int fd)
{
	int size = fcntl(fd, F_SETPIPE_SZ, (int)p->size);

	if (size < 0)
		size = fcntl(fd, F_GETPIPE_SZ);
	return size >= (int)MIN(p->size, SIZE_MIN) ? size : -1;
}

static bool open_ends(const struct pipe_pool *p, struct pipe *pipe)
{
	int fds[2], size;

	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0)
		return false;
	size = set_size(p, fds[1]);
	if (size < 0) {
		close(fds[0]);
		close(fds[1]);
		return false;
	}
	*pipe = (struct pipe){ .read_fd = fds[0], .write_fd = fds[1], .size = (unsigned)size };
	return true;
}

static struct pipe *open_pipe(struct pipe_pool *p)
{
	struct pipe *pipe;

	if (p->open_count >= p->max_count || (p->is_starved && p->open_count > 0))
		return NULL;
	pipe = malloc(sizeof(*pipe));
	if (!pipe)
		return NULL;
	if (!open_ends(p, pipe)) {
		p->is_starved = true;
		free(pipe);
		return NULL;
	}
	p->open_count++;
	return pipe;
}

struct pipe *pipe_get(struct pipe_pool *p)
{
	struct list *node = list_pop_front(&p->free);

	if (!node)
		return open_pipe(p);
	p->free_count--;
	return container_of(node, struct pipe, node);
}

void pipe_put(struct pipe_pool *p, struct pipe *pipe)
{
	if (!pipe)
		return;
	if (pipe->filled > 0 || p->free_count >= p->keep_count) {
		destroy(p, pipe);
		return;
	}
	list_push_front(&p->free, &pipe->node);
	p->free_count++;
	p->is_starved = false;
}
