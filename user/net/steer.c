/* SPDX-License-Identifier: MIT */
/*
 * The steering object: its shared memory, with or without BPF behind it.  steer_load.c loads and
 * attaches, steer_pin.c pins, steer_slot.c writes the slots, steer_tune.c changes policy and
 * weights, steer_resize.c the number of slots.
 */
#include "net/steer_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"

static size_t page_round(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

/* fd < 0: anonymous shared memory, which a fork() shares just as well. */
static void *map_shared(int fd, size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

static void unmap(void *at, size_t size)
{
	if (at)
		munmap(at, size);
}

static void unmap_all(struct steer *s)
{
	unmap(s->slots, s->slots_size);
	unmap(s->config, s->config_size);
	unmap(s->weights, s->weights_size);
	s->slots = NULL;
	s->config = NULL;
	s->weights = NULL;
}

int steer_map_memory(struct steer *s)
{
	s->slots_size = page_round(s->slot_count * sizeof(*s->slots));
	s->config_size = page_round(sizeof(*s->config));
	s->weights_size = page_round(s->slot_count * STEER_WEIGHT_STRIDE * sizeof(*s->weights));
	s->slots = map_shared(s->map_fds[STEER_MAP_SLOTS], s->slots_size);
	s->config = map_shared(s->map_fds[STEER_MAP_CONFIG], s->config_size);
	s->weights = map_shared(s->map_fds[STEER_MAP_WEIGHTS], s->weights_size);
	if (s->slots && s->config && s->weights)
		return 0;
	unmap_all(s);
	return -ENOMEM;
}

/* With BPF if it is to be had, else without: only the plain memory can fail. */
static int make_memory(struct steer *s, bool is_disabled)
{
	if (is_disabled) {
		snprintf(s->why, sizeof(s->why), "switched off");
	} else if (steer_load(s) == 0) {
		if (steer_map_memory(s) == 0) {
			s->is_active = true;
			return 0;
		}
		snprintf(s->why, sizeof(s->why), "the kernel refuses to map the BPF maps");
		steer_unload(s);
	}
	s->can_migrate = false;
	return steer_map_memory(s);
}

static void fill(struct steer *s, const struct steer_options *opt)
{
	s->config->slot_count = opt->slot_count;
	if (opt->bucket_ns == STEER_NO_RESERVATIONS)
		s->config->bucket_ns = 0;
	else
		s->config->bucket_ns = opt->bucket_ns ? opt->bucket_ns : STEER_DEFAULT_BUCKET_NS;
	s->config->stall_ns = opt->stall_ns;
	s->config->owner_pid = (uint32_t)s->owner;
	s->config->choices = opt->choices ? opt->choices : STEER_DEFAULT_CHOICES;
	s->config->band = opt->band;
	s->config->pending_weight = opt->pending_weight;
	s->config->policy = opt->policy;
	for (unsigned i = 0; i < s->slot_count; i++)
		s->weights[i * STEER_WEIGHT_STRIDE] = STEER_DEFAULT_WEIGHT;
}

int steer_open(const struct steer_options *opt, struct steer **ret_steer)
{
	struct steer *s;
	int r;

	if (opt->slot_count == 0 || opt->slot_count > STEER_MAX_SLOTS ||
	    (unsigned)opt->policy >= STEER_POLICY_COUNT)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->slot_count = opt->slot_count;
	s->owner = getpid();
	s->pin_lock_fd = -1;
	for (int i = 0; i < STEER_MAP_COUNT; i++)
		s->map_fds[i] = -1;
	r = make_memory(s, opt->is_disabled);
	if (r) {
		steer_close(s);
		return r;
	}
	fill(s, opt);
	if (s->is_active && opt->pin_dir)
		steer_pin_open(s, opt->pin_dir);
	*ret_steer = s;
	return 0;
}

void steer_disown(struct steer *s)
{
	if (s->pin_lock_fd >= 0)
		close(s->pin_lock_fd);
	s->pin_lock_fd = -1;
	s->owner = 0;
	steer_unload(s);
}

void steer_close(struct steer *s)
{
	if (!s)
		return;
	if (s->owner == getpid())
		steer_pin_close(s);
	steer_disown(s);
	unmap_all(s);
	free(s->pin_dir);
	free(s);
}

bool steer_is_active(const struct steer *s)
{
	return s->is_active;
}

const char *steer_why(const struct steer *s)
{
	return s->is_active ? NULL : s->why;
}

const char *steer_pin_error(const struct steer *s)
{
	return s->pin_error[0] ? s->pin_error : NULL;
}

bool steer_can_migrate(const struct steer *s)
{
	return s->can_migrate;
}

unsigned steer_slot_count(const struct steer *s)
{
	return s->slot_count;
}
