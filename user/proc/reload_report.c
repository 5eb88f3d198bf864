/* SPDX-License-Identifier: MIT */
/* What a reload changes, and what it cannot. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "proc/master_internal.h"

/* What cannot change ------------------------------------------------------------------------------------------ */

static bool is_same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static void warn(json_t *warnings, const char *key)
{
	json_t *text = json_sprintf("'%s' cannot change while the server runs: restart it", key);

	log_warn("'%s' cannot change while the server runs: restart it", key);
	json_array_append_new(warnings, text);
}

/* `is_given`: the value in force came from the command line, and the file has no say. */
static bool keep_text(const char *key, char *was, char **is, bool is_given, json_t *warnings)
{
	char *copy = NULL;

	if (is_same_text(was, *is))
		return true;
	if (!is_given)
		warn(warnings, key);
	if (was) {
		copy = strdup(was);
		if (!copy)
			return false;
	}
	free(*is);
	*is = copy;
	return true;
}

bool reload_keep_fixed(const struct config *before, struct config *next, json_t *warnings)
{
	next->is_control_given = before->is_control_given;
	next->is_pin_given = before->is_pin_given;
	if (next->steering.is_disabled != before->steering.is_disabled)
		warn(warnings, "steering { enabled }");
	next->steering.is_disabled = before->steering.is_disabled;
	return keep_text("user", before->user, &next->user, false, warnings) &&
	       keep_text("control", before->control, &next->control, before->is_control_given, warnings) &&
	       keep_text("pin", before->pin, &next->pin, before->is_pin_given, warnings);
}

/* What changes ------------------------------------------------------------------------------------------------ */

static json_t *pair(unsigned before, unsigned after)
{
	return json_pack("{s:i, s:i}", "before", (int)before, "after", (int)after);
}

static unsigned route_count(const struct config *c)
{
	unsigned count = 0;

	for (unsigned i = 0; i < c->site_count; i++)
		count += c->sites[i].route_count;
	return count;
}

/* Addresses of `a` that `b` does not have.  Of another master nobody knows what it has for UDP. */
static json_t *missing(const struct generation *a, const struct generation *b)
{
	json_t *list = json_array();
	char text[SOCK_ADDR_TEXT];

	for (unsigned i = 0; i < a->listener_count; i++)
		if (!generation_twin(b, &a->listeners[i]))
			json_array_append_new(list, json_string(sock_addr_print(&a->listeners[i].addr, text)));
	for (unsigned i = 0; i < a->udp_listener_count && !b->elder; i++)
		if (!generation_has_udp_twin(b, &a->udp_listeners[i]))
			json_array_append_new(list, json_sprintf("%s (UDP)",
								 sock_addr_print(&a->udp_listeners[i].addr, text)));
	return list;
}

json_t *reload_report(const struct generation *before, const struct generation *next)
{
	return json_pack("{s:I, s:s, s:o, s:o, s:o, s:o, s:{s:o, s:o}}", "generation", (json_int_t)next->number,
			 "config", next->config->path ? next->config->path : "", "workers",
			 pair(before->worker_count, next->worker_count), "sites",
			 pair(before->config->site_count, next->config->site_count), "routes",
			 pair(route_count(before->config), route_count(next->config)), "upstreams",
			 pair(before->config->upstream_count, next->config->upstream_count), "listen", "added",
			 missing(next, before), "removed", missing(before, next));
}
