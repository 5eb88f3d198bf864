/* SPDX-License-Identifier: MIT */
/*
 * openat2(2) and what stands in for it.  Without openat2 the path is walked component by component
 * with O_NOFOLLOW: as safe, but links that stay below the folder are refused too.
 */
#include "app/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel gives up with EAGAIN when a rename anywhere crosses a ".." it is resolving. */
#define RACE_TRIES 8

static int openat2_once(const struct beneath *b, const char *path, int flags)
{
	struct open_how how = {
		.flags = (unsigned)flags,
		.resolve = RESOLVE_NO_MAGICLINKS | (b->leaves_root ? 0 : RESOLVE_BENEATH),
	};
	long fd;

	do
		fd = syscall(SYS_openat2, b->fd, path, &how, sizeof(how));
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : (int)fd;
}

static bool has_dotdot(const char *path)
{
	for (const char *at = path; (at = strstr(at, "..")); at += 2) {
		bool starts = at == path || at[-1] == '/';

		if (starts && (at[2] == '/' || at[2] == '\0'))
			return true;
	}
	return false;
}

static int open_component(int dir, const char *name, int flags)
{
	int fd = openat(dir, name, flags | O_NOFOLLOW);
	struct stat st;

	if (fd < 0)
		return -errno;
	/* O_PATH | O_NOFOLLOW opens the link itself. */
	if ((flags & O_PATH) && (fstat(fd, &st) || S_ISLNK(st.st_mode))) {
		close(fd);
		return -ELOOP;
	}
	return fd;
}

static int walk(const struct beneath *b, const char *path, int flags)
{
	int dir = b->fd;

	for (;;) {
		size_t len = strcspn(path, "/");
		const char *rest = path + len + strspn(path + len, "/");
		bool is_last = *rest == '\0';
		bool is_dir = path[len] == '/';
		char name[NAME_MAX + 1];
		int fd;

		if (len > NAME_MAX)
			fd = -ENAMETOOLONG;
		else {
			memcpy(name, path, len);
			name[len] = '\0';
			fd = open_component(dir, len ? name : ".",
					    is_last ? flags | (is_dir ? O_DIRECTORY : 0)
						    : O_PATH | O_DIRECTORY | O_CLOEXEC);
		}
		if (dir != b->fd)
			close(dir);
		if (fd < 0 || is_last)
			return fd;
		dir = fd;
		path = rest;
	}
}

static int open_without_openat2(const struct beneath *b, const char *path, int flags)
{
	int fd;

	if (path[0] == '/' || has_dotdot(path))
		return -EXDEV;
	if (!b->leaves_root)
		return walk(b, path, flags);
	fd = openat(b->fd, path, flags);
	return fd < 0 ? -errno : fd;
}

int beneath_open(struct beneath *b, const char *path, int flags)
{
	int fd = -EAGAIN;

	if (path[0] == '\0')
		path = ".";
	flags |= O_CLOEXEC;
	if (!(flags &
	      O_PATH)) /* openat2 refuses to ignore flags that O_PATH leaves without meaning */
		flags |= O_NONBLOCK | O_NOCTTY;
	for (int i = 0; i < RACE_TRIES && fd == -EAGAIN && !b->has_no_openat2; i++) {
		fd = openat2_once(b, path, flags);
		if (fd == -ENOSYS)
			b->has_no_openat2 = true;
	}
	return b->has_no_openat2 ? open_without_openat2(b, path, flags) : fd;
}

int beneath_stat(struct beneath *b, const char *path, struct stat *ret_st)
{
	int fd = beneath_open(b, path, O_PATH);
	int err;

	if (fd < 0)
		return fd;
	err = fstat(fd, ret_st) ? -errno : 0;
	close(fd);
	return err;
}

int beneath_init(struct beneath *b, const char *root, bool leaves_root)
{
	int fd;

	*b = (struct beneath){.fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC),
			      .leaves_root = leaves_root};
	if (b->fd < 0)
		return -errno;
	/* Old container sandboxes answer EPERM to system calls they do not know; ask once, on the
	 * folder itself. */
	fd = openat2_once(b, ".", O_PATH | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	b->has_no_openat2 = fd == -ENOSYS || fd == -EPERM;
	return 0;
}

bool beneath_is_fenced(struct beneath *b)
{
	int fd = beneath_open(b, ".", O_RDONLY | O_DIRECTORY);

	if (fd >= 0)
		close(fd);
	return fd == -EACCES && faccessat(b->fd, ".", R_OK, 0) == 0;
}

void beneath_fini(struct beneath *b)
{
	if (b->fd >= 0)
		close(b->fd);
	b->fd = -1;
}
