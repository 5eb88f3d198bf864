/* SPDX-License-Identifier: MIT */
/* `stores` of the status: as JSON, and as text. */
#ifndef SLUICE_PROC_STORE_REPORT_H
#define SLUICE_PROC_STORE_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "config/config.h"
#include "store_shm.h"

/*
 * [{"name","path","engine","pid","sandboxed","reads","created", ...}]: each counter of store_shm.h under its own name.  Of
 * one at a redis "redis" and "key_prefix" instead of path, pid and what writers count.
 * `stats`: of each store of `c`; `c` may be NULL.  The caller's; NULL without memory.
 */
json_t *store_report_json(const struct config *c, struct store_stats *const *stats);
/* A line for each; nothing where there are none. */
void store_report_print(const json_t *stores, FILE *out);

#endif
