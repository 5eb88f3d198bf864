/* SPDX-License-Identifier: MIT */
/* The policy function by itself: the text the kernel program compiles, on plain arrays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/types.h>
#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "steer_shared.h"
#include "steer_policy.h"

#define BUCKET_NS 500000000ull
#define NOW	  (1000 * BUCKET_NS + 12345)
#define EPOCH	  1000u
#define STALL_NS  20000000ull

struct host {
	struct steer_slot slots[STEER_MAX_SLOTS];
	__u32 weights[STEER_MAX_SLOTS];
	struct steer_config config;
};

static struct host host;

/* `count` slots, all up, idle and of equal weight. */
static void reset(__u32 policy, __u32 count)
{
	memset(&host, 0, sizeof(host));
	host.config = (struct steer_config){
		.policy = policy, .slot_count = count, .bucket_ns = BUCKET_NS};
	for (__u32 i = 0; i < STEER_MAX_SLOTS; i++) {
		host.slots[i].is_up = i < count;
		host.slots[i].is_waiting = 1;
		host.slots[i].stamp_ns = NOW;
		host.weights[i] = STEER_DEFAULT_WEIGHT;
	}
}

static __u32 cpu_now, turn_now;

static int pick(__u32 hash)
{
	return steer_pick(host.slots, host.weights, &host.config, hash, cpu_now, turn_now++, NOW);
}

/* splitmix64: hashes as even as the kernel's. */
static __u32 random32(__u64 *state)
{
	__u64 z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (__u32)(z >> 32);
}

static void count_picks(unsigned rounds, unsigned counts[STEER_MAX_SLOTS])
{
	__u64 seed = 1;

	memset(counts, 0, STEER_MAX_SLOTS * sizeof(counts[0]));
	for (unsigned i = 0; i < rounds; i++) {
		int slot = pick(random32(&seed));

		assert_in_range(slot, 0, host.config.slot_count - 1);
		counts[slot]++;
	}
}

static void steer_least__the_lightest_wins_at_every_place(void **state)
{
	static const __u32 sizes[] = {1, 2, 3, 8, 63, 64, 65, 255, 256};

	for (size_t n = 0; n < ARRAY_LEN(sizes); n++) {
		for (__u32 light = 0; light < sizes[n]; light++) {
			reset(STEER_LEAST, sizes[n]);
			for (__u32 i = 0; i < sizes[n]; i++)
				host.slots[i].live = 7 + i % 3;
			host.slots[light].live = 6;
			assert_int_equal(pick(light * 2654435761u), light);
		}
	}
}

/* What counts: live connections and reservations, each by one. */
static void steer_least__score_is_live_and_reserved(void **state)
{
	static const struct {
		const char *what;
		__u32 live;
		struct steer_resv resv;
		bool is_lighter; /* than 5 connections */
	} rows[] = {
		{"4 live", 4, {0, 0, 0}, true},
		{"6 live", 6, {0, 0, 0}, false},
		{"2 live, 2 reserved", 2, {EPOCH, 2, 0}, true},
		{"2 live, 4 reserved", 2, {EPOCH, 4, 0}, false},
		{"2 live, 4 over two buckets", 2, {EPOCH, 2, 2}, false},
		{"a bucket ago: the current ones still count", 0, {EPOCH - 1, 6, 0}, false},
		{"a bucket ago: the previous ones are over", 0, {EPOCH - 1, 4, 60000}, true},
		{"two buckets ago: all are over", 0, {EPOCH - 2, 60000, 60000}, true},
		{"long ago", 0, {0, 60000, 60000}, true},
		{"a CPU that is ahead made them", 0, {EPOCH + 1, 3, 3}, false},
		{"full", 0, {EPOCH, 65535, 65535}, false},
		{"live as large as it gets", 0xffffffff, {EPOCH, 65535, 65535}, false},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		reset(STEER_LEAST, 2);
		host.slots[0].live = rows[i].live;
		host.slots[0].resv = rows[i].resv;
		host.slots[1].live = 5;
		for (__u32 hash = 0; hash < 64; hash++)
			if (pick(hash * 2654435761u) != !rows[i].is_lighter)
				fail_msg("%s", rows[i].what);
	}
}

