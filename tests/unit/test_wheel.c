/* SPDX-License-Identifier: MIT */
/* The timing wheel against a naive model, over every boundary of its levels. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/wheel.h"

struct probe {
	struct timer timer;
	struct wheel *wheel;
	uint64_t wanted_ms; /* what the model expects; UINT64_MAX: not armed */
	unsigned fired;
	uint64_t fired_at_ms; /* target of the advance that fired it */
	uint64_t rearm_ms;    /* relative to the target, when it fires; 0: never */
	struct probe *stops;  /* another timer that it stops */
};

static uint64_t target_ms;

static void on_expire(struct timer *t)
{
	struct probe *p = container_of(t, struct probe, timer);

	p->fired++;
	p->fired_at_ms = target_ms;
	if (p->stops)
		wheel_stop(p->wheel, &p->stops->timer);
	if (p->rearm_ms)
		wheel_start(p->wheel, t, target_ms + p->rearm_ms);
}

static void probe_init(struct probe *p, struct wheel *w)
{
	*p = (struct probe){.wheel = w, .wanted_ms = UINT64_MAX};
	timer_init(&p->timer, on_expire);
}

static unsigned advance(struct wheel *w, uint64_t now_ms)
{
	target_ms = now_ms;
	return wheel_advance(w, now_ms);
}

/* One timer from `start` to `at`: the lower bounds lead to it in few wake-ups, none of which fires
 * it early. */
static void follow_one_timer(uint64_t start, uint64_t at)
{
	static struct wheel w;
	struct probe p;
	uint64_t next;
	unsigned wake_count = 0;
	/* One for each level that sorts it anew; the start of each block of 2^36 ms on the way. */
	uint64_t allowed = WHEEL_LEVELS - 1 + (at >> 36) - (start >> 36);

	wheel_init(&w, start);
	probe_init(&p, &w);
	wheel_start(&w, &p.timer, at);
	assert_true(wheel_validate(&w));
	while ((next = wheel_next(&w)) < at) {
		assert_true(next > w.now_ms);
		assert_int_equal(advance(&w, next), 0);
		assert_true(wheel_validate(&w));
		assert_true(++wake_count <= allowed);
	}
	assert_true(next == at);
	assert_int_equal(advance(&w, at - 1), 0);
	assert_true(wheel_validate(&w));
	assert_int_equal(advance(&w, at), 1);
	assert_int_equal(w.timer_count, 0);
	assert_true(wheel_next(&w) == UINT64_MAX);
}

/* Starts around every boundary of every level, distances around every length of a slot and of a
 * turn. */
static void wheel__fires_exactly_at_its_tick(void **state)
{
	for (unsigned start_bits = 0; start_bits <= 42; start_bits += 6) {
		for (int64_t start_offset = -2; start_offset <= 2; start_offset++) {
			uint64_t start = (1ull << start_bits) + (uint64_t)(start_offset + 2);

			start -= start_bits ? 2 : 0;
			for (unsigned bits = 0; bits <= 40; bits++)
				for (int64_t offset = -1; offset <= 1; offset++)
					if ((int64_t)(1ull << bits) + offset > 0)
						follow_one_timer(start, start + (1ull << bits) +
										(uint64_t)offset);
		}
	}
	follow_one_timer(0, 63ull << 30);
	follow_one_timer((1ull << 36) - 1, (1ull << 36) + 5);
	follow_one_timer((1ull << 36) - (1ull << 30), (1ull << 36) + (63ull << 30) + 1);
}

/* All distances up to two turns of the second level, from every offset within the first: in one
 * jump. */
static void wheel__jumps_over_level_boundaries(void **state)
{
	static struct wheel w;
	struct probe p;

	for (uint64_t start = 0; start < 64; start++) {
		for (uint64_t distance = 1; distance < 2 * 4096 + 10; distance++) {
			wheel_init(&w, start);
			probe_init(&p, &w);
			wheel_start(&w, &p.timer, start + distance);
			assert_int_equal(advance(&w, start + distance - 1), 0);
			assert_int_equal(advance(&w, start + distance), 1);
		}
	}
}

static uint64_t seed;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* A distance whose magnitude is uniform: every level is met. */
static uint64_t random_distance(void)
{
	return next_random() & ((1ull << next_random() % 38) - 1);
}

#define PROBES 200

