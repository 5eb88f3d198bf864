/* SPDX-License-Identifier: MIT */
/*
 * See file_cache.h.  Two clocks: entries with files (entry_max), and entries without (a fraction of
 * it), so that a client that asks for names that do not exist cannot push out what others ask for.
 */
#include "app/file_cache.h"

#include <stdlib.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define ENTRY_MAX_DEFAULT   1024
#define MEMORY_MAX_DEFAULT  (32ull << 20)
#define CONTENT_MAX_DEFAULT (64ull << 10)
#define VALID_MS_DEFAULT    1000
/* A file that just changed is read again after this at the latest. */
#define FRESH_VALID_MS 1000
#define SHED_COUNT     16 /* descriptors given up at once */

enum clock_id { CLOCK_FILES, CLOCK_OTHERS, CLOCK_COUNT };

struct clock {
	struct list entries; /* the hand is at the front */
	unsigned count;
	unsigned max;
};

struct file_cache {
	struct file_entry **buckets;
	uint64_t mask;
	uint64_t seed; /* clients choose the paths: collisions must not be theirs to choose */
	struct clock clocks[CLOCK_COUNT];
	struct file_cache_options opt;
	struct file_usage *usage;
	unsigned ref_count;
	struct file_cache_stats stats;
};

static uint64_t fixed_now(void *ctx)
{
	return 0;
}

static void set_options(struct file_cache *c, const struct file_cache_options *opt)
{
	c->opt = *opt;
	if (!c->opt.entry_max)
		c->opt.entry_max = ENTRY_MAX_DEFAULT;
	if (!c->opt.memory_max)
		c->opt.memory_max = MEMORY_MAX_DEFAULT;
	if (!c->opt.content_max)
		c->opt.content_max = CONTENT_MAX_DEFAULT;
	if (!c->opt.valid_ms)
		c->opt.valid_ms = VALID_MS_DEFAULT;
	if (!c->opt.now_ms)
		c->opt.now_ms = fixed_now;
	c->clocks[CLOCK_FILES].max = c->opt.entry_max;
	c->clocks[CLOCK_OTHERS].max = c->opt.entry_max / 4 + 1;
	for (int i = 0; i < CLOCK_COUNT; i++)
		list_init(&c->clocks[i].entries);
}

struct file_cache *file_cache_new(const struct file_cache_options *opt)
{
	struct file_cache *c = calloc(1, sizeof(*c));
	uint64_t buckets = 16;

	if (!c)
		return NULL;
	set_options(c, opt);
	c->ref_count = 1;
	while (buckets < c->opt.entry_max * 2ull)
		buckets *= 2;
	c->mask = buckets - 1;
	c->buckets = calloc(buckets, sizeof(*c->buckets));
	c->usage = calloc(1, sizeof(*c->usage));
	if (!c->buckets || !c->usage) {
		free(c->buckets);
		free(c->usage);
		free(c);
		return NULL;
	}
	if (getrandom(&c->seed, sizeof(c->seed), GRND_NONBLOCK) != sizeof(c->seed))
		c->seed = (uintptr_t)c;
	return c;
}

static struct clock *clock_of(struct file_cache *c, const struct file_entry *e)
{
	return &c->clocks[e->kind == ENTRY_FILE ? CLOCK_FILES : CLOCK_OTHERS];
}

static void unlink_entry(struct file_cache *c, struct file_entry *e)
{
	struct file_entry **at = &c->buckets[e->hash & c->mask];

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	list_remove(&e->lru);
	clock_of(c, e)->count--;
	e->is_linked = false;
}

static void drop(struct file_cache *c, struct file_entry *e)
{
	unlink_entry(c, e);
	file_entry_free(e);
}

void file_entry_free(struct file_entry *e)
{
	if (!e)
		return;
	for (unsigned i = 0; i < ARRAY_LEN(e->files); i++)
		file_put(e->files[i]);
	free(e);
}

static void drop_all(struct file_cache *c)
{
	for (int i = 0; i < CLOCK_COUNT; i++) {
		list_for_each_safe (pos, tmp, &c->clocks[i].entries)
			drop(c, container_of(pos, struct file_entry, lru));
	}
}

struct file_cache *file_cache_get(struct file_cache *c)
{
	c->ref_count++;
	return c;
}

void file_cache_put(struct file_cache *c)
{
	if (--c->ref_count)
		return;
	drop_all(c);
	if (c->usage->file_count)
		c->usage->is_orphan = true;
	else
		free(c->usage);
	free(c->buckets);
	free(c);
}

void file_cache_free(struct file_cache *c)
{
	if (!c)
		return;
	drop_all(c);
	file_cache_put(c);
}

static uint64_t hash_of(const struct file_cache *c, uint64_t route_id, struct span path)
{
	return XXH3_64bits_withSeed(path.ptr, path.len, c->seed + route_id);
}

