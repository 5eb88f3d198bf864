/* SPDX-License-Identifier: MIT */
/*
 * The timing wheel.
 *
 * A timer lies in the level of the highest 6-bit digit in which its expiry differs from now_ms, in
 * the slot of that digit of the expiry.  Hence
 *
 *   - all timers of level n expire before any timer of level n+1, and no slot wraps round: the
 * lowest bit of the lowest busy level is the next thing to do, whatever the distance;
 *   - slots of level 0 hold one tick each, and no timer lies at or behind now_ms;
 *   - when now_ms reaches the start of a slot of a higher level, its timers differ from it in lower
 * digits only and are sorted anew (the cascade).  A timer moves at most WHEEL_LEVELS times.
 *
 * Expiries in another block of 2^36 ms than now_ms wait on the `far` list.
 *
 * A timer that is moved to a later time, as every request moves the time limit of its connection, stays where it lies and
 * is sorted anew when its slot's time comes: nobody's links are touched, and most never get there.  So of where a timer
 * lies only the lower bound holds: not behind the place that its expiry asks for.
 *
 * wheel_advance() first moves everything that is due to the `due` list, in order, takes now_ms to
 * its final value and only then calls back.  So callbacks meet a whole wheel, and what they start
 * cannot run in the same call.
 */
#include "base/wheel.h"

#include <inttypes.h>

#include "base/err.h"

#define SLOT_MASK  (WHEEL_SLOTS - 1)
#define RANGE_BITS (WHEEL_LEVELS * WHEEL_SLOT_BITS)
#define FAR	   WHEEL_LEVELS

/* `| 1`: a timer that the cascade meets on its very tick belongs to level 0. */
static unsigned level_of(const struct wheel *w, uint64_t expires_ms)
{
	uint64_t differing = (expires_ms ^ w->now_ms) | 1;
	unsigned bit = 63 - (unsigned)__builtin_clzll(differing);

	return bit < RANGE_BITS ? bit / WHEEL_SLOT_BITS : FAR;
}

static unsigned digit_of(uint64_t time_ms, unsigned level)
{
	return (unsigned)(time_ms >> (level * WHEEL_SLOT_BITS)) & SLOT_MASK;
}

/* Start of a slot of this turn of its level. */
static uint64_t slot_start(const struct wheel *w, unsigned level, unsigned slot)
{
	unsigned shift = level * WHEEL_SLOT_BITS;
	uint64_t above = w->now_ms & (~0ull << WHEEL_SLOT_BITS << shift);

	return above | (uint64_t)slot << shift;
}

static void insert(struct wheel *w, struct timer *t)
{
	unsigned level = level_of(w, t->expires_ms);
	unsigned slot;

	if (level == FAR) {
		list_push_back(&w->far, &t->node);
		return;
	}
	slot = digit_of(t->expires_ms, level);
	list_push_back(&w->slots[level][slot], &t->node);
	w->busy[level] |= 1ull << slot;
}

/* The last node of a list has its head on both sides: that names the slot without any arithmetic on
 * times. */
static void unlink_timer(struct wheel *w, struct timer *t)
{
	struct list *head = t->node.next;
	size_t offset = (size_t)((char *)head - (char *)w->slots);

	if (head == t->node.prev && offset < sizeof(w->slots)) {
		size_t index = offset / sizeof(struct list);

		w->busy[index / WHEEL_SLOTS] &= ~(1ull << index % WHEEL_SLOTS);
	}
	list_remove(&t->node);
}

void wheel_init(struct wheel *w, uint64_t now_ms)
{
	*w = (struct wheel){.now_ms = now_ms};
	list_init(&w->far);
	list_init(&w->due);
	for (unsigned level = 0; level < WHEEL_LEVELS; level++)
		for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
			list_init(&w->slots[level][slot]);
}

void wheel_stop(struct wheel *w, struct timer *t)
{
	if (!timer_is_active(t))
		return;
	unlink_timer(w, t);
	w->timer_count--;
}

void wheel_start(struct wheel *w, struct timer *t, uint64_t expires_ms)
{
	bool is_moved_back;

	expires_ms = MAX(expires_ms, w->now_ms + 1);
	is_moved_back = timer_is_active(t) && expires_ms >= t->expires_ms;
	if (!is_moved_back)
		wheel_stop(w, t);
	t->expires_ms = expires_ms;
	if (is_moved_back)
		return;
	insert(w, t);
	w->timer_count++;
}

/* First busy level, FAR when there is none. */
static unsigned first_level(const struct wheel *w)
{
	unsigned level = 0;

	while (level < WHEEL_LEVELS && !w->busy[level])
		level++;
	return level;
}

static uint64_t next_slot_start(const struct wheel *w, unsigned level)
{
	return slot_start(w, level, (unsigned)__builtin_ctzll(w->busy[level]));
}

uint64_t wheel_next(const struct wheel *w)
{
	unsigned level = first_level(w);

	if (level != FAR)
		return next_slot_start(w, level);
	if (!list_is_empty(&w->far))
		return ((w->now_ms >> RANGE_BITS) + 1) << RANGE_BITS;
	return UINT64_MAX;
}

