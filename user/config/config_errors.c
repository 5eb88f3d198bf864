/* SPDX-License-Identifier: MIT */
/* The list of faults: adding, ordering, printing. */
#include "config/config_errors.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/utf8.h"

#define MESSAGE_MAX 1200
#define SOURCE_MAX  160 /* bytes of a source line that are shown */
#define SOURCE_LEAD 60	/* of them before the caret, when the line is cut in front */

static char *safe_copy(const char *text, size_t len)
{
	char *copy = malloc(len + 1);

	if (!copy)
		return NULL;
	for (size_t i = 0; i < len;) {
		unsigned char c = (unsigned char)text[i];
		size_t step = utf8_len(text + i, len - i);

		if (step == 0 || (c < 0x20 && c != '\t') || c == 0x7f) {
			copy[i++] = '?';
			continue;
		}
		memcpy(copy + i, text + i, step);
		i += step;
	}
	copy[len] = '\0';
	return copy;
}

static struct span find_line(struct span text, unsigned line)
{
	const char *at = text.ptr, *end = text.ptr + text.len, *newline;

	for (unsigned i = 1; i < line && at < end; i++) {
		newline = memchr(at, '\n', (size_t)(end - at));
		at = newline ? newline + 1 : end;
	}
	if (line == 0 || at >= end)
		return span_of("", 0);
	newline = memchr(at, '\n', (size_t)(end - at));
	if (newline)
		end = newline;
	if (end > at && end[-1] == '\r')
		end--;
	return span_of(at, (size_t)(end - at));
}

/* A very long line is shown around its caret only. */
static struct span cut_line(struct span line, unsigned *column)
{
	size_t start = 0;

	if (line.len <= SOURCE_MAX)
		return line;
	if (*column > SOURCE_LEAD)
		start = MIN(*column - SOURCE_LEAD, line.len - SOURCE_LEAD);
	if (*column)
		*column -= (unsigned)start;
	return span_of(line.ptr + start, MIN(line.len - start, (size_t)SOURCE_MAX));
}

static void add(struct config_faults *f, unsigned line, unsigned column, const char *fmt,
		va_list args)
{
	struct config_errors *errors = f->errors;
	struct config_error *e;
	struct span source = find_line(f->text, line);
	char message[MESSAGE_MAX];
	int len;

	len = vsnprintf(message, sizeof(message), fmt, args);
	len = len < 0 ? 0 : MIN(len, MESSAGE_MAX - 1);
	if (column > source.len + 1)
		column = 0;
	source = cut_line(source, &column);
	e = &errors->items[errors->count++];
	*e = (struct config_error){.line = line, .column = column};
	e->file = safe_copy(f->file, strlen(f->file));
	e->source = safe_copy(source.ptr, source.len);
	e->message = safe_copy(message, (size_t)len);
}

/* Asked first of all: looking up lines for faults that nobody will see took minutes on a large
 * file. */
static bool is_full(struct config_errors *errors)
{
	if (errors->count < CONFIG_ERRORS_MAX)
		return false;
	errors->omitted++;
	return true;
}

void config_fault(struct config_faults *f, unsigned line, unsigned column, const char *fmt, ...)
{
	va_list args;

	if (is_full(f->errors))
		return;
	va_start(args, fmt);
	add(f, line, column, fmt, args);
	va_end(args);
}

static bool is_word_byte(char c)
{
	return (c >= 'a' && c <= 'z') || c == '_' || (c >= '0' && c <= '9');
}

/* Where the word begins as a whole word, or text.len. */
static size_t find_word(struct span text, struct span word)
{
	for (size_t i = 0; word.len && i + word.len <= text.len; i++) {
		if (memcmp(text.ptr + i, word.ptr, word.len) != 0)
			continue;
		if (i > 0 && is_word_byte(text.ptr[i - 1]))
			continue;
		if (i + word.len < text.len && is_word_byte(text.ptr[i + word.len]))
			continue;
		return i;
	}
	return text.len;
}

