/* SPDX-License-Identifier: MIT */
/* `modules` of the status: as JSON, and as text. */
#ifndef SLUICE_PROC_MODULE_REPORT_H
#define SLUICE_PROC_MODULE_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "config/config.h"
#include "module_shm.h"

/*
 * [{"path","in_flight","requests", ...}]: each counter of module_shm.h under its own name.  `sums`: of each module of `c`;
 * either may be NULL.  The caller's; NULL without memory.
 */
json_t *module_report_json(const struct config *c, const struct module_stats *sums);
/* A line for each; nothing where there are none. */
void module_report_print(const json_t *modules, FILE *out);

#endif
