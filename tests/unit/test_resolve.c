/* SPDX-License-Identifier: MIT */
/* Real questions to a name server within the test (fake_dns.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>

#include "fake_dns.h"
#include "net/resolve.h"
#include "net/resolve_impl.h"

#define WAIT_MS 4000u

static const struct fake_record good_records[] = {
	{ "app.test", DNS_A, 300, "192.0.2.7" },
	{ "app.test", DNS_A, 300, "192.0.2.1" },
	{ "app.test", DNS_AAAA, 60, "2001:db8::1" },
	{ "four.test", DNS_A, 0, "192.0.2.4" },
	{ "six.test", DNS_AAAA, 9, "2001:db8::6" },
	{ "www.test", DNS_CNAME, 5, "app.test" },
	{ "empty.test", 16, 5, "text" },
	{ "slow.test", DNS_A, 5, "192.0.2.9" },
	{ "_http._tcp.test", DNS_SRV, 30, "10 5 8001 app.test" },
	{ "_http._tcp.test", DNS_SRV, 30, "10 0 8002 four.test" },
	{ "_http._tcp.test", DNS_SRV, 30, "20 7 8003 six.test" },
	{ "_dead._tcp.test", DNS_SRV, 30, "1 1 8001 gone.test" },
	{ "_dead._tcp.test", DNS_SRV, 30, "2 1 8003 six.test" },
	{ "_half._tcp.test", DNS_SRV, 30, "1 1 8001 slow.test" },
	{ "_half._tcp.test", DNS_SRV, 30, "1 1 8002 four.test" },
	{ "_none._tcp.test", DNS_SRV, 30, "0 0 0 ." },
};

static struct loop loop;
static struct fake_dns dns;
static struct resolver *resolver;

struct question {
	struct resolve q;
	unsigned done_count;
	struct resolve_answer answer;
	bool asks_again, frees_itself;
};

static struct question one, two;
static unsigned freed_count;

static void on_done(struct resolve *q, const struct resolve_answer *answer)
{
	struct question *question = container_of(q, struct question, q);

	assert_false(resolve_is_active(q));
	question->done_count++;
	question->answer = *answer;
	if (question->asks_again && question->done_count < 3)
		assert_int_equal(resolve_name(resolver, q, "four.test", 80), 0);
	if (question->frees_itself) {
		free(question);
		freed_count++;
	}
}

static int open_with(unsigned timeout_ms, unsigned limit_ms)
{
	struct resolver_options opt = {
		.servers = &dns.addr, .server_count = 1, .timeout_ms = timeout_ms, .tries = 2, .limit_ms = limit_ms
	};

	return resolver_new(&loop, &opt, &resolver);
}

static int open_all(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	one = (struct question){ .q.on_done = on_done };
	two = (struct question){ .q.on_done = on_done };
	freed_count = 0;
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(fake_dns_open(&dns, &loop, good_records, ARRAY_LEN(good_records)), 0);
	return open_with(50, 0);
}

static int close_all(void **state)
{
	resolver_free(resolver);
	fake_dns_close(&dns);
	loop_turn(&loop, 0);
	assert_int_equal(loop.wheel.timer_count, 0);
	loop_fini(&loop);
	return 0;
}

static void run_until_done(struct question *q, unsigned count)
{
	uint64_t end_ns = clock_ns() + WAIT_MS * NS_PER_MS;

	while (q->done_count < count && clock_ns() < end_ns)
		loop_turn(&loop, 20);
	assert_int_equal(q->done_count, count);
}

static void assert_addresses(const struct question *q, const char *const *expected, unsigned count)
{
	char text[SOCK_ADDR_TEXT];

	assert_int_equal(q->answer.err, 0);
	assert_int_equal(q->answer.count, count);
	for (unsigned i = 0; i < count; i++)
		assert_string_equal(sock_addr_print(&q->answer.addresses[i].addr, text), expected[i]);
}

static void ask(struct question *q, const char *name)
{
	assert_int_equal(resolve_name(resolver, &q->q, name, 8080), 0);
	assert_int_equal(q->done_count, 0);
	run_until_done(q, 1);
}

static void resolve__finds_addresses_of_both_families(void **state)
{
	static const char *const expected[] = { "192.0.2.1:8080", "192.0.2.7:8080", "[2001:db8::1]:8080" };

	ask(&one, "app.test");
	assert_addresses(&one, expected, 3);
	assert_int_equal(one.answer.ttl_s, 60);
	assert_int_equal(one.answer.addresses[0].weight, 0);
	assert_false(one.answer.is_partial);
	assert_int_equal(dns.udp_count, 2);
	assert_int_equal(dns.tcp_count, 0);
}

static void resolve__is_content_with_one_family(void **state)
{
	static const char *const four[] = { "192.0.2.4:8080" }, *const six[] = { "[2001:db8::6]:8080" };

	ask(&one, "four.test");
	assert_addresses(&one, four, 1);
	assert_int_equal(one.answer.ttl_s, 0);
	ask(&two, "six.test");
	assert_addresses(&two, six, 1);
	assert_int_equal(two.answer.ttl_s, 9);
}

/* The alias may change before the addresses do. */
static void resolve__heeds_the_life_of_an_alias(void **state)
{
	ask(&one, "www.test");
	assert_int_equal(one.answer.err, 0);
	assert_int_equal(one.answer.count, 3);
	assert_int_equal(one.answer.ttl_s, 5);
}

