/* SPDX-License-Identifier: MIT */
/*
 * The choice of an endpoint: one pass says what each is good for, a second gathers the best class that has room, and
 * the policy picks among those.  No allocation; of each endpoint one shared cache line is read.
 */
#include <math.h>
#include <string.h>
#include <sys/random.h>
#include <sys/un.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "app/upstream_internal.h"
#include "base/err.h"

/* The better ones first; pairs of primary and backup. */
enum fitness { FIT_WELL, FIT_WELL_BACKUP, FIT_EJECTED, FIT_EJECTED_BACKUP, FIT_TRIED, FIT_TRIED_BACKUP, FIT_COUNT };

#define UNFIT	     FIT_COUNT
#define SLOW_START   16u	/* the weight begins at this fraction */
#define GOLDEN	     0x9e3779b97f4a7c15u

/* splitmix64 */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static uint64_t next_random(struct upstream *u)
{
	u->random_state += GOLDEN;
	return mix(u->random_state);
}

static uint64_t random_below(struct upstream *u, uint64_t bound)
{
	return (uint64_t)((unsigned __int128)next_random(u) * bound >> 64);
}

void balance_start(struct upstream *u)
{
	if (getrandom(&u->random_state, sizeof(u->random_state), GRND_NONBLOCK) != sizeof(u->random_state))
		u->random_state = (uintptr_t)u ^ u->loop->now_ns;
	u->has_turns = false;
}

/* Of what tells one server from another, and nothing else: workers and restarts must agree. */
static uint64_t hash_address(const struct upstream_address *a)
{
	const struct sockaddr *any = (const struct sockaddr *)&a->addr;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)any;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)any;

	switch (any->sa_family) {
	case AF_INET:
		return XXH3_64bits_withSeed(&v4->sin_addr, sizeof(v4->sin_addr), v4->sin_port);
	case AF_INET6:
		return XXH3_64bits_withSeed(&v6->sin6_addr, sizeof(v6->sin6_addr),
					    v6->sin6_port | (uint64_t)v6->sin6_scope_id << 32);
	default:
		return XXH3_64bits(any, a->len);
	}
}

static bool is_same_address(const struct upstream_address *a, const struct upstream_address *b)
{
	return a->len == b->len && memcmp(&a->addr, &b->addr, a->len) == 0;
}

void peer_refresh(struct upstream *u, struct peer *p)
{
	uint32_t sequence = __atomic_load_n(&p->shared->sequence, __ATOMIC_ACQUIRE);
	struct upstream_address now;

	/* Odd: it changes right now, or its writer died; what is known holds until there is something better. */
	if (sequence == p->sequence || (sequence & 1))
		return;
	upstream_endpoint_get(p->shared, &now);
	p->sequence = sequence;
	if (is_same_address(&now, &p->address)) {
		p->address.weight = now.weight;
		return;
	}
	p->address = now;
	sock_addr_print_any((const struct sockaddr *)&now.addr, now.len, p->address_text, sizeof(p->address_text));
	p->address_id++;
	p->hash = hash_address(&now);
	health_forget(&p->health);
	conns_close_idle(u, p);
}

uint32_t peer_weight_now(const struct upstream *u, const struct peer *p)
{
	uint32_t weight = u->opt.balance == BALANCE_RR ? 1 : p->address.weight ? p->address.weight : p->server->weight;
	uint64_t full = (uint64_t)MIN(MAX(weight, 1u), 65535u) * WEIGHT_ONE;
	uint64_t slow_ms = p->server->slow_start_ms, since_ns, age_ms;

	since_ns = slow_ms ? __atomic_load_n(&p->shared->used_since_ns, __ATOMIC_RELAXED) : 0;
	if (since_ns == 0)
		return (uint32_t)full;
	/* The clock of the loop may be a little behind that of the monitor. */
	age_ms = u->loop->now_ns > since_ns ? (u->loop->now_ns - since_ns) / NS_PER_MS : 0;
	if (age_ms >= slow_ms)
		return (uint32_t)full;
	return (uint32_t)(full / SLOW_START + (full - full / SLOW_START) * age_ms / slow_ms);
}

static bool is_usable(const struct peer *p)
{
	return p->address.len && !__atomic_load_n(&p->shared->is_drained, __ATOMIC_RELAXED) &&
	       __atomic_load_n(&p->shared->health, __ATOMIC_RELAXED) != HEALTH_DOWN;
}

