/* SPDX-License-Identifier: MIT */
#include <errno.h>
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
#include "cli/top_text.h"
#include "proc/status.h"

/* A server of some slots whose status is made by the code that makes the real one. */
struct made_up {
	struct stats_block stats[STEER_MAX_SLOTS];
	struct status_source source;
	struct status_steering steering;
};

static struct made_up m;
static struct top_sample samples[2];
static struct top_view view;
static struct top_history history;

static int set_up(void **state)
{
	memset(&m, 0, sizeof(m));
	memset(samples, 0, sizeof(samples));
	memset(&view, 0, sizeof(view));
	memset(&history, 0, sizeof(history));
	m.source = (struct status_source){
		.version = "0.1.0",
		.pid = 812,
		.now_ns = 3723 * NS_PER_SEC,
		.state = "running",
		.config = "/etc/sluice/sluice.conf",
		.stats = m.stats,
		.has_buckets = true,
	};
	m.steering.policy = "least";
	m.steering.is_active = true;
	m.steering.slot_count = 4;
	for (unsigned i = 0; i < STEER_MAX_SLOTS; i++) {
		m.stats[i].state = WORKER_RUNNING;
		m.steering.slots[i] = (struct status_slot){
			.cpu = i, .pid = 900 + i, .weight = 100, .is_up = true};
	}
	return 0;
}

static void sample(unsigned index, uint64_t at_ns)
{
	json_t *status = status_json(&m.source, &m.steering);

	assert_int_equal(top_sample_read(&samples[index], status, at_ns), 0);
	json_decref(status);
}

static void make_view(void)
{
	top_view_make(&view, &samples[0], &samples[1]);
}

/* To a thousandth: enough for what is shown with two decimals. */
static void assert_near(double value, double expected)
{
	if (value < expected - 0.001 || value > expected + 0.001)
		fail_msg("%g is not %g", value, expected);
}

static void add_times(unsigned slot, uint64_t us, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		hist_add(&m.stats[slot].latency_us, us);
}

static void top__rates_are_those_of_the_interval(void **state)
{
	m.stats[1].accepted = 1000;
	m.stats[1].requests = 50000;
	m.stats[1].stalls = 3;
	sample(0, 10 * NS_PER_SEC);
	m.stats[1].accepted += 30;
	m.stats[1].requests += 4001;
	m.stats[1].stalls++;
	m.steering.slots[1].live = 7;
	m.steering.slots[2].live = 5;
	sample(1, 12 * NS_PER_SEC);
	make_view();
	assert_int_equal(view.row_count, 4);
	assert_near(view.seconds, 2);
	assert_near(view.rows[1].accept_rate, 15);
	assert_near(view.rows[1].request_rate, 2000.5);
	assert_int_equal(view.rows[1].new_stalls, 1);
	assert_int_equal(view.rows[1].stalls, 4);
	assert_near(view.rows[0].request_rate, 0);
	assert_int_equal(view.total.live, 12);
	assert_near(view.total.request_rate, 2000.5);
	assert_int_equal(view.total.stalls, 4);
}

static void top__one_sample_gives_totals_and_no_rates(void **state)
{
	m.stats[0].requests = 10;
	add_times(0, 100, 10);
	sample(1, NS_PER_SEC);
	make_view();
	assert_true(view.seconds == 0);
	assert_true(view.rows[0].request_rate < 0);
	assert_true(view.total.request_rate < 0);
	assert_true(view.rows[0].has_times);
	assert_in_range(view.rows[0].p50_us, 90, 110);
	assert_false(view.rows[1].has_times);
}

static void top__another_server_begins_anew(void **state)
{
	static const struct {
		uint32_t pid;
		unsigned slot_count;
		uint64_t second_ns;
	} cases[] = {{813, 4, 2}, {812, 5, 2}, {812, 4, 1}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		set_up(state);
		m.stats[0].requests = 5000;
		sample(0, 1);
		m.source.pid = cases[i].pid;
		m.steering.slot_count = cases[i].slot_count;
		sample(1, cases[i].second_ns);
		make_view();
		assert_true(view.rows[0].request_rate < 0);
	}
	/* The same server, whose counter went back all the same. */
	set_up(state);
	m.stats[0].requests = 5000;
	sample(0, NS_PER_SEC);
	m.stats[0].requests = 4000;
	m.stats[1].requests = 10;
	sample(1, 2 * NS_PER_SEC);
	make_view();
	assert_true(view.rows[0].request_rate < 0);
	assert_near(view.rows[1].request_rate, 10);
	assert_true(view.total.request_rate < 0);
}

