/* SPDX-License-Identifier: MIT */
/* From the workers of one generation to those of the next; see reload.h. */
#include <signal.h>
#include <string.h>

#include "base/err.h"
#include "net/fd_pass.h"
#include "proc/master_internal.h"

/* An old worker that does not answer stands still: its slot is taken from it. */
#define STOP_LIMIT_MS 250u
/* For connections to move, until the answer; they go on moving after it. */
#define MOVE_LIMIT_MS 2000u
/* Workers keep the drain limit themselves; one that does not is killed this much later. */
#define KILL_AFTER_MS 1000u

static void decide(const struct generation *before, const struct generation *next, struct upgrade_leave *ret)
{
	*ret = (struct upgrade_leave){
		.type = UPGRADE_LEAVE,
		.can_move = before->inboxes.count > 0,
		.heir_count = (uint16_t)next->worker_count,
		.listener_count = (uint16_t)MIN(before->listener_count, (unsigned)LEAVE_LISTENERS_MAX),
	};
	for (unsigned i = 0; i < ret->listener_count; i++)
		ret->is_kept[i] = generation_twin(next, &before->listeners[i]) != NULL;
	for (unsigned i = 0; i < MIN(before->udp_listener_count, (unsigned)LEAVE_LISTENERS_MAX); i++)
		ret->is_udp_gone[i] = !generation_has_udp_twin(next, &before->udp_listeners[i]);
}

static void prepare_order(struct generation *before, const struct upgrade_leave *from, bool is_upgrade)
{
	struct leave_order *order = &before->order;

	order->type = CHANNEL_LEAVE;
	order->can_move = from->can_move;
	order->listener_count = (uint16_t)MIN(from->listener_count, LEAVE_LISTENERS_MAX);
	memcpy(order->is_kept, from->is_kept, sizeof(order->is_kept));
	order->is_udp_apart = is_upgrade;
	memcpy(order->is_udp_gone, from->is_udp_gone, sizeof(order->is_udp_gone));
}

/* A worker that has stood still for long may have no room for it: it gets the order when it is heard of again. */
static void order_to_leave(struct generation *g, unsigned slot)
{
	unsigned heir_count = g->master->reload.heir_count;
	int channel;

	/* None here: its workers are another master's, or were. */
	if (slot >= g->workers.count || g->is_told[slot])
		return;
	channel = g->workers.workers[slot].channel.fd;
	if (channel < 0)
		return;
	g->order.is_slot_kept = slot < heir_count;
	g->order.heir = (uint16_t)(slot % heir_count);
	g->is_told[slot] = fd_pass_send(channel, &g->order, sizeof(g->order), -1) > 0;
}

static bool is_all(const bool *has, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (!has[i])
			return false;
	return true;
}

static void check_end(struct reload *r)
{
	unsigned count = r->before->worker_count;

	if (is_all(r->has_stopped, count) && is_all(r->has_moved, count))
		reload_finish(r);
}

void reload_on_stopped(struct reload *r, struct generation *g, unsigned slot)
{
	if (g->state == GENERATION_LEAVING)
		order_to_leave(g, slot);
	upgrade_tell(&r->master->upgrade, g, slot, UPGRADE_STOPPED);
	if (r->state != RELOAD_HANDING || g != r->before || r->has_stopped[slot])
		return;
	r->has_stopped[slot] = true;
	if (slot < r->master->current->worker_count)
		master_release_slot(r->master->current, slot);
	check_end(r);
}

void reload_on_moved(struct reload *r, const struct generation *g, unsigned slot)
{
	upgrade_tell(&r->master->upgrade, g, slot, UPGRADE_MOVED);
	if (r->state != RELOAD_HANDING || g != r->before || r->has_moved[slot])
		return;
	r->has_moved[slot] = true;
	check_end(r);
}