static void steer_least__reservations_can_be_off(void **state)
{
	reset(STEER_LEAST, 2);
	host.config.bucket_ns = 0;
	host.slots[0].resv = (struct steer_resv){0, 100, 100};
	host.slots[1].live = 1;
	assert_int_equal(pick(99), 0);
}

/* Equal slots share whatever their places: neighbours as well as far ones, few as well as all. */
static void steer_least__ties_are_shared(void **state)
{
	static const struct {
		unsigned count, tied;
		unsigned char places[8];
	} rows[] = {
		{8, 2, {0, 1}},		 {8, 2, {0, 7}},	  {8, 3, {0, 1, 2}},
		{8, 3, {0, 4, 5}},	 {8, 5, {0, 1, 2, 3, 7}}, {8, 8, {0, 1, 2, 3, 4, 5, 6, 7}},
		{64, 4, {0, 1, 62, 63}}, {256, 3, {0, 128, 255}}, {7, 6, {1, 2, 3, 4, 5, 6}},
	};
	enum { ROUNDS = 60000 };

	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		unsigned counts[STEER_MAX_SLOTS];
		unsigned share = ROUNDS / rows[r].tied;

		reset(STEER_LEAST, rows[r].count);
		for (unsigned i = 0; i < rows[r].count; i++)
			host.slots[i].live = 9;
		for (unsigned i = 0; i < rows[r].tied; i++)
			host.slots[rows[r].places[i]].live = 8;
		count_picks(ROUNDS, counts);
		for (unsigned i = 0; i < rows[r].tied; i++)
			assert_in_range(counts[rows[r].places[i]], share * 95 / 100,
					share * 105 / 100);
	}
}

/* In the end each slot holds connections as its weight says. */
static void steer_least__fills_by_weight(void **state)
{
	static const __u32 weights[] = {100, 200, 50, 1000, 0, 100, 1, 5000000};
	static const unsigned expected[] = {100, 200, 50, 1000, 0, 100, 1, 1000};
	__u64 seed = 3;

	reset(STEER_LEAST, ARRAY_LEN(weights));
	memcpy(host.weights, weights, sizeof(weights));
	for (unsigned i = 0; i < 2451; i++)
		host.slots[pick(random32(&seed))].live++;
	for (size_t i = 0; i < ARRAY_LEN(weights); i++)
		assert_in_range(host.slots[i].live, expected[i] ? expected[i] - 1 : 0,
				expected[i] + 2);
	assert_int_equal(host.slots[4].live, 0);
}

static void steer_hash__shares_by_weight(void **state)
{
	static const struct {
		unsigned count;
		__u32 weights[8];
	} rows[] = {
		{1, {100}},
		{2, {100, 100}},
		{3, {100, 100, 100}},
		{8, {100, 100, 100, 100, 100, 100, 100, 100}},
		{4, {100, 0, 300, 100}},
		{5, {0, 1000, 1000, 0, 2000}}, /* 2000 counts as 1000 */
		{8, {0, 0, 0, 0, 0, 0, 0, 1}},
	};
	enum { ROUNDS = 100000 };

	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		unsigned counts[STEER_MAX_SLOTS], total = 0;

		reset(STEER_HASH, rows[r].count);
		memcpy(host.weights, rows[r].weights, sizeof(rows[r].weights));
		for (unsigned i = 0; i < rows[r].count; i++)
			total += MIN(rows[r].weights[i], STEER_MAX_WEIGHT);
		count_picks(ROUNDS, counts);
		for (unsigned i = 0; i < rows[r].count; i++) {
			unsigned share = ROUNDS / total * MIN(rows[r].weights[i], STEER_MAX_WEIGHT);

			assert_in_range(counts[i], share * 94 / 100, share * 106 / 100 + 2);
		}
	}
}

