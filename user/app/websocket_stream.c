/* SPDX-License-Identifier: MIT */
/*
 * Server-sent events (the HTML standard, 9.2): a message as an event of a stream, a `data` line for each of its
 * lines.  What is no text comes as an event of type "binary", in base64.  The text is made once for all who read it.
 */
#include <nettle/base64.h>

#include "app/websocket_internal.h"
#include "base/err.h"

static void add(struct channel_form *t, struct span s)
{
	memcpy(t->bytes + t->len, s.ptr, s.len);
	t->len += s.len;
}

static const struct span field = { "data: ", 6 };

/* CR, LF and CRLF end a line there, so that none of them may stand within one. */
static size_t line_len(struct span rest)
{
	size_t len = 0;

	while (len < rest.len && rest.ptr[len] != '\n' && rest.ptr[len] != '\r')
		len++;
	return len;
}

static size_t count_lines(struct span text)
{
	size_t count = 1;

	for (size_t i = 0; i < text.len; i++)
		count += text.ptr[i] == '\n' || text.ptr[i] == '\r';
	return count;
}

static struct channel_form *text_event(struct span text)
{
	struct channel_form *t = channel_form_new(text.len + count_lines(text) * (field.len + 1) + 1);
	bool is_last = false;

	while (t && !is_last) {
		size_t len = line_len(text), end;

		is_last = len == text.len;
		add(t, field);
		add(t, span_of(text.ptr, len));
		add(t, SPAN("\n"));
		if (is_last)
			break;
		end = text.ptr[len] == '\r' && len + 1 < text.len && text.ptr[len + 1] == '\n' ? 2 : 1;
		text = span_of(text.ptr + len + end, text.len - len - end);
	}
	if (t)
		add(t, SPAN("\n"));
	return t;
}

static struct channel_form *binary_event(struct span bytes)
{
	static const struct span kind = { "event: binary\n", 14 };
	struct channel_form *t = channel_form_new(kind.len + field.len + BASE64_ENCODE_RAW_LENGTH(bytes.len) + 2);

	if (!t)
		return NULL;
	add(t, kind);
	add(t, field);
	base64_encode_raw(t->bytes + t->len, bytes.len, (const uint8_t *)bytes.ptr);
	t->len += BASE64_ENCODE_RAW_LENGTH(bytes.len);
	add(t, SPAN("\n\n"));
	return t;
}

struct channel_form *websocket_event_of(struct channel_message *m)
{
	struct span data = span_of(m->data, m->len);

	struct channel_form **form = &m->forms[CHANNEL_FORM_EVENT];

	if (!*form)
		*form = m->is_text ? text_event(data) : binary_event(data);
	return *form;
}
