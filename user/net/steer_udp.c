/* SPDX-License-Identifier: MIT */
/* Loading and the keys; see steer_udp.h. */
#include "net/steer_udp.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "net/steer_impl.h"
#include "udp.skel.h"

enum udp_map { UDP_MAP_FLOWS, UDP_MAP_SOCKS, UDP_MAP_OWNER, UDP_MAP_STAT, UDP_MAP_COUNT };

struct steer_udp {
	unsigned holders;
	int map_fds[UDP_MAP_COUNT];
	bool is_taken[UDP_KEYS_MAX];
};

static void list_maps(struct udp_bpf *skel, struct bpf_map *out[UDP_MAP_COUNT])
{
	out[UDP_MAP_FLOWS] = skel->maps.steer_udp_flows;
	out[UDP_MAP_SOCKS] = skel->maps.steer_udp_socks;
	out[UDP_MAP_OWNER] = skel->maps.steer_udp_owner;
	out[UDP_MAP_STAT] = skel->maps.steer_udp_stat;
}

static void close_maps(struct steer_udp *maps)
{
	for (int i = 0; i < UDP_MAP_COUNT; i++)
		if (maps->map_fds[i] >= 0)
			close(maps->map_fds[i]);
	free(maps);
}

static struct steer_udp *new_maps(void)
{
	struct steer_udp *maps = calloc(1, sizeof(*maps));

	for (int i = 0; maps && i < UDP_MAP_COUNT; i++)
		maps->map_fds[i] = -1;
	return maps;
}

/* Side by side, the lowest that are free.  Those of a generation that has just ended rest no longer than any other: its
 * flows name another generation. */
static int take_keys(struct steer_udp *maps, unsigned count, unsigned *ret_first)
{
	unsigned run = 0;

	for (unsigned key = 0; key < UDP_KEYS_MAX; key++) {
		run = maps->is_taken[key] ? 0 : run + 1;
		if (run < count)
			continue;
		*ret_first = key + 1 - count;
		memset(&maps->is_taken[*ret_first], true, count);
		return 0;
	}
	return -EBUSY;
}

static int share_maps(const struct steer *s, const struct steer_udp *maps, struct udp_bpf *skel, unsigned flow_max)
{
	struct bpf_map *own[UDP_MAP_COUNT];
	struct bpf_map *const common[] = { skel->maps.steer_slots, skel->maps.steer_config, skel->maps.steer_weights };
	const enum steer_map ids[] = { STEER_MAP_SLOTS, STEER_MAP_CONFIG, STEER_MAP_WEIGHTS };
	int r = 0;

	list_maps(skel, own);
	if (maps->map_fds[UDP_MAP_FLOWS] < 0)
		bpf_map__set_max_entries(own[UDP_MAP_FLOWS], flow_max);
	for (unsigned i = 0; i < ARRAY_LEN(common) && !r; i++)
		r = bpf_map__reuse_fd(common[i], s->map_fds[ids[i]]);
	for (int i = 0; i < UDP_MAP_COUNT && !r; i++)
		if (maps->map_fds[i] >= 0)
			r = bpf_map__reuse_fd(own[i], maps->map_fds[i]);
	return r;
}

/* Of what libbpf closes with the skeleton. */
static int keep_fd(int fd, int *ret_fd)
{
	if (*ret_fd >= 0)
		return 0;
	*ret_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return *ret_fd < 0 ? -errno : 0;
}

