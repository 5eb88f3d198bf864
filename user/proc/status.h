/* SPDX-License-Identifier: MIT */
/*
 * The answer to `sluice status`: from the master's live objects to numbers (status_read), from numbers to the JSON that
 * is a contract (status_json), from that JSON to a table for people (status_print).  Only the first looks at anything
 * that changes; the other two are pure.
 */
#ifndef SLUICE_PROC_STATUS_H
#define SLUICE_PROC_STATUS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "app/upstream_table.h"
#include "config/config.h"
#include "module_shm.h"
#include "net/limit_share.h"
#include "net/listener.h"
#include "net/steer.h"
#include "net/udp_listener.h"
#include "proc/sandbox.h"
#include "stats_shm.h"

/* What a worker of an earlier generation still has. */
struct status_draining {
	uint32_t slot, pid, generation, connections, udp_sessions;
};

struct status_udp_listen {
	const struct udp_listener *listener;
	const char *mode;		/* as the file has it */
	bool is_one_way;
	struct udp_verdicts verdicts;
};

/* What the master knows; all borrowed. */
struct status_source {
	const char *version;
	uint32_t pid;			/* master */
	uint64_t started_ns, now_ns;	/* CLOCK_MONOTONIC */
	uint32_t generation;		/* of the configuration in force */
	const char *state;		/* "starting", "running", "stopping" */
	const char *config;		/* path; NULL: made by a one-line command */
	const char *control;		/* path of the control socket */
	const char *pin;		/* folder of the pinned maps; NULL: none */
	const struct stats_block *stats;/* one for each slot, over all generations */
	const struct stats_block *gone;	/* of slots that there are no more, for the totals; NULL: none */
	const struct status_draining *draining;
	unsigned draining_count;
	const struct listener *listens;
	unsigned listen_count;
	const struct status_udp_listen *udp_listens;
	unsigned udp_listen_count;
	const struct config *upstreams;	/* the configuration that names them; NULL: none */
	const struct upstream_table *upstream_table;
	const struct config *stores;	/* likewise */
	struct store_stats *const *store_stats;
	const struct config *modules;	/* likewise */
	const struct module_stats *module_sums;
	const struct limit_table *limits;	/* NULL, or without memory: nothing is counted for clients */
	const struct limit_share *share;	/* NULL, or without memory: other hosts hear nothing of it */
	const struct config_limits *share_config;
	uint32_t sharer_pid;		/* 0: none at the moment */
	const struct sandbox *sandbox;	/* NULL: not known */
	bool has_buckets;		/* the histograms themselves, for who works out those of an interval */
};

struct status_slot {
	uint32_t cpu, pid, live, reserved, pending, weight;
	bool is_up, is_waiting, is_stalled;
	uint64_t stamp_age_ns;
};

/* The steering at one moment. */
struct status_steering {
	const char *policy;		/* name */
	bool is_active, can_migrate;
	const char *why;		/* not active: because of this */
	const char *pin_error;		/* NULL: pinned, or not asked for */
	struct steer_verdicts verdicts;
	uint64_t program_runs;		/* as the kernel counts them; 0: it does not */
	unsigned slot_count;
	struct status_slot slots[STEER_MAX_SLOTS];
};

void status_read(struct steer *s, uint64_t now_ns, struct status_steering *ret_steering);
/* The object of `status --json`; the caller's.  NULL without memory. */
json_t *status_json(const struct status_source *src, const struct status_steering *steering);
/*
 * The same as a table, at most 80 columns wide but for long names.  Bears with missing and unexpected fields (a server
 * of another version).
 */
void status_print(const json_t *status, FILE *out);

/*
 * {"count","p50","p90","p99","p999","max"} of a histogram, in its unit; with `has_buckets` also "buckets":
 * [[value, count],...], eight to a power of two, each with a value from its middle.
 */
json_t *status_quantiles(const struct hist *h, bool has_buckets);

/* status_udp.c: datagrams and sessions of a worker, or of all; `udp` as a whole. */
json_t *status_udp_counters(const struct udp_stats *s, uint64_t session_count);
json_t *status_udp(const struct status_source *src, const struct stats_block *sum);

/* "down", "starting", "running", "draining"; "unknown" for another. */
const char *status_worker_state(uint32_t state);

#endif