/* Takes the timers of one list and sorts them by their distance from now_ms; those of a tick that has come are due. */
static void sort_anew(struct wheel *w, struct list *from, bool is_tick)
{
	struct list moving;
	struct list *node;

	list_init(&moving);
	list_splice_back(&moving, from);
	while ((node = list_pop_front(&moving))) {
		struct timer *t = container_of(node, struct timer, node);

		if (is_tick && t->expires_ms <= w->now_ms)
			list_push_back(&w->due, node);
		else
			insert(w, t);
	}
}

static void empty_slot(struct wheel *w, unsigned level, unsigned slot)
{
	w->busy[level] &= ~(1ull << slot);
	sort_anew(w, &w->slots[level][slot], level == 0);
}

/* Start of the first block that a far timer lies in: a clock that jumps by centuries takes no step
 * per block. */
static uint64_t first_far_block(const struct wheel *w)
{
	uint64_t first_ms = UINT64_MAX;

	list_for_each (node, &w->far)
		first_ms = MIN(first_ms, container_of(node, struct timer, node)->expires_ms);
	return first_ms >> RANGE_BITS << RANGE_BITS;
}

static bool enter_far_block(struct wheel *w, uint64_t now_ms)
{
	uint64_t block_ms;

	if (list_is_empty(&w->far) || now_ms >> RANGE_BITS == w->now_ms >> RANGE_BITS)
		return false;
	block_ms = first_far_block(w);
	if (block_ms > now_ms)
		return false;
	w->now_ms = block_ms;
	sort_anew(w, &w->far, false);
	return true;
}

/* One slot, or one far block, that starts at or before `now_ms`.  False when there is none left. */
static bool collect_next(struct wheel *w, uint64_t now_ms)
{
	unsigned level = first_level(w);
	uint64_t start_ms;

	if (level == FAR)
		return enter_far_block(w, now_ms);
	start_ms = next_slot_start(w, level);
	if (start_ms > now_ms)
		return false;
	w->now_ms = start_ms;
	empty_slot(w, level, digit_of(start_ms, level));
	return true;
}

unsigned wheel_advance(struct wheel *w, uint64_t now_ms)
{
	unsigned fired_count = 0;
	struct list *node;

	/* Several turns of a busy loop fall into one millisecond. */
	if (now_ms <= w->now_ms)
		return 0;
	while (collect_next(w, now_ms))
		;
	w->now_ms = now_ms;
	while ((node = list_pop_front(&w->due))) {
		struct timer *t = container_of(node, struct timer, node);

		/* Moved back by one that was due before it. */
		if (t->expires_ms > now_ms) {
			insert(w, t);
			continue;
		}
		w->timer_count--;
		fired_count++;
		t->on_expire(t);
	}
	return fired_count;
}

static bool fault(const char *what, unsigned level, unsigned slot, uint64_t value)
{
	fprintf(stderr, "wheel: %s (level %u, slot %u, %" PRIu64 ")\n", what, level, slot, value);
	return false;
}

/* `slot` is ignored for FAR. */
static bool validate_list(const struct wheel *w, const struct list *head, unsigned level,
			  unsigned slot, size_t *count)
{
	list_for_each (node, head) {
		uint64_t expires_ms = container_of(node, struct timer, node)->expires_ms;

		if (node->next->prev != node || node->prev->next != node)
			return fault("broken link", level, slot, expires_ms);
		if (expires_ms <= w->now_ms)
			return fault("overdue timer", level, slot, expires_ms);
		if (level_of(w, expires_ms) < level)
			return fault("timer in too high a level", level, slot, expires_ms);
		if (level_of(w, expires_ms) == level && level != FAR && digit_of(expires_ms, level) < slot)
			return fault("timer in too late a slot", level, slot, expires_ms);
		if (++*count > w->timer_count)
			return fault("more timers than counted", level, slot, w->timer_count);
	}
	return true;
}

bool wheel_validate(const struct wheel *w)
{
	size_t count = 0;

	list_for_each (node, &w->due)
		count++;
	for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
		for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++) {
			const struct list *head = &w->slots[level][slot];

			if (list_is_empty(head) == (w->busy[level] >> slot & 1))
				return fault("wrong busy bit", level, slot, w->busy[level]);
			if (!validate_list(w, head, level, slot, &count))
				return false;
		}
	}
	if (!validate_list(w, &w->far, FAR, 0, &count))
		return false;
	if (count != w->timer_count)
		return fault("fewer timers than counted", 0, 0, w->timer_count);
	return true;
}

static void dump_list(const struct list *head, FILE *out)
{
	list_for_each (node, head)
		fprintf(out, " %" PRIu64, container_of(node, struct timer, node)->expires_ms);
	fputc('\n', out);
}

void wheel_dump(const struct wheel *w, FILE *out)
{
	fprintf(out, "wheel: now %" PRIu64 ", %zu timers\n", w->now_ms, w->timer_count);
	for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
		for (uint64_t busy = w->busy[level]; busy; busy &= busy - 1) {
			unsigned slot = (unsigned)__builtin_ctzll(busy);

			fprintf(out, "  level %u slot %2u from %" PRIu64 ":", level, slot,
				slot_start(w, level, slot));
			dump_list(&w->slots[level][slot], out);
		}
	}
	if (!list_is_empty(&w->far)) {
		fputs("  far:", out);
		dump_list(&w->far, out);
	}
}