static void top__times_are_those_of_the_interval(void **state)
{
	/* A long past of slow requests does not hide that those of now are quick. */
	add_times(0, 80000, 100000);
	sample(0, NS_PER_SEC);
	add_times(0, 200, 985);
	add_times(0, 7000, 15);
	add_times(1, 3, 10);
	sample(1, 2 * NS_PER_SEC);
	make_view();
	assert_in_range(view.rows[0].p50_us, 187, 213);
	assert_in_range(view.rows[0].p99_us, 6500, 7500);
	assert_in_range(view.rows[1].p99_us, 2, 4);
	assert_in_range(view.total.p50_us, 187, 213);
	assert_false(view.rows[2].has_times);
}

static void top__imbalance_is_greatest_over_mean(void **state)
{
	static const struct {
		uint32_t live[4], weight[4];
		double imbalance, sd;
		unsigned open_count;
	} cases[] = {
		{{10, 10, 10, 10}, {100, 100, 100, 100}, 1, 0, 4},
		{{40, 0, 0, 0}, {100, 100, 100, 100}, 4, 17.3205, 4},
		{{12, 8, 10, 10}, {100, 100, 100, 100}, 1.2, 1.41421, 4},
		/* None: there is nothing to divide. */
		{{0, 0, 0, 0}, {100, 100, 100, 100}, -1, -1, 4},
		/* A drained slot takes none, whatever it still has. */
		{{99, 10, 10, 10}, {0, 100, 100, 100}, 1, 0, 3},
		{{99, 10, 10, 10}, {0, 0, 0, 0}, -1, -1, 0},
		/* Twice the weight, twice the connections: even. */
		{{20, 10, 10, 20}, {200, 100, 100, 200}, 1, 0, 4},
		{{10, 10, 10, 10}, {300, 100, 100, 100}, 1.2, 4.33013, 4},
		/* More than the greatest weight counts as that. */
		{{20, 20, 20, 20}, {1000, 4000000000, 1000, 1000}, 1, 0, 4},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		for (unsigned k = 0; k < 4; k++) {
			m.steering.slots[k].live = cases[i].live[k];
			m.steering.slots[k].weight = cases[i].weight[k];
		}
		sample(1, NS_PER_SEC);
		make_view();
		assert_int_equal(view.open_count, cases[i].open_count);
		assert_near(view.imbalance, cases[i].imbalance);
		assert_near(view.sd, cases[i].sd);
	}
}

static void top__a_slot_that_is_down_counts_for_no_balance(void **state)
{
	for (unsigned i = 0; i < 4; i++)
		m.steering.slots[i].live = i == 3 ? 0 : 6;
	m.steering.slots[3].is_up = false;
	m.stats[3].state = WORKER_DOWN;
	sample(1, NS_PER_SEC);
	make_view();
	assert_near(view.imbalance, 1);
	assert_int_equal(view.open_count, 3);
	assert_string_equal(view.rows[3].state, "down");
	assert_string_equal(view.rows[2].state, "running");
}

static void top__says_what_holds_a_slot_back(void **state)
{
	m.steering.slots[0].weight = 0;
	m.stats[1].state = WORKER_DRAINING;
	m.steering.slots[1].weight = 0;
	sample(1, NS_PER_SEC);
	make_view();
	assert_string_equal(view.rows[0].state, "drained");
	assert_string_equal(view.rows[1].state, "draining");
}

