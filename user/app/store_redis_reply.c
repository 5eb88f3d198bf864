/* SPDX-License-Identifier: MIT */
/* Replies taken apart; see store_redis_reply.h. */
#include "app/store_redis_reply.h"

#include "base/err.h"

#define VALUE_PARTS 4u	/* etag, modified, type, content */

static bool is_text(const redisReply *r)
{
	return r->type == REDIS_REPLY_STRING;
}

static bool is_list(const redisReply *r, size_t count)
{
	return r->type == REDIS_REPLY_ARRAY && r->elements == count;
}

/* "SERIAL-RANDOM" in hexadecimal, as the script makes it. */
static bool parse_version(struct span text, struct store_version *ret_version)
{
	uint64_t parts[2] = { 0, 0 };
	unsigned digits[2] = { 0, 0 }, part = 0;

	for (size_t i = 0; i < text.len; i++) {
		int digit = hex_value(text.ptr[i]);

		if (text.ptr[i] == '-' && part == 0) {
			part = 1;
			continue;
		}
		if (digit < 0 || ++digits[part] > 16)
			return false;
		parts[part] = parts[part] << 4 | (uint64_t)digit;
	}
	*ret_version = (struct store_version){ parts[0], (uint32_t)parts[1] };
	return digits[0] > 0 && digits[1] == 8;
}

static bool parse_time(struct span text, int64_t *ret_seconds)
{
	uint64_t value;

	if (span_to_u64(text, &value) || value > INT64_MAX)
		return false;
	*ret_seconds = (int64_t)value;
	return true;
}

int store_redis_parse_value(const redisReply *r, struct store_value *ret_value)
{
	if (!is_list(r, VALUE_PARTS))
		return -EBADMSG;
	if (r->element[0]->type == REDIS_REPLY_NIL)
		return -ENOENT;
	for (unsigned i = 0; i < VALUE_PARTS; i++)
		if (!is_text(r->element[i]))
			return -EBADMSG;
	ret_value->type = store_redis_text(r->element[2]);
	ret_value->content = store_redis_text(r->element[3]);
	if (!parse_version(store_redis_text(r->element[0]), &ret_value->version) ||
	    !parse_time(store_redis_text(r->element[1]), &ret_value->modified_s) || !store_is_type(ret_value->type))
		return -EBADMSG;
	return 0;
}

/* Pages -------------------------------------------------------------------------------------------------------- */

/* Takes what is before the next space. */
static struct span take_word(struct span *text)
{
	const char *space = text->len ? memchr(text->ptr, ' ', text->len) : NULL;
	struct span word = span_of(text->ptr, space ? (size_t)(space - text->ptr) : text->len);
	size_t taken = word.len + (space != NULL);

	*text = span_of(text->ptr + taken, text->len - taken);
	return word;
}

/* "ETAG MODIFIED SIZE TYPE" */
static bool parse_about(struct span text, struct store_value *ret_value)
{
	struct span etag = take_word(&text), modified = take_word(&text), size = take_word(&text);
	uint64_t len;

	if (!parse_version(etag, &ret_value->version) || !parse_time(modified, &ret_value->modified_s) ||
	    span_to_u64(size, &len) || !store_is_type(text))
		return false;
	ret_value->type = text;
	ret_value->content = span_of(NULL, len);
	return true;
}

bool store_redis_parse_page(const redisReply *r, size_t *ret_count, bool *ret_has_more)
{
	if (!is_list(r, 2) || r->element[0]->type != REDIS_REPLY_INTEGER || r->element[1]->type != REDIS_REPLY_ARRAY ||
	    r->element[1]->elements % 2)
		return false;
	*ret_count = r->element[1]->elements / 2;
	*ret_has_more = r->element[0]->integer != 0;
	return true;
}

/* One segment: of a collection with the slash at its end. */
static bool is_segment(struct span name, bool is_collection)
{
	const char *slash = name.len ? memchr(name.ptr, '/', name.len) : NULL;

	if (name.len == 0 || name.len > STORE_KEY_MAX || !store_is_name(name))
		return false;
	return is_collection ? slash == name.ptr + name.len - 1 : !slash;
}

bool store_redis_parse_item(const redisReply *r, size_t index, struct span *ret_name, bool *ret_is_collection,
			    struct store_value *ret_value)
{
	const redisReply *name = r->element[1]->element[2 * index], *about = r->element[1]->element[2 * index + 1];

	if (!is_text(name) || !is_text(about))
		return false;
	*ret_name = store_redis_text(name);
	*ret_is_collection = about->len == 0;
	return is_segment(*ret_name, *ret_is_collection) &&
	       (*ret_is_collection || parse_about(store_redis_text(about), ret_value));
}

/* Results ------------------------------------------------------------------------------------------------------ */

static bool parse_done(const redisReply *r, struct store_result *ret_result)
{
	return is_list(r, 3) && is_text(r->element[1]) && is_text(r->element[2]) &&
	       parse_version(store_redis_text(r->element[1]), &ret_result->version) &&
	       parse_time(store_redis_text(r->element[2]), &ret_result->modified_s);
}

bool store_redis_parse_result(const redisReply *r, struct store_result *ret_result)
{
	static const struct {
		struct span word;
		enum store_outcome outcome;
	} known[] = {
		{ SPAN("created"), STORE_CREATED },   { SPAN("replaced"), STORE_REPLACED },
		{ SPAN("deleted"), STORE_DELETED },   { SPAN("missing"), STORE_MISSING },
		{ SPAN("mismatch"), STORE_MISMATCH }, { SPAN("taken"), STORE_TAKEN },
	};

	if (r->type != REDIS_REPLY_ARRAY || r->elements == 0 || !is_text(r->element[0]))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (!span_eq(store_redis_text(r->element[0]), known[i].word))
			continue;
		ret_result->outcome = known[i].outcome;
		return known[i].outcome > STORE_REPLACED || parse_done(r, ret_result);
	}
	return false;
}
