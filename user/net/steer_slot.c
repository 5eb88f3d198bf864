/* SPDX-License-Identifier: MIT */
/*
 * A slot's line, as worker and master write it.  Each field has one writer but the reservations,
 * which the program, the worker and the master change by compare-and-swap; who loses the race looks
 * again.
 */
#include "net/steer_impl.h"

#include <string.h>

#include "base/clock.h"
#include "steer_policy.h"

static uint64_t *resv_word(struct steer_slot *slot)
{
	return (uint64_t *)(void *)&slot->resv;
}

static union steer_resv_word resv_load(const struct steer_slot *slot)
{
	return (union steer_resv_word){
		.word = __atomic_load_n((const uint64_t *)(const void *)&slot->resv,
					__ATOMIC_RELAXED)};
}

static bool resv_swap(struct steer_slot *slot, union steer_resv_word *old,
		      union steer_resv_word new)
{
	uint64_t expected = old->word;
	bool is_done = __atomic_compare_exchange_n(resv_word(slot), &expected, new.word, false,
						   __ATOMIC_RELAXED, __ATOMIC_RELAXED);

	old->word = expected;
	return is_done;
}

static void cancel_one(const struct steer *s, struct steer_slot *slot, uint64_t now_ns)
{
	union steer_resv_word old = resv_load(slot), new;
	uint64_t bucket_ns = s->config->bucket_ns;

	/* Nothing counts where an operator has set 0, and the next retirement clears it. */
	if (!bucket_ns)
		return;
	do {
		new.resv = steer_resv_cancel(old.resv, steer_epoch(now_ns, bucket_ns));
		if (new.word == old.word)
			return;
	} while (!resv_swap(slot, &old, new));
}

void steer_adopted(struct steer_slot *slot)
{
	__atomic_store_n(&slot->live, slot->live + 1, __ATOMIC_RELAXED);
}

static void count_accepted(struct steer_slot *slot)
{
	__atomic_store_n(&slot->live, slot->live + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->accepted, slot->accepted + 1, __ATOMIC_RELAXED);
}

/* live first: the score must not dip between the two, or a burst falls into the gap. */
void steer_accepted(const struct steer *s, struct steer_slot *slot, uint64_t now_ns)
{
	count_accepted(slot);
	cancel_one(s, slot, now_ns);
}

void steer_rescued(const struct steer *s, struct steer_slot *slot, struct steer_slot *from,
		   uint64_t now_ns)
{
	count_accepted(slot);
	__atomic_fetch_add(&from->rescued, 1, __ATOMIC_RELAXED);
	cancel_one(s, from, now_ns);
}

bool steer_is_stalled(const struct steer *s, unsigned slot, uint64_t now_ns)
{
	uint64_t stall_ns = steer_stall_ns(s), stamp_ns;
	const struct steer_slot *line;

	if (slot >= s->slot_count || !stall_ns)
		return false;
	line = &s->slots[slot];
	/* The worker stamps first and says that it is awake afterwards: read the other way round. */
	if (__atomic_load_n(&line->is_waiting, __ATOMIC_ACQUIRE))
		return false;
	stamp_ns = __atomic_load_n(&line->stamp_ns, __ATOMIC_RELAXED);
	return stamp_ns < now_ns && now_ns - stamp_ns > stall_ns;
}

void steer_closed(struct steer_slot *slot)
{
	uint32_t live = slot->live;

	if (live)
		__atomic_store_n(&slot->live, live - 1, __ATOMIC_RELAXED);
}

struct steer_slot *steer_slot(struct steer *s, unsigned slot)
{
	return slot < s->slot_count ? &s->slots[slot] : NULL;
}

void steer_slot_up(struct steer *s, unsigned slot, uint32_t cpu, uint32_t pid)
{
	struct steer_slot *line = steer_slot(s, slot);

	if (!line)
		return;
	line->live = 0;
	line->pending = 0;
	line->accepted = 0;
	line->cpu = cpu;
	line->pid = pid;
	line->is_waiting = 0;
	line->stamp_ns = clock_ns(); /* a worker that never gets going is stalled from here on */
	__atomic_store_n(resv_word(line), 0, __ATOMIC_RELAXED);
	__atomic_store_n(&line->is_up, 1, __ATOMIC_RELEASE);
}

void steer_slot_pass(struct steer *s, unsigned slot, uint32_t cpu, uint32_t pid)
{
	struct steer_slot *line = steer_slot(s, slot);

	if (!line)
		return;
	line->cpu = cpu;
	line->pid = pid;
	__atomic_store_n(&line->is_up, 1, __ATOMIC_RELEASE);
}

void steer_slot_begin(struct steer_slot *slot, uint64_t now_ns)
{
	steer_stamp(slot, now_ns);
	__atomic_store_n(&slot->live, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->pending, 0, __ATOMIC_RELAXED);
	steer_set_waiting(slot, false);
}

void steer_slot_down(struct steer *s, unsigned slot, bool keeps_queue)
{
	struct steer_slot *line = steer_slot(s, slot);

	if (!line)
		return;
	__atomic_store_n(&line->is_up, keeps_queue, __ATOMIC_RELEASE);
	line->live = 0;
	line->pending = 0;
	line->pid = 0;
	line->is_waiting = 0; /* nobody waits: its stamp may tell that it is stalled */
}

/* Nothing for a word that is of this bucket (or, from a CPU ahead of us, of the next) or empty. */
static bool retire(union steer_resv_word *w, uint32_t epoch)
{
	int32_t age = (int32_t)(epoch - w->resv.epoch);

	if ((age == 0 || age == -1) || !(w->resv.current | w->resv.previous))
		return false;
	w->resv.previous = age == 1 ? w->resv.current : 0;
	w->resv.current = 0;
	w->resv.epoch = epoch;
	return true;
}

void steer_retire(struct steer *s, uint64_t now_ns)
{
	uint64_t bucket_ns = s->config->bucket_ns;
	uint32_t epoch = bucket_ns ? steer_epoch(now_ns, bucket_ns) : 0;

	for (unsigned i = 0; i < s->slot_count; i++) {
		union steer_resv_word old = resv_load(&s->slots[i]), new;

		do {
			new = old;
			if (!bucket_ns)
				new.word = 0;
			else if (!retire(&new, epoch))
				break;
		} while (!resv_swap(&s->slots[i], &old, new));
	}
}

unsigned steer_reserved(const struct steer *s, unsigned slot, uint64_t now_ns)
{
	uint64_t bucket_ns = s->config->bucket_ns;

	if (slot >= s->slot_count || !bucket_ns)
		return 0;
	return steer_resv_count(resv_load(&s->slots[slot]).resv, steer_epoch(now_ns, bucket_ns));
}
