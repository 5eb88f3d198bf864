/* SPDX-License-Identifier: MIT */
/*
 * The monitor on the loop of the test, with a name server and servers within the test.  Waits of seconds are not waited
 * for: their length is looked at and the timer fired by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/log.h"
#include "fake_dns.h"
#include "fake_server.h"
#include "net/fd_pass.h"
#include "proc/monitor_impl.h"
#include "proc/worker.h"

#define WAIT_MS	  3000u
#define ENDPOINTS (2 + UPSTREAM_NAME_ENDPOINTS)

static struct loop loop;
static struct fake_dns dns;
static struct fake_server back;
static struct upstream_table table;
static struct monitor *monitor;
static char resolver_text[SOCK_ADDR_TEXT], *resolvers[] = { resolver_text };
static struct config_server servers[3];
static struct config_upstream upstream;
static struct config config;
static FILE *log_file;

/* Two addresses and a name; no checks unless the test says so. */
static void fill_config(void)
{
	memset(servers, 0, sizeof(servers));
	for (unsigned i = 0; i < 2; i++) {
		servers[i] = (struct config_server){ .text = i ? "127.0.0.1:1" : "127.0.0.1:80", .kind = SERVER_ADDRESS };
		servers[i].weight = 1;
		servers[i].first_endpoint = i;
		servers[i].endpoint_count = 1;
		sock_addr_parse(span_str(servers[i].text), &servers[i].addr);
	}
	servers[2] = (struct config_server){
		.text = "app.test:8080", .kind = SERVER_NAME, .name = "app.test", .port = 8080, .weight = 3,
		.first_endpoint = 2, .endpoint_count = UPSTREAM_NAME_ENDPOINTS,
	};
	upstream = (struct config_upstream){
		.name = "app", .resolve = 30000, .servers = servers, .server_count = 3,
		.check = { .status_min = 200, .status_max = 399, .interval = 10, .timeout = 500, .rise = 2, .fall = 2 },
	};
	config = (struct config){
		.upstreams = &upstream, .upstream_count = 1, .endpoint_count = ENDPOINTS,
		.resolvers = resolvers, .resolver_count = 1,
	};
}

static void set_literal(unsigned i, const union sock_addr *a)
{
	servers[i].addr = *a;
	upstream_endpoint_set(&table.endpoints[i], &a->any, sock_addr_len(a), 1, 0);
}

static int open_all(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	log_file = tmpfile();
	log_set_fd(fileno(log_file));
	log_set_level(LOG_INFO);
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(fake_dns_open(&dns, &loop, NULL, 0), 0);
	assert_int_equal(fake_server_open(&back, &loop, "127.0.0.1:0"), 0);
	sock_addr_print(&dns.addr, resolver_text);
	assert_int_equal(upstream_table_open(&table, ENDPOINTS, 1), 0);
	fill_config();
	for (unsigned i = 0; i < 2; i++)
		set_literal(i, &servers[i].addr);
	return 0;
}

static int close_all(void **state)
{
	monitor_free(monitor);
	monitor = NULL;
	fake_dns_close(&dns);
	fake_server_close(&back);
	loop_turn(&loop, 0);
	assert_int_equal(loop.wheel.timer_count, 0);
	loop_fini(&loop);
	upstream_table_close(&table);
	log_set_fd(-1);
	fclose(log_file);
	return 0;
}

/* Lines of the log that hold this text. */
static unsigned logged(const char *text)
{
	unsigned count = 0;
	char line[1024];

	rewind(log_file);
	while (fgets(line, sizeof(line), log_file))
		count += strstr(line, text) != NULL;
	return count;
}

static struct monitor_server *named(void)
{
	return &monitor->servers[2];
}

static void start(void)
{
	assert_int_equal(monitor_new(&loop, &config, &table, &monitor), 0);
}

