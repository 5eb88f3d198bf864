/* SPDX-License-Identifier: MIT */
/* The Range field (RFC 9110 14.1.2, 14.2), as a pure function. */
#ifndef SLUICE_APP_RANGE_H
#define SLUICE_APP_RANGE_H

#include <stdint.h>

#include "base/span.h"

/* More ranges than this in one request are no use of a person's: the field is ignored. */
#define RANGE_MAX 32

struct byte_range {
	uint64_t first; /* offset of the first byte */
	uint64_t len;	/* never 0 */
};

struct range_set {
	unsigned count;
	struct byte_range
		ranges[RANGE_MAX]; /* in the order asked for, which RFC 9110 14.2 lets stand */
};

enum range_result {
	RANGE_IGNORE,  /* another unit, malformed, too many, or more than the whole: answer 200 */
	RANGE_PARTIAL, /* `set` holds at least one range: 206 */
	RANGE_UNSATISFIABLE, /* 416 */
};

/* `size`: bytes of the selected representation; an empty one is answered whole whatever was asked.
 */
enum range_result range_parse(struct span value, uint64_t size, struct range_set *ret_set);

#endif
