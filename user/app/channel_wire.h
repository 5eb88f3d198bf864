/* SPDX-License-Identifier: MIT */
/*
 * A message of a channel on its way between hosts: a line of text in front of what was published, so that programs which
 * listen over there can take it off without knowing it.  Pure.
 *
 *   sluice1 HOST PUBLISHER SERIAL KIND\n      three times 16 hexadecimal digits; KIND: t (text) or b (bytes)
 *
 * HOST tells what the host said itself, PUBLISHER which of its workers, SERIAL counts what that one has published to this
 * channel: what is missing, comes twice or was overtaken is found out by it.
 */
#ifndef SLUICE_APP_CHANNEL_WIRE_H
#define SLUICE_APP_CHANNEL_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

#define CHANNEL_WIRE_HEAD 61u	/* bytes */

struct channel_wire {
	uint64_t host, publisher;
	uint64_t serial;
	bool is_text;
};

enum channel_wire_kind {
	CHANNEL_WIRE_SIGNED,	/* by a sluice */
	CHANNEL_WIRE_PLAIN,	/* of any other program: all of it is the message */
	CHANNEL_WIRE_BROKEN,	/* begins as a head does, and is none */
};

void channel_wire_print(const struct channel_wire *w, char out[CHANNEL_WIRE_HEAD]);
/* *ret_wire is set where it is signed; *ret_data, which lies in `message`, unless it is broken. */
enum channel_wire_kind channel_wire_parse(struct span message, struct channel_wire *ret_wire, struct span *ret_data);

#endif
