/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: any bytes as the value of a field, for every parser of values.  Beyond not
 * crashing: elements of a list lie in the list, in order, trimmed and not empty; a date that is
 * read prints as a date that reads the same; a number that is read prints as its digits; ranges lie
 * in the file; a coding that is chosen was there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/encoding.h"
#include "app/range.h"
#include "base/buf.h"
#include "base/err.h"
#include "http/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_list(struct span value)
{
	const char *behind = value.ptr;
	struct span list = value, item;

	while (span_next_item(&list, &item)) {
		BUG_ON(item.len == 0 || item.ptr < behind);
		BUG_ON(span_trim(item).len != item.len);
		behind = item.ptr + item.len;
		BUG_ON(behind > list.ptr || list.ptr + list.len != value.ptr + value.len);
		BUG_ON(!memchr(item.ptr, '"', item.len) && memchr(item.ptr, ',', item.len));
		BUG_ON(!span_list_has(value, item));
	}
	BUG_ON(list.len);
}

static void check_number(struct span value)
{
	char digits[32];
	uint64_t number;
	struct buf b;

	if (span_to_u64(value, &number) != 0)
		return;
	while (value.len > 1 && *value.ptr == '0')
		value = span_of(value.ptr + 1, value.len - 1);
	buf_init(&b, digits, sizeof(digits));
	buf_add_u64(&b, number);
	BUG_ON(!span_eq(buf_span(&b), value));
}

static void check_date(struct span value)
{
	int64_t seconds, again;
	char text[HTTP_DATE_LEN];

	if (http_date_parse(value, &seconds) != 0)
		return;
	http_date_print(seconds, text);
	BUG_ON(http_date_parse(span_of(text, sizeof(text)), &again) != 0);
	BUG_ON(again != seconds);
}

static void check_ranges(struct span value, uint64_t size)
{
	static struct range_set set;
	enum range_result result = range_parse(value, size, &set);

	if (result != RANGE_PARTIAL)
		return;
	BUG_ON(set.count == 0 || set.count > RANGE_MAX);
	for (unsigned i = 0; i < set.count; i++) {
		BUG_ON(set.ranges[i].len == 0 || set.ranges[i].first >= size);
		BUG_ON(set.ranges[i].len > size - set.ranges[i].first);
	}
}

/* The memo is asked twice, so that the second answer comes from it. */
static void check_encodings(struct span value)
{
	static struct encoding_memo memo;

	for (unsigned available = 0; available < 1u << ENCODING_FILE_COUNT; available++) {
		struct encoding_weights weights;
		enum encoding chosen;

		encoding_parse(value, &weights);
		chosen = encoding_choose(&weights, available);
		BUG_ON(chosen != ENCODING_IDENTITY && !(available >> chosen & 1));
		BUG_ON(encoding_choose_for(&memo, value, available) != chosen);
		BUG_ON(encoding_choose_for(&memo, value, available) != chosen);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t sizes[] = {0, 1, 100, 1ull << 40, UINT64_MAX};
	/* Of exactly its size, so that one byte too far is seen; the fuzzer's own block may be
	 * longer. */
	char *copy = malloc(MAX(size, 1u));
	struct span value = span_of(copy, size);

	BUG_ON(!copy);
	memcpy(copy, data, size);
	check_list(value);
	check_number(value);
	check_date(value);
	check_encodings(value);
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++)
		check_ranges(value, sizes[i]);
	free(copy);
	return 0;
}
