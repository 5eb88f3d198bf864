/* SPDX-License-Identifier: MIT */
/*
 * Where datagrams land: flows stay at their socket whatever is put beside it, new ones go where the policy says, and each
 * datagram is in one verdict.
 */
#include "rig.h"

#include <sys/utsname.h>

#include "net/udp_io.h"
#include "net/udp_listener.h"

#define FLOWS	    40u
#define GENERATIONS 100u

struct udp_rig {
	struct steer *steer;
	struct udp_listener now;	/* the generation in force */
	struct udp_listener old;	/* the one before */
	uint32_t generation;
	int clients[FLOWS];
};

static void up(struct steer *s)
{
	for (unsigned i = 0; i < steer_slot_count(s); i++) {
		steer_slot_up(s, i, i, (uint32_t)getpid());
		steer_set_waiting(steer_slot(s, i), true);
	}
}

static struct udp_listener_options options(struct udp_rig *r, bool is_one_way)
{
	return (struct udp_listener_options){
		.generation = ++r->generation, .is_one_way = is_one_way, .flow_max = 4096};
}

static struct udp_rig *open_rig(const char *address, unsigned slots, enum steer_policy_id policy, bool is_one_way)
{
	const struct steer_options opt = {.slot_count = slots, .policy = policy};
	struct udp_rig *r = calloc(1, sizeof(*r));
	struct udp_listener_options udp;
	union sock_addr addr;
	const char *step;

	assert_non_null(r);
	udp = options(r, is_one_way);
	assert_int_equal(steer_open(&opt, &r->steer), 0);
	assert_true(steer_is_active(r->steer));
	up(r->steer);
	assert_int_equal(sock_addr_parse(span_str(address), &addr), 0);
	assert_int_equal(udp_listener_open(&r->now, &addr, &udp, slots, r->steer, NULL, &step), 0);
	if (!r->now.is_steered) {
		free(r);
		return NULL;
	}
	for (unsigned i = 0; i < FLOWS; i++)
		r->clients[i] = -1;
	return r;
}

static bool is_kernel_before(unsigned major, unsigned minor)
{
	struct utsname name;
	unsigned has_major, has_minor;

	assert_int_equal(uname(&name), 0);
	assert_int_equal(sscanf(name.release, "%u.%u", &has_major, &has_minor), 2);
	return has_major < major || (has_major == major && has_minor < minor);
}

/* The kernel before 5.12 takes no such program: told, not hidden.  Any other has to. */
#define OPEN_OR_SKIP(...)                                                                          \
	({                                                                                         \
		struct udp_rig *opened_ = open_rig(__VA_ARGS__);                                   \
		if (!opened_) {                                                                    \
			assert_true(is_kernel_before(5, 12));                                      \
			print_message("skipped: this kernel does not steer UDP (takes 5.12)\n");   \
			skip();                                                                    \
		}                                                                                  \
		opened_;                                                                           \
	})

static void close_rig(struct udp_rig *r)
{
	for (unsigned i = 0; i < FLOWS; i++)
		sock_close(r->clients[i]);
	udp_listener_fini(&r->old, true);
	udp_listener_fini(&r->now, true);
	steer_close(r->steer);
	free(r);
}

/* As a reload does: sockets, then the switch.  The one before last ends. */
static void next_generation(struct udp_rig *r, unsigned slots)
{
	struct udp_listener_options opt = options(r, false);
	struct steer *s = r->steer;
	const char *step;

	if (r->old.fds)
		udp_listener_fini(&r->old, true);
	if (slots != steer_slot_count(s)) {
		assert_int_equal(steer_resize(r->steer, slots, &s), 0);
		up(s);
	}
	r->old = r->now;
	assert_int_equal(udp_listener_open(&r->now, &r->old.addr, &opt, slots, s, &r->old, &step), 0);
	assert_int_equal(udp_listener_start(&r->now), 0);
	if (s == r->steer)
		return;
	steer_take_over(s, r->steer);
	steer_close(r->steer);
	r->steer = s;
}

