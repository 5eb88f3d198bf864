/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <sanitizer/asan_interface.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/pool.h"

/* Only there under AddressSanitizer. */
#pragma weak __asan_address_is_poisoned

static bool is_memory_exhausted;
static size_t mapped_len;

void *__real_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);

void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	if (is_memory_exhausted) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	mapped_len += len;
	return __real_mmap(at, len, prot, flags, fd, offset);
}

int __real_munmap(void *at, size_t len);
int __wrap_munmap(void *at, size_t len);

int __wrap_munmap(void *at, size_t len)
{
	mapped_len -= len;
	return __real_munmap(at, len);
}

static uintptr_t chunk_of(const struct pool *p, const void *item)
{
	return (uintptr_t)item & ~(uintptr_t)(p->chunk_size - 1);
}

static bool is_mapped(uintptr_t page)
{
	unsigned char resident;

	return mincore((void *)page, 1, &resident) == 0;
}

static void pool__packs_objects_densely(void **state)
{
	enum { COUNT = 1270 };
	static char *items[COUNT];
	struct pool p;
	uintptr_t last = 0;
	unsigned chunk_count = 0;

	pool_init(&p, 512, 0, 0);
	for (unsigned i = 0; i < COUNT; i++) {
		items[i] = pool_get(&p);
		assert_non_null(items[i]);
		memset(items[i], (int)i, 512);
		chunk_count += chunk_of(&p, items[i]) != last;
		last = chunk_of(&p, items[i]);
	}
	/* Less than one part in a hundred goes to chunk headers. */
	assert_true(chunk_count * p.chunk_size <= COUNT * 517);
	assert_int_equal(p.used_count, COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		for (unsigned k = 0; k < 512; k++)
			assert_int_equal((unsigned char)items[i][k], i & 0xff);
		pool_put(&p, items[i]);
	}
	assert_true(pool_validate(&p));
	pool_fini(&p);
}

static void pool__aligns_objects(void **state)
{
	static const struct {
		size_t item_size, align;
	} cases[] = {{0, 16},	   {1, 16},	  {17, 16},	 {64, 64},    {512, 64},
		     {4096, 4096}, {16384, 4096}, {32768, 4096}, {40000, 16}, {1 << 20, 4096}};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct pool p;
		char *items[8];

		pool_init(&p, cases[i].item_size, 0, 0);
		assert_true(p.item_size >= cases[i].item_size && p.item_size % 16 == 0);
		for (unsigned k = 0; k < ARRAY_LEN(items); k++) {
			items[k] = pool_get(&p);
			assert_non_null(items[k]);
			assert_int_equal((uintptr_t)items[k] % cases[i].align, 0);
			memset(items[k], 1, p.item_size);
			/* Eight large ones come from one mapping. */
			assert_int_equal(chunk_of(&p, items[k]), chunk_of(&p, items[0]));
		}
		assert_true(pool_validate(&p));
		for (unsigned k = 0; k < ARRAY_LEN(items); k++)
			pool_put(&p, items[k]);
		pool_fini(&p);
	}
}

static void pool__reuses_the_last_object_first(void **state)
{
	struct pool p;
	void *a, *b, *c;

	pool_init(&p, 100, 8, 0);
	a = pool_get(&p);
	b = pool_get(&p);
	c = pool_get(&p);
	pool_put(&p, NULL);
	pool_put(&p, a);
	pool_put(&p, c);
	assert_ptr_equal(pool_get(&p), c);
	assert_ptr_equal(pool_get(&p), a);
	pool_put(&p, a);
	pool_put(&p, b);
	pool_put(&p, c);
	assert_true(pool_validate(&p));
	pool_fini(&p);
}

/* Free, though their chunk does not know it: they come back first, and go as all others when there are too many. */
static void pool__keeps_the_last_ones_at_hand(void **state)
{
	void *items[2 * POOL_HOT];
	struct pool p;

	pool_init(&p, 32768, 100, 0);
	for (unsigned i = 0; i < ARRAY_LEN(items); i++)
		items[i] = pool_get(&p);
	for (unsigned i = 0; i < ARRAY_LEN(items); i++) {
		pool_put(&p, items[i]);
		assert_true(pool_validate(&p));
	}
	assert_int_equal(p.used_count, 0);
	assert_int_equal(p.hot_count, POOL_HOT);
	for (unsigned i = POOL_HOT; i-- > 0;)
		assert_ptr_equal(pool_get(&p), items[i]);
	assert_int_equal(p.used_count, POOL_HOT);
	for (unsigned i = 0; i < POOL_HOT; i++)
		pool_put(&p, items[i]);
	pool_keep(&p, 0);
	assert_int_equal(p.hot_count, 0);
	assert_true(pool_validate(&p));
	assert_true(list_is_empty(&p.partial));
	assert_int_equal(p.free_count, 0);
	pool_fini(&p);
}