/* Until the question under way has been answered and the next one has its time. */
static void run_until_answered(void)
{
	uint64_t end_ns = clock_ns() + WAIT_MS * NS_PER_MS;

	loop_turn(&loop, 5);
	while ((resolve_is_active(&named()->question) || !timer_is_active(&named()->again)) && clock_ns() < end_ns)
		loop_turn(&loop, 5);
	assert_false(resolve_is_active(&named()->question));
	assert_true(timer_is_active(&named()->again));
}

static void ask_again(void)
{
	loop_timer_stop(&loop, &named()->again);
	named()->again.on_expire(&named()->again);
	run_until_answered();
}

static void assert_wait(uint64_t low_ms, uint64_t high_ms)
{
	uint64_t wait_ms = named()->again.expires_ms - loop.now_ms;

	if (wait_ms < low_ms || wait_ms > high_ms)
		fail_msg("asks again after %u ms, not %u to %u", (unsigned)wait_ms, (unsigned)low_ms, (unsigned)high_ms);
}

/* NULL: no address. */
static void assert_place(unsigned i, const char *expected)
{
	struct upstream_address a;
	char text[SOCK_ADDR_TEXT];

	upstream_endpoint_get(&table.endpoints[2 + i], &a);
	if (!expected) {
		assert_int_equal(a.len, 0);
		return;
	}
	assert_true(a.len > 0);
	assert_string_equal(sock_addr_print((union sock_addr *)&a.addr, text), expected);
}

static void use_records(const struct fake_record *records, unsigned count)
{
	dns.records = records;
	dns.record_count = count;
}

static void monitor__is_needed_for_names_and_checks(void **state)
{
	assert_true(monitor_is_needed(&config));
	servers[2].kind = SERVER_SRV;
	assert_true(monitor_is_needed(&config));
	upstream.server_count = 2;
	assert_false(monitor_is_needed(&config));
	servers[1].kind = SERVER_UNIX;
	assert_false(monitor_is_needed(&config));
	upstream.check.kind = CHECK_TCP;
	assert_true(monitor_is_needed(&config));
	config.upstream_count = 0;
	assert_false(monitor_is_needed(&config));
}

static void monitor__writes_the_addresses_of_a_name(void **state)
{
	static const struct fake_record records[] = {
		{ "app.test", DNS_A, 7, "192.0.2.2" }, { "app.test", DNS_A, 9, "192.0.2.1" },
		{ "app.test", DNS_AAAA, 60, "2001:db8::1" },
	};

	use_records(records, 3);
	start();
	run_until_answered();
	assert_place(0, "192.0.2.1:8080");
	assert_place(1, "192.0.2.2:8080");
	assert_place(2, "[2001:db8::1]:8080");
	assert_place(3, NULL);
	assert_int_equal(table.endpoints[2].weight, 3);
	/* As old as the server: no slow start. */
	assert_int_equal(table.endpoints[2].used_since_ns, 0);
	assert_wait(6900, 7000);
	assert_int_equal(logged("upstream app: server app.test:8080 is at 192.0.2.2:8080"), 1);
	/* The literals are the master's. */
	assert_true(table.endpoints[0].is_used && table.endpoints[1].is_used);
}

/* An address that stays keeps its place and all that is known of it. */
static void monitor__keeps_places_stable(void **state)
{
	static const struct fake_record first[] = {
		{ "app.test", DNS_A, 1, "192.0.2.1" }, { "app.test", DNS_A, 1, "192.0.2.2" },
		{ "app.test", DNS_A, 1, "192.0.2.3" },
	};
	static const struct fake_record second[] = {
		{ "app.test", DNS_A, 1, "192.0.2.3" }, { "app.test", DNS_A, 1, "192.0.2.9" },
		{ "app.test", DNS_A, 1, "192.0.2.8" }, { "app.test", DNS_A, 1, "192.0.2.1" },
	};
	uint32_t sequence;

	use_records(first, 3);
	start();
	run_until_answered();
	table.endpoints[2].health = HEALTH_DOWN;
	table.endpoints[4].ejections = 4;
	sequence = table.endpoints[2].sequence;
	use_records(second, 4);
	ask_again();
	assert_place(0, "192.0.2.1:8080");
	assert_place(1, "192.0.2.8:8080");
	assert_place(2, "192.0.2.3:8080");
	assert_place(3, "192.0.2.9:8080");
	assert_int_equal(table.endpoints[2].health, HEALTH_DOWN);
	assert_int_equal(table.endpoints[2].sequence, sequence);
	assert_int_equal(table.endpoints[4].ejections, 4);
	/* One that came later is spared a sudden load. */
	assert_true(table.endpoints[3].used_since_ns > 0);
	assert_int_equal(logged("is no longer at 192.0.2.2:8080"), 1);
	use_records(second, 1);
	ask_again();
	assert_place(0, NULL);
	assert_place(1, NULL);
	assert_place(2, "192.0.2.3:8080");
	assert_place(3, NULL);
}

