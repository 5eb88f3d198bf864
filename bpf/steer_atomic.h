/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What Linux 5.12 brought (a clock that costs nothing, atomic operations that give a value back),
 * and what does in its place before: `is_old` is known when the program is compiled.
 *
 * Old kernels have an atomic addition that gives nothing back.  It is enough for a reservation in
 * an open bucket; when a bucket opens, the word is just written, and a reservation or the
 * cancelling of one may be lost there.  Time retires it.
 *
 * Before this file: bpf_helpers.h and steer_policy.h.
 */
#ifndef SLUICE_STEER_ATOMIC_H
#define SLUICE_STEER_ATOMIC_H

static __always_inline __u64 steer_clock_ns(bool is_old)
{
	return is_old ? bpf_ktime_get_ns() : bpf_ktime_get_coarse_ns();
}

/* The number before, or on old kernels one that a CPU beside may get too. */
static __always_inline __u32 steer_next_turn(__u32 *turn, bool is_old)
{
	if (!is_old)
		return __sync_fetch_and_add(turn, 1);
	__sync_fetch_and_add(turn, 1);
	return *(volatile __u32 *)turn - 1;
}

/* False: another CPU or the worker changed the word; look again. */
static __always_inline bool steer_resv_swap(struct steer_resv *at, union steer_resv_word old,
					    union steer_resv_word new, bool is_old)
{
	__u64 *word = (__u64 *)at;

	if (!is_old)
		return __sync_val_compare_and_swap(word, old.word, new.word) == old.word;
	if (old.resv.epoch == new.resv.epoch)
		__sync_fetch_and_add(word, new.word - old.word);
	else
		*(volatile __u64 *)word = new.word;
	return true;
}

/* Lost races: another CPU or the worker changed the word.  A reservation missing now and then is
 * harmless. */
#define RESERVE_TRIES 4

static __always_inline void steer_reserve(struct steer_slot *slot, __u64 bucket_ns, __u64 now_ns,
					  bool is_old)
{
	union steer_resv_word old, new;

	if (!slot || !bucket_ns)
		return;
	for (int i = 0; i < RESERVE_TRIES; i++) {
		old.word = *(volatile __u64 *)&slot->resv;
		new.resv = steer_resv_add(old.resv, steer_epoch(now_ns, bucket_ns));
		if (steer_resv_swap(&slot->resv, old, new, is_old))
			return;
	}
}

#endif
