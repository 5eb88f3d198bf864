/* SPDX-License-Identifier: MIT */
/* The simulator against what is known in closed form, and its settings, reports and charts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>

#include "base/compat.h"
#include "base/err.h"
#include "cli/cli.h"
#include "net/steer.h"
#include "sim/sim_queue.h"
#include "sim/sim_study.h"

#define SEEDS 20

/* Those that are about statistics alone make the same runs under sanitizers, ten times slower: one row of each there. */
#define ROWS(table) (COMPAT_IS_SANITIZED ? 1 : ARRAY_LEN(table))

static const struct sim_policy hash = {.id = STEER_HASH};
static const struct sim_policy least = {.id = STEER_LEAST};
static const struct sim_policy least_at_accept = {STEER_LEAST, true};

/* The plan of a scenario with some keys changed; `changes` are separated by blanks. */
static struct sim_plan plan_of(const char *scenario, const char *changes)
{
	char error[SIM_ERROR_TEXT] = "", label[SIM_VALUE_MAX], text[512], *save = NULL;
	struct sim_study *study = malloc(sizeof(*study));
	struct sim_plan plan;

	assert_non_null(study);
	sim_study_init(study, scenario ? sim_scenario_find(scenario) : NULL);
	snprintf(text, sizeof(text), "%s", changes);
	for (char *c = strtok_r(text, " ", &save); c; c = strtok_r(NULL, " ", &save))
		if (sim_settings_set(&study->settings, c, error) < 0)
			fail_msg("%s", error);
	if (sim_settings_plan(&study->settings, 0, &plan, label, error) < 0)
		fail_msg("%s", error);
	free(study);
	return plan;
}

/* Two metrics of the same runs. */
static void measure_two(const struct sim_plan *plan, struct sim_policy policy, const enum sim_metric metrics[2],
			unsigned seeds, struct sim_estimate ret[2])
{
	double values[2][SEEDS];
	struct sim_result result;

	assert_true(seeds <= SEEDS);
	for (unsigned i = 0; i < seeds; i++) {
		assert_int_equal(sim_run(&plan->config, policy, i + 1, &result), 0);
		for (unsigned k = 0; k < 2; k++)
			values[k][i] = result.metrics[metrics[k]];
	}
	for (unsigned k = 0; k < 2; k++)
		ret[k] = sim_estimate(values[k], seeds);
}

static struct sim_estimate measure(const struct sim_plan *plan, struct sim_policy policy,
				   enum sim_metric metric, unsigned seeds)
{
	const enum sim_metric metrics[] = {metric, metric};
	struct sim_estimate both[2];

	measure_two(plan, policy, metrics, seeds, both);
	return both[0];
}

/* The interval must hold the true value and be narrow enough to mean something. */
static void assert_estimates(const char *what, struct sim_estimate e, double truth)
{
	if (!(fabs(e.mean - truth) <= e.half_width))
		fail_msg("%s: %g +- %g, should be %g", what, e.mean, e.half_width, truth);
	if (!(e.half_width < 0.05 * truth))
		fail_msg("%s: +- %g is too wide for %g", what, e.half_width, truth);
}

static void sim_run__depends_on_the_seed_only(void **state)
{
	struct sim_plan plan = plan_of("exponential", "connections=20000 life=exp:5ms");
	struct sim_result first, second;

	for (int id = 0; id < STEER_POLICY_COUNT; id++) {
		struct sim_policy policy = {.id = (enum steer_policy_id)id};

		memset(&first, 0xaa, sizeof(first));
		memset(&second, 0x55, sizeof(second));
		assert_int_equal(sim_run(&plan.config, policy, 7, &first), 0);
		assert_int_equal(sim_run(&plan.config, policy, 7, &second), 0);
		assert_memory_equal(&first, &second, sizeof(first));
		assert_int_equal(sim_run(&plan.config, policy, 8, &second), 0);
		assert_true(first.fingerprint != second.fingerprint);
	}
}

