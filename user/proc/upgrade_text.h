/* SPDX-License-Identifier: MIT */
/*
 * The text that goes from master to master in an upgrade: JSON, written by upgrade_text.c, read by elder*.c.  Numbers
 * called "fd", or that stand in a list of descriptors, are places in the bundle; -1 is none.
 *
 *   {"protocol":1, "version", "pid", "number":last generation, "started_ns",
 *    "user", "control", "pin", "is_control_given", "is_pin_given", "control_fd",
 *    "stderr":FD,
 *    "inherited":[FD...], "owners":FD, "past":FD, "elders":[FD...],
 *    "layouts":{"inbox","upstreams","verdicts"}, "stats":see stats.h,
 *    "steering":{"slots","is_active","can_migrate","why","policy",...,"weights":[],"drained":[],"verdicts":FD,
 *                "pin_dir","pin_error","pin_lock":FD,"runs","addresses":[[SOCKS,PROG]...]},
 *    "inboxes":{"waiting":FD,"fds":[READ,WRITE,...]},
 *    "generations":[{"number","workers","elder":place among the elders or -1,"stats":FD,"endpoints","upstreams":FD,"now":[]}...],
 *    "config":{"drain","sites","routes","listens":[...],"upstreams":[...],"redis":[...],"steering":{...}}}
 *
 * The last generation is the one in force, and config is what of its configuration the next one is compared with.
 *
 * A layout is a name with a number, to be raised when fields change their meaning, and sizes, in case somebody forgets.
 */
#ifndef SLUICE_PROC_UPGRADE_TEXT_H
#define SLUICE_PROC_UPGRADE_TEXT_H

#include <stdio.h>

#include "app/upstream_table.h"
#include "http/server.h"
#include "net/steer.h"

#define UPGRADE_LAYOUT_SIZE 64

enum upgrade_layout { LAYOUT_INBOX, LAYOUT_UPSTREAMS, LAYOUT_VERDICTS, LAYOUT_COUNT };

static inline const char *upgrade_layout_key(enum upgrade_layout l)
{
	static const char *const keys[] = { "inbox", "upstreams", "verdicts" };

	return keys[l];
}

static inline const char *upgrade_layout(enum upgrade_layout l, char out[UPGRADE_LAYOUT_SIZE])
{
	static const struct {
		const char *name;
		size_t sizes[2];
	} layouts[] = {
		[LAYOUT_INBOX] = { "sluice-layout-inbox-1", { sizeof(struct server_guest), 0 } },
		[LAYOUT_UPSTREAMS] = { "sluice-layout-upstreams-1",
				       { sizeof(struct upstream_endpoint), sizeof(struct upstream_counters) } },
		[LAYOUT_VERDICTS] = { "sluice-layout-verdicts-1", { sizeof(struct steer_verdicts), 0 } },
	};

	snprintf(out, UPGRADE_LAYOUT_SIZE, "%s/%zu/%zu", layouts[l].name, layouts[l].sizes[0], layouts[l].sizes[1]);
	return out;
}

#endif
