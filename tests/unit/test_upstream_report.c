/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/err.h"
#include "proc/upstream_report.h"

#define NOW_NS	  1000000u
#define WORKERS	  2u
#define ENDPOINTS 7u

static struct config_server servers[] = {
	{ .text = "127.0.0.1:9001", .weight = 1, .endpoint_count = 1 },
	{ .text = "unix:/run/a\xff.sock", .kind = SERVER_UNIX, .weight = 2, .is_backup = true, .first_endpoint = 1,
	  .endpoint_count = 1 },
	{ .text = "app.test:80", .kind = SERVER_NAME, .weight = 5, .first_endpoint = 2, .endpoint_count = 3 },
	{ .text = "gone.test:80", .kind = SERVER_NAME, .weight = 6, .first_endpoint = 5, .endpoint_count = 2 },
};

static struct config_upstream upstreams[] = {
	{ .name = "app", .balance = BALANCE_P2C, .servers = servers, .server_count = 2 },
	{ .name = "named", .balance = BALANCE_HASH, .servers = servers + 2, .server_count = 2 },
};

static struct config config = { .upstreams = upstreams, .upstream_count = 2 };
static struct upstream_table table;
static json_t *report;

static void set(unsigned endpoint, const char *text)
{
	union sock_addr a;

	assert_int_equal(sock_addr_parse(span_str(text), &a), 0);
	upstream_endpoint_set(&table.endpoints[endpoint], &a.any, sock_addr_len(&a), 9, 0);
}

static int open_all(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "/run/a\xff.sock" };

	assert_int_equal(upstream_table_open(&table, ENDPOINTS, WORKERS), 0);
	set(0, "127.0.0.1:9001");
	upstream_endpoint_set(&table.endpoints[1], (struct sockaddr *)&un, sizeof(un), 2, 0);
	set(2, "192.0.2.1:80");
	set(4, "[2001:db8::1]:80");
	return 0;
}

static int close_all(void **state)
{
	json_decref(report);
	report = NULL;
	upstream_table_close(&table);
	return 0;
}

/* Row `index` of upstream `upstream`. */
static const json_t *row(unsigned upstream, unsigned index)
{
	json_decref(report);
	report = upstream_report_json(&config, &table, NOW_NS);
	return json_array_get(json_object_get(json_array_get(report, upstream), "servers"), index);
}

static const char *text_at(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	assert_non_null(s);
	return s;
}

static json_int_t number_at(const json_t *object, const char *name)
{
	const json_t *n = json_object_get(object, name);

	if (!json_is_integer(n))
		fail_msg("no number '%s'", name);
	return json_integer_value(n);
}

static void upstream_report__lists_every_address(void **state)
{
	static const struct {
		unsigned upstream, row;
		const char *server, *address, *state;
		json_int_t weight;
		bool is_backup;
	} rows[] = {
		{ 0, 0, "127.0.0.1:9001", "127.0.0.1:9001", "unknown", 9, false },
		{ 0, 1, "unix:/run/a?.sock", "unix:/run/a?.sock", "unknown", 2, true },
		{ 1, 0, "app.test:80", "192.0.2.1:80", "unknown", 9, false },
		{ 1, 1, "app.test:80", "[2001:db8::1]:80", "unknown", 9, false },
		{ 1, 2, "gone.test:80", NULL, "unresolved", 6, false },
	};

	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		const json_t *r = row(rows[i].upstream, rows[i].row);

		assert_string_equal(text_at(r, "server"), rows[i].server);
		if (rows[i].address)
			assert_string_equal(text_at(r, "address"), rows[i].address);
		else
			assert_true(json_is_null(json_object_get(r, "address")));
		assert_string_equal(text_at(r, "state"), rows[i].state);
		assert_int_equal(number_at(r, "weight"), rows[i].weight);
		assert_int_equal(json_is_true(json_object_get(r, "backup")), rows[i].is_backup);
		assert_string_equal(text_at(r, "check_error"), "");
	}
	assert_null(row(0, 2));
	assert_null(row(1, 3));
	assert_int_equal(json_array_size(report), 2);
	assert_string_equal(text_at(json_array_get(report, 0), "name"), "app");
	assert_string_equal(text_at(json_array_get(report, 0), "balance"), "p2c");
	assert_string_equal(text_at(json_array_get(report, 1), "balance"), "hash");
}

static void upstream_report__says_how_each_stands(void **state)
{
	static const struct {
		uint32_t health, is_drained;
		uint64_t ejected_until_ns;
		const char *state;
	} rows[] = {
		{ HEALTH_UP, 0, 0, "up" },
		{ HEALTH_UP, 0, NOW_NS, "up" },
		{ HEALTH_UP, 0, NOW_NS + 1, "ejected" },
		{ HEALTH_UNKNOWN, 0, NOW_NS + 1, "ejected" },
		{ HEALTH_DOWN, 0, NOW_NS + 1, "down" },
		{ HEALTH_DOWN, 1, 0, "drained" },
		{ HEALTH_UP, 1, NOW_NS + 1, "drained" },
		{ 77, 0, 0, "unknown" },
	};

	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		table.endpoints[0].health = rows[i].health;
		table.endpoints[0].is_drained = rows[i].is_drained;
		table.endpoints[0].ejected_until_ns = rows[i].ejected_until_ns;
		assert_string_equal(text_at(row(0, 0), "state"), rows[i].state);
	}
}

