/* SPDX-License-Identifier: MIT */
/*
 * The settings of a simulation as KEY=VALUE: one table for reading, checking, printing and help.
 * One key may have several values, separated by commas: one case for each.
 */
#ifndef SLUICE_PROC_SIM_KEYS_H
#define SLUICE_PROC_SIM_KEYS_H

#include <stdio.h>

#include "sim/sim_model.h"

#define SIM_POLICIES_MAX 24
#define SIM_SEEDS_MAX	 1000
#define SIM_KEYS_MAX	 32
#define SIM_ERROR_TEXT	 200
#define SIM_VALUE_MAX	 128 /* characters, with NUL */

/* What one case is run with. */
struct sim_plan {
	struct sim_config config;
	double load; /* of the workers; with rate 0 the rate follows from it */
	struct sim_policy policies[SIM_POLICIES_MAX];
	unsigned policy_count;
	uint32_t seed_count;
	uint32_t seed; /* the first */
};

/* The text of each key, in the order of the table. */
struct sim_settings {
	char texts[SIM_KEYS_MAX][SIM_VALUE_MAX];
};

/* The default values. */
void sim_settings_init(struct sim_settings *s);
/* "KEY=VALUE".  0, or -EINVAL with a sentence in `error`; values are only looked at by
 * sim_settings_plan(). */
int sim_settings_set(struct sim_settings *s, const char *assignment, char error[SIM_ERROR_TEXT]);
/* Cases there are: 1, or the number of values of the key that has several.  -EINVAL when two keys
 * have. */
int sim_settings_cases(const struct sim_settings *s, char error[SIM_ERROR_TEXT]);
/*
 * Case number `index`.  *ret_label: "lag=20ms", or "" when there is one case.  0, or -EINVAL with a
 * sentence.
 */
int sim_settings_plan(const struct sim_settings *s, unsigned index, struct sim_plan *ret_plan,
		      char ret_label[SIM_VALUE_MAX], char error[SIM_ERROR_TEXT]);

unsigned sim_key_count(void);
const char *sim_key_name(unsigned key);
/* One line for each key: name, default, meaning. */
void sim_keys_print(FILE *out);

/* "least", "least:accept".  Returns out. */
#define SIM_POLICY_TEXT 32
char *sim_policy_print(struct sim_policy policy, char out[SIM_POLICY_TEXT]);

#endif
