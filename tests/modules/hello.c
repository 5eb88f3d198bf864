/* SPDX-License-Identifier: MIT */
/* One answer to whatever is asked, made when the worker starts; `module_args` says whom it greets. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/handler.h"

static void on_request(struct sluice_request *r)
{
	const char *text = r->instance->data;

	sluice_reply(r, 200, "text/plain", text, strlen(text));
}

static int check(const char *args, char *why, size_t why_size)
{
	if (args[0] != '!')
		return 0;
	snprintf(why, why_size, "greets nobody whose name begins with '!'");
	return -1;
}

static int init(struct sluice_instance *in)
{
	size_t size = strlen(in->args) + 32;
	char *text = malloc(size);

	if (!text)
		return -ENOMEM;
	snprintf(text, size, "hello, %s\n", *in->args ? in->args : "world");
	in->data = text;
	return 0;
}

static void on_exit_worker(struct sluice_instance *in)
{
	free(in->data);
}

static const struct sluice_route routes[] = {
	{ .on_request = on_request },
};

const struct sluice_module sluice_module = {
	SLUICE_HEAD, .name = "hello", SLUICE_ROUTES(routes), .check = check, .init = init, .exit = on_exit_worker,
};