static void resolve__sees_a_changed_answer(void **state)
{
	const struct fake_record now[] = { { "app.test", DNS_A, 2, "192.0.2.77" } };
	static const char *const expected[] = { "192.0.2.77:8080" };

	ask(&one, "app.test");
	dns.records = now;
	dns.record_count = 1;
	ask(&two, "app.test");
	assert_addresses(&two, expected, 1);
	assert_int_equal(two.answer.ttl_s, 2);
}

static void resolve__reads_the_hosts_file(void **state)
{
	ask(&one, "localhost");
	assert_int_equal(one.answer.err, 0);
	assert_true(one.answer.count >= 1);
	assert_int_equal(dns.udp_count, 0);
}

static void resolve__says_what_is_wrong(void **state)
{
	static const struct {
		const char *name;
		enum fake_dns_mode mode;
		int err;
	} rows[] = {
		{ "gone.test", FAKE_DNS_GOOD, -ENOENT },	{ "empty.test", FAKE_DNS_GOOD, -ENODATA },
		{ "app.test", FAKE_DNS_SILENT, -ETIMEDOUT },	{ "app.test", FAKE_DNS_GARBAGE, -ETIMEDOUT },
		{ "app.test", FAKE_DNS_MALFORMED, -EBADMSG },	{ "app.test", FAKE_DNS_SERVFAIL, -ECONNREFUSED },
		{ "a..test", FAKE_DNS_GOOD, -EINVAL },
	};

	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		one.done_count = 0;
		dns.mode = rows[i].mode;
		ask(&one, rows[i].name);
		if (one.answer.err != rows[i].err)
			fail_msg("%s, mode %d: %d", rows[i].name, rows[i].mode, one.answer.err);
		assert_int_equal(one.answer.count, 0);
		assert_string_not_equal(resolve_error_text(rows[i].err), "cannot be asked for");
	}
}

static void resolve__refuses_a_name_that_is_too_long(void **state)
{
	char name[400];

	memset(name, 'a', sizeof(name));
	for (unsigned i = 50; i < sizeof(name); i += 51)
		name[i] = '.';
	name[sizeof(name) - 1] = '\0';
	ask(&one, name);
	assert_int_equal(one.answer.err, -EINVAL);
	one.done_count = 0;
	assert_int_equal(resolve_srv(resolver, &one.q, name), 0);
	run_until_done(&one, 1);
	assert_int_equal(one.answer.err, -EINVAL);
}

static void resolve__asks_by_tcp_when_truncated(void **state)
{
	dns.mode = FAKE_DNS_TRUNCATED;
	ask(&one, "app.test");
	assert_int_equal(one.answer.err, 0);
	assert_int_equal(one.answer.count, 3);
	assert_int_equal(dns.tcp_count, 2);
}

