/* SPDX-License-Identifier: MIT */
/* Upstreams as JSON and as text; see upstream_report.h. */
#include "proc/upstream_report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "net/sock.h"
#include "proc/json_text.h"

/* Counters of the workers, shown as their sum; several fields may make one name. */
struct counter {
	const char *name;
	size_t offset;
};

static const struct counter counters[] = {
#define COUNTER(name, field) { name, offsetof(struct upstream_counters, field) }
	COUNTER("requests", requests),
	COUNTER("failures", failures),
	COUNTER("failures", connect_failures),
	COUNTER("timeouts", timeouts),
	COUNTER("retries", retries),
	COUNTER("connect_failures", connect_failures),
	COUNTER("connects", connects),
	COUNTER("reuses", reuses),
	COUNTER("bytes_in", bytes_in),
	COUNTER("bytes_out", bytes_out),
	COUNTER("idle_closed", idle_closed),
	COUNTER("panics", panics),
	COUNTER("waits", waits),
};

/* Of the whole upstream, kept at its first endpoint. */
static const struct counter upstream_counters[] = {
	COUNTER("queued", queued),
	COUNTER("queue_full", queue_full),
	COUNTER("queue_timeouts", queue_timeouts),
	COUNTER("no_server", no_server),
#undef COUNTER
};

static void add_number(json_t *row, const char *name, uint64_t value)
{
	json_int_t before = json_integer_value(json_object_get(row, name));

	json_object_set_new(row, name, json_integer(before + (json_int_t)value));
}

static const char *balance_name(enum upstream_balance balance)
{
	static const char *const names[] = {
		[BALANCE_RR] = "rr",	     [BALANCE_LEAST] = "least",	      [BALANCE_P2C] = "p2c",
		[BALANCE_RANDOM] = "random", [BALANCE_WEIGHTED] = "weighted", [BALANCE_HASH] = "hash",
	};

	return (unsigned)balance < ARRAY_LEN(names) ? names[balance] : "?";
}

static const char *state_name(const struct upstream_endpoint *e, bool has_address, uint64_t now_ns)
{
	uint32_t health = __atomic_load_n(&e->health, __ATOMIC_RELAXED);

	if (!has_address)
		return "unresolved";
	if (__atomic_load_n(&e->is_drained, __ATOMIC_RELAXED))
		return "drained";
	if (health == HEALTH_DOWN)
		return "down";
	if (__atomic_load_n(&e->ejected_until_ns, __ATOMIC_RELAXED) > now_ns)
		return "ejected";
	return health == HEALTH_UP ? "up" : "unknown";
}

static void add_counters(json_t *row, const struct counter *list, size_t count, const struct upstream_counters *c)
{
	for (size_t i = 0; i < count; i++) {
		const void *field = (const char *)c + list[i].offset;

		add_number(row, list[i].name, __atomic_load_n((const uint64_t *)field, __ATOMIC_RELAXED));
	}
}

static void fill_counters(json_t *row, const struct upstream_table *t, unsigned endpoint)
{
	static const char *const classes[] = { "aborted", "1xx", "2xx", "3xx", "4xx", "5xx" };
	json_t *status = json_object();

	for (unsigned w = 0; w < t->worker_count; w++) {
		const struct upstream_counters *c = upstream_table_counters(t, w, endpoint);

		add_counters(row, counters, ARRAY_LEN(counters), c);
		for (size_t i = 0; i < ARRAY_LEN(classes); i++)
			add_number(status, classes[i], c->status[i]);
	}
	json_object_set_new(row, "status", status);
}

/* What the checks complain of now; an old complaint of one that is well again would only mislead. */
static void copy_error(const struct upstream_endpoint *e, char out[sizeof(e->check_error)])
{
	bool is_well = e->health == HEALTH_UP && e->check_streak == 0;

	for (size_t i = 0; i < sizeof(e->check_error); i++)
		out[i] = is_well ? '\0' : __atomic_load_n(&e->check_error[i], __ATOMIC_RELAXED);
	out[sizeof(e->check_error) - 1] = '\0';
}

