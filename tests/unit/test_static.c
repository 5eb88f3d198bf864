/* SPDX-License-Identifier: MIT */
/* The static handler: what a path leads to, and that it never leads outside of the root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "base/err.h"
#include "static_fixture.h"

static void static__serves_a_file(void **state)
{
	put_text("www/a.html", "<p>hello");
	open_route();
	assert_int_equal(get("/a.html"), 200);
	assert_body("<p>hello");
	assert_int_equal(x.reply.length, 8);
	assert_field("Content-Type", "text/html; charset=utf-8");
	assert_field("Accept-Ranges", "bytes");
	assert_non_null(recorder_field(&x, "Last-Modified"));
	assert_true(recorder_field(&x, "ETag")[0] == '"');
	assert_no_field("Vary");
	assert_no_field("Content-Encoding");
}

static void static__serves_files_of_every_size(void **state)
{
	static const size_t sizes[] = {0, 1, 4095, 65536, 65537, 300000};

	open_route();
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		char name[64], target[64];

		snprintf(name, sizeof(name), "www/%zu.bin", sizes[i]);
		snprintf(target, sizeof(target), "/%zu.bin", sizes[i]);
		put_size(name, sizes[i]);
		assert_int_equal(get(target), 200);
		assert_int_equal(x.body_len, sizes[i]);
		assert_int_equal(x.reply.length, sizes[i]);
		for (size_t k = 0; k < sizes[i]; k++) {
			if ((unsigned char)x.body[k] != (unsigned char)(k * 31 + (k >> 8)))
				fail_msg("byte %zu of %zu differs", k, sizes[i]);
		}
	}
}

static void static__answers_each_method(void **state)
{
	static const struct {
		const char *method;
		unsigned status;
		const char *allow;
	} cases[] = {
		{"GET", 200, NULL},
		{"HEAD", 200, NULL},
		{"OPTIONS", 204, "GET, HEAD, OPTIONS"},
		{"POST", 405, "GET, HEAD, OPTIONS"},
		{"PUT", 405, "GET, HEAD, OPTIONS"},
		{"DELETE", 405, "GET, HEAD, OPTIONS"},
		{"TRACE", 405, "GET, HEAD, OPTIONS"},
		{"BREW", 405, "GET, HEAD, OPTIONS"},
	};

	put_text("www/a", "0123456789");
	open_route();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(ask(cases[i].method, "/a", NULL), cases[i].status);
		recorder_deliver(&x);
		if (cases[i].allow)
			assert_field("Allow", cases[i].allow);
		else
			assert_no_field("Allow");
	}
	assert_int_equal(ask("HEAD", "/a", NULL), 200);
	assert_int_equal(x.reply.length, 10);
	assert_int_equal(x.segment_count, 0);
}

static void static__never_leaves_the_root(void **state)
{
	static const char *const targets[] = {
		"/../secret.txt",
		"/%2e%2e/secret.txt",
		"/%2E%2E/secret.txt",
		"/.%2e/secret.txt",
		"/..%2fsecret.txt",
		"/%2e%2e%2fsecret.txt",
		"/a/../../secret.txt",
		"/a/%2e%2e/%2e%2e/secret.txt",
		"//../secret.txt",
		"/..//secret.txt",
		"/./../secret.txt",
		"/..%5csecret.txt",
		"/%252e%252e/secret.txt",
		"/%c0%ae%c0%ae/secret.txt",
		"/..;/secret.txt",
		"/..%00/secret.txt",
		"/secret.txt%00.html",
		"/out/secret.txt",
		"/out.txt",
		"/abs.txt",
		"/a/out/secret.txt",
		"/chain/secret.txt",
		"/loop",
		"/loop/a",
		"/up/../secret.txt",
		"/proc/self/root/etc/passwd",
		"/fd",
		"/....//secret.txt",
		"/a/..%2f..%2fsecret.txt",
	};

	put_folder("www/a");
	put_link("..", "www/out");
	put_link("../secret.txt", "www/out.txt");
	put_link(path_of("secret.txt"), "www/abs.txt");
	put_link("../..", "www/a/out");
	put_link("out", "www/chain");
	put_link("loop", "www/loop");
	put_link("/proc", "www/proc");
	put_link("/proc/self/fd/0", "www/fd");
	open_route_of((struct static_options){.shows_hidden = true}, NULL);
	for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
		unsigned status = get(targets[i]);

		if (status != 400 && status != 404)
			fail_msg("%s gave %u", targets[i], status);
		assert_null(x.body ? strstr(x.body, "secret") : NULL);
	}
}

/* The kernel's lock alone: paths that no parser would let through. */
static void static__refuses_what_a_broken_parser_lets_through(void **state)
{
	static const struct span paths[] = {
		{"/../secret.txt", 14},
		{"../secret.txt", 13},
		{"/a/../../secret.txt", 19},
		{"/secret.txt\0.html", 17},
		{"//../secret.txt", 15},
		{"", 0},
		{"/..", 3},
	};

	put_folder("www/a");
	open_route_of((struct static_options){.shows_hidden = true}, NULL);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		recorder_fini(&x);
		assert_int_equal(recorder_prepare(&x, "GET", "/x", NULL), 0);
		x.req.path = paths[i];
		static_ops.on_request(&x.req, &x.reply, route);
		assert_true(x.reply.status == 404 || x.reply.status == 301);
	}
}

