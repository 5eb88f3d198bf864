/* SPDX-License-Identifier: MIT */
/* The part of a reply that nobody carries yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/err.h"
#include "http/reply.h"

static struct {
	unsigned begun, ended, writes;
	uint16_t status;
	uint64_t length;
	unsigned field_count;
	char body[1024];
	size_t body_len;
} got;

static void on_begin(struct reply *r)
{
	got.begun++;
	got.status = r->status;
	got.length = r->length;
	got.field_count = r->field_count;
}

static void on_write(struct reply *r, const void *data, size_t len)
{
	got.writes++;
	memcpy(got.body + got.body_len, data, len);
	got.body_len += len;
}

static void on_end(struct reply *r)
{
	got.ended++;
}

static const struct reply_ops ops = {.begin = on_begin, .write = on_write, .end = on_end};

static struct request req;
static struct reply r;

static int open_reply(void **state)
{
	memset(&got, 0, sizeof(got));
	memset(&req, 0, sizeof(req));
	memset(&r, 0x5a, sizeof(r));
	req.method = METHOD_GET;
	reply_init(&r, &ops, &req);
	return 0;
}

static void reply__knows_what_has_no_content(void **state)
{
	static const struct {
		enum http_method method;
		unsigned status;
		bool wanted;
	} cases[] = {
		{METHOD_GET, 200, false},  {METHOD_HEAD, 200, true}, {METHOD_GET, 204, true},
		{METHOD_GET, 304, true},   {METHOD_GET, 205, false}, {METHOD_HEAD, 404, true},
		{METHOD_POST, 500, false}, {METHOD_GET, 206, false},
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		open_reply(state);
		req.method = cases[i].method;
		reply_set_status(&r, cases[i].status);
		reply_begin(&r, 0);
		assert_int_equal(r.has_no_content, cases[i].wanted);
		assert_false(r.is_unsized);
	}
	open_reply(state);
	reply_begin(&r, REPLY_LENGTH_UNKNOWN);
	assert_true(r.is_unsized);
}

static void reply__makes_a_page_of_a_status(void **state)
{
	reply_add(&r, SPAN("Allow"), SPAN("GET"));
	reply_status_page(&r, 405);
	assert_int_equal(got.status, 405);
	assert_int_equal(got.length, got.body_len);
	assert_int_equal(got.field_count, 2);
	assert_non_null(strstr(got.body, "<h1>405 Method Not Allowed</h1>"));
	assert_int_equal(got.ended, 1);
	open_reply(state);
	reply_status_page(&r, 304);
	assert_int_equal(got.writes, 0);
	assert_int_equal(got.ended, 1);
}

/* A head with holes would be worse than an error. */
static void reply__becomes_an_error_with_too_many_fields(void **state)
{
	for (unsigned i = 0; i < REPLY_FIELDS_MAX; i++)
		reply_add(&r, SPAN("A"), SPAN("b"));
	assert_false(r.has_overflown);
	reply_add(&r, SPAN("A"), SPAN("b"));
	reply_begin(&r, 5);
	assert_int_equal(got.status, 500);
	assert_int_equal(got.field_count, 0);
	assert_int_equal(got.length, REPLY_LENGTH_UNKNOWN);
	assert_true(r.must_close);
}

static void reply__formats_into_its_scratch_up_to_the_last_byte(void **state)
{
	char text[REPLY_SCRATCH_SIZE];

	memset(text, 'x', sizeof(text));
	reply_addf(&r, SPAN("A"), "%.*s", REPLY_SCRATCH_SIZE - 30, text);
	assert_false(r.has_overflown);
	assert_int_equal(r.fields[0].value.len, REPLY_SCRATCH_SIZE - 30);
	reply_add_date(&r, SPAN("Date"), 784111777);
	assert_false(r.has_overflown);
	assert_memory_equal(r.fields[1].value.ptr, "Sun, 06 Nov 1994 08:49:37 GMT", HTTP_DATE_LEN);
	assert_memory_equal(r.fields[0].value.ptr, text, REPLY_SCRATCH_SIZE - 30);
	reply_addf(&r, SPAN("B"), "%s", "yz");
	assert_true(r.has_overflown);
	assert_int_equal(r.field_count, 2);
	reply_begin(&r, 0);
	assert_int_equal(got.status, 500);
	open_reply(state);
	reply_addf(&r, SPAN("A"), "%.*s", REPLY_SCRATCH_SIZE - 20, text);
	reply_add_date(&r, SPAN("Date"), 0);
	assert_true(r.has_overflown);
	assert_int_equal(r.field_count, 1);
}

#define TEST(name) cmocka_unit_test_setup(name, open_reply)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reply__knows_what_has_no_content),
		TEST(reply__makes_a_page_of_a_status),
		TEST(reply__becomes_an_error_with_too_many_fields),
		TEST(reply__formats_into_its_scratch_up_to_the_last_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
