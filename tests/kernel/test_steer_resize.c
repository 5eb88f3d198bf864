/* SPDX-License-Identifier: MIT */
/* Another number of slots, and another process in the place of this one: nobody is refused, lost or counted twice. */
#include "rig.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#define FEW	 2u
#define MANY	 6u
#define PER_STEP 60u

static void count_in(struct rig *r, unsigned expected, unsigned ret_counts[STEER_MAX_SLOTS])
{
	rig_accept(r, &r->listeners[0], expected, true, ret_counts);
}

/* As the master does it: what is new listens, all slots are up, then the program changes. */
static void resize(struct rig *r, unsigned count)
{
	struct listener *l = &r->listeners[0], grown;
	struct steer *s;
	const char *step;

	assert_int_equal(steer_resize(r->steer, count, &s), 0);
	assert_int_equal(listener_take_over(&grown, l, &l->opt, count, &step), 0);
	assert_int_equal(listener_start_rest(&grown, l), 0);
	for (unsigned i = 0; i < count; i++) {
		steer_slot_up(s, i, i, (uint32_t)getpid());
		steer_set_waiting(steer_slot(s, i), true);
	}
	assert_int_equal(steer_take_address(s, l->steer_id, grown.fds, l->count), 0);
	steer_take_over(s, r->steer);
	listener_close_apart(l, &grown);
	listener_release(l);
	*l = grown;
	steer_close(r->steer);
	r->steer = s;
}

static void connect_many(struct rig *r, unsigned count)
{
	union sock_addr to = rig_dial(&r->listeners[0], "127.0.0.1");

	for (unsigned i = 0; i < count; i++)
		rig_connect(r, &to);
}

static struct rig *open_slots(unsigned count)
{
	const struct steer_options opt = {.slot_count = count, .policy = STEER_LEAST, .pin_dir = rig_next_pin_dir()};
	struct rig *r = rig_open_opt(&opt);

	rig_listen(r, "127.0.0.1:0", false);
	return r;
}

static void steer_resize__every_slot_gets_its_share(void **state)
{
	static const unsigned sizes[] = {MANY, 1, FEW, STEER_MAX_SLOTS, 3};
	unsigned counts[STEER_MAX_SLOTS];
	struct rig *r = open_slots(FEW);
	int stats = rig_count_runs();
	uint64_t runs;

	connect_many(r, PER_STEP);
	count_in(r, PER_STEP, counts);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		resize(r, sizes[i]);
		connect_many(r, PER_STEP);
		count_in(r, PER_STEP, counts);
		for (unsigned slot = 0; slot < sizes[i]; slot++)
			assert_in_range(counts[slot], PER_STEP / sizes[i], (PER_STEP + sizes[i] - 1) / sizes[i]);
	}
	assert_int_equal(rig_verdicts(r).steered, PER_STEP * (1 + ARRAY_LEN(sizes)));
	assert_int_equal(rig_verdict_sum(r), PER_STEP * (1 + ARRAY_LEN(sizes)));
	if (stats >= 0) {
		assert_int_equal(steer_read_runs(r->steer, &runs), 0);
		assert_int_equal(runs, rig_verdict_sum(r));
		close(stats);
	}
	rig_close(r);
}

/* Fewer slots: what waits in the queues that close moves to those that stay. */
static void steer_resize__queues_of_closed_slots_move(void **state)
{
	unsigned counts[STEER_MAX_SLOTS];
	struct rig *r = open_slots(MANY);

	connect_many(r, MANY * 10);
	if (!steer_can_migrate(r->steer)) {
		rig_close(r);
		skip();
	}
	resize(r, FEW);
	rig_accept(r, &r->listeners[0], MANY * 10, false, counts);
	assert_int_equal(rig_verdicts(r).migrated, (MANY - FEW) * 10);
	rig_close(r);
}