static bool is_ejected(const struct upstream *u, const struct peer *p)
{
	return __atomic_load_n(&p->shared->ejected_until_ns, __ATOMIC_RELAXED) > u->loop->now_ns;
}

bool peer_is_well(const struct upstream *u, const struct peer *p)
{
	return is_usable(p) && !is_ejected(u, p);
}

static bool is_tried(const struct upstream_lease *lease, unsigned peer)
{
	for (unsigned i = 0; i < MIN(lease->tried_count, UPSTREAM_TRIED_MAX); i++)
		if (lease->tried[i] == peer)
			return true;
	return false;
}

static enum fitness fitness_of(struct upstream *u, const struct upstream_lease *lease, struct peer *p)
{
	unsigned fit;

	peer_refresh(u, p);
	if (!is_usable(p)) {
		/* Drained, down or gone: our idle connections shall not hold it up. */
		if (!list_is_empty(&p->idle))
			conns_close_idle(u, p);
		return UNFIT;
	}
	if (is_tried(lease, (unsigned)(p - u->peers)))
		fit = FIT_TRIED;
	else
		fit = is_ejected(u, p) ? FIT_EJECTED : FIT_WELL;
	return (enum fitness)(fit + p->server->is_backup);
}

/* The best class with room, UNFIT without one.  *ret_is_full: somebody had none. */
static enum fitness classify(struct upstream *u, const struct upstream_lease *lease, bool *ret_is_full)
{
	unsigned with_room = 0, full = 0;

	for (unsigned i = 0; i < u->peer_count; i++) {
		enum fitness fit = fitness_of(u, lease, &u->peers[i]);
		bool has_room = fit != UNFIT && peer_has_room(u, &u->peers[i]);

		u->fits[i] = has_room ? fit : UNFIT;
		if (has_room)
			with_room |= 1u << fit;
		else if (fit != UNFIT)
			full |= 1u << fit;
	}
	*ret_is_full = full != 0;
	for (unsigned pair = FIT_WELL; pair < FIT_COUNT; pair += 2) {
		if (with_room >> pair & 3)
			return (enum fitness)(with_room >> pair & 1 ? pair : pair + 1);
		/* One that is better but busy is worth waiting for, if waiting is allowed. */
		if ((full >> pair & 3) && u->opt.queue_max)
			break;
	}
	return UNFIT;
}

static unsigned gather(struct upstream *u, enum fitness fit, uint64_t *ret_total)
{
	unsigned count = 0;

	*ret_total = 0;
	for (unsigned i = 0; i < u->peer_count; i++) {
		if (u->fits[i] != fit)
			continue;
		u->candidates[count] = (struct candidate){ i, peer_weight_now(u, &u->peers[i]) };
		*ret_total += u->candidates[count++].weight;
	}
	return count;
}

static uint32_t active_of(const struct upstream *u, const struct candidate *c)
{
	return __atomic_load_n(&u->peers[c->peer].shared->active, __ATOMIC_RELAXED);
}

/* Below, at or above zero: a has fewer, equally many, more requests for its weight. */
static int64_t compare_load(const struct upstream *u, const struct candidate *a, const struct candidate *b)
{
	return (int64_t)((uint64_t)active_of(u, a) * b->weight) - (int64_t)((uint64_t)active_of(u, b) * a->weight);
}

/* At random by weight, `but` left out (count: nobody is). */
static unsigned draw(struct upstream *u, unsigned count, uint64_t total, unsigned but)
{
	uint64_t at = random_below(u, total - (but < count ? u->candidates[but].weight : 0));
	unsigned last = 0;

	for (unsigned i = 0; i < count; i++) {
		if (i == but)
			continue;
		last = i;
		if (at < u->candidates[i].weight)
			break;
		at -= u->candidates[i].weight;
	}
	return last;
}

/*
 * A debt of its own weight for each place: the peers get their first turns in order, beginning anywhere.  Only those that
 * can be chosen take part: a name has 16 places, and debts of the empty ones would keep the second of two addresses
 * waiting until the first one has had eight turns.
 */