static void top__compares_verdicts_with_runs(void **state)
{
	static const struct {
		uint64_t before_verdicts, before_runs, verdicts, runs;
		enum top_check check;
	} cases[] = {
		{100, 0, 200, 0, TOP_RUNS_UNCOUNTED},
		{100, 100, 200, 200, TOP_RUNS_AGREE},
		{0, 0, 0, 0, TOP_RUNS_UNCOUNTED},
		/* Counted from later on: the interval decides. */
		{5000, 100, 6000, 1100, TOP_RUNS_AGREE},
		{5000, 100, 6000, 1900, TOP_RUNS_DIFFER},
		{5000, 100, 6000, 600, TOP_RUNS_DIFFER},
		/* Counting began within the interval, or has ended. */
		{5000, 0, 6000, 600, TOP_RUNS_UNCOUNTED},
		{5000, 600, 6000, 600, TOP_RUNS_UNCOUNTED},
		/* Some fell between two reads. */
		{100, 100, 200, 205, TOP_RUNS_AGREE},
		{100, 100, 200, 230, TOP_RUNS_DIFFER},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		m.steering.verdicts.steered = cases[i].before_verdicts;
		m.steering.program_runs = cases[i].before_runs;
		sample(0, NS_PER_SEC);
		m.steering.verdicts.steered = cases[i].verdicts;
		m.steering.program_runs = cases[i].runs;
		sample(1, 2 * NS_PER_SEC);
		make_view();
		if (view.check != cases[i].check)
			fail_msg("case %zu: %d", i, view.check);
	}
}

static void top__verdicts_have_rates(void **state)
{
	m.steering.verdicts = (struct steer_verdicts){.steered = 100, .no_socket = 1};
	sample(0, NS_PER_SEC);
	m.steering.verdicts = (struct steer_verdicts){.steered = 150, .no_socket = 3};
	sample(1, 1500 * NS_PER_MS);
	make_view();
	assert_true(view.verdict_count >= 8);
	assert_string_equal(view.verdicts[0].name, "steered");
	assert_near(view.verdicts[0].rate, 100);
	assert_near(view.run_rate, 104);
	assert_int_equal(samples[1].runs, 153);
}

static void top__bears_what_another_version_sends(void **state)
{
	static const char *const texts[] = {
		"{\"workers\":[]}",
		"{\"workers\":[1,null,\"x\",{}]}",
		"{\"workers\":[{\"slot\":-1,\"live\":99999999999,\"state\":7,\"latency_us\":3}]}",
		("{\"workers\":[{\"latency_us\":{\"buckets\":[[-5,1],[3],[7,-9],\"x\",[1e9,2]]}}],"
		 "\"steering\":{\"verdicts\":{\"a\":1,\"b\":\"x\",\"c\":-3}}}"),
		"{\"workers\":[{}],\"steering\":[],\"pid\":\"x\",\"config\":[]}",
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		json_t *status = json_loads(texts[i], 0, NULL);
		FILE *nowhere = fopen("/dev/null", "w");

		assert_non_null(status);
		assert_int_equal(top_sample_read(&samples[1], status, NS_PER_SEC), 0);
		make_view();
		top_history_push(&history, view.imbalance);
		top_print(&view, &history, 80, true, nowhere);
		fclose(nowhere);
		json_decref(status);
	}
	assert_int_equal(top_sample_read(&samples[1], NULL, 1), -EBADMSG);
}

static void top__no_text_of_the_server_steers_the_terminal(void **state)
{
	m.source.config = "/tmp/\033[2J\nx\303\244";
	sample(1, NS_PER_SEC);
	assert_string_equal(samples[1].config, "/tmp/?[2J?x??");
}

static void top__numbers_fit_their_columns(void **state)
{
	static const struct {
		double value;
		unsigned width;
		const char *text;
	} cases[] = {
		{0, 4, "0"},	       {-1, 4, "-"},
		{9999, 4, "9999"},     {10000, 4, "10k"},
		{10000, 5, "10000"},   {123456, 5, "123k"},
		{123456, 6, "123456"}, {1234567, 6, "1234k"},
		{1234567, 5, "1234k"}, {999999, 4, "999k"},
		{12345678, 4, "12M"},  {12345678, 5, "12.3M"},
		{1.8e19, 4, "18E"},    {4294967295.0, 7, "4294.9M"},
	};
	char text[TOP_CELL];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		top_number(text, cases[i].value, cases[i].width);
		assert_true(strlen(text) <= cases[i].width);
		assert_string_equal(text, cases[i].text);
	}
	for (double value = 1; value < 2e19; value *= 1.07) {
		top_number(text, value, 4);
		assert_true(strlen(text) <= 4);
	}
	top_rate(text, 0.44, 5);
	assert_string_equal(text, "0.4");
	top_rate(text, 9.97, 5);
	assert_string_equal(text, "10");
	top_rate(text, 0, 5);
	assert_string_equal(text, "0");
}

