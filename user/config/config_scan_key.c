/* SPDX-License-Identifier: MIT */
/* KEY = VALUE and KEY = { VALUE, ... }. */
#include "base/err.h"
#include "config/config_scan_part.h"

static bool scan_list(struct scan *s, const struct config_key *key)
{
	const struct token *open = s->at++;
	bool is_good = true;

	config_emit(&s->out, open);
	while (is_value(s->at)) {
		is_good = is_good && !s->at->is_faulty;
		config_emit(&s->out, s->at++);
		if (s->at->type != TOKEN_COMMA)
			break;
		/* Not the last comma: libconfuse takes it, but not before a brace on its own. */
		if (is_value(s->at + 1))
			config_emit(&s->out, s->at);
		s->at++;
	}
	if (s->at->type == TOKEN_CLOSE) {
		config_emit(&s->out, s->at++);
		return is_good;
	}
	scan_fault(s, s->at->type == TOKEN_END ? open : s->at,
		   "expected ',' or '}' in the list of '%s'", key->name);
	s->at = open;
	scan_skip_block(s);
	return false;
}

/* The value behind '='.  False: faulty, and reported. */
static bool scan_value(struct scan *s, struct frame *frame, const struct config_key *key)
{
	const struct token *sign = s->at - 1, *t = s->at;

	if (t->type == TOKEN_OPEN && key->kind == KIND_LIST)
		return scan_list(s, key);
	if (t->type == TOKEN_OPEN) {
		scan_fault(s, t, "'%s' takes one value, not a list", key->name);
		scan_skip_block(s);
		return false;
	}
	if (!is_value(t) || (t->line != sign->line && scan_starts_statement(frame, t)) ||
	    (t->type == TOKEN_WORD && is_assignment(t + 1))) {
		scan_fault(s, sign, "missing value: expected '%s = VALUE'", key->name);
		return false;
	}
	config_emit(&s->out, s->at++);
	return !t->is_faulty;
}

static bool scan_sign(struct scan *s, struct frame *frame, const struct token *name)
{
	struct span shown = token_shown(name);

	if (s->at->type == TOKEN_EQUAL) {
		config_emit(&s->out, s->at++);
		return true;
	}
	if (s->at->type == TOKEN_APPEND)
		scan_fault(s, s->at, "'+=' is not used here: expected '%.*s = { VALUE, ... }'",
			   SPAN_ARG(shown));
	else if (s->at->type == TOKEN_OPEN)
		scan_fault(s, name, "'%.*s' is a key, not a section: expected '%.*s = VALUE'",
			   SPAN_ARG(shown), SPAN_ARG(shown));
	else
		scan_fault(s, name, "missing '=': expected '%.*s = VALUE'", SPAN_ARG(shown));
	scan_skip_rest(s, frame);
	return false;
}

static bool scan_setting(struct scan *s, struct frame *frame, const struct token *name,
			 const struct config_key *key)
{
	size_t index = (size_t)(key - config_sections[frame->id].keys);
	const struct token *stray;
	bool is_good;

	BUG_ON(index >= CONFIG_KEYS_MAX);
	config_emit(&s->out, name);
	if (!scan_sign(s, frame, name))
		return false;
	is_good = scan_value(s, frame, key);
	stray = s->at;
	if (scan_skip_values(s, frame) && is_good && !stray->is_faulty)
		scan_fault(s, stray, "unexpected '%.*s' behind the value of '%s'%s",
			   SPAN_ARG(token_shown(stray)), key->name,
			   key->kind == KIND_TEXT || key->kind == KIND_HANDLER
				   ? ": a value with blanks must stand in quotes"
				   : "");
	is_good = is_good && s->at == stray;
	if (frame->key_lines[index]) {
		scan_fault(s, name, "'%s' is set twice: first on line %u", key->name,
			   frame->key_lines[index]);
		return false;
	}
	frame->key_lines[index] = name->line;
	return is_good;
}

void scan_key(struct scan *s, struct frame *frame, const struct config_key *key)
{
	struct config_mark before = config_emit_mark(&s->out, s->at);

	if (scan_setting(s, frame, s->at++, key))
		return;
	config_emit_rollback(&s->out, before);
	if (key->kind == KIND_HANDLER)
		scan_gap(s);
}
