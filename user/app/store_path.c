/* SPDX-License-Identifier: MIT */
/* Keys, pages and new names; see store_path.h. */
#include "app/store_path.h"

#include "app/escape.h"
#include "base/err.h"
#include "base/random.h"
#include "base/utf8.h"

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

bool store_is_name(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (is_control(text.ptr[i]))
			return false;
	return utf8_is_valid(text);
}

bool store_is_type(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] < 0x20 || text.ptr[i] > 0x7e)
			return false;
	return text.len > 0 && text.len <= STORE_TYPE_MAX;
}

int store_key(struct span path, size_t prefix_len, struct span *ret_key)
{
	struct span key = span_of(path.ptr + prefix_len, path.len - prefix_len);

	if (key.len > STORE_KEY_MAX)
		return -ENAMETOOLONG;
	*ret_key = key;
	return store_is_name(key) ? 0 : -EINVAL;
}

/* Pages -------------------------------------------------------------------------------------------------------- */

/* '+' is itself: names are escaped as segments of a path, not as forms are. */
static int decode(struct span raw, struct buf *to)
{
	for (size_t i = 0; i < raw.len; i++) {
		int high, low;

		if (raw.ptr[i] != '%') {
			buf_add_char(to, raw.ptr[i]);
			continue;
		}
		if (raw.len - i < 3)
			return -EINVAL;
		high = hex_value(raw.ptr[i + 1]);
		low = hex_value(raw.ptr[i + 2]);
		if (high < 0 || low < 0)
			return -EINVAL;
		buf_add_char(to, (char)(high << 4 | low));
		i += 2;
	}
	return to->is_truncated ? -EINVAL : 0;
}

static int parse_after(struct span raw, struct store_page *page)
{
	struct buf b;
	const char *slash;
	int err;

	buf_init(&b, page->memory, STORE_KEY_MAX);
	err = decode(raw, &b);
	page->after = buf_span(&b);
	if (err || !store_is_name(page->after))
		return -EINVAL;
	/* A name is one segment; that of a collection has the slash at its end. */
	slash = page->after.len ? memchr(page->after.ptr, '/', page->after.len) : NULL;
	return slash && (slash == page->after.ptr || slash != page->after.ptr + page->after.len - 1) ? -EINVAL : 0;
}

static int parse_limit(struct span text, struct store_page *page)
{
	uint64_t limit;

	if (span_to_u64(text, &limit) || limit < 1 || limit > STORE_LIMIT_MAX)
		return -EINVAL;
	page->limit = (unsigned)limit;
	return 0;
}

/* Takes the part up to the next '&'. */
static struct span take_part(struct span *query)
{
	const char *end = memchr(query->ptr, '&', query->len);
	size_t len = end ? (size_t)(end - query->ptr) : query->len;
	struct span part = span_of(query->ptr, len);

	*query = span_of(query->ptr + len + (end != NULL), query->len - len - (end != NULL));
	return part;
}

int store_page_parse(struct span query, struct store_page *ret_page)
{
	int err = 0;

	ret_page->after = span_of(ret_page->memory, 0);
	ret_page->limit = STORE_LIMIT_USUAL;
	while (query.len && !err) {
		struct span part = take_part(&query);

		if (span_starts_with(part, SPAN("after=")))
			err = parse_after(span_of(part.ptr + 6, part.len - 6), ret_page);
		else if (span_starts_with(part, SPAN("limit=")))
			err = parse_limit(span_of(part.ptr + 6, part.len - 6), ret_page);
	}
	return err;
}

void store_page_print(struct buf *b, struct span after, unsigned limit)
{
	buf_add_lit(b, "after=");
	escape_segment(b, after);
	buf_add_lit(b, "&limit=");
	buf_add_u64(b, limit);
}

/* New names ---------------------------------------------------------------------------------------------------- */

#define TIME_LEN 10 /* characters of the time: 48 bits, with two zeros in front */

/* Digits before letters, so that texts sort as the numbers do; without i, l, o and u, which people mix up. */
static void print_base32(uint64_t bits, unsigned len, char *out)
{
	static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

	while (len > 0) {
		out[--len] = digits[bits & 31];
		bits >>= 5;
	}
}

int store_name_make(bool is_timed, uint64_t now_ms, char out[STORE_NAME_LEN])
{
	static uint64_t last_ms, last_high;
	uint64_t bits[3];
	int err = random_fill(bits, sizeof(bits));

	if (err)
		return err;
	if (!is_timed) {
		print_base32(bits[2], TIME_LEN, out);
	} else if (now_ms > last_ms) {
		last_ms = now_ms;
		/* With room to count up. */
		last_high = bits[0] & ((UINT64_C(1) << 39) - 1);
		bits[0] = last_high;
	} else {
		/* The same ms, or a clock that was put back. */
		bits[0] = ++last_high;
	}
	if (is_timed)
		print_base32(last_ms & ((UINT64_C(1) << 48) - 1), TIME_LEN, out);
	print_base32(bits[0], 8, out + TIME_LEN);
	print_base32(bits[1], 8, out + TIME_LEN + 8);
	return 0;
}
