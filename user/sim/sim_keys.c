/* SPDX-License-Identifier: MIT */
/* The table of keys, and how their values are read. */
#include "sim/sim_keys.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/suggest.h"
#include "net/steer.h"

/* Each writes its field of the plan: 0 or -EINVAL. */
typedef int (*key_parse)(const char *text, void *field);

static int parse_number(const char *text, double *ret_value)
{
	char *end;

	if (!(text[0] >= '0' && text[0] <= '9'))
		return -EINVAL;
	*ret_value = strtod(text, &end);
	return *end || !isfinite(*ret_value) ? -EINVAL : 0;
}

/* 1e6 is a count too. */
static int parse_count(const char *text, void *field)
{
	double value;

	if (parse_number(text, &value) < 0 || value > UINT32_MAX || value != floor(value))
		return -EINVAL;
	*(uint32_t *)field = (uint32_t)value;
	return 0;
}

static int parse_rate(const char *text, void *field)
{
	return parse_number(text, field);
}

static int parse_share(const char *text, void *field)
{
	return sim_share_parse(text, field);
}

static int parse_time(const char *text, void *field)
{
	double ns;

	if (sim_time_parse(text, &ns) < 0)
		return -EINVAL;
	*(uint64_t *)field = (uint64_t)(ns + 0.5);
	return 0;
}

static int parse_dist(const char *text, void *field)
{
	return sim_dist_parse(text, field);
}

static int parse_accept(const char *text, void *field)
{
	bool when_free = strcmp(text, "free") == 0;

	*(bool *)field = when_free;
	return when_free || strcmp(text, "at-once") == 0 ? 0 : -EINVAL;
}

static int parse_switch(const char *text, void *field)
{
	bool is_on = strcmp(text, "on") == 0;

	*(bool *)field = is_on;
	return is_on || strcmp(text, "off") == 0 ? 0 : -EINVAL;
}

static int parse_stall_kind(const char *text, void *field)
{
	bool is_stop = strcmp(text, "stopped") == 0;

	*(enum sim_stall_kind *)field = is_stop ? SIM_STALL_STOPPED : SIM_STALL_BUSY;
	return is_stop || strcmp(text, "busy") == 0 ? 0 : -EINVAL;
}

/* With reservations, and once more without where that makes a difference worth showing. */
static void take_all_policies(struct sim_plan *plan)
{
	for (int id = 0; id < STEER_POLICY_COUNT; id++) {
		const char *name = steer_policy_name((enum steer_policy_id)id);

		plan->policies[plan->policy_count++] =
			(struct sim_policy){.id = (enum steer_policy_id)id};
		if (strcmp(name, "least") == 0 || strcmp(name, "p2c") == 0)
			plan->policies[plan->policy_count++] =
				(struct sim_policy){(enum steer_policy_id)id, true};
	}
}

static int parse_policy(const char *text, size_t len, struct sim_policy *policy)
{
	static const char suffix[] = ":accept";
	size_t suffix_len = sizeof(suffix) - 1;
	char name[SIM_POLICY_TEXT];

	*policy = (struct sim_policy){0};
	if (len > suffix_len && memcmp(text + len - suffix_len, suffix, suffix_len) == 0) {
		policy->counts_at_accept = true;
		len -= suffix_len;
	}
	if (len >= sizeof(name))
		return -EINVAL;
	memcpy(name, text, len);
	name[len] = '\0';
	return steer_policy_parse(name, &policy->id);
}

static int parse_policies(const char *text, void *field)
{
	struct sim_plan *plan = field;

	plan->policy_count = 0;
	if (strcmp(text, "all") == 0) {
		take_all_policies(plan);
		return 0;
	}
	for (;;) {
		size_t len = strcspn(text, ",");

		if (plan->policy_count == SIM_POLICIES_MAX ||
		    parse_policy(text, len, &plan->policies[plan->policy_count++]) < 0)
			return -EINVAL;
		text += len;
		if (!*text++)
			return 0;
	}
}

char *sim_policy_print(struct sim_policy policy, char out[SIM_POLICY_TEXT])
{
	snprintf(out, SIM_POLICY_TEXT, "%s%s", steer_policy_name(policy.id),
		 policy.counts_at_accept ? ":accept" : "");
	return out;
}

