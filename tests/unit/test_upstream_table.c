/* SPDX-License-Identifier: MIT */
/* Other processes are real: the memory is shared with children of the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/upstream_table.h"
#include "base/clock.h"
#include "base/err.h"
#include "net/sock.h"

#define ENDPOINTS 5u
#define WORKERS	  3u

static struct upstream_table table;

static int open_table(void **state)
{
	return upstream_table_open(&table, ENDPOINTS, WORKERS);
}

static int close_table(void **state)
{
	upstream_table_close(&table);
	return 0;
}

static union sock_addr address_of(const char *text)
{
	union sock_addr a;

	assert_int_equal(sock_addr_parse(span_str(text), &a), 0);
	return a;
}

static void set(unsigned endpoint, const char *text, uint32_t weight, uint64_t now_ns)
{
	union sock_addr a = address_of(text);

	upstream_endpoint_set(&table.endpoints[endpoint], &a.any, sock_addr_len(&a), weight, now_ns);
}

static void assert_address(unsigned endpoint, const char *text, uint32_t weight)
{
	union sock_addr a = address_of(text);
	struct upstream_address got;

	upstream_endpoint_get(&table.endpoints[endpoint], &got);
	assert_int_equal(got.len, sock_addr_len(&a));
	assert_memory_equal(&got.addr, &a, got.len);
	assert_int_equal(got.weight, weight);
}

static void assert_no_address(unsigned endpoint)
{
	struct upstream_address got = { .len = 1 };

	upstream_endpoint_get(&table.endpoints[endpoint], &got);
	assert_int_equal(got.len, 0);
}

static void upstream_table__begins_empty(void **state)
{
	assert_int_equal(table.endpoint_count, ENDPOINTS);
	assert_int_equal(table.worker_count, WORKERS);
	for (unsigned i = 0; i < ENDPOINTS; i++) {
		assert_no_address(i);
		assert_int_equal(table.endpoints[i].health, HEALTH_UNKNOWN);
		for (unsigned w = 0; w < WORKERS; w++)
			assert_int_equal(upstream_table_counters(&table, w, i)->requests, 0);
	}
}

static void upstream_table__maps_nothing_without_endpoints(void **state)
{
	struct upstream_table none;

	assert_int_equal(upstream_table_open(&none, 0, WORKERS), 0);
	assert_null(none.endpoints);
	assert_int_equal(none.memory.size, 0);
	upstream_table_forget_worker(&none, 1);
	upstream_table_close(&none);
	upstream_table_close(&none);
}

/* Too much for any address space. */
static void upstream_table__says_when_memory_is_out(void **state)
{
	struct upstream_table t;

	assert_int_equal(upstream_table_open(&t, 1u << 31, 1u << 10), -ENOMEM);
	assert_null(t.endpoints);
	upstream_table_close(&t);
}

/* Every line belongs to one endpoint, or to one worker and endpoint. */
static void upstream_table__shares_no_cache_line(void **state)
{
	assert_int_equal((uintptr_t)table.endpoints % 64, 0);
	assert_int_equal((uintptr_t)table.counters % 64, 0);
	assert_int_equal(sizeof(struct upstream_counters) % 64, 0);
	assert_true((char *)table.counters >= (char *)&table.endpoints[ENDPOINTS]);
	assert_int_equal((char *)&table.counters[WORKERS * ENDPOINTS] - (char *)table.endpoints, table.memory.size);
	assert_true(upstream_table_counters(&table, 1, 0) == upstream_table_counters(&table, 0, ENDPOINTS - 1) + 1);
	/* What a balancer looks at is one line. */
	assert_true(offsetof(struct upstream_endpoint, ejection_count) < 64);
}

