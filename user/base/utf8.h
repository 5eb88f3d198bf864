/* SPDX-License-Identifier: MIT */
/* Well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef SLUICE_BASE_UTF8_H
#define SLUICE_BASE_UTF8_H

#include "base/span.h"

/* Bytes of the well-formed sequence at the front, 0 if there is none; `len` is at least 1. */
size_t utf8_len(const char *text, size_t len);
bool utf8_is_valid(struct span text);

#endif
