/* SPDX-License-Identifier: MIT */
/* Uses of clients, from the rings to reports and back; see limit_tally.h. */
#include "app/limit_tally.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/random.h"

#define UNITS_PER_US (1000 / LIMIT_UNIT_NS)
#define DEBT_MAX_US  ((int64_t)(LIMIT_WINDOW_MAX / UNITS_PER_US))

struct tally_client {
	struct list node;		/* of its bucket */
	struct list due;
	struct limit_client address;
	uint32_t rate;
	bool is_told;			/* a report is under way */
	uint32_t used, told;		/* requests: not in a report yet; in that under way */
	uint64_t since_ns;		/* `used` began after that */
};

static uint64_t *counter_of(struct limit_tally *t, size_t offset)
{
	return (uint64_t *)(void *)((char *)&t->table->header->share + offset);
}

#define COUNT(t, name, count) limit_share_count(counter_of(t, offsetof(struct limit_share_counts, name)), count)

/* Clients ------------------------------------------------------------------------------------------------------ */

static struct list *bucket_of(struct limit_tally *t, const struct limit_use *use)
{
	return &t->buckets[XXH3_64bits_withSeed(use, sizeof(*use), t->seed) % LIMIT_TALLY_BUCKETS];
}

/* NULL: no memory, or too many. */
static struct tally_client *find(struct limit_tally *t, const struct limit_use *use)
{
	struct list *bucket = bucket_of(t, use);
	struct tally_client *c;

	list_for_each(node, bucket) {
		c = container_of(node, struct tally_client, node);
		if (c->address.network == use->network && c->address.family == use->family && c->rate == use->rate)
			return c;
	}
	c = pool_get(&t->clients);
	if (!c)
		return NULL;
	*c = (struct tally_client){
		.address = { .network = use->network, .family = use->family },
		.rate = use->rate,
		.since_ns = t->drained_ns,
	};
	list_init(&c->due);
	list_push_back(bucket, &c->node);
	return c;
}

static void drop(struct limit_tally *t, struct tally_client *c)
{
	list_remove(&c->due);
	list_remove(&c->node);
	pool_put(&t->clients, c);
}

void limit_tally_init(struct limit_tally *t, const struct limit_share *share, struct limit_table *table,
		      uint64_t now_ns)
{
	t->share = share;
	t->table = table;
	t->seed = random_u64();
	t->drained_ns = now_ns;
	pool_init(&t->clients, sizeof(struct tally_client), 1024, LIMIT_TALLY_MAX);
	list_init(&t->due);
	for (unsigned i = 0; i < LIMIT_TALLY_BUCKETS; i++)
		list_init(&t->buckets[i]);
}

void limit_tally_fini(struct limit_tally *t)
{
	for (unsigned i = 0; i < LIMIT_TALLY_BUCKETS; i++)
		while (!list_is_empty(&t->buckets[i]))
			drop(t, container_of(t->buckets[i].next, struct tally_client, node));
	pool_fini(&t->clients);
}

/* Uses --------------------------------------------------------------------------------------------------------- */

static void add(struct limit_tally *t, const struct limit_use *use)
{
	struct tally_client *c;

	/* Nothing of what a worker writes, unless it is no longer ours. */
	if (use->rate >= t->share->rate_count || (use->family != AF_INET && use->family != AF_INET6))
		return;
	c = find(t, use);
	if (!c) {
		COUNT(t, untold, 1);
		return;
	}
	c->used++;
	if (!c->is_told && list_is_empty(&c->due))
		list_push_back(&t->due, &c->due);
}

void limit_tally_drain(struct limit_tally *t, uint64_t now_ns)
{
	struct limit_use use;

	for (unsigned i = 0; i < t->share->worker_count; i++)
		/* Whoever writes faster than this reads has to wait for the next time. */
		for (unsigned k = 0; k < LIMIT_RING_SIZE && limit_ring_take(&t->share->rings[i], &use); k++)
			add(t, &use);
	t->drained_ns = now_ns;
}

/* Used within a span that is too long to be told: who was at it all the time has paid for what lies before. */
static void shorten(struct limit_report *r)
{
	uint64_t paid_us = r->span_us - MIN(r->span_us, LIMIT_TALLY_SPAN_MAX / 1000);

	r->span_us -= paid_us;
	r->used_us -= MIN(r->used_us, paid_us);
}

bool limit_tally_cut(struct limit_tally *t, uint64_t now_ns, struct limit_report *ret_report)
{
	struct list *node = list_pop_front(&t->due);
	const struct limit_rate *rate;
	struct tally_client *c;

	if (!node)
		return false;
	c = container_of(node, struct tally_client, due);
	rate = &t->share->rates[c->rate];
	*ret_report = (struct limit_report){
		.client = c,
		.address = c->address,
		.zone = rate->zone,
		.used_us = (c->used * rate->interval + UNITS_PER_US - 1) / UNITS_PER_US,
		.span_us = (now_ns - c->since_ns + t->way_ns) / 1000,
		.most_us = (rate->window + rate->beyond) / UNITS_PER_US,
	};
	shorten(ret_report);
	c->told = c->used;
	c->used = 0;
	c->since_ns = now_ns;
	c->is_told = true;
	return true;
}

/* The report has ended. */
static void settle(struct limit_tally *t, struct tally_client *c)
{
	c->is_told = false;
	if (c->used)
		list_push_back(&t->due, &c->due);
	else
		drop(t, c);
}

void limit_tally_answer(struct limit_tally *t, const struct limit_report *r, int64_t debt_us, uint64_t now_ns)
{
	struct tally_client *c = r->client;
	const struct limit_rate *rate = &t->share->rates[c->rate];
	int64_t owed = MAX(MIN(debt_us, DEBT_MAX_US), -DEBT_MAX_US) * (int64_t)UNITS_PER_US;

	/* Forgotten within some answers.  One report that was faster than the one before would look like more use. */
	t->way_ns = MAX(now_ns - c->since_ns, t->way_ns - t->way_ns / 32);
	/* As of the cut: what has been used since then is not in it, what has been paid since then is not off it. */
	owed += (int64_t)(c->used * rate->interval) - (int64_t)((now_ns - c->since_ns) / LIMIT_UNIT_NS);
	COUNT(t, reports, 1);
	if (owed > 0 && limit_table_raise(t->table, rate, c->address, (uint64_t)owed, now_ns))
		COUNT(t, raised, 1);
	settle(t, c);
}

void limit_tally_lose(struct limit_tally *t, const struct limit_report *r)
{
	COUNT(t, untold, r->client->told);
	settle(t, r->client);
}

void limit_tally_forget(struct limit_tally *t)
{
	struct list *node;

	while ((node = list_pop_front(&t->due))) {
		struct tally_client *c = container_of(node, struct tally_client, due);

		COUNT(t, untold, c->used);
		drop(t, c);
	}
}
