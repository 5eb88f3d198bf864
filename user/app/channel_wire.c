/* SPDX-License-Identifier: MIT */
/* The line in front of a message between hosts; see channel_wire.h. */
#include "app/channel_wire.h"

#include "base/buf.h"
#include "base/err.h"

#define DIGITS 16u

static const struct span magic = SPAN("sluice1 ");

void channel_wire_print(const struct channel_wire *w, char out[CHANNEL_WIRE_HEAD])
{
	struct buf b;

	buf_init(&b, out, CHANNEL_WIRE_HEAD);
	buf_add_span(&b, magic);
	buf_add_hex16(&b, w->host);
	buf_add_char(&b, ' ');
	buf_add_hex16(&b, w->publisher);
	buf_add_char(&b, ' ');
	buf_add_hex16(&b, w->serial);
	buf_add_char(&b, ' ');
	buf_add_char(&b, w->is_text ? 't' : 'b');
	buf_add_char(&b, '\n');
	BUG_ON(b.len != CHANNEL_WIRE_HEAD || b.is_truncated);
}

/* Takes the digits and the blank behind them. */
static bool take_number(const char **at, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < DIGITS; i++) {
		int digit = hex_value((*at)[i]);

		if (digit < 0)
			return false;
		value = value << 4 | (unsigned)digit;
	}
	*ret_value = value;
	*at += DIGITS + 1;
	return (*at)[-1] == ' ';
}

enum channel_wire_kind channel_wire_parse(struct span message, struct channel_wire *ret_wire, struct span *ret_data)
{
	const char *at = message.ptr + magic.len;

	if (!span_starts_with(message, magic)) {
		*ret_data = message;
		return CHANNEL_WIRE_PLAIN;
	}
	if (message.len < CHANNEL_WIRE_HEAD || !take_number(&at, &ret_wire->host) ||
	    !take_number(&at, &ret_wire->publisher) || !take_number(&at, &ret_wire->serial) ||
	    (at[0] != 't' && at[0] != 'b') || at[1] != '\n')
		return CHANNEL_WIRE_BROKEN;
	ret_wire->is_text = at[0] == 't';
	*ret_data = span_of(message.ptr + CHANNEL_WIRE_HEAD, message.len - CHANNEL_WIRE_HEAD);
	return CHANNEL_WIRE_SIGNED;
}
