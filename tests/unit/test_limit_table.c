/* SPDX-License-Identifier: MIT */
/* Other processes are real: the memory is shared with children of the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "net/limit_table.h"

#define WORKERS 8u
#define SECOND	(NS_PER_SEC / LIMIT_UNIT_NS)

static struct limit_table table;
static struct limit_rows rows;

static void open_for(unsigned clients)
{
	assert_int_equal(limit_table_open(&table, clients), 0);
	assert_int_equal(limit_rows_open(&rows, &table, WORKERS), 0);
}

static int close_all(void **state)
{
	limit_rows_close(&rows);
	limit_table_close(&table);
	return 0;
}

static struct limit_client client_of(const char *text)
{
	struct limit_client client;
	union sock_addr addr;

	assert_int_equal(sock_addr_parse_host(span_str(text), &addr), 0);
	assert_true(limit_client_of(&addr, &client));
	return client;
}

static struct limit_client client_number(uint32_t i)
{
	return (struct limit_client){ .network = i, .family = AF_INET };
}

static struct limit_rate rate_of(unsigned per_second, unsigned burst)
{
	uint64_t interval = (SECOND + per_second - 1) / per_second;

	table.debt_max = MAX(table.debt_max, interval * burst);
	return (struct limit_rate){ .zone = 1, .interval = interval, .window = interval * burst };
}

static unsigned take_many(const struct limit_rate *r, struct limit_client c, uint64_t now_ns, unsigned tries)
{
	unsigned admitted = 0;

	for (unsigned i = 0; i < tries; i++)
		admitted += limit_table_take(&table, r, c, now_ns) == 0;
	return admitted;
}

/* The arithmetic ---------------------------------------------------------------------------------------------- */

static void limit_take__admits_burst_and_rate(void **state)
{
	uint64_t interval = SECOND / 10, window = 5 * interval, value = 0, now = 1000 * SECOND;
	unsigned admitted = 0;

	/* A try every millisecond for 10 seconds. */
	for (unsigned ms = 0; ms < 10000; ms++)
		admitted += limit_take(value, now + ms * (SECOND / 1000), interval, window, window, &value) == 0;
	assert_int_equal(admitted, 5 + 99);
}

static void limit_take__survives_the_wrap_of_the_clock(void **state)
{
	uint64_t interval = SECOND, window = 3 * SECOND;
	uint64_t value = LIMIT_VALUE_MASK - SECOND / 2, now = value;

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(limit_take(value, now & LIMIT_VALUE_MASK, interval, window, window, &value), 0);
	assert_true(value < now);
	assert_int_equal(limit_take(value, now, interval, window, window, &value), SECOND);
	assert_int_equal(limit_take(value, (now + SECOND) & LIMIT_VALUE_MASK, interval, window, window, &value), 0);
}

static void limit_take__has_forgotten_who_waits_long(void **state)
{
	static const uint64_t hours[] = { 1, 12, 15, 16, 20, 29 };

	for (unsigned i = 0; i < ARRAY_LEN(hours); i++) {
		uint64_t value = 7 * LIMIT_HOUR, now = value + hours[i] * LIMIT_HOUR;

		assert_int_equal(limit_debt(value, now & LIMIT_VALUE_MASK, 10 * SECOND), 0);
	}
}

/* A worker that is behind must not take what others have noted for a time long past. */
static void limit_take__knows_clocks_that_differ(void **state)
{
	uint64_t interval = SECOND, window = 2 * SECOND, value = 0, now = 5000 * SECOND;

	assert_int_equal(limit_take(value, now, interval, window, window, &value), 0);
	assert_int_equal(limit_take(value, now, interval, window, window, &value), 0);
	assert_true(limit_take(value, now - 30 * SECOND, interval, window, window, &value) > 0);
}

/* Clients ----------------------------------------------------------------------------------------------------- */