static void say(struct udp_rig *r, unsigned flow, const char *host)
{
	char text[SOCK_ADDR_TEXT];
	union sock_addr to;

	snprintf(text, sizeof(text), "%s:%u", host, sock_addr_port(&r->now.addr));
	assert_int_equal(sock_addr_parse(span_str(text), &to), 0);
	if (r->clients[flow] < 0) {
		r->clients[flow] = udp_sock_connect(&to.any, sock_addr_len(&to));
		assert_true(r->clients[flow] >= 0);
	}
	assert_int_equal(send(r->clients[flow], &flow, sizeof(flow), 0), sizeof(flow));
}

static void say_all(struct udp_rig *r)
{
	for (unsigned i = 0; i < FLOWS; i++)
		say(r, i, "127.0.0.1");
}

/* Loopback delivers before send() returns.  ret_at: the slot of each flow; -1: not there.  How many came in all. */
static unsigned land(const struct udp_listener *l, int ret_at[FLOWS])
{
	unsigned count = 0, flow;

	for (unsigned i = 0; i < FLOWS; i++)
		ret_at[i] = -1;
	for (unsigned slot = 0; slot < l->count; slot++) {
		while (recv(l->fds[slot], &flow, sizeof(flow), MSG_DONTWAIT) == sizeof(flow)) {
			assert_true(flow < FLOWS);
			ret_at[flow] = (int)slot;
			count++;
		}
	}
	return count;
}

static struct udp_verdicts verdicts(const struct udp_rig *r)
{
	struct udp_verdicts v;

	assert_int_equal(udp_bank_read_verdicts(&r->now.bank, &v), 0);
	return v;
}

static void assert_verdicts(const struct udp_rig *r, struct udp_verdicts expected)
{
	struct udp_verdicts v = verdicts(r);

	for (size_t i = 0; i < sizeof(v) / sizeof(__u64); i++)
		if (((__u64 *)&v)[i] != ((__u64 *)&expected)[i])
			fail_msg("verdict %zu: %llu instead of %llu", i, ((__u64 *)&v)[i], ((__u64 *)&expected)[i]);
}

static void udp__a_burst_of_new_flows_is_spread(void **state)
{
	struct udp_rig *r = OPEN_OR_SKIP("127.0.0.1:0", 8, STEER_LEAST, false);
	unsigned counts[8] = {0};
	int at[FLOWS], again[FLOWS];

	/* Nobody counts a session in between: reservations alone tell the slots apart. */
	say_all(r);
	assert_int_equal(land(&r->now, at), FLOWS);
	for (unsigned i = 0; i < FLOWS; i++)
		counts[at[i]]++;
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(counts[i], FLOWS / 8);
	for (unsigned n = 0; n < 3; n++) {
		say_all(r);
		assert_int_equal(land(&r->now, again), FLOWS);
		assert_memory_equal(at, again, sizeof(at));
	}
	assert_verdicts(r, (struct udp_verdicts){.placed = FLOWS, .kept = 3 * FLOWS});
	close_rig(r);
}

static void udp__drained_and_stalled_slots_get_no_new_flow(void **state)
{
	struct udp_rig *r = OPEN_OR_SKIP("127.0.0.1:0", 4, STEER_LEAST, false);
	int at[FLOWS];

	assert_int_equal(steer_drain(r->steer, 1), 0);
	steer_slot_down(r->steer, 2, false);
	say_all(r);
	assert_int_equal(land(&r->now, at), FLOWS);
	for (unsigned i = 0; i < FLOWS; i++)
		assert_true(at[i] == 0 || at[i] == 3);
	close_rig(r);
}

static void udp__without_a_slot_flows_still_stay(void **state)
{
	struct udp_rig *r = OPEN_OR_SKIP("127.0.0.1:0", 4, STEER_LEAST, false);
	int at[FLOWS], again[FLOWS];

	for (unsigned i = 0; i < 4; i++)
		steer_slot_down(r->steer, i, false);
	say_all(r);
	assert_int_equal(land(&r->now, at), FLOWS);
	up(r->steer);
	say_all(r);
	assert_int_equal(land(&r->now, again), FLOWS);
	assert_memory_equal(at, again, sizeof(at));
	assert_verdicts(r, (struct udp_verdicts){.all_stalled = FLOWS, .kept = FLOWS});
	close_rig(r);
}

