/* SPDX-License-Identifier: MIT */
/* Replies in every form.  They are read from the protocol's text, by hiredis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "app/redis_route_render.h"
#include "base/err.h"

#define TEXT(literal) SPAN(literal)

static redisReply *read_reply(struct span text)
{
	redisReader *reader = redisReaderCreate();
	void *reply = NULL;

	assert_non_null(reader);
	assert_int_equal(redisReaderFeed(reader, text.ptr, text.len), REDIS_OK);
	assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
	assert_non_null(reply);
	redisReaderFree(reader);
	return reply;
}

static void check(struct span text, enum redis_format format, const char *command, unsigned status, struct span wanted)
{
	redisReply *r = read_reply(text);
	struct redis_text t = { 0 };

	redis_render(&t, format, span_str(command), r);
	assert_false(t.has_failed);
	if (!span_eq(span_of(t.ptr, t.len), wanted))
		fail_msg("%.*s, not %.*s", (int)t.len, t.ptr, (int)wanted.len, wanted.ptr);
	assert_int_equal(redis_status_of(r, format), status);
	free(t.ptr);
	freeReplyObject(r);
}

static void redis_render__json(void **state)
{
	static const struct {
		struct span reply;
		const char *command;
		unsigned status;
		struct span json;
	} cases[] = {
		{ TEXT("$2\r\nhi\r\n"), "GET", 200, TEXT("{\"GET\":\"hi\"}") },
		{ TEXT("$0\r\n\r\n"), "get", 200, TEXT("{\"get\":\"\"}") },
		{ TEXT("$-1\r\n"), "GET", 200, TEXT("{\"GET\":null}") },
		{ TEXT(":-7\r\n"), "INCR", 200, TEXT("{\"INCR\":-7}") },
		{ TEXT(":-9223372036854775808\r\n"), "X", 200, TEXT("{\"X\":-9223372036854775808}") },
		{ TEXT("+OK\r\n"), "SET", 200, TEXT("{\"SET\":[true,\"OK\"]}") },
		{ TEXT("-ERR no\r\n"), "SET", 400, TEXT("{\"SET\":[false,\"ERR no\"]}") },
		{ TEXT("*0\r\n"), "KEYS", 200, TEXT("{\"KEYS\":[]}") },
		{ TEXT("*-1\r\n"), "EXEC", 200, TEXT("{\"EXEC\":null}") },
		{ TEXT("*3\r\n:1\r\n*2\r\n$1\r\na\r\n*0\r\n-ERR x\r\n"), "EVAL", 200,
		  TEXT("{\"EVAL\":[1,[\"a\",[]],[false,\"ERR x\"]]}") },
		{ TEXT("*4\r\n$1\r\nf\r\n$1\r\n1\r\n$1\r\ng\r\n$1\r\n2\r\n"), "hgetall", 200,
		  TEXT("{\"hgetall\":{\"f\":\"1\",\"g\":\"2\"}}") },
		{ TEXT("*2\r\n$1\r\n\xff\r\n$1\r\n1\r\n"), "HGETALL", 200, TEXT("{\"HGETALL\":[{\"base64\":\"/w==\"},\"1\"]}") },
		{ TEXT("*1\r\n$1\r\nf\r\n"), "HGETALL", 200, TEXT("{\"HGETALL\":[\"f\"]}") },
		{ TEXT("$9\r\n\"\\/\n\r\t\x01\x7f\x1f\r\n"), "GET", 200, TEXT("{\"GET\":\"\\\"\\\\/\\n\\r\\t\\u0001\\u007f\\u001f\"}") },
		{ TEXT("$1\r\n\0\r\n"), "GET", 200, TEXT("{\"GET\":\"\\u0000\"}") },
		{ TEXT("$4\r\n\xf0\x9f\x98\x80\r\n"), "GET", 200, TEXT("{\"GET\":\"\xf0\x9f\x98\x80\"}") },
		{ TEXT("$2\r\n\xc3(\r\n"), "GET", 200, TEXT("{\"GET\":{\"base64\":\"wyg=\"}}") },
		{ TEXT("$3\r\n\xed\xa0\x80\r\n"), "GET", 200, TEXT("{\"GET\":{\"base64\":\"7aCA\"}}") },
		{ TEXT("$4\r\nabc\xff\r\n"), "GET", 200, TEXT("{\"GET\":{\"base64\":\"YWJj/w==\"}}") },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		check(cases[i].reply, REDIS_JSON, cases[i].command, cases[i].status, cases[i].json);
}

static void redis_render__other_forms(void **state)
{
	check(TEXT("$3\r\na\0b\r\n"), REDIS_RAW, "GET", 200, TEXT("$3\r\na\0b\r\n"));
	check(TEXT("*3\r\n:1\r\n*1\r\n$-1\r\n+OK\r\n"), REDIS_RAW, "X", 200, TEXT("*3\r\n:1\r\n*1\r\n$-1\r\n+OK\r\n"));
	check(TEXT("-ERR x\r\n"), REDIS_RAW, "X", 400, TEXT("-ERR x\r\n"));
	check(TEXT("$-1\r\n"), REDIS_RAW, "GET", 200, TEXT("$-1\r\n"));
	check(TEXT("$3\r\na\0b\r\n"), REDIS_BINARY, "GET", 200, TEXT("a\0b"));
	check(TEXT("*1\r\n:1\r\n"), REDIS_BINARY, "X", 406, TEXT("1"));
	check(TEXT("$-1\r\n"), REDIS_BINARY, "GET", 404, TEXT(""));
	check(TEXT("$-1\r\n"), REDIS_TEXT, "GET", 404, TEXT(""));
	check(TEXT(":5\r\n"), REDIS_TEXT, "X", 200, TEXT("5"));
	check(TEXT("*3\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n+OK\r\n"), REDIS_TEXT, "X", 200, TEXT("a\n1\n\nOK"));
}

static void redis_render__errors_have_their_status(void **state)
{
	static const struct {
		const char *text;
		unsigned status;
	} cases[] = {
		{ "-WRONGTYPE Operation\r\n", 400 }, { "-NOPERM no\r\n", 403 },	  { "-NOAUTH no\r\n", 502 },
		{ "-LOADING yes\r\n", 503 },	     { "-OOM command\r\n", 503 }, { "-READONLY You\r\n", 503 },
		{ "-MOVED 1 a:1\r\n", 502 },	     { "-BUSYKEY x\r\n", 400 },	  { "-BUSY x\r\n", 503 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		redisReply *r = read_reply(span_str(cases[i].text));

		assert_int_equal(redis_status_of(r, REDIS_JSON), cases[i].status);
		assert_int_equal(redis_status_of(r, REDIS_TEXT), cases[i].status);
		freeReplyObject(r);
	}
}

static void check_message(const struct redis_message *m, size_t prefix_len, const char *json)
{
	struct redis_text text = { 0 };

	redis_render_message(&text, m, prefix_len);
	assert_false(text.has_failed);
	assert_true(span_eq(span_of(text.ptr, text.len), span_str(json)));
	free(text.ptr);
}

static void redis_render__messages_of_channels(void **state)
{
	struct redis_message m = { .channel = SPAN("app:a\"b"), .payload = SPAN("x\n") };

	check_message(&m, 0, "{\"SUBSCRIBE\":[\"message\",\"app:a\\\"b\",\"x\\n\"]}");
	check_message(&m, 4, "{\"SUBSCRIBE\":[\"message\",\"a\\\"b\",\"x\\n\"]}");
	/* No more than there is, whatever a server says. */
	check_message(&m, 99, "{\"SUBSCRIBE\":[\"message\",\"\",\"x\\n\"]}");
	m.pattern = SPAN("app:*");
	m.payload = SPAN("\xff");
	check_message(&m, 4, "{\"PSUBSCRIBE\":[\"pmessage\",\"*\",\"a\\\"b\",{\"base64\":\"/w==\"}]}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(redis_render__json),
		cmocka_unit_test(redis_render__other_forms),
		cmocka_unit_test(redis_render__errors_have_their_status),
		cmocka_unit_test(redis_render__messages_of_channels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
