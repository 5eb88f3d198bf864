/* SPDX-License-Identifier: MIT */
/* The lexer: words, strings, punctuation, comments. */
#include "config/config_lex.h"

#include <stdlib.h>

#include "base/err.h"

#define CONTROLS_MAX 8 /* more of them are no typing slip: the file is not text */

struct lexer {
	const char *at, *end, *line_start;
	unsigned line;
	struct config_faults *faults;
	struct token_list *list;
	size_t room;
};

struct span token_shown(const struct token *t)
{
	struct span s = t->text;

	if (t->type == TOKEN_STRING) {
		s.ptr++;
		s.len -= s.len > 1 && s.ptr[s.len - 2] == s.ptr[-1] ? 2 : 1;
	}
	s.len = MIN(s.len, (size_t)60);
	return s;
}

static unsigned column_of(const struct lexer *x, const char *at)
{
	return (unsigned)(at - x->line_start) + 1;
}

#define fault_here(x, where, ...)                                                                  \
	config_fault((x)->faults, (x)->line, column_of((x), (where)), __VA_ARGS__)

static void next_line(struct lexer *x)
{
	x->line++;
	x->line_start = x->at;
}

static struct token *add_token(struct lexer *x, enum token_type type, const char *start)
{
	struct token_list *list = x->list;
	struct token *items;

	if (list->count == x->room) {
		x->room = x->room ? x->room * 2 : 256;
		items = realloc(list->items, x->room * sizeof(*items));
		if (!items)
			return NULL;
		list->items = items;
	}
	items = &list->items[list->count++];
	*items = (struct token){.type = type, .line = x->line, .end_line = x->line};
	items->column = column_of(x, start);
	items->text = span_of(start, (size_t)(x->at - start));
	return items;
}

static bool is_control(char c)
{
	unsigned char u = (unsigned char)c;

	return (u < 0x20 && c != '\t' && c != '\n' && c != '\r') || u == 0x7f;
}

/* libconfuse's own set of what an unquoted string may hold, less controls. */
static bool is_word_char(char c)
{
	return !is_control(c) && !strchr(" #\"'\t\n\r={}()+,*", c);
}

static bool starts_comment(const struct lexer *x)
{
	return *x->at == '#' ||
	       (*x->at == '/' && x->at + 1 < x->end && (x->at[1] == '/' || x->at[1] == '*'));
}

static void skip_block_comment(struct lexer *x)
{
	const char *start = x->at, *line_start = x->line_start;
	unsigned line = x->line;

	for (x->at += 2; x->at < x->end;) {
		if (*x->at == '*' && x->at + 1 < x->end && x->at[1] == '/') {
			x->at += 2;
			return;
		}
		if (*x->at++ == '\n')
			next_line(x);
	}
	config_fault(x->faults, line, (unsigned)(start - line_start) + 1,
		     "this comment is never closed: expected '*/'");
}

static void skip_comment(struct lexer *x)
{
	if (x->at[0] == '/' && x->at[1] == '*') {
		skip_block_comment(x);
		return;
	}
	while (x->at < x->end && *x->at != '\n')
		x->at++;
}

/* "${NAME}" or "${NAME:-default}" at x->at; anything else would run on to some later brace.  False:
 * reported. */