static void monitor__bounds_the_life_of_an_answer(void **state)
{
	struct fake_record record = { "app.test", DNS_A, 0, "192.0.2.1" };
	static const struct {
		uint32_t ttl_s;
		uint64_t resolve_ms, wait_ms;
	} rows[] = { { 0, 30000, 1000 }, { 1, 30000, 1000 }, { 5, 30000, 5000 }, { 86400, 30000, 30000 }, { 5, 100, 1000 } };

	use_records(&record, 1);
	start();
	run_until_answered();
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		record.ttl_s = rows[i].ttl_s;
		upstream.resolve = rows[i].resolve_ms;
		ask_again();
		assert_wait(rows[i].wait_ms - 50, rows[i].wait_ms);
	}
}

/* What was known stays; later and later; said once. */
static void monitor__bears_with_failures(void **state)
{
	static const struct fake_record records[] = {
		{ "app.test", DNS_A, 5, "192.0.2.1" }, { "app.test", DNS_AAAA, 5, "2001:db8::1" },
	};
	static const uint64_t waits_ms[] = { 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000 };

	use_records(records, 2);
	start();
	run_until_answered();
	use_records(NULL, 0);
	for (unsigned i = 0; i < ARRAY_LEN(waits_ms); i++) {
		ask_again();
		assert_place(0, "192.0.2.1:8080");
		assert_wait(waits_ms[i] * 9 / 10 - 50, waits_ms[i]);
	}
	assert_int_equal(logged("does not resolve: no such name; the addresses known before stay"), 1);
	dns.mode = FAKE_DNS_MALFORMED;
	use_records(records, 2);
	ask_again();
	assert_int_equal(logged("does not resolve: malformed answer"), 1);
	dns.mode = FAKE_DNS_GOOD;
	ask_again();
	assert_int_equal(logged("resolves again"), 1);
	assert_wait(4900, 5000);
	use_records(NULL, 0);
	ask_again();
	assert_wait(850, 1000);
	assert_int_equal(logged("no such name"), 2);
}

/* A name that does not resolve stops nothing; when it does at last, the address is a new one. */
static void monitor__waits_for_a_name_that_is_not_there_yet(void **state)
{
	static const struct fake_record record = { "app.test", DNS_A, 5, "192.0.2.1" };

	set_literal(0, &back.addr);
	upstream.check.kind = CHECK_TCP;
	start();
	run_until_answered();
	assert_place(0, NULL);
	assert_int_equal(logged("does not resolve: no such name; it is tried again"), 1);
	for (unsigned i = 0; i < 500 && table.endpoints[0].health != HEALTH_UP; i++)
		loop_turn(&loop, 5);
	assert_int_equal(table.endpoints[0].health, HEALTH_UP);
	use_records(&record, 1);
	ask_again();
	assert_place(0, "192.0.2.1:8080");
	assert_true(table.endpoints[2].used_since_ns > 0);
}

