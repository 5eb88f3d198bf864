/* SPDX-License-Identifier: MIT */
/*
 * The Redis engine of stores without a server: what it asks for, and what it makes of answers, sensible or not.  In place of
 * the server stand the three calls that lead to it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "app/redis_server.h"
#include "app/store_engine.h"
#include "app/store_redis_script.h"
#include "base/err.h"

/* The server --------------------------------------------------------------------------------------------------- */

#define WORDS 16

static struct redis_call *asked;	/* the last one; NULL: none is under way */
static char words[WORDS][4096];
static unsigned word_count, ask_count;
static enum redis_failure refusal;	/* of the next ones, at once */
static struct redis_access access_to = { .reply_max = 1 << 20 };

enum redis_failure __wrap_redis_server_call(struct redis_server *s, struct redis_call *c, unsigned count,
					    const struct span *w);
void __wrap_redis_call_cancel(struct redis_call *c);
const struct redis_access *__wrap_redis_server_access(const struct redis_server *s);

enum redis_failure __wrap_redis_server_call(struct redis_server *s, struct redis_call *c, unsigned count,
					    const struct span *w)
{
	ask_count++;
	if (refusal)
		return refusal;
	assert_true(count <= WORDS);
	for (unsigned i = 0; i < count; i++) {
		assert_true(w[i].len < sizeof(words[i]));
		memcpy(words[i], w[i].ptr, w[i].len);
		words[i][w[i].len] = '\0';
	}
	word_count = count;
	asked = c;
	return REDIS_CALL_FINE;
}

void __wrap_redis_call_cancel(struct redis_call *c)
{
	assert_ptr_equal(c, asked);
	asked = NULL;
}

const struct redis_access *__wrap_redis_server_access(const struct redis_server *s)
{
	return &access_to;
}

/* In the server's own protocol. */
static void answer(const char *text)
{
	redisReader *reader = redisReaderCreate();
	struct redis_call *call = asked;
	void *reply = NULL;

	assert_non_null(call);
	asked = NULL;
	redisReaderFeed(reader, text, strlen(text));
	assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
	assert_non_null(reply);
	call->on_reply(call, reply);
	freeReplyObject(reply);
	redisReaderFree(reader);
}

/* The asker ---------------------------------------------------------------------------------------------------- */

static struct store_engine *engine;
static struct store_ask ask;
static unsigned told_count;	/* ends of questions */
static struct store_result result;
static char told[4096];		/* a value, or the items of a page */

static void on_changed(struct store_ask *a, const struct store_result *r)
{
	told_count++;
	result = *r;
}

static void on_value(struct store_ask *a, int err, const struct store_value *v)
{
	char etag[STORE_ETAG_SIZE];

	told_count++;
	assert_true((err == 0) == (v != NULL));
	if (err)
		snprintf(told, sizeof(told), "%d", err);
	else
		snprintf(told, sizeof(told), "%.*s %lld %.*s %.*s", SPAN_ARG(store_etag_print(&v->version, etag)),
			 (long long)v->modified_s, SPAN_ARG(v->type), SPAN_ARG(v->content));
}

static bool on_item(struct store_ask *a, struct span name, const struct store_value *v)
{
	char etag[STORE_ETAG_SIZE];
	size_t len = strlen(told);

	if (v)
		snprintf(told + len, sizeof(told) - len, "%.*s=%.*s,%lld,%zu,%.*s;", SPAN_ARG(name),
			 SPAN_ARG(store_etag_print(&v->version, etag)), (long long)v->modified_s, v->content.len,
			 SPAN_ARG(v->type));
	else
		snprintf(told + len, sizeof(told) - len, "%.*s;", SPAN_ARG(name));
	return strcmp(told, "stop/;") != 0;
}

static void on_listed(struct store_ask *a, int err, bool has_more)
{
	size_t len = strlen(told);

	told_count++;
	snprintf(told + len, sizeof(told) - len, "%d%s", err, has_more ? " more" : "");
}

