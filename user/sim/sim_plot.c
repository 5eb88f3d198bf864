/* SPDX-License-Identifier: MIT */
/* A study as a chart: which figures go on which axis. */
#include <math.h>
#include <stdlib.h>

#include "base/err.h"
#include "sim/sim_study.h"
#include "sim/sim_svg.h"

#define POINTS_MAX  MAX(SIM_CURVE_POINTS, STEER_MAX_SLOTS)
#define NS_PER_MS_F 1e6

/* Everything svg_write() borrows. */
struct drawing {
	struct svg_chart chart;
	char title[160];
	char names[SVG_LINES_MAX][SIM_POLICY_TEXT];
	struct svg_panel panels[SIM_CASES_MAX];
	struct svg_point points[SIM_CASES_MAX][SVG_LINES_MAX][POINTS_MAX];
};

_Static_assert(SVG_LINES_MAX >= SIM_POLICIES_MAX, "a line for each policy");

static struct svg_point point(double x, const struct sim_estimate *e, double scale)
{
	return (struct svg_point){
		.x = x,
		.y = e->mean / scale,
		.low = (e->mean - e->half_width) / scale,
		.high = (e->mean + e->half_width) / scale,
	};
}

static void fill_sojourn(const struct sim_outcome *outcome, struct svg_point *points)
{
	for (unsigned i = 0; i < SIM_CURVE_POINTS; i++)
		points[i] = point(1 / sim_curve_tail(i), &outcome->curve_ns[i], NS_PER_MS_F);
}

/* Away from the mean: with a thousand connections on each worker a few more would not be seen. */
static void fill_spread(const struct sim_outcome *outcome, unsigned count, struct svg_point *points)
{
	double mean = 0;

	for (unsigned i = 0; i < count; i++)
		mean += outcome->open[i].mean / count;
	for (unsigned i = 0; i < count; i++) {
		points[i] = point(i + 1, &outcome->open[i], 1);
		points[i].y -= mean;
		points[i].low -= mean;
		points[i].high -= mean;
	}
}

static unsigned fill_line(enum sim_plot plot, const struct sim_case *c, unsigned policy,
			  struct svg_point *points)
{
	if (plot == SIM_PLOT_SOJOURN) {
		fill_sojourn(&c->outcomes[policy], points);
		return SIM_CURVE_POINTS;
	}
	fill_spread(&c->outcomes[policy], c->plan.config.slot_count, points);
	return c->plan.config.slot_count;
}

static void set_axes(enum sim_plot plot, const struct sim_case *first, struct svg_chart *chart)
{
	chart->y = (struct svg_axis){.min = INFINITY, .max = -INFINITY};
	if (plot == SIM_PLOT_SOJOURN) {
		svg_axis_quantiles(&chart->x);
		chart->y.title = "sojourn time, ms";
		chart->y.is_log = true;
		return;
	}
	chart->x = (struct svg_axis){.title = "worker, from the lightest to the heaviest",
				     .min = 1,
				     .max = fmax(first->plan.config.slot_count, 2)};
	svg_axis_ticks(&chart->x);
	chart->y.title = "open connections, from the mean";
}

static void fill(const struct sim_study *study, struct drawing *d)
{
	enum sim_plot plot = study->scenario ? study->scenario->plot : SIM_PLOT_SOJOURN;
	struct svg_chart *chart = &d->chart;

	chart->title = d->title;
	chart->panels = d->panels;
	chart->panel_count = study->case_count;
	chart->line_count = study->cases[0].plan.policy_count;
	set_axes(plot, &study->cases[0], chart);
	for (unsigned i = 0; i < chart->line_count; i++)
		chart->names[i] = sim_policy_print(study->cases[0].plan.policies[i], d->names[i]);
	for (unsigned c = 0; c < study->case_count; c++) {
		d->panels[c].title = study->cases[c].label;
		for (unsigned i = 0; i < chart->line_count; i++) {
			struct svg_line *line = &d->panels[c].lines[i];

			line->points = d->points[c][i];
			line->count = fill_line(plot, &study->cases[c], i, d->points[c][i]);
			svg_axis_widen(&chart->y, line);
		}
	}
	svg_axis_settle(&chart->y);
}

void sim_study_plot(const struct sim_study *study, FILE *out)
{
	const struct sim_config *config = &study->cases[0].plan.config;
	struct drawing *d = calloc(1, sizeof(*d));

	if (!d)
		return;
	snprintf(d->title, sizeof(d->title), "%s: %u workers, %u connections, %u runs, 95 %% bands",
		 study->scenario ? study->scenario->name : "sluice sim", config->slot_count,
		 config->connection_count, study->cases[0].plan.seed_count);
	fill(study, d);
	svg_write(&d->chart, out);
	free(d);
}
