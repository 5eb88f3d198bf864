/* SPDX-License-Identifier: MIT */
/*
 * The least rate at which a client must send or read, in bytes per second.  It may fall behind by `grace` seconds, and
 * whatever moves makes up for that much time.  Only the time counts in which somebody waits for the client: what an
 * upstream or this server takes is not the client's.  Pure: the time is an argument.
 */
#ifndef SLUICE_HTTP_PACE_H
#define SLUICE_HTTP_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct pace {
	uint64_t left_us;	/* it may fall behind by this much more */
	uint64_t since_ms;	/* waited for since then; only with is_waiting */
	bool is_waiting;
};

void pace_init(struct pace *p, uint64_t grace_ms);
/* Somebody waits for the client from now on; harmless while it is so. */
void pace_wait(struct pace *p, uint64_t now_ms);
/* Nobody does. */
void pace_rest(struct pace *p, uint64_t now_ms);
/* So many bytes have moved.  `rate` is not 0. */
void pace_add(struct pace *p, uint64_t bytes, uint64_t rate, uint64_t grace_ms, uint64_t now_ms);
/* Milliseconds until it is too slow; 0: it is. */
uint64_t pace_left(const struct pace *p, uint64_t now_ms);

#endif
