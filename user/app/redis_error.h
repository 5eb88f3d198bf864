/* SPDX-License-Identifier: MIT */
/*
 * What an error of a Redis server says, by its first word: whose fault it is, and whether the same may go well later.
 */
#ifndef SLUICE_APP_REDIS_ERROR_H
#define SLUICE_APP_REDIS_ERROR_H

#include "base/span.h"

enum redis_error {
	REDIS_ERROR_REFUSED,	/* of what was asked for: ERR, WRONGTYPE ... */
	REDIS_ERROR_DENIED,	/* this user may not: NOPERM */
	REDIS_ERROR_SETUP,	/* this is not the server to ask, or not so: NOAUTH, MOVED, ASK */
	REDIS_ERROR_FULL,	/* its memory is: OOM */
	REDIS_ERROR_LATER,	/* it may be better soon: LOADING, BUSY, READONLY ... */
};

enum redis_error redis_error_of(struct span text);

#endif
