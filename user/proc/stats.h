/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_PROC_STATS_H
#define SLUICE_PROC_STATS_H

#include "stats_shm.h"

/* Adds all that is counted; what a block says of its worker is left alone. */
void stats_add(struct stats_block *to, const struct stats_block *from);

#endif
