/* SPDX-License-Identifier: MIT */
/*
 * Line charts as SVG: panels side by side with one legend, each line with its confidence band.
 * Colours follow the reader's light or dark scheme; every line also has a dash of its own, so that
 * colour is not all there is.
 */
#ifndef SLUICE_PROC_SIM_SVG_H
#define SLUICE_PROC_SIM_SVG_H

#include <stdbool.h>
#include <stdio.h>

#define SVG_LINES_MAX 24
#define SVG_TICKS_MAX 16

struct svg_point {
	double x, y, low, high; /* low and high may be NAN: no band there */
};

struct svg_line {
	const struct svg_point *points;
	unsigned count;
};

struct svg_tick {
	double at;
	char text[16];
};

struct svg_axis {
	const char *title;
	double min, max; /* min < max; with is_log both above 0 */
	bool is_log;
	struct svg_tick ticks[SVG_TICKS_MAX];
	unsigned tick_count;
};

struct svg_panel {
	const char *title;
	struct svg_line lines[SVG_LINES_MAX];
};

struct svg_chart {
	const char *title;
	const char *names[SVG_LINES_MAX]; /* of the lines, the same in every panel */
	unsigned line_count, panel_count;
	const struct svg_panel *panels;
	struct svg_axis x, y; /* the same in every panel */
};

/* Fills the ticks from min and max: powers of ten, or round steps. */
void svg_axis_ticks(struct svg_axis *axis);
/* From the median to p99.99, at 1 / (1 - quantile). */
void svg_axis_quantiles(struct svg_axis *axis);
/* A vertical axis from min INFINITY and max -INFINITY: so that every line fits, then round. */
void svg_axis_widen(struct svg_axis *axis, const struct svg_line *line);
void svg_axis_settle(struct svg_axis *axis);
/* Whether all went well is for the caller to ask the stream. */
void svg_write(const struct svg_chart *chart, FILE *out);

#endif
