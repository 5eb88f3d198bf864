/* SPDX-License-Identifier: MIT */
/* Opening below a folder, with openat2, with openat2 that fails, and without it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/openat2.h>
#include <sys/syscall.h>

#include "base/err.h"
#include "static_fixture.h"

/* openat2 fails this often (-1: always) with that errno. */
static int failures;
static int failure;
static int calls;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
	va_list ap;
	long a[4];

	va_start(ap, number);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	calls++;
	if (number == SYS_openat2 && failures) {
		failures -= failures > 0;
		errno = failure;
		return -1;
	}
	return __real_syscall(number, a[0], a[1], a[2], a[3]);
}

static void fail_with(int error, int count)
{
	failure = error;
	failures = count;
	calls = 0;
}

static int tear_down_calls(void **state)
{
	failures = 0;
	return tear_down(state);
}

static void put_tree(void)
{
	put_text("www/a.txt", "a");
	put_folder("www/d");
	put_text("www/d/b.txt", "b");
	put_link("d", "www/in");
	put_link("..", "www/out");
	put_link("../secret.txt", "www/secret");
	put_link("loop", "www/loop");
	put_link("/proc/self/fd", "www/magic");
}

static void beneath__opens_below_the_folder_only(void **state)
{
	/* Errors with openat2, and without it. */
	static const struct {
		const char *path;
		int with, without;
	} cases[] = {
		{"a.txt", 0, 0},
		{"", 0, 0},
		{".", 0, 0},
		{"d/b.txt", 0, 0},
		{"d//b.txt", 0, 0},
		{"d/", 0, 0},
		{"a.txt/", -ENOTDIR, -ENOTDIR},
		{"a.txt/b", -ENOTDIR, -ENOTDIR},
		{"none", -ENOENT, -ENOENT},
		{"none/b", -ENOENT, -ENOENT},
		{"..", -EXDEV, -EXDEV},
		{"../secret.txt", -EXDEV, -EXDEV},
		{"d/../../secret.txt", -EXDEV, -EXDEV},
		{"/etc/passwd", -EXDEV, -EXDEV},
		{"secret", -EXDEV, -ELOOP},
		{"out/secret.txt", -EXDEV, -ENOTDIR},
		{"loop", -ELOOP, -ELOOP},
		{"magic/0", -EXDEV, -ENOTDIR},
		{"in/b.txt", 0, -ENOTDIR}, /* the price of doing without */
	};
	struct beneath b;
	struct stat st;

	put_tree();
	for (int round = 0; round < 2; round++) {
		fail_with(ENOSYS, round ? -1 : 0);
		assert_int_equal(beneath_init(&b, path_of("www"), false), 0);
		assert_int_equal(b.has_no_openat2, round == 1);
		for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
			int expected = round ? cases[i].without : cases[i].with;
			int err = beneath_stat(&b, cases[i].path, &st);
			int fd = beneath_open(&b, cases[i].path, O_RDONLY);

			if (err != expected || MIN(fd, 0) != expected)
				fail_msg("'%s' gave %d, %d in round %d", cases[i].path, err, fd,
					 round);
			if (fd >= 0)
				close(fd);
		}
		beneath_fini(&b);
	}
}

static void beneath__leaves_the_folder_when_told_but_not_by_magic(void **state)
{
	struct beneath b;
	int fd;

	put_tree();
	assert_int_equal(beneath_init(&b, path_of("www"), true), 0);
	fd = beneath_open(&b, "secret", O_RDONLY);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(beneath_open(&b, "magic/0", O_RDONLY), -ELOOP);
	beneath_fini(&b);
	fail_with(ENOSYS, -1);
	assert_int_equal(beneath_init(&b, path_of("www"), true), 0);
	fd = beneath_open(&b, "secret", O_RDONLY);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(beneath_open(&b, "../secret.txt", O_RDONLY), -EXDEV);
	beneath_fini(&b);
}

static void beneath__tries_again_and_gives_up(void **state)
{
	struct beneath b;
	int fd;

	put_tree();
	assert_int_equal(beneath_init(&b, path_of("www"), false), 0);
	fail_with(EAGAIN, 3);
	fd = beneath_open(&b, "a.txt", O_RDONLY);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(calls, 4);
	fail_with(EINTR, 5);
	fd = beneath_open(&b, "a.txt", O_RDONLY);
	assert_true(fd >= 0);
	close(fd);
	fail_with(EAGAIN, -1);
	assert_int_equal(beneath_open(&b, "a.txt", O_RDONLY), -EAGAIN);
	assert_true(calls < 20);
	assert_false(b.has_no_openat2);
	beneath_fini(&b);
}

/* A sandbox that came after the start takes openat2 away. */
static void beneath__notices_a_late_sandbox(void **state)
{
	struct beneath b;
	int fd;

	put_tree();
	assert_int_equal(beneath_init(&b, path_of("www"), false), 0);
	fail_with(ENOSYS, -1);
	fd = beneath_open(&b, "a.txt", O_RDONLY);
	assert_true(fd >= 0);
	close(fd);
	assert_true(b.has_no_openat2);
	assert_int_equal(beneath_open(&b, "secret", O_RDONLY), -ELOOP);
	beneath_fini(&b);
}

static void beneath__maps_errors_to_statuses(void **state)
{
	static const struct {
		int error;
		unsigned status;
	} cases[] = {
		{EAGAIN, 503},	     {EMFILE, 503}, {ENFILE, 503}, {ENOMEM, 503}, {EACCES, 403},
		{ENAMETOOLONG, 404}, {ELOOP, 404},  {EXDEV, 404},  {EIO, 500},	  {ESTALE, 500},
	};

	put_tree();
	open_route();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		fail_with(cases[i].error, -1);
		assert_int_equal(get("/a.txt"), cases[i].status);
		let_expire();
	}
	fail_with(0, 0);
	assert_int_equal(get("/a.txt"), 200);
}

static void beneath__needs_a_folder(void **state)
{
	struct beneath b;

	put_tree();
	assert_int_equal(beneath_init(&b, path_of("none"), false), -ENOENT);
	beneath_fini(&b);
	assert_int_equal(beneath_init(&b, path_of("secret.txt"), false), -ENOTDIR);
	beneath_fini(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down_calls)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(beneath__opens_below_the_folder_only),
		TEST(beneath__leaves_the_folder_when_told_but_not_by_magic),
		TEST(beneath__tries_again_and_gives_up),
		TEST(beneath__notices_a_late_sandbox),
		TEST(beneath__maps_errors_to_statuses),
		TEST(beneath__needs_a_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