static int set_up(void **state)
{
	struct store_redis_options opt = { .name = "s", .prefix = "p:", .server = (struct redis_server *)&access_to };

	ask = (struct store_ask){
		.on_changed = on_changed, .on_value = on_value, .on_item = on_item, .on_listed = on_listed
	};
	asked = NULL;
	ask_count = told_count = word_count = 0;
	refusal = REDIS_CALL_FINE;
	told[0] = '\0';
	return store_redis_new(&opt, &engine);
}

static int tear_down(void **state)
{
	engine->ops->free(engine);
	return 0;
}

static struct store_change change_of(enum store_change_kind kind)
{
	return (struct store_change){ .kind = kind, .key = SPAN("c/a"), .type = SPAN("text/plain") };
}

static void begin_change(const struct store_change *c, const char *content)
{
	struct store_change with = *c;

	with.content = span_str(content);
	told_count = 0;
	result.outcome = STORE_OUTCOME_COUNT;
	engine->ops->change(engine, &ask, &with, content ? strdup(content) : NULL);
}

/* Changes ------------------------------------------------------------------------------------------------------ */

static void assert_words(const char *const *wanted, unsigned count)
{
	assert_int_equal(word_count, count);
	for (unsigned i = 0; i < count; i++)
		if (wanted[i])
			assert_string_equal(words[i], wanted[i]);
}

static void store_redis__asks_for_a_change_in_one_script(void **state)
{
	const char *wanted[] = { "EVALSHA", store_script_change.sha, "3", "p:names", "p:r:c/a", "p:serial", "put",
				 "c/a", "-", "-", "-", NULL, "text/plain", "content" };
	struct store_change c = change_of(STORE_PUT);

	begin_change(&c, "content");
	assert_words(wanted, ARRAY_LEN(wanted));
	assert_int_equal(strspn(words[11], "0123456789abcdef"), 8);
	answer("*3\r\n$7\r\ncreated\r\n$11\r\n1f-0badcafe\r\n$10\r\n1700000000\r\n");
	assert_int_equal(told_count, 1);
	assert_int_equal(result.outcome, STORE_CREATED);
	assert_int_equal(result.version.serial, 0x1f);
	assert_int_equal(result.version.random, 0x0badcafe);
	assert_int_equal(result.modified_s, 1700000000);
	assert_null(ask.pending);
}

static void store_redis__hands_conditions_over_as_tags(void **state)
{
	static const struct {
		const char *given, *if_match, *if_none_match;
	} cases[] = {
		{ "*", "*", "*" },
		{ "\"1-00000001\"", "\"1-00000001\"", "\"1-00000001\"" },
		{ "W/\"a\" , \"b\",,W/\"c\",\t\"d,e\"", "\"b\"\"d,e\"", "\"a\"\"b\"\"c\"\"d,e\"" },
		{ "*, \"a\"", "", "" },
		{ "\"a\", b, \"c\"", "\"a\"", "\"a\"" },
		{ "", "", "" },
		{ "\"unfinished", "", "" },
	};
	struct store_change c = change_of(STORE_DELETE);

	c.type = span_of("", 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		c.conditions = (struct change_conditions){
			.has_if_match = true, .if_match = span_str(cases[i].given), .has_if_none_match = true,
			.if_none_match = span_str(cases[i].given), .has_unmodified_since = i % 2, .unmodified_since_s = -7,
		};
		begin_change(&c, NULL);
		assert_string_equal(words[6], "delete");
		assert_string_equal(words[8], cases[i].if_match);
		assert_string_equal(words[9], cases[i].if_none_match);
		assert_string_equal(words[10], i % 2 ? "-7" : "-");
		assert_string_equal(words[13], "");
		answer("*1\r\n$7\r\ndeleted\r\n");
		assert_int_equal(result.outcome, STORE_DELETED);
	}
}

