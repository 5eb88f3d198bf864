/* SPDX-License-Identifier: MIT */
/*
 * States of the leases of an upstream's connections; see upstream.h.
 *
 *                      acquire
 *                         |  (nested too deep: DEFERRED until the next iteration)
 *           no room       v
 *   QUEUED <----------- choose -----------> OFF, on_failed: nobody is well, or the queue is full
 *     |  |  room          |  |
 *     |  `--------------->|  `-- idle connection, Unix socket --> HELD, on_connected
 *     v                   v                                         ^
 *   OFF, on_failed     CONNECTING ----------------------------------'
 *   (timeout)             `--> OFF, on_failed: refused, timeout
 *
 * upstream_release ends HELD; upstream_cancel ends any state.  CLAIMED (upstream_claim.c) has a server and no connection.
 *
 * Recursion: a callback may acquire, release and cancel, which calls back again.  Acquiring is deferred when DEPTH_MAX
 * callbacks are on the stack, the queue is served by one loop at a time, cancel serves it from a job: so the depth is
 * bounded, whatever the callbacks do.  After a callback its lease may be gone, and is not looked at.
 */
#include "app/upstream_internal.h"
#include "base/err.h"

#define DEPTH_MAX 4

static const char *const failure_names[] = {
	[UPSTREAM_NO_SERVER] = "no_server",
	[UPSTREAM_QUEUE_FULL] = "queue_full",
	[UPSTREAM_QUEUE_TIMEOUT] = "queue_timeout",
	[UPSTREAM_REFUSED] = "connect_refused",
	[UPSTREAM_CONNECT_TIMEOUT] = "connect_timeout",
	[UPSTREAM_NO_MEMORY] = "no_memory",
};

const char *upstream_failure_name(enum upstream_failure why)
{
	BUG_ON(why >= ARRAY_LEN(failure_names));
	return failure_names[why];
}

void upstream_lease_init(struct upstream_lease *lease)
{
	BUG_ON(lease->state != LEASE_OFF);
	lease->upstream = NULL;
	lease->conn = lease->connecting = NULL;
	lease->endpoint = UPSTREAM_NO_ENDPOINT;
	list_init(&lease->node);
	timer_init(&lease->timer, NULL);
	lease->trial_ns = 0;
	lease->is_panic = false;
	lease->tried_count = 0;
}

static void add_tried(struct upstream *u, struct upstream_lease *lease, const struct peer *p)
{
	/* The count says no more than "at least so many" once the ring has been filled. */
	unsigned at = lease->tried_count % UPSTREAM_TRIED_MAX;

	lease->tried[at] = (uint16_t)(p - u->peers);
	lease->tried_count = (uint8_t)(lease->tried_count + 1u < 2 * UPSTREAM_TRIED_MAX ?
				       lease->tried_count + 1u : UPSTREAM_TRIED_MAX);
}

void upstream_fail(struct upstream *u, struct upstream_lease *lease, enum upstream_failure why)
{
	if (why == UPSTREAM_NO_SERVER)
		upstream_totals(u)->no_server++;
	else if (why == UPSTREAM_QUEUE_FULL)
		upstream_totals(u)->queue_full++;
	else if (why == UPSTREAM_QUEUE_TIMEOUT)
		upstream_totals(u)->queue_timeouts++;
	lease->state = LEASE_OFF;
	u->lease_count--;
	u->depth++;
	lease->on_failed(lease, why);
	u->depth--;
}

void lease_enter(struct upstream *u, struct upstream_lease *lease, struct peer *p)
{
	if (lease->tried_count > 0) {
		struct peer *last = &u->peers[lease->tried[(lease->tried_count - 1) % UPSTREAM_TRIED_MAX]];

		if (last != p)
			last->counters->retries++;
	}
	if (lease->is_panic)
		p->counters->panics++;
	p->counters->requests++;
	upstream_count_up(&p->shared->active, &p->counters->active);
	lease->endpoint = u->first_endpoint + (unsigned)(p - u->peers);
}

void lease_leave(struct upstream *u, struct upstream_lease *lease, struct peer *p, enum upstream_outcome outcome)
{
	upstream_count_down(&p->shared->active, &p->counters->active);
	health_note(u, lease, p, outcome);
	if (outcome != OUTCOME_OK && outcome != OUTCOME_NEUTRAL)
		add_tried(u, lease, p);
}