/* One worker is M/G/1: means by Pollaczek and Khinchine, and for M/M/1 the quantiles too. */
static void sim_run__one_worker_is_a_queue_of_the_books(void **state)
{
	static const struct {
		const char *service;
		double load, mean_ms, p99_ms; /* 0: not known in closed form */
	} rows[] = {
		{"exp:1ms", 0.5, 2, 9.2103},
		{"exp:1ms", 0.7, 3.33333, 15.3506},
		{"const:1ms", 0.7, 2.16667, 0},
		/* Second moment 0.99 * 0.505^2 + 0.01 * 10^2 = 1.25247, mean 0.59995. */
		{"bimodal:0.505ms:10ms:1%", 0.6, 0.59995 + 1.00005 * 1.25247 / 0.8, 0},
	};

	static const enum sim_metric metrics[] = {SIM_MEAN_NS, SIM_P99_NS};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct sim_estimate both[2];
		char changes[160];
		struct sim_plan plan;

		snprintf(changes, sizeof(changes),
			 "slots=1 connections=300000 lag=0 stall=0 load=%g service=%s",
			 rows[i].load, rows[i].service);
		plan = plan_of(NULL, changes);
		measure_two(&plan, hash, metrics, 10, both);
		assert_estimates(rows[i].service, both[0], rows[i].mean_ms * 1e6);
		if (rows[i].p99_ms)
			assert_estimates("p99", both[1], rows[i].p99_ms * 1e6);
	}
}

/* Hash gives each worker a binomial number: chi-square with n - 1 degrees of freedom. */
static void sim_run__hash_is_binomial(void **state)
{
	static const unsigned sizes[] = {2, 8, 64, 256};

	for (size_t s = 0; s < ROWS(sizes); s++) {
		double values[SEEDS], n = sizes[s], mean;
		char changes[80];
		struct sim_plan plan;
		struct sim_result r;

		snprintf(changes, sizeof(changes), "slots=%u connections=20000 warmup=0 stall=0",
			 sizes[s]);
		plan = plan_of(NULL, changes);
		for (unsigned seed = 0; seed < SEEDS; seed++) {
			assert_int_equal(sim_run(&plan.config, hash, seed + 1, &r), 0);
			values[seed] = 0;
			for (unsigned i = 0; i < sizes[s]; i++)
				values[seed] += pow(r.assigned[i] - 20000 / n, 2) / (20000 / n);
		}
		mean = sim_estimate(values, SEEDS).mean;
		/* The mean over the seeds is within 4 of its standard deviations, both ways. */
		if (!(fabs(mean - (n - 1)) < 4 * sqrt(2 * (n - 1) / SEEDS)))
			fail_msg("%g slots: chi-square %g, should be about %g", n, mean, n - 1);
	}
}

/* Trap 1: 256 SYNs before the first accept. */
static void sim_run__a_burst_needs_reservations(void **state)
{
	struct sim_plan plan = plan_of("burst", "");
	struct sim_estimate with = measure(&plan, least, SIM_MAX_OF_MEAN, SEEDS);
	struct sim_estimate without = measure(&plan, least_at_accept, SIM_MAX_OF_MEAN, SEEDS);
	struct sim_estimate by_hash = measure(&plan, hash, SIM_MAX_OF_MEAN, SEEDS);

	assert_true(with.mean <= 1.10 && with.mean >= 1);
	assert_true(without.mean == 8 && without.half_width == 0);
	assert_true(by_hash.mean > 1.15 && by_hash.mean < 1.35);
}

/* No departures, no lag: nobody may have more than one connection more than another. */
static void sim_run__least_spreads_what_stays_open(void **state)
{
	struct sim_plan plan = plan_of(
		"long-lived", "slots=64 connections=6407 lag=0 life=const:1h service=const:1us");
	struct sim_result r;

	assert_int_equal(sim_run(&plan.config, least, 1, &r), 0);
	assert_true(r.open[0] == 100 && r.open[63] == 101);
}

/* Poisson arrivals to infinite lives: hash has the standard deviation of a Poisson variable. */
static void sim_run__long_lived_hash_is_poisson(void **state)
{
	struct sim_plan plan = plan_of("long-lived", "slots=64 lag=0 stall=0");
	double truth = 0, mean = 22000 * (1 - exp(-1 / 3.0)) * 3 / 64;
	struct sim_estimate e = measure(&plan, hash, SIM_OPEN_SD, SEEDS);

	truth = sqrt(mean * 63 / 64);
	assert_true(fabs(e.mean - truth) < 0.1 * truth);
	e = measure(&plan, least, SIM_OPEN_SD, SEEDS);
	assert_true(e.mean < 1);
}

