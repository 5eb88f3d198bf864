/* SPDX-License-Identifier: MIT */
/*
 * Recursive descent over the tokens, one function for each form of a statement:
 *
 *   KEY = VALUE          KEY = { VALUE, ... }          SECTION { ... }          SECTION "TITLE" {
 * ... }
 *
 * After a fault it goes on behind the statement.  Braces are balanced over the whole file first,
 * because a brace that is missing is noticed far from where it belongs: while some are missing, a
 * name that only an outer section knows closes the inner one; while some are too many, "SECTION"
 * without one is taken as open.
 */
#include "config/config_scan.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "config/config_scan_part.h"

#define TITLES_MAX 10000 /* sections with titles: libconfuse compares each with each */

static void scan_body(struct scan *s, struct frame *frame);

/* --- unknown names --- */

/* True: the statement must not be mistaken for a missing one, so a gap is left. */
static void unknown_name(struct scan *s, struct frame *frame, const struct token *name)
{
	char hint[CONFIG_HINT_TEXT];
	bool is_section = !is_assignment(s->at);

	if (!name->is_faulty)
		scan_fault(s, name, "unknown key '%.*s' %s%s", SPAN_ARG(token_shown(name)),
			   config_section_where(frame->id),
			   config_unknown_hint(frame->id, token_shown(name), hint));
	scan_skip_rest(s, frame);
	if (is_section || frame->id != CONFIG_ROOT)
		scan_gap(s);
}

static bool is_known_outside(const struct frame *frame, struct span name)
{
	for (frame = frame->outer; frame; frame = frame->outer) {
		if (config_is_known(frame->id, name))
			return true;
	}
	return false;
}

/* --- SECTION "TITLE" { ... } --- */

/* A number as title, for libconfuse; false: reported. */
static bool emit_serial(struct scan *s, const struct token *title)
{
	char serial[16];

	if (s->title_count == TITLES_MAX)
		scan_fault(s, title, "more than %d sections", TITLES_MAX);
	snprintf(serial, sizeof(serial), "%u", s->title_count++);
	config_emit_text(&s->out, serial);
	return s->title_count <= TITLES_MAX;
}

/* The title at hand; NULL where there is none, or a faulty one. */
static const struct token *scan_title(struct scan *s, struct frame *frame,
				      enum config_section_id id, const struct token *name)
{
	const struct config_section *section = &config_sections[id];
	const struct token *title = s->at, *stray;

	if (!is_value(title)) {
		if (section->title)
			scan_fault(s, name, "%s needs %s: expected '%s %s { ... }'", section->name,
				   section->title_word, section->name, section->title);
		return NULL;
	}
	stray = ++s->at;
	scan_skip_titles(s, frame);
	if (!section->title) {
		scan_fault(s, title, "%s takes no name: expected '%s { ... }'", section->name,
			   section->name);
		return NULL;
	}
	if (s->at != stray && !title->is_faulty && !stray->is_faulty)
		scan_fault(s, stray,
			   "unexpected '%.*s': what %s is called goes into one pair of quotes",
			   SPAN_ARG(token_shown(stray)), section->name);
	return s->at != stray || title->is_faulty ? NULL : title;
}

/* "section = ..." in place of "section { ... }".  True: a block follows. */
static bool scan_section_sign(struct scan *s, struct frame *frame, enum config_section_id id)
{
	const struct config_section *section = &config_sections[id];

	scan_fault(s, s->at, "%s is a section: expected '%s%s%s { ... }', without '='",
		   section->name, section->name, section->title ? " " : "",
		   section->title ? section->title : "");
	if (s->at[1].type != TOKEN_OPEN) {
		scan_skip_rest(s, frame);
		return false;
	}
	s->at++;
	return true;
}

/* No brace behind name and title.  True: the section is taken as open all the same. */
static bool scan_missing_open(struct scan *s, enum config_section_id id, const struct token *last)
{
	const struct config_section *section = &config_sections[id];
	bool is_body = s->missing_close < 0 && s->at->type == TOKEN_WORD &&
		       config_is_known(id, s->at->text);

	scan_fault(s, last, "missing '{': expected '%s%s%s { ... }'", section->name,
		   section->title ? " " : "", section->title ? section->title : "");
	if (is_body)
		s->missing_close++;
	return is_body;
}

