/* SPDX-License-Identifier: MIT */
/*
 * The fence around a process that talks to strangers, put up when it has all it needs and before it serves:
 *
 *   seccomp    an allow-list of the system calls that the code makes (sandbox_filter.c)
 *   Landlock   files below the folders that are served may be read, nothing written; TCP connections to the ports of
 *              the upstreams only (sandbox_fence.c)
 *
 * Users, capabilities and no_new_privs come before and whatever the configuration says: privilege.h.
 *
 * The master prepares (sandbox_open), each child enters (sandbox_enter) and never leaves.  With `auto` what this kernel
 * does not have is left out, with `strict` it is an error.
 */
#ifndef SLUICE_PROC_SANDBOX_H
#define SLUICE_PROC_SANDBOX_H

#include <stdint.h>

#include "config/config.h"

enum sandbox_role { SANDBOX_WORKER, SANDBOX_MONITOR, SANDBOX_STORER, SANDBOX_SHARER, SANDBOX_ROLE_COUNT };

struct sandbox {
	enum sandbox_mode mode;
	bool has_seccomp;			/* this kernel has it */
	bool has_udp;				/* workers have datagrams to send */
	int landlock_abi;			/* 0: none in this kernel */
	int fences[SANDBOX_ROLE_COUNT];		/* Landlock rulesets, -1: none; owned */
};

/* Looks what there is and makes the rules, with the master's rights.  0, or -errno after logging why; close it anyway. */
int sandbox_open(struct sandbox *s, const struct config *c);
void sandbox_close(struct sandbox *s);

/*
 * For good; after privilege_drop().  Bits CONFINED_... of stats_shm.h, or -errno: the process must not go on.
 * `refused` counts the system calls that are refused from now on; it must live as long as the process.
 */
int sandbox_enter(const struct sandbox *s, enum sandbox_role role, uint64_t *refused);
/* Logs what has been refused since the last time, each system call once.  Cheap when there is nothing. */
void sandbox_tell(void);

/* What an operator should know who reads the status: NULL, or what is missing. */
const char *sandbox_why(const struct sandbox *s);

#endif