static void steer_resize__what_operators_set_stays(void **state)
{
	struct rig *r = open_slots(FEW);
	const struct steer_options same = {.policy = STEER_LEAST};
	const struct steer_options other = {.policy = STEER_LEAST, .stall_ns = 7};

	assert_int_equal(steer_set_weight(r->steer, 1, 300), 0);
	assert_int_equal(steer_set_weight(r->steer, 0, 50), 0);
	assert_int_equal(steer_drain(r->steer, 0), 0);
	assert_int_equal(steer_set_policy(r->steer, STEER_RR), 0);
	resize(r, MANY);
	assert_int_equal(steer_weight(r->steer, 1), 300);
	assert_int_equal(steer_weight(r->steer, MANY - 1), STEER_DEFAULT_WEIGHT);
	assert_int_equal(steer_weight(r->steer, 0), 0);
	assert_int_equal(steer_undrain(r->steer, 0), 0);
	assert_int_equal(steer_weight(r->steer, 0), 50);
	steer_change(r->steer, &same, &other);
	assert_int_equal(steer_policy(r->steer), STEER_RR);
	assert_int_equal(steer_stall_ns(r->steer), 7);
	steer_change(r->steer, &(struct steer_options){.policy = STEER_HASH, .stall_ns = 7}, &other);
	assert_int_equal(steer_policy(r->steer), STEER_LEAST);
	rig_close(r);
}

/* One that is given up leaves everything as it was. */
static void steer_resize__given_up(void **state)
{
	unsigned counts[STEER_MAX_SLOTS];
	struct rig *r = open_slots(FEW);
	struct listener grown;
	const char *step;
	struct steer *s;

	assert_int_equal(steer_resize(r->steer, MANY, &s), 0);
	assert_int_equal(listener_take_over(&grown, &r->listeners[0], &r->listeners[0].opt, MANY, &step), 0);
	connect_many(r, 10);
	listener_close_apart(&grown, &r->listeners[0]);
	listener_release(&grown);
	steer_close(s);
	connect_many(r, 10);
	count_in(r, 20, counts);
	assert_int_equal(counts[0], 10);
	close(rig_pinned("steer_prog_0"));
	assert_int_equal(rig_verdicts(r).steered, 20);
	rig_close(r);
}

