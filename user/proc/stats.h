/* SPDX-License-Identifier: MIT */
/*
 * Blocks of statistics: sums, and reading those of a program of another version.  There a block may have other counters at
 * other places; where each lies is described by name, so that what both know goes on counting over an upgrade.
 */
#ifndef SLUICE_PROC_STATS_H
#define SLUICE_PROC_STATS_H

#include <jansson.h>
#include <stdbool.h>

#include "stats_shm.h"

/* Adds all that is counted; what a block says of its worker is left alone. */
void stats_add(struct stats_block *to, const struct stats_block *from);

/* What a worker has at the moment.  It stands among counters, which are added up after its end. */
void stats_forget_gauges(struct stats_block *b);

/* {"size":BYTES,"counters":{NAME:[OFFSET,COUNT]},"states":{NAME:OFFSET},"latency_us":[OFFSET,BYTES]}; NULL without memory. */
json_t *stats_layout(void);
/* Bytes from one block to the next; 0: that is no layout. */
size_t stats_layout_size(const json_t *layout);
/* Adds what a block of that layout counts as far as it is known here, and takes over what it says of its worker. */
void stats_import(struct stats_block *to, const void *block, const json_t *layout);

#endif
