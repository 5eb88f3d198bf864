/* SPDX-License-Identifier: MIT */
/* A binary heap; the hole moves, not the events, which halves the writes. */
#include "sim/sim_queue.h"

#include <errno.h>
#include <stdlib.h>

#include "base/err.h"

int sim_queue_init(struct sim_queue *q, size_t room)
{
	*q = (struct sim_queue){.room = room};
	q->events = calloc(room, sizeof(*q->events));
	return q->events ? 0 : -ENOMEM;
}

void sim_queue_fini(struct sim_queue *q)
{
	free(q->events);
	q->events = NULL;
}

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

void sim_queue_push(struct sim_queue *q, uint64_t at_ns, unsigned kind, uint32_t index)
{
	struct sim_event event = {.at_ns = at_ns,
				  .order = q->order++,
				  .kind = kind & 15,
				  .index = index & SIM_INDEX_MAX};
	size_t hole = q->count++;

	BUG_ON(q->count > q->room);
	while (hole && is_before(&event, &q->events[(hole - 1) / 2])) {
		q->events[hole] = q->events[(hole - 1) / 2];
		hole = (hole - 1) / 2;
	}
	q->events[hole] = event;
}

bool sim_queue_pop(struct sim_queue *q, struct sim_event *ret_event)
{
	struct sim_event *e = q->events, last;
	size_t hole = 0, child;

	if (!q->count)
		return false;
	*ret_event = e[0];
	last = e[--q->count];
	while ((child = 2 * hole + 1) < q->count) {
		if (child + 1 < q->count && is_before(&e[child + 1], &e[child]))
			child++;
		if (!is_before(&e[child], &last))
			break;
		e[hole] = e[child];
		hole = child;
	}
	e[hole] = last;
	return true;
}