/* Nobody listens there at all: an ICMP error comes back, not an answer. */
static void resolve__survives_a_server_that_is_not_there(void **state)
{
	union sock_addr nowhere;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct resolver_options opt = { .servers = &nowhere, .server_count = 1, .timeout_ms = 50, .tries = 2 };

	sock_addr_parse(SPAN("127.0.0.1:0"), &nowhere);
	assert_int_equal(bind(fd, &nowhere.any, sizeof(nowhere.v4)), 0);
	sock_local_addr(fd, &nowhere);
	close(fd);
	resolver_free(resolver);
	assert_int_equal(resolver_new(&loop, &opt, &resolver), 0);
	ask(&one, "app.test");
	assert_true(one.answer.err == -ECONNREFUSED || one.answer.err == -ETIMEDOUT);
}

/* The second server is asked when the first is silent. */
static void resolve__goes_on_to_the_next_server(void **state)
{
	struct fake_dns silent;
	union sock_addr servers[2];
	struct resolver_options opt = { .servers = servers, .server_count = 2, .timeout_ms = 30 };

	assert_int_equal(fake_dns_open(&silent, &loop, NULL, 0), 0);
	silent.mode = FAKE_DNS_SILENT;
	servers[0] = silent.addr;
	servers[1] = dns.addr;
	resolver_free(resolver);
	assert_int_equal(resolver_new(&loop, &opt, &resolver), 0);
	ask(&one, "app.test");
	assert_int_equal(one.answer.err, 0);
	assert_int_equal(one.answer.count, 3);
	assert_true(silent.udp_count > 0);
	fake_dns_close(&silent);
}

/* However long the name servers may take. */
static void resolve__ends_at_its_limit(void **state)
{
	uint64_t start_ns = clock_ns();

	resolver_free(resolver);
	assert_int_equal(open_with(60000, 60), 0);
	dns.mode = FAKE_DNS_SILENT;
	ask(&one, "app.test");
	assert_int_equal(one.answer.err, -ETIMEDOUT);
	assert_true(clock_ns() - start_ns >= 59 * NS_PER_MS);
	/* What comes too late is nobody's. */
	dns.mode = FAKE_DNS_GOOD;
	ask(&two, "app.test");
	assert_int_equal(two.answer.err, 0);
	assert_int_equal(one.done_count, 1);
}

static void resolve__a_slow_name_delays_no_other(void **state)
{
	dns.silent_name = "slow.test";
	assert_int_equal(resolve_name(resolver, &one.q, "slow.test", 80), 0);
	ask(&two, "app.test");
	assert_int_equal(two.answer.err, 0);
	assert_int_equal(one.done_count, 0);
	run_until_done(&one, 1);
	assert_int_equal(one.answer.err, -ETIMEDOUT);
}

static void resolve__may_be_cancelled_at_any_time(void **state)
{
	/* Before anything was sent or came back, also twice. */
	assert_int_equal(resolve_name(resolver, &one.q, "app.test", 80), 0);
	resolve_cancel(&one.q);
	resolve_cancel(&one.q);
	assert_false(resolve_is_active(&one.q));
	/* With the answer known and the job queued. */
	assert_int_equal(resolve_name(resolver, &one.q, "localhost", 80), 0);
	resolve_cancel(&one.q);
	/* Asked anew at once. */
	assert_int_equal(resolve_name(resolver, &one.q, "four.test", 80), 0);
	run_until_done(&one, 1);
	assert_int_equal(one.answer.count, 1);
	for (unsigned turns = 0; turns < 6; turns++) {
		assert_int_equal(resolve_srv(resolver, &two.q, "_http._tcp.test"), 0);
		for (unsigned i = 0; i < turns; i++)
			loop_turn(&loop, 5);
		resolve_cancel(&two.q);
	}
	for (unsigned i = 0; i < 5; i++)
		loop_turn(&loop, 5);
	assert_int_equal(one.done_count, 1);
}

/* The questions are under way when the resolver goes. */
static void resolve__ends_with_its_resolver(void **state)
{
	dns.mode = FAKE_DNS_SILENT;
	assert_int_equal(resolve_name(resolver, &one.q, "app.test", 80), 0);
	assert_int_equal(resolve_srv(resolver, &two.q, "_http._tcp.test"), 0);
	loop_turn(&loop, 5);
	resolver_free(resolver);
	assert_false(resolve_is_active(&one.q));
	assert_false(resolve_is_active(&two.q));
	assert_int_equal(open_with(50, 0), 0);
	for (unsigned i = 0; i < 5; i++)
		loop_turn(&loop, 5);
	assert_int_equal(one.done_count + two.done_count, 0);
}

