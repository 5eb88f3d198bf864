/* SPDX-License-Identifier: MIT */
/*
 * A host of any size as a discrete-event model: connections arrive, steer_pick() of
 * include/steer_policy.h, the text that the kernel program compiles, gives each to a worker, which
 * accepts and serves them one after the other.  Knows no command line and prints nothing.
 *
 *   SYN --lag--> ready --worker not stalled--> accepted --queue--> served --life--> closed
 *    reserves                                   cancels, live + 1                    live - 1
 *
 * What is simpler than the real thing: a request of a worker's queue is one turn of its loop, the
 * network loses nothing, the program's clock is exact, and one worker at most stalls.
 */
#ifndef SLUICE_PROC_SIM_MODEL_H
#define SLUICE_PROC_SIM_MODEL_H

#include <linux/types.h>
#include <stdbool.h>
#include <stdint.h>

#include "sim/sim_dist.h"
#include "steer_shared.h"

#define SIM_CONNECTIONS_MAX 20000000u

enum sim_stall_kind {
	SIM_STALL_BUSY,	   /* the worker is in an endless request */
	SIM_STALL_STOPPED, /* SIGSTOP: at the first moment it waits for work */
};

struct sim_config {
	/* Host and traffic. */
	uint32_t slot_count;
	uint32_t connection_count;
	double rate;		 /* connections a second, Poisson; 0: herds only */
	struct sim_dist service; /* of the one request of a connection */
	struct sim_dist life;	 /* how long it stays open after that */
	uint64_t lag_ns;	 /* from the SYN until the worker can accept */
	bool accepts_when_free;	 /* accepts between requests only, not at once */
	uint32_t herd_size;	 /* SYNs in the same moment */
	uint64_t herd_every_ns;	 /* the first after so long; 0: one herd, at the start */
	uint32_t held, lighter; /* connections each worker has open at the start, and how many fewer
				   one has */
	double warmup;		/* share of the connections that is not counted */
	/* struct steer_config. */
	uint64_t bucket_ns, stall_ns;
	uint32_t choices, band, pending_weight;
	/* One worker that stalls. */
	uint32_t stalled_slot;
	uint64_t stalls_at_ns, stalls_for_ns; /* for 0: none does */
	enum sim_stall_kind stall_kind;
	bool watches; /* the master finds it and siblings serve its queue */
};

struct sim_policy {
	enum steer_policy_id id;
	bool counts_at_accept; /* no reservations, whatever bucket_ns says */
};

/* One figure of a run.  NAN: has no meaning in this run. */
enum sim_metric {
	SIM_MEAN_NS, /* sojourn: from being ready to be accepted until the response is out */
	SIM_P50_NS,
	SIM_P99_NS,
	SIM_P999_NS,
	SIM_MAX_OF_MEAN, /* connections of the worker that got most, to the mean; in each herd where
			    there are any */
	SIM_OPEN_SD, /* connections given to a worker and not closed: standard deviation over the
			workers */
	SIM_STALLED_SHARE, /* SYNs later than SIM_STALL_GRACE_NS into the stall: share that the
			      stalled worker got */
	SIM_METRIC_COUNT,
};

#define SIM_STALL_GRACE_NS 20000000ull

/* The quantiles of a curve go from 50 % to 99.99 %, closer and closer to 100 %. */
#define SIM_CURVE_POINTS 33

struct sim_result {
	double metrics[SIM_METRIC_COUNT];
	double curve_ns[SIM_CURVE_POINTS];  /* quantiles of the sojourn time */
	double open[STEER_MAX_SLOTS];	    /* open connections of the workers after the last SYN,
					       ascending */
	uint32_t assigned[STEER_MAX_SLOTS]; /* counted connections of each slot */
	uint32_t counted;		    /* connections in all of this */
	uint32_t fallbacks;		    /* the policy chose no slot, the kernel's hash did */
	uint64_t fingerprint; /* of the whole run: equal when and only when nothing differs */
};

/* 1 minus quantile number `point`: 0.5 to 0.0001, in equal ratios. */
double sim_curve_tail(unsigned point);
/* What is wrong with it for a user, or NULL.  Static text. */
const char *sim_config_fault(const struct sim_config *config);
/* The same config, policy and seed give the same result.  0, -EINVAL (see sim_config_fault) or
 * -ENOMEM. */
int sim_run(const struct sim_config *config, struct sim_policy policy, uint64_t seed,
	    struct sim_result *ret_result);

#endif
