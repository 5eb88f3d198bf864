/* SPDX-License-Identifier: MIT */
/* Checks of the texts of routes with `websocket`, and of `channel`. */
#include <stdio.h>

#include "app/channel.h"
#include "config/config_schema.h"
#include "http/scan.h"
#include "http/target.h"

#define TOPIC_MAX 255 /* bytes of a Redis channel's name, of which there may be any */

static bool is_channel_name(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

	return len > 0 && !name[len] && len <= CHANNEL_NAME_MAX;
}

void config_check_websocket(const char *text, char *why, size_t size)
{
	const char *name = strncmp(text, "channel:", 8) == 0 ? text + 8 : NULL;

	if (strcmp(text, "echo") == 0)
		return;
	if (!name)
		snprintf(why, size, "is unknown; known: echo channel:NAME");
	else if (!is_channel_name(name))
		snprintf(why, size, "is no channel: expected 1 to %d letters, digits, '-', '_' or '.' behind channel:",
			 CHANNEL_NAME_MAX);
}

void config_check_channel(const char *text, char *why, size_t size)
{
	if (!is_channel_name(text))
		snprintf(why, size, "is no name: expected 1 to %d letters, digits, '-', '_' or '.'", CHANNEL_NAME_MAX);
}

void config_check_topic(const char *text, char *why, size_t size)
{
	size_t len = strlen(text);

	if (len == 0 || len > TOPIC_MAX)
		snprintf(why, size, "has to be 1 to %d bytes", TOPIC_MAX);
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
