/* SPDX-License-Identifier: MIT */
/* A master whose place another one takes: letting go, and the way back as long as there is one. */
#include "base/err.h"
#include "proc/master_internal.h"

/* Whose generations live elsewhere is the new master's business now. */
static void forget_elders(struct master *m)
{
	list_for_each_safe(node, next, &m->generations) {
		struct generation *g = container_of(node, struct generation, node);

		if (g->elder)
			generation_free(g);
	}
	elder_fini(m);
}

void master_leave(struct master *m, const struct upgrade_leave *order)
{
	struct generation *g = m->current;

	m->state = MASTER_LEAVING;
	ctl_leave(m->ctl, upgrade_send_client, &m->upgrade);
	watch_close(&m->watch);
	loop_timer_stop(&m->loop, &m->tick);
	reload_refuse_waiting(&m->reload, "another master serves now: ask it");
	inherit_close(&m->inherited);
	forget_elders(m);
	/* Maps, programs and pins go on without us. */
	steer_disown(g->steer);
	reload_send_away(&m->reload, g, order);
}

/*
 * The new master is gone, and what it had taken is ours again: the programs, the pins, the slots.  A worker that has lost
 * its slot meanwhile gets it back; the others know nothing of all this.
 */
void master_take_back(struct master *m)
{
	struct generation *g = m->current;
	char text[SOCK_ADDR_TEXT];

	log_warn("the new master is gone: its slots are taken back");
	for (unsigned i = 0; i < g->listener_count; i++) {
		const struct listener *l = &g->listeners[i];
		int err = l->is_steered ? steer_take_back(g->steer, l->steer_id, l->fds) : 0;

		if (err)
			log_error("'%s' is no longer steered: %s", sock_addr_print(&l->addr, text), strerror(-err));
	}
	generation_start_udp(g);
	steer_pin_again(g->steer);
	for (unsigned i = 0; i < STEER_MAX_SLOTS; i++)
		__atomic_store_n(&m->owners[i], g->number, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < g->worker_count; i++)
		supervisor_tell(&g->workers, i, CHANNEL_TAKE);
}
