/* SPDX-License-Identifier: MIT */
/*
 * Fixed-size objects; see pool.h.
 *
 * A chunk is a mapping aligned to its own size, so the chunk of an object is found by masking the
 * object's address, and objects need no header.  Free objects of a chunk are linked through their
 * first word; objects never handed out yet lie behind `fresh`, so that a new chunk's pages are not
 * touched before they are needed.
 *
 * The objects put back last wait in `hot`, and their chunks still count them as used: a worker that takes and gives back a
 * few again and again, as it does with each request, touches neither chunk nor list.  Above `keep` there are none.
 *
 * Order of `partial`: chunks in use first, those with no object in use last.  Taking from the front
 * fills chunks that cannot go away anyway, so that others run empty after a peak.  Under
 * AddressSanitizer free objects are poisoned.
 */
#include "base/pool.h"

#include <stdint.h>
#include <sys/mman.h>
#include <sanitizer/asan_interface.h>

#include "base/err.h"

#define CHUNK_MIN	(64u * 1024)
#define CHUNK_ITEMS_MIN 8u
#define ITEM_ALIGN	16u
#define CACHE_LINE	64u
#define PAGE		4096u

struct chunk {
	struct list node;
	const struct pool *pool;
	void *free;	/* linked through the first word of each */
	unsigned used;	/* handed out */
	unsigned fresh; /* items [fresh, capacity) were never handed out */
	unsigned capacity;
};

static size_t round_up(size_t value, size_t to)
{
	return (value + to - 1) & ~(to - 1);
}

/* Offset of the first object: an object of whole pages or lines spans no page or line more than it
 * must. */
static size_t first_offset(const struct pool *p)
{
	return round_up(sizeof(struct chunk), p->item_size % PAGE ? CACHE_LINE : PAGE);
}

static struct chunk *chunk_of(const struct pool *p, const void *item)
{
	return (struct chunk *)((uintptr_t)item & ~(uintptr_t)(p->chunk_size - 1));
}

/* The link in a free object, which is poisoned. */
__attribute__((no_sanitize_address)) static void *next_free(const void *item)
{
	return *(void *const *)item;
}

void pool_init(struct pool *p, size_t item_size, size_t keep_count, size_t max_count)
{
	*p = (struct pool){.item_size = round_up(MAX(item_size, 1u), ITEM_ALIGN),
			   .chunk_size = CHUNK_MIN,
			   .keep_count = keep_count,
			   .max_count = max_count};
	list_init(&p->partial);
	list_init(&p->full);
	while (p->chunk_size < p->item_size * CHUNK_ITEMS_MIN + first_offset(p))
		p->chunk_size *= 2;
}

