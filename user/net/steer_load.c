/* SPDX-License-Identifier: MIT */
/*
 * Loading: once to make the maps that all addresses share (and to see whether the kernel takes the
 * program at all), then one program with a socket array of its own for each listen address: a
 * socket of another address in the array would silently hash (EBADFD).
 */
#include "net/steer_impl.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "steer.skel.h"


int steer_keep_quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

static void list_maps(struct steer_bpf *skel, struct bpf_map *out[STEER_MAP_COUNT])
{
	out[STEER_MAP_SLOTS] = skel->maps.steer_slots;
	out[STEER_MAP_CONFIG] = skel->maps.steer_config;
	out[STEER_MAP_WEIGHTS] = skel->maps.steer_weights;
	out[STEER_MAP_VERDICTS] = skel->maps.steer_verdicts;
}

static struct bpf_program *loaded(const struct steer_bpf *skel, bool is_old)
{
	return is_old ? skel->progs.steer_old : skel->progs.steer;
}

void steer_close_address(struct steer_address *a)
{
	if (a->skel)
		steer_bpf__destroy(a->skel);
	else if (a->socks_fd >= 0)
		close(a->socks_fd);
	if (!a->skel && a->prog_fd >= 0)
		close(a->prog_fd);
	*a = (struct steer_address){ NULL, -1, -1 };
}

/*
 * Sizes for the slots in use, so that a dump shows no others; shared maps where there are any already.  The socket array
 * alone keeps room for all slots there can be (steer_resize.c).  `socks_fd`: the one to take, -1: a new one.
 */
static int prepare(const struct steer *s, struct steer_bpf *skel, bool can_migrate, int socks_fd)
{
	struct bpf_map *maps[STEER_MAP_COUNT];
	int r;

	list_maps(skel, maps);
	for (int i = 0; i < STEER_MAP_COUNT; i++) {
		r = s->map_fds[i] >= 0 ? bpf_map__reuse_fd(maps[i], s->map_fds[i]) : 0;
		if (r)
			return r;
	}
	if (s->map_fds[STEER_MAP_SLOTS] < 0) {
		bpf_map__set_max_entries(skel->maps.steer_slots, s->slot_count);
		bpf_map__set_max_entries(skel->maps.steer_weights, s->slot_count);
	}
	if (socks_fd >= 0) {
		r = bpf_map__reuse_fd(skel->maps.steer_socks, socks_fd);
		if (r)
			return r;
	}
	skel->rodata->can_migrate = can_migrate;
	skel->rodata->slot_count = s->slot_count;
	(void)bpf_program__set_autoload(skel->progs.steer, !s->is_old);
	(void)bpf_program__set_autoload(skel->progs.steer_old, s->is_old);
	return bpf_program__set_expected_attach_type(
		loaded(skel, s->is_old),
		can_migrate ? BPF_SK_REUSEPORT_SELECT_OR_MIGRATE : BPF_SK_REUSEPORT_SELECT);
}

/* 0 or -errno, with errno as the failing call left it: libbpf keeps it. */
static int load_one(const struct steer *s, bool can_migrate, int socks_fd, struct steer_bpf **ret_skel)
{
	libbpf_print_fn_t old = libbpf_set_print(steer_keep_quiet);
	struct steer_bpf *skel = steer_bpf__open();
	int r = skel ? 0 : -errno;

	if (r == 0)
		r = prepare(s, skel, can_migrate, socks_fd);
	if (r == 0)
		r = steer_bpf__load(skel);
	libbpf_set_print(old);
	if (r) {
		steer_bpf__destroy(skel);
		return r;
	}
	*ret_skel = skel;
	return 0;
}

static void explain(struct steer *s, int r)
{
	char text[64];

	libbpf_strerror(-r, text, sizeof(text));
	if (r == -EPERM || r == -EACCES)
		snprintf(s->why, sizeof(s->why),
			 "loading BPF is not permitted: it takes root, or CAP_BPF and CAP_PERFMON");
	else if (r == -ENOSYS)
		snprintf(s->why, sizeof(s->why), "this kernel has no bpf()");
	else
		snprintf(s->why, sizeof(s->why),
			 "the kernel refuses the program, which takes Linux 5.10 and CAP_PERFMON: "
			 "%s",
			 text);
}

static int load_address(const struct steer *s, int socks_fd, struct steer_address *ret)
{
	int r;

	*ret = (struct steer_address){ NULL, -1, -1 };
	r = load_one(s, s->can_migrate, socks_fd, &ret->skel);
	if (r)
		return r;
	ret->socks_fd = bpf_map__fd(ret->skel->maps.steer_socks);
	ret->prog_fd = bpf_program__fd(loaded(ret->skel, s->is_old));
	return 0;
}

int steer_load(struct steer *s)
{
	struct steer_bpf *skel = NULL;
	struct bpf_map *maps[STEER_MAP_COUNT];
	int r = load_one(s, true, -1, &skel);

	s->can_migrate = r == 0;
	for (int i = 0; i < 2 && r && r != -EPERM; i++) {
		s->is_old = i == 1;
		r = load_one(s, false, -1, &skel);
	}
	if (r) {
		explain(s, r);
		return r;
	}
	list_maps(skel, maps);
	for (int i = 0; i < STEER_MAP_COUNT && r == 0; i++) {
		if (s->map_fds[i] >= 0)
			continue;
		s->map_fds[i] = fcntl(bpf_map__fd(maps[i]), F_DUPFD_CLOEXEC, 3);
		if (s->map_fds[i] < 0) {
			r = -errno;
			explain(s, r);
		}
	}
	steer_bpf__destroy(skel);
	if (r)
		steer_unload(s);
	return r;
}

