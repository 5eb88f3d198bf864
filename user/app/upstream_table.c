/* SPDX-License-Identifier: MIT */
/*
 * The shared table of upstream servers; see include/upstream_shm.h.
 *
 * An address changes under a sequence lock with one writer: the sequence is odd while words change, and a reader that
 * saw it odd, or saw it move, reads again.  Words are single atomic loads and stores, so that what a reader throws away
 * was never undefined.  A writer may be killed halfway: readers give up after some tries, and the next writer goes on
 * from the odd number.
 */
#include "app/upstream_table.h"

#include <string.h>

#include "base/err.h"

/* A write takes some 30 ns; a reader that fails this often has met a writer that sleeps or is dead. */
#define READ_TRIES 64

#define ADDRESS_WORDS (UPSTREAM_ADDRESS_SIZE / sizeof(uint64_t))

_Static_assert(sizeof(((struct upstream_address *)0)->addr) >= UPSTREAM_ADDRESS_SIZE, "every address fits");

static size_t size_of(const struct upstream_table *t)
{
	return t->endpoint_count * sizeof(*t->endpoints) +
	       (size_t)t->worker_count * t->endpoint_count * sizeof(*t->counters);
}

static int lay_out(struct upstream_table *t, int err)
{
	if (err) {
		*t = (struct upstream_table){ .memory = SHM_NONE };
		return err;
	}
	t->endpoints = t->memory.at;
	t->counters = (void *)((char *)t->memory.at + t->endpoint_count * sizeof(*t->endpoints));
	return 0;
}

int upstream_table_open(struct upstream_table *t, unsigned endpoint_count, unsigned worker_count)
{
	*t = (struct upstream_table){
		.endpoint_count = endpoint_count, .worker_count = worker_count, .memory = SHM_NONE
	};
	if (endpoint_count == 0)
		return 0;
	return lay_out(t, shm_new(&t->memory, "sluice-upstreams", size_of(t)) < 0 ? -ENOMEM : 0);
}

int upstream_table_map(struct upstream_table *t, int fd, unsigned endpoint_count, unsigned worker_count)
{
	*t = (struct upstream_table){ .endpoint_count = endpoint_count, .worker_count = worker_count };
	return lay_out(t, shm_map(&t->memory, fd, size_of(t)));
}

void upstream_table_close(struct upstream_table *t)
{
	/* One that was never opened is all zero, and 0 is somebody else's descriptor. */
	if (t->endpoints)
		shm_free(&t->memory);
	*t = (struct upstream_table){ .memory = SHM_NONE };
}

struct upstream_counters *upstream_table_counters(const struct upstream_table *t, unsigned worker, unsigned endpoint)
{
	BUG_ON(worker >= t->worker_count || endpoint >= t->endpoint_count);
	return &t->counters[(size_t)worker * t->endpoint_count + endpoint];
}

/* Only the one writer asks, so nothing changes meanwhile. */
static bool has_address(const struct upstream_endpoint *e, const struct sockaddr *addr, socklen_t len)
{
	return e->is_used && e->address_len == len && memcmp(e->address, addr, len) == 0;
}

static void write_words(struct upstream_endpoint *e, const struct sockaddr *addr, socklen_t len)
{
	uint64_t *to = (uint64_t *)e->address;
	uint64_t words[ADDRESS_WORDS] = { 0 };

	memcpy(words, addr, len);
	for (unsigned i = 0; i < ADDRESS_WORDS; i++)
		__atomic_store_n(&to[i], words[i], __ATOMIC_RELAXED);
}

static void begin_anew(struct upstream_endpoint *e, uint64_t now_ns)
{
	__atomic_store_n(&e->health, HEALTH_UNKNOWN, __ATOMIC_RELAXED);
	__atomic_store_n(&e->ejected_until_ns, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&e->ejections, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&e->used_since_ns, now_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&e->check_streak, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&e->check_error[0], '\0', __ATOMIC_RELAXED);
}

