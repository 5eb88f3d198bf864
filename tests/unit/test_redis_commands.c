/* SPDX-License-Identifier: MIT */
/* What is known of commands: from the answer to COMMAND, as Redis 7 and as older servers give it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/redis_commands.h"
#include "base/err.h"

/* Name, arity, flags, first key, last key, step; and for Redis 7: categories, hints, key specifications, subcommands. */
static const char table[] = "*8\r\n"
	"*6\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n"
	"*6\r\n$4\r\nmset\r\n:-3\r\n*1\r\n+write\r\n:1\r\n:-1\r\n:2\r\n"
	"*6\r\n$4\r\nmget\r\n:-2\r\n*1\r\n+readonly\r\n:1\r\n:-1\r\n:1\r\n"
	"*6\r\n$4\r\neval\r\n:-3\r\n*2\r\n+noscript\r\n+movablekeys\r\n:0\r\n:0\r\n:0\r\n"
	"*6\r\n$4\r\nkeys\r\n:2\r\n*1\r\n+readonly\r\n:0\r\n:0\r\n:0\r\n"
	"*6\r\n$7\r\nmodwait\r\n:2\r\n*2\r\n+write\r\n+blocking\r\n:1\r\n:1\r\n:1\r\n"
	"*10\r\n$6\r\nobject\r\n:-2\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n"
	"*2\r\n*6\r\n$15\r\nobject|encoding\r\n:3\r\n*1\r\n+readonly\r\n:2\r\n:2\r\n:1\r\n"
	"*6\r\n$11\r\nobject|help\r\n:2\r\n*0\r\n:0\r\n:0\r\n:0\r\n"
	"*6\r\n$6\r\nconfig\r\n:-2\r\n*1\r\n+admin\r\n:0\r\n:0\r\n:0\r\n";

static struct redis_commands *read_table(const char *text)
{
	redisReader *reader = redisReaderCreate();
	struct redis_commands *c;
	void *reply = NULL;

	assert_int_equal(redisReaderFeed(reader, text, strlen(text)), REDIS_OK);
	assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
	assert_non_null(reply);
	c = redis_commands_new(reply);
	freeReplyObject(reply);
	redisReaderFree(reader);
	return c;
}

static unsigned split(const char *text, struct span *words)
{
	unsigned count = 0;

	while (*text) {
		size_t len = strcspn(text, " ");

		words[count++] = span_of(text, len);
		text += len + (text[len] == ' ');
	}
	return count;
}

static void redis_commands__finds_keys(void **state)
{
	static const struct {
		const char *command;
		bool is_known;
		struct redis_keys keys;
	} cases[] = {
		{ "GET a", true, { 1, 1, 1 } },		{ "get a b c", true, { 1, 1, 1 } },
		{ "MSET a 1 b 2", true, { 1, 4, 2 } },	{ "MGET a b c", true, { 1, 3, 1 } },
		{ "GET", true, { 0, 0, 0 } },		{ "EVAL x 1 k", false, { 0, 0, 0 } },
		{ "KEYS *", false, { 0, 0, 0 } },	{ "NOSUCH a", false, { 0, 0, 0 } },
		{ "OBJECT ENCODING a", true, { 2, 2, 1 } }, { "object encoding a", true, { 2, 2, 1 } },
		{ "OBJECT HELP", false, { 0, 0, 0 } },	{ "OBJECT", false, { 0, 0, 0 } },
		{ "OBJECT NOSUCH a", false, { 0, 0, 0 } }, { "PING", true, { 0, 0, 0 } },
		{ "PUBLISH ch x", true, { 1, 1, 1 } },	{ "CONFIG GET x", false, { 0, 0, 0 } },
	};
	struct redis_commands *c = read_table(table);
	struct redis_keys keys;
	struct span words[8];

	assert_int_equal(redis_commands_count(c), 10);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		unsigned count = split(cases[i].command, words);

		assert_int_equal(redis_commands_keys(c, count, words, &keys), cases[i].is_known);
		assert_memory_equal(&keys, &cases[i].keys, sizeof(keys));
	}
	/* Nothing is known before the server has told. */
	assert_false(redis_commands_keys(NULL, split("GET a", words), words, &keys));
	redis_commands_free(c);
}

