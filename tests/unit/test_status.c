/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "ctl_proto.h"
#include "proc/status.h"

/* Two workers, one of them down, and one address of each kind. */
struct made_up {
	struct stats_block stats[2];
	struct listener listens[2];
	struct status_source source;
	struct status_steering steering;
};

static void make_up(struct made_up *m)
{
	memset(m, 0, sizeof(*m));
	m->stats[0] = (struct stats_block){
		.accepted = 1000,
		.requests = 5000,
		.status = {1, 0, 4900, 50, 49, 0},
		.bytes_in = 70000,
		.bytes_out = 9000000000000ull,
		.stalls = 2,
		.restarts = 1,
		.generation = 3,
		.state = WORKER_RUNNING,
	};
	m->stats[0].closed[CLOSE_IDLE] = 7;
	m->stats[0].websocket.connections = 3;
	m->stats[0].websocket.told_lost = 2;
	m->stats[1] = m->stats[0];
	m->stats[1].websocket.connections = 4;
	m->stats[1].state = WORKER_DOWN;
	m->stats[1].closed[CLOSE_REFUSED] = 5;
	assert_int_equal(sock_addr_parse(SPAN("127.0.0.1:8080"), &m->listens[0].addr), 0);
	assert_int_equal(sock_addr_parse(SPAN("[::1]:8443"), &m->listens[1].addr), 0);
	m->listens[0].is_steered = true;
	m->source = (struct status_source){
		.version = "0.1.0",
		.pid = 812,
		.started_ns = 5 * NS_PER_SEC,
		.now_ns = 5 * NS_PER_SEC + 3723999 * NS_PER_MS,
		.generation = 3,
		.state = "running",
		.config = "/etc/sluice/sluice.conf",
		.control = "/run/sluice/control.sock",
		.pin = "/sys/fs/bpf/sluice",
		.stats = m->stats,
		.listens = m->listens,
		.listen_count = 2,
	};
	m->steering = (struct status_steering){
		.policy = "least",
		.is_active = true,
		.can_migrate = true,
		.slot_count = 2,
		.verdicts = {.steered = 900, .cookie_ack = 4, .short_header = 1},
	};
	m->steering.slots[0] = (struct status_slot){
		.cpu = 0,
		.pid = 813,
		.live = 11,
		.reserved = 2,
		.weight = 100,
		.is_up = true,
		.is_waiting = true,
		.stamp_age_ns = 1999999,
	};
	m->steering.slots[1] =
		(struct status_slot){.cpu = 1, .live = 5, .reserved = 1, .is_stalled = true};
}

static json_int_t number_at(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	assert_true(json_is_integer(value));
	return json_integer_value(value);
}

static const char *string_at(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	assert_true(json_is_string(value));
	return json_string_value(value);
}