static unsigned find_column(struct span line, const char *key, const char *needle)
{
	struct span rest = line;
	const char *at;
	size_t pos;

	if (key) {
		pos = find_word(line, span_str(key));
		if (pos == line.len)
			return 0;
		if (!needle)
			return (unsigned)pos + 1;
		pos += strlen(key);
		rest = span_of(line.ptr + pos, line.len - pos);
	}
	if (!needle || !*needle)
		return 0;
	at = memmem(rest.ptr, rest.len, needle, strlen(needle));
	return at ? (unsigned)(at - line.ptr) + 1 : 0;
}

void config_fault_value(struct config_faults *f, unsigned line, const char *key, const char *needle,
			const char *fmt, ...)
{
	va_list args;

	if (is_full(f->errors))
		return;
	va_start(args, fmt);
	add(f, line, find_column(find_line(f->text, line), key, needle), fmt, args);
	va_end(args);
}

static int compare(const struct config_error *a, const struct config_error *b)
{
	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	return a->column < b->column ? -1 : a->column > b->column;
}

static void free_item(struct config_error *e)
{
	free(e->file);
	free(e->source);
	free(e->message);
}

static bool is_same(const struct config_error *a, const struct config_error *b)
{
	return a->line == b->line && a->message && b->message &&
	       strcmp(a->message, b->message) == 0;
}

/* Insertion sort: at most CONFIG_ERRORS_MAX items, mostly in order, and what is equal must stay as
 * found. */
void config_faults_finish(struct config_faults *f)
{
	struct config_errors *errors = f->errors;
	unsigned kept = 0;

	for (unsigned i = 1; i < errors->count; i++) {
		struct config_error e = errors->items[i];
		unsigned at = i;

		for (; at > 0 && compare(&errors->items[at - 1], &e) > 0; at--)
			errors->items[at] = errors->items[at - 1];
		errors->items[at] = e;
	}
	for (unsigned i = 0; i < errors->count; i++) {
		bool is_known = false;

		for (unsigned k = 0; k < kept && !is_known; k++)
			is_known = is_same(&errors->items[k], &errors->items[i]);
		if (is_known)
			free_item(&errors->items[i]);
		else
			errors->items[kept++] = errors->items[i];
	}
	errors->count = kept;
}

/* The caret stands under its byte whatever the width of a tab; continuation bytes of UTF-8 take no
 * column. */
static void print_caret(const struct config_error *e, FILE *out)
{
	fputs("    ", out);
	for (unsigned i = 0; i + 1 < e->column; i++) {
		if (e->source[i] == '\t')
			fputc('\t', out);
		else if (((unsigned char)e->source[i] & 0xc0) != 0x80)
			fputc(' ', out);
	}
	fputs("^\n", out);
}

static void print_item(const struct config_error *e, FILE *out)
{
	const char *file = e->file ? e->file : "configuration";
	const char *message = e->message ? e->message : "out of memory";

	if (e->line)
		fprintf(out, "%s:%u: error: %s\n", file, e->line, message);
	else
		fprintf(out, "%s: error: %s\n", file, message);
	if (!e->line || !e->source || !*e->source)
		return;
	fprintf(out, "    %s\n", e->source);
	if (e->column && e->column <= strlen(e->source) + 1)
		print_caret(e, out);
}

void config_errors_print(const struct config_errors *errors, FILE *out)
{
	for (unsigned i = 0; i < errors->count; i++)
		print_item(&errors->items[i], out);
	if (errors->omitted)
		fprintf(out, "and %u further error%s\n", errors->omitted,
			errors->omitted == 1 ? "" : "s");
}

void config_errors_free(struct config_errors *errors)
{
	for (unsigned i = 0; i < errors->count; i++)
		free_item(&errors->items[i]);
	errors->count = 0;
	errors->omitted = 0;
}