static void begin_turns(struct upstream *u, unsigned count)
{
	unsigned first = (unsigned)random_below(u, count);

	for (unsigned i = 0; i < count; i++) {
		const struct candidate *c = &u->candidates[(first + i) % count];

		u->peers[c->peer].turn = -(int64_t)i * c->weight;
	}
	u->has_turns = true;
}

/* Smooth weighted round robin, as nginx has it: everybody earns its weight, the richest is taken and pays for all. */
static unsigned pick_in_turn(struct upstream *u, unsigned count, uint64_t total)
{
	struct peer *best_peer = &u->peers[u->candidates[0].peer];
	unsigned best = 0;

	if (!u->has_turns)
		begin_turns(u, count);
	best_peer->turn += u->candidates[0].weight;
	for (unsigned i = 1; i < count; i++) {
		struct peer *p = &u->peers[u->candidates[i].peer];

		p->turn += u->candidates[i].weight;
		if (p->turn > best_peer->turn) {
			best = i;
			best_peer = p;
		}
	}
	best_peer->turn -= (int64_t)total;
	return best;
}

/* Among equals at random by weight, in the same pass: each replaces the one held with its share so far. */
static unsigned pick_least(struct upstream *u, unsigned count)
{
	uint64_t equal_weight = u->candidates[0].weight;
	unsigned best = 0;

	for (unsigned i = 1; i < count; i++) {
		int64_t difference = compare_load(u, &u->candidates[i], &u->candidates[best]);

		if (difference > 0)
			continue;
		if (difference < 0)
			equal_weight = 0;
		equal_weight += u->candidates[i].weight;
		if (difference < 0 || random_below(u, equal_weight) < u->candidates[i].weight)
			best = i;
	}
	return best;
}

static unsigned pick_two(struct upstream *u, unsigned count, uint64_t total)
{
	unsigned first = draw(u, count, total, count);
	unsigned second = draw(u, count, total, first);

	return compare_load(u, &u->candidates[second], &u->candidates[first]) < 0 ? second : first;
}

static bool has_even_weights(const struct upstream *u, unsigned count)
{
	for (unsigned i = 1; i < count; i++)
		if (u->candidates[i].weight != u->candidates[0].weight)
			return false;
	return true;
}

/*
 * Rendezvous hashing: each endpoint draws a lot for the key, the highest wins, so that an endpoint that leaves gives
 * away its own keys and no others move.  -weight / ln(lot) makes it win as often as its weight says; a weight that
 * grows takes keys over and moves none between others.
 */
static unsigned pick_by_hash(const struct upstream *u, unsigned count, uint64_t key)
{
	/* Among equal weights the higher lot wins anyhow: no logarithm. */
	bool is_even = has_even_weights(u, count);
	double best_score = -1;
	unsigned best = 0;

	for (unsigned i = 0; i < count; i++) {
		uint64_t lot = mix(mix(key + GOLDEN) ^ u->peers[u->candidates[i].peer].hash);
		/* 52 bits, in the middle of their interval: neither 0 nor 1 */
		double score = ((double)(lot >> 12) + 0.5) * 0x1p-52;

		if (!is_even)
			score = u->candidates[i].weight / -log(score);
		if (score > best_score) {
			best_score = score;
			best = i;
		}
	}
	return best;
}

static unsigned pick(struct upstream *u, const struct upstream_lease *lease, unsigned count, uint64_t total)
{
	if (count == 1)
		return 0;
	switch (u->opt.balance) {
	case BALANCE_LEAST:
		return pick_least(u, count);
	case BALANCE_P2C:
		return pick_two(u, count, total);
	case BALANCE_RANDOM:
		return draw(u, count, total, count);
	case BALANCE_HASH:
		return pick_by_hash(u, count, lease->key);
	case BALANCE_RR:
	case BALANCE_WEIGHTED:
		break;
	}
	return pick_in_turn(u, count, total);
}

enum choice balance_choose(struct upstream *u, const struct upstream_lease *lease, struct peer **ret_peer)
{
	bool is_full;
	enum fitness fit = classify(u, lease, &is_full);
	uint64_t total;
	unsigned count;

	if (fit == UNFIT)
		return is_full ? CHOICE_FULL : CHOICE_NONE;
	count = gather(u, fit, &total);
	*ret_peer = &u->peers[u->candidates[pick(u, lease, count, total)].peer];
	return CHOICE_MADE;
}
