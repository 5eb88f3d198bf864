/* SPDX-License-Identifier: MIT */
/* The table of `sluice top`, and all of it as plain lines; see top_text.h. */
#include "cli/top_text.h"

#include <string.h>

#include "base/err.h"

#define BAR_MIN 8
#define BAR_MAX 64

/* The widths, each with the blank before it, make 80 columns. */
static const struct column {
	const char *title;
	unsigned width;
	bool is_left, is_summed;
} columns[] = {
	{"slot", 4, false, false}, {"cpu", 4, false, false},   {"pid", 8, false, false},
	{"state", 9, true, false}, {"live", 7, false, true},   {"resv", 6, false, true},
	{"wght", 5, false, false}, {"conn/s", 7, false, true}, {"req/s", 8, false, true},
	{"p50", 7, false, true},   {"p99", 7, false, true},    {"stalls", 8, false, true},
};

enum { SLOT, CPU, PID, STATE, LIVE, RESERVED, WEIGHT, ACCEPTS, REQUESTS, P50, P99, STALLS };

static void put_cell(struct top_canvas *c, unsigned y, unsigned column, const char *text,
		     enum top_mark mark)
{
	unsigned x = 0, len = top_columns(text);

	for (unsigned i = 0; i < column; i++)
		x += columns[i].width;
	if (columns[column].is_left)
		x++;
	else
		x += columns[column].width - MIN(len, columns[column].width);
	if (x < c->width)
		c->put(c, y, x, text, mark);
}

/* Columns that are left beside the table for a bar; 0: too few. */
static unsigned bar_room(const struct top_canvas *c)
{
	unsigned room = c->width > TOP_COLUMNS + 2 ? c->width - TOP_COLUMNS - 2 : 0;

	return room < BAR_MIN ? 0 : MIN(room, (unsigned)BAR_MAX);
}

void top_put_titles(struct top_canvas *c, unsigned y)
{
	for (unsigned i = 0; i < ARRAY_LEN(columns); i++)
		put_cell(c, y, i, columns[i].title, TOP_HEAD);
	if (bar_room(c))
		c->put(c, y, TOP_COLUMNS + 2, "live", TOP_HEAD);
}

static double cell_value(const struct top_row *row, unsigned column)
{
	switch (column) {
	case SLOT:
		return row->slot;
	case CPU:
		return row->cpu;
	case PID:
		return row->pid;
	case LIVE:
		return row->live;
	case RESERVED:
		return row->reserved;
	case WEIGHT:
		return row->weight;
	case ACCEPTS:
		return row->accept_rate;
	case REQUESTS:
		return row->request_rate;
	default:
		return (double)row->stalls;
	}
}

static void cell_text(char out[TOP_CELL], const struct top_row *row, unsigned column)
{
	unsigned width = columns[column].width - 1;

	if (column == STATE)
		snprintf(out, TOP_CELL, "%.*s", (int)width, row->state);
	else if (column == ACCEPTS || column == REQUESTS)
		top_rate(out, cell_value(row, column), width);
	else if (column != P50 && column != P99)
		top_number(out, cell_value(row, column), width);
	else if (row->has_times)
		top_time(out, column == P50 ? row->p50_us : row->p99_us);
	else
		snprintf(out, TOP_CELL, "-");
}

static enum top_mark state_mark(const char *state)
{
	if (strcmp(state, "running") == 0)
		return TOP_GOOD;
	return strcmp(state, "down") == 0 || strcmp(state, "stalled") == 0 ? TOP_BAD : TOP_WARN;
}

static enum top_mark cell_mark(const struct top_row *row, unsigned column)
{
	if (column == STATE)
		return state_mark(row->state);
	if (column == STALLS && row->new_stalls)
		return TOP_BAD;
	if (column == WEIGHT && row->weight != STEER_DEFAULT_WEIGHT)
		return TOP_WARN;
	return TOP_PLAIN;
}

/* Eighths of a column in UTF-8, whole ones in ASCII; the longest bar is the slot with most
 * connections. */
static void put_bar(struct top_canvas *c, unsigned y, const struct top_view *v, uint32_t live)
{
	static const char *const parts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
	char text[BAR_MAX * 3 + 4];
	unsigned room = bar_room(c), eighths;
	uint32_t most = 0;
	size_t len = 0;

	for (unsigned i = 0; i < v->row_count; i++)
		most = MAX(most, v->rows[i].live);
	if (!room || !most)
		return;
	eighths = (unsigned)((uint64_t)live * room * 8 / most);
	for (unsigned i = 0; i < eighths / 8; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s",
					c->is_utf8 ? "█" : "#");
	snprintf(text + len, sizeof(text) - len, "%s", c->is_utf8 ? parts[eighths % 8] : "");
	if (text[0])
		c->put(c, y, TOP_COLUMNS + 2, text, TOP_BAR);
}

void top_put_row(struct top_canvas *c, unsigned y, const struct top_view *v, unsigned row)
{
	const struct top_row *r = &v->rows[row];
	char text[TOP_CELL];

	for (unsigned i = 0; i < ARRAY_LEN(columns); i++) {
		cell_text(text, r, i);
		put_cell(c, y, i, text, cell_mark(r, i));
	}
	put_bar(c, y, v, r->live);
}

void top_put_total(struct top_canvas *c, unsigned y, const struct top_view *v)
{
	char text[TOP_CELL];

	c->put(c, y, 0, "total", TOP_STRONG);
	for (unsigned i = 0; i < ARRAY_LEN(columns); i++) {
		if (!columns[i].is_summed)
			continue;
		cell_text(text, &v->total, i);
		put_cell(c, y, i, text, TOP_STRONG);
	}
}

/* Pieces come line by line from left to right, so that a stream can take them. */
struct printer {
	FILE *out;
	unsigned y, x;
};

static void put_printed(struct top_canvas *c, unsigned y, unsigned x, const char *text,
			enum top_mark mark)
{
	struct printer *p = c->owner;

	for (; p->y < y; p->y++) {
		fputc('\n', p->out);
		p->x = 0;
	}
	for (; p->x < x; p->x++)
		fputc(' ', p->out);
	fputs(text, p->out);
	p->x += top_columns(text);
}

void top_print(const struct top_view *v, const struct top_history *h, unsigned width, bool is_utf8,
	       FILE *out)
{
	struct printer p = {out, 0, 0};
	struct top_canvas c = {put_printed, width, is_utf8, &p};
	unsigned y = top_put_summary(&c, 0, v, h) + 1;

	top_put_titles(&c, y++);
	for (unsigned i = 0; i < v->row_count; i++)
		top_put_row(&c, y++, v, i);
	top_put_total(&c, y, v);
	fputc('\n', out);
}
