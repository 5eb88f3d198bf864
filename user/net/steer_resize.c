/* SPDX-License-Identifier: MIT */
/*
 * Another number of slots while connections come in.  The size of a map is fixed, and a program walks the slots it was
 * loaded for: so slots, weights and configuration are made anew, and for each address a program that knows them.  The
 * verdicts go on in the same map.  So do the socket arrays, which have room for every slot there can be: a socket can
 * be in one array only, and one that had to leave the old one first would be hashed to in between.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "net/steer_impl.h"

/* What operators have set goes on; slots that are new begin with the default. */
static void copy_settings(struct steer *s, const struct steer *from)
{
	unsigned both = MIN(s->slot_count, from->slot_count);

	*s->config = *from->config;
	s->config->slot_count = s->slot_count;
	for (unsigned i = 0; i < s->slot_count; i++)
		s->weights[i * STEER_WEIGHT_STRIDE] = i < both ? from->weights[i * STEER_WEIGHT_STRIDE]
							       : STEER_DEFAULT_WEIGHT;
	memcpy(s->drained_weights, from->drained_weights, both * sizeof(s->drained_weights[0]));
}

static int load(struct steer *s, const struct steer *from)
{
	int r;

	/* None, where another process made them with another layout. */
	if (from->map_fds[STEER_MAP_VERDICTS] >= 0) {
		s->map_fds[STEER_MAP_VERDICTS] = fcntl(from->map_fds[STEER_MAP_VERDICTS], F_DUPFD_CLOEXEC, 3);
		if (s->map_fds[STEER_MAP_VERDICTS] < 0)
			return -errno;
	}
	r = steer_load(s);
	if (r == 0)
		r = steer_copy_addresses(s, from);
	return r;
}

int steer_resize(const struct steer *from, unsigned slot_count, struct steer **ret_steer)
{
	struct steer *s;
	int r = 0;

	*ret_steer = NULL;
	if (slot_count == 0 || slot_count > STEER_MAX_SLOTS)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->slot_count = slot_count;
	s->pin_lock_fd = -1;
	for (int i = 0; i < STEER_MAP_COUNT; i++)
		s->map_fds[i] = -1;
	memcpy(s->why, from->why, sizeof(s->why));
	if (from->is_active)
		r = load(s, from);
	if (r == 0)
		r = steer_map_memory(s);
	if (r) {
		steer_close(s);
		return r;
	}
	s->is_active = from->is_active;
	s->can_migrate = from->can_migrate;
	copy_settings(s, from);
	*ret_steer = s;
	return 0;
}

void steer_pin_again(struct steer *s)
{
	steer_pin_anew(s);
}

void steer_take_over(struct steer *s, struct steer *from)
{
	uint64_t runs;

	/* Their counts end with the programs; what they ran is in the verdicts for ever. */
	if (steer_read_runs(from, &runs) == 0)
		s->past_runs = runs;
	s->owner = getpid();
	s->config->owner_pid = (uint32_t)s->owner;
	s->pin_dir = from->pin_dir;
	s->pin_lock_fd = from->pin_lock_fd;
	memcpy(s->pin_error, from->pin_error, sizeof(s->pin_error));
	from->owner = 0;
	from->pin_dir = NULL;
	from->pin_lock_fd = -1;
	steer_pin_anew(s);
}
