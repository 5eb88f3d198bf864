/* SPDX-License-Identifier: MIT */
/* Bounded writer; see buf.h. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

void buf_add_u64(struct buf *b, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	buf_add(b, digits + at, sizeof(digits) - at);
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
