/* SPDX-License-Identifier: MIT */
/*
 * The upstreams and their servers as JSON: the answer to `sluice upstream`, and `upstreams` of the status.  From the
 * configuration and the shared table alone, so that it says the same whoever asks.
 */
#ifndef SLUICE_PROC_UPSTREAM_REPORT_H
#define SLUICE_PROC_UPSTREAM_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "app/upstream_table.h"
#include "config/config.h"

/*
 * [{"name","balance","servers":[{"server","address","state","weight","backup","active","connections","requests",
 * "failures","timeouts","retries","ejections","check_error", ...}],"queued", ...}]: one row for each address of a server,
 * one with "address": null and the state "unresolved" where a name has none.  The caller's; NULL without memory.
 *
 * "state" is the first that is true of: "unresolved", "drained", "down" (health checks), "ejected" (by what became of
 * requests), "up", "unknown" (not checked).
 */
json_t *upstream_report_json(const struct config *c, const struct upstream_table *t, uint64_t now_ns);
/* `upstreams` of the status as text: a line for each, nothing where there are none. */
void upstream_report_print(const json_t *upstreams, FILE *out);

#endif
