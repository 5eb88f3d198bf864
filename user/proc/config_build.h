/* SPDX-License-Identifier: MIT */
/* From what libconfuse parsed to struct config: values, addresses, names; then what must fit
 * together. */
#ifndef SLUICE_PROC_CONFIG_BUILD_H
#define SLUICE_PROC_CONFIG_BUILD_H

#include "proc/config_confuse.h"

/* Fills the defaults of `c` with what was written.  0 or -ENOMEM; faults go to f. */
int config_build(struct config_faults *f, cfg_t *cfg, struct config *c);
/* What only shows on the whole: duplicates, sections that are missing, values that contradict each
 * other. */
void config_check(struct config_faults *f, cfg_t *cfg, const struct config *c);

/* A route and a listener at their defaults, without anything of their own. 0 or -ENOMEM. */
int config_listen_init(struct config_listen *l);
int config_route_init(struct config_route *r);

#endif