static void top__times_are_short(void **state)
{
	static const struct {
		uint64_t us;
		const char *text;
	} cases[] = {
		{0, "0us"},	  {999, "999us"},	 {1000, "1.0ms"},	{9949, "9.9ms"},
		{9950, "10ms"},	  {999499, "999ms"},	 {999500, "1.0s"},	{9949999, "9.9s"},
		{9950000, "10s"}, {3600000000, "3600s"}, {UINT64_MAX, "9999s"},
	};
	char text[TOP_CELL];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		top_time(text, cases[i].us);
		assert_string_equal(text, cases[i].text);
	}
}

static void top__history_keeps_the_last(void **state)
{
	double min, max;

	assert_false(top_history_range(&history, 10, &min, &max));
	for (unsigned i = 1; i <= TOP_HISTORY + 3; i++)
		top_history_push(&history, i);
	assert_near(top_history_at(&history, 0), TOP_HISTORY + 3);
	assert_near(top_history_at(&history, TOP_HISTORY - 1), 4);
	assert_true(top_history_at(&history, TOP_HISTORY) < 0);
	assert_true(top_history_range(&history, 10, &min, &max));
	assert_near(min, TOP_HISTORY - 6);
	assert_near(max, TOP_HISTORY + 3);
}

static void top__sparkline_starts_from_even(void **state)
{
	static const double values[] = {1, 1.5, 2, -1, 1.25, 1};
	char text[64];

	top_spark(text, sizeof(text), &history, 10, true);
	assert_string_equal(text, "");
	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		top_history_push(&history, values[i]);
	top_spark(text, sizeof(text), &history, 10, true);
	assert_string_equal(text, "▁▅█ ▃▁");
	top_spark(text, sizeof(text), &history, 10, false);
	assert_string_equal(text, "_=# -_");
	top_spark(text, sizeof(text), &history, 3, false);
	assert_string_equal(text, " #_");
	/* A little noise stays low. */
	memset(&history, 0, sizeof(history));
	top_history_push(&history, 1);
	top_history_push(&history, 1.03);
	top_spark(text, sizeof(text), &history, 10, true);
	assert_string_equal(text, "▁▁");
	/* No half of a character where room ends. */
	top_spark(text, 5, &history, 10, true);
	assert_string_equal(text, "▁");
}

static char *printed(unsigned width, bool is_utf8)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	top_print(&view, &history, width, is_utf8, out);
	fclose(out);
	return text;
}

static void assert_within(const char *text, unsigned width)
{
	for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
		char copy[1024];

		snprintf(copy, sizeof(copy), "%.*s", (int)strcspn(line, "\n"), line);
		if (top_columns(copy) > width)
			fail_msg("%u columns: %s", top_columns(copy), copy);
	}
}

static void top__prints_lines(void **state)
{
	char *text;

	m.steering.verdicts = (struct steer_verdicts){.steered = 12, .all_stalled = 1};
	m.steering.slots[0].live = 6;
	m.steering.slots[1].live = 3;
	m.steering.slots[2].reserved = 2;
	sample(1, NS_PER_SEC);
	make_view();
	top_history_push(&history, view.imbalance);
	text = printed(80, false);
	assert_non_null(strstr(text, "sluice    0.1.0  pid 812  running 1:02:03"));
	assert_non_null(strstr(text, "/etc/sluice/sluice.conf\n"));
	assert_non_null(strstr(text, "steering  least  open slots 4 of 4  imbalance 2.67  sd 2.5"));
	assert_non_null(strstr(text, "history   #  2.67..2.67\n"));
	assert_non_null(strstr(text, "verdicts  sum 13  (runs not counted)  steered 12  "
				     "all_stalled 1\n"));
	assert_non_null(strstr(text, "\nslot cpu     pid state      live  resv wght conn/s   req/s"
				     "    p50    p99  stalls\n"));
	assert_non_null(strstr(text, "\n   0   0     900 running       6     0  100      -       -"
				     "      -      -       0\n"));
	assert_non_null(strstr(text, "\ntotal                          9     2"));
	assert_null(strstr(text, "hashed"));
	free(text);
	/* A wider place has bars: half the connections, half the length. */
	text = printed(80 + 2 + 10, false);
	assert_non_null(strstr(text, "0  ##########\n"));
	assert_non_null(strstr(text, "0  #####\n"));
	assert_non_null(strstr(text, "  live\n"));
	free(text);
	text = printed(80 + 2 + 10, true);
	assert_non_null(strstr(text, "0  █████\n"));
	free(text);
}