/* An upgrade: sockets beside those of the server that runs, which may have to go on as if nothing had been. */
static void udp__another_master_changes_nothing_before_its_start(void **state)
{
	struct udp_rig *r = OPEN_OR_SKIP("127.0.0.1:0", 3, STEER_LEAST, false);
	const struct steer_options steer = {.slot_count = 3, .policy = STEER_LEAST};
	struct udp_listener_options opt = options(r, false);
	struct udp_listener next;
	struct steer *other;
	const char *step;
	int at[FLOWS];

	opt.is_taken_over = true;
	assert_int_equal(steer_open(&steer, &other), 0);
	up(other);
	assert_int_equal(udp_listener_open(&next, &r->now.addr, &opt, 3, other, NULL, &step), 0);
	assert_true(next.is_steered);
	say_all(r);
	assert_int_equal(land(&next, at), 0);
	assert_int_equal(land(&r->now, at), FLOWS);
	assert_int_equal(udp_listener_start(&next), 0);
	say_all(r);
	assert_int_equal(land(&r->now, at), 0);
	assert_int_equal(land(&next, at), FLOWS);
	/* It dies, and what it had taken is taken back. */
	assert_int_equal(udp_listener_start(&r->now), 0);
	udp_listener_fini(&next, true);
	steer_close(other);
	say_all(r);
	assert_int_equal(land(&r->now, at), FLOWS);
	assert_verdicts(r, (struct udp_verdicts){.placed = FLOWS, .kept = FLOWS});
	close_rig(r);
}

static void udp__flows_stay_with_their_generation(void **state)
{
	struct udp_rig *r = OPEN_OR_SKIP("127.0.0.1:0", 3, STEER_LEAST, false);
	int at[FLOWS], now[FLOWS], old[FLOWS];

	for (unsigned i = 0; i < FLOWS / 2; i++)
		say(r, i, "127.0.0.1");
	assert_int_equal(land(&r->now, at), FLOWS / 2);
	next_generation(r, 3);
	say_all(r);
	assert_int_equal(land(&r->old, old), FLOWS / 2);
	assert_int_equal(land(&r->now, now), FLOWS / 2);
	for (unsigned i = 0; i < FLOWS; i++) {
		assert_int_equal(old[i], i < FLOWS / 2 ? at[i] : -1);
		assert_true(i < FLOWS / 2 ? now[i] == -1 : now[i] >= 0);
	}
	assert_verdicts(r, (struct udp_verdicts){.placed = FLOWS, .kept_old = FLOWS / 2});
	close_rig(r);
}

/* Each slot of the old generation for itself: what is retired moves, what is not stays. */
static void udp__retired_flows_move(void **state)
{
	struct udp_rig *r = OPEN_OR_SKIP("127.0.0.1:0", 2, STEER_LEAST, false);
	int at[FLOWS], now[FLOWS], old[FLOWS];
	unsigned moved = 0;

	say_all(r);
	assert_int_equal(land(&r->now, at), FLOWS);
	next_generation(r, 2);
	udp_bank_retire(&r->old.bank, 0);
	say_all(r);
	land(&r->old, old);
	land(&r->now, now);
	for (unsigned i = 0; i < FLOWS; i++) {
		assert_int_equal(old[i], at[i] == 0 ? -1 : at[i]);
		assert_true((now[i] >= 0) == (at[i] == 0));
		moved += now[i] >= 0;
	}
	assert_int_equal(moved, FLOWS / 2);
	assert_verdicts(r, (struct udp_verdicts){
				   .placed = FLOWS, .replaced = moved, .kept_old = FLOWS - moved});
	/* A socket that is closed without a word, as by a worker that dies. */
	udp_listener_close_socks(&r->old);
	say_all(r);
	assert_int_equal(land(&r->now, now), FLOWS);
	assert_int_equal(verdicts(r).replaced, FLOWS);
	assert_int_equal(verdicts(r).no_socket, 0);
	close_rig(r);
}

