/* SPDX-License-Identifier: MIT */
/* Checks of the texts of routes with `websocket`. */
#include <stdio.h>

#include "app/channel.h"
#include "http/scan.h"
#include "http/target.h"
#include "proc/config_schema.h"

void config_check_websocket(const char *text, char *why, size_t size)
{
	const char *name = strncmp(text, "channel:", 8) == 0 ? text + 8 : NULL;
	size_t len = name ? strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") : 0;

	if (strcmp(text, "echo") == 0)
		return;
	if (!name)
		snprintf(why, size, "is unknown; known: echo channel:NAME");
	else if (len == 0 || name[len] || len > CHANNEL_NAME_MAX)
		snprintf(why, size, "is no channel: expected 1 to %d letters, digits, '-', '_' or '.' behind channel:",
			 CHANNEL_NAME_MAX);
}

/* As browsers send it (RFC 6454 7): scheme, host, the port unless it is the usual one; "null" for pages without one. */
void config_check_origin(const char *text, char *why, size_t size)
{
	const char *rest = strstr(text, "://");
	struct span host, port;

	if (strcmp(text, "*") == 0 || strcmp(text, "null") == 0)
		return;
	if (!rest || rest == text || authority_split(span_str(rest + 3), &host, &port) != 0)
		snprintf(why, size, "is no origin: expected https://NAME, https://NAME:PORT, null, or * for all");
}
