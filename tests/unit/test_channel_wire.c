/* SPDX-License-Identifier: MIT */
/* The line in front of a message between hosts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "app/channel_wire.h"
#include "base/err.h"

#define HEAD "sluice1 00000000000000ff 0123456789abcdef ffffffffffffffff "

static void channel_wire__is_a_line_of_text(void **state)
{
	static const struct channel_wire wire = { 0xff, 0x0123456789abcdef, UINT64_MAX, true };
	char head[CHANNEL_WIRE_HEAD];

	channel_wire_print(&wire, head);
	assert_memory_equal(head, HEAD "t\n", CHANNEL_WIRE_HEAD);
}

static void channel_wire__comes_back_as_it_was(void **state)
{
	static const struct channel_wire wires[] = { { 1, 2, 3, true }, { UINT64_MAX, 0, 0, false } };
	char message[CHANNEL_WIRE_HEAD + 3];

	for (size_t i = 0; i < ARRAY_LEN(wires); i++) {
		struct channel_wire back;
		struct span data;

		channel_wire_print(&wires[i], message);
		memcpy(message + CHANNEL_WIRE_HEAD, "\n\0x", 3);
		assert_int_equal(channel_wire_parse(span_of(message, sizeof(message)), &back, &data), CHANNEL_WIRE_SIGNED);
		assert_true(back.host == wires[i].host && back.publisher == wires[i].publisher);
		assert_true(back.serial == wires[i].serial && back.is_text == wires[i].is_text);
		assert_int_equal(data.len, 3);
		assert_memory_equal(data.ptr, "\n\0x", 3);
	}
}

static void channel_wire__tells_messages_of_others(void **state)
{
	static const struct {
		const char *message;
		enum channel_wire_kind kind;
		const char *data;
	} cases[] = {
		{ HEAD "t\n", CHANNEL_WIRE_SIGNED, "" },
		{ HEAD "b\nx", CHANNEL_WIRE_SIGNED, "x" },
		{ "", CHANNEL_WIRE_PLAIN, "" },
		{ "sluice1", CHANNEL_WIRE_PLAIN, "sluice1" },
		{ "sluice2 x", CHANNEL_WIRE_PLAIN, "sluice2 x" },
		{ " " HEAD "t\n", CHANNEL_WIRE_PLAIN, " " HEAD "t\n" },
		{ "sluice1 ", CHANNEL_WIRE_BROKEN, NULL },
		{ HEAD "t", CHANNEL_WIRE_BROKEN, NULL },
		{ HEAD "x\n", CHANNEL_WIRE_BROKEN, NULL },
		{ HEAD "t\r\n", CHANNEL_WIRE_BROKEN, NULL },
		{ "sluice1 00000000000000fg 0123456789abcdef ffffffffffffffff t\n", CHANNEL_WIRE_BROKEN, NULL },
		{ "sluice1 00000000000000ff-0123456789abcdef ffffffffffffffff t\n", CHANNEL_WIRE_BROKEN, NULL },
		{ "sluice1 00000000000000ff 0123456789abcdef ffffffffffffffff_t\n", CHANNEL_WIRE_BROKEN, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct channel_wire wire;
		struct span data = SPAN("");

		assert_int_equal(channel_wire_parse(span_str(cases[i].message), &wire, &data), cases[i].kind);
		if (cases[i].data)
			assert_true(span_eq(data, span_str(cases[i].data)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(channel_wire__is_a_line_of_text),
		cmocka_unit_test(channel_wire__comes_back_as_it_was),
		cmocka_unit_test(channel_wire__tells_messages_of_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
