/* SPDX-License-Identifier: MIT */
/* Writes a chart.  Coordinates are whole pixels and tenths, so the files stay small and the same
 * everywhere. */
#include "sim/sim_svg.h"

#include <math.h>

#include "base/err.h"

#define PANEL_WIDTH  400 /* a single one is wider */
#define SINGLE_WIDTH 620
#define PANEL_HEIGHT 260
#define LEFT	     76
#define GAP	     60
#define TOP	     64
#define BELOW	     56
#define LEGEND_ROW   20
#define LEGEND_CELL  150

static const char style[] =
	"<style>\n"
	":root{--back:#ffffff;--ink:#1f2328;--soft:#59636e;--grid:#d8dee4;"
	"--c0:#0a63c9;--c1:#c2410c;--c2:#15803d;--c3:#9333ea;--c4:#b8860b;--c5:#0e7490;--c6:#"
	"be185d;"
	"--c7:#57534e;--c8:#1e293b;--c9:#4d7c0f}\n"
	"@media (prefers-color-scheme:dark){:root{--back:#0d1117;--ink:#e6edf3;--soft:#9da7b3;"
	"--grid:#2b323b;--c0:#6cb2ff;--c1:#ff9d66;--c2:#5fd38d;--c3:#d0a2ff;--c4:#e6c34a;--c5:#"
	"5ed3e6;"
	"--c6:#ff8fc0;--c7:#c9c3bb;--c8:#ffffff;--c9:#b6d96a}}\n"
	"text{font:13px system-ui,sans-serif;fill:var(--ink)}\n"
	".soft{fill:var(--soft);font-size:12px}.head{font-size:15px;font-weight:600}\n"
	".grid{stroke:var(--grid)}.axis{stroke:var(--soft);fill:none}\n"
	".line{fill:none;stroke-width:2;stroke-linejoin:round}.band{fill-opacity:.18;stroke:none}\n"
	"</style>\n";

static const char *const dashes[] = {"", "7 3", "2 3", "9 3 2 3"};

#define COLOUR_COUNT 10

static void escape(const char *text, FILE *out)
{
	for (; *text; text++) {
		switch (*text) {
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '&':
			fputs("&amp;", out);
			break;
		default:
			fputc(*text, out);
		}
	}
}

static void text_at(double x, double y, const char *attributes, const char *text, FILE *out)
{
	fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, attributes);
	escape(text, out);
	fputs("</text>\n", out);
}

/* 0 to 1 along the axis; what lies beyond its ends stays there. */
static double place(const struct svg_axis *axis, double value)
{
	double at = axis->is_log
			    ? log(fmax(value, axis->min) / axis->min) / log(axis->max / axis->min)
			    : (value - axis->min) / (axis->max - axis->min);

	return fmin(fmax(at, 0), 1);
}

static void add_tick(struct svg_axis *axis, double at)
{
	struct svg_tick *tick;

	if (axis->tick_count == SVG_TICKS_MAX)
		return;
	tick = &axis->ticks[axis->tick_count++];
	tick->at = at;
	snprintf(tick->text, sizeof(tick->text), "%g", at);
}

static void log_ticks(struct svg_axis *axis)
{
	static const double steps[] = {1, 2, 5};
	bool is_wide = log10(axis->max / axis->min) > 3;

	for (int power = (int)floor(log10(axis->min)); power <= (int)ceil(log10(axis->max));
	     power++) {
		for (size_t i = 0; i < (is_wide ? 1 : ARRAY_LEN(steps)); i++) {
			double at = steps[i] * pow(10, power);

			if (at >= axis->min * 0.999 && at <= axis->max * 1.001)
				add_tick(axis, at);
		}
	}
}

void svg_axis_ticks(struct svg_axis *axis)
{
	double step;

	axis->tick_count = 0;
	if (axis->is_log) {
		log_ticks(axis);
		return;
	}
	step = pow(10, floor(log10((axis->max - axis->min) / 5)));
	if ((axis->max - axis->min) / step > 25)
		step *= 5;
	else if ((axis->max - axis->min) / step > 10)
		step *= 2;
	for (double at = ceil(axis->min / step) * step; at <= axis->max * 1.0001; at += step)
		add_tick(axis, fabs(at) < step / 2 ? 0 : at); /* not -0 nor 1e-16 */
}

