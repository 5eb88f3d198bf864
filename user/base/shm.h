/* SPDX-License-Identifier: MIT */
/*
 * Memory that several processes share and that has a descriptor (memfd_create(2)), so that it can be passed on to a
 * process that is not a child: what a fork shares an exec would lose.
 */
#ifndef SLUICE_BASE_SHM_H
#define SLUICE_BASE_SHM_H

#include <stddef.h>

struct shm {
	void *at;		/* NULL: nothing is mapped */
	size_t size;		/* bytes */
	int fd;			/* close-on-exec, owned; -1: none (any more), which takes nothing from the mapping */
};

#define SHM_NONE { NULL, 0, -1 }

/* All zero; `name` is what /proc/PID/maps shows.  0 or -errno, and then *s is SHM_NONE. */
int shm_new(struct shm *s, const char *name, size_t size);
/*
 * The memory of another process by its descriptor, which becomes *s's, also on failure.  0; -EINVAL: it is smaller than
 * `size`; or -errno.
 */
int shm_map(struct shm *s, int fd, size_t size);
/* Closes the descriptor only: a process that never passes it on. */
void shm_drop_fd(struct shm *s);
/* Harmless twice. */
void shm_free(struct shm *s);

#endif
