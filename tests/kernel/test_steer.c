/* SPDX-License-Identifier: MIT */
/*
 * The steering program with real sockets: each connection's landing is predicted and compared, and
 * so is the whole array of verdicts, the sum of which is the number of runs that the kernel
 * counted.
 */
#include "rig.h"

/* The light slot gets them all: it stays lighter by more than there are connections. */
static void make_light(struct rig *r, unsigned light)
{
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		steer_slot(r->steer, i)->live = i == light ? 0 : 1000;
}

static void expect_all_in(const unsigned *counts, unsigned slot, unsigned count)
{
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		assert_int_equal(counts[i], i == slot ? count : 0);
}

static void expect_verdicts(const struct rig *r, struct steer_verdicts expected)
{
	struct steer_verdicts v = rig_verdicts(r);

	assert_int_equal(v.steered, expected.steered);
	assert_int_equal(v.hashed, expected.hashed);
	assert_int_equal(v.cookie_ack, expected.cookie_ack);
	assert_int_equal(v.migrated, expected.migrated);
	assert_int_equal(v.all_stalled, expected.all_stalled);
	assert_int_equal(v.no_socket, expected.no_socket);
	assert_int_equal(v.bad_config, expected.bad_config);
	assert_int_equal(v.short_header, expected.short_header);
	assert_int_equal(rig_verdict_sum(r), rig_runs(r, NULL));
}

static void connect_many(struct rig *r, const union sock_addr *to, unsigned count)
{
	while (count--)
		rig_connect(r, to);
}

/* Listeners of every kind, clients of every kind that reaches them. */
static void steer__every_family_lands_where_told(void **state)
{
	static const struct {
		const char *listen, *dial;
		bool is_v6only, needs_v6;
	} rows[] = {
		{"127.0.0.1:0", "127.0.0.1", false, false}, {"*:0", "127.0.0.1", false, false},
		{"[::1]:0", "[::1]", true, true},	    {"[::]:0", "[::1]", true, true},
		{"[::]:0", "[::1]", false, true},	    {"[::]:0", "127.0.0.1", false, true},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		unsigned counts[STEER_MAX_SLOTS];
		union sock_addr to;
		struct listener *l;
		struct rig *r;

		if (rows[i].needs_v6 && !rig_has_v6()) {
			print_message("skipped: no IPv6 here\n");
			continue;
		}
		r = rig_open(STEER_LEAST);
		l = rig_listen(r, rows[i].listen, rows[i].is_v6only);
		to = rig_dial(l, rows[i].dial);
		for (unsigned light = 0; light < RIG_SLOTS; light++) {
			make_light(r, light);
			connect_many(r, &to, 10);
			rig_accept(r, l, 10, false, counts);
			expect_all_in(counts, light, 10);
			assert_int_equal(steer_reserved(r->steer, light, clock_ns()), 10);
		}
		expect_verdicts(r, (struct steer_verdicts){.steered = 10 * RIG_SLOTS});
		rig_close(r);
	}
}

/* One array for both addresses would hash silently (EBADFD): each has its own, the counts are
 * shared. */
static void steer__two_ports_share_the_counts(void **state)
{
	unsigned a[STEER_MAX_SLOTS], b[STEER_MAX_SLOTS];
	struct rig *r = rig_open(STEER_LEAST);
	union sock_addr to[2];

	to[0] = rig_dial(rig_listen(r, "127.0.0.1:0", false), "127.0.0.1");
	to[1] = rig_dial(rig_listen(r, "*:0", false), "127.0.0.1");
	for (unsigned i = 0; i < 80; i++)
		rig_connect(r, &to[i % 2]);
	rig_accept(r, &r->listeners[0], 40, true, a);
	rig_accept(r, &r->listeners[1], 40, true, b);
	for (unsigned i = 0; i < RIG_SLOTS; i++) {
		assert_int_equal(a[i] + b[i], 10);
		assert_int_equal(steer_slot(r->steer, i)->live, 10);
	}
	assert_int_equal(rig_reserved(r), 0);
	expect_verdicts(r, (struct steer_verdicts){.steered = 80});
	rig_close(r);
}

/* By hand, as an operator would. */
static void write_stall(__u64 stall_ns)
{
	struct steer_config config;
	int fd = rig_pinned("steer_config");
	__u32 key = 0;

	assert_int_equal(bpf_map_lookup_elem(fd, &key, &config), 0);
	config.stall_ns = stall_ns;
	assert_int_equal(bpf_map_update_elem(fd, &key, &config, 0), 0);
	close(fd);
}

