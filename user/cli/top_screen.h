/* SPDX-License-Identifier: MIT */
/*
 * The terminal of `sluice top`: ncurses and nothing else.  Knows what is on the screen (the view, a
 * menu, help), not where it comes from.  One screen at a time; between open and close nobody else
 * may write to the terminal.
 */
#ifndef SLUICE_PROC_TOP_SCREEN_H
#define SLUICE_PROC_TOP_SCREEN_H

#include "cli/top_text.h"

enum top_mode { TOP_TABLE, TOP_MENU, TOP_HELP };

enum top_key {
	TOP_KEY_NONE, /* no more keys wait */
	TOP_KEY_OTHER,
	TOP_KEY_RESIZE,
	TOP_KEY_UP,
	TOP_KEY_DOWN,
	TOP_KEY_PAGE_UP,
	TOP_KEY_PAGE_DOWN,
	TOP_KEY_HOME,
	TOP_KEY_END,
	TOP_KEY_ENTER,
	TOP_KEY_ESCAPE,
	TOP_KEY_FIRST_CHAR = ' ', /* from here on: the character itself */
};

struct top_ui {
	const struct top_view *view;
	const struct top_history *history;
	enum top_mode mode;
	unsigned selected; /* row */
	unsigned first;	   /* row on top of the table; the screen keeps `selected` in sight */
	unsigned page;	   /* rows that fit; the screen says so */
	const char *const *choices;
	unsigned choice_count, choice;
	uint64_t interval_ms;
	const char *message; /* NULL: none */
	bool is_error;
};

/* Can it place text?  False for a file, a pipe, TERM=dumb and terminals that nobody knows. */
bool top_screen_can_open(void);
/* 0, or -ENOTTY.  Colours unless the terminal has none or NO_COLOR is set. */
int top_screen_open(void);
/* The terminal is as before.  Harmless when not open. */
void top_screen_close(void);
void top_screen_draw(struct top_ui *ui);
/* Never waits. */
int top_screen_key(void);
/* What the locale can show (setlocale() was called). */
bool top_locale_is_utf8(void);

#endif