static void status__json_keeps_the_contract(void **state)
{
	struct made_up m;
	json_t *s, *w, *listen;

	make_up(&m);
	s = status_json(&m.source, &m.steering);
	assert_string_equal(string_at(s, "version"), "0.1.0");
	assert_int_equal(number_at(s, "pid"), 812);
	assert_int_equal(number_at(s, "uptime_s"), 3723);
	assert_int_equal(number_at(s, "generation"), 3);
	assert_string_equal(string_at(s, "state"), "running");
	assert_string_equal(string_at(s, "config"), "/etc/sluice/sluice.conf");
	assert_int_equal(json_array_size(json_object_get(s, "workers")), 2);
	w = json_array_get(json_object_get(s, "workers"), 0);
	assert_int_equal(number_at(w, "slot"), 0);
	assert_int_equal(number_at(w, "cpu"), 0);
	assert_int_equal(number_at(w, "pid"), 813);
	assert_string_equal(string_at(w, "state"), "running");
	assert_int_equal(number_at(w, "live"), 11);
	assert_int_equal(number_at(w, "reserved"), 2);
	assert_int_equal(number_at(w, "accepted"), 1000);
	assert_int_equal(number_at(w, "requests"), 5000);
	assert_int_equal(number_at(w, "stalls"), 2);
	assert_int_equal(number_at(w, "stall_kills"), 0);
	assert_int_equal(number_at(w, "rescued"), 0);
	assert_int_equal(number_at(w, "restarts"), 1);
	assert_int_equal(number_at(w, "generation"), 3);
	assert_int_equal(number_at(w, "bytes_in"), 70000);
	assert_int_equal(number_at(w, "bytes_out"), 9000000000000);
	assert_int_equal(number_at(w, "stamp_age_ms"), 1);
	assert_int_equal(number_at(json_object_get(w, "status"), "2xx"), 4900);
	assert_int_equal(number_at(json_object_get(w, "status"), "5xx"), 0);
	assert_int_equal(number_at(json_object_get(w, "status"), "aborted"), 1);
	assert_int_equal(number_at(json_object_get(w, "closed"), "idle"), 7);
	assert_int_equal(number_at(json_object_get(w, "closed"), "refused"), 0);
	assert_int_equal(json_object_size(json_object_get(w, "closed")), CLOSE_REASON_COUNT);
	assert_int_equal(number_at(json_object_get(w, "websocket"), "connections"), 3);
	assert_int_equal(number_at(json_object_get(w, "websocket"), "told_lost"), 2);
	w = json_array_get(json_object_get(s, "workers"), 1);
	assert_int_equal(number_at(w, "slot"), 1);
	assert_string_equal(string_at(w, "state"), "down");
	listen = json_object_get(s, "listen");
	assert_string_equal(string_at(json_array_get(listen, 0), "address"), "127.0.0.1:8080");
	assert_true(json_is_true(json_object_get(json_array_get(listen, 0), "steered")));
	assert_string_equal(string_at(json_array_get(listen, 1), "address"), "[::1]:8443");
	assert_true(json_is_false(json_object_get(json_array_get(listen, 1), "steered")));
	assert_true(json_is_array(json_object_get(s, "upstreams")));
	json_decref(s);
}

static void status__gives_the_quantiles_of_request_times(void **state)
{
	struct made_up m;
	json_t *s, *w, *list, *totals;
	json_int_t count = 0;
	size_t i;

	make_up(&m);
	for (unsigned us = 1; us <= 1000; us++)
		hist_add(&m.stats[0].latency_us, us);
	for (unsigned k = 0; k < 1000; k++)
		hist_add(&m.stats[1].latency_us, 5000);
	s = status_json(&m.source, &m.steering);
	w = json_object_get(json_array_get(json_object_get(s, "workers"), 0), "latency_us");
	assert_int_equal(number_at(w, "count"), 1000);
	assert_in_range(number_at(w, "p50"), 485, 515);
	assert_in_range(number_at(w, "p90"), 873, 927);
	assert_in_range(number_at(w, "p99"), 960, 1000);
	assert_in_range(number_at(w, "p999"), 970, 1000);
	assert_int_equal(number_at(w, "max"), 1000);
	assert_null(json_object_get(w, "buckets"));
	totals = json_object_get(json_object_get(s, "totals"), "latency_us");
	assert_int_equal(number_at(totals, "count"), 2000);
	assert_in_range(number_at(totals, "p99"), 4850, 5000);
	json_decref(s);

	m.source.has_buckets = true;
	s = status_json(&m.source, &m.steering);
	w = json_object_get(json_array_get(json_object_get(s, "workers"), 0), "latency_us");
	list = json_object_get(w, "buckets");
	assert_in_range(json_array_size(list), 30, 80);
	json_array_foreach(list, i, w)
	{
		assert_in_range(json_integer_value(json_array_get(w, 0)), 2, 1023);
		count += json_integer_value(json_array_get(w, 1));
	}
	assert_int_equal(count, 1000);
	json_decref(s);
}

static void status__says_who_is_stalled(void **state)
{
	struct made_up m;
	json_t *s, *workers;

	make_up(&m);
	m.steering.slots[0].is_stalled = true;
	s = status_json(&m.source, &m.steering);
	workers = json_object_get(s, "workers");
	assert_string_equal(string_at(json_array_get(workers, 0), "state"), "stalled");
	/* Without a worker there is nobody to be stalled. */
	assert_string_equal(string_at(json_array_get(workers, 1), "state"), "down");
	json_decref(s);
}