/* A server that was restarted: that is the one answer after which a change is sent again, and once. */
static void store_redis__sends_the_script_where_it_is_unknown(void **state)
{
	struct store_change c = change_of(STORE_CREATE);
	char random[16];

	begin_change(&c, "content");
	memcpy(random, words[11], sizeof(random));
	answer("-NOSCRIPT No matching script. Please use EVAL.\r\n");
	assert_int_equal(told_count, 0);
	assert_int_equal(ask_count, 2);
	assert_string_equal(words[0], "EVAL");
	assert_string_equal(words[1], store_script_change.text);
	assert_string_equal(words[4], "p:r:c/a");
	assert_string_equal(words[11], random);
	assert_string_equal(words[13], "content");
	answer("-NOSCRIPT No matching script. Please use EVAL.\r\n");
	assert_int_equal(told_count, 1);
	assert_int_equal(ask_count, 2);
	assert_int_equal(result.outcome, STORE_FAILED);
	/* It may be gone by then. */
	begin_change(&c, "content");
	refusal = REDIS_CALL_DOWN;
	answer("-NOSCRIPT No matching script. Please use EVAL.\r\n");
	assert_int_equal(result.outcome, STORE_DOWN);
	assert_int_equal(told_count, 1);
}

static void store_redis__says_what_became_of_a_change(void **state)
{
	static const struct {
		const char *answer;
		enum store_outcome outcome;
	} cases[] = {
		{ "*3\r\n$8\r\nreplaced\r\n$10\r\n2-00000001\r\n$1\r\n5\r\n", STORE_REPLACED },
		{ "*1\r\n$7\r\nmissing\r\n", STORE_MISSING },
		{ "*1\r\n$5\r\ntaken\r\n", STORE_TAKEN },
		{ "*1\r\n$8\r\nmismatch\r\n", STORE_MISMATCH },
		{ "-OOM command not allowed when used memory > 'maxmemory'.\r\n", STORE_FULL },
		{ "-READONLY You can't write against a read only replica.\r\n", STORE_DOWN },
		{ "-LOADING Redis is loading the dataset in memory\r\n", STORE_DOWN },
		{ "-BUSY Redis is busy running a script.\r\n", STORE_DOWN },
		{ "-NOREPLICAS Not enough good replicas to write.\r\n", STORE_DOWN },
		{ "-MISCONF Redis is configured to save\r\n", STORE_DOWN },
		{ "-WRONGTYPE Operation against a key\r\n", STORE_FAILED },
		{ "-NOPERM this user has no permissions\r\n", STORE_FAILED },
		{ "-MOVED 1 127.0.0.1:1\r\n", STORE_FAILED },
		{ "+OK\r\n", STORE_FAILED },
		{ ":1\r\n", STORE_FAILED },
		{ "$-1\r\n", STORE_FAILED },
		{ "*0\r\n", STORE_FAILED },
		{ "*-1\r\n", STORE_FAILED },
		{ "*1\r\n:1\r\n", STORE_FAILED },
		{ "*1\r\n$5\r\nother\r\n", STORE_FAILED },
		{ "*1\r\n$7\r\ncreated\r\n", STORE_FAILED },
		{ "*3\r\n$7\r\ncreated\r\n$10\r\n2-00000001\r\n:5\r\n", STORE_FAILED },
		{ "*3\r\n$7\r\ncreated\r\n$9\r\n2-0000001\r\n$1\r\n5\r\n", STORE_FAILED },
		{ "*3\r\n$7\r\ncreated\r\n$9\r\n-00000001\r\n$1\r\n5\r\n", STORE_FAILED },
		{ "*3\r\n$7\r\ncreated\r\n$12\r\n2-00000001-1\r\n$1\r\n5\r\n", STORE_FAILED },
		{ "*3\r\n$7\r\ncreated\r\n$10\r\n2-00000001\r\n$2\r\n-5\r\n", STORE_FAILED },
	};
	struct store_change c = change_of(STORE_PUT);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		begin_change(&c, "x");
		answer(cases[i].answer);
		assert_int_equal(told_count, 1);
		if (result.outcome != cases[i].outcome)
			fail_msg("case %zu: outcome %d", i, (int)result.outcome);
	}
}

