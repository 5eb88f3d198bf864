/* SPDX-License-Identifier: MIT */
/* Faulty configurations and what is said about them, by table: every fault, and nothing else. */
#ifndef SLUICE_TESTS_CONFIG_CASES_H
#define SLUICE_TESTS_CONFIG_CASES_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "config/config.h"

#define WANT_MAX 8

struct error_case {
	const char *text; /* gets a listen and a site behind it, unless is_whole */
	bool is_whole;
	const char *want[WANT_MAX]; /* "LINE: a part of the message", all of them in order */
};

static inline void print_errors(const struct config_errors *errors, const char *text)
{
	fprintf(stderr, "--- %s\n", text);
	config_errors_print(errors, stderr);
}

static inline bool is_match(const struct config_error *e, const char *want)
{
	char *rest = NULL;
	unsigned long line = strtoul(want, &rest, 10);

	return e->line == line && strstr(e->message, rest + 2);
}

static inline void check_case(const struct error_case *c)
{
	static struct config_errors errors;
	struct config *config = (struct config *)1;
	char text[2048];
	unsigned count = 0;
	bool is_good = true;

	snprintf(text, sizeof(text), "%s%s", c->text,
		 c->is_whole ? "" : "\nlisten :0 {}\nsite '*' { route / { respond = x } }\n");
	assert_int_equal(config_parse("t", text, &config, &errors), -EINVAL);
	assert_null(config);
	for (; count < WANT_MAX && c->want[count]; count++)
		is_good = is_good && count < errors.count &&
			  is_match(&errors.items[count], c->want[count]);
	if (!is_good || errors.count != count)
		print_errors(&errors, text);
	assert_true(is_good);
	assert_int_equal(errors.count, count);
	config_errors_free(&errors);
}

static inline void check_cases(const struct error_case *cases, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		check_case(&cases[i]);
}

#define CHECK(table) check_cases(table, ARRAY_LEN(table))

#endif
