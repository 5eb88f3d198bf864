/* SPDX-License-Identifier: MIT */
/*
 * An unchecked writer, for texts that every request needs (reply heads, lines of the access log): the caller has made
 * room for the longest text that can come, once, and each function returns where the next byte goes.  Where no such bound
 * is known at a glance, buf.h is the writer to take.
 */
#ifndef SLUICE_BASE_PUT_H
#define SLUICE_BASE_PUT_H

#include <stdint.h>
#include <string.h>

#include "base/span.h"

/* Characters of the longest number. */
#define PUT_U64_MAX 20

/* "000102" ... "99": two digits a step, and half the divisions. */
extern const char put_pairs[];

static inline char *put(char *at, const void *data, size_t len)
{
	memcpy(at, data, len);
	return at + len;
}

static inline char *put_span(char *at, struct span s)
{
	return s.len ? put(at, s.ptr, s.len) : at;
}

static inline char *put_char(char *at, char c)
{
	*at = c;
	return at + 1;
}

#define put_lit(at, literal) put((at), "" literal, sizeof(literal) - 1)

/* Exactly two digits, of a number below 100. */
static inline char *put_pair(char *at, unsigned value)
{
	return put(at, put_pairs + 2 * value, 2);
}

/* Digits of a number, 1 to PUT_U64_MAX. */
size_t put_u64_len(uint64_t value);
/* Decimal, of a number of that many digits. */
char *put_u64_of(char *at, uint64_t value, size_t len);

/* Up to two digits. */
static inline char *put_small(char *at, unsigned value)
{
	return value < 10 ? put_char(at, (char)('0' + value)) : put_pair(at, value);
}

/* Decimal.  Up to four digits, as most numbers have, without a loop. */
static inline char *put_u64(char *at, uint64_t value)
{
	if (value < 100)
		return put_small(at, (unsigned)value);
	if (value < 10000)
		return put_pair(put_small(at, (unsigned)value / 100), (unsigned)value % 100);
	return put_u64_of(at, value, put_u64_len(value));
}

#endif
