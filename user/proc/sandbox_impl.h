/* SPDX-License-Identifier: MIT */
/* Between sandbox.c (modes), sandbox_fence.c (Landlock) and sandbox_filter.c (seccomp); for the unit test too. */
#ifndef SLUICE_PROC_SANDBOX_IMPL_H
#define SLUICE_PROC_SANDBOX_IMPL_H

#include "proc/sandbox.h"

/* Version of Landlock in this kernel, 0: none. */
int fence_abi(void);
/* A ruleset for that role; descriptor or -errno, logged.  Some folders may be missing: what is not there is not served. */
int fence_new(int abi, enum sandbox_role role, const struct config *c);
/* Needs no_new_privs.  0 or -errno. */
int fence_enter(int ruleset);

bool filter_is_possible(void);
/* The same for good.  `has_udp`: a worker sends and receives datagrams.  `is_strict`: what is not on the list kills. */
int filter_enter(enum sandbox_role role, bool has_udp, bool is_strict, uint64_t *refused);

#endif
