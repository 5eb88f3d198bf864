/* SPDX-License-Identifier: MIT */
/*
 * Reload: another generation in the place of the one in force, and nobody notices.
 *
 *   NONE --asked--> STARTING    the file is read and checked, everything made, workers forked; they stand by
 *                    |  `--any fault--> NONE   nothing has changed, the text of the fault is the answer
 *                    v  all are ready
 *                   HANDING     slot by slot the old worker stops accepting and the new one begins; connections move
 *                    |
 *                    v  all have begun, and whoever could move has
 *                   NONE        answered; what is left in the old workers ends by itself, or at the drain limit
 *
 * Who asks while one runs waits: all of them are answered by the one that follows.
 */
#ifndef SLUICE_PROC_RELOAD_H
#define SLUICE_PROC_RELOAD_H

#include "proc/ctl.h"
#include "proc/generation.h"
#include "upgrade_proto.h"

enum reload_state { RELOAD_NONE, RELOAD_STARTING, RELOAD_HANDING };

struct reload_askers {
	struct ctl_request *requests[CTL_CLIENT_MAX];
	unsigned count;
};

struct reload {
	struct master *master;
	enum reload_state state;
	struct generation *next;	/* STARTING */
	struct generation *before;	/* HANDING: the one that leaves; of another master from the start */
	bool has_stopped[STEER_MAX_SLOTS], has_moved[STEER_MAX_SLOTS];	/* HANDING: its workers */
	struct reload_askers asking, waiting;
	bool is_wanted;			/* another one, when this one is over */
	unsigned heir_count;		/* workers of the generation that everybody leaves to */
	struct timer timer;
	struct job begin;
	uint64_t started_ns;
	json_t *report;			/* what changed; HANDING */
	json_t *warnings;		/* strings */
};

void reload_init(struct reload *r, struct master *m);
/* `rq`: who asked, NULL for a signal. */
void reload_ask(struct reload *r, struct ctl_request *rq);
/* An upgrade has ended, and this master goes on. */
void reload_begin_waiting(struct reload *r);
/* It does not: whoever waits is told why. */
void reload_refuse_waiting(struct reload *r, const char *why);
/* The server stops: whoever asked is told, whatever was begun ends. */
void reload_cancel(struct reload *r);
void reload_fini(struct reload *r);

/* What workers say or do. */
void reload_on_all_ready(struct reload *r, struct generation *g);
void reload_on_stopped(struct reload *r, struct generation *g, unsigned slot);
void reload_on_moved(struct reload *r, const struct generation *g, unsigned slot);
/* One of the next generation has died before it served. */
void reload_on_failed(struct reload *r, struct generation *g, unsigned slot, const char *how);

/*
 * Upgrade, the new master: `config` follows the generation in force at another master, r->before.  From here on it goes as
 * ever, but for the word of that master before the hand-over.
 */
void reload_follow(struct reload *r, const struct config *config);
/* Upgrade, the old master: its generation leaves as `order` says, and everything it has is another's. */
void reload_send_away(struct reload *r, struct generation *g, const struct upgrade_leave *order);

/* reload_hand.c: the next generation comes into force; the timer of the steps that follow. */
void reload_hand_over(struct reload *r);
void reload_on_hand_timer(struct reload *r);
/* reload.c: it has; who asked is answered. */
void reload_finish(struct reload *r);

/* reload_report.c */
/* What cannot change while the server runs stays as it is, with a warning for each; false without memory. */
bool reload_keep_fixed(const struct config *before, struct config *next, json_t *warnings);
/* What differs between the two. */
json_t *reload_report(const struct generation *before, const struct generation *next);

#endif