struct file_entry *file_cache_find(struct file_cache *c, uint64_t route_id, struct span path, uint64_t now_ms)
{
	uint64_t hash = hash_of(c, route_id, path);

	for (struct file_entry *e = c->buckets[hash & c->mask]; e; e = e->next) {
		if (e->hash != hash || e->route_id != route_id || e->path_len != path.len ||
		    memcmp(e->path, path.ptr, path.len))
			continue;
		e->is_used = true;
		if (file_cache_is_valid(e, now_ms))
			c->stats.hits++;
		else
			c->stats.stale++;
		return e;
	}
	c->stats.misses++;
	return NULL;
}

uint64_t file_cache_now_ms(const struct file_cache *c)
{
	return c->opt.now_ms(c->opt.ctx);
}

uint32_t file_cache_valid_ms(const struct file_cache *c)
{
	return c->opt.valid_ms;
}

struct file_entry *file_cache_take(struct file_cache *c, struct file_entry *e, uint64_t route_id,
				   struct span path)
{
	if (e) {
		unlink_entry(c, e);
		return e;
	}
	e = calloc(1, sizeof(*e) + path.len);
	if (!e)
		return NULL;
	list_init(&e->lru);
	e->hash = hash_of(c, route_id, path);
	e->route_id = route_id;
	e->path_len = path.len;
	memcpy(e->path, path.ptr, path.len);
	return e;
}

/* The next entry the hand gives up; used ones get their second chance. NULL when there is none. */
static struct file_entry *victim(struct clock *k)
{
	for (unsigned i = 2 * k->count; i > 0; i--) {
		struct list *node = list_pop_front(&k->entries);
		struct file_entry *e = container_of(node, struct file_entry, lru);

		list_push_back(&k->entries, node);
		if (!e->is_used)
			return e;
		e->is_used = false;
	}
	return NULL;
}

static bool evict_one(struct file_cache *c, struct clock *k)
{
	struct file_entry *e = victim(k);

	if (!e)
		return false;
	c->stats.evicted++;
	drop(c, e);
	return true;
}

static uint64_t expiry_of(const struct file_cache *c, const struct file_entry *e)
{
	uint32_t valid_ms = c->opt.valid_ms;

	for (unsigned i = 0; i < ARRAY_LEN(e->files); i++) {
		const struct file *f = e->files[i];

		if (f && f->is_changing)
			return 0;
		if (f && f->is_fresh)
			valid_ms = MIN(valid_ms, FRESH_VALID_MS);
	}
	return file_cache_now_ms(c) + valid_ms;
}

void file_cache_insert(struct file_cache *c, struct file_entry *e)
{
	struct clock *k = clock_of(c, e);
	struct file_entry **bucket = &c->buckets[e->hash & c->mask];

	while (k->count >= k->max && evict_one(c, k))
		;
	e->expires_ms = expiry_of(c, e);
	e->is_linked = true;
	e->next = *bucket;
	*bucket = e;
	list_push_back(&k->entries, &e->lru);
	k->count++;
}

bool file_cache_reserve(struct file_cache *c, uint64_t size)
{
	if (size > c->opt.content_max || size > c->opt.memory_max)
		return false;
	while (c->usage->content_bytes + size > c->opt.memory_max) {
		/* What remains may be in flight, which no eviction shortens. */
		if (!evict_one(c, &c->clocks[CLOCK_FILES]))
			return false;
	}
	return true;
}

static bool holds_fd(const struct file_entry *e)
{
	for (unsigned i = 0; i < ARRAY_LEN(e->files); i++) {
		if (e->files[i] && e->files[i]->fd >= 0)
			return true;
	}
	return false;
}

bool file_cache_shed(struct file_cache *c)
{
	unsigned before = c->usage->fd_count;

	list_for_each_safe (pos, tmp, &c->clocks[CLOCK_FILES].entries) {
		struct file_entry *e = container_of(pos, struct file_entry, lru);

		if (before - c->usage->fd_count >= SHED_COUNT)
			break;
		if (!holds_fd(e))
			continue;
		c->stats.evicted++;
		drop(c, e);
	}
	return c->usage->fd_count < before;
}

void file_cache_forget(struct file_cache *c, uint64_t route_id)
{
	for (int i = 0; i < CLOCK_COUNT; i++) {
		list_for_each_safe (pos, tmp, &c->clocks[i].entries) {
			struct file_entry *e = container_of(pos, struct file_entry, lru);

			if (e->route_id == route_id)
				drop(c, e);
		}
	}
}

struct file_usage *file_cache_usage(struct file_cache *c)
{
	return c->usage;
}

void file_cache_stats(const struct file_cache *c, struct file_cache_stats *ret_stats)
{
	*ret_stats = c->stats;
	ret_stats->file_entries = c->clocks[CLOCK_FILES].count;
	ret_stats->other_entries = c->clocks[CLOCK_OTHERS].count;
	ret_stats->content_bytes = c->usage->content_bytes;
	ret_stats->fd_count = c->usage->fd_count;
}
