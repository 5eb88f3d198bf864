/* SPDX-License-Identifier: MIT */
/* The lines above the table of `sluice top`: server, steering, balance, verdicts. */
#include "cli/top_text.h"

#include <inttypes.h>
#include <string.h>

#include "base/err.h"

#define INDENT	 10 /* of what stands behind a line's name */
#define PATH_MIN 12
#define EVEN	 1.10 /* max / mean: up to here connections count as even */
#define UNEVEN	 1.50
#define FEW	 4 /* connections a slot below which an imbalance says nothing */

/* Pieces one behind the other, broken into indented lines at the right edge. */
struct flow {
	struct top_canvas *canvas;
	unsigned y, x;
};

static void flow_piece(struct flow *f, const char *text, enum top_mark mark)
{
	f->canvas->put(f->canvas, f->y, f->x, text, mark);
	f->x += top_columns(text);
}

static struct flow flow_start(struct top_canvas *c, unsigned y, const char *name)
{
	struct flow f = {c, y, 0};

	flow_piece(&f, name, TOP_LABEL);
	f.x = INDENT;
	return f;
}

/* "name value"; either may be "". */
static void flow_pair(struct flow *f, const char *name, const char *value, enum top_mark mark)
{
	unsigned width = top_columns(name) + top_columns(value) + (*name && *value);

	if (f->x > INDENT && f->x + 2 + width > f->canvas->width) {
		f->y++;
		f->x = INDENT;
	} else if (f->x > INDENT) {
		f->x += 2;
	}
	if (*name)
		flow_piece(f, name, TOP_LABEL);
	f->x += *name && *value;
	if (*value)
		flow_piece(f, value, mark);
}

static void put_uptime(char out[TOP_CELL], uint64_t s)
{
	if (s < 3600)
		snprintf(out, TOP_CELL, "%" PRIu64 ":%02" PRIu64, s / 60, s % 60);
	else if (s < 86400)
		snprintf(out, TOP_CELL, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, s / 3600,
			 s / 60 % 60, s % 60);
	else
		snprintf(out, TOP_CELL, "%" PRIu64 "d %" PRIu64 "h", s / 86400, s / 3600 % 24);
}

/* A path too long for the line loses its beginning: what differs stands at the end. */
static void put_server(struct flow *f, const struct top_sample *s)
{
	char text[TOP_CELL], path[sizeof(s->config) + 4];
	size_t len = strlen(s->config), room;

	flow_pair(f, "", s->version, TOP_STRONG);
	snprintf(text, sizeof(text), "%" PRIu64, s->pid);
	flow_pair(f, "pid", text, TOP_PLAIN);
	put_uptime(text, s->uptime_s);
	flow_pair(f, s->state, text, TOP_PLAIN);
	room = f->canvas->width > f->x + 2 ? f->canvas->width - f->x - 2 : 0;
	if (len > room && room < PATH_MIN)
		return;
	if (len > room)
		snprintf(path, sizeof(path), "...%s", s->config + len - (room - 3));
	else
		snprintf(path, sizeof(path), "%s", s->config);
	if (len)
		flow_pair(f, "", path, TOP_PLAIN);
}

static enum top_mark balance_mark(const struct top_view *v)
{
	if (v->imbalance < 0 || v->total.live < v->open_count * FEW)
		return TOP_STRONG;
	return v->imbalance <= EVEN ? TOP_GOOD : v->imbalance <= UNEVEN ? TOP_WARN : TOP_BAD;
}

static void put_policy(struct flow *f, const struct top_view *v)
{
	const struct top_sample *s = v->sample;
	char text[TOP_CELL];

	if (!s->is_steering) {
		flow_pair(f, "", "off", TOP_BAD);
		flow_pair(f, "the kernel hashes:", s->why[0] ? s->why : "unknown reason",
			  TOP_PLAIN);
		return;
	}
	flow_pair(f, "", s->policy, TOP_STRONG);
	snprintf(text, sizeof(text), "%u of %u", v->open_count, v->row_count);
	flow_pair(f, "open slots", text, v->open_count < v->row_count ? TOP_WARN : TOP_PLAIN);
}