static void steer_hash__all_slots_are_reached(void **state)
{
	unsigned counts[STEER_MAX_SLOTS];

	reset(STEER_HASH, STEER_MAX_SLOTS);
	count_picks(256000, counts);
	for (unsigned i = 0; i < STEER_MAX_SLOTS; i++)
		assert_in_range(counts[i], 840, 1160); /* 1000, 5 sigma */
}

static void steer_hash__the_same_hash_goes_the_same_way(void **state)
{
	reset(STEER_HASH, 8);
	for (__u32 hash = 0; hash < 100; hash++) {
		int first = pick(hash);

		host.slots[first].live += 100;
		assert_int_equal(pick(hash), first);
	}
}

/* Who is left out: down, drained, stalled; idle is not stalled. */
static void steer_pick__leaves_out(void **state)
{
	static const struct {
		const char *what;
		__u32 is_up, weight, is_waiting;
		__s64 age_ns; /* of the stamp */
		__u64 stall_ns;
		bool is_chosen;
	} rows[] = {
		{"healthy", 1, 100, 0, 0, STALL_NS, true},
		{"down", 0, 100, 0, 0, STALL_NS, false},
		{"drained", 1, 0, 0, 0, STALL_NS, false},
		{"busy, just in time", 1, 100, 0, STALL_NS, STALL_NS, true},
		{"busy, late", 1, 100, 0, STALL_NS + 1, STALL_NS, false},
		{"late, but no limit", 1, 100, 0, 1ll << 40, 0, true},
		{"idle for long", 1, 100, 1, 1ll << 40, STALL_NS, true},
		{"a stamp of the future", 1, 100, 0, -(1ll << 40), STALL_NS, true},
		{"a stamp of the future, no limit", 1, 100, 0, -1, 0, true},
		{"far ahead, nonsense in stall_ns", 1, 100, 0, -(1ll << 40), ~0ull, true},
		{"never stamped", 1, 100, 0, NOW, STALL_NS, false},
		{"nonsense in is_up", 77, 100, 0, 0, STALL_NS, true},
		{"nonsense in is_up", 0xffffffff, 100, 0, 0, STALL_NS, true},
		{"nonsense in is_waiting", 1, 100, 0xffffffff, 1ll << 40, STALL_NS, true},
		{"nonsense in weight", 1, 0xffffffff, 0, 0, STALL_NS, true},
		{"nonsense in stall_ns", 1, 100, 0, 1ll << 40, ~0ull, true},
	};

	for (__u32 policy = 0; policy < STEER_POLICY_COUNT; policy++) {
		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			reset(policy, 3);
			host.config.stall_ns = rows[i].stall_ns;
			host.slots[0].is_up = 0;
			host.slots[1].is_up = rows[i].is_up;
			host.weights[1] = rows[i].weight;
			host.slots[1].is_waiting = rows[i].is_waiting;
			host.slots[1].stamp_ns = NOW - (__u64)rows[i].age_ns;
			host.slots[2].is_up = 0;
			for (__u32 hash = 0; hash < 64; hash++)
				if (pick(hash * 2654435761u) !=
				    (rows[i].is_chosen ? 1 : STEER_PICK_NONE))
					fail_msg("%s (%u)", rows[i].what, policy);
		}
	}
}

static void steer_pick__refuses_nonsense(void **state)
{
	static const struct {
		__u32 policy, slot_count;
	} rows[] = {
		{STEER_LEAST, 0}, {STEER_LEAST, STEER_MAX_SLOTS + 1}, {STEER_LEAST, 0xffffffff},
		{STEER_HASH, 0},  {STEER_HASH, 0x80000000},	      {STEER_POLICY_COUNT, 4},
		{0xffffffff, 4},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		reset(rows[i].policy, 4);
		host.config.slot_count = rows[i].slot_count;
		assert_int_equal(pick(1), STEER_PICK_BAD);
	}
}

