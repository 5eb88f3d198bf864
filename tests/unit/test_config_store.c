/* SPDX-License-Identifier: MIT */
/* store "NAME" { ... } and routes to it: values, defaults, what contradicts itself, and the dump. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "config/config.h"

#define LISTEN "listen \"127.0.0.1:0\" { }\n"
#define REDIS  "redis \"main\" { }\n"
#define SITE   "site \"*\" { route \"/\" { store = \"s\" } }\n"

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
	const struct config_store *s = &c->stores[0];

	assert_int_equal(c->store_count, 4);
	assert_int_equal(s->engine, STORE_ENGINE_LMDB);
	assert_int_equal(c->stores[2].engine, STORE_ENGINE_REDIS);
	assert_string_equal(c->stores[2].redis, "main");
	assert_string_equal(c->stores[2].key_prefix, "u:");
	assert_string_equal(c->stores[3].key_prefix, "x:");
	assert_string_equal(s->name, "s");
	assert_string_equal(s->path, "/tmp/a");
	assert_int_equal(s->size, 4 << 20);
	assert_int_equal(s->value, 2048);
	assert_int_equal(s->memory, 1 << 20);
	assert_int_equal(s->timeout, 300);
	assert_int_equal(c->stores[1].size, 1 << 30);
	assert_int_equal(c->stores[1].value, 1 << 20);
	assert_int_equal(c->stores[1].memory, 64 << 20);
	assert_int_equal(c->stores[1].timeout, 10000);
	assert_int_equal(c->sites[0].routes[0].kind, ROUTE_STORE);
	assert_string_equal(c->sites[0].routes[0].value, "s");
	assert_true(c->sites[0].routes[0].store.requires_match);
	assert_int_equal(c->sites[0].routes[0].store.names, STORE_NAMES_TIME);
	assert_false(c->sites[0].routes[1].store.requires_match);
	assert_int_equal(c->sites[0].routes[1].store.names, STORE_NAMES_RANDOM);
}

static void config_store__is_parsed_and_dumped(void **state)
{
	struct config *c = parse(LISTEN
				 "store \"s\" { path = \"/tmp/a\"  engine = \"lmdb\"  size = 4m  value = 2k  memory = 1m\n"
				 "  timeout = 300ms }\n"
				 "store \"t\" { path = \"/tmp/b\" }\n"
				 "store \"u\" { redis = \"main\" }\n"
				 "store \"v\" { redis = \"main\"  engine = \"redis\"  key_prefix = \"x:\" }\n"
				 REDIS
				 "site \"*\" { route \"/\" { store = \"s\"  require_match = true  names = \"time\" }\n"
				 "  route \"/t/\" { store = \"t\" } }\n");
	struct config *again;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	check(c);
	assert_non_null(out);
	config_dump(c, out);
	fclose(out);
	again = parse(text);
	check(again);
	config_free(again);
	config_free(c);
	free(text);
}

static void config_store__faults_are_reported(void **state)
{
	static const struct {
		const char *text;
		unsigned line;
		const char *message;	/* NULL: there is none */
	} cases[] = {
		{ "store \"s\" { }\n" SITE, 2, "has no path" },
		{ "store \"a b\" { path = \"/tmp/a\" }\nsite \"*\" { route \"/\" { respond = \"x\" } }\n", 2, "is no name" },
		{ "store \"s\" { path = \"a\" }\n" SITE, 2, "absolute path" },
		{ "store \"s\" { path = \"/nonexistent/a/b\" }\n" SITE, 2, "cannot be made" },
		{ "store \"s\" { path = \"/dev/null\" }\n" SITE, 2, "is not a folder" },
		{ "store \"s\" { path = \"/tmp/a\"  size = 1k }\n" SITE, 2, "size" },
		{ "store \"s\" { path = \"/tmp/a\"  value = 17m }\n" SITE, 2, "value" },
		{ "store \"s\" { path = \"/tmp/a\"  value = 2m  memory = 1m }\n" SITE, 2, "may not be larger" },
		{ "store \"s\" { path = \"/tmp/a\"  engine = \"files\" }\n" SITE, 2, "engine" },
		{ "store \"s\" { path = \"/tmp/a\" }\nstore \"s\" { path = \"/tmp/b\" }\n" SITE, 3, "is taken by the store on line 2" },
		{ "store \"s\" { path = \"/tmp/a\" }\nstore \"t\" { path = \"/tmp/a/\" }\n" SITE, 3, "expected one for each" },
		{ "store \"stor\" { path = \"/tmp/a\" }\nsite \"*\" { route \"/\" { store = \"store\" } }\n", 3,
		  "did you mean 'stor'" },
		{ "store \"s\" { path = \"/tmp/a\" }\nsite \"*\" { route \"/a\" { store = \"s\" } }\n", 3, "expected '/a/'" },
		{ "store \"s\" { engine = \"redis\" }\n" SITE, 2, "has no redis" },
		{ REDIS "store \"s\" { redis = \"main\"  path = \"/tmp/a\" }\n" SITE, 3, "'path' has no effect" },
		{ REDIS "store \"s\" { redis = \"main\"  size = 1g }\n" SITE, 3, "'size' has no effect" },
		{ REDIS "store \"s\" { redis = \"main\"  timeout = 1s }\n" SITE, 3, "'timeout' has no effect" },
		{ "store \"s\" { path = \"/tmp/a\"  key_prefix = \"a\" }\n" SITE, 2, "'key_prefix' has no effect" },
		{ "store \"s\" { path = \"/tmp/a\"  engine = \"lmdb\"  redis = \"main\" }\n" SITE, 2, "'redis' has no effect" },
		{ REDIS "store \"s\" { redis = \"a b\" }\n" SITE, 3, "redis" },
		{ REDIS "store \"s\" { redis = \"mian\" }\n" SITE, 3, "did you mean 'main'" },
		{ "store \"s\" { redis = \"main\" }\n" SITE, 2, "there is no redis 'main'" },
		{ REDIS "store \"s\" { redis = \"main\"  key_prefix = \"a*\" }\n" SITE, 3, "key_prefix" },
		{ REDIS "store \"s\" { redis = \"main\"  value = 15m }\n" SITE, 3, NULL },
		{ REDIS "store \"s\" { redis = \"main\"  value = 16m }\n" SITE, 3, "has to fit into an answer" },
		{ REDIS "store \"s\" { redis = \"main\" }\nstore \"t\" { redis = \"main\"  key_prefix = \"s:t\" }\n" SITE, 4,
		  "begin alike" },
		{ REDIS "store \"s\" { redis = \"main\"  key_prefix = \"t:x\" }\nstore \"t\" { redis = \"main\" }\n" SITE, 4,
		  "begin alike" },
		{ REDIS "redis \"other\" { }\nstore \"s\" { redis = \"main\" }\n"
		  "store \"t\" { redis = \"other\"  key_prefix = \"s:\" }\n" SITE, 0, NULL },
		{ "site \"*\" { route \"/\" { respond = \"x\"  require_match = true } }\n", 2, "has no effect" },
		{ "store \"s\" { path = \"/tmp/a\" }\nsite \"*\" { route \"/\" { store = \"s\"  body = 1m } }\n", 3, "has no effect" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct config_errors errors;
		char text[1024];
		struct config *c;

		snprintf(text, sizeof(text), LISTEN "%s", cases[i].text);
		if (!cases[i].message) {
			config_free(parse(text));
			continue;
		}
		assert_int_equal(config_parse("t.conf", text, &c, &errors), -EINVAL);
		if (errors.count != 1 || errors.items[0].line != cases[i].line ||
		    !strstr(errors.items[0].message, cases[i].message))
			fail_msg("case %zu: %u errors, line %u: %s", i, errors.count, errors.items[0].line,
				 errors.items[0].message);
		config_errors_free(&errors);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_store__is_parsed_and_dumped),
		cmocka_unit_test(config_store__faults_are_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