static void redis_commands__knows_who_waits(void **state)
{
	struct redis_commands *c = read_table(table);
	struct span words[8];

	assert_true(redis_commands_waits(c, split("MODWAIT a", words), words));
	assert_false(redis_commands_waits(c, split("GET a", words), words));
	assert_false(redis_commands_waits(NULL, split("MODWAIT a", words), words));
	assert_true(redis_commands_is_admin(c, split("config get x", words), words));
	assert_false(redis_commands_is_admin(c, split("GET a", words), words));
	assert_true(redis_waits_by_argument(split("XREAD COUNT 1 BLOCK 0 STREAMS s 0", words), words));
	assert_true(redis_waits_by_argument(split("xreadgroup GROUP g c block 0", words), words));
	assert_false(redis_waits_by_argument(split("XREAD STREAMS BLOCK 0", words), words));
	assert_false(redis_waits_by_argument(split("GET BLOCK", words), words));
	assert_true(redis_waits_by_argument(split("script debug YES", words), words));
	assert_false(redis_waits_by_argument(split("SCRIPT LOAD x", words), words));
	redis_commands_free(c);
}

static void redis_commands__some_need_one_look_only(void **state)
{
	struct redis_commands *c = read_table(table), *other = read_table(table);

	assert_true(redis_commands_is_plain(c, SPAN("GET")));
	assert_false(redis_commands_is_plain(c, SPAN("OBJECT")));
	assert_false(redis_commands_is_plain(c, SPAN("XREAD")));
	assert_false(redis_commands_is_plain(c, SPAN("NOSUCH")));
	assert_int_not_equal(redis_commands_serial(c), redis_commands_serial(other));
	assert_int_equal(redis_commands_serial(NULL), 0);
	redis_commands_free(c);
	redis_commands_free(other);
}

static void redis_commands__forbids(void **state)
{
	static const char *const never[] = { "MULTI", "multi", "Select", "BLPOP", "MONITOR", "PMONITOR", "SUBSCRIBE", "CLIENT",
					     "HELLO", "RESET", "WAIT", "DEBUG", "QUIT" };
	static const char *const fine[] = { "GET", "CONFIG", "PUBLISH", "XREAD", "INFO", "MULTI2" };

	for (unsigned i = 0; i < ARRAY_LEN(never); i++)
		assert_true(redis_is_forbidden(span_str(never[i])));
	for (unsigned i = 0; i < ARRAY_LEN(fine); i++)
		assert_false(redis_is_forbidden(span_str(fine[i])));
}

static void redis_commands__bears_with_odd_answers(void **state)
{
	struct redis_commands *c = read_table("*6\r\n$-1\r\n:1\r\n*0\r\n*6\r\n$1\r\na\r\n:1\r\n*0\r\n$1\r\nx\r\n:1\r\n:1\r\n"
					      "*6\r\n$1\r\nb\r\n:1\r\n:7\r\n:1\r\n:1\r\n:1\r\n"
					      "*6\r\n$1\r\nc\r\n:1\r\n*1\r\n:4\r\n:99999999\r\n:1\r\n:1\r\n");

	assert_non_null(c);
	assert_int_equal(redis_commands_count(c), 1);
	redis_commands_free(c);
	assert_null(read_table("+OK\r\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(redis_commands__finds_keys),
		cmocka_unit_test(redis_commands__knows_who_waits),
		cmocka_unit_test(redis_commands__some_need_one_look_only),
		cmocka_unit_test(redis_commands__forbids),
		cmocka_unit_test(redis_commands__bears_with_odd_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