static void upstream_report__sums_the_workers(void **state)
{
	const json_t *r;

	for (unsigned w = 0; w < WORKERS; w++) {
		struct upstream_counters *c = upstream_table_counters(&table, w, 2);

		*c = (struct upstream_counters){
			.requests = 10, .connects = 4, .reuses = 6, .connect_failures = 1, .timeouts = 2,
			.failures = 3, .retries = 5, .status = { 1, 0, 7, 0, 0, 2 }, .bytes_in = 1u << 30,
		};
	}
	table.endpoints[2].active = 3;
	table.endpoints[2].connections = 8;
	table.endpoints[2].ejection_count = 11;
	for (unsigned w = 0; w < WORKERS; w++) {
		struct upstream_counters *c = upstream_table_counters(&table, w, 2);

		c->idle_closed = 20;
		c->panics = 21;
		c->waits = 22;
		c->queued = 23;
		c->queue_full = 24;
		c->queue_timeouts = 25;
		c->no_server = 26;
	}
	r = row(1, 0);
	assert_int_equal(number_at(r, "idle_closed"), 40);
	assert_int_equal(number_at(r, "panics"), 42);
	assert_int_equal(number_at(r, "waits"), 44);
	assert_int_equal(number_at(json_array_get(report, 1), "queued"), 46);
	assert_int_equal(number_at(json_array_get(report, 1), "queue_full"), 48);
	assert_int_equal(number_at(json_array_get(report, 1), "queue_timeouts"), 50);
	assert_int_equal(number_at(json_array_get(report, 1), "no_server"), 52);
	assert_int_equal(number_at(json_array_get(report, 0), "queued"), 0);
	assert_int_equal(number_at(r, "requests"), 20);
	assert_int_equal(number_at(r, "connects"), 8);
	assert_int_equal(number_at(r, "reuses"), 12);
	assert_int_equal(number_at(r, "failures"), 8);
	assert_int_equal(number_at(r, "connect_failures"), 2);
	assert_int_equal(number_at(r, "timeouts"), 4);
	assert_int_equal(number_at(r, "retries"), 10);
	assert_int_equal(number_at(r, "bytes_in"), 1ll << 31);
	assert_int_equal(number_at(r, "bytes_out"), 0);
	assert_int_equal(number_at(r, "active"), 3);
	assert_int_equal(number_at(r, "connections"), 8);
	assert_int_equal(number_at(r, "ejections"), 11);
	assert_int_equal(number_at(json_object_get(r, "status"), "2xx"), 14);
	assert_int_equal(number_at(json_object_get(r, "status"), "aborted"), 2);
	assert_int_equal(number_at(row(1, 1), "requests"), 0);
}

/* The complaint of a server that is well again would only mislead. */
static void upstream_report__shows_a_complaint_while_it_matters(void **state)
{
	struct upstream_endpoint *e = &table.endpoints[0];

	strncpy(e->check_error, "status 503", sizeof(e->check_error) - 1);
	e->health = HEALTH_DOWN;
	e->checks = 7;
	e->check_failures = 4;
	assert_string_equal(text_at(row(0, 0), "check_error"), "status 503");
	assert_int_equal(number_at(row(0, 0), "checks"), 7);
	assert_int_equal(number_at(row(0, 0), "check_failures"), 4);
	e->health = HEALTH_UP;
	e->check_streak = 1;
	assert_string_equal(text_at(row(0, 0), "check_error"), "status 503");
	e->check_streak = 0;
	assert_string_equal(text_at(row(0, 0), "check_error"), "");
}

static void assert_prints(const json_t *upstreams_json, const char *expected)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	upstream_report_print(upstreams_json, out);
	fclose(out);
	assert_string_equal(text, expected);
	free(text);
}

static void upstream_report__prints_a_line_for_each(void **state)
{
	table.endpoints[0].health = HEALTH_UP;
	table.endpoints[1].health = HEALTH_DOWN;
	table.endpoints[0].active = 2;
	table.endpoints[1].active = 1;
	upstream_table_counters(&table, 1, 0)->requests = 100;
	upstream_table_counters(&table, 1, 1)->timeouts = 3;
	row(0, 0);
	assert_prints(report, "upstream app: 1 up, 1 down; 3 active, 100 requests, 0 failures, 3 timeouts\n"
			      "upstream named: 2 unchecked, 1 unresolved; 0 active, 0 requests, 0 failures, 0 timeouts\n");
}

static void upstream_report__bears_with_nothing(void **state)
{
	json_t *none = upstream_report_json(NULL, NULL, NOW_NS), *odd = json_pack("[i, {s:s}]", 7, "name", "x");

	assert_int_equal(json_array_size(none), 0);
	assert_prints(none, "");
	assert_prints(NULL, "");
	assert_prints(odd, "upstream ?: ; 0 active, 0 requests, 0 failures, 0 timeouts\n"
			   "upstream x: ; 0 active, 0 requests, 0 failures, 0 timeouts\n");
	json_decref(none);
	json_decref(odd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(upstream_report__lists_every_address),
		TEST(upstream_report__says_how_each_stands),
		TEST(upstream_report__sums_the_workers),
		TEST(upstream_report__shows_a_complaint_while_it_matters),
		TEST(upstream_report__prints_a_line_for_each),
		TEST(upstream_report__bears_with_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