static void steer__down_drained_and_stalled_slots_get_nothing(void **state)
{
	struct rig *r = rig_open(STEER_LEAST);
	struct listener *l = rig_listen(r, "127.0.0.1:0", false);
	union sock_addr to = rig_dial(l, "127.0.0.1");
	unsigned counts[STEER_MAX_SLOTS];

	for (unsigned policy = 0; policy < STEER_POLICY_COUNT; policy++) {
		rig_reset_slots(r);
		assert_int_equal(steer_set_policy(r->steer, policy), 0);
		write_stall(NS_PER_SEC);
		steer_slot_down(r->steer, 0, false);
		assert_int_equal(steer_set_weight(r->steer, 1, 0), 0);
		steer_set_waiting(steer_slot(r->steer, 2), false);
		steer_stamp(steer_slot(r->steer, 2), clock_ns() - 2 * NS_PER_SEC);
		steer_slot(r->steer, 3)->stamp_ns = 0; /* idle for ever: not stalled */
		connect_many(r, &to, 200);
		rig_accept(r, l, 200, true, counts);
		for (unsigned i = 0; i < RIG_SLOTS; i++)
			assert_int_equal(counts[i] > 0, i > 2);
	}
	expect_verdicts(r, (struct steer_verdicts){.hashed = 200,
						   .steered = 200 * (STEER_POLICY_COUNT - 1)});

	/* It stamps again: it serves again, on the next SYN. */
	rig_reset_slots(r);
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		steer_slot(r->steer, i)->live = i == 2 ? 0 : 5;
	connect_many(r, &to, 1);
	rig_accept(r, l, 1, true, counts);
	expect_all_in(counts, 2, 1);
	rig_close(r);
}

static void steer__nobody_to_choose_means_the_kernels_hash(void **state)
{
	struct rig *r = rig_open(STEER_LEAST);
	struct listener *l = rig_listen(r, "127.0.0.1:0", false);
	union sock_addr to = rig_dial(l, "127.0.0.1");
	unsigned counts[STEER_MAX_SLOTS], used = 0;

	for (unsigned i = 0; i < RIG_SLOTS; i++)
		steer_slot_down(r->steer, i, false);
	connect_many(r, &to, 100);
	rig_accept(r, l, 100, false, counts);
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		used += counts[i] > 0;
	assert_true(used > 4);
	expect_verdicts(r, (struct steer_verdicts){.all_stalled = 100});
	rig_close(r);
}

static void steer__policy_and_weights_change_live(void **state)
{
	struct rig *r = rig_open(STEER_LEAST);
	struct listener *l = rig_listen(r, "127.0.0.1:0", false);
	union sock_addr to = rig_dial(l, "127.0.0.1");
	unsigned counts[STEER_MAX_SLOTS];

	make_light(r, 3);
	connect_many(r, &to, 20);
	rig_accept(r, l, 20, false, counts);
	expect_all_in(counts, 3, 20);

	assert_int_equal(steer_set_policy(r->steer, STEER_HASH), 0);
	connect_many(r, &to, 200);
	rig_accept(r, l, 200, false, counts);
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		assert_in_range(counts[i], 3, 60); /* 25, beyond 4 sigma */

	assert_int_equal(steer_set_policy(r->steer, STEER_LEAST), 0);
	rig_reset_slots(r);
	assert_int_equal(steer_set_weight(r->steer, 0, 300), 0);
	connect_many(r, &to, 100);
	rig_accept(r, l, 100, true, counts);
	/* 300 of 1000: the least of (1 + connections + a fraction drawn at random) / weight.  33 / 3 is never below 11. */
	assert_in_range(counts[0], 30, 32);
	for (unsigned i = 1; i < RIG_SLOTS; i++)
		assert_in_range(counts[i], 9, 10);
	expect_verdicts(r, (struct steer_verdicts){.steered = 120, .hashed = 200});
	rig_close(r);
}

static void steer__an_empty_or_wrong_array_entry_hashes(void **state)
{
	const struct sock_options opt = {.has_reuseport = true};
	struct rig *r = rig_open(STEER_LEAST);
	struct listener *l = rig_listen(r, "127.0.0.1:0", false);
	union sock_addr to = rig_dial(l, "127.0.0.1"), any;
	int socks = rig_pinned("steer_socks_0"), other;
	unsigned counts[STEER_MAX_SLOTS];
	__u32 slot = 3;
	__u64 value;
	const char *step;

	make_light(r, slot);
	assert_int_equal(bpf_map_delete_elem(socks, &slot), 0);
	connect_many(r, &to, 50);
	rig_accept(r, l, 50, false, counts);
	expect_verdicts(r, (struct steer_verdicts){.no_socket = 50});
	assert_int_equal(rig_reserved(r), 0);

	/* A socket of another address, put into the array by hand. */
	assert_int_equal(sock_addr_parse(SPAN("127.0.0.1:0"), &any), 0);
	other = sock_listen(&any, &opt, &step);
	assert_true(other >= 0);
	value = (__u64)other;
	assert_int_equal(bpf_map_update_elem(socks, &slot, &value, BPF_ANY), 0);
	connect_many(r, &to, 50);
	rig_accept(r, l, 50, false, counts);
	expect_verdicts(r, (struct steer_verdicts){.no_socket = 100});
	sock_close(other);
	close(socks);
	rig_close(r);
}

