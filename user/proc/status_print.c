/* SPDX-License-Identifier: MIT */
/*
 * `sluice status` for people: one line for the server, one for each worker, their sums, then the
 * steering and the addresses.  Reads the JSON as it comes over the control socket, so a field may
 * be missing.
 */
#include "proc/status.h"

#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "proc/module_report.h"
#include "proc/store_report.h"
#include "proc/upstream_report.h"

#define COLUMNS	  80
#define CELL_TEXT 32

/* The widths and the blanks between them make 80 columns. */
static const struct column {
	const char *name, *title;
	int width; /* negative: to the left */
} columns[] = {
	{"slot", "slot", 4},	     {"cpu", "cpu", 3},
	{"pid", "pid", 7},	     {"state", "state", -8},
	{"live", "live", 7},	     {"reserved", "reserved", 8},
	{"accepted", "accepted", 8}, {"requests", "requests", 10},
	{"stalls", "stalls", 6},     {"generation", "generation", 10},
};

/* Numbers wider than their column shrink to k, M, G...: 12345678 in 7 columns is "12345k". */
static void print_number(char out[CELL_TEXT], uint64_t value, size_t width)
{
	static const char units[] = " kMGTPE";
	size_t unit = 0;

	snprintf(out, CELL_TEXT, "%" PRIu64, value);
	while (strlen(out) > width && unit + 2 < sizeof(units)) {
		value /= 1000;
		unit++;
		snprintf(out, CELL_TEXT, "%" PRIu64 "%c", value, units[unit]);
	}
}

static void print_cell(const json_t *row, const struct column *c, const char *missing, FILE *out)
{
	const json_t *value = json_object_get(row, c->name);
	size_t width = (size_t)(c->width < 0 ? -c->width : c->width);
	char cell[CELL_TEXT];

	snprintf(cell, sizeof(cell), "%s", missing);
	if (json_is_integer(value))
		print_number(cell, (uint64_t)json_integer_value(value), width);
	else if (json_is_string(value))
		snprintf(cell, sizeof(cell), "%.*s", (int)width, json_string_value(value));
	fprintf(out, "%s%*s", c == columns ? "" : " ", c->width, cell);
}

static void print_table(const json_t *status, FILE *out)
{
	const json_t *workers = json_object_get(status, "workers");
	const json_t *totals = json_object_get(status, "totals");
	const json_t *row;
	size_t i;

	for (i = 0; i < ARRAY_LEN(columns); i++)
		fprintf(out, "%s%*s", i ? " " : "", columns[i].width, columns[i].title);
	fputc('\n', out);
	json_array_foreach(workers, i, row)
	{
		for (size_t c = 0; c < ARRAY_LEN(columns); c++)
			print_cell(row, &columns[c], "-", out);
		fputc('\n', out);
	}
	if (!json_is_object(totals))
		return;
	/* "total" stands in the first two columns; those that have no sum stay empty. */
	fprintf(out, "%-*s", columns[0].width + 1 + columns[1].width, "total");
	for (size_t c = 2; c < ARRAY_LEN(columns) - 1; c++)
		print_cell(totals, &columns[c], "", out);
	fputc('\n', out);
}

/* Words separated by blanks, broken before column 80, later lines indented. */
struct paragraph {
	FILE *out;
	size_t column, indent;
};

static void print_words(struct paragraph *p, const char *words)
{
	while (*words) {
		size_t len = strcspn(words, " ");

		if (p->column > p->indent && p->column + 1 + len > COLUMNS) {
			fprintf(p->out, "\n%*s", (int)p->indent, "");
			p->column = p->indent;
		} else if (p->column > p->indent) {
			fputc(' ', p->out);
			p->column++;
		}
		fwrite(words, 1, len, p->out);
		p->column += len;
		words += len;
		words += strspn(words, " ");
	}
}

static struct paragraph paragraph_start(FILE *out, const char *title)
{
	struct paragraph p = {out, strlen(title), strlen(title)};

	fputs(title, out);
	return p;
}

static const char *string_of(const json_t *object, const char *name, const char *otherwise)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s ? s : otherwise;
}