static void monitor__leaves_out_what_has_no_place(void **state)
{
	struct fake_record records[UPSTREAM_NAME_ENDPOINTS + 5];
	char values[ARRAY_LEN(records)][20];

	for (unsigned i = 0; i < ARRAY_LEN(records); i++) {
		snprintf(values[i], sizeof(values[i]), "192.0.2.%u", 100 + i);
		records[i] = (struct fake_record){ "app.test", DNS_A, 5, values[i] };
	}
	use_records(records, ARRAY_LEN(records));
	start();
	run_until_answered();
	ask_again();
	assert_place(0, "192.0.2.100:8080");
	assert_place(UPSTREAM_NAME_ENDPOINTS - 1, "192.0.2.115:8080");
	assert_int_equal(logged("has more than 16 addresses, 5 are left out"), 1);
	/* Whoever has a place keeps it, although lower ones are there again. */
	use_records(records + 3, ARRAY_LEN(records) - 3);
	ask_again();
	use_records(records, ARRAY_LEN(records));
	ask_again();
	assert_place(0, "192.0.2.116:8080");
	assert_place(3, "192.0.2.103:8080");
}

/* Weights of the service; a target that cannot be asked about keeps its addresses. */
static void monitor__follows_a_service(void **state)
{
	static const struct fake_record records[] = {
		{ "_a._tcp.test", DNS_SRV, 5, "1 40 81 one.test" }, { "_a._tcp.test", DNS_SRV, 5, "1 20 82 two.test" },
		{ "one.test", DNS_A, 5, "192.0.2.1" }, { "two.test", DNS_A, 5, "192.0.2.2" },
	};
	struct resolver_options quick = { .servers = &dns.addr, .server_count = 1, .timeout_ms = 20 };

	servers[2].kind = SERVER_SRV;
	servers[2].name = "_a._tcp.test";
	use_records(records, ARRAY_LEN(records));
	start();
	resolver_free(monitor->resolver);
	assert_int_equal(resolver_new(&loop, &quick, &monitor->resolver), 0);
	run_until_answered();
	assert_place(0, "192.0.2.1:81");
	assert_place(1, "192.0.2.2:82");
	assert_int_equal(table.endpoints[2].weight, 40);
	assert_int_equal(table.endpoints[3].weight, 20);
	dns.silent_name = "two.test";
	ask_again();
	assert_place(0, "192.0.2.1:81");
	assert_place(1, "192.0.2.2:82");
	dns.silent_name = NULL;
	use_records(records, 3);
	ask_again();
	assert_place(0, "192.0.2.1:81");
	assert_place(1, NULL);
}

static void monitor__tells_who_is_down(void **state)
{
	uint64_t end_ns = clock_ns() + WAIT_MS * NS_PER_MS;
	char text[SOCK_ADDR_TEXT];

	set_literal(0, &back.addr);
	upstream.server_count = 2;
	upstream.check.kind = CHECK_TCP;
	start();
	assert_null(monitor->resolver);
	while ((!table.endpoints[0].checks || table.endpoints[1].health != HEALTH_DOWN) && clock_ns() < end_ns)
		loop_turn(&loop, 5);
	assert_int_equal(table.endpoints[0].health, HEALTH_UP);
	assert_int_equal(table.endpoints[1].health, HEALTH_DOWN);
	assert_int_equal(logged("upstream app: server 127.0.0.1:1 is down: connect refused"), 1);
	fake_server_close(&back);
	while (table.endpoints[0].health != HEALTH_DOWN && clock_ns() < end_ns)
		loop_turn(&loop, 5);
	assert_int_equal(logged("upstream app: server 127.0.0.1:80 is down: connect refused"), 1);
	assert_int_equal(fake_server_open(&back, &loop, sock_addr_print(&back.addr, text)), 0);
	while (table.endpoints[0].health != HEALTH_UP && clock_ns() < end_ns)
		loop_turn(&loop, 5);
	assert_int_equal(logged("upstream app: server 127.0.0.1:80 is up again"), 1);
	assert_int_equal(logged(" is down"), 2);
}