/* Trap 5: a stopped worker attracts where counts move at accept only. */
static void sim_run__a_stalled_worker_is_skipped(void **state)
{
	static const struct {
		const char *changes;
		const struct sim_policy *policy;
		double low, high; /* share of the connections that it gets */
	} rows[] = {
		{"stall=0 stall-kind=busy", &hash, 0.05, 0.075},
		{"stall=20ms stall-kind=busy", &hash, 0, 0},
		{"stall=20ms stall-kind=busy watch=off", &hash, 0, 0},
		{"stall=0", &hash, 0.05, 0.075},
		{"stall=20ms watch=off", &hash, 0.05, 0.075}, /* it says that it waits */
		{"stall=20ms", &hash, 0, 0.005},
		{"stall=0", &least, 0, 0.001}, /* its reservations hold it back */
		{"stall=0", &least_at_accept, 0.1, 0.25},
		{"stall=20ms", &least, 0, 0.001},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sim_plan plan = plan_of("stall", rows[i].changes);
		struct sim_estimate e = measure(&plan, *rows[i].policy, SIM_STALLED_SHARE, 3);

		if (!(e.count == 3 && e.mean >= rows[i].low && e.mean <= rows[i].high))
			fail_msg("row %zu: %g", i, e.mean);
	}
}

/* What waits at a stalled worker is served elsewhere within twice `stall`, not at its end. */
static void sim_run__siblings_serve_the_queue(void **state)
{
	static const struct {
		const char *changes;
		double low_ms, high_ms; /* slowest of a thousand */
	} rows[] = {
		{"service=const:0.1ms load=0.1 connections=3000 stall-at=0.1s stall=20ms", 5, 40},
		{"service=const:0.1ms load=0.1 connections=3000 stall-at=0.1s stall=20ms watch=off",
		 300, 401},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sim_plan plan = plan_of("stall", rows[i].changes);
		struct sim_result r;
		uint32_t sum = 0;
		double open = 0;

		plan.config.life = (struct sim_dist){.kind = SIM_DIST_CONST, .a = 100e9};
		plan.config.warmup = 0;
		assert_int_equal(sim_run(&plan.config, hash, 1, &r), 0);
		if (!(r.metrics[SIM_P999_NS] > rows[i].low_ms * 1e6 &&
		      r.metrics[SIM_P999_NS] < rows[i].high_ms * 1e6))
			fail_msg("row %zu: %g ms", i, r.metrics[SIM_P999_NS] / 1e6);
		for (unsigned s = 0; s < plan.config.slot_count; s++) {
			sum += r.assigned[s];
			open += r.open[s];
		}
		assert_int_equal(sum, 3000);
		assert_true(open == 3000);
	}
}

/* A stall delays what it catches by its length and loses nothing. */
static void sim_run__a_stall_ends(void **state)
{
	struct sim_plan plan =
		plan_of(NULL, "slots=1 rate=1 connections=3 service=const:10ms lag=0 warmup=0 "
			      "stall-at=5ms stall-for=1s stall-kind=busy seeds=1");
	struct sim_result r;

	assert_int_equal(sim_run(&plan.config, hash, 1, &r), 0);
	assert_int_equal(r.counted, 3);
	/* The first came at 0, had 5 ms behind it and got the other 5 after the stall. */
	assert_true(r.metrics[SIM_P999_NS] == 1010e6);
}

static void sim_run__all_workers_stalled_is_the_kernels_hash(void **state)
{
	struct sim_plan plan = plan_of(NULL, "slots=1 rate=1000 connections=1000 lag=0 warmup=0 "
					     "service=const:0.1ms stall-at=0.1s stall-for=0.5s "
					     "watch=off");
	struct sim_result r;

	assert_int_equal(sim_run(&plan.config, least, 1, &r), 0);
	assert_true(r.fallbacks > 350 && r.fallbacks < 550);
	assert_int_equal(r.counted, 1000);
}

static void sim_queue__gives_time_and_then_order(void **state)
{
	enum { COUNT = 2000 };
	struct sim_rng rng;
	struct sim_queue q;
	struct sim_event last = {0}, e;

	sim_rng_init(&rng, 3, 0);
	assert_int_equal(sim_queue_init(&q, COUNT), 0);
	for (unsigned i = 0; i < COUNT; i++)
		sim_queue_push(&q, sim_rng_below(&rng, 100), i % 16, i);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_true(sim_queue_pop(&q, &e));
		if (i)
			assert_true(e.at_ns > last.at_ns ||
				    (e.at_ns == last.at_ns && e.index > last.index));
		assert_int_equal(e.kind, e.index % 16);
		last = e;
	}
	assert_false(sim_queue_pop(&q, &e));
	sim_queue_fini(&q);
}

