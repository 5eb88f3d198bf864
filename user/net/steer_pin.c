/* SPDX-License-Identifier: MIT */
/*
 * Pins in bpffs, by which bpftool finds the maps:
 *
 *   DIR/steer_slots steer_config steer_weights steer_verdicts     shared by all listen addresses
 *   DIR/steer_socks_N steer_prog_N                                of listen address N
 *
 * DIR belongs to who holds a flock on it.  The kernel drops the lock with its holder, so whatever a
 * new holder finds there was left by a dead process and is replaced.  A failure to pin costs the
 * pins, not the steering.
 */
#include "net/steer_impl.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef BPF_FS_MAGIC
#define BPF_FS_MAGIC 0xcafe4a11
#endif

static const char *const map_names[STEER_MAP_COUNT] = {
	[STEER_MAP_SLOTS] = "steer_slots",
	[STEER_MAP_CONFIG] = "steer_config",
	[STEER_MAP_WEIGHTS] = "steer_weights",
	[STEER_MAP_VERDICTS] = "steer_verdicts",
};

__attribute__((format(printf, 2, 3))) static void fail(struct steer *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(s->pin_error, sizeof(s->pin_error), format, args);
	va_end(args);
}

static int pin(const struct steer *s, const char *name, int fd)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", s->pin_dir, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return bpf_obj_pin(fd, path) ? -errno : 0;
}

/* In the place of what is pinned there, in one step: who looks finds the one or the other. */
static int replace(const struct steer *s, const char *name, int fd)
{
	static const char new_name[] = "steer_new";
	int r = pin(s, new_name, fd);

	if (r)
		return r;
	if (renameat(s->pin_lock_fd, new_name, s->pin_lock_fd, name) == 0)
		return 0;
	r = -errno;
	(void)unlinkat(s->pin_lock_fd, new_name, 0);
	return r;
}

/* Removes every pin of ours below the directory that `fd` has open; nothing else is touched. */
static void unlink_all(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
	const struct dirent *entry;

	if (!dir) {
		if (copy >= 0)
			close(copy);
		return;
	}
	while ((entry = readdir(dir)))
		if (strncmp(entry->d_name, "steer_", 6) == 0)
			(void)unlinkat(fd, entry->d_name, 0);
	closedir(dir);
}

/* Creates `path` and what is missing above it, as mkdir -p. */
static int make_dirs(char *path)
{
	for (char *p = path + 1; *p; p++) {
		int r;

		if (*p != '/')
			continue;
		*p = '\0';
		r = mkdir(path, 0755);
		*p = '/';
		/* EPERM, EACCES, EROFS: perhaps it is there; the last mkdir decides. */
		if (r && (errno == ENOENT || errno == ENOTDIR))
			return -errno;
	}
	return mkdir(path, 0755) && errno != EEXIST ? -errno : 0;
}

/* Is the nearest existing folder at or above `dir` on a bpffs?  Asked before anything is created
 * elsewhere. */