/* Checks come and go with the addresses. */
static void monitor__checks_what_a_name_leads_to(void **state)
{
	struct fake_record record = { "app.test", DNS_A, 5, "127.0.0.1" };
	char text[64];

	servers[2].port = sock_addr_port(&back.addr);
	upstream.check.kind = CHECK_HTTP;
	upstream.check.path = "/health";
	back.answer = "HTTP/1.1 200 OK\r\n\r\n";
	use_records(&record, 1);
	start();
	run_until_answered();
	for (unsigned i = 0; i < 500 && table.endpoints[2].health != HEALTH_UP; i++)
		loop_turn(&loop, 5);
	assert_int_equal(table.endpoints[2].health, HEALTH_UP);
	snprintf(text, sizeof(text), "\r\nHost: app.test:%u\r\n", servers[2].port);
	assert_non_null(strstr(back.request, text));
	assert_non_null(strstr(back.request, "GET /health "));
	/* Nobody listens at the new address: what is known of the old one does not count. */
	record.value = "127.0.0.2";
	ask_again();
	assert_int_equal(table.endpoints[2].health, HEALTH_UNKNOWN);
	for (unsigned i = 0; i < 500 && table.endpoints[2].health != HEALTH_DOWN; i++)
		loop_turn(&loop, 5);
	assert_int_equal(table.endpoints[2].health, HEALTH_DOWN);
	assert_int_equal(logged("upstream app: server app.test:8080 at 127.0.0.2"), 1);
}

static void monitor__names_the_host_as_clients_do(void **state)
{
	static const struct {
		enum server_kind kind;
		const char *text, *name;
		uint16_t port;
		const char *host;
	} rows[] = {
		{ SERVER_ADDRESS, "127.0.0.1:9001", NULL, 0, "127.0.0.1:9001" },
		{ SERVER_ADDRESS, "127.0.0.1:80", NULL, 0, "127.0.0.1" },
		{ SERVER_ADDRESS, "[::1]:80", NULL, 0, "[::1]" },
		{ SERVER_UNIX, "unix:/run/app.sock", "/run/app.sock", 0, "localhost" },
		{ SERVER_NAME, "app.test:80", "app.test", 80, "app.test" },
		{ SERVER_NAME, "app.test:8080", "app.test", 8080, "app.test:8080" },
		{ SERVER_SRV, "srv:_http._tcp.app.test", "_http._tcp.app.test", 0, "app.test" },
		{ SERVER_SRV, "srv:app.test", "app.test", 0, "app.test" },
	};

	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		servers[2].kind = rows[i].kind;
		servers[2].text = (char *)rows[i].text;
		servers[2].name = (char *)rows[i].name;
		servers[2].port = rows[i].port;
		if (rows[i].kind == SERVER_ADDRESS)
			sock_addr_parse(span_str(rows[i].text), &servers[2].addr);
		start();
		assert_string_equal(named()->check.host, rows[i].host);
		monitor_free(monitor);
		upstream.check.host = "given.test";
		start();
		assert_string_equal(named()->check.host, "given.test");
		monitor_free(monitor);
		upstream.check.host = NULL;
	}
	monitor = NULL;
}

static void monitor__introduces_its_checks(void **state)
{
	upstream.server_count = 1;
	set_literal(0, &back.addr);
	upstream.check.kind = CHECK_TCP;
	upstream.send_proxy = PROXY_PROTOCOL_V2;
	start();
	for (unsigned i = 0; i < 500 && back.request_len < 16; i++)
		loop_turn(&loop, 5);
	assert_int_equal(back.request_len, 16);
	assert_memory_equal(back.request, "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16);
}

static void monitor__refuses_a_resolver_that_is_none(void **state)
{
	struct monitor *m;

	snprintf(resolver_text, sizeof(resolver_text), "nonsense");
	assert_int_equal(monitor_new(&loop, &config, &table, &m), -EINVAL);
	assert_null(m);
}

/* Process ------------------------------------------------------------------------------------------------------ */

static pid_t run_process(int *ret_channel)
{
	static const struct sandbox none;
	struct monitor_options opt = { .config = &config, .upstreams = &table, .sandbox = &none };
	int pair[2];
	pid_t pid;

	assert_int_equal(fd_pass_pair(pair), 0);
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		opt.channel_fd = pair[1];
		_exit(monitor_run(&opt));
	}
	assert_true(pid > 0);
	close(pair[1]);
	*ret_channel = pair[0];
	return pid;
}

