/* SPDX-License-Identifier: MIT */
/* A growing text that knows which line it is on. */
#include "config/config_emit.h"

#include <stdlib.h>

static void add(struct config_emit *e, const char *ptr, size_t len)
{
	size_t room = e->room ? e->room : 4096;
	char *bigger;

	while (room < e->len + len + 1)
		room *= 2;
	if (room != e->room) {
		bigger = realloc(e->ptr, room);
		if (!bigger) {
			e->has_no_memory = true;
			return;
		}
		e->ptr = bigger;
		e->room = room;
	}
	memcpy(e->ptr + e->len, ptr, len);
	e->len += len;
	e->ptr[e->len] = '\0';
}

void config_emit_init(struct config_emit *e)
{
	*e = (struct config_emit){.line = 1};
	add(e, "", 0);
}

void config_emit_text(struct config_emit *e, const char *text)
{
	add(e, " ", 1);
	add(e, text, strlen(text));
}

/* Without the CR of a line end within a string. */
static void add_token(struct config_emit *e, struct span text)
{
	const char *cr;

	while ((cr = memmem(text.ptr, text.len, "\r\n", 2))) {
		size_t len = (size_t)(cr - text.ptr);

		add(e, text.ptr, len);
		text = span_of(cr + 1, text.len - len - 1);
	}
	add(e, text.ptr, text.len);
}

static void catch_up(struct config_emit *e, unsigned line)
{
	for (; e->line < line; e->line++)
		add(e, "\n", 1);
}

void config_emit(struct config_emit *e, const struct token *t)
{
	catch_up(e, t->line);
	add(e, " ", 1);
	add_token(e, t->text);
	e->line = t->end_line;
}

/* The line ends before the token stay: a long row of faulty lines would write them again and again.
 */
struct config_mark config_emit_mark(struct config_emit *e, const struct token *t)
{
	catch_up(e, t->line);
	return (struct config_mark){e->len, e->line};
}

void config_emit_rollback(struct config_emit *e, struct config_mark m)
{
	e->len = m.len;
	e->line = m.line;
	if (e->ptr)
		e->ptr[m.len] = '\0';
}
