/* SPDX-License-Identifier: MIT */
/*
 * Hierarchical timing wheel (Varghese and Lauck 1987): start and stop are O(1), whatever the number
 * of timers. The tick is 1 ms.  Time is an argument everywhere, the wheel reads no clock.  A timer
 * never fires early, and fires at the first wheel_advance() whose time is at or past its expiry.
 */
#ifndef SLUICE_BASE_WHEEL_H
#define SLUICE_BASE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/list.h"

#define WHEEL_SLOT_BITS 6
#define WHEEL_SLOTS	(1u << WHEEL_SLOT_BITS)
/* 2^36 ms, two years; expiries in a later block of that size wait on `far`. */
#define WHEEL_LEVELS 6

struct timer {
	struct list node;
	uint64_t expires_ms;
	void (*on_expire)(struct timer *t);
};

struct wheel {
	uint64_t now_ms;	     /* every expiry up to here has been fired */
	uint64_t busy[WHEEL_LEVELS]; /* one bit for each slot that is not empty */
	size_t timer_count;	     /* armed, those of `due` included */
	struct list far;
	struct list due; /* taken by wheel_advance, not called back yet */
	struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

static inline void timer_init(struct timer *t, void (*on_expire)(struct timer *t))
{
	list_init(&t->node);
	t->expires_ms = 0;
	t->on_expire = on_expire;
}

static inline bool timer_is_active(const struct timer *t)
{
	return !list_is_empty(&t->node);
}

void wheel_init(struct wheel *w, uint64_t now_ms);
/*
 * (Re)arms; an expiry that is due already becomes the tick after the wheel's time.  The timer stays the caller's.  Moving
 * one to a later time costs next to nothing.
 */
void wheel_start(struct wheel *w, struct timer *t, uint64_t expires_ms);
/* Harmless when not armed. */
void wheel_stop(struct wheel *w, struct timer *t);
/*
 * A lower bound of the next expiry (ms, never later than the true one, exact within the first
 * level, else the start of the slot to be re-sorted), UINT64_MAX when no timer is armed.  For the
 * timeout of epoll_wait: advance at that time even if nothing fires, the bound then moves on;
 * WHEEL_LEVELS such steps at most lead to an expiry within 2^36 ms.  A timer that was moved to a
 * later time counts by the one it had before until its slot is sorted anew.
 */
uint64_t wheel_next(const struct wheel *w);
/*
 * Fires all timers that are due, in order of their ticks; returns how many.  A time before the
 * wheel's does nothing.  Callbacks see now_ms at its new value.  One may start and stop any timer,
 * its own too, and free its own; a timer started for a tick that is due gets the tick after
 * `now_ms` (no endless loop).
 */
unsigned wheel_advance(struct wheel *w, uint64_t now_ms);
/* No timer behind the slot its expiry asks for, bits and counts right.  False prints the fault to
 * stderr. */
bool wheel_validate(const struct wheel *w);
void wheel_dump(const struct wheel *w, FILE *out);

#endif
