/* SPDX-License-Identifier: MIT */
/*
 * What `sluice top` shows, without a terminal: from the JSON of two statuses to rows with rates,
 * quantiles of the interval between them, verdicts, and how evenly the connections lie.  Pure: time
 * comes in, nothing is asked.
 */
#ifndef SLUICE_PROC_TOP_MODEL_H
#define SLUICE_PROC_TOP_MODEL_H

#include <jansson.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/hist.h"
#include "steer_shared.h"

#define TOP_VERDICT_MAX 16
#define TOP_HISTORY	256

struct top_slot {
	uint32_t slot, cpu, pid, live, reserved, weight;
	uint64_t accepted, requests, stalls;
	bool is_up, is_stalled;
	char state[12];
	struct hist latency_us;
};

struct top_verdict {
	char name[24];
	uint64_t count;
};

/* One status.  2 MB: on the heap. */
struct top_sample {
	uint64_t at_ns; /* when it was asked for; 0: not filled yet */
	uint64_t pid, uptime_s, runs, program_runs;
	bool is_steering;
	char version[24], state[16], config[256], policy[24], why[160];
	unsigned verdict_count, slot_count;
	struct top_verdict verdicts[TOP_VERDICT_MAX];
	struct top_slot slots[STEER_MAX_SLOTS];
};

/* Bears with missing and odd fields.  -EBADMSG: no object with workers. */
int top_sample_read(struct top_sample *s, const json_t *status, uint64_t at_ns);

struct top_row {
	uint32_t slot, cpu, pid, live, reserved, weight;
	const char *state;		  /* as the server says, or "drained", "stalled" */
	double accept_rate, request_rate; /* a second; negative: not known */
	bool has_times; /* p50 and p99 are known: a request ended in the interval */
	uint64_t p50_us, p99_us;
	uint64_t stalls, new_stalls;
};

enum top_check {
	TOP_RUNS_UNCOUNTED, /* the kernel counts no runs */
	TOP_RUNS_AGREE,
	TOP_RUNS_DIFFER,
};

struct top_verdict_row {
	const char *name;
	uint64_t count;
	double rate; /* negative: not known */
};

struct top_view {
	const struct top_sample *sample;
	double seconds; /* between the samples; 0: there is one only, times are those of the
			   server's life */
	unsigned row_count, verdict_count;
	struct top_row rows[STEER_MAX_SLOTS];
	struct top_row total; /* slot, cpu, pid, weight and state say nothing */
	struct top_verdict_row verdicts[TOP_VERDICT_MAX];
	double run_rate;
	enum top_check check;
	/*
	 * Over the slots that take connections (up, weight above 0), each count first divided by
	 * the slot's share of the weights: 1 is perfect.  Negative while there are no connections.
	 */
	double imbalance;    /* max / mean */
	double sd;	     /* standard deviation, connections */
	unsigned open_count; /* slots that take connections */
};

/*
 * `before` may be NULL, unfilled, or of another server process: then there are no rates.  Borrows
 * `now` (and its strings) for as long as the view is used.
 */
void top_view_make(struct top_view *v, const struct top_sample *before,
		   const struct top_sample *now);

/* The last values of the imbalance; negative: none then. */
struct top_history {
	double values[TOP_HISTORY];
	unsigned count; /* all that were ever pushed */
};

void top_history_push(struct top_history *h, double value);
/* The value `age` steps back (0: the last), or a negative one. */
double top_history_at(const struct top_history *h, unsigned age);
/* Least and greatest of the last `width`; false when there are none. */
bool top_history_range(const struct top_history *h, unsigned width, double *ret_min,
		       double *ret_max);

#endif
