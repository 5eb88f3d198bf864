/* SPDX-License-Identifier: MIT */
/*
 * Upgrade, the new master's part (upgrade.h is the old one's): takes what the master before it passes on, and makes
 * generations of it that stand for those that live over there.  Such a generation has no processes here; its counters are
 * the same memory, its sockets the same sockets.  A reload follows whose generation before is one of them.
 *
 * The master before, once it has let go, is an elder until it ends with its last worker.  There may be several of them,
 * one after the other; each passes its own elders on.
 */
#ifndef SLUICE_PROC_ELDER_H
#define SLUICE_PROC_ELDER_H

#include <jansson.h>

#include "config/config.h"
#include "net/loop.h"
#include "upgrade_proto.h"

struct master;
struct elder_parcel;

struct elder {
	struct list node;		/* of master.elders, the oldest first */
	struct master *master;
	struct io io;
	bool is_handing;		/* its workers leave: their words matter to the reload */
};

/* The descriptor in the environment, which no child shall see again; -1: nobody is to be followed. */
int elder_find(void);
/*
 * Takes over from the master at `fd`.  What cannot change (user, control, pin) is set in `config`.  Afterwards
 * reload.before is the generation in force over there.  0 or -errno, logged; the master's clean-up frees what was made.
 */
int elder_open(struct master *m, int fd, struct config *config);
/* Tells it that all workers stand by; its word starts the hand-over. */
void elder_tell_ready(struct master *m);
/* It cannot be done: the reason goes to whoever asked. */
void elder_refuse(struct master *m, const char *error, const char *details);
/* The slots are ours: `before` and what it shares with nobody are closed here already. */
void elder_send_away(struct master *m, const struct upgrade_leave *order);
/* It is over: takes the report. */
void elder_tell_done(struct master *m, json_t *report);
/* What they still have drains, or ends, at once. */
void elder_stop_all(struct master *m, bool is_hard);
/* What workers of earlier masters count, where it is not the same memory as ours: as it is now. */
void elder_refresh_stats(struct master *m);
/* A log was rotated: their workers write to it too. */
void elder_reopen_logs(struct master *m);
/* Another one, by its socket, which becomes the elder's.  0 or -errno. */
int elder_add(struct master *m, int fd, bool is_handing, struct elder **ret_elder);
/* In a forked child. */
void elder_abandon(struct master *m);
void elder_fini(struct master *m);

/* elder_read.c: makes memory, sockets and generations of what was received.  0 or -errno, logged. */
int elder_unpack(struct master *m, struct elder *elder, struct elder_parcel *parcel, struct config *config);

#endif
