/* SPDX-License-Identifier: MIT */
/* The shared tables of clients; see include/limits_shm.h. */
#include "net/limit_table.h"

#include <sys/mman.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/err.h"
#include "base/random.h"

/* Each try that fails, another process has got on.  Who fails this often has hundreds of siblings at work at once. */
#define TRIES 256u

/* Memory ------------------------------------------------------------------------------------------------------ */

static uint32_t sets_for(unsigned client_count)
{
	uint32_t sets = 1;

	while ((uint64_t)sets * LIMIT_WAYS < client_count)
		sets *= 2;
	return sets;
}

size_t limit_table_room(unsigned client_count)
{
	return (size_t)sets_for(client_count) * LIMIT_WAYS;
}

int limit_table_open(struct limit_table *t, unsigned client_count)
{
	uint32_t sets = sets_for(client_count);
	size_t table_size = sets * sizeof(struct limit_set);
	size_t size = sizeof(struct limit_header) + 2 * table_size;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int err;

	*t = (struct limit_table){ 0 };
	if (memory == MAP_FAILED)
		return -ENOMEM;
	t->header = (void *)memory;
	t->rates = (void *)(memory + sizeof(struct limit_header));
	t->counts = t->rates + sets;
	t->set_mask = sets - 1;
	t->size = size;
	err = random_fill(t->header->secret, sizeof(t->header->secret));
	if (!err)
		err = random_fill(&t->header->id, sizeof(t->header->id));
	t->header->id |= 1;
	if (err)
		limit_table_close(t);
	return err;
}

void limit_table_close(struct limit_table *t)
{
	if (t->header)
		munmap(t->header, t->size);
	*t = (struct limit_table){ 0 };
}

/* Clients ----------------------------------------------------------------------------------------------------- */

bool limit_client_of(const union sock_addr *addr, struct limit_client *ret_client)
{
	union sock_addr a = *addr;

	sock_addr_unmap(&a);
	*ret_client = (struct limit_client){ .family = a.any.sa_family };
	switch (a.any.sa_family) {
	case AF_INET:
		ret_client->network = a.v4.sin_addr.s_addr;
		return true;
	case AF_INET6:
		memcpy(&ret_client->network, &a.v6.sin6_addr, sizeof(ret_client->network));
		return true;
	default:
		return false;
	}
}

struct place {
	struct limit_set *set;
	uint64_t tag;		/* not 0 */
};

static struct place find_place(const struct limit_table *t, struct limit_set *sets, struct limit_client client,
			       uint32_t zone)
{
	const uint64_t key[2] = { client.network, (uint64_t)client.family << 32 | zone };
	uint64_t hash = XXH3_64bits_withSecret(key, sizeof(key), t->header->secret, sizeof(t->header->secret));
	uint64_t tag = hash >> LIMIT_VALUE_BITS;

	return (struct place){ &sets[hash & t->set_mask], tag ? tag : 1 };
}

static uint64_t tag_of(uint64_t word)
{
	return word >> LIMIT_VALUE_BITS;
}

static uint64_t word_of(uint64_t tag, uint64_t value)
{
	return tag << LIMIT_VALUE_BITS | (value & LIMIT_VALUE_MASK);
}

