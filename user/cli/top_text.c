/* SPDX-License-Identifier: MIT */
/* Numbers, times and sparklines of `sluice top`; see top_text.h. */
#include "cli/top_text.h"

#include <string.h>

#include "base/err.h"

#define SPARK_SPAN 0.25 /* the least range a sparkline shows: noise must not fill it */

void top_number(char out[TOP_CELL], double value, unsigned width)
{
	static const char units[] = " kMGTPEZY";
	unsigned unit = 0;

	if (value < 0) {
		snprintf(out, TOP_CELL, "-");
		return;
	}
	snprintf(out, TOP_CELL, "%.0f", value);
	while (strlen(out) > width && unit + 2 < sizeof(units)) {
		value /= 1000;
		unit++;
		/* One decimal where it fits, cut and not rounded: 999.96k must not become
		 * "1000.0k". */
		snprintf(out, TOP_CELL, "%.1f%c", (double)(uint64_t)(value * 10) / 10, units[unit]);
		if (strlen(out) > width)
			snprintf(out, TOP_CELL, "%.0f%c", (double)(uint64_t)value, units[unit]);
	}
}

void top_rate(char out[TOP_CELL], double value, unsigned width)
{
	if (value > 0 && value < 9.95)
		snprintf(out, TOP_CELL, "%.1f", value);
	else
		top_number(out, value, width);
}

void top_time(char out[TOP_CELL], uint64_t us)
{
	static const struct {
		uint64_t limit, unit;
		const char *format;
	} steps[] = {
		{1000, 1, "%.0fus"},
		{9950, 1000, "%.1fms"},
		{999500, 1000, "%.0fms"},
		{9950000, 1000000, "%.1fs"},
		{9999500000, 1000000, "%.0fs"},
	};
	size_t i = 0;

	while (i + 1 < ARRAY_LEN(steps) && us >= steps[i].limit)
		i++;
	us = MIN(us, steps[ARRAY_LEN(steps) - 1].limit - 1);
	snprintf(out, TOP_CELL, steps[i].format, (double)us / (double)steps[i].unit);
}

/* Steps of a sparkline or bar, from nothing to full. */
static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
static const char ascii_steps[] = "_.-:=+*#";

static const char *spark_step(double value, double min, double span, bool is_utf8, char one[2])
{
	double level = (value - min) / span * ARRAY_LEN(blocks);
	size_t i = MIN((size_t)MAX(level, 0.0), ARRAY_LEN(blocks) - 1);

	one[0] = ascii_steps[i];
	one[1] = '\0';
	return is_utf8 ? blocks[i] : one;
}

void top_spark(char *out, size_t room, const struct top_history *h, unsigned width, bool is_utf8)
{
	double min = 1, max = 1;
	size_t len = 0;

	top_history_range(h, width, &min, &max);
	out[0] = '\0';
	/* Always from 1, which is perfect: so a low line means even, not merely steady. */
	for (unsigned age = MIN(width, MIN(h->count, (unsigned)TOP_HISTORY)); age-- > 0;) {
		double value = top_history_at(h, age);
		char one[2];
		const char *step =
			value < 0 ? " "
				  : spark_step(value, 1, MAX(max - 1, SPARK_SPAN), is_utf8, one);
		size_t step_len = strlen(step);

		if (len + step_len >= room)
			break;
		memcpy(out + len, step, step_len + 1);
		len += step_len;
	}
}

unsigned top_columns(const char *s)
{
	unsigned n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}
