/* SPDX-License-Identifier: MIT */
/* What the parts of the scanner share: its state, and getting over what is wrong.  Included by them
 * alone. */
#ifndef SLUICE_PROC_CONFIG_SCAN_PART_H
#define SLUICE_PROC_CONFIG_SCAN_PART_H

#include "config/config_emit.h"
#include "config/config_schema.h"

#define CONFIG_KEYS_MAX 64 /* in one section */

/* A section being read. */
struct frame {
	enum config_section_id id;
	const struct token *open; /* its brace; NULL: the file itself */
	struct frame *outer;
	unsigned key_lines[CONFIG_KEYS_MAX];	      /* where a key was set, 0 = not yet */
	unsigned section_lines[CONFIG_SECTION_COUNT]; /* the same for sections without title */
	bool is_left_early;			      /* its closing brace is missing */
};

struct scan {
	struct config_faults *faults;
	const struct token *at;
	int missing_close; /* braces opened and never closed; negative: too many closed */
	struct config_emit out;
	unsigned title_count;
};

#define scan_fault(s, token, ...)                                                                  \
	config_fault((s)->faults, (token)->line, (token)->column, __VA_ARGS__)

static inline bool is_value(const struct token *t)
{
	return t->type == TOKEN_WORD || t->type == TOKEN_STRING || t->type == TOKEN_BAD;
}

static inline bool is_assignment(const struct token *t)
{
	return t->type == TOKEN_EQUAL || t->type == TOKEN_APPEND;
}

/* Could a statement begin here?  Told from a stray value by what follows it. */
bool scan_starts_statement(const struct frame *frame, const struct token *t);
/* Marks that a statement was left out here (CONFIG_GAP). */
void scan_gap(struct scan *s);

/* At an opening brace: behind the one that closes it, or at the end, which is reported. */
void scan_skip_block(struct scan *s);
/* Values left over behind a statement, on its last line.  How many. */
unsigned scan_skip_values(struct scan *s, const struct frame *frame);
/* What stands between the name of a section and its brace. */
void scan_skip_titles(struct scan *s, const struct frame *frame);
/* Behind "= VALUE", "= { ... }", "TITLE { ... }", "{ ... }" or nothing. */
void scan_skip_rest(struct scan *s, const struct frame *frame);

/* At a name, of a key. */
void scan_key(struct scan *s, struct frame *frame, const struct config_key *key);

#endif
