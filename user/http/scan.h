/* SPDX-License-Identifier: MIT */
/*
 * Byte classes of HTTP/1 heads and loops that skip a run of one class: 16 bytes a step where the
 * processor has SSE2 (every x86-64), by table elsewhere and for the last bytes; scan_quick_*() take
 * 32 in functions of SCAN_WIDE.  Nothing is read at or past `end`. The one place of the parser with
 * #if: everything else is written against these functions.
 */
#ifndef SLUICE_HTTP_SCAN_H
#define SLUICE_HTTP_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <immintrin.h>
#endif

enum {
	CLASS_TOKEN = 1 << 0,  /* tchar, RFC 9110 5.6.2 */
	CLASS_TARGET = 1 << 1, /* 0x21-0x7e but '#': a fragment is never sent (RFC 9112 3.2) */
	CLASS_VALUE = 1 << 2,  /* SP, HTAB, VCHAR and obs-text, RFC 9110 5.5 */
	CLASS_HEX = 1 << 3,
	CLASS_HOST = 1 << 4,  /* unreserved and sub-delims of RFC 3986 but ',' */
	CLASS_PLAIN = 1 << 5, /* nothing to do in a path: all but '%', '/' and '?' */
};

extern const uint8_t byte_class[256];

static inline const char *scan_class(const char *p, const char *end, uint8_t class)
{
	while (p < end && (byte_class[(uint8_t)*p] & class))
		p++;
	return p;
}

#ifdef __SSE2__
/* Bits of the bytes that may not stand in a value, and of HTAB, which is rare: the table knows. */
static inline unsigned scan_bad_value(__m128i v)
{
	__m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
	__m128i del = _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f));

	return (unsigned)_mm_movemask_epi8(_mm_or_si128(control, del));
}

static inline unsigned scan_bad_target(__m128i v)
{
	__m128i low = _mm_cmplt_epi8(v, _mm_set1_epi8(0x21)); /* signed: obs-text too */
	__m128i other = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f)),
				     _mm_cmpeq_epi8(v, _mm_set1_epi8('#')));

	return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, other));
}

/* 0xffff: letters and '-' only, of which nearly every field name is made. */
static inline unsigned scan_quick_name_mask(__m128i v)
{
	/* Shifted so that 'a' to 'z' become the 26 least signed values: one comparison. */
	__m128i letter = _mm_add_epi8(_mm_or_si128(v, _mm_set1_epi8(0x20)),
				      _mm_set1_epi8((char)(0x80 - 'a')));
	__m128i good = _mm_or_si128(_mm_cmplt_epi8(letter, _mm_set1_epi8(-128 + 26)),
				    _mm_cmpeq_epi8(v, _mm_set1_epi8('-')));

	return (unsigned)_mm_movemask_epi8(good);
}

/* 0xffff: printable ASCII only. */
static inline unsigned scan_quick_text_mask(__m128i v)
{
	/* Signed, and 0x7f has become the least: neither it nor obs-text is above SP. */
	__m128i good = _mm_cmpgt_epi8(_mm_add_epi8(v, _mm_set1_epi8(1)), _mm_set1_epi8(0x20));

	return (unsigned)_mm_movemask_epi8(good);
}

/* 0xffff: letters, digits, '-' and '.' only. */
static inline unsigned scan_quick_host_mask(__m128i v)
{
	/* From '-' to '9' there is one more, '/'. */
	__m128i number = _mm_add_epi8(v, _mm_set1_epi8((char)(0x80 - '-')));
	__m128i good = _mm_andnot_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('/')),
					_mm_cmplt_epi8(number, _mm_set1_epi8(-128 + '9' - '-' + 1)));

	return (unsigned)_mm_movemask_epi8(good) | scan_quick_name_mask(v);
}

/* All but letters and '-'; the table knows the rest. */
static inline unsigned scan_bad_name(__m128i v)
{
	return scan_quick_name_mask(v) ^ 0xffff;
}

/* All but printable ASCII that a line of a log takes as it is: not '"', not '\\'. */
static inline __m128i scan_not_plain(__m128i v)
{
	/* One more wraps DEL round to the least signed value: with the controls and obs-text in one comparison. */
	__m128i other = _mm_cmplt_epi8(_mm_add_epi8(v, _mm_set1_epi8(1)), _mm_set1_epi8(0x21));

	return _mm_or_si128(other, _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
						_mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));
}

