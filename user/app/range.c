/* SPDX-License-Identifier: MIT */
/*
 * Range sets.  Ranges behind the end are dropped; overlapping ones are served as asked as long as
 * they do not add up to more than the representation, so that no request makes us send more than a
 * plain GET (CVE-2011-3192).
 */
#include "app/range.h"

#include "base/err.h"

struct cursor {
	const char *at;
	const char *end;
};

static void skip_blank(struct cursor *c)
{
	while (c->at < c->end && (*c->at == ' ' || *c->at == '\t'))
		c->at++;
}

static bool take(struct cursor *c, char wanted)
{
	if (c->at == c->end || *c->at != wanted)
		return false;
	c->at++;
	return true;
}

/* Digits; a number too big for 64 bits is as good as the biggest.  False when there is no digit. */
static bool take_number(struct cursor *c, uint64_t *ret_number)
{
	const char *start = c->at;
	uint64_t n = 0;

	for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
		uint64_t digit = (uint64_t)(*c->at - '0');

		n = n > (UINT64_MAX - digit) / 10 ? UINT64_MAX : n * 10 + digit;
	}
	*ret_number = n;
	return c->at > start;
}

/* One range-spec.  False: malformed.  *ret holds len 0 when it lies outside of the representation.
 */
static bool take_range(struct cursor *c, uint64_t size, struct byte_range *ret)
{
	uint64_t first, last;

	if (take(c, '-')) {
		if (!take_number(c, &last))
			return false;
		ret->len = MIN(last, size);
		ret->first = size - ret->len;
		return true;
	}
	if (!take_number(c, &first) || !take(c, '-'))
		return false;
	if (!take_number(c, &last))
		last = UINT64_MAX;
	else if (last < first)
		return false;
	ret->first = first;
	ret->len = first < size ? MIN(last, size - 1) - first + 1 : 0;
	return true;
}

static enum range_result parse_set(struct cursor *c, uint64_t size, struct range_set *set)
{
	uint64_t left = size;
	unsigned seen = 0;

	for (;;) {
		struct byte_range r;

		skip_blank(c);
		if (c->at == c->end)
			break;
		if (take(c, ',')) /* RFC 9110 5.6.1.2: empty elements are legal */
			continue;
		if (!take_range(c, size, &r))
			return RANGE_IGNORE;
		skip_blank(c);
		if ((c->at < c->end && *c->at != ',') || ++seen > RANGE_MAX || r.len > left)
			return RANGE_IGNORE;
		left -= r.len;
		if (r.len)
			set->ranges[set->count++] = r;
	}
	if (!seen)
		return RANGE_IGNORE;
	return set->count ? RANGE_PARTIAL : RANGE_UNSATISFIABLE;
}

enum range_result range_parse(struct span value, uint64_t size, struct range_set *ret_set)
{
	struct cursor c = {value.ptr, value.ptr + value.len};

	ret_set->count = 0;
	/* Clients that send "bytes=0-" with everything would get a 416 for every empty file. */
	if (value.len < 6 || !span_ieq(span_of(value.ptr, 6), SPAN("bytes=")) || size == 0)
		return RANGE_IGNORE;
	c.at += 6;
	return parse_set(&c, size, ret_set);
}
