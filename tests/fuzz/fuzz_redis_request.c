/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: any bytes as a path below a route's prefix, as content that is a command, and as what a Redis server
 * answers.  Beyond not crashing: words lie in the memory they were given, and written as a path again they read the same;
 * the prefix is in front of every key and of nothing else; JSON of a reply is JSON, as jansson reads it.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/redis_route_render.h"
#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct redis_words words, again;

static size_t write_word(char *to, struct span word)
{
	size_t len = 1;

	to[0] = '/';
	for (size_t i = 0; i < word.len; i++)
		len += (size_t)snprintf(to + len, 4, "%%%02X", (unsigned char)word.ptr[i]);
	return len;
}

static void check_words(void)
{
	static char text[4 * sizeof(words.memory) + REDIS_WORDS_MAX + 8];
	size_t len = 0;

	BUG_ON(words.count > REDIS_WORDS_MAX || words.used > sizeof(words.memory));
	for (unsigned i = 0; i < words.count; i++) {
		BUG_ON(words.items[i].ptr < words.memory);
		BUG_ON(words.items[i].ptr + words.items[i].len > words.memory + sizeof(words.memory));
		len += write_word(text + len, words.items[i]);
	}
	if (words.count == 0 || words.items[0].len == 0)
		return;
	memcpy(text + len, ".raw", 5);
	/* Content may hold what a path may not, and is bounded in the same way. */
	BUG_ON(redis_words_of_body(&again, span_of(text, len + 4)) != 0);
	BUG_ON(again.count != words.count || again.format != REDIS_RAW);
	for (unsigned i = 0; i < words.count; i++)
		BUG_ON(!span_eq(words.items[i], again.items[i]));
}

static void check_prefix(uint8_t first, uint8_t step)
{
	struct redis_keys keys = { first % 4, 20, 1 + step % 3 };
	struct span prefix = SPAN("p:");

	again = words;
	if (!redis_words_prefix(&again, &keys, prefix))
		return;
	for (unsigned i = 0; i < words.count; i++) {
		bool is_key = keys.first && i >= keys.first && i <= keys.last && (i - keys.first) % keys.step == 0;
		struct span word = again.items[i];

		if (is_key) {
			BUG_ON(!span_starts_with(word, prefix));
			word = span_of(word.ptr + prefix.len, word.len - prefix.len);
		}
		BUG_ON(word.len != words.items[i].len);
		/* What was in the static memory of `words` was copied with it, so its bytes are compared by place. */
		BUG_ON(word.len && memcmp(word.ptr, words.items[i].ptr, word.len) != 0);
	}
}

static void check_reply(const char *text, size_t size)
{
	redisReader *reader = redisReaderCreate();
	struct redis_text t = { 0 };
	void *reply = NULL;

	BUG_ON(!reader || redisReaderFeed(reader, text, size) != REDIS_OK);
	if (redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
		struct redis_commands *commands = redis_commands_new(reply);
		json_error_t error;
		json_t *json;

		for (enum redis_format format = REDIS_RAW; format <= REDIS_BINARY; format++)
			redis_render(&t, format, SPAN("HGETALL"), reply);
		t.len = 0;
		redis_render(&t, REDIS_JSON, SPAN("HGETALL"), reply);
		json = json_loadb(t.ptr, t.len, JSON_ALLOW_NUL, &error);
		/* RFC 8259 has no such limit: jansson does. */
		BUG_ON(t.has_failed || (!json && !strstr(error.text, "NUL byte in object key")));
		json_decref(json);
		redis_commands_free(commands);
		freeReplyObject(reply);
	}
	free(t.ptr);
	redisReaderFree(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const prefixes[] = { "/", "/r", "/r/s/", "/a b" };
	uint8_t first = size ? data[0] : 0, second = size > 1 ? data[1] : 0;
	char *copy;

	if (size < 2)
		return 0;
	size -= 2;
	/* Of exactly its size, so that one byte too far is seen. */
	copy = malloc(MAX(size, 1u));
	BUG_ON(!copy);
	memcpy(copy, data + 2, size);
	if (redis_words_of_path(&words, span_of(copy, size), span_str(prefixes[first % ARRAY_LEN(prefixes)])) == 0) {
		check_words();
		check_prefix(first, second);
	}
	if (redis_words_of_body(&words, span_of(copy, size)) == 0) {
		check_words();
		check_prefix(first, second);
	}
	redis_format_of(&words, span_of(copy, size));
	if (words.count)
		redis_waits_by_argument(words.count, words.items);
	check_reply(copy, size);
	free(copy);
	return 0;
}
