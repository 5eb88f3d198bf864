/* SPDX-License-Identifier: MIT */
/* Sites and routes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/err.h"
#include "http/route.h"

static const struct handler_ops ops = {.name = "test"};
static unsigned free_count;

static void on_free(void *conf)
{
	free_count++;
}

static struct site *add(struct site_table *t, const char *a, const char *b)
{
	const char *names[] = {a, b};
	struct site *site = NULL;

	assert_int_equal(site_add(t, names, b ? 2 : 1, &site), 0);
	return site;
}

static int try_add(struct site_table *t, const char *a, const char *b)
{
	const char *names[] = {a, b};
	struct site *site;

	return site_add(t, names, b ? 2 : 1, &site);
}

static void expect(const struct site_table *t, const char *host, const struct site *site)
{
	size_t len = strlen(host);
	char *exact = malloc(len ? len : 1);

	memcpy(exact, host, len);
	if (site_find(t, span_of(exact, len)) != site)
		fail_msg("host '%s'", host);
	free(exact);
}

static void route__finds_the_site_of_a_host(void **state)
{
	struct site_table *t = site_table_new();
	struct site *first = add(t, "First.example.", NULL);
	struct site *many = add(t, "a.example.com", "*.example.com");
	struct site *deep = add(t, "*.b.example.com", NULL);
	struct site *any = add(t, "*", NULL);
	struct site *literal = add(t, "[::1]", "127.0.0.1");

	site_table_seal(t);
	expect(t, "first.example", first);
	expect(t, "FIRST.EXAMPLE", first);
	expect(t, "first.example.", first);
	expect(t, "first.example..", any);
	expect(t, "a.example.com", many);
	expect(t, "A.Example.Com.", many);
	expect(t, "x.example.com", many);
	expect(t, "x.y.example.com", many);
	expect(t, "example.com", any);
	expect(t, ".example.com", any);
	expect(t, "xexample.com", any);
	expect(t, "b.example.com", many);
	expect(t, "c.b.example.com", deep);
	expect(t, "d.c.B.example.com", deep);
	expect(t, "[::1]", literal);
	expect(t, "127.0.0.1", literal);
	expect(t, "127.0.0.2", any);
	expect(t, "*.example.com", many);
	expect(t, "", any);
	site_table_free(t);
}

static void route__first_site_is_the_default_without_a_star(void **state)
{
	struct site_table *t = site_table_new();
	struct site *first;

	site_table_seal(t);
	assert_null(site_find(t, SPAN("a")));
	first = add(t, "a", NULL);
	add(t, "b", NULL);
	site_table_seal(t);
	expect(t, "c", first);
	expect(t, "", first);
	site_table_free(t);
	site_table_free(NULL);
}

static void route__long_hosts_are_the_default(void **state)
{
	struct site_table *t = site_table_new();
	struct site *any = add(t, "*", NULL), *wild = add(t, "*.a", NULL);
	char host[400];

	site_table_seal(t);
	memset(host, 'x', sizeof(host));
	memcpy(host + 253, ".a", 2);
	assert_ptr_equal(site_find(t, span_of(host, 255)), wild);
	memcpy(host + 254, ".a", 2);
	assert_ptr_equal(site_find(t, span_of(host, 256)), any);
	site_table_free(t);
}

static void route__refuses_names_twice_and_bad_ones(void **state)
{
	struct site_table *t = site_table_new();
	struct site *a = add(t, "a", "*.w"), *d;

	add(t, "*", NULL);
	assert_int_equal(try_add(t, "A.", NULL), -EEXIST);
	assert_int_equal(try_add(t, "*.W", NULL), -EEXIST);
	assert_int_equal(try_add(t, "*", NULL), -EEXIST);
	assert_int_equal(try_add(t, "c", "c"), -EEXIST);
	assert_int_equal(try_add(t, "d", "a"), -EEXIST);
	assert_int_equal(try_add(t, "", NULL), -EINVAL);
	assert_int_equal(try_add(t, ".", NULL), -EINVAL);
	assert_int_equal(try_add(t, "*.", NULL), -EEXIST);
	assert_int_equal(try_add(t, "a.*", NULL), -EINVAL);
	assert_int_equal(try_add(t, "*a", NULL), -EINVAL);
	assert_int_equal(try_add(t, "*.*.a", NULL), -EINVAL);
	/* What failed left nothing behind. */
	d = add(t, "d", "c");
	site_table_seal(t);
	expect(t, "d", d);
	expect(t, "c", d);
	expect(t, "x.w", a);
	site_table_free(t);
}

