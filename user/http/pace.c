/* SPDX-License-Identifier: MIT */
/* The least rate of a client; see pace.h. */
#include "http/pace.h"

#include "base/err.h"

#define US_PER_MS 1000u
#define US_PER_S  1000000u

static uint64_t left_at(const struct pace *p, uint64_t now_ms)
{
	uint64_t waited_us = p->is_waiting && now_ms > p->since_ms ? (now_ms - p->since_ms) * US_PER_MS : 0;

	return p->left_us - MIN(p->left_us, waited_us);
}

void pace_init(struct pace *p, uint64_t grace_ms)
{
	*p = (struct pace){ .left_us = grace_ms * US_PER_MS };
}

void pace_wait(struct pace *p, uint64_t now_ms)
{
	p->left_us = left_at(p, now_ms);
	p->since_ms = now_ms;
	p->is_waiting = true;
}

void pace_rest(struct pace *p, uint64_t now_ms)
{
	p->left_us = left_at(p, now_ms);
	p->is_waiting = false;
}

void pace_add(struct pace *p, uint64_t bytes, uint64_t rate, uint64_t grace_ms, uint64_t now_ms)
{
	uint64_t most_us = grace_ms * US_PER_MS;
	uint64_t gained_us = bytes > UINT32_MAX ? most_us : bytes * US_PER_S / rate;
	uint64_t left_us = left_at(p, now_ms);

	p->left_us = MIN(left_us + gained_us, most_us);
	p->since_ms = now_ms;
}

uint64_t pace_left(const struct pace *p, uint64_t now_ms)
{
	return (left_at(p, now_ms) + US_PER_MS - 1) / US_PER_MS;
}
