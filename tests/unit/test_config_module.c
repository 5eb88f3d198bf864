/* SPDX-License-Identifier: MIT */
/* Routes with a module: values, the dump, and what is said about files that are none. */
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
#include "config/config.h"

#define LISTEN "listen \"127.0.0.1:0\" { }\n"

/* build/VARIANT/tests, where modules/NAME.so is; this program is in unit/ there. */
static char tests[4096];

static int find_modules(void **state)
{
	ssize_t n = readlink("/proc/self/exe", tests, sizeof(tests) - 1);

	assert_true(n > 0);
	tests[n] = '\0';
	*strrchr(tests, '/') = '\0';
	*strrchr(tests, '/') = '\0';
	return 0;
}

/* @ in the text is that folder. */
static void print_text(char *out, size_t size, const char *text)
{
	size_t len = (size_t)snprintf(out, size, LISTEN);

	for (; *text && len + 1 < size; text++)
		len += (size_t)snprintf(out + len, size - len, *text == '@' ? "%s" : "%.1s", *text == '@' ? tests : text);
}

static struct config *parse(const char *text)
{
	struct config_errors errors;
	struct config *c;

	if (config_parse("t.conf", text, &c, &errors))
		fail_msg("%s", errors.items[0].message);
	config_errors_free(&errors);
	return c;
}

static void check(const struct config *c)
{
	const struct config_route *r = c->sites[0].routes;

	assert_int_equal(c->module_count, 2);
	assert_string_equal(c->modules[0], r[0].value);
	assert_string_equal(c->modules[1], r[1].value);
	assert_int_equal(r[0].kind, ROUTE_MODULE);
	assert_string_equal(r[0].module.args, "a b");
	assert_int_equal(r[0].module.timeout, 300);
	assert_int_equal(r[0].module.read_count, 2);
	assert_string_equal(r[0].module.read[1], "/usr");
	assert_int_equal(r[0].proxy.body, 5 << 20);
	assert_null(r[1].module.args);
	assert_int_equal(r[1].module.timeout, 60000);
	assert_int_equal(r[1].module.read_count, 0);
	assert_int_equal(r[2].module.index, 0);
	assert_int_equal(r[2].module.timeout, 0);
}

static void config_module__is_parsed_and_dumped(void **state)
{
	char text[16384], *dumped = NULL;
	struct config *c, *again;
	size_t len;
	FILE *out = open_memstream(&dumped, &len);

	assert_non_null(out);
	print_text(text, sizeof(text),
		   "site \"*\" { route \"/\" { module = \"@/modules/hello.so\"  module_args = \"a b\"  body = 5m\n"
		   "  module_timeout = 300ms  module_read = { \"/etc/passwd\", \"/usr\" } }\n"
		   "route \"/e\" { module = \"@/modules/echo.so\" }\n"
		   "route \"/h\" { module = \"@/modules/hello.so\"  module_timeout = off } }\n");
	c = parse(text);
	check(c);
	config_dump(c, out);
	fclose(out);
	again = parse(dumped);
	check(again);
	config_free(again);
	config_free(c);
	free(dumped);
}

static void config_module__faults_are_reported(void **state)
{
	static const struct {
		const char *route;
		const char *message;
	} cases[] = {
		{ "module = \"hello.so\"", "absolute path" },
		{ "module = \"/nonexistent/a.so\"", "cannot be loaded: No such file" },
		{ "module = \"/tmp\"", "cannot be loaded: it is no file" },
		{ "module = \"/etc/passwd\"", "cannot be loaded: " },
		{ "module = \"@/modules/hello.so\"  module_args = \"!you\"", "greets nobody" },
		{ "module = \"@/modules/hello.so\"  module_timeout = 1ms", "module_timeout" },
		{ "module = \"@/modules/hello.so\"  module_read = { \"etc\" }", "absolute path" },
		{ "module = \"@/modules/hello.so\"  module_read = { \"/nonexistent\" }", "cannot be read: No such file" },
		{ "module = \"@/modules/hello.so\"  allow = { \"GET\" }", "has no effect on a route with 'module'" },
		{ "respond = \"x\"  module_args = \"a\"", "has no effect on a route with 'respond'" },
		{ "module = \"@/unit/test_config_module\"", "cannot be loaded: " },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct config_errors errors;
		char text[8192], site[4096];
		struct config *c;

		snprintf(site, sizeof(site), "site \"*\" {\nroute \"/\" { %s } }\n", cases[i].route);
		print_text(text, sizeof(text), site);
		assert_int_equal(config_parse("t.conf", text, &c, &errors), -EINVAL);
		if (errors.count != 1 || errors.items[0].line != 3 || !strstr(errors.items[0].message, cases[i].message))
			fail_msg("case %zu: %u errors, line %u: %s", i, errors.count, errors.items[0].line,
				 errors.items[0].message);
		config_errors_free(&errors);
	}
}

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(config_module__is_parsed_and_dumped),
		cmocka_unit_test(config_module__faults_are_reported),
	};

	return cmocka_run_group_tests(all, find_modules, NULL);
}
