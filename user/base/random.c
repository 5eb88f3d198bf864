/* SPDX-License-Identifier: MIT */
/* xoshiro256** (Blackman and Vigna, 2018); see random.h. */
#include "base/random.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"

static uint64_t state[4];
static bool is_seeded;

static void on_fork(void)
{
	is_seeded = false;
}

/* splitmix64: spreads a seed of few bits over the state, which must not be all zero. */
static uint64_t spread(uint64_t *seed)
{
	uint64_t z = (*seed += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static void seed_state(void)
{
	static bool is_watching_forks;

	if (getrandom(state, sizeof(state), GRND_NONBLOCK) != sizeof(state)) {
		/* Early at boot or behind a filter: unlike any other process, no more. */
		uint64_t seed = clock_wall_ns() ^ clock_ns() << 20 ^ (uint64_t)getpid() << 48;

		for (unsigned i = 0; i < ARRAY_LEN(state); i++)
			state[i] = spread(&seed);
	}
	state[0] |= (state[0] | state[1] | state[2] | state[3]) == 0;
	is_seeded = true;
	if (!is_watching_forks)
		is_watching_forks = pthread_atfork(NULL, NULL, on_fork) == 0;
}

static uint64_t rotate(uint64_t value, unsigned by)
{
	return value << by | value >> (64 - by);
}

uint64_t random_u64(void)
{
	uint64_t result, shifted;

	if (__builtin_expect(!is_seeded, 0))
		seed_state();
	result = rotate(state[1] * 5, 7) * 9;
	shifted = state[1] << 17;
	state[2] ^= state[0];
	state[3] ^= state[1];
	state[1] ^= state[2];
	state[0] ^= state[3];
	state[2] ^= shifted;
	state[3] = rotate(state[3], 45);
	return result;
}

/* The upper half of a product: no division, and a bias of at most bound / 2^32. */
uint32_t random_below(uint32_t bound)
{
	BUG_ON(bound == 0);
	return (uint32_t)((random_u64() >> 32) * bound >> 32);
}

int random_fill(void *to, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = getrandom((char *)to + done, len - done, 0);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}
