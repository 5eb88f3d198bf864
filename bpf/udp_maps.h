/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The maps of one listen_udp address; udp_shared.h explains them. */
#ifndef SLUICE_UDP_MAPS_H
#define SLUICE_UDP_MAPS_H

#include "steer_maps.h"
#include "udp_shared.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536); /* the loader sets it */
	__type(key, struct udp_flow);
	__type(value, union udp_target_word);
} steer_udp_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, UDP_KEYS_MAX);
	__type(key, __u32);
	__type(value, __u64);
} steer_udp_socks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, UDP_KEYS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} steer_udp_owner SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct udp_verdicts);
} steer_udp_stat SEC(".maps");

#endif
