/* SPDX-License-Identifier: MIT */
/* A server without a connection, see upstream_claim() in upstream.h. */
#include <errno.h>

#include "app/upstream_internal.h"
#include "base/err.h"

#define CLAIM_TRIES 4 /* lost races for the trial of an ejected one */

int upstream_claim(struct upstream *u, struct upstream_lease *lease, struct upstream_address *ret_address)
{
	struct peer *p;

	BUG_ON(lease->state != LEASE_OFF);
	if (lease->upstream != u)
		lease->tried_count = 0;
	lease->upstream = u;
	lease->endpoint = UPSTREAM_NO_ENDPOINT;
	for (unsigned i = 0; i < CLAIM_TRIES && balance_choose(u, lease, &p) == CHOICE_MADE; i++) {
		if (!health_claim(u, lease, p))
			continue;
		lease_enter(u, lease, p);
		lease->state = LEASE_CLAIMED;
		u->lease_count++;
		*ret_address = p->address;
		return 0;
	}
	upstream_totals(u)->no_server++;
	return -ENOENT;
}

void upstream_unclaim(struct upstream_lease *lease, enum upstream_outcome outcome)
{
	struct upstream *u = lease->upstream;
	struct peer *p;

	BUG_ON(lease->state != LEASE_CLAIMED);
	p = peer_of(u, lease->endpoint);
	lease->state = LEASE_OFF;
	u->lease_count--;
	if (outcome == OUTCOME_TIMEOUT)
		p->counters->timeouts++;
	else if (outcome == OUTCOME_FAILED)
		p->counters->failures++;
	lease_leave(u, lease, p, outcome);
}
