/* SPDX-License-Identifier: MIT */
/*
 * A bounded writer over memory that somebody else owns.  An append that does not fit sets
 * `is_truncated` and changes nothing else, and so does every append after it: a chain needs one
 * check at its end, and what it left is a prefix.
 */
#ifndef SLUICE_BASE_BUF_H
#define SLUICE_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/span.h"

struct buf {
	char *ptr;
	size_t len;
	size_t cap;
	bool is_truncated;
};

static inline void buf_init(struct buf *b, char *memory, size_t cap)
{
	*b = (struct buf){.ptr = memory, .cap = cap};
}

static inline size_t buf_room(const struct buf *b)
{
	return b->cap - b->len;
}

static inline void buf_add(struct buf *b, const void *data, size_t len)
{
	if (len > buf_room(b) || b->is_truncated) {
		b->is_truncated = true;
		return;
	}
	if (len)
		memcpy(b->ptr + b->len, data, len);
	b->len += len;
}

static inline void buf_add_span(struct buf *b, struct span s)
{
	buf_add(b, s.ptr, s.len);
}

static inline void buf_add_char(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

#define buf_add_lit(b, literal) buf_add((b), "" literal, sizeof(literal) - 1)

/* Decimal. */
void buf_add_u64(struct buf *b, uint64_t value);
/* Lower-case hexadecimal without leading zeros. */
void buf_add_hex(struct buf *b, uint64_t value);
/* All 16 digits: an id with its zeros left out would be another one. */
void buf_add_hex16(struct buf *b, uint64_t value);
/* Needs one byte more than the text, for a NUL that does not count. */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline struct span buf_span(const struct buf *b)
{
	return span_of(b->ptr, b->len);
}

#endif
