/* SPDX-License-Identifier: MIT */
/* Lists that several lines may make up: every line of a field, in order, is one list (RFC 9110 5.3). */
#include "http/fields.h"

const struct field *fields_next(const struct fields *f, enum header_id id, const struct field *at)
{
	if (!at)
		return f->known[id] ? &f->first[f->known[id] - 1] : NULL;
	if (!is_repeated(f->duplicates, id))
		return NULL;
	while (++at < f->first + f->count)
		if (at->id == id)
			return at;
	return NULL;
}

struct connection_options fields_connection(const struct fields *f)
{
	struct connection_options found = { false };
	const struct field *at = NULL;
	struct span item;

	while ((at = fields_next(f, HEADER_CONNECTION, at))) {
		struct span list = at->value;

		while (span_next_item(&list, &item)) {
			if (span_ieq(item, SPAN("close")))
				found.has_close = true;
			else if (span_ieq(item, SPAN("keep-alive")))
				found.has_keep_alive = true;
			else if (span_ieq(item, SPAN("upgrade")))
				found.has_upgrade = true;
			else
				found.has_other = true;
		}
	}
	return found;
}

struct transfer_codings fields_codings(const struct fields *f)
{
	struct transfer_codings found = { false };
	const struct field *at = fields_next(f, HEADER_TRANSFER_ENCODING, NULL);
	bool has_chunked = false;
	struct span item;

	/* What everybody sends. */
	if (at && span_eq(at->value, SPAN("chunked")) && !is_repeated(f->duplicates, HEADER_TRANSFER_ENCODING)) {
		found.is_last_chunked = true;
		return found;
	}
	for (; at; at = fields_next(f, HEADER_TRANSFER_ENCODING, at)) {
		struct span list = at->value;

		while (span_next_item(&list, &item)) {
			found.is_last_chunked = span_ieq(item, SPAN("chunked"));
			found.is_chunked_twice |= found.is_last_chunked && has_chunked;
			has_chunked |= found.is_last_chunked;
			found.has_other |= !found.is_last_chunked;
		}
	}
	return found;
}