static void hold(struct upstream *u, struct upstream_lease *lease, struct upstream_conn *uc)
{
	lease->connecting = NULL;
	lease->conn = uc;
	lease->state = LEASE_HELD;
	u->depth++;
	lease->on_connected(lease);
	u->depth--;
}

static bool is_local(int err)
{
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE || err == -ENOBUFS || err == -ENOSPC;
}

/* What is wrong on our side says nothing of the endpoint. */
static void fail_connect(struct upstream *u, struct upstream_lease *lease, struct peer *p, int err)
{
	bool is_own_fault = is_local(err);

	if (!is_own_fault)
		p->counters->connect_failures++;
	lease_leave(u, lease, p, is_own_fault ? OUTCOME_NEUTRAL : OUTCOME_FAILED);
	upstream_fail(u, lease, is_own_fault ? UPSTREAM_NO_MEMORY :
			        err == -ETIMEDOUT ? UPSTREAM_CONNECT_TIMEOUT : UPSTREAM_REFUSED);
}

void upstream_connected(struct upstream *u, struct upstream_lease *lease, int err)
{
	struct peer *p = peer_of(u, lease->endpoint);

	if (err) {
		fail_connect(u, lease, p, err);
		queue_serve(u);
		return;
	}
	p->counters->connects++;
	hold(u, lease, lease->connecting);
}

int upstream_give(struct upstream *u, struct upstream_lease *lease, struct peer *p)
{
	struct upstream_conn *uc = NULL;
	bool is_connected = false;
	int err;

	if (!health_claim(u, lease, p))
		return -EBUSY;
	if (!lease->is_fresh && !lease->is_lone)
		uc = conns_take(u, p);
	if (uc) {
		uc->lease = lease;
		uc->request_count++;
		lease_enter(u, lease, p);
		p->counters->reuses++;
		hold(u, lease, uc);
		return 0;
	}
	err = conns_connect(u, p, lease, &is_connected);
	if (err == -EBUSY) {
		health_note(u, lease, p, OUTCOME_NEUTRAL);
		return err;
	}
	lease_enter(u, lease, p);
	if (err) {
		fail_connect(u, lease, p, err);
	} else if (is_connected) {
		p->counters->connects++;
		hold(u, lease, lease->connecting);
	} else {
		lease->state = LEASE_CONNECTING;
	}
	return 0;
}

/* Leases that wait and have tried nobody could have whatever this one could: then it is not its turn. */
static void begin(struct upstream *u, struct upstream_lease *lease)
{
	enum choice choice = u->queue_untried_count ? CHOICE_FULL : CHOICE_MADE;
	struct peer *p;

	for (unsigned tries = 0; tries < 4 && choice == CHOICE_MADE; tries++) {
		choice = balance_choose(u, lease, &p);
		if (choice == CHOICE_MADE && upstream_give(u, lease, p) == 0)
			return;
	}
	if (choice == CHOICE_NONE)
		upstream_fail(u, lease, UPSTREAM_NO_SERVER);
	else if (!queue_push(u, lease))
		upstream_fail(u, lease, UPSTREAM_QUEUE_FULL);
}

static void defer(struct upstream *u, struct upstream_lease *lease)
{
	lease->state = LEASE_DEFERRED;
	list_push_back(&u->deferred, &lease->node);
	loop_again(u->loop, &u->job);
}

void upstream_run_job(struct job *j)
{
	struct upstream *u = container_of(j, struct upstream, job);
	struct list due;
	struct list *node;

	list_init(&due);
	list_splice_back(&due, &u->deferred);
	while ((node = list_pop_front(&due)))
		begin(u, container_of(node, struct upstream_lease, node));
	queue_serve(u);
}

void upstream_acquire(struct upstream *u, struct upstream_lease *lease)
{
	BUG_ON(lease->state != LEASE_OFF);
	if (lease->upstream != u)
		lease->tried_count = 0;
	lease->upstream = u;
	lease->endpoint = UPSTREAM_NO_ENDPOINT;
	lease->trial_ns = 0;
	lease->is_panic = false;
	u->lease_count++;
	if (u->depth < DEPTH_MAX)
		begin(u, lease);
	else
		defer(u, lease);
}

