/* SPDX-License-Identifier: MIT */
/* Comparing, trimming and splitting borrowed bytes.  Nothing here allocates or reads past the end
 * of a span. */
#include "base/span.h"

#include <errno.h>

#define EACH_BYTE(b) (0x0101010101010101ull * (b))

static uint64_t load8(const char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

/* Eight bytes at once: bit 7 of each sum tells whether the low seven bits reach the bound. */
static uint64_t lower8(uint64_t word)
{
	uint64_t low = word & EACH_BYTE(0x7f);
	uint64_t from_a = low + EACH_BYTE(0x80 - 'A');
	uint64_t past_z = low + EACH_BYTE(0x7f - 'Z');
	uint64_t is_upper = (from_a ^ past_z) & ~word & EACH_BYTE(0x80);

	return word | is_upper >> 2;
}

static unsigned char lower(char c)
{
	unsigned char u = (unsigned char)c;

	return u >= 'A' && u <= 'Z' ? u | 0x20 : u;
}

bool span_ieq(struct span a, struct span b)
{
	size_t i = 0;

	if (a.len != b.len)
		return false;
	for (; a.len - i >= 8; i += 8)
		if (lower8(load8(a.ptr + i)) != lower8(load8(b.ptr + i)))
			return false;
	for (; i < a.len; i++)
		if (lower(a.ptr[i]) != lower(b.ptr[i]))
			return false;
	return true;
}

bool span_starts_with(struct span s, struct span prefix)
{
	return s.len >= prefix.len && span_eq(span_of(s.ptr, prefix.len), prefix);
}

bool span_ends_with(struct span s, struct span suffix)
{
	if (s.len < suffix.len || suffix.len == 0)
		return suffix.len == 0;
	return memcmp(s.ptr + (s.len - suffix.len), suffix.ptr, suffix.len) == 0;
}

static bool is_ows(char c)
{
	return c == ' ' || c == '\t';
}

struct span span_trim(struct span s)
{
	while (s.len && is_ows(s.ptr[s.len - 1]))
		s.len--;
	while (s.len && is_ows(*s.ptr)) {
		s.ptr++;
		s.len--;
	}
	return s;
}

/* Index behind the quoted string that opens at `i`; the end of the span when it is never closed. */
static size_t skip_quoted(struct span s, size_t i)
{
	for (i++; i < s.len; i++) {
		if (s.ptr[i] == '"')
			return i + 1;
		if (s.ptr[i] == '\\')
			i++;
	}
	return s.len;
}

/* Length of the first element, trimmed or not, without its comma. */
static size_t item_len(struct span s)
{
	const char *comma = memchr(s.ptr, ',', s.len);
	size_t i = 0;

	if (!memchr(s.ptr, '"', comma ? (size_t)(comma - s.ptr) : s.len))
		return comma ? (size_t)(comma - s.ptr) : s.len;
	while (i < s.len && s.ptr[i] != ',') {
		if (s.ptr[i] == '"')
			i = skip_quoted(s, i);
		else
			i++;
	}
	return i;
}

bool span_next_item(struct span *list, struct span *ret_item)
{
	while (list->len) {
		size_t len = item_len(*list);
		size_t skip = len < list->len ? len + 1 : len;

		*ret_item = span_trim(span_of(list->ptr, len));
		*list = span_of(list->ptr + skip, list->len - skip);
		if (ret_item->len)
			return true;
	}
	return false;
}

bool span_list_has(struct span list, struct span token)
{
	struct span item;

	while (span_next_item(&list, &item))
		if (span_ieq(item, token))
			return true;
	return false;
}

int span_to_u64(struct span s, uint64_t *ret_value)
{
	uint64_t value = 0;
	bool is_over = false;

	if (!s.len)
		return -EINVAL;
	for (size_t i = 0; i < s.len; i++) {
		unsigned digit = (unsigned char)s.ptr[i] - (unsigned)'0';

		if (digit > 9)
			return -EINVAL;
		is_over |= __builtin_mul_overflow(value, 10, &value);
		is_over |= __builtin_add_overflow(value, digit, &value);
	}
	if (is_over)
		return -ERANGE;
	*ret_value = value;
	return 0;
}