/* So that every line fits. */
void svg_axis_widen(struct svg_axis *axis, const struct svg_line *line)
{
	for (unsigned i = 0; i < line->count; i++) {
		axis->min = fmin(axis->min, line->points[i].y);
		axis->max = fmax(axis->max, line->points[i].y);
	}
}

void svg_axis_quantiles(struct svg_axis *x)
{
	static const struct {
		double at;
		const char *text;
	} ticks[] = {
		{2, "50 %"}, {10, "90 %"}, {100, "99 %"}, {1000, "99.9 %"}, {10000, "99.99 %"}};

	*x = (struct svg_axis){.title = "quantile", .min = 2, .max = 10000, .is_log = true};
	for (size_t i = 0; i < ARRAY_LEN(ticks); i++) {
		x->ticks[i].at = ticks[i].at;
		snprintf(x->ticks[i].text, sizeof(x->ticks[i].text), "%s", ticks[i].text);
	}
	x->tick_count = ARRAY_LEN(ticks);
}

/* A line that is all there is would lie on the frame. */
void svg_axis_settle(struct svg_axis *y)
{
	if (y->is_log) {
		y->min = pow(10, floor(log10(fmax(y->min, 1e-6)) * 3 + 0.01) / 3);
		y->max = fmax(y->max * 1.1, y->min * 2);
	} else {
		y->min = floor(fmin(y->min * 1.05, -1));
		y->max = ceil(fmax(y->max * 1.05, 1));
	}
	svg_axis_ticks(y);
}

struct box {
	const struct svg_chart *chart;
	double left;
	unsigned width;
	FILE *out;
};

static unsigned panel_width(const struct svg_chart *chart)
{
	return chart->panel_count == 1 ? SINGLE_WIDTH : PANEL_WIDTH;
}

static double x_of(const struct box *box, double x)
{
	return box->left + place(&box->chart->x, x) * box->width;
}

static double y_of(const struct box *box, double y)
{
	return TOP + (1 - place(&box->chart->y, y)) * PANEL_HEIGHT;
}

static void draw_axes(const struct box *box, bool is_first)
{
	const struct svg_axis *x = &box->chart->x, *y = &box->chart->y;
	FILE *out = box->out;

	for (unsigned i = 0; i < y->tick_count; i++) {
		double at = y_of(box, y->ticks[i].at);

		fprintf(out, "<path class=\"grid\" d=\"M%.1f %.1fh%u\"/>\n", box->left, at,
			box->width);
		if (is_first)
			text_at(box->left - 8, at + 4, "class=\"soft\" text-anchor=\"end\"",
				y->ticks[i].text, out);
	}
	for (unsigned i = 0; i < x->tick_count; i++) {
		double at = x_of(box, x->ticks[i].at);

		fprintf(out, "<path class=\"grid\" d=\"M%.1f %dv%d\"/>\n", at, TOP, PANEL_HEIGHT);
		text_at(at, TOP + PANEL_HEIGHT + 18, "class=\"soft\" text-anchor=\"middle\"",
			x->ticks[i].text, out);
	}
	fprintf(out, "<path class=\"axis\" d=\"M%.1f %dv%dh%u\"/>\n", box->left, TOP, PANEL_HEIGHT,
		box->width);
	text_at(box->left + box->width / 2.0, TOP + PANEL_HEIGHT + 40, "text-anchor=\"middle\"",
		x->title, out);
}