static void route__many_hosts_are_all_found(void **state)
{
	struct site_table *t = site_table_new();
	struct site *sites[500];
	char name[32];

	for (unsigned i = 0; i < ARRAY_LEN(sites); i++) {
		snprintf(name, sizeof(name), "host%u.example", i * 7919);
		sites[i] = add(t, name, NULL);
	}
	site_table_seal(t);
	for (unsigned i = 0; i < ARRAY_LEN(sites); i++) {
		snprintf(name, sizeof(name), "HOST%u.example.", i * 7919);
		expect(t, name, sites[i]);
	}
	expect(t, "host1.example", sites[0]);
	site_table_free(t);
}

static const char *found(const struct site *s, const char *path)
{
	const struct route *r = route_find(s, span_str(path));

	return r ? r->conf : "none";
}

static void route__finds_the_longest_prefix_of_whole_segments(void **state)
{
	static const char *const prefixes[] = {"/api", "/", "/api/v1/", "/v", "/static/", "/api/v1"};
	static const struct {
		const char *path, *prefix;
	} cases[] = {
		{"/", "/"},
		{"/x", "/"},
		{"/v", "/v"},
		{"/v/x", "/v"},
		{"/api", "/api"},
		{"/api/", "/api"},
		{"/api/x", "/api"},
		{"/apix", "/"},
		{"/API", "/"},
		{"/api/v1", "/api/v1"},
		{"/api/v1/", "/api/v1/"},
		{"/api/v1/x", "/api/v1/"},
		{"/api/v10", "/api"},
		{"/static", "/"},
		{"/static/", "/static/"},
		{"/static/a", "/static/"},
		{"*", "none"},
		{"", "none"},
	};
	struct site_table *t = site_table_new();
	struct site *s = add(t, "*", NULL);

	free_count = 0;
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
		assert_int_equal(site_add_route(s, span_str(prefixes[i]), &ops, (void *)prefixes[i],
						on_free),
				 0);
	site_table_seal(t);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(found(s, cases[i].path), cases[i].prefix);
	assert_int_equal(free_count, 0);
	site_table_free(t);
	assert_int_equal(free_count, ARRAY_LEN(prefixes));
}

static void route__owns_the_conf_on_failure_too(void **state)
{
	struct site_table *t = site_table_new();
	struct site *s = add(t, "*", NULL);

	free_count = 0;
	assert_int_equal(site_add_route(s, SPAN("/a"), &ops, NULL, on_free), 0);
	assert_int_equal(site_add_route(s, SPAN("/a"), &ops, NULL, on_free), -EEXIST);
	assert_int_equal(site_add_route(s, SPAN("a"), &ops, NULL, on_free), -EINVAL);
	assert_int_equal(site_add_route(s, SPAN(""), &ops, NULL, on_free), -EINVAL);
	assert_int_equal(free_count, 3);
	assert_int_equal(site_add_route(s, SPAN("/b"), &ops, NULL, NULL), 0);
	site_table_free(t);
	assert_int_equal(free_count, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(route__finds_the_site_of_a_host),
		cmocka_unit_test(route__first_site_is_the_default_without_a_star),
		cmocka_unit_test(route__long_hosts_are_the_default),
		cmocka_unit_test(route__refuses_names_twice_and_bad_ones),
		cmocka_unit_test(route__many_hosts_are_all_found),
		cmocka_unit_test(route__finds_the_longest_prefix_of_whole_segments),
		cmocka_unit_test(route__owns_the_conf_on_failure_too),
	};

	return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
