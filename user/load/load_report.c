/* SPDX-License-Identifier: MIT */
/* What came out of a load: text, JSON, a chart. */
#include <math.h>

#include "base/clock.h"
#include "base/err.h"
#include "load/load.h"
#include "proc/json_text.h"
#include "sim/sim_svg.h"

#define CURVE_POINTS 200

const char *const load_fault_names[LOAD_FAULT_COUNT] = {
#define X(id, text) [id] = text,
	LOAD_FAULTS(X)
#undef X
};

static const struct quantile {
	const char *name;
	unsigned per_10000;
} quantiles[] = {
	{ "p50", 5000 }, { "p90", 9000 }, { "p99", 9900 }, { "p99.9", 9990 }, { "p99.99", 9999 },
};

static double ms(uint64_t ns)
{
	return (double)ns / NS_PER_MS;
}

static double mean_ms(const struct hist *h)
{
	return h->total_count ? ms(h->sum) / (double)h->total_count : 0;
}

static double seconds_of(const struct load_share *s)
{
	return (double)s->measured_ns / NS_PER_SEC;
}

static double per_second(const struct load_share *s)
{
	return s->measured_ns ? (double)s->answered / seconds_of(s) : 0;
}

/* Text ----------------------------------------------------------------------------------------------------------- */

static void print_hist(const char *name, const struct hist *h, FILE *out)
{
	fprintf(out, "  %-12s", name);
	for (size_t i = 0; i < ARRAY_LEN(quantiles); i++)
		fprintf(out, "%s %.3f  ", quantiles[i].name, ms(hist_quantile(h, quantiles[i].per_10000)));
	fprintf(out, "max %.3f  mean %.3f ms\n", ms(h->max), mean_ms(h));
}

static void print_settings(const struct load_options *o, const struct load_share *s, FILE *out)
{
	fprintf(out, "%s: %s, %u connection%s, %u process%s, ", o->url, load_mode_name(o->mode), o->connections,
		o->connections == 1 ? "" : "s", o->processes, o->processes == 1 ? "" : "es");
	if (o->mode == LOAD_BURST)
		fputs("at once\n", out);
	else if (o->rate > 0)
		fprintf(out, "%g requests/s due (%s), %g s\n", o->rate, o->is_even ? "even" : "random", seconds_of(s));
	else
		fprintf(out, "closed loop, %g s\n", seconds_of(s));
}

static void print_statuses(const struct load_share *s, FILE *out)
{
	fprintf(out, "  %-12s", "answers");
	for (unsigned i = 1; i < ARRAY_LEN(s->statuses); i++)
		if (s->statuses[i])
			fprintf(out, "%uxx %llu  ", i, (unsigned long long)s->statuses[i]);
	fprintf(out, "%s\n", s->answered ? "" : "none");
}

static void print_faults(const struct load_share *s, FILE *out)
{
	bool has_any = false;

	fprintf(out, "  %-12s", "errors");
	for (unsigned i = 0; i < LOAD_FAULT_COUNT; i++) {
		if (s->faults[i])
			fprintf(out, "%s %llu  ", load_fault_names[i], (unsigned long long)s->faults[i]);
		has_any |= s->faults[i] > 0;
	}
	fprintf(out, "%s\n", has_any ? "" : "none");
}

void load_print(const struct load_options *o, const struct load_share *sum, FILE *out)
{
	print_settings(o, sum, out);
	fprintf(out, "  %-12s%llu", "requests", (unsigned long long)sum->answered);
	if (o->mode != LOAD_BURST && o->mode != LOAD_HOLD)
		fprintf(out, ", %.1f a second", per_second(sum));
	fprintf(out, "; %.1f MB received\n", (double)sum->bytes_in / 1e6);
	print_statuses(sum, out);
	print_faults(sum, out);
	print_hist("latency", &sum->latency_ns, out);
	for (unsigned i = 0; o->kind_count > 1 && i < o->kind_count; i++) {
		fprintf(out, "  %s: %llu\n  ", o->kinds[i].name, (unsigned long long)sum->kind_answered[i]);
		print_hist("", &sum->kind_ns[i], out);
	}
	print_hist("connect", &sum->connect_ns, out);
	if (o->rate > 0)
		print_hist("sent late", &sum->late_ns, out);
	fprintf(out, "  %-12s%llu made\n", "connections", (unsigned long long)sum->connects);
}