static void sim_dist__means(void **state)
{
	static const struct {
		const char *text;
		double mean_ns, tolerance;
	} rows[] = {
		{"none", 0, 0},
		{"const:2.5ms", 2.5e6, 0},
		{"exp:1ms", 1e6, 0.01},
		{"bimodal:0.5ms:50ms:1%", 0.995e6, 0.03},
		{"pareto:1ms:3", 1e6, 0.02},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sim_dist dist;
		struct sim_rng rng;
		double sum = 0;

		assert_int_equal(sim_dist_parse(rows[i].text, &dist), 0);
		assert_true(fabs(sim_dist_mean(&dist) - rows[i].mean_ns) < 1);
		sim_rng_init(&rng, 1, 0);
		for (unsigned n = 0; n < 200000; n++)
			sum += (double)sim_dist_draw(&dist, &rng);
		if (fabs(sum / 200000 - rows[i].mean_ns) > rows[i].tolerance * rows[i].mean_ns)
			fail_msg("%s: mean %g", rows[i].text, sum / 200000);
	}
}

static void sim_dist__refuses(void **state)
{
	static const char *const texts[] = {
		"",
		"exp",
		"exp:",
		"exp:1",
		"exp:-1ms",
		"exp:1ms:2",
		"exp:1 ms",
		"none:1ms",
		"gauss:1ms",
		"bimodal:1ms:2ms",
		"bimodal:1ms:2ms:101%",
		"bimodal:1ms:2ms:x",
		"pareto:1ms:1",
		"pareto:1ms:nan",
		"const:1e300s",
		"const:inf",
		"const:1ms:1:1:1:1",
		"const:0000000000000000000000000000000000000001ms",
	};
	struct sim_dist dist;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (sim_dist_parse(texts[i], &dist) != -EINVAL)
			fail_msg("'%s' was taken", texts[i]);
}

static void sim_estimate__is_students(void **state)
{
	static const double values[] = {1, NAN, 2, 3, 4, 5};
	struct sim_estimate e = sim_estimate(values, 6);

	assert_int_equal(e.count, 5);
	assert_true(e.mean == 3);
	/* sqrt(2.5 / 5) * t(4) */
	assert_true(fabs(e.half_width - 0.70711 * 2.776) < 1e-3);
	assert_true(isnan(sim_estimate(values, 1).half_width));
	assert_true(isnan(sim_estimate(values + 1, 1).mean));
	assert_true(fabs(sim_student_t(31) - 2.0395) < 2e-3);
	assert_true(fabs(sim_student_t(1000) - 1.9623) < 1e-3);
}

static void sim_settings__refuse(void **state)
{
	static const struct {
		const char *set, *error;
	} rows[] = {
		{"slots", "'slots' is not KEY=VALUE"},
		{"slot=8", "unknown key 'slot', did you mean 'slots'?"},
		{"=8", "unknown key ''"},
		{"slots=0", "slots must be 1 to 256"},
		{"slots=257", "slots must be 1 to 256"},
		{"slots=-1", "slots cannot be '-1': workers, at most 256"},
		{"slots=1.5", "slots cannot be '1.5': workers, at most 256"},
		{"connections=1e9", "connections must be 1 to 20 million"},
		{"rate=0", "without a rate there must be a burst"},
		{"rate=1e-9",
		 "rate must be 0.001 to 1e9 connections a second, or 0 for bursts only"},
		{"service=none", "service must not be none"},
		{"warmup=100%", "warmup must leave something to count"},
		{"lighter=1", "lighter must not be more than held"},
		{"seeds=0", "seeds must be 1 to 1000"},
		{"policies=least,most", NULL},
		{"policies=", NULL},
		{"lag=20", NULL},
		{"lag=", NULL},
		{"lag=1ms,,2ms", NULL},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char error[SIM_ERROR_TEXT] = "", label[SIM_VALUE_MAX];
		struct sim_settings settings;
		struct sim_plan plan;
		int err;

		sim_settings_init(&settings);
		err = sim_settings_set(&settings, rows[i].set, error);
		for (int c = 0; !err && c < sim_settings_cases(&settings, error); c++)
			err = sim_settings_plan(&settings, (unsigned)c, &plan, label, error);
		if (err != -EINVAL || !error[0])
			fail_msg("'%s' was taken", rows[i].set);
		if (rows[i].error)
			assert_string_equal(error, rows[i].error);
	}
}