static void resolve__asks_again_from_within(void **state)
{
	struct question *three = calloc(1, sizeof(*three));

	one.asks_again = true;
	assert_int_equal(resolve_name(resolver, &one.q, "app.test", 80), 0);
	run_until_done(&one, 3);
	assert_int_equal(one.answer.count, 1);
	three->q.on_done = on_done;
	three->frees_itself = true;
	assert_int_equal(resolve_name(resolver, &three->q, "app.test", 80), 0);
	for (unsigned i = 0; i < 100 && !freed_count; i++)
		loop_turn(&loop, 20);
	assert_int_equal(freed_count, 1);
}

static void ask_srv(struct question *q, const char *name)
{
	assert_int_equal(resolve_srv(resolver, &q->q, name), 0);
	assert_int_equal(q->done_count, 0);
	run_until_done(q, 1);
}

/* Only those of the best priority; weight 0 is a small one; each with its own port. */
static void resolve_srv__finds_targets(void **state)
{
	static const char *const expected[] = { "192.0.2.1:8001", "192.0.2.7:8001", "192.0.2.4:8002",
						"[2001:db8::1]:8001" };
	static const unsigned weights[] = { 5, 5, 1, 5 };

	ask_srv(&one, "_http._tcp.test");
	assert_addresses(&one, expected, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(one.answer.addresses[i].weight, weights[i]);
	assert_int_equal(one.answer.ttl_s, 0);
	assert_false(one.answer.is_partial);
}

static void resolve_srv__goes_to_the_next_priority(void **state)
{
	static const char *const expected[] = { "[2001:db8::6]:8003" };

	ask_srv(&one, "_dead._tcp.test");
	assert_addresses(&one, expected, 1);
	assert_int_equal(one.answer.ttl_s, 9);
	assert_false(one.answer.is_partial);
}

/* What the silent target would have said is not known: nobody may take its addresses for gone. */
static void resolve_srv__says_when_a_target_is_missing(void **state)
{
	static const char *const expected[] = { "192.0.2.4:8002" };

	dns.silent_name = "slow.test";
	ask_srv(&one, "_half._tcp.test");
	assert_addresses(&one, expected, 1);
	assert_true(one.answer.is_partial);
}

static void resolve_srv__says_what_is_wrong(void **state)
{
	static const struct {
		const char *name;
		enum fake_dns_mode mode;
		int err;
	} rows[] = {
		{ "_none._tcp.test", FAKE_DNS_GOOD, -ENODATA },
		{ "_gone._tcp.test", FAKE_DNS_GOOD, -ENOENT },
		{ "app.test", FAKE_DNS_GOOD, -ENODATA },
		{ "_http._tcp.test", FAKE_DNS_MALFORMED, -EBADMSG },
		{ "_http._tcp.test", FAKE_DNS_SILENT, -ETIMEDOUT },
	};

	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		one.done_count = 0;
		dns.mode = rows[i].mode;
		ask_srv(&one, rows[i].name);
		if (one.answer.err != rows[i].err)
			fail_msg("%s, mode %d: %d", rows[i].name, rows[i].mode, one.answer.err);
	}
}

