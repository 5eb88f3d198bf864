/* SPDX-License-Identifier: MIT */
/* A study as a table for people and as JSON. */
#include <errno.h>
#include <jansson.h>
#include <math.h>

#include "base/err.h"
#include "sim/sim_study.h"

static const struct column {
	enum sim_metric metric;
	const char *title, *json;
	double scale; /* what a printed 1 is */
	int digits;
} columns[] = {
	{SIM_MEAN_NS, "mean ms", "mean_ms", 1e6, 2},
	{SIM_P50_NS, "p50 ms", "p50_ms", 1e6, 2},
	{SIM_P99_NS, "p99 ms", "p99_ms", 1e6, 2},
	{SIM_P999_NS, "p99.9 ms", "p999_ms", 1e6, 2},
	{SIM_MAX_OF_MEAN, "max/mean", "max_of_mean", 1, 3},
	{SIM_OPEN_SD, "SD open", "open_sd", 1, 2},
	{SIM_STALLED_SHARE, "to stalled %", "stalled_share_percent", 0.01, 3},
};

#define COLUMN_WIDTH 17

static void print_estimate(const struct sim_estimate *e, const struct column *c, FILE *out)
{
	char text[48];

	if (isnan(e->mean))
		snprintf(text, sizeof(text), "-");
	else if (isnan(e->half_width))
		snprintf(text, sizeof(text), "%.*f", c->digits, e->mean / c->scale);
	else
		snprintf(text, sizeof(text), "%.*f +-%.*f", c->digits, e->mean / c->scale,
			 c->digits, e->half_width / c->scale);
	fprintf(out, " %*s", COLUMN_WIDTH, text);
}

static void print_case(const struct sim_case *c, FILE *out)
{
	const struct sim_config *config = &c->plan.config;
	char name[SIM_POLICY_TEXT];
	double rest = 0;

	fprintf(out, "\n%s%s%u slots, %u connections, %.6g a second, n = %u seeds, +- 95 %%\n\n",
		c->label, c->label[0] ? ": " : "", config->slot_count, config->connection_count,
		config->rate, c->plan.seed_count);
	fprintf(out, "%-14s", "policy");
	for (size_t i = 0; i < ARRAY_LEN(columns); i++)
		fprintf(out, " %*s", COLUMN_WIDTH, columns[i].title);
	fputc('\n', out);
	for (unsigned p = 0; p < c->plan.policy_count; p++) {
		fprintf(out, "%-14s", sim_policy_print(c->outcomes[p].policy, name));
		for (size_t i = 0; i < ARRAY_LEN(columns); i++)
			print_estimate(&c->outcomes[p].metrics[columns[i].metric], &columns[i],
				       out);
		fputc('\n', out);
		rest = fmax(rest, c->outcomes[p].fallbacks.mean);
	}
	if (rest > 0)
		fprintf(out, "Up to %.1f connections of a run found no slot: kernel's hash.\n",
			rest);
}

void sim_study_print(const struct sim_study *study, FILE *out)
{
	if (study->scenario)
		fprintf(out, "%s: %s\n", study->scenario->name, study->scenario->summary);
	for (unsigned i = 0; i < study->case_count; i++)
		print_case(&study->cases[i], out);
}

static json_t *estimate_json(const struct sim_estimate *e, double scale)
{
	json_t *mean = isnan(e->mean) ? json_null() : json_real(e->mean / scale);
	json_t *width = isnan(e->half_width) ? json_null() : json_real(e->half_width / scale);

	return json_pack("{s:o, s:o, s:i}", "mean", mean, "ci95", width, "n", (int)e->count);
}

static json_t *outcome_json(const struct sim_outcome *outcome)
{
	char name[SIM_POLICY_TEXT];
	json_t *json = json_pack("{s:s}", "policy", sim_policy_print(outcome->policy, name));

	for (size_t i = 0; json && i < ARRAY_LEN(columns); i++)
		json_object_set_new(
			json, columns[i].json,
			estimate_json(&outcome->metrics[columns[i].metric], columns[i].scale));
	if (json)
		json_object_set_new(json, "kernel_hash", estimate_json(&outcome->fallbacks, 1));
	return json;
}

static json_t *case_json(const struct sim_case *c)
{
	const struct sim_config *config = &c->plan.config;
	json_t *policies = json_array();

	for (unsigned p = 0; p < c->plan.policy_count; p++)
		json_array_append_new(policies, outcome_json(&c->outcomes[p]));
	return json_pack("{s:s, s:I, s:I, s:f, s:o}", "case", c->label, "slots",
			 (json_int_t)config->slot_count, "connections",
			 (json_int_t)config->connection_count, "rate", config->rate, "policies",
			 policies);
}

int sim_study_print_json(const struct sim_study *study, FILE *out)
{
	json_t *settings = json_object(), *cases = json_array(), *root;

	for (unsigned i = 0; i < sim_key_count(); i++)
		json_object_set_new(settings, sim_key_name(i),
				    json_string(study->settings.texts[i]));
	for (unsigned i = 0; i < study->case_count; i++)
		json_array_append_new(cases, case_json(&study->cases[i]));
	root = json_pack("{s:s?, s:o, s:o}", "scenario",
			 study->scenario ? study->scenario->name : NULL, "settings", settings,
			 "cases", cases);
	if (!root)
		return -ENOMEM;
	json_dumpf(root, out, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	fputc('\n', out);
	json_decref(root);
	return 0;
}