#define FIELD(name)  offsetof(struct sim_plan, name)
#define CONFIG(name) offsetof(struct sim_plan, config.name)

static const struct key {
	const char *name, *value;
	key_parse parse;
	size_t at;
	const char *help;
} keys[] = {
	{"slots", "8", parse_count, CONFIG(slot_count), "workers, at most 256"},
	{"connections", "100000", parse_count, CONFIG(connection_count), "of each run"},
	{"load", "0.7", parse_rate, FIELD(load),
	 "of the workers; gives the rate where that is auto"},
	{"rate", "auto", parse_rate, CONFIG(rate),
	 "connections a second (Poisson); 0: bursts only"},
	{"service", "exp:1ms", parse_dist, CONFIG(service),
	 "time a connection's request takes: const:T exp:T bimodal:T:T:SHARE pareto:MEAN:SHAPE"},
	{"life", "none", parse_dist, CONFIG(life), "how long a connection stays open after that"},
	{"lag", "0.2ms", parse_time, CONFIG(lag_ns), "from the SYN until the worker may accept"},
	{"accept", "at-once", parse_accept, CONFIG(accepts_when_free),
	 "at-once, or free: only between two requests"},
	{"burst", "0", parse_count, CONFIG(herd_size), "SYNs in one moment"},
	{"every", "0", parse_time, CONFIG(herd_every_ns), "time between bursts; 0: one"},
	{"held", "0", parse_count, CONFIG(held), "connections each worker has open at the start"},
	{"lighter", "0", parse_count, CONFIG(lighter), "how many fewer one of them has"},
	{"bucket", "500ms", parse_time, CONFIG(bucket_ns), "of reservations; 0: none are made"},
	{"stall", "20ms", parse_time, CONFIG(stall_ns),
	 "a busy worker not seen for longer is skipped; 0: never"},
	{"choices", "2", parse_count, CONFIG(choices), "workers that p2c looks at"},
	{"band", "8", parse_count, CONFIG(band),
	 "connections by which cpu prefers the receiving CPU's worker"},
	{"pending-weight", "0", parse_count, CONFIG(pending_weight),
	 "connections that a request in the queue counts as"},
	{"stall-slot", "0", parse_count, CONFIG(stalled_slot), "the worker that stalls"},
	{"stall-at", "0", parse_time, CONFIG(stalls_at_ns), "when"},
	{"stall-for", "0", parse_time, CONFIG(stalls_for_ns), "how long; 0: none stalls"},
	{"stall-kind", "busy", parse_stall_kind, CONFIG(stall_kind),
	 "busy (an endless request), or stopped (while it waits)"},
	{"watch", "on", parse_switch, CONFIG(watches),
	 "on: siblings serve the queue of a worker that is skipped"},
	{"warmup", "10%", parse_share, CONFIG(warmup), "first connections that do not count"},
	{"policies", "all", parse_policies, 0,
	 "names; NAME:accept is without reservations, counted at accept"},
	{"seeds", "10", parse_count, FIELD(seed_count), "runs of each policy"},
	{"seed", "1", parse_count, FIELD(seed), "the first"},
};

_Static_assert(ARRAY_LEN(keys) <= SIM_KEYS_MAX, "room for each text");

unsigned sim_key_count(void)
{
	return ARRAY_LEN(keys);
}

const char *sim_key_name(unsigned key)
{
	return keys[key].name;
}

void sim_keys_print(FILE *out)
{
	fprintf(out, "  %-14s %s\n", "key", "default");
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		fprintf(out, "  %-14s %-9s %s\n", keys[i].name, keys[i].value, keys[i].help);
}

void sim_settings_init(struct sim_settings *s)
{
	memset(s, 0, sizeof(*s));
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		snprintf(s->texts[i], SIM_VALUE_MAX, "%s", keys[i].value);
}

