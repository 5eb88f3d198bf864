/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "load/load.h"

static struct load_options made;
static char error[LOAD_ERROR_TEXT];

static int make(const char *url, const char *const *words)
{
	int err;

	load_options_init(&made);
	err = load_options_url(&made, url, error);
	for (; !err && words && *words; words++)
		err = load_options_set(&made, *words, error);
	return err ? err : load_options_finish(&made, error);
}

static void load__splits_the_url(void **state)
{
	static const struct {
		const char *url, *address, *request;
	} cases[] = {
		{ "http://127.0.0.1:8080/a/b?c=d", "127.0.0.1:8080", "GET /a/b?c=d HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n" },
		{ "127.0.0.1", "127.0.0.1:80", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" },
		{ "127.0.0.1:1/x#y", "127.0.0.1:1", "GET /x HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n" },
		{ "http://[::1]:8080", "[::1]:8080", "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n" },
		{ "http://[::1]/", "[::1]:80", "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n" },
	};
	char text[SOCK_ADDR_TEXT];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(make(cases[i].url, NULL), 0);
		assert_string_equal(sock_addr_print(&made.server, text), cases[i].address);
		assert_int_equal(made.kind_count, 1);
		assert_int_equal(made.kinds[0].len, strlen(cases[i].request));
		assert_memory_equal(made.kinds[0].bytes, cases[i].request, made.kinds[0].len);
		load_options_fini(&made);
	}
}

static void load__makes_the_request_it_is_told(void **state)
{
	const char *const words[] = { "method=POST", "body=3", "header=X-A: 1", "header=X-B: 2", "mode=close", NULL };

	assert_int_equal(make("127.0.0.1:1", words), 0);
	assert_string_equal(made.kinds[0].bytes, "POST / HTTP/1.1\r\nHost: 127.0.0.1:1\r\nX-A: 1\r\nX-B: 2\r\n"
						 "Content-Length: 3\r\nConnection: close\r\n\r\nxxx");
	assert_int_equal(made.kinds[0].method, METHOD_POST);
	load_options_fini(&made);
}

static void load__reads_values(void **state)
{
	const char *const words[] = { "connections=7", "duration=1m30s", "warmup=2", "rate=12.5", "arrivals=even",
				      "timeout=500ms", "processes=3", "sources=4", NULL };

	assert_int_equal(make("127.0.0.1:1", words), 0);
	assert_int_equal(made.connections, 7);
	assert_int_equal(made.duration_ns, 90 * NS_PER_SEC);
	assert_int_equal(made.warmup_ns, 2 * NS_PER_SEC);
	assert_int_equal(made.timeout_ns, 500 * NS_PER_MS);
	assert_true(made.rate == 12.5 && made.is_even);
	assert_int_equal(made.processes, 3);
	load_options_fini(&made);
}

/* More processes than connections would leave some without work. */
static void load__has_a_connection_for_each_process(void **state)
{
	const char *const words[] = { "connections=2", "processes=8", NULL };

	assert_int_equal(make("127.0.0.1:1", words), 0);
	assert_int_equal(made.processes, 2);
	load_options_fini(&made);
}

static void load__refuses_what_makes_no_sense(void **state)
{
	static const char *const cases[] = {
		"connections=0",  "connections=x", "connections=", "duration=0", "duration=1x", "rate=-1",
		"rate=1e10",	  "rate=nan",	   "mode=often",   "arrivals=",	 "timeout=1us", "pipeline=65",
		"processes=65",	  "sources=0",	   "header=x",	   "method=",	 "method=A B",	"body=1t",
		"body=1000000000", "unknown=1",	   "rate",
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		load_options_init(&made);
		*error = '\0';
		assert_int_equal(load_options_set(&made, cases[i], error), -EINVAL);
		assert_true(*error);
		load_options_fini(&made);
	}
}

static int make_mix(const char *text)
{
	char path[] = "/tmp/sluice-mix-XXXXXX", word[64];
	const char *words[] = { word, NULL };
	int fd = mkstemp(path), err;

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	snprintf(word, sizeof(word), "mix=%s", path);
	err = make("127.0.0.1:1", words);
	unlink(path);
	return err;
}

static void load__reads_a_mix(void **state)
{
	assert_int_equal(make_mix("# all of it\n\n 3\tGET /a \n1 POST /b 2k # two\n"), 0);
	assert_int_equal(made.kind_count, 2);
	assert_int_equal(made.weight_sum, 4);
	assert_string_equal(made.kinds[0].name, "GET /a");
	assert_string_equal(made.kinds[1].name, "POST /b");
	assert_non_null(strstr(made.kinds[1].bytes, "Content-Length: 2048\r\n"));
	load_options_fini(&made);
}

static void load__refuses_a_wrong_mix(void **state)
{
	static const char *const cases[] = {
		"", "# nothing\n", "GET /\n", "0 GET /\n", "1 GET\n", "1 GET a\n", "1 GET / 1x\n", "1 GET / 1 2\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(make_mix(cases[i]), -EINVAL);
		load_options_fini(&made);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(load__splits_the_url),
		cmocka_unit_test(load__makes_the_request_it_is_told),
		cmocka_unit_test(load__reads_values),
		cmocka_unit_test(load__has_a_connection_for_each_process),
		cmocka_unit_test(load__refuses_what_makes_no_sense),
		cmocka_unit_test(load__reads_a_mix),
		cmocka_unit_test(load__refuses_a_wrong_mix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
