/* SPDX-License-Identifier: MIT */
/*
 * The view as pieces of text at places, the same for a terminal and for plain lines.  Whoever draws
 * gives a function that puts a piece; pieces of one line come from left to right and do not
 * overlap.
 */
#ifndef SLUICE_PROC_TOP_TEXT_H
#define SLUICE_PROC_TOP_TEXT_H

#include <stdio.h>

#include "cli/top_model.h"

#define TOP_COLUMNS	80 /* what the table takes; more is used for bars */
#define TOP_COLUMNS_MAX 512
#define TOP_CELL	24 /* room for a cell and its NUL */

enum top_mark { TOP_PLAIN, TOP_LABEL, TOP_STRONG, TOP_GOOD, TOP_WARN, TOP_BAD, TOP_HEAD, TOP_BAR };

/* `x` and the width of `text` are in columns; the text is UTF-8 only where `is_utf8`. */
struct top_canvas {
	void (*put)(struct top_canvas *c, unsigned y, unsigned x, const char *text,
		    enum top_mark mark);
	unsigned width;
	bool is_utf8;
	void *owner;
};

/* Server, steering, balance and verdicts, from line `y` on; the line behind them. */
unsigned top_put_summary(struct top_canvas *c, unsigned y, const struct top_view *v,
			 const struct top_history *h);
void top_put_titles(struct top_canvas *c, unsigned y);
void top_put_row(struct top_canvas *c, unsigned y, const struct top_view *v, unsigned row);
void top_put_total(struct top_canvas *c, unsigned y, const struct top_view *v);

/* All of it as plain lines. */
void top_print(const struct top_view *v, const struct top_history *h, unsigned width, bool is_utf8,
	       FILE *out);

/* At most `width` (4 or more) characters: "12345", "12k", "1.2M"; "-" below 0. */
void top_number(char out[TOP_CELL], double value, unsigned width);
/* The same with a decimal below 10. */
void top_rate(char out[TOP_CELL], double value, unsigned width);
/* "870us", "1.2ms", "12ms", "3.4s": at most 5. */
void top_time(char out[TOP_CELL], uint64_t us);
/* Columns that UTF-8 takes whose characters take one each. */
unsigned top_columns(const char *s);
/* The last `width` values, oldest first, one character each, as UTF-8 blocks or ASCII. */
void top_spark(char *out, size_t room, const struct top_history *h, unsigned width, bool is_utf8);

#endif