static void status__totals_are_the_sums(void **state)
{
	struct made_up m;
	json_t *s, *t;

	make_up(&m);
	s = status_json(&m.source, &m.steering);
	t = json_object_get(s, "totals");
	assert_int_equal(number_at(t, "live"), 16);
	assert_int_equal(number_at(t, "reserved"), 3);
	assert_int_equal(number_at(t, "accepted"), 2000);
	assert_int_equal(number_at(t, "requests"), 10000);
	assert_int_equal(number_at(t, "stalls"), 4);
	assert_int_equal(number_at(json_object_get(t, "status"), "2xx"), 9800);
	assert_int_equal(number_at(json_object_get(t, "closed"), "idle"), 14);
	assert_int_equal(number_at(json_object_get(t, "closed"), "refused"), 5);
	assert_int_equal(number_at(json_object_get(t, "websocket"), "connections"), 7);
	json_decref(s);
}

/* Connections of old workers, by slot and in all; counters of slots that there are no more, in the totals only. */
static void status__shows_who_drains(void **state)
{
	static const struct status_draining draining[] = {
		{.slot = 0, .pid = 700, .generation = 1, .connections = 3},
		{.slot = 0, .pid = 701, .generation = 2, .connections = 4},
		{.slot = 5, .pid = 702, .generation = 1, .connections = 5},
	};
	struct stats_block gone = {.requests = 1000};
	struct made_up m;
	json_t *s, *list;
	FILE *out;
	char *text;
	size_t len;

	make_up(&m);
	m.source.draining = draining;
	m.source.draining_count = ARRAY_LEN(draining);
	m.source.gone = &gone;
	s = status_json(&m.source, &m.steering);
	list = json_object_get(s, "workers");
	assert_int_equal(number_at(json_array_get(list, 0), "draining"), 7);
	assert_int_equal(number_at(json_array_get(list, 1), "draining"), 0);
	assert_int_equal(number_at(json_object_get(s, "totals"), "draining"), 12);
	assert_int_equal(number_at(json_object_get(s, "totals"), "requests"), 11000);
	list = json_object_get(s, "draining");
	assert_int_equal(json_array_size(list), 3);
	assert_int_equal(number_at(json_array_get(list, 2), "pid"), 702);
	assert_int_equal(number_at(json_array_get(list, 2), "slot"), 5);
	assert_int_equal(number_at(json_array_get(list, 2), "connections"), 5);
	assert_int_equal(number_at(json_array_get(list, 1), "generation"), 2);
	out = open_memstream(&text, &len);
	status_print(s, out);
	fclose(out);
	assert_non_null(strstr(text, "draining 12 connections with 3 workers of earlier generations\n"));
	free(text);
	json_decref(s);
}

static void status__verdicts_sum_to_the_runs(void **state)
{
	struct made_up m;
	json_t *s, *v, *value;
	const char *name;
	json_int_t sum = 0;

	make_up(&m);
	for (size_t i = 0; i < sizeof(m.steering.verdicts) / sizeof(__u64); i++)
		((__u64 *)&m.steering.verdicts)[i] = 1ull << i;
	s = status_json(&m.source, &m.steering);
	v = json_object_get(json_object_get(s, "steering"), "verdicts");
	json_object_foreach(v, name, value) sum += json_integer_value(value);
	assert_int_equal(sum, 255);
	assert_int_equal(number_at(json_object_get(s, "steering"), "runs"), 255);
	assert_int_equal(number_at(v, "steered"), 1);
	assert_int_equal(number_at(v, "migrated"), 8);
	assert_int_equal(number_at(v, "short_header"), 128);
	json_decref(s);
}

static void status__says_why_nothing_steers(void **state)
{
	struct made_up m;
	json_t *s, *st;

	make_up(&m);
	s = status_json(&m.source, &m.steering);
	st = json_object_get(s, "steering");
	assert_true(json_is_true(json_object_get(st, "active")));
	assert_true(json_is_null(json_object_get(st, "why")));
	assert_string_equal(string_at(st, "policy"), "least");
	assert_string_equal(string_at(st, "pin"), "/sys/fs/bpf/sluice");
	assert_true(json_is_true(json_object_get(st, "can_migrate")));
	json_decref(s);
	m.steering.is_active = false;
	m.steering.why = "bpf(): Operation not permitted";
	s = status_json(&m.source, &m.steering);
	st = json_object_get(s, "steering");
	assert_true(json_is_false(json_object_get(st, "active")));
	assert_string_equal(string_at(st, "why"), "bpf(): Operation not permitted");
	assert_true(json_is_null(json_object_get(st, "pin")));
	json_decref(s);
}

