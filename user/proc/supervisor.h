/* SPDX-License-Identifier: MIT */
/*
 * Keeps one worker process in each slot: forks, reaps, restarts with back-off.  The first death of a healthy worker is
 * answered at once; one that dies again and again waits 100 ms, 200 ms ... 10 s.  A worker that has lived for a second
 * counts as healthy again.  Children are known by pid; nothing else is ever signalled.
 * The monitor has a supervisor of its own, with one slot.
 */
#ifndef SLUICE_PROC_SUPERVISOR_H
#define SLUICE_PROC_SUPERVISOR_H

#include <stdbool.h>
#include <sys/types.h>

#include "net/loop.h"

#define SUPERVISED_REASON_SIZE 200

struct supervisor;

struct supervised {
	struct supervisor *supervisor;
	unsigned slot;
	pid_t pid;			/* 0: none */
	bool is_ready;
	bool has_ended_well;		/* the last one: status 0 */
	unsigned failures;		/* deaths in a row */
	unsigned restarts;		/* in total */
	uint64_t started_ms;
	struct io channel;		/* fd -1: none */
	struct timer restart;
	char reason[SUPERVISED_REASON_SIZE];	/* why it cannot start, in its own words; "" if it said nothing */
};

/* on_start and on_message may be NULL; so may on_started, on_ready and on_gone where a name is there: the log tells then. */
struct supervisor_ops {
	/* Just before the fork: the slot is to be made ready for a new worker. */
	void (*on_start)(void *owner, unsigned slot);
	/* In the parent after it. */
	void (*on_started)(void *owner, unsigned slot, pid_t pid);
	/*
	 * In the child; runs the worker and returns its exit status.  Channels of this supervisor's others are closed
	 * already.
	 */
	int (*run_child)(void *owner, unsigned slot, int channel_fd);
	/* A worker said that it serves; `all_ready`: so do all. */
	void (*on_ready)(void *owner, unsigned slot, bool all_ready);
	/* Any other message of one byte. */
	void (*on_message)(void *owner, unsigned slot, char message);
	/*
	 * A worker is gone. `how`: "exited with status 1", "killed by signal 9", with its own reason behind it where it gave
	 * one; `will_restart_ms`: -1 = not.
	 */
	void (*on_gone)(void *owner, unsigned slot, pid_t pid, const char *how, long will_restart_ms);
	/* The last one is gone after supervisor_stop(). */
	void (*on_empty)(void *owner);
};

struct supervisor {
	const char *name;		/* of the process that it keeps, for the log; NULL: the ops tell */
	struct loop *loop;
	const struct supervisor_ops *ops;
	void *owner;
	unsigned count;
	struct supervised *workers;
	bool is_stopping;
	bool was_ready;			/* all workers were ready once */
};

/* Starts `count` workers.  0 or -errno; those started are then to be stopped. */
int supervisor_start(struct supervisor *s, unsigned count);
/* Call on SIGCHLD. */
void supervisor_reap(struct supervisor *s);
/* No more restarts; the signal goes to every worker.  May be called again with a harder signal. */
void supervisor_stop(struct supervisor *s, int signal);
/* The same without a signal: who is there goes by itself, and nobody follows. */
void supervisor_retire(struct supervisor *s);
/* How many there are at the moment. */
unsigned supervisor_living(const struct supervisor *s);
/* One byte to the worker of that slot; false when there is none, or it does not read. */
bool supervisor_tell(struct supervisor *s, unsigned slot, char message);
/*
 * In a forked child: closes its copies of the channels, touches nothing that is shared with the parent.  A channel that
 * somebody else still holds would keep its process from seeing the master go.
 */
void supervisor_abandon(struct supervisor *s);
void supervisor_fini(struct supervisor *s);

#endif
