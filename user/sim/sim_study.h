/* SPDX-License-Identifier: MIT */
/* A study: every case, every policy, every seed; and the scenarios that have a name. */
#ifndef SLUICE_PROC_SIM_STUDY_H
#define SLUICE_PROC_SIM_STUDY_H

#include <stdio.h>

#include "sim/sim_keys.h"
#include "sim/sim_stats.h"

#define SIM_CASES_MAX 16

enum sim_plot {
	SIM_PLOT_SOJOURN, /* quantiles of the sojourn time */
	SIM_PLOT_SPREAD,  /* open connections, worker by worker */
};

struct sim_scenario {
	const char *name, *summary;
	enum sim_plot plot;
	const char *settings[16]; /* KEY=VALUE, ended by NULL */
};

/* Ended by a NULL name. */
extern const struct sim_scenario sim_scenarios[];
/* NULL when there is none of that name. */
const struct sim_scenario *sim_scenario_find(const char *name);

/* One policy in one case, over all seeds. */
struct sim_outcome {
	struct sim_policy policy;
	struct sim_estimate metrics[SIM_METRIC_COUNT];
	struct sim_estimate curve_ns[SIM_CURVE_POINTS];
	struct sim_estimate open[STEER_MAX_SLOTS]; /* ascending */
	struct sim_estimate fallbacks;
};

struct sim_case {
	char label[SIM_VALUE_MAX];
	struct sim_plan plan;
	struct sim_outcome *outcomes; /* plan.policy_count of them */
};

struct sim_study {
	const struct sim_scenario *scenario; /* NULL: none */
	struct sim_settings settings;
	struct sim_case cases[SIM_CASES_MAX];
	unsigned case_count;
};

/* Settings: the defaults, then the scenario's (NULL: none).  The rest by sim_settings_set(). */
void sim_study_init(struct sim_study *study, const struct sim_scenario *scenario);
void sim_study_fini(struct sim_study *study);
/* Checks all cases, then runs them.  0, or -errno with a sentence in `error`. */
int sim_study_run(struct sim_study *study, char error[SIM_ERROR_TEXT]);

/* sim_report.c */
void sim_study_print(const struct sim_study *study, FILE *out);
/* 0, or -ENOMEM with nothing printed. */
int sim_study_print_json(const struct sim_study *study, FILE *out);

/* sim_plot.c: an SVG with a panel for each case.  Errors stay in the stream. */
void sim_study_plot(const struct sim_study *study, FILE *out);

#endif
