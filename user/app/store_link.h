/* SPDX-License-Identifier: MIT */
/*
 * A worker's way to the process that writes a store.  That one may be dead for a moment, or busy with the disk: changes
 * wait here, each with its own timer, and are sent when there is somebody to send them to.
 *
 *   WAITING --all its bytes given to the socket--> SENT --its result--> (answered)
 *      |  `--nobody took it in time--> NO_WRITER      |--not in time--> TIMEOUT
 *      `-- the connection broke: waits for the next    `--it broke-----> LOST
 *
 * A change of which a part was sent is not made by a writer that dies, or whose connection ends: it may be sent again.
 */
#ifndef SLUICE_APP_STORE_LINK_H
#define SLUICE_APP_STORE_LINK_H

#include "app/store_wire.h"

struct store_link {
	struct loop *loop;
	struct io io;			/* fd -1: nobody there */
	struct list waiting, sent;	/* struct pending of store_link.c, in their order */
	uint64_t timeout_ms;
	uint32_t last_id;
	bool is_blocked;		/* the socket takes no more for now */
	struct job flush;		/* what was asked for in one turn leaves in one go */
	size_t have;			/* bytes of a result */
	char part[sizeof(struct store_wire_result)];
	const char *name;		/* of the store, for the log */
};

/* Embedded; `name` must stay. */
void store_link_init(struct store_link *l, struct loop *loop, uint64_t timeout_ms, const char *name);
/* What is under way is forgotten; nothing is called. */
void store_link_fini(struct store_link *l);
/* Another connection, non-blocking; takes the descriptor.  The one before is given up. */
void store_link_connect(struct store_link *l, int fd);
/* As engine->change; on_changed comes later, or at once without memory. */
void store_link_change(struct store_link *l, struct store_ask *a, const struct store_change *c, char *content);
void store_link_forget(struct store_link *l, struct store_ask *a);

#endif
