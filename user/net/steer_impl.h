/* SPDX-License-Identifier: MIT */
/* Inside of the steering, for steer*.c only. */
#ifndef SLUICE_NET_STEER_IMPL_H
#define SLUICE_NET_STEER_IMPL_H

#include "net/steer.h"

#include <bpf/libbpf.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifndef SO_ATTACH_REUSEPORT_EBPF
#define SO_ATTACH_REUSEPORT_EBPF 52
#endif

struct steer_bpf;

/* A steered listen address; free while socks_fd is negative. */
struct steer_address {
	struct steer_bpf *skel;		/* owns both; NULL: loaded by another process, and the descriptors are ours */
	int socks_fd, prog_fd;
};

enum steer_map { STEER_MAP_SLOTS, STEER_MAP_CONFIG, STEER_MAP_WEIGHTS, STEER_MAP_VERDICTS, STEER_MAP_COUNT };

#define STEER_DEFAULT_BUCKET_NS 500000000ull

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
	struct steer_address *addresses;	/* by id */
	unsigned address_count;
	uint64_t past_runs;		/* of programs that are gone */

	char *pin_dir;			/* NULL: nothing pinned */
	int pin_lock_fd;
	char why[160];
	char pin_error[320];
};

/* steer.c: maps the memory of the maps, or plain memory where there are none.  0 or -ENOMEM. */
int steer_map_memory(struct steer *s);

/* steer_load.c */
/*
 * Loads maps and program once: fills can_migrate, is_old and those map_fds that are negative.  0, or -errno with the
 * reason in s->why.
 */
int steer_load(struct steer *s);
/* For each address of `from` a program of the slots of `s`, with the same socket array; not attached.  0 or -errno. */
int steer_copy_addresses(struct steer *s, const struct steer *from);
void steer_unload(struct steer *s);
/* Pins the program and the array of every address. */
void steer_pin_addresses(struct steer *s);
/* Harmless on a free one. */
void steer_close_address(struct steer_address *a);
/* Adds up the counters (64 bits each, `size` bytes) of all CPUs in a per-CPU array of one.  0 or -errno. */
int steer_sum_counters(int map_fd, void *ret_sum, size_t size);
/* libbpf prints to stderr what steer_why() reports anyhow, and pages of verifier log. */
int steer_keep_quiet(enum libbpf_print_level level, const char *format, va_list args);

/* steer_pin.c: nothing to do when pin_dir is NULL; the reason of a refusal is left in s->pin_error. */
void steer_pin_open(struct steer *s, const char *dir);
void steer_pin_close(struct steer *s);
void steer_pin_address(struct steer *s, unsigned id, int socks_fd, int prog_fd);
void steer_unpin_address(struct steer *s, unsigned id);
/* All pins again, in the place of those of another steering; none is missing at any time. */
void steer_pin_anew(struct steer *s);

/* steer_runs.c */
uint64_t steer_runs_of(int prog_fd);

#endif
