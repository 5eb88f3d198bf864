/* SPDX-License-Identifier: MIT */
/* The modules in the status; see module_report.h. */
#include "proc/module_report.h"

#include <inttypes.h>

#include "base/err.h"
#include "proc/json_text.h"

static json_t *module_json(const char *path, const struct module_stats *s)
{
	const struct {
		const char *name;
		uint64_t count;
	} counters[] = {
#define X(field) { #field, s->field },
		MODULE_COUNTERS(X) X(in_flight)
#undef X
	};
	json_t *row = json_pack("{s:o}", "path", json_text(path));

	for (size_t i = 0; row && i < ARRAY_LEN(counters); i++)
		json_object_set_new(row, counters[i].name, json_integer((json_int_t)counters[i].count));
	return row;
}

json_t *module_report_json(const struct config *c, const struct module_stats *sums)
{
	json_t *list = json_array();

	for (unsigned i = 0; c && sums && i < c->module_count; i++)
		json_array_append_new(list, module_json(c->modules[i], &sums[i]));
	return list;
}

static uint64_t number_of(const json_t *row, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(row, name));
}

void module_report_print(const json_t *modules, FILE *out)
{
	const json_t *row;
	size_t i;

	json_array_foreach(modules, i, row) {
		const char *path = json_string_value(json_object_get(row, "path"));

		fprintf(out, "module %s: %" PRIu64 " requests, %" PRIu64 " in flight, %" PRIu64 " errors, %" PRIu64 " timeouts\n",
			path ? path : "?", number_of(row, "requests"), number_of(row, "in_flight"),
			number_of(row, "errors"), number_of(row, "timeouts"));
	}
}
