/* SPDX-License-Identifier: MIT */
/* The smallest module: one answer to whatever is asked; `module_args` says whom it greets. */
#include <stdio.h>

#include "sluice/handler.h"

static void on_request(struct sluice_request *r)
{
	char text[128];
	int len = snprintf(text, sizeof(text), "hello, %.100s\n", *r->instance->args ? r->instance->args : "world");

	sluice_reply(r, 200, "text/plain", text, (size_t)len);
}

static int check(const char *args, char *why, size_t why_size)
{
	if (args[0] != '!')
		return 0;
	snprintf(why, why_size, "greets nobody whose name begins with '!'");
	return -1;
}

static const struct sluice_route routes[] = {
	{ .on_request = on_request },
};

const struct sluice_module sluice_module = {
	SLUICE_HEAD, .name = "hello", SLUICE_ROUTES(routes), .check = check,
};
