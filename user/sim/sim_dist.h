/* SPDX-License-Identifier: MIT */
/*
 * Random numbers of the simulator: xoshiro256** (Blackman and Vigna, public domain algorithm) and
 * the distributions drawn from it.  The same seed gives the same numbers wherever the C library is
 * the same.
 */
#ifndef SLUICE_PROC_SIM_DIST_H
#define SLUICE_PROC_SIM_DIST_H

#include <stdbool.h>
#include <stdint.h>

struct sim_rng {
	uint64_t state[4];
};

/* Streams of one seed are independent of each other: each purpose has its own, so that all policies
 * meet the same connections. */
void sim_rng_init(struct sim_rng *rng, uint64_t seed, unsigned stream);
uint64_t sim_rng_next(struct sim_rng *rng);
/* In (0, 1]: its logarithm is finite. */
double sim_rng_unit(struct sim_rng *rng);
/* 0 to bound - 1. */
uint32_t sim_rng_below(struct sim_rng *rng, uint32_t bound);

enum sim_dist_kind {
	SIM_DIST_NONE,	  /* always 0 */
	SIM_DIST_CONST,	  /* a */
	SIM_DIST_EXP,	  /* mean a */
	SIM_DIST_BIMODAL, /* b with probability p, else a */
	SIM_DIST_PARETO,  /* mean a, shape p > 1 */
};

struct sim_dist {
	enum sim_dist_kind kind;
	double a, b, p; /* a and b in ns */
};

/* In whole ns. */
uint64_t sim_dist_draw(const struct sim_dist *dist, struct sim_rng *rng);
double sim_dist_mean(const struct sim_dist *dist);
/*
 * "none", "const:1ms", "exp:1ms", "bimodal:0.5ms:50ms:1%", "pareto:1ms:1.5" (mean, shape).  0 or
 * -EINVAL.
 */
int sim_dist_parse(const char *text, struct sim_dist *ret_dist);
/* "0.2ms", "20us", "1.5s", "2m", "0": a number and its unit, of at most 100 days.  0 or -EINVAL. */
int sim_time_parse(const char *text, double *ret_ns);
/* "0.01" or "1%": 0 to 1.  0 or -EINVAL. */
int sim_share_parse(const char *text, double *ret_share);

#endif