static uint64_t number_of(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

static void print_uptime(uint64_t s, char *out, size_t room)
{
	if (s < 60)
		snprintf(out, room, "%" PRIu64 " s", s);
	else if (s < 3600)
		snprintf(out, room, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(out, room, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
	else
		snprintf(out, room, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
}

static void print_server(const json_t *status, FILE *out)
{
	struct paragraph p = paragraph_start(out, "sluice ");
	char uptime[64], line[256];

	print_uptime(number_of(status, "uptime_s"), uptime, sizeof(uptime));
	snprintf(line, sizeof(line), "%s, pid %" PRIu64 ", %s for %s, generation %" PRIu64 ",",
		 string_of(status, "version", "?"), number_of(status, "pid"),
		 string_of(status, "state", "?"), uptime, number_of(status, "generation"));
	print_words(&p, line);
	print_words(&p, string_of(status, "config", "no configuration file"));
	fputc('\n', out);
}

static void print_verdicts(struct paragraph *p, const json_t *steering)
{
	json_t *verdicts = json_object_get(steering, "verdicts");
	uint64_t runs = number_of(steering, "runs");
	const char *name;
	char text[128];
	json_t *count;

	snprintf(text, sizeof(text), "%" PRIu64 " run%s%s", runs, runs == 1 ? "" : "s",
		 runs ? ":" : "");
	print_words(p, text);
	json_object_foreach(verdicts, name, count)
	{
		if (json_integer_value(count) == 0)
			continue;
		snprintf(text, sizeof(text), "%s=%" PRIu64, name,
			 (uint64_t)json_integer_value(count));
		print_words(p, text);
	}
}

static void print_steering(const json_t *status, FILE *out)
{
	const json_t *s = json_object_get(status, "steering");
	struct paragraph p = paragraph_start(out, "steering ");
	const char *pin = string_of(s, "pin", NULL);

	if (!json_is_true(json_object_get(s, "active"))) {
		print_words(&p, "off, the kernel hashes:");
		print_words(&p, string_of(s, "why", "unknown reason"));
		fputc('\n', out);
		return;
	}
	print_words(&p, string_of(s, "policy", "?"));
	print_words(&p, json_is_true(json_object_get(s, "can_migrate"))
				? "(in the kernel, queues migrate),"
				: "(in the kernel, queues do not migrate),");
	print_verdicts(&p, s);
	fputc('\n', out);
	p = paragraph_start(out, "maps     ");
	print_words(&p, pin ? pin : "not pinned");
	if (!pin && string_of(s, "pin_error", NULL)) {
		print_words(&p, "-");
		print_words(&p, string_of(s, "pin_error", ""));
	}
	fputc('\n', out);
}

static void print_listens(const json_t *status, FILE *out)
{
	const json_t *listens = json_object_get(status, "listen");
	struct paragraph p;
	json_t *one;
	size_t i;

	/* A server of datagrams alone has none. */
	if (json_array_size(listens) == 0)
		return;
	p = paragraph_start(out, "listen   ");
	json_array_foreach(listens, i, one)
	{
		print_words(&p, string_of(one, "address", "?"));
		print_words(&p, json_is_true(json_object_get(one, "steered")) ? "(steered)"
									      : "(hashed)");
	}
	fputc('\n', out);
}

static void print_udp(const json_t *status, FILE *out)
{
	const json_t *udp = json_object_get(status, "udp");
	struct paragraph p;
	char text[160];
	json_t *one;
	size_t i;

	if (json_array_size(json_object_get(udp, "listen")) == 0)
		return;
	p = paragraph_start(out, "udp      ");
	json_array_foreach(json_object_get(udp, "listen"), i, one)
	{
		print_words(&p, string_of(one, "address", "?"));
		print_words(&p, json_is_true(json_object_get(one, "steered")) ? "(steered)" : "(hashed)");
	}
	snprintf(text, sizeof(text), "- %" PRIu64 " sessions, %" PRIu64 " datagrams in, %" PRIu64 " out",
		 number_of(udp, "live") + number_of(udp, "draining"), number_of(udp, "in"), number_of(udp, "out"));
	print_words(&p, text);
	fputc('\n', out);
}

/* Only what is missing or has happened: a fence that stands is no news. */
static void print_sandbox(const json_t *status, FILE *out)
{
	const json_t *s = json_object_get(status, "sandbox");
	const char *why = string_of(s, "why", NULL);
	uint64_t refused = number_of(s, "refused");
	struct paragraph p;
	char text[96];

	if (!why && refused == 0)
		return;
	p = paragraph_start(out, "sandbox  ");
	print_words(&p, string_of(s, "mode", "?"));
	if (why) {
		print_words(&p, "-");
		print_words(&p, why);
	}
	if (refused) {
		snprintf(text, sizeof(text), "- %" PRIu64 " system call%s refused, see the log", refused,
			 refused == 1 ? "" : "s");
		print_words(&p, text);
	}
	fputc('\n', out);
}

/* Likewise: hosts that share their limits are no news. */
static void print_shared_limits(const json_t *status, FILE *out)
{
	const json_t *s = json_object_get(json_object_get(status, "limits"), "shared");
	struct paragraph p;

	if (!json_is_object(s) || json_is_true(json_object_get(s, "known")))
		return;
	p = paragraph_start(out, "limits   ");
	print_words(&p, "redis");
	print_words(&p, string_of(s, "redis", "?"));
	print_words(&p, json_is_true(json_object_get(s, "fail_open"))
				? "IS OF NO USE: this host counts for itself"
				: "IS OF NO USE: requests with a rate are refused");
	fputc('\n', out);
}

static void print_draining(const json_t *status, FILE *out)
{
	size_t count = json_array_size(json_object_get(status, "draining"));

	if (count)
		fprintf(out, "draining %" PRIu64 " connections with %zu worker%s of earlier generations\n",
			number_of(json_object_get(status, "totals"), "draining"), count, count == 1 ? "" : "s");
}

void status_print(const json_t *status, FILE *out)
{
	print_server(status, out);
	print_table(status, out);
	print_draining(status, out);
	print_steering(status, out);
	print_listens(status, out);
	print_udp(status, out);
	print_sandbox(status, out);
	print_shared_limits(status, out);
	upstream_report_print(json_object_get(status, "upstreams"), out);
	store_report_print(json_object_get(status, "stores"), out);
	module_report_print(json_object_get(status, "modules"), out);
}