static void limit_client_of__is_the_64_of_ipv6(void **state)
{
	static const struct {
		const char *a, *b;
		bool is_same;
	} cases[] = {
		{ "192.0.2.1", "192.0.2.1", true },
		{ "192.0.2.1", "192.0.2.2", false },
		{ "::ffff:192.0.2.1", "192.0.2.1", true },
		{ "2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true },
		{ "2001:db8:1:2::1", "2001:db8:1:3::1", false },
		{ "2001:db8::1", "2001:db8:100::1", false },
		{ "32.1.13.184", "2001:db8::1", false },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct limit_client a = client_of(cases[i].a), b = client_of(cases[i].b);

		assert_int_equal(a.network == b.network && a.family == b.family, cases[i].is_same);
	}
}

static void limit_table_take__counts_clients_and_zones_apart(void **state)
{
	struct limit_rate r = { 0 }, other = { 0 };

	open_for(1000);
	r = rate_of(1, 3);
	other = r;
	other.zone = 2;
	assert_int_equal(take_many(&r, client_of("192.0.2.1"), NS_PER_SEC, 10), 3);
	assert_int_equal(take_many(&r, client_of("192.0.2.2"), NS_PER_SEC, 10), 3);
	assert_int_equal(take_many(&other, client_of("192.0.2.1"), NS_PER_SEC, 10), 3);
	assert_int_equal(limit_table_take(&table, &r, client_of("192.0.2.1"), NS_PER_SEC), 1000);
	assert_int_equal(limit_table_take(&table, &r, client_of("192.0.2.1"), 2 * NS_PER_SEC), 0);
}

/* Sets of two tables differ for the same clients, or one could learn here what collides there. */
static void limit_table_open__has_a_secret_of_its_own(void **state)
{
	struct limit_table other;

	open_for(1000);
	assert_int_equal(limit_table_open(&other, 1000), 0);
	assert_memory_not_equal(other.header->secret, table.header->secret, sizeof(table.header->secret));
	limit_table_close(&other);
}

static void limit_table_take__forgets_who_owes_least(void **state)
{
	struct limit_rate r;

	open_for(LIMIT_WAYS);
	assert_int_equal(table.set_mask, 0);
	r = rate_of(1, 100);
	for (uint32_t i = 1; i <= LIMIT_WAYS; i++)
		assert_int_equal(take_many(&r, client_number(i), NS_PER_SEC, 10 * i), 10 * i);
	assert_int_equal(take_many(&r, client_number(99), NS_PER_SEC, 1), 1);
	assert_int_equal(table.header->evicted, 1);
	for (uint32_t i = 2; i <= LIMIT_WAYS; i++)
		assert_int_equal(take_many(&r, client_number(i), NS_PER_SEC, 100), 100 - 10 * i);
	/* Whoever owes nothing any more goes uncounted. */
	assert_int_equal(take_many(&r, client_number(100), 1000 * NS_PER_SEC, 1), 1);
	assert_int_equal(table.header->evicted, 1);
}

/*
 * Who comes back after 30 hours, when the counter of 40 bits has gone round, stands there with a time that seems to come:
 * such clients were refused for minutes.
 */
static void limit_table_refresh__keeps_what_is_past_in_the_past(void **state)
{
	const uint64_t hour_ns = LIMIT_HOUR * LIMIT_UNIT_NS, round_ns = (LIMIT_VALUE_MASK + 1) * LIMIT_UNIT_NS;
	const uint64_t start_ns = 5 * hour_ns;
	struct limit_rate r;

	open_for(1000);
	r = rate_of(1, 3);
	for (unsigned i = 0; i < 20; i++) {
		uint64_t back_ns = start_ns + round_ns - i * 30 * NS_PER_SEC;

		assert_int_equal(take_many(&r, client_number(i), start_ns, 10), 3);
		for (uint64_t now_ns = start_ns + hour_ns; now_ns < back_ns; now_ns += hour_ns)
			limit_table_refresh(&table, now_ns);
		assert_int_equal(take_many(&r, client_number(i), back_ns, 10), 3);
	}
}

static void limit_table_refresh__forgives_nobody(void **state)
{
	struct limit_rate r, slow;

	open_for(1000);
	r = rate_of(1, 3);
	slow = (struct limit_rate){ .zone = 2, .interval = LIMIT_WINDOW_MAX / 2, .window = LIMIT_WINDOW_MAX };
	assert_int_equal(take_many(&r, client_number(1), NS_PER_SEC, 10), 3);
	assert_int_equal(take_many(&slow, client_number(1), NS_PER_SEC, 10), 2);
	limit_table_refresh(&table, NS_PER_SEC);
	/* One who comes from a turn that took minutes. */
	limit_table_refresh(&table, 300 * NS_PER_SEC);
	assert_int_equal(take_many(&r, client_number(1), NS_PER_SEC, 10), 0);
	assert_int_equal(take_many(&slow, client_number(1), 300 * NS_PER_SEC, 10), 0);
	assert_int_equal(take_many(&r, client_number(1), 300 * NS_PER_SEC, 10), 3);
	limit_table_close(&table);
	limit_table_refresh(&table, NS_PER_SEC);
}

static void limit_table_raise__never_lowers(void **state)
{
	static const struct {
		uint64_t debt_s;
		unsigned left;		/* of 100, 10 used already */
		bool is_more;
	} cases[] = { { 0, 90, false }, { 10, 90, false }, { 11, 89, true }, { 100, 0, true } };

	for (uint32_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct limit_rate r;

		open_for(1000);
		r = rate_of(1, 100);
		assert_int_equal(take_many(&r, client_number(i), NS_PER_SEC, 10), 10);
		assert_int_equal(limit_table_raise(&table, &r, client_number(i), cases[i].debt_s * SECOND, NS_PER_SEC),
				 cases[i].is_more);
		assert_int_equal(take_many(&r, client_number(i), NS_PER_SEC, 200), cases[i].left);
		close_all(NULL);
	}
}

/* Of a rate that hosts share a client may owe more than its bucket holds, for longer than clocks may differ. */
static void limit_table_raise__may_go_beyond_the_bucket(void **state)
{
	struct limit_rate r;

	open_for(1000);
	r = rate_of(1, 100);
	r.beyond = 10 * LIMIT_HOUR;
	table.debt_max = r.window + r.beyond;
	assert_true(limit_table_raise(&table, &r, client_number(1), 8 * LIMIT_HOUR, NS_PER_SEC));
	assert_int_equal(limit_table_take(&table, &r, client_number(1), NS_PER_SEC), (8 * 3600 - 99) * 1000);
	limit_table_refresh(&table, 3600 * NS_PER_SEC);
	assert_int_equal(take_many(&r, client_number(1), 3600 * NS_PER_SEC, 1), 0);
	assert_int_equal(take_many(&r, client_number(1), 8 * 3600 * NS_PER_SEC, 1000), 99);
	assert_true(limit_table_raise(&table, &r, client_number(1), UINT64_MAX, 8 * 3600 * NS_PER_SEC));
	assert_int_equal(take_many(&r, client_number(1), 18 * 3600 * NS_PER_SEC, 1), 0);
	assert_int_equal(take_many(&r, client_number(1), (18 * 3600 + 101) * NS_PER_SEC, 1000), 100);
}

/* Processes ---------------------------------------------------------------------------------------------------- */

/* Each child runs `work` and writes what it returns. */
static void run_workers(unsigned (*work)(unsigned worker), unsigned results[WORKERS])
{
	unsigned *shared = mmap(NULL, WORKERS * sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[WORKERS];

	assert_ptr_not_equal(shared, MAP_FAILED);
	for (unsigned i = 0; i < WORKERS; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0) {
			shared[i] = work(i);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	memcpy(results, shared, WORKERS * sizeof(*shared));
	munmap(shared, WORKERS * sizeof(*shared));
}

static unsigned sum(const unsigned results[WORKERS])
{
	unsigned total = 0;

	for (unsigned i = 0; i < WORKERS; i++)
		total += results[i];
	return total;
}

#define STEPS 20000u

/* The same times for all, so that the number is known: the burst, and one for each interval that has passed. */
static unsigned take_in_steps(unsigned worker)
{
	struct limit_rate r = rate_of(1000, 50);
	unsigned admitted = 0;

	for (unsigned i = 0; i < STEPS; i++)
		admitted += limit_table_take(&table, &r, client_number(7), NS_PER_SEC + i * 10000ull) == 0;
	return admitted;
}

static void limit_table_take__is_exact_over_eight_workers(void **state)
{
	unsigned results[WORKERS], total;

	open_for(100);
	run_workers(take_in_steps, results);
	total = sum(results);
	/* 200 ms at 1,000/s; workers are at different times, but time only goes on, and never further than that. */
	assert_in_range(total, 50 + 199, 50 + 200);
}

/* All enter one set at once, again and again; none may stand there twice. */
static unsigned take_of_many(unsigned worker)
{
	struct limit_rate r = rate_of(1, 3);
	unsigned admitted = 0;

	for (unsigned i = 0; i < 5000; i++)
		admitted += limit_table_take(&table, &r, client_number(1 + i % 100), NS_PER_SEC) == 0;
	return admitted;
}

static void limit_table_take__enters_nobody_twice(void **state)
{
	unsigned proven = 0;

	for (unsigned round = 0; round < 20; round++) {
		unsigned results[WORKERS];

		/* Sets are crowded by some four of seven, so that nobody is forgotten but claims meet. */
		open_for(400);
		run_workers(take_of_many, results);
		if (table.header->evicted == 0) {
			assert_int_equal(sum(results), 100 * 3);
			proven++;
		}
		close_all(NULL);
	}
	assert_true(proven > 0);
}

static unsigned keep_taking(unsigned worker)
{
	struct limit_rate r = rate_of(1000000, 1);
	uint32_t entry;

	for (uint32_t i = worker;; i++) {
		limit_table_take(&table, &r, client_number(i % 1000), clock_ns());
		if (limit_table_add(&table, limit_rows_of(&rows, worker), client_number(i % 50), 100, &entry) == LIMIT_COUNTED)
			limit_table_drop(&table, limit_rows_of(&rows, worker), entry);
	}
	return 0;
}

static bool has_tag_twice(const struct limit_set *s)
{
	for (unsigned a = 0; a < LIMIT_WAYS; a++)
		for (unsigned b = 0; b < a; b++)
			if (s->entries[a] >> LIMIT_VALUE_BITS &&
			    s->entries[a] >> LIMIT_VALUE_BITS == s->entries[b] >> LIMIT_VALUE_BITS)
				return true;
	return false;
}

static void limit_table__is_whole_after_kills(void **state)
{
	struct limit_rate r = { 0 };

	open_for(40);
	r = rate_of(1000000, 1);
	for (unsigned round = 0; round < 100; round++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			_exit((int)keep_taking(round % WORKERS));
		/* Whatever it is at: the kernel decides. */
		usleep(500 + round * 13);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		limit_rows_forget(&rows, &table, round % WORKERS);
		/* What the dead one left undone is done by whoever comes next. */
		for (uint32_t i = 0; i < 100; i++)
			limit_table_take(&table, &r, client_number(i), clock_ns());
	}
	for (unsigned i = 0; i <= table.set_mask; i++) {
		assert_false(has_tag_twice(&table.rates[i]));
		assert_false(has_tag_twice(&table.counts[i]));
		assert_int_equal(table.rates[i].claim >> LIMIT_VALUE_BITS, 0);
	}
}

/* Connections ------------------------------------------------------------------------------------------------- */

static unsigned add_while_allowed(unsigned worker)
{
	struct limit_row row = limit_rows_of(&rows, worker);
	unsigned held = 0;
	uint32_t entry;

	for (unsigned i = 0; i < 3000; i++) {
		enum limit_verdict v = limit_table_add(&table, row, client_number(1 + i % 3), 100, &entry);

		held += v == LIMIT_COUNTED;
		/* Every other one is closed again, so that counts go up and down. */
		if (v == LIMIT_COUNTED && i % 2) {
			limit_table_drop(&table, row, entry);
			held--;
		}
	}
	return held;
}

static unsigned count_of(uint32_t client)
{
	struct limit_row row = limit_rows_of(&rows, 0);
	unsigned room = 0;
	uint32_t entries[1000];

	while (room < 1000 && limit_table_add(&table, row, client_number(client), 1000, &entries[room]) == LIMIT_COUNTED)
		room++;
	for (unsigned i = 0; i < room; i++)
		limit_table_drop(&table, row, entries[i]);
	return 1000 - room;
}

static void limit_table_add__is_exact_over_eight_workers(void **state)
{
	unsigned results[WORKERS];

	open_for(100);
	run_workers(add_while_allowed, results);
	assert_int_equal(sum(results), 300);
	for (uint32_t i = 1; i <= 3; i++)
		assert_int_equal(count_of(i), 100);
	/* All of them are dead: the master takes off what each had. */
	for (unsigned i = 0; i < WORKERS; i++)
		limit_rows_forget(&rows, &table, i);
	for (uint32_t i = 1; i <= 3; i++)
		assert_int_equal(count_of(i), 0);
}

static void limit_table_add__lets_in_whom_it_cannot_count(void **state)
{
	struct limit_row row;
	uint32_t entries[LIMIT_WAYS + 1];

	open_for(LIMIT_WAYS);
	row = limit_rows_of(&rows, 3);
	for (uint32_t i = 0; i < LIMIT_WAYS; i++)
		assert_int_equal(limit_table_add(&table, row, client_number(i), 1, &entries[i]), LIMIT_COUNTED);
	assert_int_equal(limit_table_add(&table, row, client_number(99), 1, &entries[LIMIT_WAYS]), LIMIT_UNTRACKED);
	assert_int_equal(entries[LIMIT_WAYS], 0);
	assert_int_equal(table.header->untracked, 1);
	limit_table_drop(&table, row, entries[4]);
	assert_int_equal(limit_table_add(&table, row, client_number(99), 1, &entries[4]), LIMIT_COUNTED);
	assert_int_equal(limit_table_add(&table, row, client_number(99), 1, &entries[4]), LIMIT_REFUSED);
}

static unsigned add_any(unsigned worker)
{
	unsigned held = 0;

	for (unsigned i = 0; i < 1000; i++)
		held += limit_table_add_any(&table, limit_rows_of(&rows, worker), 500);
	return held;
}

static void limit_table_add_any__is_exact_over_eight_workers(void **state)
{
	unsigned results[WORKERS];

	open_for(10);
	run_workers(add_any, results);
	assert_int_equal(sum(results), 500);
	assert_int_equal(table.header->connections, 500);
	for (unsigned i = 0; i < WORKERS; i++) {
		limit_rows_forget(&rows, &table, i);
		limit_rows_forget(&rows, &table, i);
	}
	assert_int_equal(table.header->connections, 0);
}

/* Leaves one worker and joins another: in between it is counted all the same, afterwards it is the other's. */
static void limit_row__moves_a_connection(void **state)
{
	struct limit_row from, to;
	uint32_t entry;

	open_for(10);
	from = limit_rows_of(&rows, 0);
	to = limit_rows_of(&rows, 1);
	assert_int_equal(limit_table_add(&table, from, client_number(1), 1, &entry), LIMIT_COUNTED);
	limit_row_leave(from, entry);
	assert_int_equal(limit_table_add(&table, to, client_number(1), 1, &(uint32_t){ 0 }), LIMIT_REFUSED);
	limit_row_join(to, entry);
	limit_rows_forget(&rows, &table, 0);
	assert_int_equal(limit_table_add(&table, to, client_number(1), 1, &(uint32_t){ 0 }), LIMIT_REFUSED);
	limit_rows_forget(&rows, &table, 1);
	assert_int_equal(limit_table_add(&table, to, client_number(1), 1, &(uint32_t){ 0 }), LIMIT_COUNTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limit_take__admits_burst_and_rate),
		cmocka_unit_test(limit_take__survives_the_wrap_of_the_clock),
		cmocka_unit_test(limit_take__has_forgotten_who_waits_long),
		cmocka_unit_test(limit_take__knows_clocks_that_differ),
		cmocka_unit_test(limit_client_of__is_the_64_of_ipv6),
		cmocka_unit_test_teardown(limit_table_take__counts_clients_and_zones_apart, close_all),
		cmocka_unit_test_teardown(limit_table_open__has_a_secret_of_its_own, close_all),
		cmocka_unit_test_teardown(limit_table_take__forgets_who_owes_least, close_all),
		cmocka_unit_test_teardown(limit_table_refresh__keeps_what_is_past_in_the_past, close_all),
		cmocka_unit_test_teardown(limit_table_refresh__forgives_nobody, close_all),
		cmocka_unit_test_teardown(limit_table_raise__never_lowers, close_all),
		cmocka_unit_test_teardown(limit_table_raise__may_go_beyond_the_bucket, close_all),
		cmocka_unit_test_teardown(limit_table_take__is_exact_over_eight_workers, close_all),
		cmocka_unit_test_teardown(limit_table_take__enters_nobody_twice, close_all),
		cmocka_unit_test_teardown(limit_table__is_whole_after_kills, close_all),
		cmocka_unit_test_teardown(limit_table_add__is_exact_over_eight_workers, close_all),
		cmocka_unit_test_teardown(limit_table_add__lets_in_whom_it_cannot_count, close_all),
		cmocka_unit_test_teardown(limit_table_add_any__is_exact_over_eight_workers, close_all),
		cmocka_unit_test_teardown(limit_row__moves_a_connection, close_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