static void steer_add_address__refuses_wrong_sockets(void **state)
{
	struct rig *r = rig_open(STEER_LEAST);
	unsigned id, counts[STEER_MAX_SLOTS];
	union sock_addr to;
	struct listener *l;
	int fds[RIG_SLOTS];

	for (unsigned i = 0; i < RIG_SLOTS; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_true(fds[i] >= 0);
	}
	assert_int_equal(steer_add_address(r->steer, fds, &id), -EINVAL); /* not listening */
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		close(fds[i]);
	fds[0] = 1 << 30;
	assert_int_equal(steer_add_address(r->steer, fds, &id), -EBADF);

	l = rig_listen(r, "127.0.0.1:0", false);
	assert_int_equal(steer_add_address(r->steer, l->fds, &id),
			 -EBUSY); /* in an array already */
	to = rig_dial(l, "127.0.0.1");
	make_light(r, 1);
	connect_many(r, &to, 5); /* and the first program is still there */
	rig_accept(r, l, 5, false, counts);
	expect_all_in(counts, 1, 5);
	rig_close(r);
}

static void steer_remove_address__the_group_hashes_on(void **state)
{
	struct rig *r = rig_open(STEER_LEAST);
	struct listener *l = rig_listen(r, "127.0.0.1:0", false);
	union sock_addr to = rig_dial(l, "127.0.0.1");
	unsigned counts[STEER_MAX_SLOTS];

	make_light(r, 0);
	steer_remove_address(r->steer, l->steer_id);
	l->is_steered = false;
	connect_many(r, &to, 100);
	rig_accept(r, l, 100, false, counts);
	assert_true(counts[0] < 50);
	expect_verdicts(r, (struct steer_verdicts){.no_socket = 100});
	rig_close(r);
}

/* A listener closed with a full queue: its connections move to siblings, no client sees a reset. */
static void steer__a_closed_listeners_queue_moves(void **state)
{
	struct rig *r = rig_open(STEER_LEAST);
	struct listener *l = rig_listen(r, "127.0.0.1:0", false);
	union sock_addr to = rig_dial(l, "127.0.0.1");
	unsigned counts[STEER_MAX_SLOTS];

	if (!steer_can_migrate(r->steer)) {
		print_message("skipped: no SELECT_OR_MIGRATE before Linux 5.14\n");
		rig_close(r);
		skip();
	}
	make_light(r, 5);
	connect_many(r, &to, 93);
	steer_slot_down(r->steer, 5, false);
	sock_close(l->fds[5]);
	l->fds[5] = -1;
	rig_accept(r, l, 93, false, counts);
	assert_int_equal(counts[5], 0);
	for (unsigned i = 0; i < r->client_count; i++) {
		char byte;

		assert_int_equal(recv(r->clients[i], &byte, 1, MSG_DONTWAIT), -1);
		assert_int_equal(errno, EAGAIN); /* open, not reset */
	}
	expect_verdicts(r, (struct steer_verdicts){.steered = 93, .migrated = 93});
	rig_close(r);
}

/*
 * Cookies by force run the program twice for a connection: the ACK reserves nothing.  It is the ACK
 * that lands, so that before anything is accepted nothing tells the landings apart from a hash's.
 */
static void steer__syn_cookies_do_not_reserve_twice(void **state)
{
	static const struct {
		const char *mode;
		unsigned acks;
	} rows[] = {{"0", 0}, {"1", 0}, {"2", 100}};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		unsigned counts[STEER_MAX_SLOTS];
		struct rig *r = rig_open(STEER_LEAST);
		struct listener *l = rig_listen(r, "127.0.0.1:0", false);
		union sock_addr to = rig_dial(l, "127.0.0.1");

		rig_sysctl("ipv4/tcp_syncookies", rows[i].mode);
		connect_many(r, &to, 100);
		assert_int_equal(rig_reserved(r), 100);
		rig_accept(r, l, 100, true, counts);
		expect_verdicts(
			r, (struct steer_verdicts){.steered = 100, .cookie_ack = rows[i].acks});
		/* It is the ACK that lands, and before any accept it is drawn about as a hash would: 27 of 100 was seen. */
		for (unsigned slot = 0; slot < RIG_SLOTS; slot++) {
			if (rows[i].acks)
				assert_in_range(counts[slot], 0, 40);
			else
				assert_in_range(counts[slot], 12, 13);
		}
		rig_close(r);
	}
}

