/* SPDX-License-Identifier: MIT */
/*
 * The open-file cache under the handler: files that change, vanish and are replaced, bounds, memory
 * given back, and hits that reach no kernel.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/err.h"
#include "static_fixture.h"

/* What happens to the file after the next pread, once. */
static void (*after_pread)(void);
static unsigned pread_count;

ssize_t __real_pread(int fd, void *to, size_t len, off_t at);
ssize_t __wrap_pread(int fd, void *to, size_t len, off_t at);
ssize_t __wrap_pread(int fd, void *to, size_t len, off_t at)
{
	ssize_t n = __real_pread(fd, to, len, at);
	void (*then)(void) = after_pread;

	pread_count++;
	after_pread = NULL;
	if (then)
		then();
	return n;
}

static struct file_cache_stats stats_now(void)
{
	struct file_cache_stats stats;

	file_cache_stats(cache, &stats);
	return stats;
}

static void write_over(const char *name, const char *text)
{
	int fd = open(path_of(name), O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void file_cache__hits_without_opening(void **state)
{
	put_text("www/a.txt", "one");
	open_route();
	assert_int_equal(get("/a.txt"), 200);
	put_text("www/a.txt", "two");
	assert_int_equal(get("/a.txt"), 200);
	assert_body("one"); /* within its validity nobody looks */
	assert_int_equal(stats_now().hits, 1);
	assert_int_equal(stats_now().misses, 1);
	test_now_ms += 999;
	assert_int_equal(get("/a.txt"), 200);
	assert_body("one");
	test_now_ms += 1;
	assert_int_equal(get("/a.txt"), 200);
	assert_body("two");
	assert_int_equal(stats_now().stale, 1);
}

static void file_cache__keeps_an_unchanged_file(void **state)
{
	const struct file_entry *e;
	const struct file *before;

	put_text("www/a.txt", "one");
	put_size("www/big", 100000);
	open_route();
	for (int i = 0; i < 2; i++) {
		const char *target = i ? "/big" : "/a.txt";

		assert_int_equal(get(target), 200);
		e = file_cache_find(cache, 1, span_str(target), 0);
		for (uint64_t id = 1; !e && id < 1000; id++)
			e = file_cache_find(cache, id, span_str(target), 0);
		assert_non_null(e);
		before = e->files[ENCODING_IDENTITY];
		let_expire();
		assert_int_equal(get(target), 200);
		assert_ptr_equal(e->files[ENCODING_IDENTITY], before);
	}
}

/* Within the second of its last change a file may change again and look the same: weak tag, read
 * again, then strong. */
static void file_cache__reads_a_fresh_file_again(void **state)
{
	struct timespec times[2];
	struct stat st;

	put_text("www/a.txt", "one");
	set_age("www/a.txt", -5); /* fresh for as long as a slow machine may need */
	assert_int_equal(stat(path_of("www/a.txt"), &st), 0);
	open_route_of((struct static_options){0}, &(struct file_cache_options){.valid_ms = 60000});
	assert_int_equal(get("/a.txt"), 200);
	assert_true(strncmp(recorder_field(&x, "ETag"), "W/\"", 3) == 0);
	pread_count = 0;
	test_now_ms += 999;
	assert_int_equal(get("/a.txt"), 200);
	assert_int_equal(pread_count, 0);
	test_now_ms += 1;
	assert_int_equal(get("/a.txt"), 200);
	assert_int_equal(pread_count, 1); /* though it looks the same */
	write_over("www/a.txt", "two");
	times[0] = times[1] = st.st_mtim;
	assert_int_equal(utimensat(AT_FDCWD, path_of("www/a.txt"), times, 0), 0);
	test_now_ms += 1000;
	assert_int_equal(get("/a.txt"), 200);
	assert_body("two");
	set_age("www/a.txt", 2);
	test_now_ms += 1000;
	assert_int_equal(get("/a.txt"), 200);
	assert_true(recorder_field(&x, "ETag")[0] == '"');
}

static void file_cache__gives_every_content_its_tag(void **state)
{
	struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
	char first[8192], second[8192];

	put_text("www/a.txt", "one");
	utimensat(AT_FDCWD, path_of("www/a.txt"), times, 0);
	open_route();
	assert_int_equal(get("/a.txt"), 200);
	assert_field("Last-Modified", "Thu, 01 Jan 1970 00:00:01 GMT");
	snprintf(first, sizeof(first), "%s", recorder_field(&x, "ETag"));
	/* replaced by another of equal size and time, as reproducible builds make them */
	put_text("new", "two");
	utimensat(AT_FDCWD, path_of("new"), times, 0);
	assert_int_equal(rename(path_of("new"), path_of("www/a.txt")), 0);
	let_expire();
	assert_int_equal(get("/a.txt"), 200);
	assert_body("two");
	snprintf(second, sizeof(second), "%s", recorder_field(&x, "ETag"));
	assert_string_not_equal(first, second);
}

static void file_cache__never_dates_a_file_in_the_future(void **state)
{
	char expected[HTTP_DATE_LEN + 1] = "";

	put_text("www/a.txt", "one");
	set_age("www/a.txt", -86400);
	open_route();
	http_date_print((int64_t)time(NULL), expected);
	assert_int_equal(get("/a.txt"), 200);
	if (strcmp(recorder_field(&x, "Last-Modified"), expected) != 0) {
		http_date_print((int64_t)time(NULL), expected); /* a second passed between */
		let_expire();
	}
	assert_true(strncmp(recorder_field(&x, "Last-Modified"), expected, 16) == 0);
}

/* File systems store any time; a head can hold only some. */
static void file_cache__dates_files_of_any_time(void **state)
{
	static const time_t times[] = {-1, -62135596801, 253402300800, INT64_MIN, INT64_MAX};

	put_text("www/a.txt", "one");
	open_route_of((struct static_options){.has_listing = true}, NULL);
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		struct timespec t[2] = {{.tv_sec = times[i]}, {.tv_sec = times[i]}};

		if (utimensat(AT_FDCWD, path_of("www/a.txt"), t, 0))
			continue;
		let_expire();
		assert_int_equal(get("/a.txt"), 200);
		assert_body("one");
		assert_int_equal(strlen(recorder_field(&x, "Last-Modified")), HTTP_DATE_LEN);
		assert_null(strchr(recorder_field(&x, "Last-Modified"), '-'));
		assert_int_equal(get("/"), 200);
	}
}

static void grow_it(void)
{
	int fd = open(path_of("www/a.txt"), O_WRONLY | O_APPEND);

	assert_int_equal(write(fd, " and more", 9), 9);
	close(fd);
}

/* Between the look and the opening the file was replaced by a bigger one. */
static void file_cache__keeps_no_more_in_memory_than_it_made_room_for(void **state)
{
	struct file_usage usage = {.is_orphan = false};
	struct file_source s = {
		.path = "big", .type = SPAN("a/b"), .in_memory = true, .size_max = 10};
	struct beneath root;
	struct file *f;

	put_size("www/big", 11);
	assert_int_equal(beneath_init(&root, path_of("www"), false), 0);
	s.root = &root;
	assert_int_equal(file_load(&s, &usage, &f), 0);
	assert_null(f->content);
	assert_int_equal(usage.content_bytes, 0);
	file_put(f);
	assert_int_equal(usage.fd_count, 0);
	beneath_fini(&root);
}

static void shrink_it(void)
{
	assert_int_equal(truncate(path_of("www/a.txt"), 2), 0);
}

static void rewrite_it(void)
{
	write_over("www/a.txt", "ABC");
}

static void file_cache__does_not_keep_what_changed_while_read(void **state)
{
	static const struct {
		void (*change)(void);
		const char *after;
	} cases[] = {
		{grow_it, "abcdef and more"},
		{shrink_it, "ab"},
		{rewrite_it, "ABCdef"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		put_text("www/a.txt", "abcdef");
		open_route();
		after_pread = cases[i].change;
		assert_int_equal(get("/a.txt"), 200);
		assert_null(after_pread);
		assert_int_equal(stats_now().content_bytes, 0);
		assert_body(cases[i].after);
		assert_int_equal(get("/a.txt"), 200); /* read again at once, not after a second */
		assert_body(cases[i].after);
		assert_int_equal(stats_now().stale, 1);
		assert_int_equal(stats_now().content_bytes, strlen(cases[i].after));
		close_route();
	}
}

/* A reply has begun, then the file is changed under it in every way. */
static void file_cache__holds_files_in_flight(void **state)
{
	static struct recorder slow;

	put_text("www/a.txt", "small one");
	put_size("www/big", 100000);
	open_route();
	for (int i = 0; i < 2; i++) {
		const char *target = i ? "/big" : "/a.txt";
		uint64_t len = i ? 100000 : 9;

		assert_int_equal(recorder_ask(&slow, &static_ops, route, "GET", target, NULL), 200);
		assert_int_equal(unlink(path_of(i ? "www/big" : "www/a.txt")), 0);
		let_expire();
		assert_int_equal(get(target), 404);
		recorder_deliver(&slow);
		assert_false(slow.is_short);
		assert_int_equal(slow.body_len, len);
		recorder_fini(&slow);
	}
	/* truncated in place: what is in memory is not touched, what is sent from the file says so
	 */
	put_text("www/a.txt", "small one");
	put_size("www/big", 100000);
	let_expire();
	assert_int_equal(recorder_ask(&slow, &static_ops, route, "GET", "/a.txt", NULL), 200);
	assert_int_equal(truncate(path_of("www/a.txt"), 0), 0);
	recorder_deliver(&slow);
	assert_string_equal(slow.body, "small one");
	recorder_fini(&slow);
	assert_int_equal(recorder_ask(&slow, &static_ops, route, "GET", "/big", NULL), 200);
	assert_int_equal(truncate(path_of("www/big"), 10), 0);
	recorder_deliver(&slow);
	assert_true(slow.is_short);
	recorder_fini(&slow);
}

static void file_cache__outlives_route_and_cache_while_in_flight(void **state)
{
	static struct recorder slow[2];

	put_text("www/a.txt", "small one");
	put_size("www/big", 100000);
	open_route();
	assert_int_equal(recorder_ask(&slow[0], &static_ops, route, "GET", "/a.txt", NULL), 200);
	assert_int_equal(recorder_ask(&slow[1], &static_ops, route, "GET", "/big", NULL), 200);
	file_cache_free(cache); /* before the route, as in a worker that ends */
	static_free(route);
	cache = NULL;
	route = NULL;
	recorder_deliver(&slow[0]);
	recorder_deliver(&slow[1]);
	assert_string_equal(slow[0].body, "small one");
	assert_int_equal(slow[1].body_len, 100000);
	recorder_fini(&slow[0]);
	recorder_fini(&slow[1]);
}

static void file_cache__remembers_what_is_missing(void **state)
{
	open_route();
	assert_int_equal(get("/a.txt"), 404);
	put_text("www/a.txt", "here");
	assert_int_equal(get("/a.txt"), 404);
	assert_int_equal(stats_now().hits, 1);
	let_expire();
	assert_int_equal(get("/a.txt"), 200);
	assert_int_equal(unlink(path_of("www/a.txt")), 0);
	let_expire();
	assert_int_equal(get("/a.txt"), 404);
	assert_int_equal(stats_now().content_bytes, 0);
	put_folder("www/a.txt");
	let_expire();
	assert_int_equal(get("/a.txt"), 301);
}

static void file_cache__stays_within_its_bounds(void **state)
{
	struct file_cache_options opt = {
		.entry_max = 100, .memory_max = 20000, .content_max = 1000};
	char name[64];

	put_text("www/hot.txt", "hot");
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "www/f%d", i);
		put_size(name, (size_t)i * 5);
	}
	open_route_of((struct static_options){0}, &opt);
	assert_int_equal(get("/hot.txt"), 200);
	for (int i = 0; i < 10000; i++) {
		struct file_cache_stats stats;

		snprintf(name, sizeof(name), "/f%d", i);
		assert_int_equal(get(name), i < 500 ? 200 : 404);
		if (i % 7 == 0)
			assert_int_equal(get("/hot.txt"), 200);
		stats = stats_now();
		assert_true(stats.file_entries <= 100 && stats.other_entries <= 26);
		assert_true(stats.content_bytes <= 20000);
		assert_true(stats.fd_count <= 100);
	}
	/* used all the time, and names that do not exist push nothing out that does: missed once */
	assert_int_equal(stats_now().misses, 10001);
	assert_true(stats_now().evicted > 9000);
}