static struct wheel model_wheel;
static struct probe probes[PROBES];
static uint64_t last_fired_ms;

static void model_stop(struct probe *p)
{
	wheel_stop(&model_wheel, &p->timer);
	p->wanted_ms = UINT64_MAX;
}

static void model_start(struct probe *p, uint64_t now_ms)
{
	/* One in four lies in the past. */
	uint64_t back = next_random() % 4 ? 0 : random_distance();
	uint64_t at = now_ms + random_distance() - MIN(back, now_ms);

	wheel_start(&model_wheel, &p->timer, at);
	p->wanted_ms = MAX(at, now_ms + 1);
}

/* Was due, in order of ticks; then starts and stops timers at random, itself among them. */
static void on_model_expire(struct timer *t)
{
	struct probe *p = container_of(t, struct probe, timer);

	assert_true(p->wanted_ms <= target_ms);
	assert_true(p->wanted_ms >= last_fired_ms);
	assert_false(timer_is_active(t));
	assert_true(model_wheel.now_ms == target_ms);
	last_fired_ms = p->wanted_ms;
	p->wanted_ms = UINT64_MAX;
	for (unsigned count = next_random() % 4; count > 0; count--) {
		if (next_random() % 3)
			model_start(next_random() % 4 ? &probes[next_random() % PROBES] : p,
				    target_ms);
		else
			model_stop(&probes[next_random() % PROBES]);
	}
	if (next_random() % 8 == 0)
		assert_true(wheel_validate(&model_wheel));
}

static uint64_t least_wanted(void)
{
	uint64_t least = UINT64_MAX;

	for (unsigned i = 0; i < PROBES; i++) {
		least = MIN(least, probes[i].wanted_ms);
		assert_int_equal(timer_is_active(&probes[i].timer),
				 probes[i].wanted_ms != UINT64_MAX);
	}
	return least;
}

/* Time moves by anything from a tick to years, or exactly to the bound that the wheel gives, as a
 * loop does. */
static void model_advance(uint64_t *now_ms)
{
	uint64_t next = wheel_next(&model_wheel);

	if (next_random() % 2 && next != UINT64_MAX)
		*now_ms = next;
	else
		*now_ms += random_distance();
	last_fired_ms = 0;
	target_ms = *now_ms;
	wheel_advance(&model_wheel, *now_ms);
}

static void wheel__agrees_with_a_naive_model(void **state)
{
	uint64_t now = 123456789;

	seed = 88172645463325252ull;
	wheel_init(&model_wheel, now);
	for (unsigned i = 0; i < PROBES; i++) {
		probe_init(&probes[i], &model_wheel);
		timer_init(&probes[i].timer, on_model_expire);
	}
	for (unsigned round = 0; round < 20000; round++) {
		struct probe *p = &probes[next_random() % PROBES];
		uint64_t least;

		if (next_random() % 4 == 0)
			model_stop(p);
		else
			model_start(p, now);
		if (next_random() % 3 == 0)
			model_advance(&now);
		least = least_wanted();
		assert_true(least > now);
		assert_true(wheel_next(&model_wheel) <= least);
		assert_true(wheel_validate(&model_wheel));
	}
}

static void wheel__lets_callbacks_start_and_stop(void **state)
{
	static struct wheel w;
	struct probe a, b, c;

	wheel_init(&w, 1000);
	probe_init(&a, &w);
	probe_init(&b, &w);
	probe_init(&c, &w);
	a.stops = &b;
	a.rearm_ms = 70;
	wheel_start(&w, &a.timer, 1010);
	wheel_start(&w, &b.timer, 1010);
	wheel_start(&w, &c.timer, 1010);
	assert_int_equal(advance(&w, 1010), 2);
	assert_int_equal(b.fired, 0);
	assert_int_equal(c.fired, 1);
	assert_true(wheel_validate(&w));
	assert_int_equal(advance(&w, 1079), 0);
	assert_int_equal(advance(&w, 1080), 1);
	assert_int_equal(a.fired, 2);
}

/* A timer that arms itself for "now" fires once a call, not forever within one, even over a jump of
 * a day. */