static void pool__refuses_past_its_limit(void **state)
{
	struct pool p;
	void *items[3];

	pool_init(&p, 100, 0, 3);
	for (unsigned i = 0; i < 3; i++)
		items[i] = pool_get(&p);
	assert_null(pool_get(&p));
	assert_int_equal(p.used_count, 3);
	pool_put(&p, items[1]);
	items[1] = pool_get(&p);
	assert_non_null(items[1]);
	assert_null(pool_get(&p));
	for (unsigned i = 0; i < 3; i++)
		pool_put(&p, items[i]);
	pool_fini(&p);
}

static void pool__survives_exhausted_memory(void **state)
{
	struct pool p;
	void *item;

	pool_init(&p, 100, 0, 0);
	is_memory_exhausted = true;
	assert_null(pool_get(&p));
	assert_true(pool_validate(&p));
	assert_int_equal(p.used_count + p.free_count, 0);
	is_memory_exhausted = false;
	item = pool_get(&p);
	assert_non_null(item);
	pool_put(&p, item);
	pool_fini(&p);
}

/* In whatever order a peak goes away, what stays mapped is what `keep` asks for, and a chunk at
 * most. */
static void pool__gives_memory_back_after_a_peak(void **state)
{
	enum { COUNT = 4000 };
	static const size_t keeps[] = {0, 1, 64, 500};
	static void *items[COUNT];
	static uintptr_t chunks[COUNT];

	for (unsigned order = 0; order < 3; order++) {
		for (unsigned k = 0; k < ARRAY_LEN(keeps); k++) {
			struct pool p;
			size_t mapped_bytes = 0;

			pool_init(&p, 512, keeps[k], 0);
			for (unsigned i = 0; i < COUNT; i++) {
				items[i] = pool_get(&p);
				chunks[i] = chunk_of(&p, items[i]);
			}
			for (unsigned i = 0; i < COUNT; i++) {
				/* As taken, backwards, and scattered (1663 and COUNT share no
				 * factor). */
				unsigned at = order == 0   ? i
					      : order == 1 ? COUNT - 1 - i
							   : i * 1663 % COUNT;

				pool_put(&p, items[at]);
			}
			assert_true(pool_validate(&p));
			assert_true(p.free_count >= keeps[k]);
			assert_true(p.free_count < keeps[k] + 128);
			for (unsigned i = 0; i < COUNT; i++)
				if ((i == 0 || chunks[i] != chunks[i - 1]) && is_mapped(chunks[i]))
					mapped_bytes += p.chunk_size;
			assert_int_equal(mapped_bytes, p.free_count / 127 * p.chunk_size);
			/* Nothing is left mapped beside the chunks either. */
			assert_int_equal(mapped_len, p.free_count / 127 * p.chunk_size);
			pool_fini(&p);
			assert_int_equal(mapped_len, 0);
			for (unsigned i = 0; i < COUNT; i++)
				assert_false(is_mapped(chunks[i]));
		}
	}
}

static void pool__keeps_less_when_told(void **state)
{
	void *items[100];
	struct pool p;

	pool_init(&p, 4096, 100, 0);
	for (unsigned i = 0; i < ARRAY_LEN(items); i++)
		items[i] = pool_get(&p);
	assert_int_equal(pool_used(&p), 100 * 4096);
	for (unsigned i = 1; i < ARRAY_LEN(items); i++)
		pool_put(&p, items[i]);
	assert_true(p.free_count >= 99);
	/* What is in use stays, and the chunk it lies in. */
	pool_keep(&p, 0);
	assert_true(pool_validate(&p));
	assert_int_equal(p.used_count, 1);
	assert_true(p.free_count < 99);
	memset(items[0], 1, 4096);
	pool_put(&p, items[0]);
	assert_int_equal(p.free_count, 0);
	pool_keep(&p, 5);
	pool_fini(&p);
}

/* Half of the objects of every chunk stay in use, then a chunk's worth: the pool refills the
 * fullest first. */
static void pool__fills_chunks_in_use_first(void **state)
{
	enum { COUNT = 127 * 8 };
	static void *items[COUNT];
	struct pool p;
	void *item;

	pool_init(&p, 512, 0, 0);
	for (unsigned i = 0; i < COUNT; i++)
		items[i] = pool_get(&p);
	for (unsigned i = 0; i < COUNT; i++)
		if (i / 127 != 3 || i % 127 > 0)
			pool_put(&p, items[i]);
	assert_int_equal(p.free_count, 126);
	item = pool_get(&p);
	assert_int_equal(chunk_of(&p, item), chunk_of(&p, items[3 * 127]));
	pool_put(&p, item);
	pool_put(&p, items[3 * 127]);
	pool_fini(&p);
}

static uint64_t seed = 88172645463325252ull;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

struct model {
	struct pool pool;
	unsigned char *items[600];
	unsigned tags[600];
	unsigned count;
};

