/* SPDX-License-Identifier: MIT */
/* The fields of a head, a request's or a response's, as the rules read them: those of one id as one list. */
#ifndef SLUICE_HTTP_FIELDS_H
#define SLUICE_HTTP_FIELDS_H

#include "http/message.h"

struct fields {
	const struct field *first;
	const uint8_t *known;
	unsigned count;
	uint32_t duplicates;	/* bit 1 << id: more than one field of that id */
};

_Static_assert(HEADER_COUNT <= 32, "duplicates is a bit each");

static inline bool is_repeated(uint32_t duplicates, enum header_id id)
{
	return duplicates & 1u << id;
}

/* The field after `at` (NULL: the first) with this id, or NULL. */
const struct field *fields_next(const struct fields *f, enum header_id id, const struct field *at);

/* Connection (RFC 9110 7.6.1). */
struct connection_options {
	bool has_close, has_keep_alive, has_upgrade;
	bool has_other;		/* a name of a field that belongs to this connection only, mostly */
};
struct connection_options fields_connection(const struct fields *f);

/* Transfer-Encoding (RFC 9112 6.1). */
struct transfer_codings {
	bool is_chunked_twice;
	bool is_last_chunked;	/* false too where there is no coding at all */
	bool has_other;		/* than chunked */
};
struct transfer_codings fields_codings(const struct fields *f);

#endif