static void put_balance(struct flow *f, const struct top_view *v)
{
	char text[TOP_CELL] = "-";

	if (v->imbalance >= 0)
		snprintf(text, sizeof(text), "%.2f", v->imbalance);
	flow_pair(f, "imbalance", text, balance_mark(v));
	snprintf(text, sizeof(text), "-");
	if (v->sd >= 0)
		snprintf(text, sizeof(text), "%.1f", v->sd);
	flow_pair(f, "sd", text, TOP_PLAIN);
}

static void put_history(struct flow *f, const struct top_history *h)
{
	char spark[TOP_COLUMNS_MAX * 3 + 1], text[TOP_CELL];
	unsigned width;
	double min, max;

	width = f->canvas->width > INDENT + 20 ? f->canvas->width - INDENT - 16 : 4;
	width = MIN(width, (unsigned)TOP_HISTORY);
	top_spark(spark, sizeof(spark), h, width, f->canvas->is_utf8);
	if (!top_history_range(h, width, &min, &max)) {
		flow_pair(f, "", "no connections yet", TOP_PLAIN);
		return;
	}
	flow_piece(f, spark, TOP_BAR);
	snprintf(text, sizeof(text), "%.2f..%.2f", min, max);
	flow_pair(f, "", text, TOP_PLAIN);
}

static void put_check(struct flow *f, const struct top_view *v)
{
	char count[TOP_CELL], text[64];

	switch (v->check) {
	case TOP_RUNS_AGREE:
		flow_pair(f, "", "= program runs", TOP_GOOD);
		break;
	case TOP_RUNS_DIFFER:
		top_number(count, (double)v->sample->program_runs, 8);
		snprintf(text, sizeof(text), "but %s program runs", count);
		flow_pair(f, "", text, TOP_BAD);
		break;
	default:
		/* As is usual; `sluice top` says in its help how to change that. */
		flow_pair(f, "(runs not counted)", "", TOP_LABEL);
		break;
	}
}

static void put_verdict(struct flow *f, const char *name, uint64_t count, double rate,
			enum top_mark mark)
{
	char number[TOP_CELL], per_second[TOP_CELL], text[2 * TOP_CELL + 4];

	top_number(number, (double)count, 6);
	top_rate(per_second, rate, 5);
	if (rate < 0)
		snprintf(text, sizeof(text), "%s", number);
	else
		snprintf(text, sizeof(text), "%s (%s/s)", number, per_second);
	flow_pair(f, name, text, mark);
}

/* Verdicts that are no choice of the policy's: seldom, and worth a look when they come. */
static bool is_odd(const char *name)
{
	static const char *const odd[] = {"all_stalled", "no_socket", "bad_config", "short_header"};

	for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
		if (strcmp(name, odd[i]) == 0)
			return true;
	}
	return false;
}

static void put_verdicts(struct flow *f, const struct top_view *v)
{
	put_verdict(f, "sum", v->sample->runs, v->run_rate, TOP_STRONG);
	put_check(f, v);
	for (unsigned i = 0; i < v->verdict_count; i++) {
		const struct top_verdict_row *row = &v->verdicts[i];

		if (row->count)
			put_verdict(f, row->name, row->count, row->rate,
				    is_odd(row->name) && row->rate > 0 ? TOP_WARN : TOP_PLAIN);
	}
}

unsigned top_put_summary(struct top_canvas *c, unsigned y, const struct top_view *v,
			 const struct top_history *h)
{
	struct flow f = flow_start(c, y, "sluice");

	put_server(&f, v->sample);
	f = flow_start(c, f.y + 1, "steering");
	put_policy(&f, v);
	put_balance(&f, v);
	f = flow_start(c, f.y + 1, "history");
	put_history(&f, h);
	if (v->sample->is_steering) {
		f = flow_start(c, f.y + 1, "verdicts");
		put_verdicts(&f, v);
	}
	return f.y + 1;
}
