/* SPDX-License-Identifier: MIT */
/* The stores in the status; see store_report.h. */
#include "proc/store_report.h"

#include <inttypes.h>

#include "base/err.h"
#include "proc/json_text.h"
#include "stats_shm.h"

struct counter {
	const char *name;
	size_t offset;
};

#define X(field) { #field, offsetof(struct store_stats, field) },
static const struct counter counters[] = { STORE_COUNTERS(X) };
static const struct counter writer_counters[] = { STORE_WRITER_COUNTERS(X) };
#undef X

static void add_counters(json_t *row, const struct store_stats *s, const struct counter *list, size_t count)
{
	for (size_t i = 0; row && i < count; i++) {
		const uint64_t *counter = (const uint64_t *)((const char *)s + list[i].offset);

		json_object_set_new(row, list[i].name, json_integer((json_int_t)__atomic_load_n(counter, __ATOMIC_RELAXED)));
	}
}

static json_t *store_json(const struct config_store *c, const struct store_stats *s)
{
	json_t *row;

	if (config_store_has_writer(c))
		row = json_pack("{s:o, s:o, s:s, s:I, s:b}", "name", json_text(c->name), "path", json_text(c->path), "engine",
				"lmdb", "pid", (json_int_t)s->pid, "sandboxed", s->pid && (s->confined & CONFINED_SECCOMP));
	else
		row = json_pack("{s:o, s:s, s:o, s:o}", "name", json_text(c->name), "engine", "redis", "redis",
				json_text(c->redis), "key_prefix", json_text(c->key_prefix));
	add_counters(row, s, counters, ARRAY_LEN(counters));
	if (config_store_has_writer(c))
		add_counters(row, s, writer_counters, ARRAY_LEN(writer_counters));
	return row;
}

json_t *store_report_json(const struct config *c, struct store_stats *const *stats)
{
	json_t *list = json_array();

	for (unsigned i = 0; c && stats && i < c->store_count; i++)
		json_array_append_new(list, store_json(&c->stores[i], stats[i]));
	return list;
}

/* Text --------------------------------------------------------------------------------------------------------- */

static uint64_t number_of(const json_t *row, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(row, name));
}

static void print_size(uint64_t bytes, FILE *out)
{
	static const char units[] = "KMGT";
	double value = (double)bytes / 1024;
	unsigned unit = 0;

	while (value >= 1024 && units[unit + 1]) {
		value /= 1024;
		unit++;
	}
	fprintf(out, "%.*f %ciB", value < 10 ? 1 : 0, value, units[unit]);
}

static void print_files(const json_t *row, FILE *out)
{
	fprintf(out, "%" PRIu64 " resources, ", number_of(row, "entries"));
	print_size(number_of(row, "used_bytes"), out);
	fputs(" of ", out);
	print_size(number_of(row, "size_bytes"), out);
	fprintf(out, "; %" PRIu64 " reads, %" PRIu64 " changes in %" PRIu64 " commits", number_of(row, "reads"),
		number_of(row, "changes"), number_of(row, "commits"));
	fputs(number_of(row, "pid") ? "\n" : "; NO WRITER\n", out);
}

void store_report_print(const json_t *stores, FILE *out)
{
	const json_t *row;
	size_t i;

	json_array_foreach(stores, i, row) {
		const char *name = json_string_value(json_object_get(row, "name"));
		const char *redis = json_string_value(json_object_get(row, "redis"));

		fprintf(out, "store %s: ", name ? name : "?");
		if (redis)
			fprintf(out, "at redis %s; %" PRIu64 " reads, %" PRIu64 " changes\n", redis, number_of(row, "reads"),
				number_of(row, "created") + number_of(row, "replaced") + number_of(row, "deleted"));
		else
			print_files(row, out);
	}
}
