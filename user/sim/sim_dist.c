/* SPDX-License-Identifier: MIT */
/* Random numbers and distributions, and how people write them. */
#include "sim/sim_dist.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define TIME_MAX_NS   (100 * 86400e9)
#define PART_TEXT_MAX 32

/* Spreads a small seed over the whole state, as the authors of xoshiro advise. */
static uint64_t splitmix(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

void sim_rng_init(struct sim_rng *rng, uint64_t seed, unsigned stream)
{
	uint64_t state = seed;

	/* Two rounds, so that seed 1 stream 2 is not seed 2 stream 1. */
	state = splitmix(&state) + stream;
	for (unsigned i = 0; i < 4; i++)
		rng->state[i] = splitmix(&state);
}

static uint64_t rotl(uint64_t x, unsigned k)
{
	return x << k | x >> (64 - k);
}

uint64_t sim_rng_next(struct sim_rng *rng)
{
	uint64_t *s = rng->state, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

double sim_rng_unit(struct sim_rng *rng)
{
	return (double)((sim_rng_next(rng) >> 11) + 1) * 0x1p-53;
}

uint32_t sim_rng_below(struct sim_rng *rng, uint32_t bound)
{
	return (uint32_t)((sim_rng_next(rng) >> 32) * bound >> 32);
}

uint64_t sim_dist_draw(const struct sim_dist *dist, struct sim_rng *rng)
{
	double ns = 0;

	switch (dist->kind) {
	case SIM_DIST_NONE:
		break;
	case SIM_DIST_CONST:
		ns = dist->a;
		break;
	case SIM_DIST_EXP:
		ns = -dist->a * log(sim_rng_unit(rng));
		break;
	case SIM_DIST_BIMODAL:
		ns = sim_rng_unit(rng) <= dist->p ? dist->b : dist->a;
		break;
	case SIM_DIST_PARETO:
		ns = dist->a * (dist->p - 1) / dist->p * pow(sim_rng_unit(rng), -1 / dist->p);
		break;
	}
	/* A tail heavy enough to pass the end of time is cut there. */
	return (uint64_t)(fmin(ns, TIME_MAX_NS) + 0.5);
}

double sim_dist_mean(const struct sim_dist *dist)
{
	switch (dist->kind) {
	case SIM_DIST_NONE:
		return 0;
	case SIM_DIST_BIMODAL:
		return dist->p * dist->b + (1 - dist->p) * dist->a;
	default:
		return dist->a;
	}
}

/* A finite number that is not negative; *ret_end is what follows it. */
static int number_parse(const char *text, double *ret_value, char **ret_end)
{
	/* strtod alone would also take " 1", "+1", "inf" and "nan". */
	if (!(text[0] >= '0' && text[0] <= '9'))
		return -EINVAL;
	*ret_value = strtod(text, ret_end);
	return isfinite(*ret_value) ? 0 : -EINVAL;
}

int sim_time_parse(const char *text, double *ret_ns)
{
	static const struct {
		const char *unit;
		double ns;
	} units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
	double value;
	char *end;

	if (number_parse(text, &value, &end) < 0)
		return -EINVAL;
	if (value == 0 && !*end) {
		*ret_ns = 0;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strcmp(end, units[i].unit) == 0 && value * units[i].ns <= TIME_MAX_NS) {
			*ret_ns = value * units[i].ns;
			return 0;
		}
	}
	return -EINVAL;
}

int sim_share_parse(const char *text, double *ret_share)
{
	double value;
	char *end;

	if (number_parse(text, &value, &end) < 0)
		return -EINVAL;
	if (strcmp(end, "%") == 0)
		value /= 100;
	else if (*end)
		return -EINVAL;
	if (value > 1)
		return -EINVAL;
	*ret_share = value;
	return 0;
}

/* A number above `low`, without a unit. */
static int shape_parse(const char *text, double low, double *ret_value)
{
	char *end;

	if (number_parse(text, ret_value, &end) < 0 || *end || !(*ret_value > low))
		return -EINVAL;
	return 0;
}

static int parts_parse(char parts[4][PART_TEXT_MAX], unsigned count, struct sim_dist *d)
{
	static const struct {
		const char *name;
		enum sim_dist_kind kind;
		unsigned part_count;
	} kinds[] = {
		{"none", SIM_DIST_NONE, 1},	{"const", SIM_DIST_CONST, 2},
		{"exp", SIM_DIST_EXP, 2},	{"bimodal", SIM_DIST_BIMODAL, 4},
		{"pareto", SIM_DIST_PARETO, 3},
	};
	size_t i = 0;

	while (i < ARRAY_LEN(kinds) && strcmp(parts[0], kinds[i].name) != 0)
		i++;
	if (i == ARRAY_LEN(kinds) || count != kinds[i].part_count)
		return -EINVAL;
	*d = (struct sim_dist){.kind = kinds[i].kind};
	if (count > 1 && sim_time_parse(parts[1], &d->a) < 0)
		return -EINVAL;
	if (d->kind == SIM_DIST_PARETO)
		return shape_parse(parts[2], 1, &d->p);
	if (d->kind == SIM_DIST_BIMODAL &&
	    (sim_time_parse(parts[2], &d->b) < 0 || sim_share_parse(parts[3], &d->p) < 0))
		return -EINVAL;
	return 0;
}

int sim_dist_parse(const char *text, struct sim_dist *ret_dist)
{
	char parts[4][PART_TEXT_MAX];
	struct sim_dist dist;
	unsigned count = 0;

	for (;;) {
		size_t len = strcspn(text, ":");

		if (count == 4 || len >= PART_TEXT_MAX)
			return -EINVAL;
		memcpy(parts[count], text, len);
		parts[count++][len] = '\0';
		text += len;
		if (!*text++)
			break;
	}
	if (parts_parse(parts, count, &dist) < 0)
		return -EINVAL;
	*ret_dist = dist;
	return 0;
}
