/* SPDX-License-Identifier: MIT */
/*
 * A simulated worker.  It writes its slot as user/proc/worker.c does: the stamp at each turn,
 * `is_waiting` while it has nothing to do, `live` at accept and close, `pending` for what it has
 * accepted and not served yet.
 *
 *   waiting --work--> serving --done, queue empty--> waiting        stalled: neither accepts nor
 * gets on
 */
#include "sim/sim_internal.h"

#include "steer_policy.h"

static void fifo_put(struct sim *sim, struct sim_fifo *fifo, uint32_t conn)
{
	sim->conns[conn].next = SIM_NONE;
	if (fifo->head == SIM_NONE)
		fifo->head = conn;
	else
		sim->conns[fifo->tail].next = conn;
	fifo->tail = conn;
}

/* SIM_NONE when it is empty. */
static uint32_t fifo_take(struct sim *sim, struct sim_fifo *fifo)
{
	uint32_t conn = fifo->head;

	if (conn != SIM_NONE)
		fifo->head = sim->conns[conn].next;
	return conn;
}

void sim_worker_init(struct sim *sim, uint32_t slot)
{
	sim->workers[slot] = (struct sim_worker){
		.accept_queue = {SIM_NONE, SIM_NONE},
		.work_queue = {SIM_NONE, SIM_NONE},
		.serving = SIM_NONE,
	};
	sim->slots[slot] = (struct steer_slot){
		.stamp_ns = sim->now_ns,
		.is_up = 1,
		.cpu = slot,
		.pid = slot + 1,
		.is_waiting = 1,
	};
}

static void serve_next(struct sim *sim, uint32_t slot)
{
	struct sim_worker *worker = &sim->workers[slot];

	worker->serving = fifo_take(sim, &worker->work_queue);
	sim->slots[slot].stamp_ns = sim->now_ns;
	sim->slots[slot].is_waiting = worker->serving == SIM_NONE;
	if (worker->serving != SIM_NONE)
		sim_queue_push(&sim->queue, sim->now_ns + sim->conns[worker->serving].service_ns,
			       SIM_SERVED, slot);
	else if (worker->stalls_when_idle)
		sim_worker_stall(sim, slot);
}

/* steer_accepted() of user/net/steer.h, without the races; the reservation is where the program
 * made it. */
static void take_over(struct sim *sim, uint32_t conn, uint32_t reserved_in)
{
	uint32_t i = sim->conns[conn].slot;
	struct steer_slot *slot = &sim->slots[i];

	slot->live++;
	slot->accepted++;
	slot->pending++;
	if (sim->reserves)
		sim->slots[reserved_in].resv = steer_resv_cancel(
			sim->slots[reserved_in].resv, steer_epoch(sim->now_ns, sim->steer.bucket_ns));
	fifo_put(sim, &sim->workers[i].work_queue, conn);
}

static void accept_all(struct sim *sim, uint32_t slot)
{
	uint32_t conn;

	while ((conn = fifo_take(sim, &sim->workers[slot].accept_queue)) != SIM_NONE)
		take_over(sim, conn, slot);
}

void sim_worker_rescue(struct sim *sim, uint32_t slot, uint32_t from)
{
	uint32_t conn = fifo_take(sim, &sim->workers[from].accept_queue);

	if (conn == SIM_NONE)
		return;
	sim->conns[conn].slot = (uint16_t)slot;
	sim->open[from]--;
	sim->open[slot]++;
	take_over(sim, conn, from);
	if (sim->workers[slot].serving == SIM_NONE)
		serve_next(sim, slot);
}

void sim_worker_ready(struct sim *sim, uint32_t conn)
{
	uint32_t slot = sim->conns[conn].slot;
	struct sim_worker *worker = &sim->workers[slot];
	bool is_busy = worker->serving != SIM_NONE;

	if (worker->is_stalled || (is_busy && sim->config->accepts_when_free)) {
		fifo_put(sim, &worker->accept_queue, conn);
		return;
	}
	take_over(sim, conn, slot);
	if (!is_busy)
		serve_next(sim, slot);
}

static void respond(struct sim *sim, uint32_t conn)
{
	const struct sim_conn *c = &sim->conns[conn];
	uint64_t sojourn_ns = sim->now_ns - c->ready_ns;

	sim->served_count++;
	sim->fingerprint =
		(sim->fingerprint ^ sojourn_ns ^ (uint64_t)c->slot << 56) * 0x100000001b3ull;
	if (c->is_counted)
		sim->sojourns[sim->sojourn_count++] = sojourn_ns;
	if (c->life_ns)
		sim_queue_push(&sim->queue, sim->now_ns + c->life_ns, SIM_CLOSE, conn);
	else
		sim_worker_close(sim, conn);
}

void sim_worker_served(struct sim *sim, uint32_t slot)
{
	struct sim_worker *worker = &sim->workers[slot];

	if (worker->is_stalled) {
		/* What was left of it when the stall began is left when it ends. */
		sim_queue_push(&sim->queue, sim->now_ns + sim->config->stalls_for_ns, SIM_SERVED,
			       slot);
		return;
	}
	sim->slots[slot].pending--;
	respond(sim, worker->serving);
	accept_all(sim, slot);
	serve_next(sim, slot);
}

/* A stalled worker sees nothing close; the model lets that pass, as few lives end in a stall. */
void sim_worker_close(struct sim *sim, uint32_t conn)
{
	uint32_t slot = sim->conns[conn].slot;

	sim->slots[slot].live--;
	sim->open[slot]--;
}

void sim_worker_stall(struct sim *sim, uint32_t slot)
{
	struct sim_worker *worker = &sim->workers[slot];
	bool is_stop = sim->config->stall_kind == SIM_STALL_STOPPED;

	if (is_stop && worker->serving != SIM_NONE) {
		worker->stalls_when_idle = true;
		return;
	}
	worker->stalls_when_idle = false;
	worker->is_stalled = true;
	sim->stall_began_ns = sim->now_ns;
	if (!is_stop)
		sim->slots[slot].is_waiting = 0;
	sim->slots[slot].stamp_ns = sim->now_ns;
	sim_queue_push(&sim->queue, sim->now_ns + sim->config->stalls_for_ns, SIM_RESUME, slot);
	sim_watch_start(sim, slot);
}

void sim_worker_resume(struct sim *sim, uint32_t slot)
{
	sim->workers[slot].is_stalled = false;
	sim->slots[slot].stamp_ns = sim->now_ns;
	if (sim->workers[slot].serving != SIM_NONE)
		return; /* its request goes on; see sim_worker_served */
	accept_all(sim, slot);
	serve_next(sim, slot);
}