static void upstream_endpoint__keeps_an_address_of_each_family(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct upstream_address got;

	set(0, "127.0.0.1:9001", 1, 0);
	set(1, "[2001:db8::1]:80", 65535, 0);
	memset(un.sun_path, 'x', sizeof(un.sun_path));
	upstream_endpoint_set(&table.endpoints[2], (struct sockaddr *)&un, sizeof(un), 7, 0);
	assert_address(0, "127.0.0.1:9001", 1);
	assert_address(1, "[2001:db8::1]:80", 65535);
	upstream_endpoint_get(&table.endpoints[2], &got);
	assert_int_equal(got.len, sizeof(un));
	assert_memory_equal(&got.addr, &un, sizeof(un));
	assert_int_equal(got.weight, 7);
	assert_no_address(3);
}

static void spoil(struct upstream_endpoint *e)
{
	e->health = HEALTH_DOWN;
	e->check_streak = 2;
	e->ejected_until_ns = 99;
	e->ejections = 3;
	e->check_error[0] = 'x';
	e->active = 4;
}

static void upstream_endpoint__begins_anew_with_another_address(void **state)
{
	struct upstream_endpoint *e = &table.endpoints[0];

	set(0, "127.0.0.1:9001", 1, 1000);
	assert_int_equal(e->used_since_ns, 1000);
	spoil(e);
	set(0, "127.0.0.1:9002", 1, 2000);
	assert_address(0, "127.0.0.1:9002", 1);
	assert_int_equal(e->health, HEALTH_UNKNOWN);
	assert_int_equal(e->check_streak, 0);
	assert_int_equal(e->ejected_until_ns, 0);
	assert_int_equal(e->ejections, 0);
	assert_int_equal(e->check_error[0], '\0');
	assert_int_equal(e->used_since_ns, 2000);
	/* The requests that are there already end one day. */
	assert_int_equal(e->active, 4);
}

static void upstream_endpoint__keeps_its_state_with_the_same_address(void **state)
{
	struct upstream_endpoint *e = &table.endpoints[0];
	uint32_t sequence;

	set(0, "127.0.0.1:9001", 1, 1000);
	spoil(e);
	sequence = e->sequence;
	set(0, "127.0.0.1:9001", 1, 2000);
	assert_int_equal(e->sequence, sequence);
	set(0, "127.0.0.1:9001", 5, 3000);
	assert_address(0, "127.0.0.1:9001", 5);
	assert_int_equal(e->health, HEALTH_DOWN);
	assert_int_equal(e->ejections, 3);
	assert_int_equal(e->used_since_ns, 1000);
}

static void upstream_endpoint__loses_its_address(void **state)
{
	uint32_t sequence;

	set(0, "127.0.0.1:9001", 1, 1000);
	upstream_endpoint_set(&table.endpoints[0], NULL, 0, 1, 2000);
	assert_no_address(0);
	assert_int_equal(table.endpoints[0].used_since_ns, 0);
	sequence = table.endpoints[0].sequence;
	upstream_endpoint_set(&table.endpoints[0], NULL, 0, 1, 3000);
	assert_int_equal(table.endpoints[0].sequence, sequence);
	set(0, "127.0.0.1:9001", 1, 4000);
	assert_address(0, "127.0.0.1:9001", 1);
	assert_int_equal(table.endpoints[0].used_since_ns, 4000);
}

/* A writer that was killed halfway leaves an odd sequence: nobody waits for it, and its successor mends it. */
static void upstream_endpoint__survives_a_writer_that_died(void **state)
{
	struct upstream_endpoint *e = &table.endpoints[0];
	uint32_t torn;

	set(0, "127.0.0.1:9001", 1, 0);
	torn = ++e->sequence;
	e->address[7] ^= 0xff;
	assert_no_address(0);
	set(0, "127.0.0.1:9001", 1, 5);
	assert_address(0, "127.0.0.1:9001", 1);
	assert_int_equal(e->sequence % 2, 0);
	assert_true(e->sequence > torn);
	/* The very same words: the sequence has to become even all the same. */
	e->sequence++;
	set(0, "127.0.0.1:9001", 1, 6);
	assert_address(0, "127.0.0.1:9001", 1);
}