static void wheel__does_not_loop_on_a_timer_that_is_due_again(void **state)
{
	static struct wheel w;
	struct probe p;

	wheel_init(&w, 0);
	probe_init(&p, &w);
	wheel_start(&w, &p.timer, 0);
	assert_int_equal(p.timer.expires_ms, 1);
	p.rearm_ms = 1;
	assert_int_equal(advance(&w, 86400000), 1);
	assert_int_equal(p.timer.expires_ms, 86400001);
	assert_int_equal(advance(&w, 86400000), 0);
	assert_int_equal(advance(&w, 86400001), 1);
}

/* As the time limit of a connection, with each request: it stays where it lies, and fires at its new time all the same. */
static void wheel__moves_a_timer_back(void **state)
{
	static const uint64_t ways[][4] = { { 1010, 1011, 1012, 1013 },		/* within the first level */
					    { 1010, 1100, 70000, 70001 },	/* out of it */
					    { 70000, 140000, 140001, 5000000 },
					    { 1ull << 40, 1ull << 41, (1ull << 41) + 1, (1ull << 42) + 7 } };
	static struct wheel w;
	struct probe p, other;

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		const struct list *place;

		wheel_init(&w, 1000);
		probe_init(&p, &w);
		wheel_start(&w, &p.timer, ways[i][0]);
		place = p.timer.node.next;
		for (unsigned k = 1; k < 4; k++)
			wheel_start(&w, &p.timer, ways[i][k]);
		assert_ptr_equal(p.timer.node.next, place);
		assert_true(wheel_validate(&w));
		assert_int_equal(w.timer_count, 1);
		assert_int_equal(advance(&w, ways[i][3] - 1), 0);
		assert_true(wheel_validate(&w));
		assert_int_equal(w.timer_count, 1);
		assert_int_equal(advance(&w, ways[i][3]), 1);
	}
	/* In one jump over both: still in order of ticks, so that the first stops the other. */
	wheel_init(&w, 1000);
	probe_init(&p, &w);
	probe_init(&other, &w);
	other.stops = &p;
	wheel_start(&w, &p.timer, 1010);
	wheel_start(&w, &other.timer, 1020);
	wheel_start(&w, &p.timer, 1030);
	assert_int_equal(advance(&w, 2000), 1);
	assert_int_equal(other.fired, 1);
	/* To an earlier time it moves at once. */
	wheel_start(&w, &p.timer, 90000);
	wheel_start(&w, &p.timer, 2001);
	assert_true(wheel_next(&w) == 2001);
	assert_int_equal(advance(&w, 2001), 1);
}

static void wheel__fires_in_order_of_ticks(void **state)
{
	static struct wheel w;
	static struct probe chain[100];

	wheel_init(&w, 7);
	for (unsigned i = 0; i < ARRAY_LEN(chain); i++) {
		probe_init(&chain[i], &w);
		/* Each stops its successor if that fires later, so a wrong order would let one
		 * through. */
		wheel_start(&w, &chain[i].timer, 100 + (uint64_t)i * 97);
		if (i > 0)
			chain[i - 1].stops = &chain[i];
	}
	assert_int_equal(advance(&w, 100000), 50);
	for (unsigned i = 0; i < ARRAY_LEN(chain); i++)
		assert_int_equal(chain[i].fired, i % 2 == 0);
}

/* Two centuries, and the end of time, in one call each; nobody waits for a step per block of 2^36
 * ms. */
static void wheel__takes_huge_jumps(void **state)
{
	static const uint64_t expiries[] = {5,		1ull << 36, (1ull << 36) + 1, 1ull << 40,
					    1ull << 50, 1ull << 63, UINT64_MAX - 1,   UINT64_MAX};
	static struct wheel w;
	struct probe waiting[ARRAY_LEN(expiries)];

	wheel_init(&w, 3);
	for (unsigned i = 0; i < ARRAY_LEN(expiries); i++) {
		probe_init(&waiting[i], &w);
		wheel_start(&w, &waiting[i].timer, expiries[i]);
		assert_true(wheel_validate(&w));
	}
	assert_int_equal(advance(&w, 6311520000000), 4);
	assert_true(wheel_validate(&w));
	assert_true(wheel_next(&w) <= 1ull << 50);
	/* A clock that goes back changes nothing. */
	assert_int_equal(advance(&w, 1000), 0);
	assert_true(w.now_ms == 6311520000000);
	assert_int_equal(advance(&w, UINT64_MAX - 2), 2);
	assert_true(wheel_validate(&w));
	assert_int_equal(advance(&w, UINT64_MAX), 2);
	assert_int_equal(w.timer_count, 0);
}