static void static__follows_links_below_the_root_only_unless_told(void **state)
{
	put_folder("www/a");
	put_text("www/a/f.txt", "below");
	put_link("a/f.txt", "www/in.txt");
	put_link("../a", "www/a/self");
	put_link("../secret.txt", "www/out.txt");
	open_route();
	assert_int_equal(get("/in.txt"), 200);
	assert_body("below");
	assert_int_equal(get("/a/self/f.txt"), 200);
	assert_int_equal(get("/out.txt"), 404);
	close_route();

	open_route_of((struct static_options){.allows_symlinks = true}, NULL);
	assert_int_equal(get("/out.txt"), 200);
	assert_body("secret");
}

static void static__serves_regular_files_only(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(mkfifo(path_of("www/fifo"), 0666), 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path_of("www/sock"));
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	open_route();
	assert_int_equal(get("/fifo"), 404); /* does not block */
	assert_int_equal(get("/fifo/"), 404);
	assert_int_equal(get("/sock"), 404);
	if (mknod(path_of("www/zero"), S_IFCHR | 0666, makedev(1, 5)) == 0)
		assert_int_equal(get("/zero"), 404);
	close(fd);
}

static void static__says_403_where_permission_lacks(void **state)
{
	bool is_root = geteuid() == 0;

	put_text("www/closed.txt", "closed");
	put_folder("www/closed");
	put_text("www/closed/a.txt", "closed");
	put_text("www/open.txt", "open");
	assert_int_equal(chmod(path_of("www/closed.txt"), 0), 0);
	assert_int_equal(chmod(path_of("www/closed"), 0), 0);
	open_route();
	if (is_root)
		assert_int_equal(seteuid(65534), 0);
	assert_int_equal(get("/closed.txt"), 403);
	assert_int_equal(get("/closed/a.txt"), 403);
	assert_int_equal(get("/closed/"), 403);
	assert_int_equal(get("/open.txt"), 200);
	if (is_root)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(chmod(path_of("www/closed"), 0755), 0);
}

static void static__finds_the_index_of_a_folder(void **state)
{
	static const char *const names[] = {"first.html", "index.html"};

	put_text("www/index.html", "root");
	put_folder("www/a");
	put_text("www/a/index.html", "a");
	put_folder("www/b");
	put_folder("www/b/first.html");
	put_folder("www/none");
	open_route_of((struct static_options){.index = names, .index_count = 2}, NULL);
	assert_int_equal(get("/"), 200);
	assert_body("root");
	assert_int_equal(get("/a/"), 200);
	assert_body("a");
	assert_int_equal(get("/b/"), 403); /* an index that is a folder is none */
	assert_int_equal(get("/none/"), 403);
	assert_int_equal(get("/missing/"), 404);
	assert_int_equal(get("/index.html/"), 404);
	put_text("www/a/first.html", "first"); /* the better index appears */
	let_expire();
	assert_int_equal(get("/a/"), 200);
	assert_body("first");
}

