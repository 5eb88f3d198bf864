/* SPDX-License-Identifier: MIT */
/*
 * What the kernel tests share: a network and a mount namespace of their own (so that sysctls, ports
 * and pins disturb nobody), listen addresses with steering, clients, and counts taken at the
 * sockets.
 */
#ifndef SLUICE_TESTS_KERNEL_RIG_H
#define SLUICE_TESTS_KERNEL_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "net/listener.h"
#include "net/steer.h"

#define RIG_UNUSED    __attribute__((unused))
#define RIG_SLOTS     8
#define RIG_WAIT_NS   (5 * NS_PER_SEC)
#define RIG_SKIPPED   77
#define RIG_ADDRESSES 2
#define RIG_CLIENTS   30000

static char rig_pins[64];    /* a bpffs of our own is mounted here */
static char rig_pin_dir[80]; /* and this is the folder of the next pins, a new one for each test */

struct rig {
	struct steer *steer;
	struct listener listeners[RIG_ADDRESSES];
	unsigned listener_count;
	int prog_fds[RIG_ADDRESSES];
	int clients[RIG_CLIENTS];
	unsigned client_count;
	int accepted[RIG_CLIENTS];
	unsigned accepted_count;
};

RIG_UNUSED static int rig_skip(const char *why)
{
	printf("skipped: %s\n", why);
	return RIG_SKIPPED;
}

RIG_UNUSED static void rig_sysctl(const char *name, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) != (ssize_t)strlen(value))
		fail_msg("cannot write %s: %s", path, strerror(errno));
	close(fd);
}

static int rig_lo_up(void)
{
	struct ifreq req = {.ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r;

	memcpy(req.ifr_name, "lo", 3);
	r = ioctl(fd, SIOCSIFFLAGS, &req);
	close(fd);
	return r;
}

static void rig_leave(void)
{
	umount2(rig_pins, MNT_DETACH);
	rmdir(rig_pins);
}

/* 0, or the exit status after the reason was printed. */
RIG_UNUSED static int rig_enter(void)
{
	const struct steer_options opt = {.slot_count = 1};
	struct rlimit files;
	struct steer *probe;
	char why[200] = "";

	if (geteuid() != 0)
		return rig_skip("needs root");
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return rig_skip("cannot make namespaces");
	if (rig_lo_up())
		return rig_skip("cannot bring the loopback interface up");
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &files);
	if (steer_open(&opt, &probe))
		return rig_skip("no memory");
	if (!steer_is_active(probe))
		snprintf(why, sizeof(why), "%s", steer_why(probe));
	steer_close(probe);
	if (why[0])
		return rig_skip(why);
	snprintf(rig_pins, sizeof(rig_pins), "/tmp/sluice-test.XXXXXX");
	if (!mkdtemp(rig_pins) || mount("bpf", rig_pins, "bpf", 0, NULL))
		return rig_skip("cannot mount a BPF file system");
	atexit(rig_leave);
	return 0;
}

/* The kernel counts runs of programs while the descriptor is open; negative when it cannot. */
RIG_UNUSED static int rig_count_runs(void)
{
	return bpf_enable_stats(BPF_STATS_RUN_TIME);
}

RIG_UNUSED static bool rig_has_v6(void)
{
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Beside the one before: a test that failed half-way still holds its folder. */
RIG_UNUSED static const char *rig_next_pin_dir(void)
{
	static unsigned number;

	snprintf(rig_pin_dir, sizeof(rig_pin_dir), "%s/sluice%u", rig_pins, number++);
	return rig_pin_dir;
}

/* All slots up and waiting, as workers with nothing to do. */
RIG_UNUSED static void rig_reset_slots(struct rig *r)
{
	for (unsigned i = 0; i < steer_slot_count(r->steer); i++) {
		steer_slot_up(r->steer, i, i, (uint32_t)getpid());
		steer_set_waiting(steer_slot(r->steer, i), true);
		assert_int_equal(steer_set_weight(r->steer, i, STEER_DEFAULT_WEIGHT), 0);
	}
}

RIG_UNUSED static struct rig *rig_open_opt(const struct steer_options *opt)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	rig_sysctl("ipv4/tcp_syncookies", "1");
	assert_int_equal(steer_open(opt, &r->steer), 0);
	assert_true(steer_is_active(r->steer));
	if (steer_pin_error(r->steer))
		fail_msg("%s", steer_pin_error(r->steer));
	rig_reset_slots(r);
	return r;
}

RIG_UNUSED static struct rig *rig_open(enum steer_policy_id policy)
{
	const struct steer_options opt = {
		.slot_count = RIG_SLOTS, .policy = policy, .pin_dir = rig_next_pin_dir()};

	return rig_open_opt(&opt);
}

RIG_UNUSED static int rig_pinned(const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", rig_pin_dir, name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		fail_msg("no pin %s: %s", path, strerror(errno));
	return fd;
}