static int copy(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* What another process would receive: the same text, other descriptors. */
static void pass_on(const struct steer *s, struct steer_estate *ret)
{
	assert_int_equal(steer_describe(s, ret), 0);
	ret->verdicts_fd = copy(ret->verdicts_fd);
	ret->pin_lock_fd = copy(ret->pin_lock_fd);
	for (unsigned i = 0; i < ret->address_count; i++) {
		ret->addresses[i].socks_fd = copy(ret->addresses[i].socks_fd);
		ret->addresses[i].prog_fd = copy(ret->addresses[i].prog_fd);
	}
}

/* Another program's maps and programs in force, with `count` slots; the sockets are those of `r` still. */
static struct steer *take_from(struct rig *r, unsigned count, bool has_verdicts)
{
	struct steer_estate estate;
	struct steer *from, *s;

	pass_on(r->steer, &estate);
	if (!has_verdicts) {
		close(estate.verdicts_fd);
		estate.verdicts_fd = -1;
	}
	assert_int_equal(steer_restore(&estate, &from), 0);
	assert_int_equal(steer_resize(from, count, &s), 0);
	for (unsigned i = 0; i < count; i++) {
		steer_slot_up(s, i, i, (uint32_t)getpid());
		steer_set_waiting(steer_slot(s, i), true);
	}
	assert_int_equal(steer_take_address(s, r->listeners[0].steer_id, r->listeners[0].fds, count), 0);
	steer_take_over(s, from);
	steer_close(from);
	return s;
}

/* An upgrade: what the old process closes takes nothing from the new one, the pins above all. */
static void steer_estate__goes_on_elsewhere(void **state)
{
	unsigned counts[STEER_MAX_SLOTS];
	struct rig *r = open_slots(FEW);
	struct steer *s;

	assert_int_equal(steer_set_weight(r->steer, 1, 300), 0);
	assert_int_equal(steer_drain(r->steer, 0), 0);
	connect_many(r, 10);
	count_in(r, 10, counts);
	s = take_from(r, FEW, true);
	steer_disown(r->steer);
	steer_close(r->steer);
	r->steer = s;
	assert_int_equal(steer_weight(s, 1), 300);
	assert_int_equal(steer_undrain(s, 0), 0);
	assert_int_equal(steer_weight(s, 0), STEER_DEFAULT_WEIGHT);
	connect_many(r, 20);
	count_in(r, 20, counts);
	/* A quarter by weight; on a busy machine a reservation may end before its connection is accepted. */
	assert_in_range(counts[0], 3, 7);
	assert_int_equal(rig_verdicts(r).steered, 30);
	assert_null(steer_pin_error(s));
	close(rig_pinned("steer_prog_0"));
	close(rig_pinned("steer_slots"));
	rig_close(r);
}

/* Verdicts of another layout begin anew; nothing else is lost. */
static void steer_estate__goes_on_with_other_verdicts(void **state)
{
	unsigned counts[STEER_MAX_SLOTS];
	struct rig *r = open_slots(FEW);
	struct steer *s;

	connect_many(r, 10);
	count_in(r, 10, counts);
	s = take_from(r, FEW, false);
	steer_disown(r->steer);
	steer_close(r->steer);
	r->steer = s;
	connect_many(r, 20);
	count_in(r, 20, counts);
	assert_int_equal(rig_verdicts(r).steered, 20);
	rig_close(r);
}

/* The other process has taken everything, and dies before it served. */
static void steer_estate__is_taken_back(void **state)
{
	unsigned counts[STEER_MAX_SLOTS];
	struct rig *r = open_slots(FEW);
	struct listener *l = &r->listeners[0];
	struct steer *s = take_from(r, FEW, true);

	/* An address that its configuration does not have: it empties the array. */
	steer_remove_address(s, l->steer_id);
	/* As the kernel does it for the dead: nothing is unpinned. */
	steer_disown(s);
	steer_close(s);
	assert_int_equal(steer_take_back(r->steer, l->steer_id, l->fds), 0);
	assert_int_equal(steer_take_back(r->steer, l->steer_id, l->fds), 0);
	steer_pin_again(r->steer);
	connect_many(r, 20);
	count_in(r, 20, counts);
	assert_in_range(counts[0], 8, 12);
	assert_int_equal(rig_verdicts(r).steered, 20);
	close(rig_pinned("steer_prog_0"));
	assert_int_equal(steer_take_back(r->steer, 77, l->fds), -ENOENT);
	rig_close(r);
}

struct looker {
	pthread_t thread;
	bool is_over;
	unsigned looks, misses;
};

static void *look(void *arg)
{
	static const char *const names[] = {"steer_slots", "steer_config", "steer_verdicts", "steer_prog_0", "steer_socks_0"};
	struct looker *k = arg;

	while (!__atomic_load_n(&k->is_over, __ATOMIC_RELAXED)) {
		char path[128];
		struct stat st;

		snprintf(path, sizeof(path), "%s/%s", rig_pin_dir, names[k->looks % ARRAY_LEN(names)]);
		k->misses += stat(path, &st) != 0;
		k->looks++;
	}
	return NULL;
}

/* Whoever opens a pin meanwhile finds it. */
static void steer_resize__pins_are_never_missing(void **state)
{
	struct rig *r = open_slots(FEW);
	struct looker k = {0};

	assert_int_equal(pthread_create(&k.thread, NULL, look, &k), 0);
	for (unsigned i = 0; i < 20; i++)
		resize(r, i % 2 ? FEW : MANY);
	__atomic_store_n(&k.is_over, true, __ATOMIC_RELAXED);
	pthread_join(k.thread, NULL);
	assert_true(k.looks > 100);
	assert_int_equal(k.misses, 0);
	assert_null(steer_pin_error(r->steer));
	rig_close(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steer_resize__every_slot_gets_its_share),
		cmocka_unit_test(steer_resize__queues_of_closed_slots_move),
		cmocka_unit_test(steer_resize__what_operators_set_stays),
		cmocka_unit_test(steer_resize__given_up),
		cmocka_unit_test(steer_estate__goes_on_elsewhere),
		cmocka_unit_test(steer_estate__goes_on_with_other_verdicts),
		cmocka_unit_test(steer_estate__is_taken_back),
		cmocka_unit_test(steer_resize__pins_are_never_missing),
	};
	int status = rig_enter();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
