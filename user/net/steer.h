/* SPDX-License-Identifier: MIT */
/*
 * User-space side of the steering: loads, attaches, pins and maps the BPF objects (master), writes a worker's slot
 * (worker), reads counts and verdicts (master, command line).  Knows nothing of HTTP, processes or configuration files.
 *
 * Without BPF the same memory is anonymous shared memory, so that workers need no second path: counts are kept,
 * nothing steers.
 */
#ifndef SLUICE_NET_STEER_H
#define SLUICE_NET_STEER_H

#include <linux/types.h>
#include <stdbool.h>
#include <stdint.h>

#include "steer_shared.h"

struct steer;

#define STEER_NO_RESERVATIONS UINT64_MAX
/* Steered addresses that can be passed on. */
#define STEER_ESTATE_MAX      256

struct steer_options {
	unsigned slot_count;		/* 1 to STEER_MAX_SLOTS */
	enum steer_policy_id policy;
	uint64_t bucket_ns;		/* 0: 500 ms; STEER_NO_RESERVATIONS: off */
	uint64_t stall_ns;
	uint32_t choices;		/* policy p2c; 0: STEER_DEFAULT_CHOICES */
	uint32_t band;			/* policy cpu, connections */
	uint32_t pending_weight;	/* connections that a pending event counts as */
	const char *pin_dir;		/* NULL: nothing is pinned */
	bool is_disabled;		/* do not try BPF at all */
};

/*
 * Loads the maps and pins them.  A lock on pin_dir (flock, so the kernel drops it with its holder) says whose they are:
 * pins that a dead process left are replaced, those of a live one stay, and ours are missing.  Always gives a usable object unless
 * memory runs out: when BPF is not to be had, steer_is_active() is false and steer_why() says why in one line.
 * bpffs is not mounted here; a missing bpffs only costs the pins (steer_pin_error() then says why).
 * 0, -ENOMEM, -EINVAL.
 */
int steer_open(const struct steer_options *opt, struct steer **ret_steer);
/*
 * Detaches nothing from open sockets; removes the pins (only in the process that made them) and unmaps.
 * NULL is allowed.
 */
void steer_close(struct steer *s);
/*
 * Worker, after fork(): closes every descriptor of the BPF objects and of the pins' lock, so that an unprivileged
 * process holds none and the pins do not look owned when the master is gone.  The slots stay mapped.
 */
void steer_disown(struct steer *s);

bool steer_is_active(const struct steer *s);
/* Static or owned by `s`; NULL when active. */
const char *steer_why(const struct steer *s);
const char *steer_pin_error(const struct steer *s);
/* True when the kernel took the program as SELECT_OR_MIGRATE (5.14+). */
bool steer_can_migrate(const struct steer *s);

/*
 * Steers one listen address: loads a program with a socket array of its own (the other maps are shared), attaches it
 * to the group of `fds` and puts fds[i] into slot i.  The sockets must be listening, bound to the same address with
 * SO_REUSEPORT by the same effective uid, slot_count of them.  `fds` stay the caller's.
 * *ret_id names the address in later calls.  0 when steering is inactive too (then nothing is attached).
 * -errno when the kernel refuses; the group then hashes.
 */
int steer_add_address(struct steer *s, const int *fds, unsigned *ret_id);
/*
 * Empties and closes that address's array and closes its program.  Its sockets, if still open, go on with the kernel's
 * hash (each connection counts in no_socket).
 */
void steer_remove_address(struct steer *s, unsigned id);

/*
 * A steering of another number of slots, beside `from` and not in force yet: its settings, its weights as far as there
 * are slots for them, its addresses under the same ids and its verdicts, with slots, weights and configuration of its
 * own.  Addresses may be added to it meanwhile.  Until steer_take_over() it can be closed as if it had never been.
 * 0 or -errno.
 */
int steer_resize(const struct steer *from, unsigned slot_count, struct steer **ret_steer);
/*
 * The address's program is replaced: from the next SYN on it is that of `s`.  fds[0] to fds[old_count - 1] are in the
 * array already.  0 or -errno; the old program is in force then.
 */