static void wait_until_ready(int channel)
{
	char byte = 0;
	int fd;

	fcntl(channel, F_SETFL, 0);
	assert_int_equal(fd_pass_receive(channel, &byte, 1, &fd), 1);
	assert_int_equal(byte, CHANNEL_READY);
}

static void assert_leaves(pid_t pid, int expected)
{
	int status = 0;

	for (unsigned i = 0; i < 600; i++) {
		pid_t got = waitpid(pid, &status, WNOHANG);

		if (got == pid) {
			assert_int_equal(status, expected);
			return;
		}
		loop_turn(&loop, 5);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	fail_msg("the monitor does not leave");
}

/* In a process of its own it does the same, and leaves when told. */
static void monitor__writes_from_its_own_process(void **state)
{
	static const struct fake_record record = { "app.test", DNS_A, 5, "192.0.2.1" };
	static const int signals[] = { SIGTERM, SIGQUIT };

	use_records(&record, 1);
	for (unsigned i = 0; i < ARRAY_LEN(signals); i++) {
		int channel;
		pid_t pid;

		upstream_endpoint_set(&table.endpoints[2], NULL, 0, 1, 0);
		pid = run_process(&channel);
		wait_until_ready(channel);
		for (unsigned k = 0; k < 500 && !table.endpoints[2].is_used; k++)
			loop_turn(&loop, 5);
		assert_place(0, "192.0.2.1:8080");
		kill(pid, signals[i]);
		assert_leaves(pid, 0);
		close(channel);
	}
}

static void monitor__leaves_with_the_master(void **state)
{
	int channel;
	pid_t pid = run_process(&channel);

	wait_until_ready(channel);
	/* What is the master's business does not end it. */
	kill(pid, SIGHUP);
	kill(pid, SIGINT);
	kill(pid, SIGUSR1);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	close(channel);
	assert_leaves(pid, 0);
}

/* A successor goes on where a killed one stopped. */
static void monitor__is_succeeded(void **state)
{
	static const struct fake_record records[] = {
		{ "app.test", DNS_A, 5, "192.0.2.1" }, { "app.test", DNS_A, 5, "192.0.2.2" },
	};
	int channel;
	pid_t pid;

	use_records(records, 2);
	start();
	run_until_answered();
	monitor_free(monitor);
	monitor = NULL;
	table.endpoints[3].health = HEALTH_DOWN;
	table.endpoints[2].sequence++;
	pid = run_process(&channel);
	wait_until_ready(channel);
	kill(pid, SIGKILL);
	assert_leaves(pid, SIGKILL);
	close(channel);
	start();
	run_until_answered();
	assert_place(0, "192.0.2.1:8080");
	assert_place(1, "192.0.2.2:8080");
	assert_int_equal(table.endpoints[3].health, HEALTH_DOWN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(monitor__is_needed_for_names_and_checks),
		TEST(monitor__writes_the_addresses_of_a_name),
		TEST(monitor__keeps_places_stable),
		TEST(monitor__bounds_the_life_of_an_answer),
		TEST(monitor__bears_with_failures),
		TEST(monitor__waits_for_a_name_that_is_not_there_yet),
		TEST(monitor__leaves_out_what_has_no_place),
		TEST(monitor__follows_a_service),
		TEST(monitor__tells_who_is_down),
		TEST(monitor__checks_what_a_name_leads_to),
		TEST(monitor__names_the_host_as_clients_do),
		TEST(monitor__introduces_its_checks),
		TEST(monitor__refuses_a_resolver_that_is_none),
		TEST(monitor__writes_from_its_own_process),
		TEST(monitor__leaves_with_the_master),
		TEST(monitor__is_succeeded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