static void sim_settings__one_list_makes_cases(void **state)
{
	char error[SIM_ERROR_TEXT], label[SIM_VALUE_MAX];
	struct sim_settings s;
	struct sim_plan plan;

	sim_settings_init(&s);
	assert_int_equal(sim_settings_cases(&s, error), 1);
	assert_int_equal(sim_settings_set(&s, "policies=hash,least:accept", error), 0);
	assert_int_equal(sim_settings_cases(&s, error), 1);
	assert_int_equal(sim_settings_set(&s, "slots=8,64,256", error), 0);
	assert_int_equal(sim_settings_cases(&s, error), 3);
	assert_int_equal(sim_settings_plan(&s, 1, &plan, label, error), 0);
	assert_string_equal(label, "slots=64");
	assert_int_equal(plan.config.slot_count, 64);
	assert_true(fabs(plan.config.rate - 0.7 * 64 * 1000) < 1e-6);
	assert_int_equal(plan.policy_count, 2);
	assert_int_equal(plan.policies[1].id, STEER_LEAST);
	assert_true(plan.policies[1].counts_at_accept);
	assert_int_equal(sim_settings_set(&s, "lag=0,1ms", error), 0);
	assert_int_equal(sim_settings_cases(&s, error), -EINVAL);
}

static void sim_settings__every_scenario_is_right(void **state)
{
	for (const struct sim_scenario *sc = sim_scenarios; sc->name; sc++) {
		char error[SIM_ERROR_TEXT], label[SIM_VALUE_MAX];
		struct sim_settings s;
		struct sim_plan plan;
		int cases;

		assert_ptr_equal(sim_scenario_find(sc->name), sc);
		sim_settings_init(&s);
		for (unsigned i = 0; sc->settings[i]; i++)
			assert_int_equal(sim_settings_set(&s, sc->settings[i], error), 0);
		cases = sim_settings_cases(&s, error);
		assert_in_range(cases, 1, SIM_CASES_MAX);
		for (int i = 0; i < cases; i++)
			if (sim_settings_plan(&s, (unsigned)i, &plan, label, error) < 0)
				fail_msg("%s: %s", sc->name, error);
		assert_true(plan.policy_count >= STEER_POLICY_COUNT);
	}
}

static char *written(const struct sim_study *study, void (*write)(const struct sim_study *, FILE *))
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	write(study, out);
	fclose(out);
	return text;
}

static void print_json(const struct sim_study *study, FILE *out)
{
	assert_int_equal(sim_study_print_json(study, out), 0);
}

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;

	while ((text = strstr(text, what))) {
		text += strlen(what);
		n++;
	}
	return n;
}

static void check_json(const char *text)
{
	json_t *root = json_loads(text, 0, NULL), *policy, *seven;

	assert_non_null(root);
	assert_int_equal(json_array_size(json_object_get(root, "cases")), 2);
	seven = json_array_get(json_object_get(root, "cases"), 1);
	assert_string_equal(json_string_value(json_object_get(seven, "case")), "slots=7");
	policy = json_array_get(json_object_get(seven, "policies"), 1);
	assert_string_equal(json_string_value(json_object_get(policy, "policy")), "least:accept");
	assert_true(json_real_value(json_object_get(json_object_get(policy, "p99_ms"), "mean")) >
		    0);
	assert_true(json_is_null(
		json_object_get(json_object_get(policy, "stalled_share_percent"), "mean")));
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(root, "settings"), "seeds")),
		"3");
	json_decref(root);
}

/* Both kinds of chart, several seeds and only one (no intervals then). */
static void sim_study__prints_and_plots(void **state)
{
	static const char *const names[] = {"exponential", "long-lived"};
	struct sim_study *study = malloc(sizeof(*study));
	char error[SIM_ERROR_TEXT] = "", *text;

	assert_non_null(study);
	for (unsigned i = 0; i < 4; i++) {
		sim_study_init(study, sim_scenario_find(names[i % 2]));
		sim_settings_set(&study->settings, "connections=500", error);
		sim_settings_set(&study->settings, "lag=1ms", error);
		sim_settings_set(&study->settings, "slots=1,7", error);
		sim_settings_set(&study->settings, i < 2 ? "seeds=3" : "seeds=1", error);
		sim_settings_set(&study->settings, "policies=hash,least:accept", error);
		if (sim_study_run(study, error) < 0)
			fail_msg("%s", error);
		text = written(study, sim_study_print);
		assert_int_equal(count(text, "\nleast:accept "), 2);
		assert_int_equal(count(text, "nan"), 0);
		assert_int_equal(count(text, "+-") > 2, i < 2);
		free(text);
		text = written(study, sim_study_plot);
		assert_int_equal(count(text, "class=\"line\""), 2 * 2 + 2);
		assert_int_equal(count(text, "class=\"band\""), i < 2 ? 4 : 0);
		assert_int_equal(count(text, "nan"), 0);
		assert_int_equal(count(text, "inf"), 0);
		free(text);
		if (i == 0) {
			text = written(study, print_json);
			check_json(text);
			free(text);
		}
		sim_study_fini(study);
	}
	free(study);
}