void steer_unload(struct steer *s)
{
	for (unsigned id = 0; id < s->address_count; id++)
		steer_close_address(&s->addresses[id]);
	free(s->addresses);
	s->addresses = NULL;
	s->address_count = 0;
	for (int i = 0; i < STEER_MAP_COUNT; i++) {
		if (s->map_fds[i] >= 0)
			close(s->map_fds[i]);
		s->map_fds[i] = -1;
	}
}

static int free_id(struct steer *s, unsigned *ret_id)
{
	struct steer_address *grown;

	for (unsigned id = 0; id < s->address_count; id++) {
		if (s->addresses[id].socks_fd < 0) {
			*ret_id = id;
			return 0;
		}
	}
	grown = realloc(s->addresses, (s->address_count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	s->addresses = grown;
	grown[s->address_count] = (struct steer_address){ NULL, -1, -1 };
	*ret_id = s->address_count++;
	return 0;
}

/* The array first: the program must not run before there is something to choose.  Those before `from` are in it. */
static int attach(const struct steer *s, const struct steer_address *a, const int *fds, unsigned from)
{
	for (__u32 slot = from; slot < s->slot_count; slot++) {
		__u64 value = (__u64)fds[slot];

		if (bpf_map_update_elem(a->socks_fd, &slot, &value, BPF_ANY))
			return -errno;
	}
	if (setsockopt(fds[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &a->prog_fd, sizeof(a->prog_fd)))
		return -errno;
	return 0;
}

int steer_add_address(struct steer *s, const int *fds, unsigned *ret_id)
{
	struct steer_address a;
	unsigned id;
	int r;

	*ret_id = 0;
	if (!s->is_active)
		return 0;
	r = free_id(s, &id);
	if (r)
		return r;
	r = load_address(s, -1, &a);
	if (r)
		return r;
	r = attach(s, &a, fds, 0);
	if (r) {
		steer_close_address(&a);
		return r;
	}
	s->addresses[id] = a;
	steer_pin_address(s, id, a.socks_fd, a.prog_fd);
	*ret_id = id;
	return 0;
}

int steer_copy_addresses(struct steer *s, const struct steer *from)
{
	s->addresses = calloc(from->address_count + 1, sizeof(*s->addresses));
	if (!s->addresses)
		return -ENOMEM;
	for (; s->address_count < from->address_count; s->address_count++) {
		struct steer_address *a = &s->addresses[s->address_count];
		int socks_fd = from->addresses[s->address_count].socks_fd, r = 0;

		*a = (struct steer_address){ NULL, -1, -1 };
		if (socks_fd >= 0)
			r = load_address(s, socks_fd, a);
		if (r)
			return r;
	}
	return 0;
}

void steer_pin_addresses(struct steer *s)
{
	for (unsigned id = 0; id < s->address_count; id++) {
		const struct steer_address *a = &s->addresses[id];

		if (a->socks_fd >= 0)
			steer_pin_address(s, id, a->socks_fd, a->prog_fd);
	}
}

int steer_take_address(struct steer *s, unsigned id, const int *fds, unsigned old_count)
{
	if (!s->is_active)
		return 0;
	if (id >= s->address_count || s->addresses[id].socks_fd < 0)
		return -ENOENT;
	return attach(s, &s->addresses[id], fds, old_count);
}

int steer_take_back(struct steer *s, unsigned id, const int *fds)
{
	if (!s->is_active)
		return 0;
	if (id >= s->address_count || s->addresses[id].socks_fd < 0)
		return -ENOENT;
	for (__u32 slot = 0; slot < s->slot_count; slot++) {
		__u64 value = (__u64)fds[slot];

		/* EBUSY: it is where it was. */
		if (bpf_map_update_elem(s->addresses[id].socks_fd, &slot, &value, BPF_ANY) && errno != EBUSY)
			return -errno;
	}
	return attach(s, &s->addresses[id], fds, s->slot_count);
}

void steer_remove_address(struct steer *s, unsigned id)
{
	struct steer_address *a;

	if (id >= s->address_count || s->addresses[id].socks_fd < 0)
		return;
	a = &s->addresses[id];
	/* The group keeps its program, and that its array, for as long as a socket lives. */
	for (__u32 slot = 0; slot < s->slot_count; slot++)
		(void)bpf_map_delete_elem(a->socks_fd, &slot);
	s->past_runs += steer_runs_of(a->prog_fd);
	steer_unpin_address(s, id);
	steer_close_address(a);
}

int steer_sum_counters(int map_fd, void *ret_sum, size_t size)
{
	int cpus = libbpf_num_possible_cpus(), r = 0;
	uint64_t *sum = ret_sum, *each;
	__u32 key = 0;

	if (cpus < 0)
		return cpus;
	each = calloc((size_t)cpus, size);
	if (!each)
		return -ENOMEM;
	if (bpf_map_lookup_elem(map_fd, &key, each))
		r = -errno;
	for (size_t i = 0; i < (size_t)cpus * size / sizeof(*sum) && r == 0; i++)
		sum[i % (size / sizeof(*sum))] += each[i];
	free(each);
	return r;
}

int steer_read_verdicts(const struct steer *s, struct steer_verdicts *ret_verdicts)
{
	memset(ret_verdicts, 0, sizeof(*ret_verdicts));
	if (s->map_fds[STEER_MAP_VERDICTS] < 0)
		return 0;
	return steer_sum_counters(s->map_fds[STEER_MAP_VERDICTS], ret_verdicts, sizeof(*ret_verdicts));
}