/* Twice the size is mapped and the ends cut off: mmap aligns to pages only. */
static void *map_aligned(size_t size)
{
	char *raw =
		mmap(NULL, size * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at;

	if (raw == MAP_FAILED)
		return NULL;
	at = (char *)round_up((size_t)raw, size);
	if (at > raw)
		munmap(raw, (size_t)(at - raw));
	munmap(at + size, size - (size_t)(at - raw));
	return at;
}

static struct chunk *chunk_new(struct pool *p)
{
	struct chunk *c = map_aligned(p->chunk_size);
	size_t first = first_offset(p);

	if (!c)
		return NULL;
	*c = (struct chunk){.pool = p,
			    .capacity = (unsigned)((p->chunk_size - first) / p->item_size)};
	ASAN_POISON_MEMORY_REGION((char *)c + first, p->chunk_size - first);
	p->free_count += c->capacity;
	list_push_front(&p->partial, &c->node);
	return c;
}

static void chunk_free(struct pool *p, struct chunk *c)
{
	list_remove(&c->node);
	p->free_count -= c->capacity;
	ASAN_UNPOISON_MEMORY_REGION(c, p->chunk_size);
	munmap(c, p->chunk_size);
}

static void put_in_chunk(struct pool *p, void *item)
{
	struct chunk *c = chunk_of(p, item);

	BUG_ON(c->pool != p || c->used == 0);
	ASAN_UNPOISON_MEMORY_REGION(item, sizeof(void *));
	*(void **)item = c->free;
	ASAN_POISON_MEMORY_REGION(item, sizeof(void *));
	c->free = item;
	if (c->used-- == c->capacity) {
		list_remove(&c->node);
		list_push_front(&p->partial, &c->node);
	}
	if (c->used == 0) {
		list_remove(&c->node);
		list_push_back(&p->partial, &c->node);
	}
}

static void cool_down(struct pool *p)
{
	while (p->hot_count)
		put_in_chunk(p, p->hot[--p->hot_count]);
}

void pool_fini(struct pool *p)
{
	BUG_ON(p->used_count > 0);
	cool_down(p);
	while (!list_is_empty(&p->partial))
		chunk_free(p, container_of(p->partial.next, struct chunk, node));
}

static void *take_item(const struct pool *p, struct chunk *c)
{
	void *item = c->free;

	if (item)
		c->free = next_free(item);
	else
		item = (char *)c + first_offset(p) + c->fresh++ * p->item_size;
	ASAN_UNPOISON_MEMORY_REGION(item, p->item_size);
	return item;
}

/* Out of line, as put_cold is: the way of nearly all saves no registers for it. */
__attribute__((noinline)) static void *get_from_chunk(struct pool *p)
{
	struct chunk *c;

	if (list_is_empty(&p->partial))
		c = chunk_new(p);
	else
		c = container_of(p->partial.next, struct chunk, node);
	if (!c)
		return NULL;
	if (++c->used == c->capacity) {
		list_remove(&c->node);
		list_push_front(&p->full, &c->node);
	}
	p->used_count++;
	p->free_count--;
	return take_item(p, c);
}

void *pool_get(struct pool *p)
{
	void *item;

	if (p->max_count && p->used_count >= p->max_count)
		return NULL;
	if (!p->hot_count)
		return get_from_chunk(p);
	item = p->hot[--p->hot_count];
	ASAN_UNPOISON_MEMORY_REGION(item, p->item_size);
	p->used_count++;
	p->free_count--;
	return item;
}

/* Gives the last chunk back if nothing of it is in use and `keep` free objects are left without it.
 */
static bool shrink(struct pool *p)
{
	struct chunk *last = container_of(p->partial.prev, struct chunk, node);

	if (last->used > 0 || p->free_count - last->capacity < p->keep_count)
		return false;
	chunk_free(p, last);
	return true;
}

void pool_keep(struct pool *p, size_t keep_count)
{
	p->keep_count = keep_count;
	cool_down(p);
	while (!list_is_empty(&p->partial) && shrink(p))
		;
}

__attribute__((noinline)) static void put_cold(struct pool *p, void *item)
{
	bool is_too_many = p->free_count > p->keep_count;

	if (is_too_many)
		cool_down(p);
	put_in_chunk(p, item);
	if (is_too_many)
		shrink(p);
}

void pool_put(struct pool *p, void *item)
{
	if (!item)
		return;
	BUG_ON(chunk_of(p, item)->pool != p || (p->hot_count && p->hot[p->hot_count - 1] == item));
	ASAN_POISON_MEMORY_REGION(item, p->item_size);
	p->used_count--;
	p->free_count++;
	if (p->hot_count == POOL_HOT || p->free_count > p->keep_count)
		put_cold(p, item);
	else
		p->hot[p->hot_count++] = item;
}

/* Every object in use, free or fresh exactly once, every link to the start of an object of this
 * chunk. */
static bool chunk_validate(const struct pool *p, const struct chunk *c)
{
	unsigned linked = 0;

	if (c->pool != p || chunk_of(p, c) != c || c->fresh > c->capacity)
		return false;
	for (const void *item = c->free; item; item = next_free(item)) {
		size_t offset = (size_t)((const char *)item - (const char *)c) - first_offset(p);

		if (chunk_of(p, item) != c || offset % p->item_size ||
		    offset / p->item_size >= c->fresh || ++linked > c->capacity)
			return false;
	}
	return c->used + linked == c->fresh;
}

static bool list_validate(const struct pool *p, const struct list *head, bool is_full,
			  size_t *free_count, size_t *used_count)
{
	bool is_behind_empty = false;

	list_for_each (node, head) {
		const struct chunk *c = container_of(node, struct chunk, node);

		if (node->next->prev != node || !chunk_validate(p, c))
			return false;
		if ((c->used == c->capacity) != is_full || (is_behind_empty && c->used > 0))
			return false;
		is_behind_empty = c->used == 0;
		*free_count += c->capacity - c->used;
		*used_count += c->used;
	}
	return true;
}

static bool hot_validate(const struct pool *p)
{
	for (unsigned i = 0; i < p->hot_count; i++) {
		if (chunk_of(p, p->hot[i])->pool != p || p->free_count > p->keep_count)
			return false;
		for (unsigned k = 0; k < i; k++)
			if (p->hot[k] == p->hot[i])
				return false;
	}
	return true;
}

bool pool_validate(const struct pool *p)
{
	size_t free_count = 0, used_count = 0;

	return hot_validate(p) &&
	       list_validate(p, &p->partial, false, &free_count, &used_count) &&
	       list_validate(p, &p->full, true, &free_count, &used_count) &&
	       free_count + p->hot_count == p->free_count && used_count == p->used_count + p->hot_count;
}