/* Behind name and title, at the brace. */
static void scan_block(struct scan *s, struct frame *outer, enum config_section_id id,
		       const struct token *title)
{
	const struct token *last = s->at - 1;
	struct frame frame = {.id = id, .open = last, .outer = outer};
	bool has_body = s->at->type == TOKEN_OPEN;

	if (has_body)
		frame.open = s->at++;
	else
		has_body = scan_missing_open(s, id, last);
	config_emit_text(&s->out, "{");
	if (title) {
		config_emit_text(&s->out, CONFIG_TITLE " =");
		config_emit(&s->out, title);
	} else if (!config_sections[id].title) {
		config_emit_text(&s->out, CONFIG_TITLE " = 1");
	}
	if (has_body)
		scan_body(s, &frame);
	else
		config_emit_text(&s->out, CONFIG_GAP " = 1 }");
}

/* False: the section is faulty as a whole and must be left out. */
static bool scan_section_parts(struct scan *s, struct frame *frame, enum config_section_id id,
			       const struct token *name)
{
	const struct token *title;
	bool is_good = true;

	config_emit(&s->out, name);
	if (is_assignment(s->at) && !scan_section_sign(s, frame, id))
		return false;
	title = scan_title(s, frame, id, name);
	if (config_sections[id].title)
		is_good = emit_serial(s, name);
	else if (frame->section_lines[id])
		scan_fault(s, name, "%s is given twice: first on line %u", config_sections[id].name,
			   frame->section_lines[id]);
	frame->section_lines[id] = name->line;
	scan_block(s, frame, id, title);
	return is_good;
}

static void scan_section(struct scan *s, struct frame *frame, enum config_section_id id)
{
	struct config_mark before = config_emit_mark(&s->out, s->at);

	if (scan_section_parts(s, frame, id, s->at++))
		return;
	config_emit_rollback(&s->out, before);
	scan_gap(s);
}

/* --- what stands between braces --- */

static void scan_statement(struct scan *s, struct frame *frame)
{
	const struct token *name = s->at;
	const struct config_key *key = config_key_find(frame->id, name->text);
	enum config_section_id id = config_section_find(frame->id, name->text);

	if (key) {
		scan_key(s, frame, key);
	} else if (id != CONFIG_ROOT) {
		scan_section(s, frame, id);
	} else if (s->missing_close > 0 && is_known_outside(frame, name->text)) {
		scan_fault(s, frame->open,
			   "the '{' of %s is not closed: expected '}' before line %u",
			   config_sections[frame->id].name, name->line);
		s->missing_close--;
		frame->is_left_early = true;
	} else {
		s->at++;
		unknown_name(s, frame, name);
	}
}

static void scan_stray(struct scan *s)
{
	const struct token *t = s->at++;

	if (t->is_faulty)
		return;
	if (t->type == TOKEN_COMMA)
		scan_fault(s, t, "unexpected ',': settings are separated by blanks or lines");
	else if (t->type == TOKEN_CLOSE)
		scan_fault(s, t, "unexpected '}': nothing is open here");
	else
		scan_fault(s, t, "unexpected '%.*s': expected a key or a section",
			   SPAN_ARG(token_shown(t)));
	if (t->type == TOKEN_OPEN) {
		s->at = t;
		scan_skip_block(s);
	}
}

static void scan_end(struct scan *s, struct frame *frame)
{
	if (!frame->open)
		return;
	scan_fault(s, frame->open, "the '{' of %s is never closed: expected '}'",
		   config_sections[frame->id].name);
	frame->is_left_early = true;
}

static void scan_body(struct scan *s, struct frame *frame)
{
	while (!frame->is_left_early) {
		if (s->at->type == TOKEN_END) {
			scan_end(s, frame);
			break;
		}
		if (s->at->type == TOKEN_CLOSE && frame->open) {
			config_emit(&s->out, s->at++);
			return;
		}
		if (s->at->type == TOKEN_WORD)
			scan_statement(s, frame);
		else
			scan_stray(s);
	}
	if (frame->open)
		config_emit_text(&s->out, "}");
}

static int count_missing(const struct token_list *list)
{
	int missing = 0;

	for (size_t i = 0; i < list->count; i++) {
		missing += list->items[i].type == TOKEN_OPEN;
		missing -= list->items[i].type == TOKEN_CLOSE;
	}
	return missing;
}

int config_scan(struct config_faults *f, char **ret_text)
{
	struct frame root = {.id = CONFIG_ROOT};
	struct token_list tokens;
	struct scan *s;
	int r;

	r = config_lex(f->text, f, &tokens);
	if (r)
		return r;
	s = calloc(1, sizeof(*s));
	if (!s) {
		config_lex_free(&tokens);
		return -ENOMEM;
	}
	s->faults = f;
	s->at = tokens.items;
	s->missing_close = count_missing(&tokens);
	config_emit_init(&s->out);
	scan_body(s, &root);
	if (s->out.has_no_memory) {
		free(s->out.ptr);
		r = -ENOMEM;
	} else {
		*ret_text = s->out.ptr;
	}
	config_lex_free(&tokens);
	free(s);
	return r;
}
