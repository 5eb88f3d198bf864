/* SPDX-License-Identifier: MIT */
/* What the keys of `sluice top` do. */
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "cli/top_internal.h"

#define MESSAGE_MS 4000

void top_say(struct top *t, bool is_error)
{
	t->ui.message = t->message;
	t->ui.is_error = is_error;
	t->message_until_ns = clock_ns() + MESSAGE_MS * NS_PER_MS;
}

void top_end(struct top *t, int status)
{
	t->is_over = true;
	t->status = status;
}

/* Takes `question` over. */
static void act(struct top *t, json_t *question, const char *done)
{
	json_t *answer = NULL;
	int err = top_ask(t, question, &answer);

	json_decref(answer);
	if (!err)
		snprintf(t->message, sizeof(t->message), "%s", done);
	top_say(t, err != 0);
	/* What was changed shows at once. */
	if (!err)
		t->next_ns = clock_ns();
}

static void set_policy(struct top *t)
{
	const char *name = t->choices[t->ui.choice];
	char done[64];

	snprintf(done, sizeof(done), "policy is %s", name);
	act(t, json_pack("{s:s, s:s, s:s}", "command", "steer", "change", "policy", "policy", name),
	    done);
}

static void toggle_drain(struct top *t)
{
	const struct top_row *row = &t->view.rows[t->ui.selected];
	const char *change = row->weight ? "drain" : "undrain";
	char done[80];

	if (t->view.row_count == 0)
		return;
	snprintf(done, sizeof(done),
		 row->weight ? "slot %u gets no new connections" : "slot %u gets connections again",
		 row->slot);
	act(t,
	    json_pack("{s:s, s:s, s:i}", "command", "steer", "change", change, "slot",
		      (int)row->slot),
	    done);
}

static void next_interval(struct top *t)
{
	static const uint64_t steps[] = {500, 1000, 2000, 5000, 10000};
	size_t i = 0;

	while (i < ARRAY_LEN(steps) && steps[i] <= t->ui.interval_ms)
		i++;
	t->ui.interval_ms = steps[i % ARRAY_LEN(steps)];
	t->next_ns = MIN(t->next_ns, clock_ns() + t->ui.interval_ms * NS_PER_MS);
}

static void open_menu(struct top *t)
{
	t->ui.mode = TOP_MENU;
	t->ui.choice = 0;
	for (unsigned i = 0; i < t->ui.choice_count; i++) {
		if (strcmp(t->choices[i], t->view.sample->policy) == 0)
			t->ui.choice = i;
	}
}

static void on_menu_key(struct top *t, int key)
{
	unsigned count = t->ui.choice_count;

	switch (key) {
	case TOP_KEY_UP:
	case 'k':
		t->ui.choice = (t->ui.choice + count - 1) % count;
		break;
	case TOP_KEY_DOWN:
	case 'j':
		t->ui.choice = (t->ui.choice + 1) % count;
		break;
	case TOP_KEY_ENTER:
		t->ui.mode = TOP_TABLE;
		set_policy(t);
		break;
	case TOP_KEY_ESCAPE:
	case 'q':
	case 'p':
		t->ui.mode = TOP_TABLE;
		break;
	default:
		break;
	}
}

static void move_selection(struct top *t, int key)
{
	unsigned *row = &t->ui.selected, last = t->view.row_count ? t->view.row_count - 1 : 0;
	unsigned page = MAX(t->ui.page, 1u);

	if (key == TOP_KEY_UP || key == 'k')
		*row -= *row > 0;
	else if (key == TOP_KEY_DOWN || key == 'j')
		*row += *row < last;
	else if (key == TOP_KEY_PAGE_UP)
		*row -= MIN(*row, page);
	else if (key == TOP_KEY_PAGE_DOWN)
		*row = MIN(*row + page, last);
	else if (key == TOP_KEY_HOME || key == 'g')
		*row = 0;
	else if (key == TOP_KEY_END || key == 'G')
		*row = last;
}

static void on_table_key(struct top *t, int key)
{
	switch (key) {
	case 'q':
		top_end(t, CLI_OK);
		break;
	case 'h':
	case '?':
		t->ui.mode = TOP_HELP;
		break;
	case 'p':
		open_menu(t);
		break;
	case 'd':
		toggle_drain(t);
		break;
	case 'r':
		next_interval(t);
		break;
	default:
		move_selection(t, key);
		break;
	}
}

void top_on_key(struct top *t, int key)
{
	if (key == TOP_KEY_RESIZE)
		return;
	t->ui.message = NULL;
	if (t->ui.mode == TOP_MENU)
		on_menu_key(t, key);
	else if (t->ui.mode == TOP_HELP)
		t->ui.mode = TOP_TABLE;
	else
		on_table_key(t, key);
}
