/* SPDX-License-Identifier: MIT */
/* Giving up rights for good, in a worker that has just been forked. */
#ifndef SLUICE_PROC_PRIVILEGE_H
#define SLUICE_PROC_PRIVILEGE_H

#include <stdbool.h>
#include <sys/types.h>

struct identity {
	uid_t uid;
	gid_t gid;
	bool is_set;	/* false: stay who we are (the master is not root) */
};

/* Of a user name; -ENOENT for an unknown one.  Not set when this process is not root. */
int identity_of(const char *user, struct identity *ret_identity);
/*
 * Becomes that user without supplementary groups, drops every capability (the bounding set too where allowed) and sets
 * no_new_privs.  0 or -errno; on failure the process must not go on.
 */
int privilege_drop(const struct identity *id);
/* Raises the soft limit of open descriptors to the hard one; returns the limit in force. */
unsigned privilege_raise_files(void);

#endif
