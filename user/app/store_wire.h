/* SPDX-License-Identifier: MIT */
/*
 * Between workers and the writer of a store: changes one way, results the other, over a connected pair of Unix stream
 * sockets of one machine (so in its byte order).  Results come in the order of the changes.
 *
 *   change   struct store_wire_change, key, type, If-Match, If-None-Match, content
 *   result   struct store_wire_result
 *
 * A worker talks to strangers, so the writer believes nothing: what does not add up ends the connection.
 */
#ifndef SLUICE_APP_STORE_WIRE_H
#define SLUICE_APP_STORE_WIRE_H

#include "app/store_engine.h"

#define STORE_WIRE_HAS_IF_MATCH	     1u
#define STORE_WIRE_HAS_IF_NONE_MATCH 2u
#define STORE_WIRE_HAS_UNMODIFIED    4u

struct store_wire_change {
	uint32_t size;		/* of all of it, this struct included */
	uint32_t id;		/* comes back with the result */
	uint8_t kind;		/* enum store_change_kind */
	uint8_t flags;
	uint16_t key_len, type_len, if_match_len, if_none_match_len;
	uint16_t reserved[3];
	int64_t unmodified_since_s;
};

_Static_assert(sizeof(struct store_wire_change) == 32, "no holes");

struct store_wire_result {
	uint32_t id;
	uint32_t outcome;	/* enum store_outcome */
	uint64_t serial;
	int64_t modified_s;
	uint32_t random;
	uint32_t reserved;
};

_Static_assert(sizeof(struct store_wire_result) == 32, "no holes");

#define STORE_WIRE_HEAD_MAX                                                                                \
	(sizeof(struct store_wire_change) + STORE_KEY_MAX + STORE_TYPE_MAX + 2 * STORE_CONDITION_MAX)

/* Bytes before the content. */
size_t store_wire_head_len(const struct store_change *c);
/* Writes them; `to` has room for store_wire_head_len(). */
void store_wire_print(const struct store_change *c, uint32_t id, char *to);

enum store_wire_state { STORE_WIRE_MORE, STORE_WIRE_DONE, STORE_WIRE_BAD };

/*
 * The first change in `in`.  DONE: *ret_change points into `in`, *ret_size bytes are its.  MORE: *ret_size is what it takes,
 * or 0 as long as that is not known.  `content_max`: bytes.
 */
enum store_wire_state store_wire_parse(struct span in, uint64_t content_max, struct store_change *ret_change,
				       uint32_t *ret_id, size_t *ret_size);

#endif