static void top__stays_within_80_columns(void **state)
{
	char *text;

	/* All bits of all counters, and the longest texts. */
	memset(m.stats, 0x7f, sizeof(m.stats));
	memset(&m.steering.verdicts, 0x7f, sizeof(m.steering.verdicts));
	m.source.config =
		"/a/path/that/does/not/fit/beside/the/rest/of/the/line/of/the/server/x.conf";
	m.source.now_ns = INT64_MAX;
	m.source.pid = 4194304;
	m.steering.slot_count = STEER_MAX_SLOTS;
	for (unsigned i = 0; i < STEER_MAX_SLOTS; i++)
		m.steering.slots[i] = (struct status_slot){.cpu = 8191,
							   .pid = 4194304,
							   .live = UINT32_MAX,
							   .reserved = UINT32_MAX,
							   .pending = UINT32_MAX,
							   .weight = UINT32_MAX,
							   .is_up = true};
	for (unsigned i = 0; i < TOP_HISTORY; i++)
		top_history_push(&history, 1 + i % 9 * 10.0);
	sample(0, 1);
	sample(1, NS_PER_SEC);
	make_view();
	text = printed(80, true);
	assert_within(text, 80);
	assert_non_null(strstr(text, "...")); /* of the path, whose end is there */
	assert_non_null(strstr(text, "server/x.conf\n"));
	assert_non_null(strstr(text, "short_header "));
	free(text);
}

static void top__says_why_nothing_steers(void **state)
{
	char *text;

	m.steering.is_active = false;
	m.steering.why = "this kernel has no bpf()";
	sample(1, NS_PER_SEC);
	make_view();
	text = printed(80, true);
	assert_non_null(strstr(text, "steering  off  the kernel hashes: this kernel has no bpf()"));
	assert_null(strstr(text, "verdicts"));
	assert_non_null(strstr(text, "history   no connections yet"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(top__rates_are_those_of_the_interval, set_up),
		cmocka_unit_test_setup(top__one_sample_gives_totals_and_no_rates, set_up),
		cmocka_unit_test_setup(top__another_server_begins_anew, set_up),
		cmocka_unit_test_setup(top__times_are_those_of_the_interval, set_up),
		cmocka_unit_test_setup(top__imbalance_is_greatest_over_mean, set_up),
		cmocka_unit_test_setup(top__a_slot_that_is_down_counts_for_no_balance, set_up),
		cmocka_unit_test_setup(top__says_what_holds_a_slot_back, set_up),
		cmocka_unit_test_setup(top__compares_verdicts_with_runs, set_up),
		cmocka_unit_test_setup(top__verdicts_have_rates, set_up),
		cmocka_unit_test_setup(top__bears_what_another_version_sends, set_up),
		cmocka_unit_test_setup(top__no_text_of_the_server_steers_the_terminal, set_up),
		cmocka_unit_test_setup(top__numbers_fit_their_columns, set_up),
		cmocka_unit_test_setup(top__times_are_short, set_up),
		cmocka_unit_test_setup(top__history_keeps_the_last, set_up),
		cmocka_unit_test_setup(top__sparkline_starts_from_even, set_up),
		cmocka_unit_test_setup(top__prints_lines, set_up),
		cmocka_unit_test_setup(top__stays_within_80_columns, set_up),
		cmocka_unit_test_setup(top__says_why_nothing_steers, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