/* With a pause after each, or a reader would hardly find a moment without a write. */
static void write_for_ever(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	for (uint32_t i = 1;; i++) {
		memset(a.sun_path, (int)(i % 255 + 1), sizeof(a.sun_path));
		upstream_endpoint_set(&table.endpoints[0], (struct sockaddr *)&a, sizeof(a), i % 255 + 1, 0);
		for (volatile unsigned pause = 0; pause < 200; pause++)
			;
	}
}

#define READS 20000u

/* All bytes of an address and its weight are of one write, whenever they are read. */
static void upstream_endpoint__is_never_read_in_pieces(void **state)
{
	uint64_t end_ns = clock_ns() + 10 * NS_PER_SEC;
	unsigned read_count = 0, change_count = 0, torn_count = 0;
	uint32_t last = 0;
	pid_t pid = fork();

	if (pid == 0)
		write_for_ever();
	assert_true(pid > 0);
	while ((read_count < READS || change_count < 2) && clock_ns() < end_ns) {
		struct upstream_address got;
		const struct sockaddr_un *a = (const struct sockaddr_un *)&got.addr;

		upstream_endpoint_get(&table.endpoints[0], &got);
		if (got.len == 0)
			continue;
		read_count++;
		change_count += got.weight != last;
		last = got.weight;
		for (unsigned k = 0; k < sizeof(a->sun_path); k++)
			torn_count += (uint8_t)a->sun_path[k] != got.weight;
	}
	/* First of all: a test that fails must not leave it behind. */
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(torn_count, 0);
	assert_true(read_count >= READS);
	assert_true(change_count >= 2);
}

static void count(unsigned worker, unsigned endpoint, unsigned active, unsigned connections)
{
	struct upstream_endpoint *e = &table.endpoints[endpoint];
	struct upstream_counters *c = upstream_table_counters(&table, worker, endpoint);

	while (active--)
		upstream_count_up(&e->active, &c->active);
	while (connections--)
		upstream_count_up(&e->connections, &c->connections);
}

static void upstream_count__goes_up_and_down_in_both_places(void **state)
{
	struct upstream_endpoint *e = &table.endpoints[3];
	struct upstream_counters *c = upstream_table_counters(&table, 1, 3);

	count(0, 3, 2, 0);
	count(1, 3, 3, 0);
	assert_int_equal(e->active, 5);
	upstream_count_down(&e->active, &c->active);
	assert_int_equal(e->active, 4);
	assert_int_equal(c->active, 2);
}

static void upstream_table__forgets_what_a_dead_worker_had(void **state)
{
	count(0, 0, 2, 5);
	count(1, 0, 3, 4);
	count(1, 4, 1, 1);
	upstream_table_counters(&table, 1, 0)->requests = 77;
	upstream_table_counters(&table, 1, 0)->queued = 5;
	upstream_table_forget_worker(&table, 1);
	assert_int_equal(table.endpoints[0].active, 2);
	assert_int_equal(table.endpoints[0].connections, 5);
	assert_int_equal(table.endpoints[4].active, 0);
	assert_int_equal(table.endpoints[4].connections, 0);
	assert_int_equal(upstream_table_counters(&table, 1, 0)->active, 0);
	assert_int_equal(upstream_table_counters(&table, 1, 0)->connections, 0);
	assert_int_equal(upstream_table_counters(&table, 1, 0)->queued, 0);
	/* Counters only grow. */
	assert_int_equal(upstream_table_counters(&table, 1, 0)->requests, 77);
	upstream_table_forget_worker(&table, 1);
	assert_int_equal(table.endpoints[0].active, 2);
}

/* Whatever a worker left in its block, no count wraps. */
static void upstream_table__counts_never_below_zero(void **state)
{
	count(2, 1, 1, 1);
	upstream_table_counters(&table, 2, 1)->active = 9;
	upstream_table_forget_worker(&table, 2);
	assert_int_equal(table.endpoints[1].active, 0);
	assert_int_equal(table.endpoints[1].connections, 0);
}

#define PASSES 20000u