int steer_take_address(struct steer *s, unsigned id, const int *fds, unsigned old_count);
/*
 * The other way round, when another process had taken the address and is gone: the program is that of `s` again, and
 * every socket of `fds` in its array.  0 or -errno.
 */
int steer_take_back(struct steer *s, unsigned id, const int *fds);
/* The same for the pins. */
void steer_pin_again(struct steer *s);
/* The pins are those of `s` from now on, at no time missing; what is left of `from` is to be closed. */
void steer_take_over(struct steer *s, struct steer *from);
/*
 * What a steering leaves to one of another process: its settings, what operators have set, descriptors.  Everything is
 * borrowed from where it comes from.
 */
struct steer_estate {
	unsigned slot_count;
	bool is_active, can_migrate;
	struct steer_config config;
	uint32_t weights[STEER_MAX_SLOTS];
	uint16_t drained_weights[STEER_MAX_SLOTS];	/* before steer_drain(), 0: none known */
	int verdicts_fd;		/* -1: none, or of another layout: they begin anew */
	int pin_lock_fd;		/* -1: nothing is pinned */
	const char *pin_dir, *pin_error, *why;	/* NULL: none */
	uint64_t past_runs;
	unsigned address_count;
	struct steer_estate_address {
		int socks_fd, prog_fd;	/* -1: the id is free */
	} addresses[STEER_ESTATE_MAX];
};

/* 0, or -E2BIG: too many addresses. */
int steer_describe(const struct steer *s, struct steer_estate *ret_estate);
/*
 * In the other process: a steering that steers nothing by itself and that steer_resize() and steer_take_over() can follow.
 * Takes the descriptors over, also on failure; closing it removes no pin.  0 or -ENOMEM.
 */
int steer_restore(const struct steer_estate *estate, struct steer **ret_steer);

/* Writes those settings that differ between the two, and leaves alone what an operator has changed. */
void steer_change(struct steer *s, const struct steer_options *before, const struct steer_options *now);

/* The shared line of a slot; stays valid, and shared over fork(), until steer_close().  NULL beyond the last. */
struct steer_slot *steer_slot(struct steer *s, unsigned slot);
unsigned steer_slot_count(const struct steer *s);

/* Master: a worker of `pid` on `cpu` takes the slot: live, resv and pending become 0, is_up 1, the stamp now. */
void steer_slot_up(struct steer *s, unsigned slot, uint32_t cpu, uint32_t pid);
/*
 * Master: the slot has another worker from now on, and its queue and reservations go on.  The worker itself calls
 * steer_slot_begin() before it accepts: nobody else writes its fields any more.
 */
void steer_slot_pass(struct steer *s, unsigned slot, uint32_t cpu, uint32_t pid);
void steer_slot_begin(struct steer_slot *slot, uint64_t now_ns);
/* Master: the slot's worker is gone: live and pending become 0.  `keeps_queue`: the slot may still be chosen (its
 * socket is open and the next worker comes soon). */
void steer_slot_down(struct steer *s, unsigned slot, bool keeps_queue);
/* Master, about once a second: retires reservations whose time is over, so that readers of the map see them go. */
void steer_retire(struct steer *s, uint64_t now_ns);

/*
 * Worker side, one store each; no system call.  Before epoll_wait: steer_set_waiting(true); after it: steer_stamp(), and
 * only then steer_set_waiting(false), or the slot looks stalled in between.
 */
static inline void steer_stamp(struct steer_slot *slot, uint64_t now_ns)
{
	__atomic_store_n(&slot->stamp_ns, now_ns, __ATOMIC_RELAXED);
}

static inline void steer_set_waiting(struct steer_slot *slot, bool is_waiting)
{
	__atomic_store_n(&slot->is_waiting, is_waiting, __ATOMIC_RELEASE);
}

/*
 * One connection was accepted: live + 1, and one reservation is cancelled (the oldest that counts at `now_ns`,
 * CLOCK_MONOTONIC).
 */