static void store_redis__says_what_is_known_without_an_answer(void **state)
{
	static const struct {
		enum redis_failure why;
		enum store_outcome outcome;
		const char *value;
		bool is_later;		/* not at once */
	} cases[] = {
		{ REDIS_CALL_DOWN, STORE_DOWN, "-112", false },	      { REDIS_CALL_FULL, STORE_DOWN, "-112", false },
		{ REDIS_CALL_MEMORY, STORE_DOWN, "-112", false },     { REDIS_CALL_DOWN, STORE_DOWN, "-112", true },
		{ REDIS_CALL_LOST, STORE_LOST, "-112", true },	      { REDIS_CALL_TIMEOUT, STORE_TIMEOUT, "-110", true },
		{ REDIS_CALL_TOO_LARGE, STORE_LOST, "-90", true },
	};
	struct store_change c = change_of(STORE_PUT);

	_Static_assert(EHOSTDOWN == 112 && ETIMEDOUT == 110 && EMSGSIZE == 90, "as in the table");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		refusal = cases[i].is_later ? REDIS_CALL_FINE : cases[i].why;
		begin_change(&c, "x");
		if (cases[i].is_later)
			asked->on_failed(asked, cases[i].why);
		assert_int_equal(told_count, 1);
		assert_int_equal(result.outcome, cases[i].outcome);
		engine->ops->get(engine, &ask, SPAN("a"));
		if (cases[i].is_later)
			asked->on_failed(asked, cases[i].why);
		assert_string_equal(told, cases[i].value);
		told[0] = '\0';
		engine->ops->list(engine, &ask, SPAN(""), SPAN(""), 1);
		if (cases[i].is_later)
			asked->on_failed(asked, cases[i].why);
		assert_string_equal(told, cases[i].value);
		assert_int_equal(told_count, 3);
		assert_null(ask.pending);
	}
}

/* Reading ------------------------------------------------------------------------------------------------------ */

#define VALUE(etag_len, etag, modified, type_len, type) \
	"*4\r\n$" etag_len "\r\n" etag "\r\n" modified "\r\n$" type_len "\r\n" type "\r\n$1\r\nx\r\n"

