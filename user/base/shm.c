/* SPDX-License-Identifier: MIT */
/* Shared memory with a descriptor; see shm.h. */
#include "base/shm.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int map(struct shm *s, size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	int err;

	if (at == MAP_FAILED) {
		err = -errno;
		shm_free(s);
		return err;
	}
	s->at = at;
	s->size = size;
	return 0;
}

int shm_new(struct shm *s, const char *name, size_t size)
{
	int err;

	*s = (struct shm)SHM_NONE;
	s->fd = memfd_create(name, MFD_CLOEXEC);
	if (s->fd < 0)
		return -errno;
	if (ftruncate(s->fd, (off_t)size) == 0)
		return map(s, size);
	err = -errno;
	shm_free(s);
	return err;
}

int shm_map(struct shm *s, int fd, size_t size)
{
	struct stat st;
	int err;

	*s = (struct shm){ .fd = fd };
	/* Reading behind the end of the file would be a SIGBUS. */
	if (fstat(fd, &st) == 0)
		err = st.st_size >= 0 && (size_t)st.st_size >= size ? 0 : -EINVAL;
	else
		err = -errno;
	if (!err)
		return map(s, size);
	shm_free(s);
	return err;
}

void shm_drop_fd(struct shm *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

void shm_free(struct shm *s)
{
	if (s->at)
		munmap(s->at, s->size);
	shm_drop_fd(s);
	*s = (struct shm)SHM_NONE;
}
