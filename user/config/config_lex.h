/* SPDX-License-Identifier: MIT */
/*
 * The tokens of a configuration file, with their places.  libconfuse has a lexer of its own, but
 * one that keeps its state over a broken string, counts lines wrongly around comments and drops
 * characters it does not know; so this one looks first, and reports what libconfuse would get
 * wrong.  It is stricter in one thing: a string ends on its line, so that a forgotten quote is
 * reported where it was forgotten.
 */
#ifndef SLUICE_PROC_CONFIG_LEX_H
#define SLUICE_PROC_CONFIG_LEX_H

#include "config/config_errors.h"

enum token_type {
	TOKEN_END,
	TOKEN_WORD,   /* unquoted */
	TOKEN_STRING, /* with its quotes */
	TOKEN_OPEN,   /* { */
	TOKEN_CLOSE,  /* } */
	TOKEN_EQUAL,  /* = */
	TOKEN_APPEND, /* += */
	TOKEN_COMMA,
	TOKEN_BAD, /* a character that must be quoted; reported already */
};

struct token {
	enum token_type type;
	unsigned line, column; /* of its first byte, from 1 */
	unsigned end_line;     /* a string may go on behind a backslash at the end of the line */
	bool is_faulty;	       /* reported already: use the place, not the value */
	struct span text;      /* within the file's text */
};

struct token_list {
	struct token *items; /* the last one is TOKEN_END */
	size_t count;
};

/* Text of a token for messages: without quotes, at most 60 bytes.  For "%.*s" by SPAN_ARG. */
struct span token_shown(const struct token *t);

/* Faults go to f.  0, -EINVAL (not a text file at all; reported), -ENOMEM. */
int config_lex(struct span text, struct config_faults *f, struct token_list *ret_list);
void config_lex_free(struct token_list *list);

#endif
