/* SPDX-License-Identifier: MIT */
/* See utf8.h. */
#include "base/utf8.h"

size_t utf8_len(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t want = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (want == 0 || s[0] > 0xf4 || want > len)
		return 0;
	for (size_t i = 1; i < want; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return want;
}

bool utf8_is_valid(struct span text)
{
	for (size_t i = 0, step; i < text.len; i += step) {
		step = (unsigned char)text.ptr[i] < 0x80 ? 1 : utf8_len(text.ptr + i, text.len - i);
		if (step == 0)
			return false;
	}
	return true;
}