static void model_get(struct model *m)
{
	unsigned char *item = pool_get(&m->pool);

	assert_non_null(item);
	m->tags[m->count] = (unsigned)next_random() & 0xff;
	memset(item, (int)m->tags[m->count], m->pool.item_size);
	m->items[m->count++] = item;
}

static void model_put(struct model *m, unsigned at)
{
	for (size_t i = 0; i < m->pool.item_size; i += 7)
		assert_int_equal(m->items[at][i], m->tags[at]);
	pool_put(&m->pool, m->items[at]);
	m->count--;
	m->items[at] = m->items[m->count];
	m->tags[at] = m->tags[m->count];
}

/* Phases that grow and phases that shrink; every object keeps its bytes, every step validates. */
static void pool__keeps_its_books_over_random_use(void **state)
{
	static const size_t sizes[] = {16, 200, 512, 9000};

	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		static struct model m;

		m = (struct model){0};
		pool_init(&m.pool, sizes[i], next_random() % 50, ARRAY_LEN(m.items));
		for (unsigned step = 0; step < 6000; step++) {
			bool is_growing = next_random() % 10 < (step / 1000 % 2 ? 3 : 7);

			if (is_growing && m.count < ARRAY_LEN(m.items))
				model_get(&m);
			else if (m.count)
				model_put(&m, (unsigned)(next_random() % m.count));
			assert_int_equal(m.pool.used_count, m.count);
			assert_true(pool_validate(&m.pool));
		}
		while (m.count)
			model_put(&m, m.count - 1);
		pool_fini(&m.pool);
	}
}

static void pool__validate_sees_faults(void **state)
{
	struct pool p;
	char *a, *b;

	pool_init(&p, 64, 8, 0);
	a = pool_get(&p);
	b = pool_get(&p);
	pool_put(&p, a);
	assert_true(pool_validate(&p));
	p.used_count++;
	assert_false(pool_validate(&p));
	p.used_count--;
	p.hot[p.hot_count++] = a;
	assert_false(pool_validate(&p));
	p.hot_count--;
	pool_keep(&p, 0);
	ASAN_UNPOISON_MEMORY_REGION(a, 64);
	*(char **)a = b + 8;
	assert_false(pool_validate(&p));
	*(char **)a = a;
	assert_false(pool_validate(&p));
	*(char **)a = NULL;
	assert_true(pool_validate(&p));
	pool_put(&p, b);
	pool_fini(&p);
}

static void pool__poisons_free_objects(void **state)
{
	struct pool p;
	char *item;

	if (!__asan_address_is_poisoned)
		skip();
	pool_init(&p, 512, 8, 0);
	item = pool_get(&p);
	assert_false(__asan_address_is_poisoned(item));
	assert_true(__asan_address_is_poisoned(item + 512));
	pool_put(&p, item);
	assert_true(__asan_address_is_poisoned(item));
	assert_true(__asan_address_is_poisoned(item + 511));
	assert_true(pool_validate(&p));
	assert_true(__asan_address_is_poisoned(item));
	pool_fini(&p);
}

static void put_into_another_pool(void)
{
	struct pool p, other;

	pool_init(&p, 64, 0, 0);
	pool_init(&other, 64, 0, 0);
	pool_put(&other, pool_get(&p));
}

static void put_twice(void)
{
	struct pool p;
	void *item;

	pool_init(&p, 64, 100, 0);
	item = pool_get(&p);
	pool_put(&p, item);
	pool_put(&p, item);
}

static void forget_an_object(void)
{
	struct pool p;

	pool_init(&p, 64, 0, 0);
	pool_get(&p);
	pool_fini(&p);
}

static void pool__stops_at_mistakes_of_ours(void **state)
{
	void (*const mistakes[])(void) = {put_into_another_pool, put_twice, forget_an_object};

	for (unsigned i = 0; i < ARRAY_LEN(mistakes); i++) {
		pid_t pid = fork();
		int status;

		assert_true(pid >= 0);
		if (pid == 0) {
			dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
			signal(SIGABRT, SIG_DFL);
			mistakes[i]();
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_not_equal(status, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pool__packs_objects_densely),
		cmocka_unit_test(pool__aligns_objects),
		cmocka_unit_test(pool__reuses_the_last_object_first),
		cmocka_unit_test(pool__keeps_the_last_ones_at_hand),
		cmocka_unit_test(pool__refuses_past_its_limit),
		cmocka_unit_test(pool__survives_exhausted_memory),
		cmocka_unit_test(pool__gives_memory_back_after_a_peak),
		cmocka_unit_test(pool__keeps_less_when_told),
		cmocka_unit_test(pool__fills_chunks_in_use_first),
		cmocka_unit_test(pool__keeps_its_books_over_random_use),
		cmocka_unit_test(pool__validate_sees_faults),
		cmocka_unit_test(pool__poisons_free_objects),
		cmocka_unit_test(pool__stops_at_mistakes_of_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
