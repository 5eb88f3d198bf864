/* SPDX-License-Identifier: MIT */
/*
 * What a configuration becomes: sites with routes, handlers with their open folders, the cache of open files.  Built by
 * the master with its rights (a folder may be readable only for it), then inherited by the workers; never changed.
 */
#ifndef SLUICE_PROC_RUNTIME_H
#define SLUICE_PROC_RUNTIME_H

#include "http/route.h"
#include "net/loop.h"
#include "proc/config.h"

struct file_cache;

struct runtime {
	const struct config *config;	/* not owned */
	struct site_table *sites;
	struct file_cache *cache;
	const struct loop *loop;	/* of the worker; NULL until it has one */
};

/*
 * `file_limit`: descriptors a worker may open, of which the cache takes at most a quarter.
 * 0 or -errno; what could not be built has then been logged with its place in the file.
 */
int runtime_new(const struct config *config, unsigned file_limit, struct runtime **ret_runtime);
void runtime_free(struct runtime *rt);

#endif
