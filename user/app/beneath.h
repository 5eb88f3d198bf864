/* SPDX-License-Identifier: MIT */
/*
 * Files below a folder and never outside of it: the kernel resolves every path under
 * RESOLVE_BENEATH, so that no "..", no symbolic link and no race with a rename can leave the
 * folder.
 */
#ifndef SLUICE_APP_BENEATH_H
#define SLUICE_APP_BENEATH_H

#include <stdbool.h>
#include <sys/stat.h>

struct beneath {
	int fd;		  /* of the folder, O_PATH; -1: none */
	bool leaves_root; /* links may lead outside; magic links of /proc are refused all the same
			   */
	bool has_no_openat2; /* kernel before 5.6, or a sandbox that forbids it: links are not
				followed at all */
};

/* Opens the folder.  0 or -errno (-ENOTDIR, -ENOENT, -EACCES). */
int beneath_init(struct beneath *b, const char *root, bool leaves_root);
/*
 * True where the permissions let us read the folder and the kernel refuses all the same: it is outside of what a sandbox
 * has been told of.
 */
bool beneath_is_fenced(struct beneath *b);
void beneath_fini(struct beneath *b);

/*
 * `path` is relative ("" is the folder itself); O_CLOEXEC, O_NONBLOCK and O_NOCTTY are added to
 * `flags`. A descriptor, or -errno: -EXDEV for what leaves the folder, -ELOOP also for a link that
 * may not be followed, -EAGAIN when renames kept getting in the way.
 */
int beneath_open(struct beneath *b, const char *path, int flags);

/* Looks without opening: wakes no FIFO, touches no device, needs no permission to read. 0 or
 * -errno. */
int beneath_stat(struct beneath *b, const char *path, struct stat *ret_st);

#endif