static bool check_variable(struct lexer *x)
{
	const char *name = x->at + 2, *at = name, *close;
	char text[128];

	while (at < x->end && (*at == '_' || (*at >= 'a' && *at <= 'z') ||
			       (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9')))
		at++;
	for (close = at; close < x->end && !strchr("}\"\\\n", *close); close++)
		;
	if (at == name || (size_t)(at - name) >= sizeof(text) || close == x->end || *close != '}' ||
	    (at != close && (close - at < 2 || at[0] != ':' || at[1] != '-'))) {
		fault_here(x, x->at,
			   "expected ${NAME} or ${NAME:-default}, an environment "
			   "variable; for the characters themselves write \\${");
		return false;
	}
	memcpy(text, name, (size_t)(at - name));
	text[at - name] = '\0';
	if (at == close && !getenv(text)) {
		fault_here(x, x->at,
			   "environment variable '%s' is not set; ${%s:-default} gives "
			   "it a default",
			   text, text);
		return false;
	}
	x->at = close;
	return true;
}

/* Digits after a backslash: libconfuse takes one to three octal ones, up to \377; NUL would end the
 * string. */
static bool check_octal(struct lexer *x)
{
	unsigned value = 0, len = 1;

	while (x->at + len < x->end && x->at[len] >= '0' && x->at[len] <= '9')
		len++;
	for (unsigned i = 1; i < len; i++)
		value = len > 4 || x->at[i] > '7' ? 256 : value * 8 + (unsigned)(x->at[i] - '0');
	if (value == 0 || value > 255) {
		fault_here(x, x->at, "bad escape '%.*s': expected \\1 to \\377, octal",
			   (int)MIN(len, 12u), x->at);
		return false;
	}
	x->at += len - 1;
	return true;
}

static bool check_hex(struct lexer *x)
{
	const char *at = x->at + 2;
	unsigned value = 0;

	for (; at < x->end && at - x->at < 4 && hex_value(*at) >= 0; at++)
		value = value * 16 + (unsigned)hex_value(*at);
	if (value == 0) {
		fault_here(x, x->at, "bad escape: expected \\x01 to \\xff");
		return false;
	}
	x->at = at - 1;
	return true;
}

/* A backslash within double quotes; leaves x->at on the last byte of the escape.  False: reported.
 */
static bool check_escape(struct lexer *x)
{
	char c = x->at[1];

	if (c >= '0' && c <= '9')
		return check_octal(x);
	if (c == 'x')
		return check_hex(x);
	if (((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) && !strchr("nrbfaetv", c)) {
		fault_here(x, x->at, "unknown escape '\\%c'; a backslash itself is '\\\\'", c);
		x->at++;
		return false;
	}
	x->at++;
	return true;
}

/* A backslash at the end of a line: the string goes on in the next one. */
static bool is_continued(const struct lexer *x)
{
	size_t left = (size_t)(x->end - x->at);

	return (left > 1 && memcmp(x->at, "\\\n", 2) == 0) ||
	       (left > 2 && memcmp(x->at, "\\\r\n", 3) == 0);
}

/* Moves over one element of a string.  False: it was faulty. */
static bool string_step(struct lexer *x, char quote)
{
	bool is_good = true, has_next = x->at + 1 < x->end;

	if (is_continued(x))
		x->at += x->at[1] == '\r' ? 2 : 1;
	else if (*x->at == '\\' && has_next && quote == '"')
		is_good = check_escape(x);
	else if (*x->at == '\\' && has_next)
		x->at++;
	else if (quote == '"' && *x->at == '$' && has_next && x->at[1] == '{')
		is_good = check_variable(x);
	if (*x->at++ == '\n')
		next_line(x);
	return is_good;
}

static int take_string(struct lexer *x)
{
	struct lexer start = *x;
	char quote = *x->at++;
	bool is_good = true;
	struct token *t;

	while (x->at < x->end && *x->at != quote && *x->at != '\n') {
		if (!string_step(x, quote))
			is_good = false;
	}
	if (x->at < x->end && *x->at == quote) {
		x->at++;
	} else {
		config_fault(x->faults, start.line, column_of(&start, start.at),
			     "this quote is never closed: expected %c before the end of the line",
			     quote);
		is_good = false;
	}
	t = add_token(x, TOKEN_STRING, start.at);
	if (!t)
		return -ENOMEM;
	t->line = start.line;
	t->column = column_of(&start, start.at);
	t->is_faulty = !is_good;
	return 0;
}

/* What looks like a word but would mean something else to libconfuse, or to the reader. */
static bool check_word(struct lexer *x, const struct token *t)
{
	struct span s = t->text;

	if (s.ptr[s.len - 1] == '$' && x->at < x->end && *x->at == '{') {
		fault_here(x, s.ptr, "an environment variable must stand in quotes: \"${NAME}\"");
		return false;
	}
	if (s.ptr[s.len - 1] == ':' && x->at < x->end && starts_comment(x)) {
		fault_here(x, s.ptr, "a value with '//' must stand in quotes: it begins a comment");
		while (x->at < x->end && !strchr(" \t\r\n", *x->at))
			x->at++; /* an address was meant; what follows it was no comment */
		return false;
	}
	if (memchr(s.ptr, ';', s.len)) {
		fault_here(x, s.ptr, "a value with ';' must stand in quotes");
		return false;
	}
	for (size_t i = 0; i < s.len; i++) {
		if ((unsigned char)s.ptr[i] < 0x80)
			continue;
		fault_here(x, s.ptr + i,
			   "a character outside ASCII must stand in quotes (\" or ')");
		return false;
	}
	return true;
}

static int take_word(struct lexer *x)
{
	const char *start = x->at;
	struct token *t;

	while (x->at < x->end && is_word_char(*x->at) && !starts_comment(x))
		x->at++;
	t = add_token(x, TOKEN_WORD, start);
	if (!t)
		return -ENOMEM;
	/* "workers = 4;" is habit from elsewhere: said once, then 4 is looked at. */
	if (x->at[-1] == ';') {
		fault_here(x, x->at - 1, "unexpected ';': a setting ends by itself");
		if (--t->text.len == 0) {
			x->list->count--;
			return 0;
		}
	}
	t->is_faulty = !check_word(x, t);
	return 0;
}

static int take_sign(struct lexer *x)
{
	static const char signs[] = "{}=,";
	static const enum token_type types[] = {TOKEN_OPEN, TOKEN_CLOSE, TOKEN_EQUAL, TOKEN_COMMA};
	const char *start = x->at++, *sign = strchr(signs, *start);
	enum token_type type = sign ? types[sign - signs] : TOKEN_BAD;
	struct token *t;

	if (*start == '+' && x->at < x->end && *x->at == '=') {
		x->at++;
		type = TOKEN_APPEND;
	}
	if (type == TOKEN_BAD)
		fault_here(x, start, "'%c' must stand in quotes", *start);
	t = add_token(x, type, start);
	if (!t)
		return -ENOMEM;
	t->is_faulty = type == TOKEN_BAD;
	return 0;
}

static int take_token(struct lexer *x)
{
	char c = *x->at;

	if (c == '\n') {
		x->at++;
		next_line(x);
		return 0;
	}
	if (c == ' ' || c == '\t' || c == '\r' || is_control(c)) {
		x->at++;
		return 0;
	}
	if (starts_comment(x)) {
		skip_comment(x);
		return 0;
	}
	if (c == '"' || c == '\'')
		return take_string(x);
	return is_word_char(c) ? take_word(x) : take_sign(x);
}

/* 0, or -EINVAL when this is no text file: then what follows would only be noise.  Counts first,
 * then reports. */
static int check_controls(struct lexer *x)
{
	unsigned count = 1;

	for (int pass = 0; pass < 2 && count; pass++) {
		struct lexer scan = *x;

		for (count = 0; scan.at < scan.end;) {
			char c = *scan.at;

			count += is_control(c);
			if (c == '\0' || count > CONTROLS_MAX) {
				fault_here(&scan, scan.at, "byte 0x%02x: this is not a text file",
					   (unsigned char)c);
				return -EINVAL;
			}
			if (is_control(c) && pass)
				fault_here(&scan, scan.at, "control character 0x%02x",
					   (unsigned char)c);
			scan.at++;
			if (c == '\n')
				next_line(&scan);
		}
	}
	return 0;
}

int config_lex(struct span text, struct config_faults *f, struct token_list *ret_list)
{
	struct lexer x = {.at = text.ptr, .end = text.ptr + text.len, .line = 1};
	int r;

	*ret_list = (struct token_list){0};
	x.line_start = x.at;
	x.faults = f;
	x.list = ret_list;
	r = check_controls(&x);
	while (!r && x.at < x.end)
		r = take_token(&x);
	if (!r && !add_token(&x, TOKEN_END, x.at))
		r = -ENOMEM;
	if (r)
		config_lex_free(ret_list);
	return r;
}

void config_lex_free(struct token_list *list)
{
	free(list->items);
	*list = (struct token_list){0};
}