static uint64_t load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static bool swap(uint64_t *word, uint64_t from, uint64_t to)
{
	return __atomic_compare_exchange_n(word, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* Entering a set ---------------------------------------------------------------------------------------------- */

/* What a table keeps, and so which of its entries may go. */
struct keeping {
	struct limit_table *table;
	uint64_t now;		/* of a rate */
	bool is_count;
};

static uint64_t debt_of(const struct keeping *k, uint64_t word)
{
	return limit_debt(word, k->now, k->table->debt_max);
}

/* What a client begins with, in the place of another. */
static uint64_t fresh_value(const struct keeping *k, uint64_t old)
{
	/* The next version, so that a word which was looked at long ago never comes back. */
	return k->is_count ? (old & ~LIMIT_COUNT_MASK) + LIMIT_COUNT_MASK + 1 : k->now;
}

static bool may_go(const struct keeping *k, uint64_t word)
{
	return !k->is_count || (word & LIMIT_COUNT_MASK) == 0;
}

/* The way whose client loses least: -1 when none may go. */
static int choose_way(const struct keeping *k, const struct limit_set *set)
{
	uint64_t least = UINT64_MAX;
	int way = -1;

	for (unsigned i = 0; i < LIMIT_WAYS; i++) {
		uint64_t word = load(&set->entries[i]);
		uint64_t loss = tag_of(word) == 0 ? 0 : k->is_count ? 1 : debt_of(k, word) + 1;

		if (may_go(k, word) && loss < least) {
			least = loss;
			way = (int)i;
		}
	}
	return way;
}

/* Does what a claim says, whoever made it. */
static void fulfil(const struct keeping *k, struct limit_set *set, uint64_t claim)
{
	uint64_t *entry = &set->entries[claim >> LIMIT_WAY_SHIFT & 7];
	uint64_t tag = tag_of(claim);

	for (;;) {
		uint64_t word = load(entry);

		if (load(&set->claim) != claim)
			return;
		/* It has been written, or its client has come back to this way: then the claim is void. */
		if (tag_of(word) == tag || !may_go(k, word))
			break;
		if (!swap(entry, word, word_of(tag, fresh_value(k, word))))
			continue;
		if (!k->is_count && debt_of(k, word))
			__atomic_fetch_add(&k->table->header->evicted, 1, __ATOMIC_RELAXED);
		break;
	}
	swap(&set->claim, claim, claim & ((UINT64_C(1) << LIMIT_WAY_SHIFT) - 1));
}

static bool claim_way(struct limit_set *set, uint64_t before, uint64_t tag, unsigned way)
{
	uint64_t number = (before + 1) & ((UINT64_C(1) << LIMIT_WAY_SHIFT) - 1);

	return swap(&set->claim, before, tag << LIMIT_VALUE_BITS | (uint64_t)way << LIMIT_WAY_SHIFT | number);
}

static uint64_t *look(const struct place *p, uint64_t *ret_word)
{
	for (unsigned i = 0; i < LIMIT_WAYS; i++) {
		*ret_word = load(&p->set->entries[i]);
		if (tag_of(*ret_word) == p->tag)
			return &p->set->entries[i];
	}
	return NULL;
}

/* The client's entry, made if there is none.  NULL: no way is free. */
static uint64_t *enter(const struct keeping *k, const struct place *p, uint64_t *ret_word)
{
	for (unsigned i = 0; i < TRIES; i++) {
		/* Before the look: a claim that others made since then makes ours fail. */
		uint64_t claim = load(&p->set->claim);
		uint64_t *entry = look(p, ret_word);
		int way;

		if (entry)
			return entry;
		if (tag_of(claim)) {
			fulfil(k, p->set, claim);
			continue;
		}
		way = choose_way(k, p->set);
		if (way < 0)
			return NULL;
		claim_way(p->set, claim, p->tag, (unsigned)way);
	}
	return NULL;
}

/* Rates ------------------------------------------------------------------------------------------------------- */

uint64_t limit_table_take(struct limit_table *t, const struct limit_rate *rate, struct limit_client client,
			  uint64_t now_ns)
{
	struct keeping k = { t, now_ns / LIMIT_UNIT_NS & LIMIT_VALUE_MASK, false };
	struct place p = find_place(t, t->rates, client, rate->zone);
	uint64_t word, value, wait = rate->interval;

	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t *entry = enter(&k, &p, &word);

		if (!entry)
			break;
		wait = limit_take(word, k.now, rate->interval, rate->window, rate->window + rate->beyond, &value);
		if (wait)
			break;
		if (swap(entry, word, word_of(p.tag, value)))
			return 0;
		wait = rate->interval;
	}
	return (wait * LIMIT_UNIT_NS + 999999) / 1000000;
}

bool limit_table_raise(struct limit_table *t, const struct limit_rate *rate, struct limit_client client, uint64_t debt,
		       uint64_t now_ns)
{
	struct keeping k = { t, now_ns / LIMIT_UNIT_NS & LIMIT_VALUE_MASK, false };
	struct place p = find_place(t, t->rates, client, rate->zone);
	uint64_t most = rate->window + rate->beyond, word;

	debt = MIN(debt, most);
	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t *entry = enter(&k, &p, &word);

		if (!entry || limit_debt(word, k.now, most) >= debt)
			return false;
		if (swap(entry, word, word_of(p.tag, k.now + debt)))
			return true;
	}
	return false;
}

