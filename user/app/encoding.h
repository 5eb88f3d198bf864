/* SPDX-License-Identifier: MIT */
/* Choice among precompressed representations by Accept-Encoding (RFC 9110 12.5.3), as a pure
 * function. */
#ifndef SLUICE_APP_ENCODING_H
#define SLUICE_APP_ENCODING_H

#include <stdint.h>

#include "base/span.h"

/* Best first: at equal weight brotli packs text tightest. */
enum encoding {
	ENCODING_BR,
	ENCODING_ZSTD,
	ENCODING_GZIP,
	ENCODING_IDENTITY,
};
#define ENCODING_FILE_COUNT ENCODING_IDENTITY /* codings that come as a sibling file */

/* "br", "zstd", "gzip" */
struct span encoding_name(enum encoding e);
/* ".br", ".zst", ".gz" */
struct span encoding_suffix(enum encoding e);

/* What one Accept-Encoding field says, in thousandths; -1 for a coding it does not name. */
struct encoding_weights {
	int16_t of[ENCODING_IDENTITY + 1];
	int16_t star;
};

void encoding_parse(struct span accept, struct encoding_weights *ret_weights);

/*
 * The best of the codings in `available` (bit 1 << coding).  Identity that nobody named is less
 * wanted than anything named.  Where nothing is acceptable identity is sent, as RFC 9110 12.1
 * allows: more use than a 406.
 */
enum encoding encoding_choose(const struct encoding_weights *w, unsigned available);

/*
 * Browsers send a handful of values over and over, and parsing one costs twice as much as
 * everything else that a cached file needs: the values seen last are remembered, by their length.
 */
#define ENCODING_MEMO_SLOTS 8
#define ENCODING_MEMO_TEXT  55 /* bytes; longer values are parsed each time */

struct encoding_memo {
	struct {
		uint8_t len; /* 0: empty */
		char text[ENCODING_MEMO_TEXT];
		struct encoding_weights weights;
	} slots[ENCODING_MEMO_SLOTS];
};

/* encoding_parse and encoding_choose in one; `accept` with ptr NULL: no field, which means
 * identity. */
enum encoding encoding_choose_for(struct encoding_memo *m, struct span accept, unsigned available);

#endif
