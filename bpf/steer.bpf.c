// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Steers each new connection of a SO_REUSEPORT group to a worker's socket; steer_policy.h says
 * which.
 *
 * Runs on a SYN, on the final ACK of a SYN-cookie handshake (nothing was kept of its SYN) and when
 * a closing listener's connections look for a new one.  Only a SYN reserves: it alone is followed
 * by an accept not yet counted.
 *
 * Fails open: each way out is SK_PASS.  Without a selection the kernel falls back on its own hash.
 * Each run counts in exactly one verdict.
 */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#include "steer_maps.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct steer_verdicts);
} steer_verdicts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, STEER_MAX_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} steer_socks SEC(".maps");

/* False on a kernel without SELECT_OR_MIGRATE (before 5.14), whose context ends before
 * migrating_sk. */
const volatile bool can_migrate = 1;

#define TCP_FLAGS_AT 13
#define TCP_SYN	     0x02
#define TCP_ACK	     0x10
#define MIGRATION    0x100 /* no packet, no flags */

/* Numbers for the policies that take turns: of SYNs, and of all else.  With SYN cookies both come
 * alternately, and one counter would give all SYNs the even numbers. */
__u32 turns[2];

static __always_inline __u64 *steer_one(struct sk_reuseport_md *ctx,
					const struct steer_config *config, struct steer_verdicts *v,
					bool is_old)
{
	__u64 now_ns = steer_clock_ns(is_old), flags = MIGRATION;
	__u8 *tcp = ctx->data;
	__u32 key, turn = 0;
	int pick;

	if (!can_migrate || !ctx->migrating_sk) {
		if ((void *)(tcp + TCP_FLAGS_AT + 1) > ctx->data_end)
			return &v->short_header;
		flags = tcp[TCP_FLAGS_AT] & (TCP_SYN | TCP_ACK);
	}
	flags = steer_forget(flags, now_ns);
	if (steer_takes_turns(config->policy))
		turn = steer_next_turn(&turns[flags == TCP_SYN], is_old);
	pick = steer_pick(&steer_slots, &steer_weights, config, ctx->hash,
			  bpf_get_smp_processor_id(), turn, now_ns);
	if (pick < 0)
		return pick == STEER_PICK_NONE ? &v->all_stalled : &v->bad_config;
	key = pick;
	if (bpf_sk_select_reuseport(ctx, &steer_socks, &key, 0))
		return &v->no_socket;
	if (flags == MIGRATION)
		return &v->migrated;
	if (flags != TCP_SYN)
		return &v->cookie_ack;
	if (config->policy == STEER_HASH)
		return &v->hashed;
	steer_reserve(lookup(&steer_slots, key), config->bucket_ns, now_ns, is_old);
	return &v->steered;
}

static __always_inline int steer_any(struct sk_reuseport_md *ctx, bool is_old)
{
	struct steer_config *config = lookup(&steer_config, 0);
	struct steer_verdicts *verdicts = lookup(&steer_verdicts, 0);

	if (config && verdicts)
		++*steer_one(ctx, config, verdicts, is_old);
	return SK_PASS;
}

SEC("sk_reuseport/migrate")
int steer(struct sk_reuseport_md *ctx)
{
	return steer_any(ctx, false);
}

/* Loaded in the other's place by Linux 5.10 and 5.11. */
SEC("?sk_reuseport")
int steer_old(struct sk_reuseport_md *ctx)
{
	return steer_any(ctx, true);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
