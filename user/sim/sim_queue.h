/* SPDX-License-Identifier: MIT */
/*
 * The simulator's event queue: a binary heap in one array of fixed room.  Events of the same moment
 * come out in the order they went in, so that a run depends on nothing but its seed.
 */
#ifndef SLUICE_PROC_SIM_QUEUE_H
#define SLUICE_PROC_SIM_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_event {
	uint64_t at_ns;
	uint32_t order; /* filled by sim_queue_push */
	uint32_t kind : 4;
	uint32_t index : 28; /* of a connection or a slot */
};

#define SIM_INDEX_MAX ((1u << 28) - 1)

struct sim_queue {
	struct sim_event *events;
	size_t count, room;
	uint32_t order;
};

/* 0 or -ENOMEM. */
int sim_queue_init(struct sim_queue *q, size_t room);
void sim_queue_fini(struct sim_queue *q);
/* The room must suffice: BUG_ON. */
void sim_queue_push(struct sim_queue *q, uint64_t at_ns, unsigned kind, uint32_t index);
/* False when it is empty. */
bool sim_queue_pop(struct sim_queue *q, struct sim_event *ret_event);

#endif