static void file_cache__sends_from_the_file_when_memory_is_full(void **state)
{
	struct file_cache_options opt = {.memory_max = 1000};
	static struct recorder slow;

	put_size("www/a", 800);
	put_size("www/b", 800);
	put_size("www/c", 2000);
	open_route_of((struct static_options){0}, &opt);
	assert_int_equal(recorder_ask(&slow, &static_ops, route, "GET", "/a", NULL), 200);
	assert_int_equal(stats_now().fd_count, 0);
	assert_int_equal(get("/b"), 200); /* /a is in flight and cannot be given up */
	assert_int_equal(x.body_len, 800);
	assert_int_equal(stats_now().fd_count, 1);
	assert_int_equal(stats_now().content_bytes, 800);
	recorder_fini(&slow);
	assert_int_equal(get("/c"), 200);
	assert_int_equal(x.body_len, 2000);
	assert_int_equal(stats_now().content_bytes, 0);
}

static void file_cache__gives_all_memory_back(void **state)
{
	struct file_usage *usage;
	char name[64];

	open_route();
	usage = file_cache_usage(cache);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "www/f%d", i);
		put_size(name, (size_t)i * 8000);
		assert_int_equal(get(name + 3), 200);
	}
	assert_int_equal(usage->file_count, 20);
	assert_true(usage->content_bytes > 0 && usage->fd_count > 0);
	static_free(route); /* forgets its entries: a reload leaves nothing behind */
	route = NULL;
	assert_int_equal(usage->file_count, 0);
	assert_int_equal(usage->content_bytes, 0);
	assert_int_equal(usage->fd_count, 0);
	assert_int_equal(stats_now().file_entries, 0);
}