/* Two workers count while the master forgets a third again and again: nothing is lost. */
static void upstream_table__forgets_while_others_count(void **state)
{
	struct upstream_endpoint *e = &table.endpoints[0];
	pid_t pids[2];

	for (unsigned w = 0; w < 2; w++) {
		pids[w] = fork();
		if (pids[w] == 0) {
			for (unsigned i = 0; i < PASSES; i++)
				count(w, 0, 1, 0);
			_exit(0);
		}
		assert_true(pids[w] > 0);
	}
	for (unsigned i = 0; i < PASSES; i++) {
		count(2, 0, 1, 0);
		upstream_table_forget_worker(&table, 2);
	}
	for (unsigned w = 0; w < 2; w++)
		assert_int_equal(waitpid(pids[w], NULL, 0), pids[w]);
	assert_int_equal(e->active, 2 * PASSES);
}

/* For the next generation: what is known goes along, what somebody has there at the moment does not. */
static void upstream_endpoint__is_copied(void **state)
{
	struct upstream_endpoint *e = &table.endpoints[0], copy = {0};

	set(0, "127.0.0.1:9001", 3, 1000);
	spoil(e);
	e->is_drained = 1;
	e->active = 5;
	e->connections = 6;
	e->ejection_count = 7;
	snprintf(e->check_error, sizeof(e->check_error), "refused");
	upstream_endpoint_copy(&copy, e);
	assert_int_equal(copy.is_used, 1);
	assert_int_equal(copy.weight, 3);
	assert_int_equal(copy.address_len, e->address_len);
	assert_memory_equal(copy.address, e->address, e->address_len);
	assert_int_equal(copy.sequence % 2, 0);
	assert_int_equal(copy.health, HEALTH_DOWN);
	assert_int_equal(copy.ejections, e->ejections);
	assert_int_equal(copy.ejected_until_ns, e->ejected_until_ns);
	assert_int_equal(copy.used_since_ns, e->used_since_ns);
	assert_int_equal(copy.ejection_count, 7);
	assert_int_equal(copy.is_drained, 1);
	assert_string_equal(copy.check_error, "refused");
	assert_int_equal(copy.active + copy.connections, 0);
	/* One whose writer died halfway has no address to copy. */
	e->sequence++;
	memset(&copy, 0, sizeof(copy));
	upstream_endpoint_copy(&copy, e);
	assert_int_equal(copy.is_used, 0);
	assert_int_equal(copy.health, HEALTH_DOWN);
}

/* Every counter there is, one after the other, so that one that is added later is not forgotten here. */
static void upstream_counters__add_up(void **state)
{
	for (size_t at = offsetof(struct upstream_counters, requests); at < sizeof(struct upstream_counters);
	     at += sizeof(uint64_t)) {
		struct upstream_counters sum = {0}, one = {0};
		size_t padding_from = offsetof(struct upstream_counters, no_server) + sizeof(uint64_t);

		*(uint64_t *)((char *)&one + at) = 21;
		upstream_counters_add(&sum, &one);
		upstream_counters_add(&sum, &one);
		assert_int_equal(*(uint64_t *)((char *)&sum + at), at < padding_from ? 42 : 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_table, close_table)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(upstream_table__begins_empty),
		cmocka_unit_test(upstream_table__maps_nothing_without_endpoints),
		cmocka_unit_test(upstream_table__says_when_memory_is_out),
		TEST(upstream_table__shares_no_cache_line),
		TEST(upstream_endpoint__keeps_an_address_of_each_family),
		TEST(upstream_endpoint__begins_anew_with_another_address),
		TEST(upstream_endpoint__keeps_its_state_with_the_same_address),
		TEST(upstream_endpoint__loses_its_address),
		TEST(upstream_endpoint__is_copied),
		cmocka_unit_test(upstream_counters__add_up),
		TEST(upstream_endpoint__survives_a_writer_that_died),
		TEST(upstream_endpoint__is_never_read_in_pieces),
		TEST(upstream_count__goes_up_and_down_in_both_places),
		TEST(upstream_table__forgets_what_a_dead_worker_had),
		TEST(upstream_table__counts_never_below_zero),
		TEST(upstream_table__forgets_while_others_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