/* JSON ----------------------------------------------------------------------------------------------------------- */

static json_t *hist_json(const struct hist *h)
{
	json_t *j = json_pack("{s:I, s:f, s:f}", "count", (json_int_t)h->total_count, "mean", mean_ms(h), "max", ms(h->max));

	for (size_t i = 0; j && i < ARRAY_LEN(quantiles); i++)
		json_object_set_new(j, quantiles[i].name, json_real(ms(hist_quantile(h, quantiles[i].per_10000))));
	return j;
}

static json_t *kinds_json(const struct load_options *o, const struct load_share *s)
{
	json_t *kinds = json_array();

	for (unsigned i = 0; kinds && i < o->kind_count; i++)
		json_array_append_new(kinds, json_pack("{s:o, s:I, s:o}", "request", json_text(o->kinds[i].name), "answered",
						       (json_int_t)s->kind_answered[i], "latency_ms", hist_json(&s->kind_ns[i])));
	return kinds;
}

static json_t *statuses_json(const struct load_share *s)
{
	json_t *statuses = json_object();
	char name[] = "0xx";

	for (unsigned i = 1; statuses && i < ARRAY_LEN(s->statuses); i++) {
		name[0] = (char)('0' + i);
		json_object_set_new(statuses, name, json_integer((json_int_t)s->statuses[i]));
	}
	return statuses;
}

static json_t *faults_json(const struct load_share *s)
{
	json_t *faults = json_object();

	for (unsigned i = 0; faults && i < LOAD_FAULT_COUNT; i++)
		json_object_set_new(faults, load_fault_names[i], json_integer((json_int_t)s->faults[i]));
	return faults;
}

json_t *load_json(const struct load_options *o, const struct load_share *sum)
{
	return json_pack("{s:o, s:s, s:i, s:i, s:f, s:f, s:I, s:f, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "url",
			 json_text(o->url), "mode", load_mode_name(o->mode), "connections", (int)o->connections, "processes",
			 (int)o->processes, "rate", o->rate, "seconds", seconds_of(sum), "answered",
			 (json_int_t)sum->answered, "per_second", per_second(sum), "bytes_in",
			 (json_int_t)sum->bytes_in, "connects", (json_int_t)sum->connects, "statuses", statuses_json(sum),
			 "errors", faults_json(sum), "latency_ms", hist_json(&sum->latency_ns), "connect_ms",
			 hist_json(&sum->connect_ns), "late_ms", hist_json(&sum->late_ns), "kinds", kinds_json(o, sum));
}

/* Chart ---------------------------------------------------------------------------------------------------------- */

static unsigned fill(const struct hist *h, struct svg_point *points)
{
	for (unsigned i = 0; i < CURVE_POINTS; i++) {
		/* From the median to p99.99, evenly on the axis. */
		double x = pow(10, log10(2) + (4 - log10(2)) * i / (CURVE_POINTS - 1));
		uint64_t ns = hist_quantile(h, (unsigned)lround(10000 * (1 - 1 / x)));

		points[i] = (struct svg_point){ .x = x, .y = fmax(ms(ns), 1e-3), .low = NAN, .high = NAN };
	}
	return CURVE_POINTS;
}

void load_plot(const struct load_options *o, const struct load_share *sum, FILE *out)
{
	static struct svg_point points[LOAD_KINDS_MAX + 1][CURVE_POINTS];
	static struct svg_panel panel;
	unsigned lines = o->kind_count > 1 ? o->kind_count : 0;
	struct svg_chart chart = { .title = o->url, .panels = &panel, .panel_count = 1, .line_count = lines + 1 };

	panel.title = "latency of answered requests";
	chart.y = (struct svg_axis){ .title = "ms", .min = INFINITY, .max = -INFINITY, .is_log = true };
	for (unsigned i = 0; i <= lines; i++) {
		chart.names[i] = i == 0 ? "all" : o->kinds[i - 1].name;
		panel.lines[i] = (struct svg_line){ points[i], fill(i == 0 ? &sum->latency_ns : &sum->kind_ns[i - 1], points[i]) };
		svg_axis_widen(&chart.y, &panel.lines[i]);
	}
	svg_axis_quantiles(&chart.x);
	svg_axis_settle(&chart.y);
	svg_write(&chart, out);
}
