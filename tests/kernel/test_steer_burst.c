/* SPDX-License-Identifier: MIT */
/*
 * Figures of the steering, measured at the sockets: a burst with late accepts, long-lived
 * connections, floods of spoofed SYNs, and what a run of the program costs.
 */
#include "rig.h"

#include <netinet/ip.h>
#include <netinet/tcp.h>

/* max / mean in percent */
static unsigned unevenness(const unsigned *counts, unsigned slots)
{
	unsigned max = 0, sum = 0;

	for (unsigned i = 0; i < slots; i++) {
		max = MAX(max, counts[i]);
		sum += counts[i];
	}
	return sum ? max * 100 * slots / sum : 0;
}

/* 256 SYNs at once to 8 workers that accept 100 ms late; one of them is 3 connections lighter. */
static unsigned burst(enum steer_policy_id policy, bool has_reservation)
{
	struct rig *r = rig_open(policy);
	struct listener *l = rig_listen(r, "127.0.0.1:0", false);
	union sock_addr to = rig_dial(l, "127.0.0.1");
	unsigned counts[STEER_MAX_SLOTS];
	uint64_t start = clock_ns();

	if (!has_reservation) {
		struct steer_config config;
		int fd = rig_pinned("steer_config");
		__u32 key = 0;

		assert_int_equal(bpf_map_lookup_elem(fd, &key, &config), 0);
		config.bucket_ns = 0;
		assert_int_equal(bpf_map_update_elem(fd, &key, &config, 0), 0);
		close(fd);
	}
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		steer_slot(r->steer, i)->live = i == 5 ? 7 : 10;
	for (unsigned i = 0; i < 256; i++)
		rig_connect_start(r, &to);
	while (clock_ns() < start + 100 * NS_PER_MS) /* the lag that is the point of the test */
		poll(NULL, 0, 5);
	rig_accept(r, l, 256, true, counts);
	if (has_reservation && policy == STEER_LEAST)
		assert_int_equal(rig_reserved(r), 0);
	rig_close(r);
	return unevenness(counts, RIG_SLOTS);
}

static void steer__a_burst_does_not_herd(void **state)
{
	unsigned hash = burst(STEER_HASH, true), naive = burst(STEER_LEAST, false), worst = 0;

	for (unsigned i = 0; i < 5; i++)
		worst = MAX(worst, burst(STEER_LEAST, true));
	print_message("256-SYN burst, 8 workers, accept 100 ms late, max/mean in percent:"
		      " hash %u, least without reservation %u, least %u (worst of 5)\n",
		      hash, naive, worst);
	assert_in_range(worst, 100, 110);
	assert_int_equal(naive, 800); /* else this test shows nothing */
}

static void steer__long_lived_connections_are_even(void **state)
{
	struct rig *r = rig_open(STEER_LEAST);
	struct listener *l = rig_listen(r, "127.0.0.1:0", false);
	union sock_addr to = rig_dial(l, "127.0.0.1");
	unsigned counts[STEER_MAX_SLOTS], min = ~0u, max = 0, total;
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	total = files.rlim_cur > 20200 ? 10000 : (unsigned)files.rlim_cur / 2 - 100;
	for (unsigned i = 0; i < total; i++) {
		rig_connect(r, &to);
		rig_accept(r, l, 1, true, counts);
	}
	for (unsigned i = 0; i < RIG_SLOTS; i++) {
		min = MIN(min, steer_slot(r->steer, i)->live);
		max = MAX(max, steer_slot(r->steer, i)->live);
	}
	print_message("%u connections, 8 workers: %u to %u each\n", total, min, max);
	assert_in_range(max - min, 0, 2);
	assert_int_equal(rig_reserved(r), 0);
	rig_close(r);
}

static __u16 checksum(const void *data, size_t len, __u32 sum)
{
	const __u8 *bytes = data;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (__u32)bytes[i] << 8 | bytes[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((__u16)~sum);
}

/* A SYN from 10.x.y.z, which answers nothing: no handshake ever completes. */
static void send_spoofed(int raw, const union sock_addr *to, __u32 n)
{
	struct {
		struct iphdr ip;
		struct tcphdr tcp;
	} packet = {.ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP}};
	__u32 sum = IPPROTO_TCP + sizeof(packet.tcp), from = 0x0a000001 + n / 60000;

	packet.ip.saddr = htonl(from);
	packet.ip.daddr = to->v4.sin_addr.s_addr;
	packet.ip.tot_len = htons(sizeof(packet));
	packet.tcp.source = htons((__u16)(1024 + n % 60000));
	packet.tcp.dest = to->v4.sin_port;
	packet.tcp.seq = htonl(n * 2654435761u);
	packet.tcp.doff = 5;
	packet.tcp.syn = 1;
	packet.tcp.window = htons(65535);
	sum += (from >> 16) + (from & 0xffff) + (ntohl(packet.ip.daddr) >> 16) +
	       (ntohl(packet.ip.daddr) & 0xffff);
	packet.tcp.check = checksum(&packet.tcp, sizeof(packet.tcp), sum);
	if (sendto(raw, &packet, sizeof(packet), 0, &to->any, sizeof(to->v4)) != sizeof(packet))
		fail_msg("raw socket: %s", strerror(errno));
}

