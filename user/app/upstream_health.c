/* SPDX-License-Identifier: MIT */
/*
 * Passive health: the circuit breaker of each endpoint.
 *
 *   closed     ejected_until_ns is 0.  fail_max failures in a row within the window, or too many errors among the last
 *              requests, eject the endpoint.
 *   open       until that time nobody chooses it, unless all are ejected ("panic").
 *   half-open  after it one request is the trial: whoever wins the compare-and-swap puts the time off, so that others
 *              go on avoiding the endpoint.  Success closes the circuit, failure opens it again at once, for longer.
 *              A trial that says nothing, or whose worker died, leaves it half-open.
 *
 * Failures are counted by each worker, ejection is shared.  Answers to requests that were on their way when the
 * endpoint was ejected do not count: they speak of the time before.
 */
#include "app/upstream_internal.h"
#include "base/err.h"

#define RATIO_REQUESTS	 20u
#define EJECTION_DOUBLED 4u	/* times at most */

static uint64_t ejected_until(const struct peer *p)
{
	return __atomic_load_n(&p->shared->ejected_until_ns, __ATOMIC_RELAXED);
}

static bool swap_until(struct peer *p, uint64_t before, uint64_t after)
{
	return __atomic_compare_exchange_n(&p->shared->ejected_until_ns, &before, after, false, __ATOMIC_RELAXED,
					   __ATOMIC_RELAXED);
}

void health_forget(struct peer_health *h)
{
	h->fail_count = 0;
	h->requests[0] = h->requests[1] = 0;
	h->errors[0] = h->errors[1] = 0;
}

bool health_claim(struct upstream *u, struct upstream_lease *lease, struct peer *p)
{
	uint64_t until = ejected_until(p), now_ns = u->loop->now_ns;

	lease->trial_ns = 0;
	lease->is_panic = until > now_ns;
	if (until == 0 || until > now_ns)
		return true;
	lease->trial_ns = now_ns + MAX(u->opt.eject_ms, 1u) * NS_PER_MS;
	if (swap_until(p, until, lease->trial_ns))
		return true;
	lease->trial_ns = 0;
	return false;
}

static void eject(struct upstream *u, struct peer *p, uint64_t before)
{
	uint32_t times = __atomic_load_n(&p->shared->ejections, __ATOMIC_RELAXED);
	uint64_t eject_ms = u->opt.eject_ms << MIN(times, EJECTION_DOUBLED);

	health_forget(&p->health);
	/* Another worker may have done it at the same moment: once is enough. */
	if (eject_ms == 0 || !swap_until(p, before, u->loop->now_ns + eject_ms * NS_PER_MS))
		return;
	__atomic_fetch_add(&p->shared->ejections, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&p->shared->ejection_count, 1, __ATOMIC_RELAXED);
}

static void close_circuit(struct peer *p, uint64_t before)
{
	health_forget(&p->health);
	if (swap_until(p, before, 0))
		__atomic_store_n(&p->shared->ejections, 0, __ATOMIC_RELAXED);
}

/* Would anybody be left for new requests? */
static bool is_last_well(struct upstream *u, const struct peer *p)
{
	for (unsigned i = 0; i < u->peer_count; i++)
		if (&u->peers[i] != p && peer_is_well(u, &u->peers[i]))
			return false;
	return true;
}

/* True when it was one too many. */
static bool add_failure(struct upstream *u, struct peer *p)
{
	struct peer_health *h = &p->health;
	uint64_t now_ms = u->loop->now_ms, first_ms;

	if (u->opt.fail_max == 0)
		return false;
	h->fail_ms[h->fail_at] = now_ms;
	h->fail_at = (h->fail_at + 1) % u->opt.fail_max;
	if (h->fail_count < u->opt.fail_max)
		h->fail_count++;
	if (h->fail_count < u->opt.fail_max)
		return false;
	/* The ring is full, so the next place holds the oldest. */
	first_ms = h->fail_ms[h->fail_at];
	return now_ms - first_ms <= u->opt.fail_window_ms;
}

/* The window slides in steps of its half. */
static bool add_to_ratio(struct upstream *u, struct peer *p, bool is_error)
{
	struct peer_health *h = &p->health;
	uint64_t half_ms = MAX(u->opt.fail_window_ms / 2, 1u);
	uint64_t age_ms = u->loop->now_ms - h->half_start_ms;

	if (u->opt.error_percent == 0)
		return false;
	if (age_ms >= half_ms) {
		h->requests[1] = age_ms < 2 * half_ms ? h->requests[0] : 0;
		h->errors[1] = age_ms < 2 * half_ms ? h->errors[0] : 0;
		h->requests[0] = h->errors[0] = 0;
		h->half_start_ms = u->loop->now_ms;
	}
	h->requests[0]++;
	h->errors[0] += is_error;
	return is_error && h->requests[0] + h->requests[1] >= RATIO_REQUESTS &&
	       (uint64_t)(h->errors[0] + h->errors[1]) * 100 >=
		       (uint64_t)u->opt.error_percent * (h->requests[0] + h->requests[1]);
}

/* 5xx is an answer: it counts against an endpoint only where the configuration watches for it. */
static bool is_success(const struct upstream *u, enum upstream_outcome outcome)
{
	return outcome == OUTCOME_OK || (outcome == OUTCOME_ERROR && u->opt.error_percent == 0);
}

static void end_trial(struct upstream *u, struct upstream_lease *lease, struct peer *p, enum upstream_outcome outcome)
{
	uint64_t mine = lease->trial_ns;

	lease->trial_ns = 0;
	if (outcome == OUTCOME_NEUTRAL)
		swap_until(p, mine, u->loop->now_ns);
	else if (is_success(u, outcome))
		close_circuit(p, mine);
	else
		eject(u, p, mine);
}

void health_note(struct upstream *u, struct upstream_lease *lease, struct peer *p, enum upstream_outcome outcome)
{
	uint64_t until = ejected_until(p);
	bool is_failure = outcome == OUTCOME_FAILED || outcome == OUTCOME_TIMEOUT;
	bool has_errors, has_failures;

	if (lease->trial_ns) {
		end_trial(u, lease, p, outcome);
		return;
	}
	if (outcome == OUTCOME_NEUTRAL)
		return;
	if (until) {
		if (lease->is_panic && is_success(u, outcome))
			close_circuit(p, until);
		return;
	}
	has_errors = add_to_ratio(u, p, is_failure || outcome == OUTCOME_ERROR);
	if (!is_failure)
		p->health.fail_count = 0;
	has_failures = is_failure && add_failure(u, p);
	if (has_failures || (has_errors && !is_last_well(u, p)))
		eject(u, p, 0);
}