static void status__bears_odd_input(void **state)
{
	struct made_up m;
	json_t *s;

	make_up(&m);
	m.source.config = "/srv/caf\xe9.conf";
	m.source.now_ns = 0;
	m.source.pin = NULL;
	m.steering.policy = NULL;
	m.stats[0].state = 4711;
	s = status_json(&m.source, &m.steering);
	assert_string_equal(string_at(s, "config"), "/srv/caf?.conf");
	assert_int_equal(number_at(s, "uptime_s"), 0);
	assert_true(json_is_null(json_object_get(json_object_get(s, "steering"), "policy")));
	assert_string_equal(string_at(json_array_get(json_object_get(s, "workers"), 0), "state"),
			    "unknown");
	json_decref(s);
	m.source.config = NULL;
	m.source.listen_count = 0;
	m.steering.slot_count = 0;
	s = status_json(&m.source, &m.steering);
	assert_true(json_is_null(json_object_get(s, "config")));
	assert_int_equal(json_array_size(json_object_get(s, "workers")), 0);
	assert_int_equal(number_at(json_object_get(s, "totals"), "requests"), 0);
	json_decref(s);
}

static void status__fits_one_line_of_the_protocol(void **state)
{
	static struct stats_block stats[STEER_MAX_SLOTS];
	struct made_up m;
	json_t *s;

	make_up(&m);
	memset(stats, 0x7f, sizeof(stats));
	m.source.stats = stats;
	m.steering.slot_count = STEER_MAX_SLOTS;
	for (unsigned i = 0; i < STEER_MAX_SLOTS; i++)
		m.steering.slots[i] = (struct status_slot){UINT32_MAX, UINT32_MAX, UINT32_MAX,
							   UINT32_MAX, UINT32_MAX, UINT32_MAX,
							   false,      false,	   false,
							   UINT64_MAX};
	s = status_json(&m.source, &m.steering);
	assert_in_range(json_dumpb(s, NULL, 0, JSON_COMPACT), 1, CTL_LINE_MAX * 3 / 4);
	json_decref(s);
}

static char *printed(const json_t *status)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	status_print(status, out);
	fclose(out);
	return text;
}

/* Only what all workers have that serve: one that is down, or has not entered yet, says nothing. */
static void status__says_whether_hosts_share_their_limits(void **state)
{
	struct config_limits conf = { .redis = "main" };
	struct limit_share_header known;
	struct limit_header header = { .share = { .reports = 5, .untold = 2 } };
	struct limit_table table = { .header = &header };
	struct limit_share share = { .header = &known };
	struct made_up m;
	char *text;
	json_t *s, *b;

	make_up(&m);
	m.source.limits = &table;
	s = status_json(&m.source, &m.steering);
	assert_true(json_is_null(json_object_get(json_object_get(s, "limits"), "shared")));
	json_decref(s);

	m.source.share = &share;
	m.source.share_config = &conf;
	m.source.sharer_pid = 77;
	for (unsigned i = 0; i < 4; i++) {
		bool is_known = i % 2;

		conf.is_closed = i / 2;
		known = (struct limit_share_header){ m.source.now_ns + is_known, 1234567 };
		s = status_json(&m.source, &m.steering);
		b = json_object_get(json_object_get(s, "limits"), "shared");
		assert_string_equal(string_at(b, "redis"), "main");
		assert_int_equal(number_at(b, "pid"), 77);
		assert_int_equal(json_is_true(json_object_get(b, "known")), is_known);
		assert_int_equal(json_is_true(json_object_get(b, "fail_open")), !conf.is_closed);
		assert_int_equal(number_at(b, "round_trip_us"), 1234);
		assert_int_equal(number_at(b, "reports"), 5);
		assert_int_equal(number_at(b, "untold"), 2);
		text = printed(s);
		assert_int_equal(strstr(text, "redis main IS OF NO USE") != NULL, !is_known);
		assert_int_equal(strstr(text, "are refused") != NULL, !is_known && conf.is_closed);
		free(text);
		json_decref(s);
	}
}

