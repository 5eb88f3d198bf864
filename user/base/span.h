/* SPDX-License-Identifier: MIT */
/*
 * A borrowed run of bytes: pointer and length, never owned, not terminated by NUL.
 * Whoever hands one out says how long the bytes stay.
 */
#ifndef SLUICE_BASE_SPAN_H
#define SLUICE_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
	const char *ptr;
	size_t len;
};

#define SPAN(literal) ((struct span){"" literal, sizeof(literal) - 1})
/* For printf: "%.*s", SPAN_ARG(s). */
#define SPAN_ARG(s) (int)(s).len, (s).ptr

static inline struct span span_of(const char *ptr, size_t len)
{
	return (struct span){ptr, len};
}

static inline struct span span_str(const char *str)
{
	return (struct span){str, str ? strlen(str) : 0};
}

static inline bool span_eq(struct span a, struct span b)
{
	/* By the length of `b`: where that is a literal, so is the length, and no call is left. */
	return a.len == b.len && (b.len == 0 || memcmp(a.ptr, b.ptr, b.len) == 0);
}

/* ASCII case-insensitive equality; bytes above 0x7f compare as they are (RFC 9110 5.1). */
bool span_ieq(struct span a, struct span b);

bool span_starts_with(struct span s, struct span prefix);
bool span_ends_with(struct span s, struct span suffix);

/* Strips SP and HTAB from both ends (OWS, RFC 9110 5.6.3). */
struct span span_trim(struct span s);

/*
 * Takes the next element off a comma-separated list (RFC 9110 5.6.1): *list moves past it,
 * *ret_item is trimmed. Empty elements are skipped.  Commas within quoted strings do not split.
 * False when nothing is left.
 */
bool span_next_item(struct span *list, struct span *ret_item);

/* Does a comma-separated list hold this token, ASCII case-insensitively? */
bool span_list_has(struct span list, struct span token);

/*
 * Decimal digits only, the whole span, no sign and no white space.
 * 0, or -EINVAL (empty or another character), or -ERANGE (does not fit 64 bits).
 */
int span_to_u64(struct span s, uint64_t *ret_value);

/* Of a hexadecimal digit, in either case; -1: it is none. */
static inline int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#endif