static int load(struct udp_bank *b, const struct steer *s, uint32_t generation, bool is_one_way, unsigned flow_max)
{
	libbpf_print_fn_t old = libbpf_set_print(steer_keep_quiet);
	struct udp_bpf *skel = udp_bpf__open();
	struct bpf_map *own[UDP_MAP_COUNT];
	int r = skel ? share_maps(s, b->maps, skel, flow_max) : -errno;

	if (!r) {
		skel->rodata->slot_count = s->slot_count;
		skel->rodata->first_key = b->first_key;
		skel->rodata->generation = generation;
		skel->rodata->is_one_way = is_one_way;
		r = udp_bpf__load(skel);
	}
	if (!r)
		list_maps(skel, own);
	for (int i = 0; i < UDP_MAP_COUNT && !r; i++)
		r = keep_fd(bpf_map__fd(own[i]), &b->maps->map_fds[i]);
	if (!r)
		r = keep_fd(bpf_program__fd(skel->progs.udp_steer), &b->prog_fd);
	udp_bpf__destroy(skel);
	libbpf_set_print(old);
	return r;
}

static int set_owner(const struct udp_bank *b, unsigned slot, __u32 generation)
{
	__u32 key = b->first_key + slot;

	return bpf_map_update_elem(b->maps->map_fds[UDP_MAP_OWNER], &key, &generation, BPF_ANY) ? -errno : 0;
}

static int fill(const struct udp_bank *b, const int *fds, uint32_t generation)
{
	int r = 0;

	for (unsigned slot = 0; slot < b->count && !r; slot++) {
		__u32 key = b->first_key + slot;
		__u64 value = (__u64)fds[slot];

		if (bpf_map_update_elem(b->maps->map_fds[UDP_MAP_SOCKS], &key, &value, BPF_ANY))
			r = -errno;
		if (!r)
			r = set_owner(b, slot, generation);
	}
	return r;
}

int udp_bank_open(struct udp_bank *b, const struct steer *s, const struct udp_bank *before, const int *fds,
		  unsigned count, uint32_t generation, bool is_one_way, unsigned flow_max)
{
	int r;

	*b = (struct udp_bank){ .prog_fd = -1 };
	b->maps = before ? before->maps : new_maps();
	if (!b->maps)
		return -ENOMEM;
	b->maps->holders++;
	r = take_keys(b->maps, count, &b->first_key);
	if (!r) {
		b->count = count;
		r = load(b, s, generation, is_one_way, flow_max);
	}
	if (!r)
		r = fill(b, fds, generation);
	if (r)
		udp_bank_close(b);
	return r;
}

int udp_bank_attach(const struct udp_bank *b, int fd)
{
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &b->prog_fd, sizeof(b->prog_fd)) ? -errno : 0;
}

void udp_bank_retire(struct udp_bank *b, unsigned slot)
{
	if (b->maps && slot < b->count)
		(void)set_owner(b, slot, 0);
}

void udp_bank_close(struct udp_bank *b)
{
	struct steer_udp *maps = b->maps;

	if (!maps)
		return;
	for (unsigned slot = 0; slot < b->count && maps->map_fds[UDP_MAP_OWNER] >= 0; slot++) {
		__u32 key = b->first_key + slot;

		(void)set_owner(b, slot, 0);
		(void)bpf_map_delete_elem(maps->map_fds[UDP_MAP_SOCKS], &key);
	}
	memset(&maps->is_taken[b->first_key], false, b->count);
	if (b->prog_fd >= 0)
		close(b->prog_fd);
	if (--maps->holders == 0)
		close_maps(maps);
	*b = (struct udp_bank){ .prog_fd = -1 };
}

void udp_bank_disown(struct udp_bank *b)
{
	if (!b->maps)
		return;
	if (b->prog_fd >= 0)
		close(b->prog_fd);
	if (--b->maps->holders == 0)
		close_maps(b->maps);
	*b = (struct udp_bank){ .prog_fd = -1 };
}

int udp_bank_read_verdicts(const struct udp_bank *b, struct udp_verdicts *ret_verdicts)
{
	*ret_verdicts = (struct udp_verdicts){ 0 };
	if (!b->maps)
		return 0;
	return steer_sum_counters(b->maps->map_fds[UDP_MAP_STAT], ret_verdicts, sizeof(*ret_verdicts));
}