static inline unsigned scan_bad_plain(__m128i v)
{
	return (unsigned)_mm_movemask_epi8(scan_not_plain(v));
}

/* 4 to 15 bytes: the first and the last ones, overlapping; twice where one half holds them all. */
static inline __m128i scan_load_short(const char *p, size_t len)
{
	uint32_t first, last;
	uint64_t low, high;

	if (len >= 8) {
		memcpy(&low, p, sizeof(low));
		memcpy(&high, p + len - sizeof(high), sizeof(high));
		return _mm_set_epi64x((long long)high, (long long)low);
	}
	memcpy(&first, p, sizeof(first));
	memcpy(&last, p + len - sizeof(last), sizeof(last));
	return _mm_set1_epi64x((long long)((uint64_t)last << 32 | first));
}

/* Returns where the byte stands that usually ends such a run; at others the table has a second look. */
#define SCAN_STEPS(p, end, bad_bytes, stop)                                                        \
	while ((end) - (p) >= 16) {                                                                \
		unsigned bad = bad_bytes(_mm_loadu_si128((const __m128i *)(p)));                   \
                                                                                                   \
		if (bad) {                                                                         \
			(p) += __builtin_ctz(bad);                                                 \
			if (*(p) == (stop))                                                        \
				return (p);                                                        \
			break;                                                                     \
		}                                                                                  \
		(p) += 16;                                                                         \
	}

static inline uint32_t scan_name_16(const char *p)
{
	return scan_quick_name_mask(_mm_loadu_si128((const __m128i *)p));
}

static inline uint32_t scan_text_16(const char *p)
{
	return scan_quick_text_mask(_mm_loadu_si128((const __m128i *)p));
}

/* Twice as wide, the same; in the compiler's own operators, for these let equal constants share a register. */
#define SCAN_WIDE __attribute__((target("avx2")))
typedef uint8_t scan_bytes __attribute__((vector_size(32)));
typedef int8_t scan_signed __attribute__((vector_size(32)));

static inline SCAN_WIDE uint32_t scan_name_32(const char *p)
{
	scan_bytes v = (scan_bytes)_mm256_loadu_si256((const __m256i *)p);
	scan_signed letter = (scan_signed)((v | 0x20) + (uint8_t)(0x80 - 'a'));
	scan_signed good = (letter < -128 + 26) | (v == '-');

	return (uint32_t)_mm256_movemask_epi8((__m256i)good);
}

static inline SCAN_WIDE uint32_t scan_text_32(const char *p)
{
	scan_bytes v = (scan_bytes)_mm256_loadu_si256((const __m256i *)p);
	scan_signed good = (scan_signed)(v + 1) > 0x20;

	return (uint32_t)_mm256_movemask_epi8((__m256i)good);
}

/* The last step goes back to where there are enough bytes. */
static inline __attribute__((always_inline)) const char *scan_quick(const char *p, const char *end, int width,
								    uint32_t (*mask_at)(const char *))
{
	const uint32_t all = UINT32_MAX >> (32 - width);
	uint32_t mask;

	for (; p <= end - width; p += width) {
		mask = mask_at(p);
		if (mask != all)
			return p + __builtin_ctz(~mask);
	}
	if (p >= end)
		return NULL;
	mask = (mask_at(end - width) ^ all) >> (width - (end - p));
	return mask ? p + __builtin_ctz(mask) : NULL;
}
#else
#define SCAN_STEPS(p, end, bad_bytes, stop)
#endif

/* First byte that is not of the class, or `end`. */
static inline const char *scan_value(const char *p, const char *end)
{
	SCAN_STEPS(p, end, scan_bad_value, '\r');
	return scan_class(p, end, CLASS_VALUE);
}

#ifdef __SSE2__
/* Copies 16 bytes; those that are not plain are set in what is returned. */
static inline __m128i scan_copy_step(char *to, const char *p)
{
	__m128i v = _mm_loadu_si128((const __m128i *)p);

	_mm_storeu_si128((__m128i *)to, v);
	return scan_not_plain(v);
}