/* The keys of one that has ended go to another: its flows must not come along. */
static void udp__keys_are_used_again(void **state)
{
	static const unsigned slots[] = {2, 5, 1, 3};
	struct udp_rig *r = OPEN_OR_SKIP("127.0.0.1:0", 2, STEER_LEAST, false);
	int before[FLOWS], now[FLOWS], old[FLOWS];

	say_all(r);
	assert_int_equal(land(&r->now, before), FLOWS);
	for (unsigned n = 0; n < GENERATIONS; n++) {
		next_generation(r, slots[n % ARRAY_LEN(slots)]);
		say_all(r);
		/* Those of the generation before last are new; the others stay where they were. */
		land(&r->old, old);
		land(&r->now, now);
		for (unsigned i = 0; i < FLOWS; i++) {
			assert_true((old[i] >= 0) != (now[i] >= 0));
			if (n % 2 == 0)
				assert_int_equal(old[i], before[i]);
			else
				assert_true(now[i] >= 0);
		}
		memcpy(before, n % 2 ? now : old, sizeof(before));
	}
	assert_int_equal(verdicts(r).kept_old, FLOWS * GENERATIONS / 2);
	assert_int_equal(verdicts(r).replaced, FLOWS * GENERATIONS / 2);
	close_rig(r);
}

static void udp__one_way_goes_round(void **state)
{
	struct udp_rig *r = OPEN_OR_SKIP("127.0.0.1:0", 4, STEER_LEAST, true);
	int at[FLOWS];
	unsigned flow;

	for (unsigned i = 0; i < 40; i++)
		say(r, 0, "127.0.0.1");
	for (unsigned slot = 0; slot < 4; slot++)
		for (unsigned i = 0; i < 10; i++)
			assert_int_equal(recv(r->now.fds[slot], &flow, sizeof(flow), MSG_DONTWAIT), sizeof(flow));
	assert_int_equal(land(&r->now, at), 0);
	assert_verdicts(r, (struct udp_verdicts){.spread = 40});
	close_rig(r);
}

/* The same port and host by both protocols are two flows; so are two of our addresses. */
static void udp__both_families_on_one_socket(void **state)
{
	struct udp_rig *r;
	int at[FLOWS];

	if (!rig_has_v6())
		skip();
	r = OPEN_OR_SKIP("[::]:0", 4, STEER_LEAST, false);
	for (unsigned n = 0; n < 2; n++)
		for (unsigned i = 0; i < FLOWS; i++)
			say(r, i, i % 4 == 0 ? "[::1]" : i % 4 == 1 ? "127.0.0.1" : "127.0.0.2");
	assert_int_equal(land(&r->now, at), 2 * FLOWS);
	assert_verdicts(r, (struct udp_verdicts){.placed = FLOWS, .kept = FLOWS});
	close_rig(r);
}

static void udp__every_run_has_its_verdict(void **state)
{
	struct udp_rig *r = OPEN_OR_SKIP("127.0.0.1:0", 4, STEER_P2C, false);
	int stats = rig_count_runs(), at[FLOWS];
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);
	struct udp_verdicts v;
	__u64 sum = 0;

	if (stats < 0)
		skip();
	for (unsigned n = 0; n < 5; n++)
		say_all(r);
	assert_int_equal(land(&r->now, at), 5 * FLOWS);
	assert_int_equal(bpf_obj_get_info_by_fd(r->now.bank.prog_fd, &info, &len), 0);
	v = verdicts(r);
	for (size_t i = 0; i < sizeof(v) / sizeof(__u64); i++)
		sum += ((__u64 *)&v)[i];
	assert_int_equal(info.run_cnt, sum);
	print_message("%llu ns a datagram, statistics included\n", info.run_time_ns / info.run_cnt);
	close(stats);
	close_rig(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(udp__a_burst_of_new_flows_is_spread),
		cmocka_unit_test(udp__drained_and_stalled_slots_get_no_new_flow),
		cmocka_unit_test(udp__without_a_slot_flows_still_stay),
		cmocka_unit_test(udp__another_master_changes_nothing_before_its_start),
		cmocka_unit_test(udp__flows_stay_with_their_generation),
		cmocka_unit_test(udp__retired_flows_move),
		cmocka_unit_test(udp__keys_are_used_again),
		cmocka_unit_test(udp__one_way_goes_round),
		cmocka_unit_test(udp__both_families_on_one_socket),
		cmocka_unit_test(udp__every_run_has_its_verdict),
	};
	int status = rig_enter();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
