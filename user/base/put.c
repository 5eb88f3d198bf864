/* SPDX-License-Identifier: MIT */
/* Numbers of the unchecked writer; see put.h. */
#include "base/put.h"

/* clang-format off */
const char put_pairs[] =
	"00010203040506070809" "10111213141516171819" "20212223242526272829" "30313233343536373839" "40414243444546474849"
	"50515253545556575859" "60616263646566676869" "70717273747576777879" "80818283848586878889" "90919293949596979899";
/* clang-format on */

size_t put_u64_len(uint64_t value)
{
	size_t len = 1;

	for (; value >= 10000; value /= 10000)
		len += 4;
	return len + (value >= 10) + (value >= 100) + (value >= 1000);
}

/* Backwards into its place: most numbers are short, and to copy one would take longer than to print it. */
char *put_u64_of(char *at, uint64_t value, size_t len)
{
	char *to = at + len;

	for (; value >= 100; value /= 100) {
		to -= 2;
		put_pair(to, (unsigned)(value % 100));
	}
	if (value >= 10)
		put_pair(at, (unsigned)value);
	else
		put_char(at, (char)('0' + value));
	return at + len;
}
