/* SPDX-License-Identifier: MIT */
/* Drains, explanations and the report of `sluice steer`, on plain memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "net/steer.h"
#include "proc/steer_report.h"

#define NOW 1000000000000ull

static struct steer *open_plain(unsigned slots, enum steer_policy_id policy)
{
	const struct steer_options opt = {
		.slot_count = slots,
		.policy = policy,
		.stall_ns = 20000000,
		.is_disabled = true,
	};
	struct steer *s = NULL;

	assert_int_equal(steer_open(&opt, &s), 0);
	for (unsigned i = 0; i < slots; i++) {
		steer_slot_up(s, i, i, 100 + i);
		steer_stamp(steer_slot(s, i), NOW);
	}
	return s;
}

static void steer_drain__remembers_the_weight(void **state)
{
	static const struct {
		const char *what;
		int weight; /* set before; -1: left alone */
		unsigned drains;
		bool is_zero_by_hand;
		unsigned expected;
	} rows[] = {
		{"the default", -1, 1, false, 100},    {"a weight", 250, 1, false, 250},
		{"drained twice", 250, 2, false, 250}, {"never drained", 70, 0, false, 70},
		{"0 by hand", -1, 0, true, 100},       {"weight 0, then drained", 0, 1, false, 100},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct steer *s = open_plain(2, STEER_LEAST);

		if (rows[i].weight >= 0)
			assert_int_equal(steer_set_weight(s, 1, (uint32_t)rows[i].weight), 0);
		if (rows[i].is_zero_by_hand)
			assert_int_equal(steer_set_weight(s, 1, 0), 0);
		for (unsigned n = 0; n < rows[i].drains; n++) {
			assert_int_equal(steer_drain(s, 1), 0);
			assert_int_equal(steer_weight(s, 1), 0);
		}
		assert_int_equal(steer_undrain(s, 1), 0);
		if (steer_weight(s, 1) != rows[i].expected)
			fail_msg("%s: %u", rows[i].what, steer_weight(s, 1));
		assert_int_equal(steer_weight(s, 0), 100);
		steer_close(s);
	}
}

static void steer_drain__refuses_other_slots(void **state)
{
	struct steer *s = open_plain(2, STEER_LEAST);

	assert_int_equal(steer_drain(s, 2), -EINVAL);
	assert_int_equal(steer_undrain(s, 2), -EINVAL);
	assert_int_equal(steer_drain(s, UINT32_MAX), -EINVAL);
	steer_close(s);
}

static void explain(struct steer *s, struct steer_explanation *e)
{
	assert_int_equal(steer_explain(s, NOW, e), 0);
}

/* The share of the next connections is that of the policy; nothing in the maps changes. */
static void steer_explain__says_where_the_next_goes(void **state)
{
	static const struct {
		enum steer_policy_id policy;
		unsigned wins[4]; /* of 1000, give or take 60 */
	} rows[] = {
		{STEER_HASH, {500, 250, 250, 0}}, {STEER_LEAST, {0, 1000, 0, 0}},
		{STEER_RR, {333, 333, 333, 0}},	  {STEER_WEIGHTED, {500, 250, 250, 0}},
		{STEER_BUSY, {0, 0, 1000, 0}},
	};

	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		struct steer *s = open_plain(4, rows[r].policy);
		struct steer_explanation e, again;

		assert_int_equal(steer_set_weight(s, 0, 200), 0);
		steer_slot(s, 0)->live = 20;
		steer_slot(s, 1)->pending = 1;
		steer_slot(s, 2)->live = 9;
		steer_slot(s, 0)->pending = 2;
		steer_slot(s, 1)->live = 8;
		assert_int_equal(steer_drain(s, 3), 0);
		explain(s, &e);
		for (unsigned i = 0; i < 4; i++)
			assert_in_range(e.slots[i].wins + 60, rows[r].wins[i],
					rows[r].wins[i] + 120);
		assert_int_equal(e.hashed, 0);
		explain(s, &again);
		assert_memory_equal(&e, &again, sizeof(e));
		steer_close(s);
	}
}

static void steer_explain__shows_scores_and_states(void **state)
{
	struct steer *s = open_plain(3, STEER_LEAST);
	struct steer_explanation e;

	steer_slot(s, 0)->live = 3;
	assert_int_equal(steer_set_weight(s, 0, 200), 0);
	steer_stamp(steer_slot(s, 1), NOW - 30000000);
	explain(s, &e);
	assert_true(e.slots[0].score == 2);
	assert_false(e.slots[0].is_stalled);
	assert_true(e.slots[1].is_stalled);
	steer_slot_down(s, 2, false);
	assert_int_equal(steer_drain(s, 0), 0);
	explain(s, &e);
	assert_true(e.slots[0].score < 0); /* nothing to compare */
	assert_false(e.slots[2].is_up);
	assert_false(e.slots[2].is_stalled);
	assert_int_equal(e.hashed, STEER_EXPLAIN_DRAWS);

	assert_int_equal(steer_set_policy(s, STEER_BUSY), 0);
	assert_int_equal(steer_undrain(s, 0), 0);
	assert_int_equal(steer_set_weight(s, 0, 100), 0);
	steer_slot(s, 0)->pending = 7;
	explain(s, &e);
	assert_true(e.slots[0].score > 7.0000039 && e.slots[0].score < 7.0000041);
	steer_close(s);
}

static char *print(const json_t *report, bool explains)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	steer_report_print(report, explains, out);
	fclose(out);
	return text;
}

static void expect_text(const json_t *report, bool explains, const char *part)
{
	char *text = print(report, explains);

	if (!strstr(text, part))
		fail_msg("no '%s' in\n%s", part, text);
	free(text);
}

static void steer_report__prints_what_matters(void **state)
{
	struct steer *s = open_plain(2, STEER_LEAST);
	struct steer_explanation e;
	json_t *report;

	assert_int_equal(steer_drain(s, 1), 0);
	explain(s, &e);
	report = steer_report_json(&e, NULL);
	assert_non_null(report);
	expect_text(report, false, "policy least: the fewest live");
	expect_text(report, false, "   1    1 drained       0 ");
	expect_text(report, true,
		    "   0    0 open        100        0        0       0        1.00  100.0%");
	expect_text(report, true, "the least wins");
	json_decref(report);

	assert_int_equal(steer_drain(s, 0), 0);
	explain(s, &e);
	report = steer_report_json(&e, "not permitted");
	expect_text(report, false, "steering is off, the kernel hashes: not permitted");
	expect_text(report, false, "no slot is open");
	json_decref(report);
	steer_close(s);
}

/* Of another version, or of nobody. */
static void steer_report__bears_with_missing_fields(void **state)
{
	static const char *const texts[] = {
		"{}",
		"{\"slots\":3}",
		"{\"slots\":[1,null,{}],\"active\":true,\"policy\":7,\"hashed\":\"x\"}",
		"{\"slots\":[{\"score\":\"x\",\"state\":null,\"live\":-1}],\"why\":null}",
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		json_t *report = json_loads(texts[i], 0, NULL);

		assert_non_null(report);
		free(print(report, false));
		expect_text(report, true, "slot  cpu state");
		json_decref(report);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steer_drain__remembers_the_weight),
		cmocka_unit_test(steer_drain__refuses_other_slots),
		cmocka_unit_test(steer_explain__says_where_the_next_goes),
		cmocka_unit_test(steer_explain__shows_scores_and_states),
		cmocka_unit_test(steer_report__prints_what_matters),
		cmocka_unit_test(steer_report__bears_with_missing_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
