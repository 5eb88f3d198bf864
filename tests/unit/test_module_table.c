/* SPDX-License-Identifier: MIT */
/* The table of a module's routes: what matches, what is refused, and the same answers as a walk over all routes gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "app/module_table.h"
#include "base/err.h"

static void on_request(struct sluice_request *r)
{
}

static struct sluice_module module_of(const struct sluice_route *routes, uint32_t count)
{
	return (struct sluice_module){ SLUICE_HEAD, "test", routes, count, sizeof(*routes), NULL, NULL, NULL, NULL };
}

static struct module_match find(const struct module_table *t, const char *method, const char *path)
{
	struct request *req = calloc(1, sizeof(*req));
	struct module_match match;

	assert_non_null(req);
	req->method_text = span_str(method);
	req->method = method_of(req->method_text);
	module_table_find(t, req, span_str(path), &match);
	free(req);
	return match;
}

static const struct sluice_route specific[] = {
	{ .method = "GET", .path = "/", .on_request = on_request },
	{ .method = "GET", .path = "/a", .on_request = on_request },
	{ .method = "PUT", .path = "/a", .on_request = on_request },
	{ .method = "GET", .path = "/a/*", .on_request = on_request },
	{ .method = "GET", .path = "/a/b/*", .on_request = on_request },
	{ .method = "GET", .path = "/a/b/c", .on_request = on_request },
	{ .path = "/any", .on_request = on_request },
	{ .method = "GET", .path = "/any", .on_request = on_request },
	{ .method = "PURGE", .path = "/cache/*", .on_request = on_request },
	{ .method = "HEAD", .path = "/h", .on_request = on_request },
	{ .method = "GET", .path = "/h", .on_request = on_request },
	{ .method = "OPTIONS", .path = "/h", .on_request = on_request },
};

static const struct {
	const char *method, *path;
	int route;		/* -1: status */
	unsigned status;
	const char *rest, *allow;
} lookups[] = {
	{ "GET", "/", 0, 0, "", NULL },
	{ "GET", "/a", 1, 0, "", NULL },
	{ "PUT", "/a", 2, 0, "", NULL },
	{ "HEAD", "/a", 1, 0, "", NULL },
	{ "GET", "/a/", 3, 0, "", NULL },
	{ "GET", "/a/x/y", 3, 0, "x/y", NULL },
	{ "GET", "/a/b", 3, 0, "b", NULL },
	{ "GET", "/a/b/", 4, 0, "", NULL },
	{ "GET", "/a/b/c", 5, 0, "", NULL },
	{ "GET", "/a/b/c/d", 4, 0, "c/d", NULL },
	{ "GET", "/any", 7, 0, "", NULL },
	{ "BREW", "/any", 6, 0, "", NULL },
	{ "OPTIONS", "/any", 6, 0, "", NULL },
	{ "PURGE", "/cache/x", 8, 0, "x", NULL },
	{ "HEAD", "/h", 9, 0, "", NULL },
	{ "OPTIONS", "/h", 11, 0, "", NULL },
	{ "DELETE", "/a", -1, 405, "", "GET, PUT, HEAD, OPTIONS" },
	{ "OPTIONS", "/a", -1, 204, "", "GET, PUT, HEAD, OPTIONS" },
	/* The path decides first: that "/a/b/" has no PUT is not made up for by "/a/". */
	{ "PUT", "/a/b/x", -1, 405, "x", "GET, HEAD, OPTIONS" },
	{ "GET", "/cache/x", -1, 405, "x", "PURGE, OPTIONS" },
	{ "BREW", "/a", -1, 501, "", NULL },
	{ "GET", "/b", -1, 404, "", "" },
	{ "GET", "/cache", -1, 404, "", "" },
	{ "GET", "/aa", -1, 404, "", "" },
	{ "OPTIONS", "/b", -1, 404, "", "" },
};

static void module_table__finds_the_most_specific_path(void **state)
{
	struct sluice_module m = module_of(specific, ARRAY_LEN(specific));
	struct module_table *t;
	char why[256] = "";

	assert_int_equal(module_table_new(&m, &t, why, sizeof(why)), 0);
	for (size_t i = 0; i < ARRAY_LEN(lookups); i++) {
		struct module_match match = find(t, lookups[i].method, lookups[i].path);

		if (!match.route != (lookups[i].route < 0) ||
		    (match.route && strcmp(match.route->path, specific[lookups[i].route].path)) ||
		    (match.route && match.route->method != specific[lookups[i].route].method) ||
		    (!match.route && match.status != lookups[i].status) ||
		    (match.route && !span_eq(match.rest, span_str(lookups[i].rest))) ||
		    (lookups[i].allow && !span_eq(match.allow, span_str(lookups[i].allow))))
			fail_msg("%s %s: route %s, status %u, rest '%.*s', allow '%.*s'", lookups[i].method, lookups[i].path,
				 match.route ? match.route->path : "none", match.status, SPAN_ARG(match.rest),
				 SPAN_ARG(match.allow));
	}
	module_table_free(t);
}

static void module_table__takes_all_without_a_path(void **state)
{
	static const struct sluice_route routes[] = { { .on_request = on_request } };
	struct sluice_module m = module_of(routes, 1);
	struct module_match match;
	struct module_table *t;
	char why[256] = "";

	assert_int_equal(module_table_new(&m, &t, why, sizeof(why)), 0);
	match = find(t, "BREW", "/x/y");
	assert_non_null(match.route);
	assert_true(span_eq(match.rest, SPAN("x/y")));
	assert_non_null(find(t, "OPTIONS", "/").route);
	module_table_free(t);
}