/* 50,000 spoofed SYNs and 2,000 real connections among them; then the reservations retire by time
 * alone. */
static void flood(const char *cookies)
{
	enum { SPOOFED = 50000, REAL = 2000 };
	unsigned totals[STEER_MAX_SLOTS] = {0}, counts[STEER_MAX_SLOTS], peak = 0;
	int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	struct rig *r = rig_open(STEER_LEAST);
	struct listener *l = rig_listen(r, "127.0.0.1:0", false);
	union sock_addr to = rig_dial(l, "127.0.0.1");
	uint64_t end;

	assert_true(raw >= 0);
	rig_sysctl("ipv4/tcp_syncookies", cookies);
	for (__u32 i = 0; i < SPOOFED; i++) {
		send_spoofed(raw, &to, i);
		if (i % (SPOOFED / REAL))
			continue;
		rig_connect(r, &to);
		rig_accept(r, l, 1, true, counts);
		for (unsigned slot = 0; slot < RIG_SLOTS; slot++)
			totals[slot] += counts[slot];
		peak = MAX(peak, rig_reserved(r));
	}
	end = clock_ns();
	while (rig_reserved(r) && clock_ns() < end + 2 * NS_PER_SEC) {
		poll(NULL, 0, 1);
		steer_retire(r->steer, clock_ns());
	}
	print_message("cookies %s: 50000 spoofed SYNs, %u reservations at most, gone after %u ms,"
		      " max/mean of real ones %u percent\n",
		      cookies, peak, (unsigned)((clock_ns() - end) / NS_PER_MS),
		      unevenness(totals, RIG_SLOTS));
	assert_true(peak > 1000); /* else nothing was reserved, and nothing shown */
	assert_int_equal(rig_reserved(r), 0);
	assert_in_range(unevenness(totals, RIG_SLOTS), 100, 130);
	assert_int_equal(rig_verdict_sum(r), rig_runs(r, NULL));
	close(raw);
	rig_close(r);
}

static void steer__spoofed_syns_are_forgotten(void **state)
{
	rig_sysctl("core/somaxconn", "65535");
	rig_sysctl("ipv4/tcp_max_syn_backlog", "1000000");
	flood("0");
	flood("1");
	flood("2");
}

/* Printed, not judged: it says as much about the machine and its load as about the program. */
static void steer__cost_of_a_run(void **state)
{
	static const unsigned sizes[] = {1, 8, 64, 256};

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		const struct steer_options opt = {.slot_count = sizes[i],
						  .policy = STEER_LEAST,
						  .pin_dir = rig_next_pin_dir()};
		struct rig *r = rig_open_opt(&opt);
		struct listener *l = rig_listen(r, "127.0.0.1:0", false);
		union sock_addr to = rig_dial(l, "127.0.0.1");
		unsigned counts[STEER_MAX_SLOTS];
		__u64 runs, ns;

		for (unsigned n = 0; n < 4000; n++)
			rig_connect(r, &to);
		rig_accept(r, l, 4000, true, counts);
		runs = rig_runs(r, &ns);
		assert_int_equal(runs, 4000);
		print_message("%u slots: %llu ns a run, statistics included\n", sizes[i],
			      ns / runs);
		rig_close(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steer__a_burst_does_not_herd),
		cmocka_unit_test(steer__long_lived_connections_are_even),
		cmocka_unit_test(steer__spoofed_syns_are_forgotten),
		cmocka_unit_test(steer__cost_of_a_run),
	};
	int r = rig_enter(), runs;

	if (r)
		return r;
	runs = rig_count_runs();
	if (runs < 0)
		return rig_skip("the kernel does not count runs of BPF programs");
	r = cmocka_run_group_tests(tests, NULL, NULL);
	close(runs);
	return r;
}
