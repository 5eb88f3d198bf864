/* SPDX-License-Identifier: MIT */
/* Drawing with ncurses; see top_screen.h. */
#include "cli/top_screen.h"

#include <curses.h>
#include <errno.h>
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <unistd.h>
#include <wchar.h>

#include "base/err.h"

#define MIN_LINES   8
#define MIN_COLUMNS 40
#define REPAINT	    12 /* ^L */
#define FEW_ROWS    3
#define ESCAPE_MS   50 /* between ESC alone and the first byte of a key's sequence */

enum pair { PAIR_LABEL = 1, PAIR_GOOD, PAIR_WARN, PAIR_BAD, PAIR_HEAD, PAIR_BAR };

static struct {
	SCREEN *screen;
	bool has_colour;
	attr_t row_attr; /* of the line being drawn, over all marks */
} the;

bool top_locale_is_utf8(void)
{
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

bool top_screen_can_open(void)
{
	bool can_place;
	int result;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return false;
	if (setupterm(NULL, STDOUT_FILENO, &result) != OK)
		return false;
	can_place = tigetstr("cup") && tigetflag("hc") <= 0;
	/* newterm() reads a description of its own. */
	del_curterm(cur_term);
	return can_place;
}

static void start_colours(void)
{
	const char *no_color = getenv("NO_COLOR");

	the.has_colour = !(no_color && *no_color) && has_colors() && start_color() == OK;
	if (!the.has_colour)
		return;
	/* The terminal's own background, where it can be had. */
	use_default_colors();
	init_pair(PAIR_LABEL, COLOR_CYAN, -1);
	init_pair(PAIR_GOOD, COLOR_GREEN, -1);
	init_pair(PAIR_WARN, COLOR_YELLOW, -1);
	init_pair(PAIR_BAD, COLOR_RED, -1);
	init_pair(PAIR_HEAD, COLOR_BLACK, COLOR_CYAN);
	init_pair(PAIR_BAR, COLOR_GREEN, -1);
}

int top_screen_open(void)
{
	the.screen = newterm(NULL, stdout, stdin);
	if (!the.screen)
		return -ENOTTY;
	set_term(the.screen);
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(ESCAPE_MS);
	curs_set(0);
	start_colours();
	return 0;
}

void top_screen_close(void)
{
	if (!the.screen)
		return;
	/* Without an alternate screen the last view stays, and the shell goes on in its last line. */
	move(LINES - 1, 0);
	clrtoeol();
	refresh();
	endwin();
	delscreen(the.screen);
	the.screen = NULL;
}

static attr_t attr_of(enum top_mark mark)
{
	static const attr_t plain[] = {
		[TOP_PLAIN] = A_NORMAL, [TOP_LABEL] = A_NORMAL, [TOP_STRONG] = A_BOLD,
		[TOP_GOOD] = A_NORMAL,	[TOP_WARN] = A_BOLD,	[TOP_BAD] = A_BOLD | A_UNDERLINE,
		[TOP_HEAD] = A_REVERSE, [TOP_BAR] = A_NORMAL,
	};

	if (!the.has_colour)
		return plain[mark];
	switch (mark) {
	case TOP_LABEL:
		return (attr_t)COLOR_PAIR(PAIR_LABEL);
	case TOP_GOOD:
		return (attr_t)COLOR_PAIR(PAIR_GOOD);
	case TOP_WARN:
		return (attr_t)COLOR_PAIR(PAIR_WARN) | A_BOLD;
	case TOP_BAD:
		return (attr_t)COLOR_PAIR(PAIR_BAD) | A_BOLD;
	case TOP_HEAD:
		return (attr_t)COLOR_PAIR(PAIR_HEAD);
	case TOP_BAR:
		return (attr_t)COLOR_PAIR(PAIR_BAR);
	default:
		return mark == TOP_STRONG ? A_BOLD : A_NORMAL;
	}
}

/* ncurses would go on in the next line: so the text is cut at the right edge, by characters. */
static void put_wide(int y, int x, const char *text)
{
	wchar_t wide[TOP_COLUMNS_MAX];
	size_t len = mbstowcs(wide, text, ARRAY_LEN(wide));

	if (len != (size_t)-1 && x < COLS && y < LINES)
		mvaddnwstr(y, x, wide, MIN((int)len, COLS - x));
}

static void put(struct top_canvas *c, unsigned y, unsigned x, const char *text, enum top_mark mark)
{
	attr_t attr = the.row_attr ? the.row_attr : attr_of(mark);

	attrset((int)attr);
	put_wide((int)y, (int)x, text);
	attrset(A_NORMAL);
}

static void fill_line(int y, attr_t attr)
{
	attrset((int)attr);
	mvhline(y, 0, ' ', COLS);
	attrset(A_NORMAL);
}

static void put_line(int y, const char *text, enum top_mark mark)
{
	attrset((int)attr_of(mark));
	put_wide(y, 0, text);
	attrset(A_NORMAL);
}

/* Only as far as needed, so that the table stands still while the selection moves in it. */
static void keep_in_sight(struct top_ui *ui, unsigned page)
{
	unsigned count = ui->view->row_count;

	ui->page = page;
	ui->selected = MIN(ui->selected, count ? count - 1 : 0);
	if (ui->selected < ui->first)
		ui->first = ui->selected;
	else if (page && ui->selected >= ui->first + page)
		ui->first = ui->selected - page + 1;
	ui->first = MIN(ui->first, count > page ? count - page : 0);
}

static void draw_footer(const struct top_ui *ui)
{
	char text[128];
	int y = LINES - 1;

	if (ui->message) {
		put_line(y, ui->message, ui->is_error ? TOP_BAD : TOP_GOOD);
		return;
	}
	put_line(y, "q quit  h help  p policy  d drain  j k select", TOP_LABEL);
	snprintf(text, sizeof(text), "r every %gs", (double)ui->interval_ms / 1000);
	if (ui->view->row_count > ui->page)
		snprintf(text, sizeof(text), "%u-%u of %u  r every %gs", ui->first,
			 ui->first + ui->page - 1, ui->view->row_count,
			 (double)ui->interval_ms / 1000);
	if (COLS > 46 + (int)strlen(text)) {
		attrset((int)attr_of(TOP_LABEL));
		put_wide(y, COLS - (int)strlen(text), text);
		attrset(A_NORMAL);
	}
}

static void draw_table(struct top_canvas *c, struct top_ui *ui, unsigned y)
{
	unsigned left = (unsigned)LINES > y + 3 ? (unsigned)LINES - y - 3 : 1, shown;

	keep_in_sight(ui, left);
	fill_line((int)y, attr_of(TOP_HEAD));
	top_put_titles(c, y++);
	shown = MIN(left, ui->view->row_count - ui->first);
	for (unsigned i = 0; i < shown; i++, y++) {
		if (ui->first + i == ui->selected) {
			the.row_attr = A_REVERSE;
			fill_line((int)y, A_REVERSE);
		}
		top_put_row(c, y, ui->view, ui->first + i);
		the.row_attr = 0;
	}
	top_put_total(c, y, ui->view);
}

/* A frame in the middle around `rows` and `cells`; the screen's size limits it.  (`lines` is a
 * macro of term.h.) */
static WINDOW *open_frame(int rows, int cells, const char *title)
{
	int height = MIN(rows + 2, LINES), width = MIN(cells + 4, COLS);
	WINDOW *w = newwin(height, width, (LINES - height) / 2, (COLS - width) / 2);

	if (!w)
		return NULL;
	box(w, 0, 0);
	mvwprintw(w, 0, 2, " %s ", title);
	return w;
}

static void close_frame(WINDOW *w)
{
	wnoutrefresh(w);
	delwin(w);
}

static void draw_menu(const struct top_ui *ui)
{
	WINDOW *w = open_frame((int)ui->choice_count, 22, "policy");

	if (!w)
		return;
	for (int i = 0; i < (int)ui->choice_count && i < getmaxy(w) - 2; i++) {
		bool is_current = strcmp(ui->choices[i], ui->view->sample->policy) == 0;

		wattrset(w, i == (int)ui->choice ? (int)A_REVERSE : (int)A_NORMAL);
		mvwprintw(w, i + 1, 2, " %-9s %9s ", ui->choices[i], is_current ? "current" : "");
	}
	wattrset(w, A_NORMAL);
	close_frame(w);
}

static const char *const help[] = {
	"p        switch the policy: takes effect on the next SYN",
	"d        drain the selected slot, or take it back",
	"j k      select a slot; also arrows, PgUp PgDn, Home End",
	"r        next interval: 0.5, 1, 2, 5, 10 seconds",
	"q        quit",
	"",
	"imbalance  most connections of a slot / mean of all;",
	"           1.00 is perfect.  history is its past, from 1",
	"sd         standard deviation of the connections",
	"resv       connections on their way (SYN seen, not accepted)",
	"wght       weight; 0 is drained: no new connections",
	"p50 p99    time of the requests that ended in the interval",
	"verdicts   what the kernel program did, once for each run;",
	"           their sum is compared with the kernel's count of",
	"           runs while sysctl kernel.bpf_stats_enabled=1",
};

static void draw_help(void)
{
	WINDOW *w = open_frame(ARRAY_LEN(help), 62, "sluice top");

	if (!w)
		return;
	for (int i = 0; i < (int)ARRAY_LEN(help) && i < getmaxy(w) - 2; i++)
		mvwaddnstr(w, i + 1, 2, help[i], MAX(getmaxx(w) - 4, 0));
	close_frame(w);
}

/*
 * Where the table begins: a blank line below the summary, unless a row would have to go for it.  On
 * a small screen the end of the summary goes for some rows.
 */
static unsigned table_line(unsigned summary_end, unsigned row_count)
{
	unsigned height = (unsigned)LINES, others = 3; /* titles, total, footer */

	if (summary_end + 1 + others + row_count <= height)
		return summary_end + 1;
	return MIN(summary_end, height - others - MIN(row_count, (unsigned)FEW_ROWS));
}

void top_screen_draw(struct top_ui *ui)
{
	struct top_canvas c = {put, (unsigned)MIN(COLS, TOP_COLUMNS_MAX), top_locale_is_utf8(),
			       NULL};
	unsigned y;

	erase();
	if (LINES < MIN_LINES || COLS < MIN_COLUMNS) {
		put_line(0, "terminal too small", TOP_STRONG);
		refresh();
		return;
	}
	y = table_line(top_put_summary(&c, 0, ui->view, ui->history), ui->view->row_count);
	move((int)y, 0);
	clrtobot();
	draw_table(&c, ui, y);
	draw_footer(ui);
	wnoutrefresh(stdscr);
	if (ui->mode == TOP_MENU)
		draw_menu(ui);
	else if (ui->mode == TOP_HELP)
		draw_help();
	doupdate();
}

int top_screen_key(void)
{
	static const struct {
		int code, key;
	} keys[] = {
		{ERR, TOP_KEY_NONE},	      {KEY_RESIZE, TOP_KEY_RESIZE},
		{KEY_UP, TOP_KEY_UP},	      {KEY_DOWN, TOP_KEY_DOWN},
		{KEY_PPAGE, TOP_KEY_PAGE_UP}, {KEY_NPAGE, TOP_KEY_PAGE_DOWN},
		{KEY_HOME, TOP_KEY_HOME},     {KEY_END, TOP_KEY_END},
		{KEY_ENTER, TOP_KEY_ENTER},   {'\r', TOP_KEY_ENTER},
		{'\n', TOP_KEY_ENTER},	      {27, TOP_KEY_ESCAPE},
	};
	int code = getch();

	/* Terminals wrap or cut what they show as they like when they are resized: paint all anew.
	 */
	if (code == KEY_RESIZE || code == REPAINT)
		clearok(curscr, TRUE);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (keys[i].code == code)
			return keys[i].key;
	}
	return code >= TOP_KEY_FIRST_CHAR && code < 127 ? code : TOP_KEY_OTHER;
}
