/* SPDX-License-Identifier: MIT */
/*
 * Sends back what comes, as it comes: never more than a few buffers of it are in memory, whatever the client sends and
 * however slowly it reads.
 */
#include "sluice/handler.h"

static void on_request(struct sluice_request *r)
{
	struct sluice_span type = sluice_header(r, "content-type");

	if (type.ptr)
		sluice_add(r, "Content-Type", type.ptr, type.len);
	sluice_begin(r, r->length);
}

static void on_body(struct sluice_request *r, const void *data, size_t len, int is_last)
{
	sluice_write(r, data, len);
	if (is_last)
		sluice_end(r);
	else if (sluice_queued(r) >= SLUICE_FULL)
		sluice_pause(r, 1);
}

static void on_writable(struct sluice_request *r)
{
	sluice_pause(r, 0);
}

static const struct sluice_route routes[] = {
	{ "POST", "/", on_request, on_body, on_writable, NULL, NULL },
	{ "PUT", "/", on_request, on_body, on_writable, NULL, NULL },
};

const struct sluice_module sluice_module = {
	SLUICE_HEAD, .name = "echo", SLUICE_ROUTES(routes),
};
