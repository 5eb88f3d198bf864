/* SPDX-License-Identifier: MIT */
/* Publishers of other hosts: what comes twice, late, or is missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/channel_peers.h"
#include "base/err.h"

#define LATE UINT64_MAX

static int set_up(void **state)
{
	static struct channel_peers p;

	*state = &p;
	return channel_peers_init(&p);
}

static int tear_down(void **state)
{
	channel_peers_fini(*state);
	channel_peers_fini(*state);
	return 0;
}

static uint64_t note(struct channel_peers *p, uint64_t publisher, uint64_t serial)
{
	uint64_t lost = 99;
	bool is_fresh = channel_peers_note(p, publisher, serial, &lost);

	if (!is_fresh)
		assert_int_equal(lost, 0);
	return is_fresh ? lost : LATE;
}

static void channel_peers__pass_each_message_once_and_in_order(void **state)
{
	static const struct {
		uint64_t publisher, serial, lost;
	} cases[] = {
		{ 1, 7, 0 },		/* the first one that is heard of it, whatever came before */
		{ 1, 8, 0 }, { 1, 8, LATE }, { 1, 7, LATE }, { 1, 11, 2 }, { 1, 9, LATE }, { 1, 12, 0 },
		{ 0, 0, 0 }, { 0, 0, LATE }, { 0, 1, 0 },
		{ 1, 13, 0 },		/* another one is none of its business */
		{ 1 + CHANNEL_PEER_SETS, 1, 0 }, { 1, 14, 0 }, { 1 + CHANNEL_PEER_SETS, 2, 0 },
		{ 2, 5, 0 }, { 2, UINT64_MAX, UINT64_MAX - 6 }, { 2, 6, LATE },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(note(*state, cases[i].publisher, cases[i].serial), cases[i].lost);
}

/* Of one set there is room for a few; who has just been heard stays. */
static void channel_peers__forget_the_one_that_was_silent_for_longest(void **state)
{
	struct channel_peers *p = *state;

	for (uint64_t i = 0; i < CHANNEL_PEER_WAYS; i++)
		note(p, i * CHANNEL_PEER_SETS, 10);
	assert_int_equal(note(p, 0, 11), 0);
	assert_int_equal(note(p, CHANNEL_PEER_WAYS * CHANNEL_PEER_SETS, 1), 0);
	assert_int_equal(note(p, 0, 11), LATE);
	assert_int_equal(note(p, 2 * CHANNEL_PEER_SETS, 10), LATE);
	assert_int_equal(note(p, 1 * CHANNEL_PEER_SETS, 10), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(channel_peers__pass_each_message_once_and_in_order),
		TEST(channel_peers__forget_the_one_that_was_silent_for_longest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
