/* SPDX-License-Identifier: MIT */
/* From statuses to what is shown; see top_model.h. */
#include "cli/top_model.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"

/* Runs that may lie between the server's two reads of counters which go on counting. */
#define RUN_SLACK 16

static uint64_t number(const json_t *object, const char *name)
{
	json_int_t value = json_integer_value(json_object_get(object, name));

	return value > 0 ? (uint64_t)value : 0;
}

static uint32_t small(const json_t *object, const char *name)
{
	return (uint32_t)MIN(number(object, name), (uint64_t)UINT32_MAX);
}

/* Text goes to a terminal: what could steer it is replaced. */
static void copy_text(char *out, size_t room, const json_t *value)
{
	const char *s = json_string_value(value);

	snprintf(out, room, "%s", s ? s : "");
	for (char *c = out; *c; c++) {
		if ((unsigned char)*c < ' ' || (unsigned char)*c > '~')
			*c = '?';
	}
}

#define COPY_TEXT(out, object, name) copy_text(out, sizeof(out), json_object_get(object, name))

static void read_buckets(struct hist *h, const json_t *latency)
{
	const json_t *pair;
	size_t i;

	json_array_foreach(json_object_get(latency, "buckets"), i, pair)
	{
		json_int_t value = json_integer_value(json_array_get(pair, 0));
		json_int_t count = json_integer_value(json_array_get(pair, 1));

		if (value < 0 || count <= 0)
			continue;
		h->counts[hist_bucket((uint64_t)value)] += (uint64_t)count;
		h->total_count += (uint64_t)count;
	}
	h->max = number(latency, "max");
}

static void read_slot(struct top_slot *slot, const json_t *w)
{
	memset(slot, 0, sizeof(*slot));
	slot->slot = small(w, "slot");
	slot->cpu = small(w, "cpu");
	slot->pid = small(w, "pid");
	slot->live = small(w, "live");
	slot->reserved = small(w, "reserved");
	slot->weight = small(w, "weight");
	slot->accepted = number(w, "accepted");
	slot->requests = number(w, "requests");
	slot->stalls = number(w, "stalls");
	slot->is_up = !json_is_false(json_object_get(w, "up"));
	slot->is_stalled = json_is_true(json_object_get(w, "stalled"));
	COPY_TEXT(slot->state, w, "state");
	read_buckets(&slot->latency_us, json_object_get(w, "latency_us"));
}

static void read_steering(struct top_sample *s, const json_t *steering)
{
	json_t *verdicts = json_object_get(steering, "verdicts");
	const char *name;
	json_t *count;

	s->is_steering = json_is_true(json_object_get(steering, "active"));
	COPY_TEXT(s->policy, steering, "policy");
	COPY_TEXT(s->why, steering, "why");
	s->program_runs = number(steering, "program_runs");
	s->runs = 0;
	s->verdict_count = 0;
	json_object_foreach(verdicts, name, count)
	{
		struct top_verdict *v = &s->verdicts[s->verdict_count];

		/* The sum is worked out here: that it is the server's, too, would prove nothing. */
		s->runs += (uint64_t)json_integer_value(count);
		if (s->verdict_count == TOP_VERDICT_MAX)
			continue;
		snprintf(v->name, sizeof(v->name), "%s", name);
		v->count = (uint64_t)json_integer_value(count);
		s->verdict_count++;
	}
}

int top_sample_read(struct top_sample *s, const json_t *status, uint64_t at_ns)
{
	const json_t *workers = json_object_get(status, "workers");
	const json_t *w;
	size_t i;

	if (!json_is_array(workers))
		return -EBADMSG;
	s->at_ns = at_ns;
	s->pid = number(status, "pid");
	s->uptime_s = number(status, "uptime_s");
	COPY_TEXT(s->version, status, "version");
	COPY_TEXT(s->state, status, "state");
	COPY_TEXT(s->config, status, "config");
	read_steering(s, json_object_get(status, "steering"));
	s->slot_count = 0;
	json_array_foreach(workers, i, w)
	{
		if (i < STEER_MAX_SLOTS)
			read_slot(&s->slots[s->slot_count++], w);
	}
	return 0;
}

/* Negative without a before; a counter that went back belongs to another life of the server. */
static double rate(uint64_t now, uint64_t before, double seconds)
{
	if (seconds <= 0 || now < before)
		return -1;
	return (double)(now - before) / seconds;
}

static void subtract(struct hist *h, const struct hist *before)
{
	h->total_count = 0;
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		h->counts[i] -= MIN(h->counts[i], before->counts[i]);
		h->total_count += h->counts[i];
	}
}

static void fill_times(struct top_row *row, const struct hist *h)
{
	row->has_times = h->total_count > 0;
	row->p50_us = hist_quantile(h, 5000);
	row->p99_us = hist_quantile(h, 9900);
}

/* A slot as operators think of it: what holds it back comes first. */
static const char *state_of(const struct top_slot *s)
{
	if (strcmp(s->state, "running") != 0)
		return s->state;
	if (s->is_stalled)
		return "stalled";
	return s->weight ? s->state : "drained";
}

/* Adds what the slot did in the interval to `sum`, which is the total's histogram. */
static void make_row(struct top_row *row, const struct top_slot *now, const struct top_slot *before,
		     double seconds, struct hist *sum)
{
	struct hist h = now->latency_us;

	*row = (struct top_row){
		.slot = now->slot,
		.cpu = now->cpu,
		.pid = now->pid,
		.live = now->live,
		.reserved = now->reserved,
		.weight = now->weight,
		.state = state_of(now),
		.accept_rate = rate(now->accepted, before ? before->accepted : 0, seconds),
		.request_rate = rate(now->requests, before ? before->requests : 0, seconds),
		.stalls = now->stalls,
		.new_stalls =
			before && now->stalls > before->stalls ? now->stalls - before->stalls : 0,
	};
	if (before)
		subtract(&h, &before->latency_us);
	fill_times(row, &h);
	hist_merge(sum, &h);
}