/* Whatever stands in the maps, the result is a slot in use or a refusal. */
static void steer_pick__random_contents_stay_in_bounds(void **state)
{
	__u64 seed = 7;
	unsigned chosen = 0;

	for (unsigned round = 0; round < 20000; round++) {
		__u32 *words = (__u32 *)&host, count = 1 + random32(&seed) % 16;
		int slot;

		for (size_t i = 0; i < sizeof(host.slots[0]) * 16 / 4; i++)
			words[i] = random32(&seed);
		for (unsigned i = 0; i < 16; i++)
			host.weights[i] = random32(&seed) >> random32(&seed) % 32;
		host.config.policy = random32(&seed) % STEER_POLICY_COUNT;
		host.config.slot_count = count;
		host.config.bucket_ns = random32(&seed) % 4 ? random32(&seed) : 0;
		host.config.stall_ns = (__u64)random32(&seed) << random32(&seed) % 33;
		slot = pick(random32(&seed));
		assert_in_range(slot + 1, 0, count);
		chosen += slot >= 0;
	}
	assert_true(chosen > 10000);
}

static void steer_resv__add_and_cancel(void **state)
{
	static const struct {
		struct steer_resv before;
		__u32 epoch;
		struct steer_resv added;
	} rows[] = {
		{{10, 3, 2}, 10, {10, 4, 2}},
		{{10, 3, 2}, 11, {11, 1, 3}},
		{{10, 3, 2}, 12, {12, 1, 0}},
		{{10, 3, 2}, 9, {10, 4, 2}}, /* a CPU that is late */
		{{10, 3, 2}, 8, {8, 1, 0}},  /* not by chance: written by hand */
		{{0xffffffff, 3, 2}, 0, {0, 1, 3}},
		{{10, 65535, 65535}, 10, {10, 65535, 65535}},
		{{10, 65535, 65535}, 11, {11, 1, 65535}},
	};
	struct steer_resv r = {10, 1, 2};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct steer_resv added = steer_resv_add(rows[i].before, rows[i].epoch);

		assert_memory_equal(&added, &rows[i].added, sizeof(added));
	}
	for (int left = 2; left >= 0; left--) {
		r = steer_resv_cancel(r, 10);
		assert_int_equal(r.current + r.previous, left);
	}
	assert_int_equal(steer_resv_cancel(r, 10).current, 0); /* never below */
	assert_int_equal(steer_resv_cancel(r, 10).previous, 0);
	r = steer_resv_cancel((struct steer_resv){10, 1, 1}, 10);
	assert_int_equal(r.current, 1); /* the oldest first */
}

/* max / mean in percent of 256 SYNs to 8 slots, one of them 3 lighter, when nobody accepts
 * meanwhile. */
static unsigned burst(__u32 policy, bool has_reservation, __u64 seed)
{
	unsigned counts[8] = {0}, max = 0;

	reset(policy, 8);
	host.config.bucket_ns = has_reservation ? BUCKET_NS : 0;
	for (unsigned i = 0; i < 8; i++)
		host.slots[i].live = i == 5 ? 7 : 10;
	for (unsigned i = 0; i < 256; i++) {
		int slot = pick(random32(&seed));

		counts[slot]++;
		host.slots[slot].resv = steer_resv_add(host.slots[slot].resv, EPOCH);
	}
	for (unsigned i = 0; i < 8; i++)
		max = MAX(max, counts[i]);
	return max * 100 / 32;
}

static void steer_least__a_burst_does_not_herd(void **state)
{
	unsigned worst = 0, hash = 0, naive = 0;

	for (__u64 seed = 1; seed <= 50; seed++) {
		worst = MAX(worst, burst(STEER_LEAST, true, seed));
		hash += burst(STEER_HASH, true, seed);
		naive += burst(STEER_LEAST, false, seed);
	}
	print_message(
		"max/mean in percent: hash %u, least without reservation %u, with %u (worst)\n",
		hash / 50, naive / 50, worst);
	assert_in_range(worst, 100, 110);
	assert_int_equal(naive / 50, 800); /* else this test shows nothing */
}