static bool is_on_bpffs(const char *dir)
{
	char path[PATH_MAX];
	struct statfs fs;
	char *slash;

	if (dir[0] != '/' || snprintf(path, sizeof(path), "%s", dir) >= (int)sizeof(path))
		return false;
	while (statfs(path, &fs) != 0) {
		slash = strrchr(path, '/');
		if (errno != ENOENT || !slash || slash == path)
			return false;
		*slash = '\0';
	}
	return (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

/* The pid in the pinned configuration of whoever holds the lock, 0 when it cannot be told. */
static unsigned read_owner(const char *dir)
{
	char path[PATH_MAX];
	struct steer_config config;
	struct bpf_map_info info = {0};
	__u32 key = 0, info_len = sizeof(info);
	int fd;
	unsigned pid = 0;

	if (snprintf(path, sizeof(path), "%s/steer_config", dir) >= (int)sizeof(path))
		return 0;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return 0;
	if (bpf_obj_get_info_by_fd(fd, &info, &info_len) == 0 && info.type == BPF_MAP_TYPE_ARRAY &&
	    info.value_size == sizeof(config) && bpf_map_lookup_elem(fd, &key, &config) == 0)
		pid = config.owner_pid;
	close(fd);
	return pid;
}

/* The lock, held until the process ends.  0, or -errno with the reason told. */
static int take_lock(struct steer *s, const char *dir)
{
	unsigned pid;
	int r;

	s->pin_lock_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->pin_lock_fd < 0) {
		r = -errno;
		fail(s, "cannot open '%s': %s", dir, strerror(-r));
		return r;
	}
	if (flock(s->pin_lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	r = -errno;
	pid = read_owner(dir);
	if (r == -EWOULDBLOCK && pid)
		fail(s, "'%s' belongs to the running process %u: another 'pin' folder is needed",
		     dir, pid);
	else if (r == -EWOULDBLOCK)
		fail(s, "'%s' belongs to another running process: another 'pin' folder is needed",
		     dir);
	else
		fail(s, "cannot lock '%s': %s", dir, strerror(-r));
	close(s->pin_lock_fd);
	s->pin_lock_fd = -1;
	return r;
}

void steer_pin_open(struct steer *s, const char *dir)
{
	int r;

	if (!is_on_bpffs(dir)) {
		fail(s, "'%s' is not on a BPF file system (mount -t bpf bpf /sys/fs/bpf)", dir);
		return;
	}
	s->pin_dir = strdup(dir);
	r = s->pin_dir ? make_dirs(s->pin_dir) : -ENOMEM;
	if (r) {
		fail(s, "cannot create '%s': %s", dir, strerror(-r));
	} else if (take_lock(s, dir) == 0) {
		unlink_all(s->pin_lock_fd);
		for (int i = 0; i < STEER_MAP_COUNT && r == 0; i++)
			r = pin(s, map_names[i], s->map_fds[i]);
		if (r == 0)
			return;
		fail(s, "cannot pin in '%s': %s", dir, strerror(-r));
		steer_pin_close(s);
	}
	free(s->pin_dir);
	s->pin_dir = NULL;
}

void steer_pin_close(struct steer *s)
{
	if (s->pin_lock_fd < 0)
		return;
	unlink_all(s->pin_lock_fd);
	(void)rmdir(s->pin_dir); /* ENOTEMPTY: something in it is not ours */
	close(s->pin_lock_fd);
	s->pin_lock_fd = -1;
}

void steer_pin_address(struct steer *s, unsigned id, int socks_fd, int prog_fd)
{
	char name[32];
	int r;

	if (s->pin_lock_fd < 0)
		return;
	snprintf(name, sizeof(name), "steer_socks_%u", id);
	r = replace(s, name, socks_fd);
	if (r == 0) {
		snprintf(name, sizeof(name), "steer_prog_%u", id);
		r = replace(s, name, prog_fd);
	}
	if (r)
		fail(s, "cannot pin '%s/%s': %s", s->pin_dir, name, strerror(-r));
}

void steer_pin_anew(struct steer *s)
{
	if (s->pin_lock_fd < 0)
		return;
	for (int i = 0; i < STEER_MAP_COUNT; i++) {
		int r = replace(s, map_names[i], s->map_fds[i]);

		if (r)
			fail(s, "cannot pin '%s/%s': %s", s->pin_dir, map_names[i], strerror(-r));
	}
	steer_pin_addresses(s);
}

void steer_unpin_address(struct steer *s, unsigned id)
{
	char name[32];

	if (s->pin_lock_fd < 0)
		return;
	snprintf(name, sizeof(name), "steer_socks_%u", id);
	(void)unlinkat(s->pin_lock_fd, name, 0);
	snprintf(name, sizeof(name), "steer_prog_%u", id);
	(void)unlinkat(s->pin_lock_fd, name, 0);
}