void reload_on_hand_timer(struct reload *r)
{
	unsigned late = 0;

	if (is_all(r->has_stopped, r->before->worker_count)) {
		reload_finish(r);
		return;
	}
	for (unsigned i = 0; i < r->before->worker_count; i++)
		late += !r->has_stopped[i];
	log_warn("%u old workers do not move; their slots are taken from them", late);
	loop_timer_start(&r->master->loop, &r->timer, MOVE_LIMIT_MS);
	/* The last of these may end the reload, if all others have moved. */
	for (unsigned i = 0; r->before && i < r->before->worker_count; i++) {
		/* Whatever it has, it moves nothing while it stands still. */
		r->has_moved[i] |= !r->has_stopped[i];
		reload_on_stopped(r, r->before, i);
	}
}

/* Those of earlier generations too, that have somebody left: their heir may be gone as well. */
static void order_all_to_leave(struct master *m)
{
	list_for_each(node, &m->generations) {
		struct generation *g = container_of(node, struct generation, node);

		for (unsigned i = 0; g->state == GENERATION_LEAVING && i < g->worker_count; i++) {
			g->is_told[i] = false;
			order_to_leave(g, i);
		}
	}
}

/* With other maps all slots are up before the first SYN is steered by them. */
static void start_steering(const struct generation *before, struct generation *next)
{
	struct steer_options was = generation_steer_options(before), is = generation_steer_options(next);

	for (unsigned i = 0; next->steer != before->steer && i < next->worker_count; i++)
		steer_slot_up(next->steer, i, generation_cpu_of(next, i), (uint32_t)next->workers.workers[i].pid);
	steer_change(next->steer, &was, &is);
}

/*
 * Sockets that nobody follows are closed here before the old workers hear of it: each is then the last to close its own,
 * after it has taken what waits there.
 */
static void send_away(struct reload *r, struct generation *g, const struct upgrade_leave *order)
{
	struct master *m = r->master;
	struct generation *heir = m->current == g ? NULL : m->current;

	r->heir_count = order->heir_count;
	g->state = GENERATION_LEAVING;
	prepare_order(g, order, !heir);
	generation_release(g, heir, heir ? heir->steer : NULL);
	if (g->elder) {
		elder_send_away(m, order);
		return;
	}
	supervisor_retire(&g->workers);
	order_all_to_leave(m);
	supervisor_stop(&g->monitor, SIGTERM);
	loop_timer_start(&m->loop, &g->kill_timer, MAX(g->config->timeouts.drain, LEAVE_MIN_MS) + KILL_AFTER_MS);
}

/* Of a slot without a worker nobody will say a word. */
static void speak_for_the_dead(struct reload *r, struct generation *g)
{
	/* The last of these may end the reload. */
	for (unsigned i = 0; i < g->workers.count; i++) {
		if (g->workers.workers[i].pid)
			continue;
		reload_on_moved(r, g, i);
		reload_on_stopped(r, g, i);
	}
}

void reload_send_away(struct reload *r, struct generation *g, const struct upgrade_leave *order)
{
	send_away(r, g, order);
	speak_for_the_dead(r, g);
}

/* From here on there is no way back, and nothing that can fail. */
void reload_hand_over(struct reload *r)
{
	struct master *m = r->master;
	struct generation *before = r->before ? r->before : m->current, *next = r->next;
	struct upgrade_leave order;

	r->report = reload_report(before, next);
	decide(before, next, &order);
	watch_close(&m->watch);
	start_steering(before, next);
	generation_start_listening(next, before);
	generation_start_udp(next);
	generation_follow_endpoints(m, next);
	next->state = GENERATION_SERVING;
	m->current = next;
	r->next = NULL;
	r->before = before;
	r->state = RELOAD_HANDING;
	elder_refresh_stats(m);
	before->moved_before = generation_moved(before);
	log_set_level(next->config->log.level);
	for (unsigned i = 0; i < STEER_MAX_SLOTS; i++)
		__atomic_store_n(&m->owners[i], next->number, __ATOMIC_RELEASE);
	send_away(r, before, &order);
	master_start_watch(m);
	loop_timer_start(&m->loop, &r->timer, STOP_LIMIT_MS);
	memset(r->has_stopped, 0, sizeof(r->has_stopped));
	memset(r->has_moved, 0, sizeof(r->has_moved));
	for (unsigned i = before->worker_count; i < next->worker_count; i++)
		master_release_slot(next, i);
	speak_for_the_dead(r, before);
}
