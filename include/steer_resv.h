/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Reservations: connections sent to a slot that its worker has not accepted yet, counted in two
 * buckets of time so that those which never complete are forgotten.  And steer_neg(), by which the
 * steering compares without branches.
 *
 * Before this file: fixed-width types and steer_shared.h.
 */
#ifndef SLUICE_STEER_RESV_H
#define SLUICE_STEER_RESV_H

/* The compiler must not turn the arithmetic on sign bits back into branches. */
#define STEER_OPAQUE(value) __asm__ volatile("" : "+r"(value))

/* All ones when negative, else 0. */
static inline __attribute__((always_inline)) __s64 steer_neg(__s64 value)
{
	STEER_OPAQUE(value);
	value >>= 63;
	STEER_OPAQUE(value);
	return value;
}

/* The smaller of two values below 2^62. */
static inline __attribute__((always_inline)) __s64 steer_min(__s64 a, __s64 b)
{
	return a ^ ((a ^ b) & steer_neg(b - a));
}

/* Number of the reservation bucket at `now`; bucket_ns is not 0. */
static inline __u32 steer_epoch(__u64 now_ns, __u64 bucket_ns)
{
	return (__u32)(now_ns / bucket_ns);
}

/*
 * Reservations that still count in bucket number `epoch`: those of this bucket and of the one
 * before.  One made by a CPU that is a bucket ahead counts too.
 */
static inline __attribute__((always_inline)) __u32 steer_resv_count(struct steer_resv r,
								    __u32 epoch)
{
	__s64 age = (__s32)(epoch - r.epoch);

	return (r.current & (__u32)steer_neg(age - 2)) + (r.previous & (__u32)steer_neg(age - 1));
}

/* The word with one reservation more, made in bucket `epoch`.  Full buckets stay full. */
static inline __attribute__((always_inline)) struct steer_resv steer_resv_add(struct steer_resv r,
									      __u32 epoch)
{
	__u32 age = epoch - r.epoch;

	if (age == (__u32)-1) /* another CPU has opened the next bucket already */
		age = 0;
	else
		r.epoch = epoch;
	if (age) {
		r.previous = age == 1 ? r.current : 0;
		r.current = 0;
	}
	if (r.current != 0xffff)
		r.current++;
	return r;
}

/*
 * The word with one reservation less, the oldest first; nothing below 0.  What no longer counts in
 * bucket `epoch` is forgotten first: it would take the cancellation in place of one that does.
 */
static inline struct steer_resv steer_resv_cancel(struct steer_resv r, __u32 epoch)
{
	__s32 age = (__s32)(epoch - r.epoch);

	if (age != 0 && age != -1) {
		r.previous = age == 1 ? r.current : 0;
		r.current = 0;
		r.epoch = epoch;
	}
	if (r.previous)
		r.previous--;
	else if (r.current)
		r.current--;
	return r;
}

#endif
