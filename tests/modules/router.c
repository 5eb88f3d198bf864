/* SPDX-License-Identifier: MIT */
/* A table from method and path to function: a list of notes, in the memory of one worker. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/handler.h"

#define NOTES_MAX 64
#define NOTE_MAX  1024

struct note {
	char name[64];
	size_t len;
	char text[NOTE_MAX];
};

struct state {
	unsigned count;
	struct note notes[NOTES_MAX];
};

static struct note *find(struct sluice_request *r)
{
	struct state *s = r->instance->data;

	for (unsigned i = 0; i < s->count; i++)
		if (strlen(s->notes[i].name) == r->rest.len && memcmp(s->notes[i].name, r->rest.ptr, r->rest.len) == 0)
			return &s->notes[i];
	return NULL;
}

static void on_list(struct sluice_request *r)
{
	const struct state *s = r->instance->data;

	sluice_add(r, "Content-Type", "text/plain", 10);
	sluice_begin(r, SLUICE_UNKNOWN);
	for (unsigned i = 0; i < s->count; i++) {
		sluice_write(r, s->notes[i].name, strlen(s->notes[i].name));
		sluice_write(r, "\n", 1);
	}
	sluice_end(r);
}

static void on_get(struct sluice_request *r)
{
	const struct note *n = find(r);

	if (n)
		sluice_reply(r, 200, "text/plain", n->text, n->len);
	else
		sluice_error(r, 404);
}

/* The content goes to a note of its own first: whoever reads meanwhile sees the old one. */
static void on_put(struct sluice_request *r)
{
	struct note *n;

	if (r->rest.len == 0 || r->rest.len >= sizeof(n->name) || r->length > NOTE_MAX) {
		sluice_error(r, r->length > NOTE_MAX ? 413 : 400);
		return;
	}
	n = calloc(1, sizeof(*n));
	if (!n) {
		sluice_error(r, 503);
		return;
	}
	memcpy(n->name, r->rest.ptr, r->rest.len);
	r->data = n;
}

static void keep(struct sluice_request *r)
{
	struct state *s = r->instance->data;
	struct note *new = r->data, *n = find(r);
	unsigned status = n ? 204 : 201;

	if (!n && s->count < NOTES_MAX)
		n = &s->notes[s->count++];
	if (n)
		*n = *new;
	free(new);
	if (n)
		sluice_reply(r, status, NULL, NULL, 0);
	else
		sluice_error(r, 507);
}

static void on_put_body(struct sluice_request *r, const void *data, size_t len, int is_last)
{
	struct note *n = r->data;

	memcpy(n->text + n->len, data, len);
	n->len += len;
	if (is_last)
		keep(r);
}

static void on_put_abort(struct sluice_request *r)
{
	free(r->data);
}

static void on_delete(struct sluice_request *r)
{
	struct state *s = r->instance->data;
	struct note *n = find(r);

	if (!n) {
		sluice_error(r, 404);
		return;
	}
	*n = s->notes[--s->count];
	sluice_reply(r, 204, NULL, NULL, 0);
}

/* What was asked, in the words of the server. */
static void on_any(struct sluice_request *r)
{
	char text[2048], client[64];
	struct sluice_span name, value;
	int len;

	sluice_client(r, client, sizeof(client));
	len = snprintf(text, sizeof(text), "%.*s %.*s rest=%.*s query=%.*s host=%.*s client=%s version=%u\n",
		       (int)r->method.len, r->method.ptr, (int)r->path.len, r->path.ptr, (int)r->rest.len, r->rest.ptr,
		       (int)r->query.len, r->query.ptr, (int)r->host.len, r->host.ptr, client, r->version);
	for (uint32_t i = 0; sluice_field(r, i, &name, &value) == 0 && len < 1800; i++)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "%.*s: %.*s\n", (int)name.len, name.ptr,
				(int)(value.len < 100 ? value.len : 100), value.ptr);
	sluice_reply(r, 200, "text/plain", text, (size_t)len);
}

static int init(struct sluice_instance *in)
{
	in->data = calloc(1, sizeof(struct state));
	return in->data ? 0 : -ENOMEM;
}

static void on_exit_worker(struct sluice_instance *in)
{
	free(in->data);
}

static const struct sluice_route routes[] = {
	{ "GET", "/notes", on_list, NULL, NULL, NULL, NULL },
	{ "GET", "/notes/*", on_get, NULL, NULL, NULL, NULL },
	{ "PUT", "/notes/*", on_put, on_put_body, NULL, NULL, on_put_abort },
	{ "DELETE", "/notes/*", on_delete, NULL, NULL, NULL, NULL },
	{ NULL, "/any/*", on_any, NULL, NULL, NULL, NULL },
};

const struct sluice_module sluice_module = {
	SLUICE_HEAD, .name = "router", SLUICE_ROUTES(routes), .init = init, .exit = on_exit_worker,
};