void steer_accepted(const struct steer *s, struct steer_slot *slot, uint64_t now_ns);
/* A connection another worker accepted came over: live + 1 only. */
void steer_adopted(struct steer_slot *slot);
/* The same for a connection that slot `slot` took from the queue of `from`: the reservation cancelled is there. */
void steer_rescued(const struct steer *s, struct steer_slot *slot, struct steer_slot *from, uint64_t now_ns);
/* Worker: so many are open, whatever somebody wrote by mistake. */
static inline void steer_set_live(struct steer_slot *slot, uint32_t live)
{
	if (slot->live != live)
		__atomic_store_n(&slot->live, live, __ATOMIC_RELAXED);
}

/* One accepted connection is gone. */
void steer_closed(struct steer_slot *slot);

/* As the map has it, where an operator may have changed it; 0: nobody is ever stalled. */
uint64_t steer_stall_ns(const struct steer *s);
/* What makes the program skip a slot: it does not wait, and its stamp is too old. */
bool steer_is_stalled(const struct steer *s, unsigned slot, uint64_t now_ns);
/*
 * Master: a worker that says it waits does not move.  The slot is skipped until the worker has been through its loop,
 * so something must wake it after this call: it may be well and asleep.
 */
static inline void steer_mark_stalled(struct steer_slot *slot)
{
	steer_set_waiting(slot, false);
}

/* Reservations that still count at `now_ns`. */
unsigned steer_reserved(const struct steer *s, unsigned slot, uint64_t now_ns);
/* Sums the per-CPU counters.  0 or -errno; zeros when inactive or after steer_disown(). */
int steer_read_verdicts(const struct steer *s, struct steer_verdicts *ret_verdicts);

/*
 * Runs of the programs of all addresses as the kernel counted them, which it does only while kernel.bpf_stats_enabled
 * is 1 (or somebody holds BPF_ENABLE_STATS): 0 otherwise.  0 or -errno; no runs when inactive or after steer_disown().
 */
int steer_read_runs(const struct steer *s, uint64_t *ret_runs);

/* Names "hash", "least", "rr", "p2c", "weighted", "cpu", "busy": -EINVAL for another. */
int steer_policy_parse(const char *name, enum steer_policy_id *ret_policy);
const char *steer_policy_name(enum steer_policy_id policy);
/* Who gets a connection, in one line. */
const char *steer_policy_about(enum steer_policy_id policy);
/* Effective on the next SYN. */
int steer_set_policy(struct steer *s, enum steer_policy_id policy);
enum steer_policy_id steer_policy(const struct steer *s);
/* 0 drains the slot; -EINVAL above STEER_MAX_WEIGHT or beyond the last slot. */
int steer_set_weight(struct steer *s, unsigned slot, uint32_t weight);
uint32_t steer_weight(const struct steer *s, unsigned slot);
/* Weight 0, and back to what it was before (STEER_DEFAULT_WEIGHT when it became 0 by other means).  0 or -EINVAL. */
int steer_drain(struct steer *s, unsigned slot);
int steer_undrain(struct steer *s, unsigned slot);

#define STEER_EXPLAIN_DRAWS 1000

/* How a slot stands for the next connection. */
struct steer_standing {
	uint32_t cpu, pid, weight, live, reserved, pending;
	bool is_up, is_stalled;
	/*
	 * What the policy compares, the least wins: load per weight in connections of a slot of default weight, the
	 * next one counted; policy busy: events, with connections in the digits behind the point.  Negative: not compared.
	 */
	double score;
	unsigned wins;			/* of STEER_EXPLAIN_DRAWS imagined connections */
};

struct steer_explanation {
	struct steer_config config;
	unsigned slot_count;
	unsigned hashed;		/* imagined connections that the kernel's hash would place */
	struct steer_standing slots[STEER_MAX_SLOTS];
};

/* The policy function on a copy of the maps.  0 or -ENOMEM. */
int steer_explain(const struct steer *s, uint64_t now_ns, struct steer_explanation *ret_explanation);

#endif
