// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Gives each datagram to the worker that has its flow, and each new flow to the worker that
 * steer_policy.h picks; udp_shared.h explains the maps.
 *
 * Runs for every datagram.  A flow keeps its socket for as long as that is open and its generation
 * owns the key, whatever program is in force by then: so neither a reload nor another number of
 * workers moves it.  A new flow reserves, as a SYN does: it is followed by a session not yet
 * counted.  Takes Linux 5.12 (atomic operations that give a value back).
 *
 * Fails open: each way out is SK_PASS.  Each run counts in exactly one verdict.
 */
#include "vmlinux.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "udp_maps.h"

/* Set by the loader: the bank of new flows. */
const volatile __u32 first_key = 0, generation = 0;
const volatile bool is_one_way = 0;

/* enum bpf_hdr_start_off, which the BTF of kernels leaves out. */
#define BPF_HDR_START_NET 1

#define ETH_P_IP      0x0800
#define IPV4_SADDR_AT 12
#define IPV6_SADDR_AT 8
#define V4_MAPPED     bpf_htonl(0xffff)

__u32 turn;

/* Source and destination stand side by side in both headers. */
static __always_inline bool read_flow(struct sk_reuseport_md *ctx, struct udp_flow *flow)
{
	__u16 *ports = ctx->data;
	__u32 v4[2];

	if ((void *)(ports + 2) > ctx->data_end)
		return false;
	flow->from_port = ports[0];
	flow->to_port = ports[1];
	if (ctx->eth_protocol != bpf_htons(ETH_P_IP))
		return !bpf_skb_load_bytes_relative(ctx, IPV6_SADDR_AT, flow->from,
						    2 * sizeof(flow->from), BPF_HDR_START_NET);
	if (bpf_skb_load_bytes_relative(ctx, IPV4_SADDR_AT, v4, sizeof(v4), BPF_HDR_START_NET))
		return false;
	flow->from[2] = flow->to[2] = V4_MAPPED;
	flow->from[3] = v4[0];
	flow->to[3] = v4[1];
	return true;
}

static __always_inline bool give(struct sk_reuseport_md *ctx, __u32 key)
{
	return bpf_sk_select_reuseport(ctx, &steer_udp_socks, &key, 0) == 0;
}

/* To the socket that has the flow, if it is still the one that was meant. */
static __always_inline bool keep(struct sk_reuseport_md *ctx, struct udp_target target)
{
	__u32 *owner = lookup(&steer_udp_owner, target.key);

	return owner && *owner == target.generation && give(ctx, target.key);
}

/* False: another CPU was faster, or there is no room. */
static __always_inline bool remember(const struct udp_flow *flow, union udp_target_word *held,
				     union udp_target_word old, union udp_target_word new)
{
	if (!held)
		return !bpf_map_update_elem(&steer_udp_flows, flow, &new, BPF_NOEXIST);
	return __sync_val_compare_and_swap(&held->word, old.word, new.word) == old.word;
}

static __always_inline __u64 *spread(struct sk_reuseport_md *ctx, struct udp_verdicts *v,
				     const struct steer_config *config)
{
	struct steer_config in_turn = *config;
	int pick;

	in_turn.policy = STEER_RR;
	pick = steer_pick(&steer_slots, &steer_weights, &in_turn, ctx->hash,
			  bpf_get_smp_processor_id(), steer_next_turn(&turn, false),
			  steer_clock_ns(false));
	return pick >= 0 && give(ctx, first_key + pick) ? &v->spread : &v->no_socket;
}

static __always_inline __u64 *udp_one(struct sk_reuseport_md *ctx, struct udp_verdicts *v,
				      const struct steer_config *config)
{
	union udp_target_word old = {}, new = {}, *held;
	struct udp_flow flow = {};
	__u64 now_ns, *verdict;
	int pick;

	if (is_one_way)
		return spread(ctx, v, config);
	if (!read_flow(ctx, &flow))
		return &v->short_header;
	held = bpf_map_lookup_elem(&steer_udp_flows, &flow);
	if (held) {
		old.word = *(volatile __u64 *)&held->word;
		if (keep(ctx, old.target))
			return old.target.generation == generation ? &v->kept : &v->kept_old;
	}
	now_ns = steer_clock_ns(false);
	pick = steer_pick(&steer_slots, &steer_weights, config, ctx->hash,
			  bpf_get_smp_processor_id(),
			  steer_takes_turns(config->policy) ? steer_next_turn(&turn, false) : 0,
			  now_ns);
	verdict = pick == STEER_PICK_NONE ? &v->all_stalled : &v->bad_config;
	if (pick >= 0)
		verdict = held ? &v->replaced : &v->placed;
	new.target.key = first_key + (pick >= 0 ? (__u32)pick : ctx->hash % slot_count);
	new.target.generation = generation;
	if (!remember(&flow, held, old, new)) {
		held = bpf_map_lookup_elem(&steer_udp_flows, &flow);
		if (held && keep(ctx, held->target))
			return &v->kept;
		verdict = &v->not_kept;
	}
	if (!give(ctx, new.target.key))
		return &v->no_socket;
	if (pick >= 0 && config->policy != STEER_HASH)
		steer_reserve(lookup(&steer_slots, pick), config->bucket_ns, now_ns, false);
	return verdict;
}

SEC("sk_reuseport")
int udp_steer(struct sk_reuseport_md *ctx)
{
	struct udp_verdicts *verdicts = lookup(&steer_udp_stat, 0);
	struct steer_config *config = lookup(&steer_config, 0);

	if (config && verdicts)
		++*udp_one(ctx, verdicts, config);
	return SK_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
