/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the kernel program and user space share: the layout of the pinned maps.  Includes nothing: before it,
 * the BPF side includes vmlinux.h and user space <linux/types.h>.  All fields are fixed width, in host order.
 *
 *   steer_slots     array, key = slot, struct steer_slot      mmap'ed; a slot stands for a core, not for a process
 *   steer_config    array of 1, struct steer_config           policy and limits, effective on the next SYN
 *   steer_weights   array, key = slot, __u32                  written by operators only; 0 = drained
 *   steer_verdicts  per-CPU array of 1, struct steer_verdicts
 *   steer_socks     reuseport_sockarray, one for each listen address, key = slot
 *
 * docs/steering.md shows how to read and change them with bpftool.
 */
#ifndef SLUICE_STEER_SHARED_H
#define SLUICE_STEER_SHARED_H

#define STEER_MAX_SLOTS      256
#define STEER_DEFAULT_WEIGHT 100
#define STEER_MAX_WEIGHT     1000 /* more counts as this */

/* steer_policy.h says what they do. */
enum steer_policy_id {
	STEER_HASH = 0,
	STEER_LEAST = 1,
	STEER_RR = 2,
	STEER_P2C = 3,
	STEER_WEIGHTED = 4,
	STEER_CPU = 5,
	STEER_BUSY = 6,
	STEER_POLICY_COUNT,
};

#define STEER_DEFAULT_CHOICES	 2
#define STEER_MAX_CHOICES	 8
#define STEER_DEFAULT_BAND	 8
#define STEER_MAX_BAND		 (1 << 20) /* more counts as this */
#define STEER_MAX_PENDING_WEIGHT 1000	   /* more counts as this */

/*
 * Reservations in flight, in two buckets of `bucket_ns`: those made in bucket number `epoch` and those of the one
 * before.  Older ones are retired by the mere passing of time.  Changed by compare-and-swap as one 64-bit word, by
 * the program (reserve), by the slot's worker (cancel at accept) and by the master (retire).
 */
struct steer_resv {
	__u32 epoch;
	__u16 current;
	__u16 previous;
} __attribute__((aligned(8)));

union steer_resv_word {
	__u64 word;
	struct steer_resv resv;
};

/* One cache line.  The comment names the one writer of each field. */
struct steer_slot {
	struct steer_resv resv;	/* program, worker, master: compare-and-swap */
	__u64 stamp_ns;		/* worker: CLOCK_MONOTONIC, once per loop iteration */
	__u32 live;		/* worker: connections accepted and open, and UDP sessions; master: 0 when the worker is gone */
	__u32 pending;		/* worker: events taken and not yet handled */
	__u32 is_up;		/* master: 1 while the slot has a socket in the arrays and may be chosen */
	__u32 cpu;		/* master: the core the slot stands for */
	__u32 pid;		/* master: worker of this slot, 0 while there is none */
	__u32 is_waiting;	/* worker: 1 while it sleeps in epoll_wait; stamped before it becomes 0 again;
				   master: 0 when it does not wake though connections wait for it */
	__u64 accepted;		/* worker: connections accepted and UDP sessions begun since the slot came up */
	__u64 rescued;		/* siblings, by atomic addition: connections they took from its queue, ever */
	__u64 spare;
} __attribute__((aligned(64)));

struct steer_config {
	__u32 policy;		/* enum steer_policy_id; an unknown value: kernel hash */
	__u32 slot_count;	/* slots in use, for readers: the program hashes when it is not what it was loaded for */
	__u64 bucket_ns;	/* length of a reservation bucket; 0 turns reservations off */
	__u64 stall_ns;		/* a slot with work whose stamp is older is skipped; 0 = never */
	__u32 owner_pid;	/* the master that made the maps: for people, nothing depends on it */
	__u32 choices;		/* p2c: slots looked at; 0 and more than STEER_MAX_CHOICES: the default */
	__u32 band;		/* cpu: connections by which the receiving CPU's slot may be heavier */
	__u32 pending_weight;	/* connections that a pending event counts as, in least, p2c and cpu; 0: it does not */
};

/* Every run of the program ends in exactly one of these, so their sum is the number of runs. */
struct steer_verdicts {
	__u64 steered;		/* SYN: chosen by any other policy than hash; reserved unless bucket_ns is 0 */
	__u64 hashed;		/* SYN, policy hash: chosen by the connection's hash and the weights */
	__u64 cookie_ack;	/* not a SYN (a SYN-cookie ACK or data on a new socket): chosen, nothing reserved */
	__u64 migrated;		/* a closing listener's connection or request moved to a sibling, nothing reserved */
	__u64 all_stalled;	/* no slot may be chosen (down, drained, stalled): kernel hash */
	__u64 no_socket;	/* bpf_sk_select_reuseport refused (empty slot, wrong family): kernel hash */
	__u64 bad_config;	/* unusable contents of a map: kernel hash */
	__u64 short_header;	/* the TCP header could not be read: kernel hash */
};

_Static_assert(sizeof(struct steer_resv) == 8, "one atomic word");
_Static_assert(sizeof(struct steer_slot) == 64, "one cache line");
_Static_assert(sizeof(struct steer_config) == 40, "no holes");
_Static_assert(sizeof(struct steer_verdicts) == 64, "one cache line");

#endif