static void status__says_what_confines_the_workers(void **state)
{
	const struct sandbox sandbox = { .mode = SANDBOX_STRICT, .has_seccomp = true, .landlock_abi = 4 };
	const struct sandbox half = { .mode = SANDBOX_AUTO, .has_seccomp = true };
	struct made_up m;
	char *text;
	json_t *s, *b;

	make_up(&m);
	m.source.sandbox = &sandbox;
	m.stats[0].confined = CONFINED_NO_NEW_PRIVS | CONFINED_SECCOMP | CONFINED_LANDLOCK;
	s = status_json(&m.source, &m.steering);
	b = json_object_get(s, "sandbox");
	assert_string_equal(string_at(b, "mode"), "strict");
	assert_true(json_is_true(json_object_get(b, "seccomp")));
	assert_true(json_is_true(json_object_get(b, "no_new_privs")));
	assert_int_equal(number_at(b, "landlock"), 4);
	assert_int_equal(number_at(b, "refused"), 0);
	assert_true(json_is_null(json_object_get(b, "why")));
	text = printed(s);
	assert_null(strstr(text, "sandbox"));
	free(text);
	json_decref(s);

	m.source.sandbox = &half;
	m.stats[1].state = WORKER_RUNNING;
	m.stats[1].confined = CONFINED_NO_NEW_PRIVS;
	m.stats[1].sandbox_refused = 3;
	s = status_json(&m.source, &m.steering);
	b = json_object_get(s, "sandbox");
	assert_true(json_is_false(json_object_get(b, "seccomp")));
	assert_int_equal(number_at(b, "landlock"), 0);
	assert_int_equal(number_at(b, "refused"), 3);
	assert_non_null(strstr(string_at(b, "why"), "no Landlock"));
	text = printed(s);
	assert_non_null(strstr(text, "sandbox  auto - this kernel has no Landlock"));
	assert_non_null(strstr(text, "3 system calls refused"));
	free(text);
	json_decref(s);
}

static void assert_narrow(const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");

		assert_in_range(len, 0, 80);
		text += len + (text[len] == '\n');
	}
}

static void status__prints_a_table(void **state)
{
	struct made_up m;
	json_t *s;
	char *text;

	make_up(&m);
	s = status_json(&m.source, &m.steering);
	text = printed(s);
	assert_string_equal(
		text,
		"sluice 0.1.0, pid 812, running for 1 h 2 min, generation 3,\n"
		"       /etc/sluice/sluice.conf\n"
		"slot cpu     pid state       live reserved accepted   requests stalls generation\n"
		"   0   0     813 running       11        2     1000       5000      2          3\n"
		"   1   1       0 down           5        1     1000       5000      2          3\n"
		"total                          16        3     2000      10000      4\n"
		"steering least (in the kernel, queues migrate), 905 runs: steered=900\n"
		"         cookie_ack=4 short_header=1\n"
		"maps     /sys/fs/bpf/sluice\n"
		"listen   127.0.0.1:8080 (steered) [::1]:8443 (hashed)\n");
	free(text);
	json_decref(s);
}

static void status__table_stays_narrow(void **state)
{
	struct made_up m;
	json_t *s;
	char *text;

	make_up(&m);
	memset(m.stats, 0xff, sizeof(m.stats));
	memset(&m.steering.verdicts, 0x3f, sizeof(m.steering.verdicts));
	m.steering.slots[1] = (struct status_slot){
		.cpu = 999,
		.pid = 4194304,
		.live = UINT32_MAX,
		.reserved = UINT32_MAX,
	};
	m.stats[0].accepted = 123456789;
	m.steering.slots[0].pid = 4194304;
	m.source.now_ns = UINT64_MAX;
	s = status_json(&m.source, &m.steering);
	text = printed(s);
	assert_narrow(text);
	assert_non_null(strstr(text, " 123456k "));
	assert_non_null(strstr(text, "4194304"));
	free(text);
	json_decref(s);
}

static void status__prints_why_nothing_steers(void **state)
{
	struct made_up m;
	json_t *s;
	char *text;

	make_up(&m);
	m.steering.is_active = false;
	m.steering.why = "the kernel refuses bpf(): Operation not permitted (CAP_BPF is missing, "
			 "run as root)";
	s = status_json(&m.source, &m.steering);
	text = printed(s);
	assert_narrow(text);
	assert_non_null(strstr(text, "\nsteering off, the kernel hashes: the kernel refuses bpf(): "
				     "Operation not\n         permitted (CAP_BPF"));
	assert_null(strstr(text, "maps"));
	free(text);
	json_decref(s);
	make_up(&m);
	m.steering.pin_error = "no bpffs at /sys/fs/bpf";
	s = status_json(&m.source, &m.steering);
	text = printed(s);
	assert_non_null(strstr(text, "\nmaps     not pinned - no bpffs at /sys/fs/bpf\n"));
	free(text);
	json_decref(s);
}