RIG_UNUSED static struct listener *rig_listen(struct rig *r, const char *text, bool is_v6only)
{
	const struct sock_options opt = {.is_v6only = is_v6only, .backlog = 65535};
	struct listener *l = &r->listeners[r->listener_count];
	const char *step;
	union sock_addr addr;
	char name[32];

	assert_int_equal(sock_addr_parse(span_str(text), &addr), 0);
	assert_int_equal(listener_open(l, &addr, &opt, steer_slot_count(r->steer), r->steer, &step),
			 0);
	assert_true(l->is_steered);
	snprintf(name, sizeof(name), "steer_prog_%u", l->steer_id);
	r->prog_fds[r->listener_count++] = rig_pinned(name);
	return l;
}

/* Closed by RST: no TIME_WAIT is left to fill the ports. */
RIG_UNUSED static void rig_hang_up(struct rig *r)
{
	for (unsigned i = 0; i < r->client_count; i++)
		sock_reset(r->clients[i]);
	for (unsigned i = 0; i < r->accepted_count; i++)
		sock_close(r->accepted[i]);
	r->client_count = r->accepted_count = 0;
}

RIG_UNUSED static void rig_close(struct rig *r)
{
	rig_hang_up(r);
	for (unsigned i = 0; i < r->listener_count; i++) {
		listener_close(&r->listeners[i], r->steer);
		close(r->prog_fds[i]);
	}
	steer_close(r->steer);
	free(r);
}

/* The address of a listener as a client dials it: `host` is "127.0.0.1" or "[::1]". */
RIG_UNUSED static union sock_addr rig_dial(const struct listener *l, const char *host)
{
	char text[SOCK_ADDR_TEXT];
	union sock_addr addr;

	snprintf(text, sizeof(text), "%s:%u", host, sock_addr_port(&l->addr));
	assert_int_equal(sock_addr_parse(span_str(text), &addr), 0);
	return addr;
}

/* Starts a connection without waiting for it. */
RIG_UNUSED static int rig_connect_start(struct rig *r, const union sock_addr *to)
{
	int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_true(r->client_count < RIG_CLIENTS);
	r->clients[r->client_count++] = fd;
	if (connect(fd, &to->any, sock_addr_len(to)) && errno != EINPROGRESS)
		fail_msg("connect: %s", strerror(errno));
	return fd;
}

RIG_UNUSED static void rig_connect(struct rig *r, const union sock_addr *to)
{
	int fd = rig_connect_start(r, to), error = -1;
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	socklen_t len = sizeof(error);

	assert_int_equal(poll(&p, 1, (int)(RIG_WAIT_NS / NS_PER_MS)), 1);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
	if (error)
		fail_msg("connection refused: %s", strerror(error));
}

static unsigned rig_accept_slot(struct rig *r, struct listener *l, unsigned slot, bool does_count)
{
	union sock_addr peer;
	unsigned count = 0;
	int fd;

	while (l->fds[slot] >= 0 && (fd = sock_accept(l->fds[slot], &peer)) >= 0) {
		r->accepted[r->accepted_count++] = fd;
		count++;
		if (does_count)
			steer_accepted(r->steer, steer_slot(r->steer, slot), clock_ns());
	}
	return count;
}

/*
 * Accepts what `l` holds until `expected` connections were seen; ret_counts by slot.  `does_count`:
 * as a worker does, with the counts in its slot.
 */
RIG_UNUSED static void rig_accept(struct rig *r, struct listener *l, unsigned expected,
				  bool does_count, unsigned ret_counts[STEER_MAX_SLOTS])
{
	uint64_t end = clock_ns() + RIG_WAIT_NS;
	unsigned total = 0;

	memset(ret_counts, 0, STEER_MAX_SLOTS * sizeof(*ret_counts));
	for (;;) {
		for (unsigned slot = 0; slot < l->count; slot++) {
			unsigned count = rig_accept_slot(r, l, slot, does_count);

			ret_counts[slot] += count;
			total += count;
		}
		if (total >= expected)
			break;
		if (clock_ns() > end)
			fail_msg("%u of %u connections arrived", total, expected);
		poll(NULL, 0, 1);
	}
	assert_int_equal(total, expected);
}

RIG_UNUSED static struct steer_verdicts rig_verdicts(const struct rig *r)
{
	struct steer_verdicts v;

	assert_int_equal(steer_read_verdicts(r->steer, &v), 0);
	return v;
}

RIG_UNUSED static __u64 rig_verdict_sum(const struct rig *r)
{
	struct steer_verdicts v = rig_verdicts(r);
	const __u64 *each = (const __u64 *)&v;
	__u64 sum = 0;

	for (size_t i = 0; i < sizeof(v) / sizeof(*each); i++)
		sum += each[i];
	return sum;
}

/* Runs of all programs, and their time, as the kernel counts them. */
RIG_UNUSED static __u64 rig_runs(const struct rig *r, __u64 *ret_ns)
{
	__u64 runs = 0, ns = 0;

	for (unsigned i = 0; i < r->listener_count; i++) {
		struct bpf_prog_info info = {0};
		__u32 len = sizeof(info);

		assert_int_equal(bpf_obj_get_info_by_fd(r->prog_fds[i], &info, &len), 0);
		runs += info.run_cnt;
		ns += info.run_time_ns;
	}
	if (ret_ns)
		*ret_ns = ns;
	return runs;
}

RIG_UNUSED static unsigned rig_reserved(const struct rig *r)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < steer_slot_count(r->steer); i++)
		sum += steer_reserved(r->steer, i, clock_ns());
	return sum;
}

#endif
