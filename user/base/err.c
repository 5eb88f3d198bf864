/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>

void bug_at(const char *file, int line, const char *condition)
{
	fprintf(stderr, "BUG %s:%d: %s\n", file, line, condition);
	abort();
}