static void status__prints_what_another_version_sends(void **state)
{
	static const char *const answers[] = {
		"{}",
		"{\"workers\":7,\"steering\":[],\"listen\":\"x\",\"totals\":null}",
		"{\"workers\":[{}, 7, null, {\"slot\":\"x\",\"live\":-1,\"state\":[]}]}",
		"{\"workers\":[],\"steering\":{\"active\":true,\"verdicts\":{\"new\":3}}}",
		"{\"listen\":[{},null]}",
	};

	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		json_t *s = json_loads(answers[i], 0, NULL);
		char *text;

		assert_non_null(s);
		text = printed(s);
		assert_narrow(text);
		assert_non_null(strstr(text, "steering "));
		assert_int_equal(strstr(text, "new=3") != NULL, i == 3);
		free(text);
		json_decref(s);
	}
}

static void assert_udp_line(const json_t *status)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	status_print(status, out);
	fclose(out);
	assert_non_null(strstr(text, "\nudp      [::1]:53 (steered) - 7 sessions, 15 datagrams in, 0 out\n"));
	free(text);
}

static void status__json_shows_udp(void **state)
{
	struct udp_listener listener = {.is_steered = true};
	struct status_udp_listen udp = {.listener = &listener, .mode = "proxy dns", .verdicts = {.kept = 7, .short_header = 2}};
	const struct status_draining draining = {.udp_sessions = 4};
	const json_t *u, *l;
	struct made_up m;
	json_t *s;

	make_up(&m);
	assert_int_equal(sock_addr_parse(SPAN("[::1]:53"), &listener.addr), 0);
	m.stats[0].udp = (struct udp_stats){.in = 10, .forwarded = 8, .dropped = {[UDP_DROP_BUSY] = 2}};
	m.stats[0].udp_sessions = 3;
	m.stats[1].udp = (struct udp_stats){.in = 5, .echoed = 5, .ended = {[UDP_NO_REPLY] = 1}};
	m.source.udp_listens = &udp;
	m.source.udp_listen_count = 1;
	m.source.draining = &draining;
	m.source.draining_count = 1;
	s = status_json(&m.source, &m.steering);
	u = json_object_get(s, "udp");
	assert_int_equal(number_at(u, "in"), 15);
	assert_int_equal(number_at(u, "echoed"), 5);
	assert_int_equal(number_at(u, "live"), 3);
	assert_int_equal(number_at(u, "draining"), 4);
	assert_int_equal(number_at(json_object_get(u, "dropped"), "busy"), 2);
	assert_int_equal(number_at(json_object_get(u, "ended"), "no_reply"), 1);
	l = json_array_get(json_object_get(u, "listen"), 0);
	assert_string_equal(string_at(l, "address"), "[::1]:53");
	assert_string_equal(string_at(l, "udp"), "proxy dns");
	assert_int_equal(number_at(json_object_get(l, "verdicts"), "kept"), 7);
	assert_int_equal(number_at(json_object_get(l, "verdicts"), "short_header"), 2);
	u = json_object_get(json_array_get(json_object_get(s, "workers"), 1), "udp");
	assert_int_equal(number_at(u, "in"), 5);
	assert_udp_line(s);
	json_decref(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status__json_keeps_the_contract),
		cmocka_unit_test(status__json_shows_udp),
		cmocka_unit_test(status__gives_the_quantiles_of_request_times),
		cmocka_unit_test(status__says_who_is_stalled),
		cmocka_unit_test(status__totals_are_the_sums),
		cmocka_unit_test(status__shows_who_drains),
		cmocka_unit_test(status__verdicts_sum_to_the_runs),
		cmocka_unit_test(status__says_why_nothing_steers),
		cmocka_unit_test(status__says_whether_hosts_share_their_limits),
		cmocka_unit_test(status__says_what_confines_the_workers),
		cmocka_unit_test(status__bears_odd_input),
		cmocka_unit_test(status__fits_one_line_of_the_protocol),
		cmocka_unit_test(status__prints_a_table),
		cmocka_unit_test(status__table_stays_narrow),
		cmocka_unit_test(status__prints_why_nothing_steers),
		cmocka_unit_test(status__prints_what_another_version_sends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