struct call {
	char *out, *err;
	int status;
};

/* `sluice sim` with words separated by blanks. */
static struct call call_sim(const char *words)
{
	char text[256], *argv[16] = {(char *)"sluice", (char *)"sim"}, *save = NULL;
	size_t out_len, err_len;
	struct cli_env env = {0};
	struct call c = {0};
	int argc = 2;

	snprintf(text, sizeof(text), "%s", words);
	for (char *w = strtok_r(text, " ", &save); w && argc < 15; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	env.out = open_memstream(&c.out, &out_len);
	env.err = open_memstream(&c.err, &err_len);
	assert_true(env.out && env.err);
	c.status = cli_run(&env, argc, argv);
	fclose(env.out);
	fclose(env.err);
	return c;
}

static void cli_sim__answers(void **state)
{
	static const struct {
		const char *words;
		int status;
		const char *out, *err;
	} rows[] = {
		{"--scenario burst seeds=2", CLI_OK, "\nleast:accept ", ""},
		{"connections=50 seeds=2 --json", CLI_OK, "\"scenario\": null", ""},
		{"--scenario brust", CLI_USAGE, "", "did you mean 'burst'?"},
		{"--scenario x", CLI_USAGE, "", "unknown scenario 'x'\n"},
		{"lagg=1ms", CLI_USAGE, "", "did you mean 'lag'?"},
		{"lag=1ms,2s,3", CLI_USAGE, "", "sluice sim: lag cannot be '3'"},
		{"lag=1ms,2ms slots=1,2", CLI_USAGE, "", "only one key may have several values"},
		{"seeds=1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", CLI_USAGE, "", "at most 16 values"},
		{"connections=50 seeds=1 --plot /dev/full", CLI_FAILURE, "least",
		 "cannot write '/dev/full'"},
		{"connections=50 seeds=1 --plot /nonexistent/x.svg", CLI_FAILURE, "least",
		 "cannot write '/nonexistent/x.svg': No such file"},
		{"--help", CLI_OK, "stall-kind", ""},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct call c = call_sim(rows[i].words);

		if (c.status != rows[i].status || !strstr(c.out, rows[i].out) ||
		    !strstr(c.err, rows[i].err) || (!rows[i].err[0] && c.err[0]))
			fail_msg("%s: %d, '%s', '%s'", rows[i].words, c.status, c.out, c.err);
		free(c.out);
		free(c.err);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sim_run__depends_on_the_seed_only),
		cmocka_unit_test(sim_run__one_worker_is_a_queue_of_the_books),
		cmocka_unit_test(sim_run__hash_is_binomial),
		cmocka_unit_test(sim_run__a_burst_needs_reservations),
		cmocka_unit_test(sim_run__least_spreads_what_stays_open),
		cmocka_unit_test(sim_run__long_lived_hash_is_poisson),
		cmocka_unit_test(sim_run__a_stalled_worker_is_skipped),
		cmocka_unit_test(sim_run__siblings_serve_the_queue),
		cmocka_unit_test(sim_run__a_stall_ends),
		cmocka_unit_test(sim_run__all_workers_stalled_is_the_kernels_hash),
		cmocka_unit_test(sim_queue__gives_time_and_then_order),
		cmocka_unit_test(sim_dist__means),
		cmocka_unit_test(sim_dist__refuses),
		cmocka_unit_test(sim_estimate__is_students),
		cmocka_unit_test(sim_settings__refuse),
		cmocka_unit_test(sim_settings__one_list_makes_cases),
		cmocka_unit_test(sim_settings__every_scenario_is_right),
		cmocka_unit_test(sim_study__prints_and_plots),
		cmocka_unit_test(cli_sim__answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
