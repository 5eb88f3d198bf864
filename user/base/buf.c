/* SPDX-License-Identifier: MIT */
/* Bounded writer; see buf.h. */
#include "base/buf.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/put.h"

void buf_add_u64(struct buf *b, uint64_t value)
{
	size_t len = put_u64_len(value);

	if (len > buf_room(b) || b->is_truncated) {
		b->is_truncated = true;
		return;
	}
	put_u64_of(b->ptr + b->len, value, len);
	b->len += len;
}

void buf_add_hex(struct buf *b, uint64_t value)
{
	char digits[16];
	size_t at = sizeof(digits);

	do {
		digits[--at] = "0123456789abcdef"[value & 15];
		value >>= 4;
	} while (value);
	buf_add(b, digits + at, sizeof(digits) - at);
}

/* Eight digits at once: each half byte to a byte of its own, the first digit lowest, then to its letter. */
static uint64_t hex8(uint32_t value)
{
	const uint64_t ones = 0x0101010101010101u;
	uint64_t x = value, is_letter;

	x = (x << 32 | x >> 16) & 0x0000ffff0000ffffu;
	x = (x << 16 | x >> 8) & 0x00ff00ff00ff00ffu;
	x = (x << 8 | x >> 4) & 0x0f0f0f0f0f0f0f0fu;
	is_letter = (x + 6 * ones) >> 4 & ones;
	return htole64(x + '0' * ones + is_letter * ('a' - '0' - 10));
}

void buf_add_hex16(struct buf *b, uint64_t value)
{
	uint64_t digits[2] = { hex8((uint32_t)(value >> 32)), hex8((uint32_t)value) };

	buf_add(b, digits, sizeof(digits));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	size_t room = buf_room(b);
	char spare;
	va_list ap;
	int len;

	if (b->is_truncated)
		return;
	va_start(ap, fmt);
	len = room ? vsnprintf(b->ptr + b->len, room, fmt, ap) : vsnprintf(&spare, 1, fmt, ap);
	va_end(ap);
	/* vsnprintf ends with a NUL, which takes a byte: a text that fits exactly counts as
	 * truncated. */
	if (len < 0 || (size_t)len >= room)
		b->is_truncated = len != 0;
	else
		b->len += (size_t)len;
}