static void module_table__says_which_route_is_wrong(void **state)
{
	static const struct {
		struct sluice_route routes[2];
		uint32_t count;
		const char *why;
	} cases[] = {
		{ { { 0 } }, 0, "no routes" },
		{ { { .method = "GET", .path = "/" } }, 1, "route 0 of it (GET /): it has no on_request" },
		{ { { .method = "GET", .path = "a", .on_request = on_request } }, 1, "does not begin with '/'" },
		{ { { .method = "GET", .path = "", .on_request = on_request } }, 1, "does not begin with '/'" },
		{ { { .method = "GET", .path = "/a*", .on_request = on_request } }, 1, "a star stands only at the end" },
		{ { { .method = "GET", .path = "/*/a", .on_request = on_request } }, 1, "a star stands only at the end" },
		{ { { .method = "GET", .path = "/a//b", .on_request = on_request } }, 1, "can never match" },
		{ { { .method = "GET", .path = "/a/../b", .on_request = on_request } }, 1, "can never match" },
		{ { { .method = "G T", .path = "/", .on_request = on_request } }, 1, "its method is none" },
		{ { { .method = "", .path = "/", .on_request = on_request } }, 1, "its method is none" },
		{ { { .path = "/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/*", .on_request = on_request } }, 1, "too deep" },
		{ { { .path = "/", .on_request = on_request }, { .path = "/", .on_request = on_request } }, 2,
		  "route 1 of it (any /): there is another one" },
		{ { { .path = "/*", .on_request = on_request }, { .on_request = on_request } }, 2,
		  "route 1 of it (any /*): there is another one" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct sluice_module m = module_of(cases[i].routes, cases[i].count);
		struct module_table *t = NULL;
		char why[256] = "";

		assert_int_equal(module_table_new(&m, &t, why, sizeof(why)), -EINVAL);
		if (!strstr(why, cases[i].why))
			fail_msg("case %zu: '%s'", i, why);
	}
}

/* A module built with a header that knows more members, or fewer. */
static void module_table__walks_routes_of_another_size(void **state)
{
	struct larger {
		struct sluice_route known;
		void *unknown[3];
	} routes[2] = {
		{ { .method = "GET", .path = "/a", .on_request = on_request }, { &routes, &routes, &routes } },
		{ { .method = "GET", .path = "/b", .on_request = on_request }, { &routes, &routes, &routes } },
	};
	struct sluice_module m = module_of(&routes[0].known, 2);
	struct module_table *t;
	char why[256] = "";

	m.route_size = sizeof(routes[0]);
	assert_int_equal(module_table_new(&m, &t, why, sizeof(why)), 0);
	assert_string_equal(find(t, "GET", "/b").route->path, "/b");
	module_table_free(t);
}

/* By random: what the hash finds is what a walk over all routes finds. */

#define RANDOM_ROUTES 200

static const struct sluice_route *walk(const struct sluice_route *routes, unsigned count, const char *path)
{
	const struct sluice_route *best = NULL;
	size_t best_len = 0;

	for (unsigned i = 0; i < count; i++) {
		size_t len = strlen(routes[i].path);
		bool has_star = routes[i].path[len - 1] == '*';

		if (!has_star && strcmp(routes[i].path, path) == 0)
			return &routes[i];
		if (has_star && strncmp(routes[i].path, path, len - 1) == 0 && len > best_len) {
			best = &routes[i];
			best_len = len;
		}
	}
	return best;
}

static void print_path(char *out, size_t size, bool may_have_star)
{
	unsigned depth = 1 + (unsigned)rand() % 5;
	size_t len = 0;

	for (unsigned i = 0; i < depth; i++)
		len += (size_t)snprintf(out + len, size - len, "/%c", 'a' + rand() % 6);
	if (may_have_star && depth > 1 && rand() % 3 == 0)
		snprintf(out + len, size - len, "/*");
	else if (rand() % 8 == 0)
		snprintf(out + len, size - len, "/");
}

static void module_table__finds_what_a_walk_finds(void **state)
{
	static struct sluice_route routes[RANDOM_ROUTES];
	static char paths[RANDOM_ROUTES][32];
	struct sluice_module m;
	struct module_table *t;
	unsigned count = 0, found = 0;
	char why[256] = "", path[32];

	srand(6);
	for (unsigned i = 0; i < RANDOM_ROUTES; i++) {
		bool is_new = true;

		print_path(paths[count], sizeof(paths[count]), true);
		for (unsigned k = 0; k < count; k++)
			is_new = is_new && strcmp(paths[k], paths[count]) != 0;
		routes[count] = (struct sluice_route){ .method = "GET", .path = paths[count], .on_request = on_request };
		count += is_new;
	}
	m = module_of(routes, count);
	assert_int_equal(module_table_new(&m, &t, why, sizeof(why)), 0);
	for (unsigned i = 0; i < 5000; i++) {
		const struct sluice_route *want;
		struct module_match match;

		print_path(path, sizeof(path), false);
		want = walk(routes, count, path);
		match = find(t, "GET", path);
		found += want != NULL;
		if (!want != !match.route || (want && strcmp(want->path, match.route->path)))
			fail_msg("%s: %s instead of %s", path, match.route ? match.route->path : "none",
				 want ? want->path : "none");
	}
	assert_true(found > 500 && found < 5000);
	module_table_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(module_table__finds_the_most_specific_path),
		cmocka_unit_test(module_table__takes_all_without_a_path),
		cmocka_unit_test(module_table__says_which_route_is_wrong),
		cmocka_unit_test(module_table__walks_routes_of_another_size),
		cmocka_unit_test(module_table__finds_what_a_walk_finds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