/* Each prefix of an answer is refused or understood, and every byte outside of it left alone. */
static void resolve_srv__bears_with_any_packet(void **state)
{
	static struct fake_packet p;
	static struct target targets[RESOLVE_TARGETS_MAX];
	static const uint8_t question[] = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
					  "\x05_http\x04_tcp\x04test\x00\x00\x21\x00\x01";
	unsigned count;
	uint32_t ttl_s;

	assert_true(fake_answer(&dns, question, sizeof(question) - 1, false, &p));
	assert_int_equal(resolve_parse_srv(p.bytes, (int)p.len, targets, &count, &ttl_s), 0);
	assert_int_equal(count, 3);
	assert_int_equal(ttl_s, 30);
	for (size_t len = 0; len < p.len; len++) {
		uint8_t *copy = malloc(len + !len);

		memcpy(copy, p.bytes, len);
		assert_int_equal(resolve_parse_srv(copy, (int)len, targets, &count, &ttl_s), -EBADMSG);
		free(copy);
	}
	srand(1);
	for (unsigned i = 0; i < 20000; i++) {
		uint8_t *copy = malloc(p.len);

		memcpy(copy, p.bytes, p.len);
		for (unsigned k = 0; k < 3; k++)
			copy[(unsigned)rand() % p.len] = (uint8_t)rand();
		resolve_parse_srv(copy, (int)p.len, targets, &count, &ttl_s);
		assert_true(count <= RESOLVE_TARGETS_MAX);
		free(copy);
	}
}

static void resolve_srv__keeps_the_best_of_many_targets(void **state)
{
	static struct fake_packet p;
	static struct target targets[RESOLVE_TARGETS_MAX];
	unsigned count;
	uint32_t ttl_s;

	p.len = 0;
	fake_put(&p, "\x12\x34\x84\x80\x00\x00\x00\x28\x00\x00\x00\x00", 12);
	for (unsigned i = 0; i < 40; i++) {
		char value[64];
		struct fake_record r = { "_a._tcp.test", DNS_SRV, 100 - i, value };

		snprintf(value, sizeof(value), "%u 1 80 t%u.test", 40 - i, i);
		fake_put_record(&p, &r);
	}
	assert_int_equal(resolve_parse_srv(p.bytes, (int)p.len, targets, &count, &ttl_s), 0);
	assert_int_equal(count, RESOLVE_TARGETS_MAX);
	assert_int_equal(ttl_s, 61);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(targets[i].priority, i + 1);
}

/* More than there is room for: always the same ones, however the server turns them. */
static void resolve__keeps_the_same_of_many_addresses(void **state)
{
	struct fake_record records[RESOLVE_ADDRESSES_MAX + 10];
	char values[ARRAY_LEN(records)][20];
	char text[SOCK_ADDR_TEXT];

	for (unsigned i = 0; i < ARRAY_LEN(records); i++) {
		snprintf(values[i], sizeof(values[i]), "192.0.2.%u", 200 - i);
		records[i] = (struct fake_record){ "many.test", DNS_A, 5, values[i] };
	}
	dns.records = records;
	dns.record_count = ARRAY_LEN(records);
	ask(&one, "many.test");
	assert_int_equal(one.answer.err, 0);
	assert_int_equal(one.answer.count, RESOLVE_ADDRESSES_MAX);
	assert_int_equal(one.answer.omitted_count, 10);
	assert_string_equal(sock_addr_print(&one.answer.addresses[0].addr, text), "192.0.2.127:8080");
	assert_string_equal(sock_addr_print(&one.answer.addresses[RESOLVE_ADDRESSES_MAX - 1].addr, text),
			    "192.0.2.190:8080");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(resolve__finds_addresses_of_both_families),
		TEST(resolve__is_content_with_one_family),
		TEST(resolve__heeds_the_life_of_an_alias),
		TEST(resolve__sees_a_changed_answer),
		TEST(resolve__reads_the_hosts_file),
		TEST(resolve__says_what_is_wrong),
		TEST(resolve__refuses_a_name_that_is_too_long),
		TEST(resolve__asks_by_tcp_when_truncated),
		TEST(resolve__survives_a_server_that_is_not_there),
		TEST(resolve__goes_on_to_the_next_server),
		TEST(resolve__ends_at_its_limit),
		TEST(resolve__a_slow_name_delays_no_other),
		TEST(resolve__may_be_cancelled_at_any_time),
		TEST(resolve__ends_with_its_resolver),
		TEST(resolve__asks_again_from_within),
		TEST(resolve_srv__finds_targets),
		TEST(resolve_srv__goes_to_the_next_priority),
		TEST(resolve_srv__says_when_a_target_is_missing),
		TEST(resolve_srv__says_what_is_wrong),
		TEST(resolve_srv__bears_with_any_packet),
		TEST(resolve_srv__keeps_the_best_of_many_targets),
		TEST(resolve__keeps_the_same_of_many_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
