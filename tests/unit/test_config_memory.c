/* SPDX-License-Identifier: MIT */
/*
 * A configuration read while memory runs out, at each allocation in turn: `sluice reload` does that in the master, which
 * has to go on serving with what it has.  Allocations of libraries do not fail here: see config_confuse.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

static const char text[] =
	"workers = 2\n"
	"steering { policy = \"least\" }\n"
	"listen \"127.0.0.1:8080\" { backlog = 100 }\n"
	"upstream \"app\" {\n"
	"	balance = \"least\"\n"
	"	server \"127.0.0.1:9001\" { weight = 2 }\n"
	"	server \"backend.example:9002\" { }\n"
	"	check { path = \"/health\" }\n"
	"}\n"
	"site {\"example.com\", \"*.example.org\"} { route \"/\" { respond = \"hello\" } }\n"
	"site \"*\" {\n"
	"	route \"/\" { respond = \"hello\" }\n"
	"	route \"/api/\" { proxy = \"app\"  request_set = {\"X-A: b\"} }\n"
	"}\n"
	"log { access = \"/tmp/access.log\" }\n";

static const char wrong[] = "workers = many\nsteerign { }\nlisten 5 { backlog = }\n";

static unsigned long until_failure; /* 0: never */

static bool fails(void)
{
	if (until_failure == 0 || --until_failure > 0)
		return false;
	errno = ENOMEM;
	return true;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

/* How many allocations it takes. */
static unsigned long fail_each(const char *config)
{
	for (unsigned long nth = 1;; nth++) {
		struct config_errors errors = { 0 };
		struct config *c = NULL;
		bool has_failed;
		int err;

		until_failure = nth;
		err = config_parse("test", config, &c, &errors);
		has_failed = until_failure == 0;
		until_failure = 0;
		/* Nothing that could not be kept is left out in silence. */
		if (has_failed)
			assert_true(err < 0);
		if (err)
			assert_true(errors.count > 0 && c == NULL);
		config_errors_free(&errors);
		config_free(c);
		if (!has_failed)
			return nth;
	}
}

static void config__bears_each_allocation_failing(void **state)
{
	assert_true(fail_each(text) > 40);
	assert_true(fail_each(wrong) > 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config__bears_each_allocation_failing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
