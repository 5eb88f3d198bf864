/* SPDX-License-Identifier: MIT */
/* Blocks of statistics: sums, and those of another version. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/err.h"
#include "proc/stats.h"

/* Every counter comes before the first field that says something of the worker. */
#define COUNTER_WORDS (offsetof(struct stats_block, pid) / sizeof(uint64_t))

static void fill(struct stats_block *b, uint64_t first)
{
	uint64_t *words = (uint64_t *)(void *)b;

	memset(b, 0, sizeof(*b));
	for (size_t i = 0; i < COUNTER_WORDS; i++)
		words[i] = first + i;
	b->pid = 7;
	b->generation = 3;
	b->state = WORKER_DRAINING;
	b->connections = 11;
	hist_add(&b->latency_us, 100);
}

/* One that the table forgot would never reach the status. */
static void stats__adds_every_counter(void **state)
{
	static struct stats_block a, b;
	const uint64_t *words = (const uint64_t *)(const void *)&a;

	fill(&a, 1);
	fill(&b, 1000);
	a.pid = 1;
	stats_add(&a, &b);
	for (size_t i = 0; i < COUNTER_WORDS; i++)
		if (words[i] != 1001 + 2 * i)
			fail_msg("word %zu is %llu", i, (unsigned long long)words[i]);
	assert_int_equal(a.latency_us.total_count, 2);
	assert_int_equal(a.pid, 1);
}

static void stats__reads_its_own_layout(void **state)
{
	static struct stats_block a, b;
	json_t *layout = stats_layout();

	assert_non_null(layout);
	assert_int_equal(stats_layout_size(layout), sizeof(struct stats_block));
	memset(&a, 0, sizeof(a));
	fill(&b, 5);
	stats_import(&a, &b, layout);
	assert_memory_equal(&a, &b, sizeof(a));
	json_decref(layout);
}

static void stats__reads_another_layout_by_name(void **state)
{
	static const char text[] =
		"{\"size\":64,\"counters\":{\"requests\":[8,1],\"status\":[16,2],\"of_the_future\":[32,1]},"
		"\"states\":{\"pid\":44,\"connections\":40}}";
	const uint64_t block[8] = { 1, 2, 3, 4, 5, (uint64_t)99 << 32 | 6, 7, 8 };
	static struct stats_block a;
	json_t *layout = json_loads(text, 0, NULL);

	memset(&a, 0, sizeof(a));
	a.requests = 10;
	stats_import(&a, block, layout);
	assert_int_equal(a.requests, 12);
	assert_int_equal(a.status[0], 3);
	assert_int_equal(a.status[1], 4);
	assert_int_equal(a.status[2], 0);
	assert_int_equal(a.pid, 99);
	assert_int_equal(a.connections, 6);
	assert_int_equal(a.accepted, 0);
	json_decref(layout);
}

/* Nothing in it leads out of the block; under a sanitizer it would show. */
static void stats__believes_no_layout(void **state)
{
	static const char *const texts[] = {
		"{}", "[]", "{\"size\":-8}", "{\"size\":7}", "{\"size\":99999999}",
		"{\"size\":16,\"counters\":{\"requests\":[16,1],\"accepted\":[-8,1],\"status\":[0,3],\"bytes_in\":[4,1],"
		"\"bytes_out\":[8,0],\"timeouts\":[8,-1],\"rescued\":[9223372036854775807,9223372036854775807],"
		"\"stalls\":\"x\"}}",
		"{\"size\":16,\"states\":{\"pid\":13,\"state\":16,\"generation\":-4},\"latency_us\":[0,8496]}",
		"{\"size\":16,\"latency_us\":[0,-1]}", "{\"size\":16,\"counters\":[],\"states\":7,\"latency_us\":{}}",
	};
	static struct stats_block a, none;
	uint64_t *block = malloc(16);

	assert_non_null(block);
	memset(block, 0xff, 16);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		json_t *layout = json_loads(texts[i], 0, NULL);

		assert_non_null(layout);
		stats_import(&a, block, layout);
		if (memcmp(&a, &none, sizeof(a)) != 0)
			fail_msg("taken: %s", texts[i]);
		memset(&a, 0, sizeof(a));
		json_decref(layout);
	}
	free(block);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stats__adds_every_counter),
		cmocka_unit_test(stats__reads_its_own_layout),
		cmocka_unit_test(stats__reads_another_layout_by_name),
		cmocka_unit_test(stats__believes_no_layout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
