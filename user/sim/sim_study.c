/* SPDX-License-Identifier: MIT */
/* Runs a study.  The seeds are the same for every policy, so that all meet the same connections. */
#include "sim/sim_study.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct sim_scenario sim_scenarios[] = {
	{"burst",
	 "256 SYNs in one moment, accepted late, one worker three connections lighter",
	 SIM_PLOT_SPREAD,
	 {"slots=8", "connections=256", "rate=0", "burst=256", "held=5", "lighter=3", "lag=100ms",
	  "service=const:0.1ms", "life=const:60s", "warmup=0", "seeds=100", NULL}},
	{"long-lived",
	 "connections that stay open for a minute on average",
	 SIM_PLOT_SPREAD,
	 {"slots=16", "connections=22000", "rate=1100", "service=const:0.1ms", "life=exp:60s",
	  "lag=0.2ms,20ms,100ms", "warmup=0", "seeds=20", NULL}},
	{"exponential",
	 "requests of 1 ms on average, exponentially distributed",
	 SIM_PLOT_SOJOURN,
	 {"slots=16", "connections=200000", "load=0.7", "service=exp:1ms", "lag=0.2ms,20ms,100ms",
	  NULL}},
	{"bimodal",
	 "cheap requests, and 1 % that take 50 ms",
	 SIM_PLOT_SOJOURN,
	 {"slots=16", "connections=200000", "load=0.7", "service=bimodal:0.505ms:50ms:1%",
	  "lag=0.2ms,20ms,100ms", "stall=0", NULL}},
	{"stall",
	 "one worker is stopped for 400 ms while it waits; nobody looks after it, or the master "
	 "does",
	 SIM_PLOT_SOJOURN,
	 {"slots=16", "connections=60000", "load=0.7", "service=exp:1ms", "stall-at=2s",
	  "stall-for=400ms", "stall-kind=stopped", "stall=0,20ms", "seeds=20", NULL}},
	{NULL, NULL, SIM_PLOT_SOJOURN, {NULL}},
};

const struct sim_scenario *sim_scenario_find(const char *name)
{
	for (const struct sim_scenario *s = sim_scenarios; s->name; s++) {
		if (strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

void sim_study_init(struct sim_study *study, const struct sim_scenario *scenario)
{
	char error[SIM_ERROR_TEXT];

	memset(study, 0, sizeof(*study));
	study->scenario = scenario;
	sim_settings_init(&study->settings);
	for (unsigned i = 0; scenario && scenario->settings[i]; i++)
		sim_settings_set(&study->settings, scenario->settings[i], error);
}

void sim_study_fini(struct sim_study *study)
{
	for (unsigned i = 0; i < study->case_count; i++)
		free(study->cases[i].outcomes);
	study->case_count = 0;
}

/* All the figures at one place of the result, over the seeds. */
static struct sim_estimate over_seeds(const struct sim_result *results, unsigned count,
				      const double *first, double *values)
{
	size_t stride = sizeof(*results);

	for (unsigned i = 0; i < count; i++)
		memcpy(&values[i], (const char *)first + i * stride, sizeof(values[i]));
	return sim_estimate(values, count);
}

static void sum_up(const struct sim_result *results, const struct sim_plan *plan,
		   struct sim_outcome *outcome)
{
	double values[SIM_SEEDS_MAX];
	unsigned n = plan->seed_count;

	for (unsigned i = 0; i < SIM_METRIC_COUNT; i++)
		outcome->metrics[i] = over_seeds(results, n, &results->metrics[i], values);
	for (unsigned i = 0; i < SIM_CURVE_POINTS; i++)
		outcome->curve_ns[i] = over_seeds(results, n, &results->curve_ns[i], values);
	for (unsigned i = 0; i < plan->config.slot_count; i++)
		outcome->open[i] = over_seeds(results, n, &results->open[i], values);
	for (unsigned i = 0; i < n; i++)
		values[i] = results[i].fallbacks;
	outcome->fallbacks = sim_estimate(values, n);
}

static int run_case(struct sim_case *c)
{
	struct sim_result *results = calloc(c->plan.seed_count, sizeof(*results));
	int err = 0;

	c->outcomes = calloc(c->plan.policy_count, sizeof(*c->outcomes));
	if (!results || !c->outcomes)
		err = -ENOMEM;
	for (unsigned p = 0; !err && p < c->plan.policy_count; p++) {
		c->outcomes[p].policy = c->plan.policies[p];
		for (unsigned i = 0; !err && i < c->plan.seed_count; i++)
			err = sim_run(&c->plan.config, c->plan.policies[p],
				      (uint64_t)c->plan.seed + i, &results[i]);
		if (!err)
			sum_up(results, &c->plan, &c->outcomes[p]);
	}
	free(results);
	return err;
}

int sim_study_run(struct sim_study *study, char error[SIM_ERROR_TEXT])
{
	int count = sim_settings_cases(&study->settings, error), err = 0;

	if (count < 0)
		return count;
	if (count > SIM_CASES_MAX) {
		snprintf(error, SIM_ERROR_TEXT, "at most %d values for one key", SIM_CASES_MAX);
		return -EINVAL;
	}
	study->case_count = (unsigned)count;
	/* All are checked before the first runs: nobody waits a minute to learn of a mistyped
	 * value. */
	for (unsigned i = 0; !err && i < study->case_count; i++)
		err = sim_settings_plan(&study->settings, i, &study->cases[i].plan,
					study->cases[i].label, error);
	for (unsigned i = 0; !err && i < study->case_count; i++) {
		err = run_case(&study->cases[i]);
		if (err)
			snprintf(error, SIM_ERROR_TEXT, "cannot run: %s", strerror(-err));
	}
	return err;
}
