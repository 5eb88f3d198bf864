/* SPDX-License-Identifier: MIT */
/*
 * Upgrade, the old master's part: another program in the place of this one, and nobody notices.  It is a reload whose next
 * generation lives under another master (elder.h is that one's part); include/upgrade_proto.h is what they say.
 *
 *   NONE --asked--> STARTING    the new program runs, takes descriptors, reads its configuration, forks its workers
 *                    |  `--it fails, ends, hangs--> NONE   nothing has changed, why is the answer
 *                    v  it is ready
 *                   GOING       it attaches its programs and takes the slots
 *                    |  `--it ends--> NONE   slots and programs are taken back
 *                    v  'H'
 *                   LEAVING     everything is its; slot by slot our workers stop, connections move
 *                    |
 *                    v  it serves, or is gone
 *                   OVER        whoever asked is answered; we end with our last worker
 *
 * One after the other with reloads: what is asked for while one runs waits.
 */
#ifndef SLUICE_PROC_UPGRADE_H
#define SLUICE_PROC_UPGRADE_H

#include "net/loop.h"
#include "proc/ctl.h"
#include "upgrade_proto.h"

struct master;
struct generation;

enum upgrade_state { UPGRADE_NONE, UPGRADE_STARTING, UPGRADE_GOING, UPGRADE_LEAVING, UPGRADE_OVER };

#define UPGRADE_SAID_MAX (16 * 1024)
#define UPGRADE_LIMIT_MS 30000u		/* for the new program to be ready, unless the caller says otherwise */

/* Descriptors in the order in which they go; copies, owned. */
struct upgrade_bundle {
	int *fds;
	unsigned count, sent_count;
};

struct upgrade {
	struct master *master;
	enum upgrade_state state;
	char **argv;			/* as this process was started; NULL: not known */
	char *binary;			/* absolute, what argv[0] stood for then */
	struct ctl_request *asking;	/* NULL: a signal asked, or nobody any more */
	bool is_wanted;			/* waits for a reload to end */
	char *wanted_binary;		/* NULL: the same */
	uint64_t limit_ms;
	uint64_t started_ns;
	struct job begin;
	struct timer limit;
	pid_t pid;			/* of the new master; 0: none */
	struct io io;			/* to it; fd -1: none */
	struct io said;			/* its stderr until it is one of ours; fd -1: none */
	char *said_text;		/* NUL-terminated; NULL: nothing yet */
	size_t said_len;
	char *reason, *details;		/* why it cannot, in its own words, and what goes before it; NULL: it said nothing */
	bool was_killed;		/* by us, at the limit */
	struct upgrade_bundle bundle;
};

void upgrade_init(struct upgrade *u, struct master *m);
/* Answers `rq` (NULL: a signal) some time; `binary`: NULL for the same one; `limit_ms` 0: the usual. */
void upgrade_ask(struct upgrade *u, struct ctl_request *rq, const char *binary, uint64_t limit_ms);
/* A reload has ended. */
void upgrade_begin_waiting(struct upgrade *u);
/* Call on SIGCHLD. */
void upgrade_reap(struct upgrade *u);
/* The server stops: harmless when nothing runs, and too late for one that has gone on its way. */
void upgrade_cancel(struct upgrade *u);
/* One that was cancelled and does not end by itself. */
void upgrade_kill(struct upgrade *u);
/* In a forked child. */
void upgrade_abandon(struct upgrade *u);
void upgrade_fini(struct upgrade *u);
/* False: generations must stay as they are described. */
bool upgrade_is_idle(const struct upgrade *u);
/* `ctx`: struct upgrade.  Whoever has not asked yet on the control socket asks the new master.  0 or -errno. */
int upgrade_send_client(void *ctx, int fd, const char *text, size_t len);
/* A worker of the generation that leaves has said so, or is gone. */
void upgrade_tell(struct upgrade *u, const struct generation *g, unsigned slot, char type);

/* upgrade_talk.c, for upgrade.c */
/* Takes `what`; to nobody when a signal asked. */
void upgrade_answer(struct upgrade *u, json_t *what);
void upgrade_on_message(struct io *io, uint32_t events);
void upgrade_on_said(struct io *io, uint32_t events);
/* The other side has gone; what it had taken is taken back. */
void upgrade_lose(struct upgrade *u);
/* Harmless when it is closed. */
void upgrade_close_io(struct upgrade *u, struct io *io);

/* upgrade_start.c */
/* How this process was started: sets argv and binary; leaves them NULL where that cannot be known. */
void upgrade_look_at_self(struct upgrade *u);
/*
 * Starts `binary` with our own arguments and environment.  *ret_sock: our end of the socket; *ret_said: what it writes to
 * stderr.  Its pid, or -errno.
 */
pid_t upgrade_spawn(const struct upgrade *u, const char *binary, int *ret_sock, int *ret_said);

/* upgrade_text.c: what the new master is told and given.  0 or -errno. */
int upgrade_describe(struct master *m, struct upgrade_bundle *ret_bundle);
void upgrade_bundle_free(struct upgrade_bundle *b);
/* In a forked child. */
void upgrade_bundle_close(const struct upgrade_bundle *b);

#endif
