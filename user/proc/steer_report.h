/* SPDX-License-Identifier: MIT */
/*
 * The answer to `sluice steer`: the policy, what it may be set to and how each slot stands, as JSON
 * and as a table for people.
 */
#ifndef SLUICE_PROC_STEER_REPORT_H
#define SLUICE_PROC_STEER_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "net/steer.h"

/* The caller's; NULL without memory.  `why`: no steering, because of this; NULL: it is active. */
json_t *steer_report_json(const struct steer_explanation *e, const char *why);
/* `explains`: the scores too, the share of imagined connections and how the policy chooses. */
void steer_report_print(const json_t *report, bool explains, FILE *out);

#endif
