/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The maps that all steering programs share (the loader gives them the same ones), and the policy
 * over them.
 *
 * Before this file: vmlinux.h and bpf_helpers.h.
 */
#ifndef SLUICE_STEER_MAPS_H
#define SLUICE_STEER_MAPS_H

#include "steer_shared.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, STEER_MAX_SLOTS); /* the loader sets the slots in use */
	__type(key, __u32);
	__type(value, struct steer_slot);
} steer_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct steer_config);
} steer_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, STEER_MAX_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} steer_weights SEC(".maps");

static __always_inline void *lookup(void *map, __u32 key)
{
	return bpf_map_lookup_elem(map, &key);
}

/* Set by the loader: with the number known, the verifier walks the slots in use and no others. */
const volatile __u32 slot_count = STEER_MAX_SLOTS;

#define STEER_SLOT_COUNT(config)    slot_count
#define STEER_SLOT_AT(slots, i)	    ((const struct steer_slot *)lookup(&steer_slots, i))
#define STEER_WEIGHT_AT(weights, i) ((const __u32 *)lookup(&steer_weights, i))
#include "steer_policy.h"
#include "steer_atomic.h"

#endif
