/* SPDX-License-Identifier: MIT */
/* Changes as bytes: what is printed is read back; what does not add up is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "app/store_wire.h"
#include "base/err.h"

#define CONTENT_MAX 100

static const struct store_change change = {
	.kind = STORE_PUT,
	.key = SPAN("notes/a"),
	.type = SPAN("text/plain"),
	.content = SPAN("hello"),
	.conditions = {
		.has_if_match = true,
		.if_match = SPAN("\"1\", \"2\""),
		.has_if_none_match = true,
		.if_none_match = SPAN("*"),
		.has_unmodified_since = true,
		.unmodified_since_s = -7,
	},
};

/* All of a change, of exactly its size: one byte too far is seen by a sanitizer. */
static char *print(const struct store_change *c, size_t *ret_len)
{
	size_t head_len = store_wire_head_len(c);
	char *bytes = malloc(head_len + c->content.len);

	assert_non_null(bytes);
	store_wire_print(c, 42, bytes);
	memcpy(bytes + head_len, c->content.ptr, c->content.len);
	*ret_len = head_len + c->content.len;
	return bytes;
}

static void store_wire__reads_back_what_it_prints(void **state)
{
	struct store_change c;
	size_t len, size;
	uint32_t id;
	char *bytes = print(&change, &len);

	assert_int_equal(store_wire_parse(span_of(bytes, len), CONTENT_MAX, &c, &id, &size), STORE_WIRE_DONE);
	assert_int_equal(size, len);
	assert_int_equal(id, 42);
	assert_int_equal(c.kind, STORE_PUT);
	assert_true(span_eq(c.key, change.key) && span_eq(c.type, change.type) && span_eq(c.content, change.content));
	assert_true(c.conditions.has_if_match && c.conditions.has_if_none_match && c.conditions.has_unmodified_since);
	assert_true(span_eq(c.conditions.if_match, change.conditions.if_match));
	assert_true(span_eq(c.conditions.if_none_match, change.conditions.if_none_match));
	assert_int_equal(c.conditions.unmodified_since_s, -7);
	free(bytes);
}

static void store_wire__waits_for_the_rest(void **state)
{
	struct store_change c;
	size_t len, size;
	uint32_t id;
	char *bytes = print(&change, &len);

	for (size_t n = 0; n < len; n++) {
		assert_int_equal(store_wire_parse(span_of(bytes, n), CONTENT_MAX, &c, &id, &size), STORE_WIRE_MORE);
		assert_int_equal(size, n < sizeof(struct store_wire_change) ? 0 : len);
	}
	free(bytes);
}

static void store_wire__refuses_what_does_not_add_up(void **state)
{
	static const struct {
		size_t offset, size;
		uint32_t value;
	} cases[] = {
#define FIELD(name, v) { offsetof(struct store_wire_change, name), sizeof(((struct store_wire_change *)0)->name), v }
		FIELD(kind, 0), FIELD(kind, STORE_DELETE + 1), FIELD(key_len, 0), FIELD(key_len, STORE_KEY_MAX + 1),
		FIELD(key_len, 100), FIELD(type_len, STORE_TYPE_MAX + 1), FIELD(if_match_len, 0xffff),
		FIELD(if_none_match_len, 0xffff), FIELD(size, 0), FIELD(size, 40), FIELD(size, 0xffffffff),
		FIELD(size, 5000), FIELD(key_len, 6) /* "notes/" is a collection */,
#undef FIELD
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct store_change c;
		size_t len, size;
		uint32_t id;
		char *bytes = print(&change, &len);

		memcpy(bytes + cases[i].offset, &cases[i].value, cases[i].size);
		if (store_wire_parse(span_of(bytes, len), CONTENT_MAX, &c, &id, &size) != STORE_WIRE_BAD)
			fail_msg("case %zu is taken", i);
		free(bytes);
	}
}

static void store_wire__bounds_the_content(void **state)
{
	struct store_change c;
	size_t len, size;
	uint32_t id;
	char *bytes = print(&change, &len);

	assert_int_equal(store_wire_parse(span_of(bytes, len), 5, &c, &id, &size), STORE_WIRE_DONE);
	assert_int_equal(store_wire_parse(span_of(bytes, len), 4, &c, &id, &size), STORE_WIRE_BAD);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(store_wire__reads_back_what_it_prints),
		cmocka_unit_test(store_wire__waits_for_the_rest),
		cmocka_unit_test(store_wire__refuses_what_does_not_add_up),
		cmocka_unit_test(store_wire__bounds_the_content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
