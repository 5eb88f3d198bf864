/* SPDX-License-Identifier: MIT */
/* See json_text.h. */
#include "proc/json_text.h"

#include <stdlib.h>
#include <string.h>

json_t *json_text(const char *s)
{
	json_t *value = s ? json_string(s) : json_null();
	char *copy;

	if (value)
		return value;
	copy = strdup(s);
	for (char *c = copy; c && *c; c++)
		if (*c & 0x80)
			*c = '?';
	value = copy ? json_string(copy) : NULL;
	free(copy);
	return value;
}
