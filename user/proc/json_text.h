/* SPDX-License-Identifier: MIT */
/* Text for an answer in JSON, which has to be UTF-8 where file names and configurations need not be. */
#ifndef SLUICE_PROC_JSON_TEXT_H
#define SLUICE_PROC_JSON_TEXT_H

#include <jansson.h>

/* The caller's.  Of text that is not UTF-8 every other byte shows as '?'; NULL is null.  NULL without memory. */
json_t *json_text(const char *s);

#endif