void limit_table_refresh(struct limit_table *t, uint64_t now_ns)
{
	/* Past for a worker whose clock is behind, too. */
	uint64_t past = (now_ns / LIMIT_UNIT_NS - LIMIT_SLACK) & LIMIT_VALUE_MASK;

	for (size_t i = 0; t->header && i < ((size_t)t->set_mask + 1) * LIMIT_WAYS; i++) {
		uint64_t *entry = &t->rates[i / LIMIT_WAYS].entries[i % LIMIT_WAYS];
		uint64_t word = load(entry);

		/* Where it fails a worker has just written a time of today. */
		if (tag_of(word) && limit_debt(word, past, LIMIT_WINDOW_MAX) == 0)
			swap(entry, word, word_of(tag_of(word), past));
	}
}

/* Connections ------------------------------------------------------------------------------------------------- */

static uint64_t *entry_at(const struct limit_table *t, uint32_t entry)
{
	return &t->counts[(entry - 1) / LIMIT_WAYS].entries[(entry - 1) % LIMIT_WAYS];
}

/* Another count, another version. */
static uint64_t word_with(uint64_t word, uint64_t count)
{
	return word_of(tag_of(word), (word & ~LIMIT_COUNT_MASK) + LIMIT_COUNT_MASK + 1 + count);
}

enum limit_verdict limit_table_add(struct limit_table *t, struct limit_row row, struct limit_client client,
				   uint32_t max, uint32_t *ret_entry)
{
	struct keeping k = { t, 0, true };
	struct place p = find_place(t, t->counts, client, 0);
	uint64_t word;

	*ret_entry = 0;
	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t *entry = enter(&k, &p, &word);
		uint64_t count = word & LIMIT_COUNT_MASK;

		if (!entry)
			break;
		if (max && count >= max)
			return LIMIT_REFUSED;
		if (count == LIMIT_COUNT_MASK)
			break;
		if (!swap(entry, word, word_with(word, count + 1)))
			continue;
		*ret_entry = (uint32_t)((size_t)(p.set - t->counts) * LIMIT_WAYS + (size_t)(entry - p.set->entries)) + 1;
		limit_row_join(row, *ret_entry);
		return LIMIT_COUNTED;
	}
	__atomic_fetch_add(&t->header->untracked, 1, __ATOMIC_RELAXED);
	return LIMIT_UNTRACKED;
}

bool limit_table_has(const struct limit_table *t, uint32_t entry)
{
	return entry > 0 && entry <= (t->set_mask + 1) * LIMIT_WAYS;
}

/* Never below zero, whatever a dead worker left behind. */
static void take_off(struct limit_table *t, uint32_t entry, uint64_t share)
{
	uint64_t *at = entry_at(t, entry);

	for (;;) {
		uint64_t word = load(at), count = word & LIMIT_COUNT_MASK;

		if (count == 0 || swap(at, word, word_with(word, count - MIN(count, share))))
			return;
	}
}

static void take_off_any(struct limit_table *t, uint64_t share)
{
	uint64_t count = load(&t->header->connections);

	while (!swap(&t->header->connections, count, count - MIN(count, share)))
		count = load(&t->header->connections);
}

void limit_table_drop(struct limit_table *t, struct limit_row row, uint32_t entry)
{
	limit_row_leave(row, entry);
	take_off(t, entry, 1);
}

bool limit_table_add_any(struct limit_table *t, struct limit_row row, uint64_t max)
{
	uint64_t count;

	do {
		count = load(&t->header->connections);
		if (max && count >= max)
			return false;
	} while (!swap(&t->header->connections, count, count + 1));
	limit_row_join(row, 0);
	return true;
}

void limit_table_drop_any(struct limit_table *t, struct limit_row row)
{
	limit_row_leave(row, 0);
	take_off_any(t, 1);
}

void limit_rows_forget(const struct limit_rows *r, struct limit_table *t, unsigned worker)
{
	struct limit_row row = limit_rows_of(r, worker);

	if (!row.connections || !t->header)
		return;
	take_off_any(t, __atomic_exchange_n(&row.connections[0], 0, __ATOMIC_RELAXED));
	for (uint32_t entry = 1; entry < r->row_len; entry++) {
		uint32_t share = row.connections[entry];

		if (share == 0)
			continue;
		__atomic_store_n(&row.connections[entry], 0, __ATOMIC_RELAXED);
		take_off(t, entry, share);
	}
}
