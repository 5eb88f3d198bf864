/* SPDX-License-Identifier: MIT */
/* A pool of pipes; see pipe.h. */
#include "net/pipe.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"

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
}

void pipe_pool_fini(struct pipe_pool *p)
{
	struct list *node;

	while ((node = list_pop_front(&p->free)))
		destroy(p, container_of(node, struct pipe, node));
	p->free_count = 0;
	BUG_ON(p->open_count > 0);
}

static struct pipe *open_pipe(struct pipe_pool *p)
{
	struct pipe *pipe = p->open_count < p->max_count ? malloc(sizeof(*pipe)) : NULL;
	int fds[2], size;

	if (!pipe)
		return NULL;
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0) {
		free(pipe);
		return NULL;
	}
	/* Past the user's allowance the kernel refuses, and the pipe stays as it is. */
	size = fcntl(fds[1], F_SETPIPE_SZ, (int)p->size);
	if (size < 0)
		size = fcntl(fds[1], F_GETPIPE_SZ);
	*pipe = (struct pipe){ .read_fd = fds[0], .write_fd = fds[1], .size = size > 0 ? (unsigned)size : 4096 };
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
}