static void file_cache__keeps_routes_apart(void **state)
{
	struct static_options opt = {.root = path_of("other"), .prefix = SPAN("/")};
	void *other;

	put_folder("other");
	put_text("www/a.txt", "www");
	put_text("other/a.txt", "other");
	open_route();
	opt.cache = cache;
	assert_int_equal(static_new(&opt, &other), 0);
	assert_int_equal(get("/a.txt"), 200);
	assert_body("www");
	recorder_fini(&x);
	assert_int_equal(recorder_ask(&x, &static_ops, other, "GET", "/a.txt", NULL), 200);
	recorder_deliver(&x);
	assert_body("other");
	static_free(other);
	assert_int_equal(get("/a.txt"), 200);
	assert_body("www");
	assert_int_equal(stats_now().misses, 2);
}

/* In a process that may only read, write and exit: any other system call kills it. */
static void file_cache__hits_without_a_system_call(void **state)
{
	static const char *const targets[] = {"/", "/a.txt", "/big", "/none", "/a.txt.gz"};
	int status;
	pid_t pid;

	put_text("www/index.html", "index");
	put_text("www/a.txt", "one");
	put_text("www/a.txt.gz", "zip");
	put_size("www/big", 100000);
	open_route_of((struct static_options){.has_precompressed = true}, NULL);
	for (size_t i = 0; i < ARRAY_LEN(targets); i++)
		ask("GET", targets[i], "Accept-Encoding: gzip\nIf-None-Match: \"x\"\n");
	recorder_fini(&x);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
			syscall(SYS_exit, 2);
		for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
			recorder_prepare(&x, "GET", targets[i],
					 "Accept-Encoding: gzip\nIf-None-Match: \"x\"\n");
			static_ops.on_request(&x.req, &x.reply, route);
		}
		syscall(SYS_exit, 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(stats_now().misses, ARRAY_LEN(targets));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(file_cache__hits_without_opening),
		TEST(file_cache__keeps_an_unchanged_file),
		TEST(file_cache__reads_a_fresh_file_again),
		TEST(file_cache__gives_every_content_its_tag),
		TEST(file_cache__never_dates_a_file_in_the_future),
		TEST(file_cache__dates_files_of_any_time),
		TEST(file_cache__keeps_no_more_in_memory_than_it_made_room_for),
		TEST(file_cache__does_not_keep_what_changed_while_read),
		TEST(file_cache__holds_files_in_flight),
		TEST(file_cache__outlives_route_and_cache_while_in_flight),
		TEST(file_cache__remembers_what_is_missing),
		TEST(file_cache__stays_within_its_bounds),
		TEST(file_cache__sends_from_the_file_when_memory_is_full),
		TEST(file_cache__gives_all_memory_back),
		TEST(file_cache__keeps_routes_apart),
		TEST(file_cache__hits_without_a_system_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
