/* SPDX-License-Identifier: MIT */
/* Inside of the steering, for steer*.c only. */
#ifndef SLUICE_NET_STEER_IMPL_H
#define SLUICE_NET_STEER_IMPL_H

#include "net/steer.h"

#include <sys/types.h>

struct steer_bpf;

enum steer_map { STEER_MAP_SLOTS, STEER_MAP_CONFIG, STEER_MAP_WEIGHTS, STEER_MAP_VERDICTS, STEER_MAP_COUNT };

/* An element of an array map takes a multiple of 8 bytes: so does a weight, in both kinds of memory. */
#define STEER_WEIGHT_STRIDE 2

struct steer {
	unsigned slot_count;
	bool is_active, can_migrate;
	bool is_old; /* the program for Linux before 5.12 */
	pid_t owner;			/* process that may remove the pins */

	struct steer_slot *slots;	/* maps shared with the kernel, or anonymous shared memory */
	struct steer_config *config;
	uint32_t *weights;
	uint16_t drained_weights[STEER_MAX_SLOTS];	/* before steer_drain(); 0: none known */
	size_t slots_size, config_size, weights_size;

	int map_fds[STEER_MAP_COUNT];	/* -1: inactive or disowned */
	struct steer_bpf **addresses;	/* by id; NULL: free */
	unsigned address_count;

	char *pin_dir;			/* NULL: nothing pinned */
	int pin_lock_fd;
	char why[160];
	char pin_error[320];
};

/* steer_load.c */
/* Loads maps and program once: fills map_fds, can_migrate and is_old.  0, or -errno with the reason in s->why. */
int steer_load(struct steer *s);
void steer_unload(struct steer *s);
/* The program that was loaded, of the two in the skeleton. */
int steer_prog_fd(const struct steer *s, const struct steer_bpf *skel);

/* steer_pin.c: nothing to do when pin_dir is NULL; the reason of a refusal is left in s->pin_error. */
void steer_pin_open(struct steer *s, const char *dir);
void steer_pin_close(struct steer *s);
void steer_pin_address(struct steer *s, unsigned id, int socks_fd, int prog_fd);
void steer_unpin_address(struct steer *s, unsigned id);

#endif
