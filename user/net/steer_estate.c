/* SPDX-License-Identifier: MIT */
/*
 * A steering that passes to another process: what it is made of as plain data, and the same again over there.  The maps
 * of slots, weights and configuration do not pass: the other process may know other layouts, and makes its own
 * (steer_resize.c).  What has to be the same are the socket arrays, whose layout is the kernel's, and the verdicts.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "net/steer_impl.h"

int steer_describe(const struct steer *s, struct steer_estate *ret)
{
	if (s->address_count > STEER_ESTATE_MAX)
		return -E2BIG;
	*ret = (struct steer_estate){
		.slot_count = s->slot_count,
		.is_active = s->is_active,
		.can_migrate = s->can_migrate,
		.config = *s->config,
		.verdicts_fd = s->map_fds[STEER_MAP_VERDICTS],
		.pin_lock_fd = s->pin_lock_fd,
		.pin_dir = s->pin_dir,
		.pin_error = s->pin_error,
		.why = s->why,
		.past_runs = s->past_runs,
		.address_count = s->address_count,
	};
	for (unsigned i = 0; i < s->slot_count; i++)
		ret->weights[i] = s->weights[i * STEER_WEIGHT_STRIDE];
	memcpy(ret->drained_weights, s->drained_weights, sizeof(ret->drained_weights));
	for (unsigned i = 0; i < s->address_count; i++)
		ret->addresses[i] = (struct steer_estate_address){ s->addresses[i].socks_fd, s->addresses[i].prog_fd };
	return 0;
}

static int take_addresses(struct steer *s, const struct steer_estate *e)
{
	s->addresses = calloc(e->address_count + 1, sizeof(*s->addresses));
	if (!s->addresses)
		return -ENOMEM;
	for (; s->address_count < e->address_count; s->address_count++) {
		const struct steer_estate_address *from = &e->addresses[s->address_count];

		s->addresses[s->address_count] = (struct steer_address){ NULL, from->socks_fd, from->prog_fd };
	}
	return 0;
}

static void close_all(const struct steer_estate *e)
{
	for (unsigned i = 0; i < e->address_count; i++) {
		struct steer_address a = { NULL, e->addresses[i].socks_fd, e->addresses[i].prog_fd };

		steer_close_address(&a);
	}
	if (e->verdicts_fd >= 0)
		close(e->verdicts_fd);
	if (e->pin_lock_fd >= 0)
		close(e->pin_lock_fd);
}

static int fill(struct steer *s, const struct steer_estate *e)
{
	int r;

	snprintf(s->why, sizeof(s->why), "%s", e->why ? e->why : "");
	snprintf(s->pin_error, sizeof(s->pin_error), "%s", e->pin_error ? e->pin_error : "");
	if (e->pin_dir) {
		s->pin_dir = strdup(e->pin_dir);
		if (!s->pin_dir)
			return -ENOMEM;
	}
	r = steer_map_memory(s);
	if (r)
		return r;
	*s->config = e->config;
	for (unsigned i = 0; i < s->slot_count; i++)
		s->weights[i * STEER_WEIGHT_STRIDE] = e->weights[i];
	memcpy(s->drained_weights, e->drained_weights, sizeof(s->drained_weights));
	return 0;
}

int steer_restore(const struct steer_estate *e, struct steer **ret_steer)
{
	struct steer *s = calloc(1, sizeof(*s));
	int r = s ? take_addresses(s, e) : -ENOMEM;

	*ret_steer = NULL;
	if (r) {
		close_all(e);
		free(s);
		return r;
	}
	s->slot_count = e->slot_count;
	s->can_migrate = e->can_migrate;
	for (int i = 0; i < STEER_MAP_COUNT; i++)
		s->map_fds[i] = -1;
	s->pin_lock_fd = e->pin_lock_fd;
	/* Plain memory for the maps: the verdicts' descriptor only after that. */
	r = fill(s, e);
	s->map_fds[STEER_MAP_VERDICTS] = e->verdicts_fd;
	if (r) {
		steer_close(s);
		return r;
	}
	s->is_active = e->is_active;
	*ret_steer = s;
	return 0;
}