static void store_redis__reads_a_value(void **state)
{
	static const struct {
		const char *answer, *told;
	} cases[] = {
		{ VALUE("10", "a-0000000b", "$2\r\n17", "3", "t/x"), "\"a-0000000b\" 17 t/x x" },
		{ "*4\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n", "-2" },
		{ "-LOADING Redis is loading\r\n", "-112" },
		{ "-NOPERM no\r\n", "-5" },
		{ "-NOSCRIPT no\r\n", "-5" },
		{ "*4\r\n$10\r\na-0000000b\r\n$2\r\n17\r\n$3\r\nt/x\r\n$-1\r\n", "-5" },
		{ "*3\r\n$10\r\na-0000000b\r\n$2\r\n17\r\n$3\r\nt/x\r\n", "-5" },
		{ VALUE("1", "a", "$2\r\n17", "3", "t/x"), "-5" },
		{ VALUE("10", "a-0000000g", "$2\r\n17", "3", "t/x"), "-5" },
		{ VALUE("26", "11112222333344445-0000000b", "$2\r\n17", "3", "t/x"), "-5" },
		{ VALUE("10", "a-0000000b", ":17", "3", "t/x"), "-5" },
		{ VALUE("10", "a-0000000b", "$2\r\nab", "3", "t/x"), "-5" },
		{ VALUE("10", "a-0000000b", "$2\r\n17", "0", ""), "-5" },
		{ VALUE("10", "a-0000000b", "$2\r\n17", "3", "t\r\n"), "-5" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		engine->ops->get(engine, &ask, SPAN("c/a"));
		assert_int_equal(word_count, 6);
		assert_string_equal(words[0], "HMGET");
		assert_string_equal(words[1], "p:r:c/a");
		answer(cases[i].answer);
		if (strcmp(told, cases[i].told) != 0)
			fail_msg("case %zu: %s", i, told);
		assert_int_equal(told_count, i + 1);
	}
}

static void store_redis__reads_a_page(void **state)
{
	static const struct {
		const char *answer, *told;
	} cases[] = {
		{ "*2\r\n:0\r\n*0\r\n", "0" },
		{ "*2\r\n:1\r\n*4\r\n$1\r\na\r\n$19\r\n1-00000001 17 3 t/x\r\n$2\r\nb/\r\n$0\r\n\r\n",
		  "a=\"1-00000001\",17,3,t/x;b/;0 more" },
		{ "*2\r\n:0\r\n*4\r\n$4\r\nstop\r\n$0\r\n\r\n$2\r\nb/\r\n$0\r\n\r\n", "-5" },
		{ "*2\r\n:0\r\n*4\r\n$5\r\nstop/\r\n$0\r\n\r\n$1\r\nb\r\n$0\r\n\r\n", "stop/;0 more" },
		{ "*2\r\n:0\r\n*4\r\n$2\r\na/\r\n$0\r\n\r\n$1\r\nb\r\n$0\r\n\r\n", "a/;-5" },
		{ "*2\r\n:0\r\n*1\r\n$1\r\na\r\n", "-5" },
		{ "*2\r\n:0\r\n*2\r\n$1\r\na\r\n:1\r\n", "-5" },
		{ "*2\r\n:0\r\n*2\r\n$3\r\na/b\r\n$19\r\n1-00000001 17 3 t/x\r\n", "-5" },
		{ "*2\r\n:0\r\n*2\r\n$2\r\na\n\r\n$19\r\n1-00000001 17 3 t/x\r\n", "-5" },
		{ "*2\r\n:0\r\n*2\r\n$0\r\n\r\n$19\r\n1-00000001 17 3 t/x\r\n", "-5" },
		{ "*2\r\n:0\r\n*2\r\n$1\r\na\r\n$15\r\n1-00000001 17 3\r\n", "-5" },
		{ "*2\r\n:0\r\n*2\r\n$1\r\na\r\n$17\r\n1-00000001 17 t/x\r\n", "-5" },
		{ "*2\r\n*0\r\n:0\r\n", "-5" },
		{ "*0\r\n", "-5" },
		{ "-BUSY Redis is busy running a script.\r\n", "-112" },
		{ "-ERR something\r\n", "-5" },
	};
	const char *wanted[] = { "EVALSHA", store_script_list.sha, "1", "p:names", "p:r:", "c/", "n", "7", "262144" };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		told[0] = '\0';
		engine->ops->list(engine, &ask, SPAN("c/"), SPAN("n"), 7);
		assert_words(wanted, ARRAY_LEN(wanted));
		answer(cases[i].answer);
		if (strcmp(told, cases[i].told) != 0)
			fail_msg("case %zu: %s", i, told);
	}
	access_to.reply_max = 3072;
	told[0] = '\0';
	engine->ops->list(engine, &ask, SPAN(""), SPAN(""), 7);
	assert_string_equal(words[8], "1024");
	answer("-NOSCRIPT no\r\n");
	assert_string_equal(words[1], store_script_list.text);
	answer("*2\r\n:0\r\n*0\r\n");
	assert_string_equal(told, "0");
	access_to.reply_max = 1 << 20;
}

static void store_redis__forgets_a_question(void **state)
{
	struct store_change c = change_of(STORE_PUT);

	engine->ops->forget(engine, &ask);
	begin_change(&c, "x");
	engine->ops->forget(engine, &ask);
	assert_null(asked);
	assert_null(ask.pending);
	assert_int_equal(told_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(store_redis__asks_for_a_change_in_one_script, set_up, tear_down),
		cmocka_unit_test_setup_teardown(store_redis__hands_conditions_over_as_tags, set_up, tear_down),
		cmocka_unit_test_setup_teardown(store_redis__sends_the_script_where_it_is_unknown, set_up, tear_down),
		cmocka_unit_test_setup_teardown(store_redis__says_what_became_of_a_change, set_up, tear_down),
		cmocka_unit_test_setup_teardown(store_redis__says_what_is_known_without_an_answer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(store_redis__reads_a_value, set_up, tear_down),
		cmocka_unit_test_setup_teardown(store_redis__reads_a_page, set_up, tear_down),
		cmocka_unit_test_setup_teardown(store_redis__forgets_a_question, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
