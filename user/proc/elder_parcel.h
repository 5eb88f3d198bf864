/* SPDX-License-Identifier: MIT */
/*
 * What the master before this one passes on, as it comes: descriptors and text, for elder*.c only.  The text may be by
 * another version: whatever is missing in it reads as 0, false or NULL, and a count never exceeds what its reader has
 * room for.
 */
#ifndef SLUICE_PROC_ELDER_PARCEL_H
#define SLUICE_PROC_ELDER_PARCEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "proc/upgrade_text.h"

struct generation;

struct elder_parcel {
	json_t *text;
	int *fds;			/* by the numbers in the text; -1: taken */
	unsigned count;
};

/* Receives all parts; blocks, for each at most `limit_ms`.  0 or -errno, logged. */
int elder_receive(int fd, uint64_t limit_ms, struct elder_parcel *ret_parcel);
void elder_parcel_free(struct elder_parcel *p);

/* The descriptor of that place, the caller's from now on; -1: none. */
int parcel_take(struct elder_parcel *p, const json_t *place);
/* Does the other side lay that out as we do? */
bool parcel_has_layout(const json_t *all, enum upgrade_layout l);

json_int_t text_number(const json_t *o, const char *key);
/* From 0 to `max`. */
unsigned text_count(const json_t *o, const char *key, unsigned max);
bool text_flag(const json_t *o, const char *key);
const char *text_string(const json_t *o, const char *key);
/* In the place of *ret, which is freed.  0 or -ENOMEM. */
int text_copy(const json_t *o, const char *key, char **ret);

/* elder_config.c: what of the configuration the next one is compared with, and the sockets.  0 or -errno. */
int elder_read_config(struct generation *g, const json_t *all, struct elder_parcel *p);

#endif