static int refuse_key(const char *name, size_t len, char *error)
{
	char word[SUGGEST_WORD_MAX + 1];
	struct suggest near;

	snprintf(word, sizeof(word), "%.*s", (int)MIN(len, SUGGEST_WORD_MAX), name);
	suggest_init(&near, word);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		suggest_offer(&near, keys[i].name);
	if (near.best)
		snprintf(error, SIM_ERROR_TEXT, "unknown key '%s', did you mean '%s'?", word,
			 near.best);
	else
		snprintf(error, SIM_ERROR_TEXT, "unknown key '%s'", word);
	return -EINVAL;
}

int sim_settings_set(struct sim_settings *s, const char *assignment, char error[SIM_ERROR_TEXT])
{
	size_t len = strcspn(assignment, "=");

	if (!assignment[len]) {
		snprintf(error, SIM_ERROR_TEXT, "'%.60s' is not KEY=VALUE", assignment);
		return -EINVAL;
	}
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (strlen(keys[i].name) != len || memcmp(keys[i].name, assignment, len) != 0)
			continue;
		if (strlen(assignment + len + 1) >= SIM_VALUE_MAX) {
			snprintf(error, SIM_ERROR_TEXT, "the value of %s is too long",
				 keys[i].name);
			return -EINVAL;
		}
		snprintf(s->texts[i], SIM_VALUE_MAX, "%s", assignment + len + 1);
		return 0;
	}
	return refuse_key(assignment, len, error);
}

static bool is_list(const struct sim_settings *s, size_t key)
{
	return keys[key].parse != parse_policies && strchr(s->texts[key], ',');
}

int sim_settings_cases(const struct sim_settings *s, char error[SIM_ERROR_TEXT])
{
	int count = 1;
	size_t with_list = 0;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (!is_list(s, i))
			continue;
		if (count > 1) {
			snprintf(error, SIM_ERROR_TEXT,
				 "only one key may have several values, not %s and %s",
				 keys[with_list].name, keys[i].name);
			return -EINVAL;
		}
		with_list = i;
		for (const char *p = s->texts[i]; *p; p++)
			count += *p == ',';
	}
	return count;
}

/* The value of a key in this case: the index-th of its list. */
static void value_of(const struct sim_settings *s, size_t key, unsigned index,
		     char value[SIM_VALUE_MAX])
{
	const char *text = s->texts[key];

	if (!is_list(s, key)) {
		snprintf(value, SIM_VALUE_MAX, "%s", text);
		return;
	}
	for (; index; index--)
		text += strcspn(text, ",") + 1;
	snprintf(value, SIM_VALUE_MAX, "%.*s", (int)strcspn(text, ","), text);
}

/* What the values must be together. */
static int settle(struct sim_plan *plan, bool rate_is_auto, char *error)
{
	struct sim_config *c = &plan->config;
	double mean_ns = sim_dist_mean(&c->service);
	const char *fault;

	if (rate_is_auto)
		c->rate = mean_ns > 0 ? plan->load * c->slot_count / mean_ns * 1e9 : 0;
	fault = sim_config_fault(c);
	if (!fault && (plan->seed_count < 1 || plan->seed_count > SIM_SEEDS_MAX))
		fault = "seeds must be 1 to 1000";
	if (!fault)
		return 0;
	snprintf(error, SIM_ERROR_TEXT, "%s", fault);
	return -EINVAL;
}

int sim_settings_plan(const struct sim_settings *s, unsigned index, struct sim_plan *ret_plan,
		      char ret_label[SIM_VALUE_MAX], char error[SIM_ERROR_TEXT])
{
	bool rate_is_auto = false;

	memset(ret_plan, 0, sizeof(*ret_plan));
	ret_label[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		char value[SIM_VALUE_MAX];

		value_of(s, i, index, value);
		if (is_list(s, i))
			snprintf(ret_label, SIM_VALUE_MAX, "%.30s=%.90s", keys[i].name, value);
		if (keys[i].at == CONFIG(rate) && strcmp(value, "auto") == 0) {
			rate_is_auto = true;
			continue;
		}
		if (keys[i].parse(value, (char *)ret_plan + keys[i].at) < 0) {
			snprintf(error, SIM_ERROR_TEXT, "%s cannot be '%.60s': %.100s",
				 keys[i].name, value, keys[i].help);
			return -EINVAL;
		}
	}
	return settle(ret_plan, rate_is_auto, error);
}