static void add_rate(double *sum, double rate)
{
	if (*sum >= 0)
		*sum = rate >= 0 ? *sum + rate : -1;
}

static void add_row(struct top_row *total, const struct top_row *row)
{
	total->live += row->live;
	total->reserved += row->reserved;
	total->stalls += row->stalls;
	total->new_stalls += row->new_stalls;
	add_rate(&total->accept_rate, row->accept_rate);
	add_rate(&total->request_rate, row->request_rate);
}

static bool takes_connections(const struct top_slot *s)
{
	return s->is_up && s->weight > 0;
}

/* Connections the slot would have if its weight were the mean of all. */
static double evened(const struct top_slot *s, double mean_weight)
{
	return (double)s->live * mean_weight / MIN(s->weight, (uint32_t)STEER_MAX_WEIGHT);
}

static void measure_balance(struct top_view *v)
{
	const struct top_slot *slots = v->sample->slots;
	double weights = 0, sum = 0, squares = 0, max = 0, mean;
	unsigned n = 0;

	for (unsigned i = 0; i < v->row_count; i++) {
		if (takes_connections(&slots[i])) {
			weights += MIN(slots[i].weight, (uint32_t)STEER_MAX_WEIGHT);
			n++;
		}
	}
	for (unsigned i = 0; i < v->row_count; i++) {
		double live;

		if (!takes_connections(&slots[i]))
			continue;
		live = evened(&slots[i], weights / n);
		sum += live;
		squares += live * live;
		max = MAX(max, live);
	}
	v->open_count = n;
	mean = n ? sum / n : 0;
	v->imbalance = mean > 0 ? max / mean : -1;
	v->sd = mean > 0 ? sqrt(MAX(squares / n - mean * mean, 0.0)) : -1;
}

static uint64_t verdict_before(const struct top_sample *before, const char *name)
{
	for (unsigned i = 0; before && i < before->verdict_count; i++) {
		if (strcmp(before->verdicts[i].name, name) == 0)
			return before->verdicts[i].count;
	}
	return 0;
}

/*
 * The verdicts add up to the runs, since the server's start or, where the kernel began to count
 * later, in this interval.
 */
static enum top_check check_runs(const struct top_sample *before, const struct top_sample *now)
{
	int64_t whole = (int64_t)(now->runs - now->program_runs), interval;

	if (now->program_runs == 0)
		return TOP_RUNS_UNCOUNTED;
	if (whole >= -RUN_SLACK && whole <= RUN_SLACK)
		return TOP_RUNS_AGREE;
	if (!before || before->program_runs == 0)
		return TOP_RUNS_UNCOUNTED;
	if (now->program_runs == before->program_runs)
		return TOP_RUNS_UNCOUNTED;
	interval = whole - (int64_t)(before->runs - before->program_runs);
	return interval >= -RUN_SLACK && interval <= RUN_SLACK ? TOP_RUNS_AGREE : TOP_RUNS_DIFFER;
}

static void fill_verdicts(struct top_view *v, const struct top_sample *before)
{
	const struct top_sample *now = v->sample;

	v->verdict_count = now->verdict_count;
	for (unsigned i = 0; i < now->verdict_count; i++) {
		const struct top_verdict *verdict = &now->verdicts[i];

		v->verdicts[i] = (struct top_verdict_row){
			.name = verdict->name,
			.count = verdict->count,
			.rate = rate(verdict->count, verdict_before(before, verdict->name),
				     v->seconds),
		};
	}
	v->run_rate = rate(now->runs, before ? before->runs : 0, v->seconds);
	v->check = check_runs(before, now);
}

static bool is_same_server(const struct top_sample *before, const struct top_sample *now)
{
	return before && before->at_ns && before->at_ns < now->at_ns && before->pid == now->pid &&
	       before->slot_count == now->slot_count;
}

void top_view_make(struct top_view *v, const struct top_sample *before,
		   const struct top_sample *now)
{
	struct hist sum;

	if (!is_same_server(before, now))
		before = NULL;
	memset(&sum, 0, sizeof(sum));
	v->sample = now;
	v->seconds = before ? (double)(now->at_ns - before->at_ns) / (double)NS_PER_SEC : 0;
	v->row_count = now->slot_count;
	v->total = (struct top_row){.state = ""};
	for (unsigned i = 0; i < now->slot_count; i++) {
		make_row(&v->rows[i], &now->slots[i], before ? &before->slots[i] : NULL, v->seconds,
			 &sum);
		add_row(&v->total, &v->rows[i]);
	}
	fill_times(&v->total, &sum);
	fill_verdicts(v, before);
	measure_balance(v);
}

void top_history_push(struct top_history *h, double value)
{
	h->values[h->count++ % TOP_HISTORY] = value;
}

double top_history_at(const struct top_history *h, unsigned age)
{
	if (age >= h->count || age >= TOP_HISTORY)
		return -1;
	return h->values[(h->count - 1 - age) % TOP_HISTORY];
}

bool top_history_range(const struct top_history *h, unsigned width, double *ret_min,
		       double *ret_max)
{
	bool has_any = false;

	for (unsigned age = 0; age < width; age++) {
		double value = top_history_at(h, age);

		if (value < 0)
			continue;
		*ret_min = has_any ? MIN(*ret_min, value) : value;
		*ret_max = has_any ? MAX(*ret_max, value) : value;
		has_any = true;
	}
	return has_any;
}