/* Slots in their order, each as often as any other, whatever their weights but 0. */
static void steer_rr__goes_round(void **state)
{
	static const struct {
		const char *what;
		unsigned count, out; /* slot that is left out; count: none */
	} rows[] = {
		{"one", 1, 1},	     {"three", 3, 3},	   {"eight", 8, 8},    {"all", 256, 256},
		{"first out", 4, 0}, {"middle out", 8, 5}, {"last out", 8, 7},
	};

	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		unsigned next = rows[r].out == 0;

		reset(STEER_RR, rows[r].count);
		host.weights[rows[r].count / 2] = 7;
		if (rows[r].out < rows[r].count)
			host.weights[rows[r].out] = 0;
		turn_now = 0;
		for (unsigned n = 0; n < 3 * rows[r].count; n++) {
			if (pick(n * 77) != (int)next)
				fail_msg("%s: turn %u", rows[r].what, n);
			do
				next = (next + 1) % rows[r].count;
			while (next == rows[r].out);
		}
	}
}

/* A slot that drops out leaves its share to all others, not to its neighbour. */
static void steer_rr__shares_the_turns_of_a_missing_slot(void **state)
{
	unsigned counts[STEER_MAX_SLOTS];

	reset(STEER_RR, 8);
	host.slots[3].is_up = 0;
	count_picks(7000, counts);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(counts[i], i == 3 ? 0 : 1000);
}

/* At every moment each slot has had its share, give or take a few turns. */
static void steer_weighted__is_smooth(void **state)
{
	static const struct {
		unsigned count;
		__u32 weights[8];
	} rows[] = {
		{2, {100, 100}},
		{3, {500, 100, 100}},
		{8, {100, 100, 100, 100, 100, 100, 100, 100}},
		{5, {1000, 0, 1, 200, 5000}}, /* 5000 counts as 1000 */
	};

	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		unsigned counts[STEER_MAX_SLOTS] = {0}, total = 0;

		reset(STEER_WEIGHTED, rows[r].count);
		memcpy(host.weights, rows[r].weights, sizeof(rows[r].weights));
		for (unsigned i = 0; i < rows[r].count; i++)
			total += MIN(rows[r].weights[i], STEER_MAX_WEIGHT);
		turn_now = 12345;
		for (unsigned n = 1; n <= 20000; n++) {
			counts[pick(n)]++;
			for (unsigned i = 0; i < rows[r].count; i++) {
				double share = (double)n * MIN(rows[r].weights[i], 1000) / total;

				assert_true(counts[i] >= share - 4 && counts[i] <= share + 4);
			}
		}
	}
}

/* The least loaded of d: with one choice at random, with all the very least. */
static void steer_p2c__more_choices_find_lighter_slots(void **state)
{
	enum { COUNT = 7, ROUNDS = 20000 }; /* a prime: 7 steps reach all */
	double last = 1e9;

	for (__u32 choices = 1; choices <= COUNT; choices++) {
		unsigned counts[STEER_MAX_SLOTS];
		double load = 0;

		reset(STEER_P2C, COUNT);
		host.config.choices = choices;
		for (unsigned i = 0; i < COUNT; i++)
			host.slots[i].live = 10 * i;
		count_picks(ROUNDS, counts);
		for (unsigned i = 0; i < COUNT; i++)
			load += 10. * i * counts[i] / ROUNDS;
		assert_true(load < last);
		last = load;
		if (choices == 1) /* all alike */
			assert_in_range((unsigned)load, 29, 30);
		if (choices == 2) /* mean of the lesser of two different ones: 16.7 */
			assert_in_range((unsigned)(load * 10), 162, 172);
	}
	assert_true(last < .01);
}

static void steer_p2c__nonsense_in_choices_is_the_default(void **state)
{
	static const __u32 nonsense[] = {0, STEER_MAX_CHOICES + 1, 0xffffffff};

	for (size_t n = 0; n < ARRAY_LEN(nonsense); n++) {
		reset(STEER_P2C, 16);
		for (unsigned i = 0; i < 16; i++)
			host.slots[i].live = i * 3 % 16;
		for (__u32 hash = 0; hash < 1000; hash++) {
			int slot;

			host.config.choices = nonsense[n];
			slot = pick(hash * 2654435761u);
			host.config.choices = STEER_DEFAULT_CHOICES;
			assert_int_equal(pick(hash * 2654435761u), slot);
		}
	}
}