static void withdraw(struct upstream *u, struct upstream_lease *lease)
{
	struct upstream_conn *uc = lease->state == LEASE_HELD ? lease->conn : lease->connecting;

	lease->conn = lease->connecting = NULL;
	lease->state = LEASE_OFF;
	u->lease_count--;
	lease_leave(u, lease, peer_of(u, lease->endpoint), OUTCOME_NEUTRAL);
	conns_close(u, uc);
	/* Whoever waits is served from the loop: cancel calls nobody back. */
	if (u->queue_count)
		loop_again(u->loop, &u->job);
}

void upstream_cancel(struct upstream_lease *lease)
{
	struct upstream *u = lease->upstream;

	switch ((enum lease_state)lease->state) {
	case LEASE_OFF:
		return;
	case LEASE_DEFERRED:
		list_remove(&lease->node);
		break;
	case LEASE_QUEUED:
		queue_remove(u, lease);
		break;
	case LEASE_CONNECTING:
	case LEASE_HELD:
		withdraw(u, lease);
		return;
	case LEASE_CLAIMED:
		upstream_unclaim(lease, OUTCOME_NEUTRAL);
		return;
	}
	lease->state = LEASE_OFF;
	u->lease_count--;
}

void upstream_answered(struct upstream_lease *lease, enum upstream_outcome outcome, bool is_all)
{
	struct upstream *u = lease->upstream;

	BUG_ON(lease->state != LEASE_HELD);
	if (!is_all && !lease->trial_ns && !lease->is_panic)
		return;
	health_note(u, lease, peer_of(u, lease->endpoint), outcome);
	lease->is_panic = false;
}

void upstream_release(struct upstream_lease *lease, enum upstream_outcome outcome, bool is_reusable)
{
	struct upstream *u = lease->upstream;
	struct upstream_conn *uc = lease->conn;
	struct peer *p;

	BUG_ON(lease->state != LEASE_HELD);
	p = peer_of(u, lease->endpoint);
	lease->conn = NULL;
	lease->state = LEASE_OFF;
	u->lease_count--;
	uc->lease = NULL;
	if (outcome == OUTCOME_TIMEOUT)
		p->counters->timeouts++;
	else if (outcome == OUTCOME_FAILED)
		p->counters->failures++;
	lease_leave(u, lease, p, outcome);
	/* The question of yielding comes first: it is asked of every connection that comes free. */
	if (!queue_should_yield(u, p) && is_reusable && !lease->is_lone && conns_can_keep(u, uc))
		conns_keep(u, uc);
	else
		conns_close(u, uc);
	queue_serve(u);
}

struct upstream_counters *upstream_lease_counters(const struct upstream_lease *lease)
{
	if (!lease->upstream || lease->endpoint == UPSTREAM_NO_ENDPOINT)
		return NULL;
	return peer_of(lease->upstream, lease->endpoint)->counters;
}

const char *upstream_lease_address(const struct upstream_lease *lease, char text[UPSTREAM_ADDRESS_TEXT])
{
	const struct peer *p;

	if (!lease->upstream || lease->endpoint == UPSTREAM_NO_ENDPOINT)
		return "-";
	p = peer_of(lease->upstream, lease->endpoint);
	/* The endpoint may have got another address meanwhile. */
	if (lease->conn && lease->conn->address_id != p->address_id && lease->conn->conn.peer.any.sa_family != AF_UNIX)
		return sock_addr_print(&lease->conn->conn.peer, text);
	return p->address_text;
}

const char *upstream_lease_host(const struct upstream_lease *lease, char text[UPSTREAM_ADDRESS_TEXT])
{
	const struct peer *p;

	if (!lease->upstream || lease->endpoint == UPSTREAM_NO_ENDPOINT)
		return "-";
	p = peer_of(lease->upstream, lease->endpoint);
	return p->server->host[0] ? p->server->host : upstream_lease_address(lease, text);
}

void upstream_lease_move(struct upstream_lease *to, struct upstream_lease *from)
{
	BUG_ON(from->state != LEASE_HELD);
	*to = *from;
	list_init(&to->node);
	timer_init(&to->timer, NULL);
	to->conn->lease = to;
	memset(from, 0, sizeof(*from));
	upstream_lease_init(from);
}