static void draw_band(const struct box *box, const struct svg_line *line, unsigned index)
{
	FILE *out = box->out;
	char step = 'M';

	for (unsigned i = 0; i < line->count; i++) {
		if (isnan(line->points[i].low) || isnan(line->points[i].high))
			return;
	}
	fprintf(out, "<path class=\"band\" style=\"fill:var(--c%u)\" d=\"", index % COLOUR_COUNT);
	for (unsigned i = 0; i < line->count; i++, step = 'L')
		fprintf(out, "%c%.1f %.1f", step, x_of(box, line->points[i].x),
			y_of(box, line->points[i].high));
	for (unsigned i = line->count; i-- > 0;)
		fprintf(out, "L%.1f %.1f", x_of(box, line->points[i].x),
			y_of(box, line->points[i].low));
	fputs("Z\"/>\n", out);
}

/* The pen of line number `index`. */
static void pen(unsigned index, FILE *out)
{
	fprintf(out, " style=\"stroke:var(--c%u)\"", index % COLOUR_COUNT);
	if (index % ARRAY_LEN(dashes))
		fprintf(out, " stroke-dasharray=\"%s\"", dashes[index % ARRAY_LEN(dashes)]);
}

static void draw_line(const struct box *box, const struct svg_line *line, unsigned index)
{
	fputs("<path class=\"line\"", box->out);
	pen(index, box->out);
	fputs(" d=\"", box->out);
	for (unsigned i = 0; i < line->count; i++)
		fprintf(box->out, "%c%.1f %.1f", i ? 'L' : 'M', x_of(box, line->points[i].x),
			y_of(box, line->points[i].y));
	fputs("\"/>\n", box->out);
}

static void draw_panel(const struct svg_chart *chart, unsigned index, FILE *out)
{
	const struct svg_panel *panel = &chart->panels[index];
	unsigned width = panel_width(chart);
	struct box box = {chart, LEFT + index * (width + GAP), width, out};

	draw_axes(&box, index == 0);
	text_at(box.left + box.width / 2.0, TOP - 10, "text-anchor=\"middle\"", panel->title, out);
	/* The first on top: where two are equal, the dashed one shows what lies below it. */
	for (unsigned i = chart->line_count; i-- > 0;)
		draw_band(&box, &panel->lines[i], i);
	for (unsigned i = chart->line_count; i-- > 0;)
		draw_line(&box, &panel->lines[i], i);
}

static void draw_legend(const struct svg_chart *chart, unsigned columns, FILE *out)
{
	for (unsigned i = 0; i < chart->line_count; i++) {
		double x = LEFT + i % columns * LEGEND_CELL;
		double y = TOP + PANEL_HEIGHT + BELOW + 12 + i / columns * LEGEND_ROW;

		fputs("<path class=\"line\"", out);
		pen(i, out);
		fprintf(out, " d=\"M%.1f %.1fh30\"/>\n", x, y - 4);
		text_at(x + 38, y, "", chart->names[i], out);
	}
}

void svg_write(const struct svg_chart *chart, FILE *out)
{
	unsigned plots = chart->panel_count * (panel_width(chart) + GAP) - GAP;
	unsigned columns = plots / LEGEND_CELL;
	unsigned rows = (chart->line_count + columns - 1) / columns;
	unsigned width = LEFT + plots + GAP;
	unsigned height = TOP + PANEL_HEIGHT + BELOW + rows * LEGEND_ROW + 12;

	fprintf(out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %u %u\" width=\"%u\" "
		"height=\"%u\" role=\"img\">\n<title>",
		width, height, width, height);
	escape(chart->title, out);
	fprintf(out, "</title>\n%s", style);
	fprintf(out, "<rect width=\"%u\" height=\"%u\" style=\"fill:var(--back)\"/>\n", width,
		height);
	text_at(LEFT, 24, "class=\"head\"", chart->title, out);
	fprintf(out, "<text transform=\"translate(20 %d) rotate(-90)\" text-anchor=\"middle\">",
		TOP + PANEL_HEIGHT / 2);
	escape(chart->y.title, out);
	fputs("</text>\n", out);
	for (unsigned i = 0; i < chart->panel_count; i++)
		draw_panel(chart, i, out);
	draw_legend(chart, columns, out);
	fputs("</svg>\n", out);
}
