/* SPDX-License-Identifier: MIT */
/* One value between its text and its field, by the rules of its key. */
#ifndef SLUICE_PROC_CONFIG_VALUE_H
#define SLUICE_PROC_CONFIG_VALUE_H

#include <stdio.h>

#include "config/config_schema.h"

#define CONFIG_WHY_TEXT 384

/*
 * Converts, checks and stores.  `base` is the struct the key's offset counts from.  0; -ENOMEM;
 * -EINVAL: the field is as it was and why says what is wrong, to be put behind the value in quotes
 * ("needs a unit").
 */
int config_value_set(const struct config_key *key, void *base, const char *text,
		     char why[CONFIG_WHY_TEXT]);
/* Empties a KIND_LIST.  The field is then an array of no items, not NULL: an empty list is not an
 * absent one. */
int config_value_clear(const struct config_key *key, void *base);
/* Appends to a KIND_LIST. */
int config_value_add(const struct config_key *key, void *base, const char *text,
		     char why[CONFIG_WHY_TEXT]);
/* Sets every key of the section that has a default to it, without checking it against this system.
 * 0 or -ENOMEM. */
int config_value_defaults(enum config_section_id section, void *base);
/* Prints "key = value" and a newline behind `indent`; nothing where a key has neither value nor
 * default. */
void config_value_print(const struct config_key *key, const void *base, const char *indent,
			FILE *out);
/* A double-quoted string that reads back as the same. */
void config_quote(const char *text, FILE *out);

#endif
