/* SPDX-License-Identifier: MIT */
/*
 * Leases that wait because whoever they could have has no room, first come, first served.
 *
 * The queue is looked at whenever this worker releases something, and every TICK_MS because another worker may have.
 *
 * Fairness between workers: max_connections is a limit of the host, and a worker that is busy would hand each of its
 * connections on to its own queue for ever, or keep them idle, while another worker never gets one.  So a worker that
 * has none at all says so in wanted_ms of the endpoints that are full.  One that has some, and sees a fresh stamp
 * that is not its own, gives up a connection, once in YIELD_MS, and opens none until the other has had the time to.
 * A stamp grows old by itself: a worker that dies leaves nothing behind.
 */
#include "app/upstream_internal.h"
#include "base/err.h"

#define TICK_MS	      10u
#define IDLE_TICK_MS  20u	/* nobody of ours waits: only others' wishes are looked for */
#define WANT_FRESH_MS 30u
#define YIELD_MS      50u	/* of each period that much goes to useful work */

static void on_queue_timer(struct timer *t)
{
	struct upstream_lease *lease = container_of(t, struct upstream_lease, timer);

	queue_remove(lease->upstream, lease);
	upstream_fail(lease->upstream, lease, UPSTREAM_QUEUE_TIMEOUT);
}

bool queue_push(struct upstream *u, struct upstream_lease *lease)
{
	if (u->queue_count >= u->opt.queue_max)
		return false;
	lease->state = LEASE_QUEUED;
	list_push_back(&u->queue, &lease->node);
	u->queue_count++;
	upstream_totals(u)->queued = u->queue_count;
	u->queue_untried_count += lease->tried_count == 0;
	timer_init(&lease->timer, on_queue_timer);
	loop_timer_start(u->loop, &lease->timer, u->opt.queue_ms);
	queue_want_tick(u);
	return true;
}

void queue_remove(struct upstream *u, struct upstream_lease *lease)
{
	list_remove(&lease->node);
	u->queue_count--;
	upstream_totals(u)->queued = u->queue_count;
	u->queue_untried_count -= lease->tried_count == 0;
	loop_timer_stop(u->loop, &lease->timer);
}

/* The peer filled up between the choice and now: back to where it was, with the time it had left. */
static void put_back(struct upstream *u, struct upstream_lease *lease)
{
	uint64_t expires_ms = lease->timer.expires_ms;

	lease->state = LEASE_QUEUED;
	list_push_front(&u->queue, &lease->node);
	u->queue_count++;
	upstream_totals(u)->queued = u->queue_count;
	u->queue_untried_count += lease->tried_count == 0;
	loop_timer_start(u->loop, &lease->timer, expires_ms > u->loop->now_ms ? expires_ms - u->loop->now_ms : 0);
}

static bool serve(struct upstream *u, struct upstream_lease *lease, struct peer *p)
{
	queue_remove(u, lease);
	lease->state = LEASE_OFF;
	p->counters->waits++;
	if (upstream_give(u, lease, p) == 0)
		return true;
	p->counters->waits--;
	put_back(u, lease);
	return false;
}

/* The first that can be served, or has nobody left to wait for.  False: there is none. */
static bool serve_first(struct upstream *u)
{
	list_for_each (node, &u->queue) {
		struct upstream_lease *lease = container_of(node, struct upstream_lease, node);
		struct peer *p;

		switch (balance_choose(u, lease, &p)) {
		case CHOICE_MADE:
			return serve(u, lease, p);
		case CHOICE_NONE:
			queue_remove(u, lease);
			upstream_fail(u, lease, UPSTREAM_NO_SERVER);
			return true;
		case CHOICE_FULL:
			/* Who has tried somebody may want less than those behind. */
			if (lease->tried_count == 0)
				return false;
			break;
		}
	}
	return false;
}

void queue_serve(struct upstream *u)
{
	/* Callbacks that ask again at once stand at the end of the queue: they are left for the next iteration. */
	unsigned count = u->queue_count;

	if (u->is_serving || count == 0)
		return;
	u->is_serving = true;
	while (count > 0 && serve_first(u))
		count--;
	u->is_serving = false;
	if (count == 0 && u->queue_count > 0)
		loop_again(u->loop, &u->job);
}

static bool is_full(const struct peer *p)
{
	return p->server->max_connections > 0 &&
	       __atomic_load_n(&p->shared->connections, __ATOMIC_RELAXED) >= p->server->max_connections;
}

static void say_wanted(struct upstream *u)
{
	for (unsigned i = 0; i < u->peer_count; i++) {
		struct peer *p = &u->peers[i];

		if (!is_full(p) || !peer_is_well(u, p))
			continue;
		p->own_wanted_ms = (uint32_t)u->loop->now_ms;
		__atomic_store_n(&p->shared->wanted_ms, p->own_wanted_ms, __ATOMIC_RELAXED);
	}
}

bool queue_should_yield(struct upstream *u, struct peer *p)
{
	uint64_t now_ms = u->loop->now_ms;
	uint32_t wanted_ms;

	if (p->server->max_connections == 0)
		return false;
	wanted_ms = __atomic_load_n(&p->shared->wanted_ms, __ATOMIC_RELAXED);
	/* Never said, ours, or old; the other's clock may be ahead of what our loop has read. */
	if (wanted_ms == 0 || wanted_ms == p->own_wanted_ms ||
	    (uint32_t)now_ms - wanted_ms + WANT_FRESH_MS > 2 * WANT_FRESH_MS)
		return false;
	if (now_ms - p->yielded_ms < YIELD_MS)
		return false;
	p->yielded_ms = now_ms;
	p->yields_until_ms = now_ms + 2 * TICK_MS;
	return true;
}

static void yield_idle(struct upstream *u)
{
	for (unsigned i = 0; i < u->peer_count; i++) {
		struct peer *p = &u->peers[i];

		if (!list_is_empty(&p->idle) && queue_should_yield(u, p))
			conns_close(u, container_of(p->idle.prev, struct upstream_conn, node));
	}
}

static void on_tick(struct timer *t)
{
	struct upstream *u = container_of(t, struct upstream, tick);

	if (u->limited_idle_count > 0)
		yield_idle(u);
	queue_serve(u);
	if (u->queue_count > 0 && u->conn_count == 0)
		say_wanted(u);
	queue_want_tick(u);
}

void queue_want_tick(struct upstream *u)
{
	uint64_t after_ms = u->queue_count > 0 ? TICK_MS : IDLE_TICK_MS;

	if (u->queue_count == 0 && u->limited_idle_count == 0)
		return;
	if (!timer_is_active(&u->tick) || u->tick.expires_ms > u->loop->now_ms + after_ms)
		loop_timer_start(u->loop, &u->tick, after_ms);
}

void queue_start(struct upstream *u)
{
	list_init(&u->queue);
	timer_init(&u->tick, on_tick);
}

void queue_stop(struct upstream *u)
{
	if (u->loop)
		loop_timer_stop(u->loop, &u->tick);
}