void upstream_endpoint_set(struct upstream_endpoint *e, const struct sockaddr *addr, socklen_t len, uint32_t weight,
			   uint64_t now_ns)
{
	/* From the odd number of a writer that died halfway to the next odd one. */
	uint32_t sequence = (e->sequence | 1) + (e->sequence & 1 ? 2 : 0);
	bool was_torn = e->sequence & 1;

	BUG_ON(len > UPSTREAM_ADDRESS_SIZE);
	if (!was_torn && e->weight == weight && (len ? has_address(e, addr, len) : !e->is_used))
		return;
	__atomic_store_n(&e->sequence, sequence, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	if (was_torn || !has_address(e, addr, len)) {
		if (len)
			write_words(e, addr, len);
		begin_anew(e, len ? now_ns : 0);
	}
	__atomic_store_n(&e->is_used, len != 0, __ATOMIC_RELAXED);
	__atomic_store_n(&e->address_len, len, __ATOMIC_RELAXED);
	__atomic_store_n(&e->weight, weight, __ATOMIC_RELAXED);
	__atomic_store_n(&e->sequence, sequence + 1, __ATOMIC_RELEASE);
}

/* One try; false: a write was going on. */
static bool read_once(const struct upstream_endpoint *e, struct upstream_address *ret)
{
	const uint64_t *from = (const uint64_t *)e->address;
	uint32_t before = __atomic_load_n(&e->sequence, __ATOMIC_ACQUIRE);
	uint64_t words[ADDRESS_WORDS];
	uint32_t is_used, len;

	if (before & 1)
		return false;
	is_used = __atomic_load_n(&e->is_used, __ATOMIC_RELAXED);
	len = __atomic_load_n(&e->address_len, __ATOMIC_RELAXED);
	ret->weight = __atomic_load_n(&e->weight, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < ADDRESS_WORDS; i++)
		words[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (__atomic_load_n(&e->sequence, __ATOMIC_RELAXED) != before)
		return false;
	ret->len = is_used ? MIN(len, (uint32_t)UPSTREAM_ADDRESS_SIZE) : 0;
	memcpy(&ret->addr, words, sizeof(words));
	return true;
}

void upstream_endpoint_get(const struct upstream_endpoint *e, struct upstream_address *ret_address)
{
	for (unsigned i = 0; i < READ_TRIES; i++)
		if (read_once(e, ret_address))
			return;
	memset(ret_address, 0, sizeof(*ret_address));
}

void upstream_endpoint_copy(struct upstream_endpoint *to, const struct upstream_endpoint *from)
{
	struct upstream_address a;

	upstream_endpoint_get(from, &a);
	upstream_endpoint_set(to, a.len ? (const struct sockaddr *)&a.addr : NULL, a.len, a.weight, 0);
	to->health = __atomic_load_n(&from->health, __ATOMIC_RELAXED);
	to->is_drained = __atomic_load_n(&from->is_drained, __ATOMIC_RELAXED);
	to->ejected_until_ns = __atomic_load_n(&from->ejected_until_ns, __ATOMIC_RELAXED);
	to->used_since_ns = __atomic_load_n(&from->used_since_ns, __ATOMIC_RELAXED);
	to->ejections = __atomic_load_n(&from->ejections, __ATOMIC_RELAXED);
	to->ejection_count = __atomic_load_n(&from->ejection_count, __ATOMIC_RELAXED);
	to->checks = __atomic_load_n(&from->checks, __ATOMIC_RELAXED);
	to->check_failures = __atomic_load_n(&from->check_failures, __ATOMIC_RELAXED);
	to->check_streak = __atomic_load_n(&from->check_streak, __ATOMIC_RELAXED);
	for (size_t i = 0; i < sizeof(to->check_error); i++)
		to->check_error[i] = __atomic_load_n(&from->check_error[i], __ATOMIC_RELAXED);
}

void upstream_counters_add(struct upstream_counters *to, const struct upstream_counters *from)
{
#define ADD(field) to->field += __atomic_load_n(&from->field, __ATOMIC_RELAXED)
	ADD(requests);
	ADD(connects);
	ADD(reuses);
	ADD(connect_failures);
	ADD(timeouts);
	ADD(failures);
	ADD(retries);
	for (size_t i = 0; i < sizeof(to->status) / sizeof(to->status[0]); i++)
		ADD(status[i]);
	ADD(bytes_in);
	ADD(bytes_out);
	ADD(idle_closed);
	ADD(panics);
	ADD(waits);
	ADD(queued);	/* none of a worker that is gone */
	ADD(queue_full);
	ADD(queue_timeouts);
	ADD(no_server);
#undef ADD
}

/* Takes the dead worker's share off.  Never below zero, whatever it left behind. */
static void take_off(uint32_t *shared, uint32_t *own)
{
	uint32_t share = __atomic_exchange_n(own, 0, __ATOMIC_RELAXED);
	uint32_t now = __atomic_load_n(shared, __ATOMIC_RELAXED);

	while (share && !__atomic_compare_exchange_n(shared, &now, now > share ? now - share : 0, true,
						     __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

void upstream_table_forget_worker(struct upstream_table *t, unsigned worker)
{
	for (unsigned i = 0; i < t->endpoint_count; i++) {
		struct upstream_counters *c = upstream_table_counters(t, worker, i);

		take_off(&t->endpoints[i].active, &c->active);
		take_off(&t->endpoints[i].connections, &c->connections);
		/* Who waited in its queue has gone with it. */
		__atomic_store_n(&c->queued, 0, __ATOMIC_RELAXED);
	}
}
