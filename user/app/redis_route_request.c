/* SPDX-License-Identifier: MIT */
/* Words of a command; see redis_route_request.h. */
#include "app/redis_route_request.h"

#include "base/err.h"

static const struct {
	struct span extension, type;
	enum redis_format format;
} formats[] = {
	{ SPAN(".json"), SPAN("application/json"), REDIS_JSON },
	{ SPAN(".raw"), SPAN(""), REDIS_RAW },
	{ SPAN(".txt"), SPAN("text/plain"), REDIS_TEXT },
	{ SPAN(".bin"), SPAN("application/octet-stream"), REDIS_BINARY },
};

/* To the end of the memory.  False: not decodable, or no room. */
static bool decode(struct redis_words *w, struct span raw, struct span *ret_word)
{
	char *start = w->memory + w->used, *to = start;

	if (raw.len > sizeof(w->memory) - w->used)
		return false;
	for (size_t i = 0; i < raw.len; i++) {
		int high, low;

		if (raw.ptr[i] != '%') {
			*to++ = raw.ptr[i];
			continue;
		}
		if (raw.len - i < 3)
			return false;
		high = hex_value(raw.ptr[i + 1]);
		low = hex_value(raw.ptr[i + 2]);
		if (high < 0 || low < 0)
			return false;
		*to++ = (char)(high << 4 | low);
		i += 2;
	}
	*ret_word = span_of(start, (size_t)(to - start));
	return true;
}

static bool is_dots(struct span s)
{
	return span_eq(s, SPAN(".")) || span_eq(s, SPAN(".."));
}

/* Up to the next slash, which goes too; false behind the last segment. */
static bool next_segment(struct span *rest, struct span *ret_segment)
{
	const char *slash;

	if (!rest->ptr)
		return false;
	slash = memchr(rest->ptr, '/', rest->len);
	if (!slash) {
		*ret_segment = *rest;
		*rest = span_of(NULL, 0);
		return true;
	}
	*ret_segment = span_of(rest->ptr, (size_t)(slash - rest->ptr));
	*rest = span_of(slash + 1, rest->len - ret_segment->len - 1);
	return true;
}

static bool next_full_segment(struct span *rest, struct span *ret_segment)
{
	while (next_segment(rest, ret_segment))
		if (ret_segment->len)
			return true;
	return false;
}

/* The route was found by the decoded path; here each segment has to be that of the prefix by itself. */
static bool skip_prefix(struct redis_words *w, struct span *rest, struct span prefix)
{
	struct span wanted, raw, word;

	while (next_full_segment(&prefix, &wanted)) {
		if (!next_full_segment(rest, &raw) || !decode(w, raw, &word) || !span_eq(word, wanted))
			return false;
	}
	return true;
}

static void take_extension(struct redis_words *w)
{
	struct span *last = &w->items[w->count - 1];

	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		if (!span_ends_with(*last, formats[i].extension))
			continue;
		last->len -= formats[i].extension.len;
		w->format = formats[i].format;
		w->has_format = true;
		return;
	}
}

/* `too_much`: the status for that.  Empty segments in front of the name are none; behind it they are empty words. */
static unsigned take_words(struct redis_words *w, struct span rest, unsigned too_much, bool allows_dots)
{
	struct span raw, word;

	while (next_segment(&rest, &raw)) {
		if (w->count == 0 && raw.len == 0)
			continue;
		if (raw.len > sizeof(w->memory) - w->used)
			return too_much;
		if (!decode(w, raw, &word) || (is_dots(word) && !allows_dots))
			return 400;
		if (!redis_words_add(w, word))
			return too_much;
		w->used += word.len;
	}
	if (w->count)
		take_extension(w);
	return 0;
}

void redis_words_clear(struct redis_words *w)
{
	w->count = 0;
	w->used = 0;
	w->format = REDIS_JSON;
	w->has_format = false;
}

unsigned redis_words_of_path(struct redis_words *w, struct span raw_path, struct span prefix)
{
	redis_words_clear(w);
	if (!skip_prefix(w, &raw_path, prefix))
		return 400;
	return take_words(w, raw_path, 414, false);
}

unsigned redis_words_of_body(struct redis_words *w, struct span body)
{
	redis_words_clear(w);
	return take_words(w, body, 413, true);
}

bool redis_words_add(struct redis_words *w, struct span word)
{
	if (w->count >= REDIS_WORDS_MAX)
		return false;
	w->items[w->count++] = word;
	return true;
}

bool redis_words_prefix(struct redis_words *w, const struct redis_keys *keys, struct span prefix)
{
	for (unsigned i = keys->first; i && i <= keys->last && i < w->count; i += keys->step) {
		struct span *word = &w->items[i];
		char *at = w->memory + w->used;

		if (prefix.len + word->len > sizeof(w->memory) - w->used)
			return false;
		memcpy(at, prefix.ptr, prefix.len);
		if (word->len)
			memcpy(at + prefix.len, word->ptr, word->len);
		*word = span_of(at, prefix.len + word->len);
		w->used += word->len;
	}
	return true;
}

bool redis_is_name(struct span name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    c != '.' && c != '_' && c != '-')
			return false;
	}
	return name.len > 0 && name.len < REDIS_NAME_MAX;
}

enum redis_format redis_format_of(const struct redis_words *w, struct span accept)
{
	struct span item;

	if (w->has_format)
		return w->format;
	/* The first one that is known: nobody weighs JSON against text by quality values. */
	while (accept.ptr && span_next_item(&accept, &item)) {
		const char *end = memchr(item.ptr, ';', item.len);
		struct span type = span_trim(span_of(item.ptr, end ? (size_t)(end - item.ptr) : item.len));

		for (size_t i = 0; i < ARRAY_LEN(formats); i++)
			if (formats[i].type.len && span_ieq(type, formats[i].type))
				return formats[i].format;
	}
	return REDIS_JSON;
}
