/* SPDX-License-Identifier: MIT */
/* A folder "www" with something secret beside it, a cache with a clock that the test moves, and a
 * route. */
#ifndef SLUICE_TESTS_STATIC_FIXTURE_H
#define SLUICE_TESTS_STATIC_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <time.h>

#include "app/file_cache.h"
#include "app/static.h"
#include "recorder.h"

static char base_path[256];
static uint64_t test_now_ms;
static struct file_cache *cache;
static void *route;
static struct recorder x;

static inline uint64_t test_now(void *ctx)
{
	return test_now_ms;
}

static inline const char *path_of(const char *name)
{
	static char path[8][5200];
	static unsigned next;
	char *at = path[next++ % 8];

	snprintf(at, sizeof(path[0]), "%s/%s", base_path, name);
	return at;
}

/* `age_s`: how long ago it was modified. */
static inline void set_age(const char *name, int age_s)
{
	struct timespec t[2] = {{0}};

	clock_gettime(CLOCK_REALTIME, &t[0]);
	t[0].tv_sec -= age_s;
	t[1] = t[0];
	assert_int_equal(utimensat(AT_FDCWD, path_of(name), t, 0), 0);
}

static inline void put_bytes(const char *name, const void *data, size_t len)
{
	int fd = open(path_of(name), O_CREAT | O_TRUNC | O_WRONLY, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
	set_age(name, 100);
}

static inline void put_text(const char *name, const char *text)
{
	put_bytes(name, text, strlen(text));
}

/* A file of `size` bytes whose contents depend on the offset. */
static inline void put_size(const char *name, size_t size)
{
	unsigned char *data = malloc(size);

	assert_non_null(data);
	for (size_t i = 0; i < size; i++)
		data[i] = (unsigned char)(i * 31 + (i >> 8));
	put_bytes(name, data, size);
	free(data);
}

static inline void put_folder(const char *name)
{
	assert_int_equal(mkdir(path_of(name), 0755), 0);
}

static inline void put_link(const char *target, const char *name)
{
	assert_int_equal(symlink(target, path_of(name)), 0);
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static inline void open_route_of(struct static_options opt,
				 const struct file_cache_options *cache_opt)
{
	struct file_cache_options standard = {0};

	if (cache_opt)
		standard = *cache_opt;
	standard.now_ms = test_now;
	test_now_ms = 1000000;
	cache = file_cache_new(&standard);
	assert_non_null(cache);
	opt.cache = cache;
	if (!opt.root)
		opt.root = path_of("www");
	if (!opt.prefix.len)
		opt.prefix = SPAN("/");
	assert_int_equal(static_new(&opt, &route), 0);
}

static inline void open_route(void)
{
	open_route_of((struct static_options){0}, NULL);
}

static inline void close_route(void)
{
	recorder_fini(&x);
	static_free(route);
	file_cache_free(cache);
	route = NULL;
	cache = NULL;
}

static inline int set_up(void **state)
{
	snprintf(base_path, sizeof(base_path), "%s/sluice-static-XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	umask(022);
	if (!mkdtemp(base_path) || chmod(base_path, 0755))
		return -1;
	put_text("secret.txt", "secret");
	put_folder("www");
	return 0;
}

static inline int tear_down(void **state)
{
	if (cache)
		close_route();
	return nftw(base_path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* Time passes until everything cached must be looked at again. */
static inline void let_expire(void)
{
	test_now_ms += 10000;
}

static inline unsigned ask(const char *method, const char *target, const char *fields)
{
	recorder_fini(&x);
	return recorder_ask(&x, &static_ops, route, method, target, fields);
}

static inline unsigned get(const char *target)
{
	unsigned status = ask("GET", target, NULL);

	recorder_deliver(&x);
	return status;
}

#define assert_body(text)                                                                          \
	do {                                                                                       \
		assert_int_equal(x.body_len, strlen(text));                                        \
		assert_memory_equal(x.body, text, strlen(text));                                   \
	} while (0)

#define assert_field(name, text)                                                                   \
	do {                                                                                       \
		assert_non_null(recorder_field(&x, name));                                         \
		assert_string_equal(recorder_field(&x, name), text);                               \
	} while (0)

#define assert_no_field(name) assert_null(recorder_field(&x, name))

#endif