/* One in two choices being out must not cost the connection its steering. */
static void steer_p2c__looks_at_all_when_its_choices_are_out(void **state)
{
	reset(STEER_P2C, 256);
	for (unsigned i = 0; i < 256; i++)
		host.weights[i] = 0;
	host.weights[200] = 1;
	for (__u32 hash = 0; hash < 500; hash++)
		assert_int_equal(pick(hash * 2654435761u), 200);
}

static void steer_p2c__ties_are_shared(void **state)
{
	static const unsigned sizes[] = {1, 2, 3, 8, 100};

	for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
		unsigned counts[STEER_MAX_SLOTS], share = 1000;

		reset(STEER_P2C, sizes[s]);
		host.config.choices = 2;
		count_picks(share * sizes[s], counts);
		for (unsigned i = 0; i < sizes[s]; i++)
			assert_in_range(counts[i], share * 85 / 100, share * 115 / 100);
	}
}

/* The receiving CPU's slot is preferred while it is not heavier than another by the band. */
static void steer_cpu__prefers_its_own_inside_the_band(void **state)
{
	static const struct {
		__u32 own, other, weight, band; /* `weight` of its own slot */
		bool is_own;
	} rows[] = {
		{0, 0, 100, 8, true},	 {7, 0, 100, 8, true},	   {9, 0, 100, 8, false},
		{100, 93, 100, 8, true}, {100, 91, 100, 8, false}, {5, 0, 100, 0, false},
		{5, 6, 100, 0, true},	 {8, 0, 200, 4, true},	   {1000, 0, 100, 0xffffffff, true},
		{16, 0, 200, 8, true},	 {20, 0, 200, 8, false},   {0, 0, 0, 8, false},
	};

	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		for (__u32 cpu = 0; cpu < 4; cpu++) {
			reset(STEER_CPU, 4);
			host.config.band = rows[r].band;
			for (__u32 i = 0; i < 4; i++) {
				host.slots[i].cpu = i;
				host.slots[i].live = i == cpu ? rows[r].own : rows[r].other;
			}
			host.weights[cpu] = rows[r].weight;
			cpu_now = cpu;
			for (__u32 hash = 0; hash < 50; hash++)
				if ((pick(hash * 2654435761u) == (int)cpu) != rows[r].is_own)
					fail_msg("row %zu, cpu %u", r, cpu);
		}
	}
	cpu_now = 0;
}

/* Two workers on one CPU share its connections; a CPU without a worker steers as least does. */
static void steer_cpu__shares_among_its_own(void **state)
{
	unsigned counts[STEER_MAX_SLOTS];

	reset(STEER_CPU, 4);
	host.config.band = 8;
	for (__u32 i = 0; i < 4; i++)
		host.slots[i].cpu = i / 2;
	cpu_now = 1;
	count_picks(10000, counts);
	assert_int_equal(counts[0] + counts[1], 0);
	assert_in_range(counts[2], 4700, 5300);
	cpu_now = 9;
	host.slots[0].live = host.slots[1].live = host.slots[2].live = 1;
	count_picks(100, counts);
	assert_int_equal(counts[3], 100);
	cpu_now = 0;
}