static void static__sends_folders_to_their_slash(void **state)
{
	static const struct {
		const char *target, *folder, *location;
	} cases[] = {
		{"/dir", "www/dir", "/dir/"},
		{"/dir?a=1&b=%20", NULL, "/dir/?a=1&b=%20"},
		{"/dir?", NULL, "/dir/?"},
		{"//dir", NULL, "/dir/"},
		{"/a%20b%25", "www/a b%", "/a%20b%25/"},
		{"/%5Cevil.com", "www/\\evil.com", "/%5Cevil.com/"},
		{"//evil.com", "www/evil.com", "/evil.com/"},
		{"/%2Fevil.com", NULL, "/evil.com/"},
		{"/x%0D%0ASet-Cookie:a=b", "www/x\r\nSet-Cookie:a=b",
		 "/x%0D%0ASet-Cookie%3Aa%3Db/"},
		{"/%C3%BC", "www/\xc3\xbc", "/%C3%BC/"},
	};

	open_route();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (cases[i].folder)
			put_folder(cases[i].folder);
		assert_int_equal(get(cases[i].target), 301);
		assert_field("Location", cases[i].location);
		assert_no_field("Set-Cookie");
	}
}

static void static__hides_names_that_begin_with_a_dot(void **state)
{
	put_text("www/.env", "key");
	put_folder("www/.git");
	put_text("www/.git/config", "x");
	put_folder("www/.well-known");
	put_text("www/.well-known/acme", "token");
	put_text("www/.well-known/.hidden", "x");
	put_text("www/a.b", "dot inside");
	open_route();
	assert_int_equal(get("/.env"), 404);
	assert_int_equal(get("/%2eenv"), 404);
	assert_int_equal(get("/.git/config"), 404);
	assert_int_equal(get("/.well-known/acme"), 200);
	assert_int_equal(get("/.well-known/.hidden"), 404);
	assert_int_equal(get("/.well-knownx"), 404);
	assert_int_equal(get("/a.b"), 200);
	close_route();
	open_route_of((struct static_options){.shows_hidden = true}, NULL);
	assert_int_equal(get("/.env"), 200);
	assert_int_equal(get("/.git/config"), 200);
}

static void static__cuts_the_prefix_off(void **state)
{
	put_text("www/a.txt", "a");
	put_text("www/index.html", "index");
	open_route_of((struct static_options){.prefix = SPAN("/docs/")}, NULL);
	assert_int_equal(get("/docs/a.txt"), 200);
	assert_int_equal(get("/docs/"), 200);
	close_route();
	open_route_of((struct static_options){.prefix = SPAN("/docs")}, NULL);
	assert_int_equal(get("/docs/a.txt"), 200);
	assert_int_equal(get("/docs/"), 200);
	assert_body("index");
	assert_int_equal(get("/docs"), 301);
	assert_field("Location", "/docs/");
}

static void static__takes_names_of_any_bytes_and_length(void **state)
{
	char name[300], target[8200];

	put_text("www/new\nline", "newline");
	put_text("www/100%", "percent");
	put_text("www/\xff\xfe", "bytes");
	memset(name, 'n', sizeof(name));
	memcpy(name, "www/", 4);
	name[4 + 255] = '\0';
	put_text(name, "long");
	open_route();
	assert_int_equal(get("/new%0Aline"), 200);
	assert_body("newline");
	assert_int_equal(get("/100%25"), 200);
	assert_int_equal(get("/%FF%FE"), 200);
	assert_int_equal(get(name + 3), 200);
	assert_body("long");
	memset(target, 'n', sizeof(target));
	target[0] = '/';
	target[257] = '\0'; /* one more than NAME_MAX */
	assert_int_equal(get(target), 404);
	for (size_t i = 0; i < 8000; i += 2)
		memcpy(target + i, "/d", 2);
	target[8000] = '\0'; /* more than PATH_MAX */
	assert_int_equal(get(target), 404);
	target[4000] = '\0';
	assert_int_equal(get(target), 404);
}