static void write_junk(unsigned *seed, const int fds[3])
{
	union {
		struct steer_config config;
		struct steer_slot slot;
		__u8 bytes[64];
	} junk;
	__u32 slot = (__u32)rand_r(seed) % RIG_SLOTS, zero = 0;
	int kind = rand_r(seed) % 8;

	/* Mostly small and extreme values: what people mistype, and what overflows. */
	for (size_t i = 0; i < sizeof(junk); i++)
		junk.bytes[i] =
			rand_r(seed) % 3 ? (rand_r(seed) % 2 ? 0 : 0xff) : (__u8)rand_r(seed);
	if (kind < 2) {
		if (rand_r(seed) % 2)
			junk.config.policy = (__u32)rand_r(seed) % STEER_POLICY_COUNT;
		if (rand_r(seed) % 2)
			junk.config.slot_count = RIG_SLOTS;
		assert_int_equal(bpf_map_update_elem(fds[0], &zero, &junk, 0), 0);
	} else {
		assert_int_equal(bpf_map_update_elem(fds[kind < 4 ? 1 : 2], &slot, &junk, 0), 0);
	}
}

/* Whatever a root user writes into the maps, every connection is served. */
static void steer__random_map_contents_drop_nothing(void **state)
{
	enum { ROUNDS = 3000 };
	struct rig *r = rig_open(STEER_LEAST);
	struct listener *l = rig_listen(r, "127.0.0.1:0", false);
	union sock_addr to = rig_dial(l, "127.0.0.1");
	int fds[3] = {rig_pinned("steer_config"), rig_pinned("steer_weights"),
		      rig_pinned("steer_slots")};
	unsigned counts[STEER_MAX_SLOTS], seed = 20261121;

	for (unsigned round = 1; round <= ROUNDS; round++) {
		write_junk(&seed, fds);
		rig_connect(r, &to);
		if (round % 100 == 0) {
			rig_accept(r, l, 100, false, counts);
			rig_hang_up(r);
		}
	}
	assert_int_equal(rig_verdict_sum(r), ROUNDS);
	assert_int_equal(rig_runs(r, NULL), ROUNDS);
	assert_true(rig_verdicts(r).bad_config > ROUNDS / 20);
	assert_true(rig_verdicts(r).steered > ROUNDS / 20);
	assert_true(rig_verdicts(r).hashed > ROUNDS / 50);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	rig_close(r);
}

static void steer__the_largest_size_reaches_every_slot(void **state)
{
	const struct steer_options opt = {.slot_count = STEER_MAX_SLOTS,
					  .policy = STEER_LEAST,
					  .pin_dir = rig_next_pin_dir()};
	struct rig *r = rig_open_opt(&opt);
	struct listener *l = rig_listen(r, "127.0.0.1:0", false);
	union sock_addr to = rig_dial(l, "127.0.0.1");
	unsigned counts[STEER_MAX_SLOTS];

	connect_many(r, &to, 2 * STEER_MAX_SLOTS);
	rig_accept(r, l, 2 * STEER_MAX_SLOTS, true, counts);
	for (unsigned i = 0; i < STEER_MAX_SLOTS; i++)
		assert_int_equal(counts[i], 2);
	expect_verdicts(r, (struct steer_verdicts){.steered = 2 * STEER_MAX_SLOTS});
	rig_close(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steer__every_family_lands_where_told),
		cmocka_unit_test(steer__two_ports_share_the_counts),
		cmocka_unit_test(steer__down_drained_and_stalled_slots_get_nothing),
		cmocka_unit_test(steer__nobody_to_choose_means_the_kernels_hash),
		cmocka_unit_test(steer__policy_and_weights_change_live),
		cmocka_unit_test(steer__an_empty_or_wrong_array_entry_hashes),
		cmocka_unit_test(steer_add_address__refuses_wrong_sockets),
		cmocka_unit_test(steer_remove_address__the_group_hashes_on),
		cmocka_unit_test(steer__a_closed_listeners_queue_moves),
		cmocka_unit_test(steer__syn_cookies_do_not_reserve_twice),
		cmocka_unit_test(steer__random_map_contents_drop_nothing),
		cmocka_unit_test(steer__the_largest_size_reaches_every_slot),
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
