/* SPDX-License-Identifier: MIT */
/*
 * Getting over what is wrong, without losing what follows.  Two hints tell where a statement ends:
 * its line, and whether what comes next looks like the beginning of another.
 */
#include "config/config_scan.h"
#include "config/config_scan_part.h"

bool scan_starts_statement(const struct frame *frame, const struct token *t)
{
	if (t->type != TOKEN_WORD)
		return false;
	if (is_assignment(t + 1) || t[1].type == TOKEN_OPEN || config_is_known(frame->id, t->text))
		return true;
	return is_value(t + 1) && t[2].type == TOKEN_OPEN;
}

/* The token before s->at; only valid behind the first. */
static unsigned last_line(const struct scan *s)
{
	return s->at[-1].end_line;
}

void scan_skip_block(struct scan *s)
{
	const struct token *open = s->at;
	unsigned depth = 0;

	do {
		if (s->at->type == TOKEN_END) {
			scan_fault(s, open, "this '{' is never closed: expected '}'");
			s->missing_close--;
			return;
		}
		depth += s->at->type == TOKEN_OPEN;
		depth -= s->at->type == TOKEN_CLOSE;
		s->at++;
	} while (depth);
}

unsigned scan_skip_values(struct scan *s, const struct frame *frame)
{
	unsigned count = 0;

	while (is_value(s->at) && s->at->line == last_line(s) &&
	       !scan_starts_statement(frame, s->at)) {
		s->at++;
		count++;
	}
	return count;
}

void scan_skip_titles(struct scan *s, const struct frame *frame)
{
	while (is_value(s->at) && s->at->line == last_line(s) && !is_assignment(s->at + 1) &&
	       !(s->at->type == TOKEN_WORD && config_is_known(frame->id, s->at->text)))
		s->at++;
}

void scan_skip_rest(struct scan *s, const struct frame *frame)
{
	if (!is_assignment(s->at)) {
		scan_skip_titles(s, frame);
		if (s->at->type == TOKEN_OPEN)
			scan_skip_block(s);
		return;
	}
	s->at++;
	if (s->at->type == TOKEN_OPEN)
		scan_skip_block(s);
	else if (is_value(s->at) && !scan_starts_statement(frame, s->at))
		s->at++;
	scan_skip_values(s, frame);
}

void scan_gap(struct scan *s)
{
	config_emit_text(&s->out, CONFIG_GAP " = 1");
}
