/* SPDX-License-Identifier: MIT */
/*
 * As many bytes as the path says, "/1000000", made as the client takes them: byte i is i modulo 251.  "/held/N" refers to
 * its memory instead of having it copied; "/chunked/N" does not say beforehand how many they are.
 */
#include <errno.h>
#include <stdlib.h>

#include "sluice/handler.h"

#define PERIOD 251
#define PIECE  (64 * PERIOD)

static char pattern[PIECE + PERIOD];
static unsigned long held, released;

struct state {
	uint64_t at, len;
	int is_held;
};

static void on_release(void *ctx)
{
	++*(unsigned long *)ctx;
}

static void go_on(struct sluice_request *r)
{
	struct state *s = r->data;

	while (s->at < s->len && sluice_queued(r) < SLUICE_FULL) {
		size_t len = s->len - s->at < PIECE ? (size_t)(s->len - s->at) : PIECE;
		const char *from = pattern + s->at % PERIOD;

		if (s->is_held) {
			held++;
			sluice_write_held(r, from, len, on_release, &released);
		} else {
			sluice_write(r, from, len);
		}
		s->at += len;
	}
	if (s->at == s->len) {
		free(s);
		sluice_end(r);
	}
}

static void begin(struct sluice_request *r, int is_held, int is_sized)
{
	struct state *s = calloc(1, sizeof(*s));
	size_t i = 0;

	if (!s) {
		sluice_error(r, 503);
		return;
	}
	while (i < r->rest.len && r->rest.ptr[i] >= '0' && r->rest.ptr[i] <= '9')
		s->len = s->len * 10 + (uint64_t)(r->rest.ptr[i++] - '0');
	s->is_held = is_held;
	r->data = s;
	sluice_begin(r, is_sized ? s->len : SLUICE_UNKNOWN);
	go_on(r);
}

static void on_copied(struct sluice_request *r)
{
	begin(r, 0, 1);
}

static void on_held(struct sluice_request *r)
{
	begin(r, 1, 1);
}

static void on_chunked(struct sluice_request *r)
{
	begin(r, 0, 0);
}

/* Is every piece that was lent given back? */
static void on_balance(struct sluice_request *r)
{
	if (held == released)
		sluice_reply(r, 200, NULL, "even\n", 5);
	else
		sluice_reply(r, 200, NULL, "odd\n", 4);
}

static void on_abort(struct sluice_request *r)
{
	free(r->data);
}

static int init(struct sluice_instance *in)
{
	(void)in;
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (char)(i % PERIOD);
	return 0;
}

static const struct sluice_route routes[] = {
	{ "GET", "/*", on_copied, NULL, go_on, NULL, on_abort },
	{ "GET", "/held/*", on_held, NULL, go_on, NULL, on_abort },
	{ "GET", "/chunked/*", on_chunked, NULL, go_on, NULL, on_abort },
	{ "GET", "/balance", on_balance, NULL, NULL, NULL, NULL },
};

const struct sluice_module sluice_module = {
	SLUICE_HEAD, .name = "generate", SLUICE_ROUTES(routes), .init = init,
};
