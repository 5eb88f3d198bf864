/* SPDX-License-Identifier: MIT */
/* A message of a channel, and the forms that it is sent in: one memory for all who get it. */
#include <stdlib.h>

#include "app/channel.h"
#include "base/err.h"

static void on_message_release(struct hold *h)
{
	struct channel_message *m = container_of(h, struct channel_message, hold);

	for (unsigned i = 0; i < CHANNEL_FORM_COUNT; i++)
		if (m->forms[i])
			hold_put(&m->forms[i]->hold);
	free(m);
}

static void on_form_release(struct hold *h)
{
	free(container_of(h, struct channel_form, hold));
}

struct channel_form *channel_form_new(size_t cap)
{
	struct channel_form *form = malloc(sizeof(*form) + cap);

	if (!form)
		return NULL;
	hold_init(&form->hold, on_form_release);
	form->len = 0;
	return form;
}

struct channel_message *channel_message_new(bool is_text, const void *data, size_t len)
{
	struct channel_message *m = malloc(sizeof(*m) + len);

	if (!m)
		return NULL;
	memset(m, 0, sizeof(*m));
	hold_init(&m->hold, on_message_release);
	list_init(&m->ready);
	list_init(&m->blocked);
	m->is_text = is_text;
	m->len = (uint32_t)len;
	if (len && data)
		memcpy(m->data, data, len);
	return m;
}