/* The counterpart of scan_load_short. */
static inline void scan_store_short(char *to, __m128i v, size_t len)
{
	uint64_t low = (uint64_t)_mm_cvtsi128_si64(v), high = (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(v, v));

	if (len >= 8) {
		memcpy(to, &low, sizeof(low));
		memcpy(to + len - sizeof(high), &high, sizeof(high));
	} else {
		uint32_t first = (uint32_t)low, last = (uint32_t)(low >> 32);

		memcpy(to, &first, sizeof(first));
		memcpy(to + len - sizeof(last), &last, sizeof(last));
	}
}
#endif

/*
 * Copies a text that is usually plain as a whole.  False: it is not, and the copy is void.  Steps overlap at the end, so
 * that no byte is looked at alone from 4 on, and none behind the text is read or written.
 */
static inline bool scan_copy_plain(char *to, const char *p, size_t len)
{
#ifdef __SSE2__
	if (len >= 16) {
		__m128i bad = scan_copy_step(to + len - 16, p + len - 16);

		for (size_t i = 0; i + 16 < len; i += 16)
			bad = _mm_or_si128(bad, scan_copy_step(to + i, p + i));
		return !_mm_movemask_epi8(bad);
	}
	if (len >= 4) {
		__m128i v = scan_load_short(p, len);

		scan_store_short(to, v, len);
		return !scan_bad_plain(v);
	}
#endif
	for (size_t i = 0; i < len; i++) {
		if (p[i] < 0x20 || p[i] >= 0x7f || p[i] == '"' || p[i] == '\\')
			return false;
		to[i] = p[i];
	}
	return true;
}

static inline const char *scan_plain(const char *p, const char *end)
{
	SCAN_STEPS(p, end, scan_bad_plain, '"');
	while (p < end && *p >= 0x20 && *p < 0x7f && *p != '"' && *p != '\\')
		p++;
	return p;
}

static inline const char *scan_target(const char *p, const char *end)
{
	SCAN_STEPS(p, end, scan_bad_target, ' ');
	return scan_class(p, end, CLASS_TARGET);
}

static inline const char *scan_token(const char *p, const char *end)
{
	SCAN_STEPS(p, end, scan_bad_name, ':');
	return scan_class(p, end, CLASS_TOKEN);
}

/* Is it a name as DNS has them, or an IPv4 address?  False too often. */
static inline bool scan_is_plain_host(const char *p, size_t len)
{
#ifdef __SSE2__
	if (len >= 4 && len < 16)
		return scan_quick_host_mask(scan_load_short(p, len)) == 0xffff;
	for (; len > 16; p += 16, len -= 16)
		if (scan_quick_host_mask(_mm_loadu_si128((const __m128i *)p)) != 0xffff)
			return false;
#endif
	return scan_class(p, p + len, CLASS_HOST) == p + len;
}

/*
 * For runs that are nearly always short and of the commonest bytes: the first other one, which may be of the class too,
 * in front of `end`; NULL: there is none.  As many bytes as a step has can be read in front of `end`, wherever `p` is.
 * `is_wide` is a constant: true in functions of SCAN_WIDE only, which are called where scan_has_wide() says so.
 */
#define SCAN_QUICK_BYTES 16
#define SCAN_WIDE_BYTES	 32

#ifdef __SSE2__
static inline bool scan_has_wide(void)
{
	return __builtin_cpu_supports("avx2");
}
#else
#define SCAN_WIDE

static inline bool scan_has_wide(void)
{
	return false;
}
#endif

/* Letters and '-'. */
static inline __attribute__((always_inline)) const char *scan_quick_name(const char *p, const char *end, bool is_wide)
{
#ifdef __SSE2__
	return is_wide ? scan_quick(p, end, SCAN_WIDE_BYTES, scan_name_32)
		       : scan_quick(p, end, SCAN_QUICK_BYTES, scan_name_16);
#else
	p = scan_class(p, end, CLASS_TOKEN);
	return p < end ? p : NULL;
#endif
}

/* Printable ASCII. */
static inline __attribute__((always_inline)) const char *scan_quick_text(const char *p, const char *end, bool is_wide)
{
#ifdef __SSE2__
	return is_wide ? scan_quick(p, end, SCAN_WIDE_BYTES, scan_text_32)
		       : scan_quick(p, end, SCAN_QUICK_BYTES, scan_text_16);
#else
	p = scan_class(p, end, CLASS_VALUE);
	return p < end ? p : NULL;
#endif
}

#endif