/* Events first, whatever the connections; then connections; reservations are events to come. */
static void steer_busy__is_a_cascade(void **state)
{
	static const struct {
		__u32 pending, live;
		struct steer_resv resv;
		bool is_chosen; /* against pending 3, live 100 */
	} rows[] = {
		{3, 99, {0, 0, 0}, true},	   {3, 101, {0, 0, 0}, false},
		{2, 100000, {0, 0, 0}, true},	   {4, 0, {0, 0, 0}, false},
		{2, 0, {EPOCH, 2, 0}, false},	   {1, 200, {EPOCH, 1, 0}, true},
		{0xffffffff, 0, {0, 0, 0}, false}, {0, 0xffffffff, {0, 0, 0}, true},
		{3, 99, {EPOCH - 2, 9, 9}, true},
	};

	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		reset(STEER_BUSY, 2);
		host.slots[0].pending = rows[r].pending;
		host.slots[0].live = rows[r].live;
		host.slots[0].resv = rows[r].resv;
		host.slots[1].pending = 3;
		host.slots[1].live = 100;
		for (__u32 hash = 0; hash < 50; hash++)
			if ((pick(hash * 2654435761u) == 0) != rows[r].is_chosen)
				fail_msg("row %zu", r);
	}
}

static void steer_pending_weight__counts_events_as_connections(void **state)
{
	static const __u32 policies[] = {STEER_LEAST, STEER_P2C, STEER_CPU};

	for (size_t p = 0; p < ARRAY_LEN(policies); p++) {
		for (__u32 weight = 0; weight < 6; weight++) {
			reset(policies[p], 2);
			host.config.choices = 2;
			host.config.pending_weight = weight;
			host.slots[0].cpu = host.slots[1].cpu = 5;
			host.slots[0].pending = 4;
			host.slots[1].live = 10; /* as 4 events of weight 2.5 */
			assert_int_equal(pick(weight), weight > 2);
		}
	}
}

/* A burst to slots of which one has nothing to do: a cascade without reservations sends all there.
 */
static void steer_busy__a_burst_does_not_herd(void **state)
{
	unsigned counts[8] = {0}, max = 0;
	__u64 seed = 5;

	reset(STEER_BUSY, 8);
	for (unsigned i = 0; i < 8; i++)
		host.slots[i].pending = i != 5;
	for (unsigned i = 0; i < 256; i++) {
		int slot = pick(random32(&seed));

		counts[slot]++;
		host.slots[slot].resv = steer_resv_add(host.slots[slot].resv, EPOCH);
	}
	for (unsigned i = 0; i < 8; i++)
		max = MAX(max, counts[i]);
	assert_in_range(max, 32, 35);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steer_least__the_lightest_wins_at_every_place),
		cmocka_unit_test(steer_least__score_is_live_and_reserved),
		cmocka_unit_test(steer_least__reservations_can_be_off),
		cmocka_unit_test(steer_least__ties_are_shared),
		cmocka_unit_test(steer_least__fills_by_weight),
		cmocka_unit_test(steer_hash__shares_by_weight),
		cmocka_unit_test(steer_hash__all_slots_are_reached),
		cmocka_unit_test(steer_hash__the_same_hash_goes_the_same_way),
		cmocka_unit_test(steer_pick__leaves_out),
		cmocka_unit_test(steer_pick__refuses_nonsense),
		cmocka_unit_test(steer_pick__random_contents_stay_in_bounds),
		cmocka_unit_test(steer_resv__add_and_cancel),
		cmocka_unit_test(steer_rr__goes_round),
		cmocka_unit_test(steer_rr__shares_the_turns_of_a_missing_slot),
		cmocka_unit_test(steer_weighted__is_smooth),
		cmocka_unit_test(steer_p2c__more_choices_find_lighter_slots),
		cmocka_unit_test(steer_p2c__nonsense_in_choices_is_the_default),
		cmocka_unit_test(steer_p2c__looks_at_all_when_its_choices_are_out),
		cmocka_unit_test(steer_p2c__ties_are_shared),
		cmocka_unit_test(steer_cpu__prefers_its_own_inside_the_band),
		cmocka_unit_test(steer_cpu__shares_among_its_own),
		cmocka_unit_test(steer_busy__is_a_cascade),
		cmocka_unit_test(steer_pending_weight__counts_events_as_connections),
		cmocka_unit_test(steer_busy__a_burst_does_not_herd),
		cmocka_unit_test(steer_least__a_burst_does_not_herd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