static void static__answers_503_without_descriptors_and_recovers(void **state)
{
	struct rlimit saved, none;

	put_text("www/a.txt", "a");
	open_route();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &saved), 0);
	none = saved;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(get("/a.txt"), 503);
	assert_field("Retry-After", "1");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &saved), 0);
	assert_int_equal(get("/a.txt"), 200); /* at once: trouble is not cached */
}

static void static__gives_up_cached_descriptors_when_they_run_out(void **state)
{
	struct rlimit saved, few;
	struct file_cache_stats stats;
	int fds[64], count = 0;

	put_size("www/big1", 100000);
	put_size("www/big2", 100000);
	put_size("www/big3", 100000);
	open_route();
	assert_int_equal(get("/big1"), 200);
	assert_int_equal(get("/big2"), 200);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &saved), 0);
	few = saved;
	few.rlim_cur = 40;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	while (count < 64 && (fds[count] = dup(0)) >= 0)
		count++;
	assert_int_equal(get("/big3"), 200);
	file_cache_stats(cache, &stats);
	assert_int_equal(stats.fd_count, 1);
	while (count)
		close(fds[--count]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &saved), 0);
}

static void static__follows_a_root_that_is_switched(void **state)
{
	put_folder("r1");
	put_folder("r2");
	put_text("r1/a.txt", "one");
	put_text("r2/a.txt", "two");
	put_link("r1", "current");
	open_route_of((struct static_options){.root = path_of("current")}, NULL);
	assert_int_equal(get("/a.txt"), 200);
	assert_body("one");
	put_link("r2", "next");
	assert_int_equal(rename(path_of("next"), path_of("current")), 0);
	let_expire();
	assert_int_equal(get("/a.txt"), 200);
	assert_body("two");
	assert_int_equal(unlink(path_of("current")), 0); /* gone: the open folder goes on serving */
	let_expire();
	assert_int_equal(get("/a.txt"), 200);
}

static void static__new_checks_its_options(void **state)
{
	static const char *const bad_index[] = {"../secret.txt"};
	struct file_cache_options opt = {0};
	struct file_cache *c = file_cache_new(&opt);
	void *conf;
	struct static_options missing = {.root = path_of("none"), .cache = c};
	struct static_options file = {.root = path_of("secret.txt"), .cache = c};
	struct static_options index = {
		.root = path_of("www"), .cache = c, .index = bad_index, .index_count = 1};
	struct static_options type = {
		.root = path_of("www"), .cache = c, .default_type = "a\r\nb: c"};

	assert_int_equal(static_new(&missing, &conf), -ENOENT);
	assert_int_equal(static_new(&file, &conf), -ENOTDIR);
	assert_int_equal(static_new(&index, &conf), -EINVAL);
	assert_int_equal(static_new(&type, &conf), -EINVAL);
	file_cache_free(c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(static__serves_a_file),
		TEST(static__serves_files_of_every_size),
		TEST(static__answers_each_method),
		TEST(static__never_leaves_the_root),
		TEST(static__refuses_what_a_broken_parser_lets_through),
		TEST(static__follows_links_below_the_root_only_unless_told),
		TEST(static__serves_regular_files_only),
		TEST(static__says_403_where_permission_lacks),
		TEST(static__finds_the_index_of_a_folder),
		TEST(static__sends_folders_to_their_slash),
		TEST(static__hides_names_that_begin_with_a_dot),
		TEST(static__cuts_the_prefix_off),
		TEST(static__takes_names_of_any_bytes_and_length),
		TEST(static__answers_503_without_descriptors_and_recovers),
		TEST(static__gives_up_cached_descriptors_when_they_run_out),
		TEST(static__follows_a_root_that_is_switched),
		TEST(static__new_checks_its_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