/* Days without any timer that is due cost a step per busy slot, not one per tick. */
static void wheel__sleeps_long_at_no_cost(void **state)
{
	static struct wheel w;
	struct probe p;

	wheel_init(&w, 0);
	probe_init(&p, &w);
	for (uint64_t day = 0; day < 200000; day++) {
		wheel_start(&w, &p.timer, (day + 1) * 86400000 - 1);
		assert_int_equal(advance(&w, (day + 1) * 86400000 - 2), 0);
		assert_int_equal(advance(&w, (day + 1) * 86400000), 1);
	}
}

static void free_on_expire(struct timer *t)
{
	free(container_of(t, struct probe, timer));
}

static void wheel__lets_a_callback_free_its_timer(void **state)
{
	static struct wheel w;

	wheel_init(&w, 0);
	for (unsigned i = 0; i < 10; i++) {
		struct probe *p = malloc(sizeof(*p));

		assert_non_null(p);
		probe_init(p, &w);
		timer_init(&p->timer, free_on_expire);
		wheel_start(&w, &p->timer, 5 + i / 5);
	}
	assert_int_equal(advance(&w, 10), 10);
	assert_true(wheel_validate(&w));
}

/* Its complaints are wanted here, but not on the screen. */
static bool quietly_validate(const struct wheel *w)
{
	int saved = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
	bool is_valid;

	dup2(null, STDERR_FILENO);
	is_valid = wheel_validate(w);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(null);
	return is_valid;
}

static void wheel__validate_sees_faults(void **state)
{
	static struct wheel w;
	struct probe a, b;

	wheel_init(&w, 1000);
	probe_init(&a, &w);
	probe_init(&b, &w);
	wheel_start(&w, &a.timer, 1010);
	wheel_start(&w, &b.timer, 1ull << 40);
	assert_true(wheel_validate(&w));
	/* As if it had been moved back. */
	a.timer.expires_ms = 10100;
	assert_true(wheel_validate(&w));
	a.timer.expires_ms = 1009;
	assert_false(quietly_validate(&w));
	a.timer.expires_ms = 1000;
	assert_false(quietly_validate(&w));
	a.timer.expires_ms = 1010;
	b.timer.expires_ms = 2000;
	assert_false(quietly_validate(&w));
	b.timer.expires_ms = 1ull << 40;
	w.timer_count++;
	assert_false(quietly_validate(&w));
	w.timer_count -= 2;
	assert_false(quietly_validate(&w));
	w.timer_count++;
	w.busy[3] ^= 2;
	assert_false(quietly_validate(&w));
	w.busy[3] ^= 2;
	w.busy[0] = 0;
	assert_false(quietly_validate(&w));
}

static void wheel__dump_names_every_timer(void **state)
{
	static struct wheel w;
	struct probe p[3];
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	wheel_init(&w, 1000);
	for (unsigned i = 0; i < 3; i++) {
		probe_init(&p[i], &w);
		wheel_start(&w, &p[i].timer, 1001 + ((uint64_t)i << 20 << i * 10));
	}
	wheel_dump(&w, out);
	fclose(out);
	assert_non_null(strstr(text, "now 1000, 3 timers"));
	assert_non_null(strstr(text, " 1001\n"));
	assert_non_null(strstr(text, " 1073742825\n"));
	assert_non_null(strstr(text, "far: 2199023256553\n"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wheel__fires_exactly_at_its_tick),
		cmocka_unit_test(wheel__jumps_over_level_boundaries),
		cmocka_unit_test(wheel__agrees_with_a_naive_model),
		cmocka_unit_test(wheel__lets_callbacks_start_and_stop),
		cmocka_unit_test(wheel__does_not_loop_on_a_timer_that_is_due_again),
		cmocka_unit_test(wheel__moves_a_timer_back),
		cmocka_unit_test(wheel__fires_in_order_of_ticks),
		cmocka_unit_test(wheel__takes_huge_jumps),
		cmocka_unit_test(wheel__sleeps_long_at_no_cost),
		cmocka_unit_test(wheel__lets_a_callback_free_its_timer),
		cmocka_unit_test(wheel__validate_sees_faults),
		cmocka_unit_test(wheel__dump_names_every_timer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