static json_t *row_of(const struct config_server *s, const struct upstream_table *t, unsigned endpoint,
		      const struct upstream_address *a, uint64_t now_ns)
{
	const struct upstream_endpoint *e = &t->endpoints[endpoint];
	char address[UPSTREAM_ADDRESS_TEXT], error[sizeof(e->check_error)];
	json_t *row = json_object();

	sock_addr_print_any((const struct sockaddr *)&a->addr, a->len, address, sizeof(address));
	copy_error(e, error);
	json_object_set_new(row, "server", json_text(s->text));
	json_object_set_new(row, "address", a->len ? json_text(address) : json_null());
	json_object_set_new(row, "state", json_string(state_name(e, a->len != 0, now_ns)));
	json_object_set_new(row, "weight", json_integer(a->len ? a->weight : s->weight));
	json_object_set_new(row, "backup", json_boolean(s->is_backup));
	json_object_set_new(row, "active", json_integer(__atomic_load_n(&e->active, __ATOMIC_RELAXED)));
	json_object_set_new(row, "connections", json_integer(__atomic_load_n(&e->connections, __ATOMIC_RELAXED)));
	fill_counters(row, t, endpoint);
	json_object_set_new(row, "ejections", json_integer(__atomic_load_n(&e->ejection_count, __ATOMIC_RELAXED)));
	json_object_set_new(row, "checks", json_integer((json_int_t)e->checks));
	json_object_set_new(row, "check_failures", json_integer((json_int_t)e->check_failures));
	json_object_set_new(row, "check_error", json_text(error));
	return row;
}

/* A row for each address, or the one that says there is none. */
static void add_server(json_t *rows, const struct config_server *s, const struct upstream_table *t, uint64_t now_ns)
{
	struct upstream_address a;
	unsigned count = 0;

	for (unsigned i = 0; i < s->endpoint_count; i++) {
		upstream_endpoint_get(&t->endpoints[s->first_endpoint + i], &a);
		if (a.len == 0)
			continue;
		json_array_append_new(rows, row_of(s, t, s->first_endpoint + i, &a, now_ns));
		count++;
	}
	if (count)
		return;
	a.len = 0;
	json_array_append_new(rows, row_of(s, t, s->first_endpoint, &a, now_ns));
}

static json_t *upstream_json(const struct config_upstream *u, const struct upstream_table *t, uint64_t now_ns)
{
	json_t *rows = json_array(), *upstream;

	for (unsigned i = 0; i < u->server_count; i++)
		add_server(rows, &u->servers[i], t, now_ns);
	upstream = json_pack("{s:o, s:s, s:o}", "name", json_text(u->name), "balance", balance_name(u->balance),
			     "servers", rows);
	for (unsigned w = 0; w < t->worker_count; w++)
		add_counters(upstream, upstream_counters, ARRAY_LEN(upstream_counters),
			     upstream_table_counters(t, w, u->servers[0].first_endpoint));
	return upstream;
}

json_t *upstream_report_json(const struct config *c, const struct upstream_table *t, uint64_t now_ns)
{
	json_t *list = json_array();

	for (unsigned i = 0; c && i < c->upstream_count; i++)
		json_array_append_new(list, upstream_json(&c->upstreams[i], t, now_ns));
	return list;
}

/* Text --------------------------------------------------------------------------------------------------------- */

static uint64_t number_of(const json_t *row, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(row, name));
}

static const char *string_of(const json_t *row, const char *name)
{
	const char *s = json_string_value(json_object_get(row, name));

	return s ? s : "?";
}

/* "2 up, 1 down" in the order of the states below. */
static void print_states(const json_t *rows, FILE *out)
{
	static const char *const states[] = { "up", "unknown", "drained", "ejected", "down", "unresolved" };
	const char *comma = "";

	for (size_t i = 0; i < ARRAY_LEN(states); i++) {
		unsigned count = 0;
		const json_t *row;
		size_t k;

		json_array_foreach(rows, k, row)
			count += strcmp(string_of(row, "state"), states[i]) == 0;
		if (count)
			fprintf(out, "%s%u %s", comma, count, strcmp(states[i], "unknown") ? states[i] : "unchecked");
		if (count)
			comma = ", ";
	}
}

void upstream_report_print(const json_t *upstreams, FILE *out)
{
	static const char *const names[] = { "active", "requests", "failures", "timeouts" };
	const json_t *upstream, *row;
	size_t i, k;

	json_array_foreach(upstreams, i, upstream) {
		const json_t *rows = json_object_get(upstream, "servers");

		fprintf(out, "upstream %s: ", string_of(upstream, "name"));
		print_states(rows, out);
		for (size_t n = 0; n < ARRAY_LEN(names); n++) {
			uint64_t sum = 0;

			json_array_foreach(rows, k, row)
				sum += number_of(row, names[n]);
			fprintf(out, "%s %" PRIu64 " %s", n ? "," : ";", sum, names[n]);
		}
		fputc('\n', out);
	}
}
