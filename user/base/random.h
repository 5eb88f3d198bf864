/* SPDX-License-Identifier: MIT */
/*
 * Random numbers of one process: xoshiro256**, seeded by the kernel at the first use and anew in a
 * child after fork(), so that workers never repeat each other.  Good for names that must not
 * collide (request ids, multipart boundaries) and for jitter.  Who sees enough of the numbers can
 * compute the next ones: not for secrets, which random_fill() is for.
 */
#ifndef SLUICE_BASE_RANDOM_H
#define SLUICE_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

uint64_t random_u64(void);
/* Evenly among 0 .. bound - 1; `bound` is not 0. */
uint32_t random_below(uint32_t bound);
/* Bytes of the kernel's, all of them or -errno; waits for it early at boot. */
int random_fill(void *to, size_t len);

#endif
