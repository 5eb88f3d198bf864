/* SPDX-License-Identifier: MIT */
/*
 * Preconditions.  Entity tags are compared as they stand, quotes included; tags have no escapes
 * (RFC 9110 8.8.3), so a list of them is not a list of quoted strings.
 */
#include "app/conditional.h"

#include "http/reply.h"

/* RFC 9110 8.8.3.2 */
static bool matches_strongly(struct span a, struct span b)
{
	return !conditional_is_weak(a) && !conditional_is_weak(b) && span_eq(a, b);
}

static bool matches_weakly(struct span a, struct span b)
{
	return span_eq(conditional_opaque(a), conditional_opaque(b));
}

bool conditional_next_etag(struct span *list, struct span *ret_etag)
{
	const char *at = list->ptr, *end = list->ptr + list->len, *start, *close;

	while (at < end && (*at == ' ' || *at == '\t' || *at == ','))
		at++;
	start = at;
	if (end - at >= 2 && at[0] == 'W' && at[1] == '/')
		at += 2;
	if (at == end || *at != '"')
		return false;
	close = memchr(at + 1, '"', (size_t)(end - at - 1));
	if (!close)
		return false;
	*ret_etag = span_of(start, (size_t)(close + 1 - start));
	*list = span_of(close + 1, (size_t)(end - close - 1));
	return true;
}

static bool list_matches(struct span list, struct span etag,
			 bool (*is_match)(struct span a, struct span b))
{
	struct span item;

	if (span_eq(list, SPAN("*")))
		return true;
	while (conditional_next_etag(&list, &item)) {
		if (is_match(item, etag))
			return true;
	}
	return false;
}

/* The field may come in several lines, which together are one list (RFC 9110 5.3). */
static bool field_matches(const struct request *req, enum header_id id, struct span etag,
			  bool (*is_match)(struct span a, struct span b))
{
	for (unsigned i = req->known[id] - 1u; i < req->field_count; i++) {
		const struct field *f = &req->fields[i];

		if (f->id == id && list_matches(f->value, etag, is_match))
			return true;
	}
	return false;
}

/* A date that cannot be read leaves its field without effect (RFC 9110 13.1.3, 13.1.4). */
static bool is_modified_since(struct span date, const struct validators *v, bool otherwise)
{
	int64_t since_s;

	if (span_eq(date, v->modified)) /* what clients send: our own words */
		return false;
	if (http_date_parse(date, &since_s))
		return otherwise;
	return v->modified_s > since_s;
}

enum conditional conditional_check(const struct request *req, const struct validators *v)
{
	if (req->known[HEADER_IF_MATCH]) {
		if (!field_matches(req, HEADER_IF_MATCH, v->etag, matches_strongly))
			return CONDITIONAL_FAILED;
	} else if (req->known[HEADER_IF_UNMODIFIED_SINCE]) {
		if (is_modified_since(request_header(req, HEADER_IF_UNMODIFIED_SINCE), v, false))
			return CONDITIONAL_FAILED;
	}
	if (req->known[HEADER_IF_NONE_MATCH]) {
		if (field_matches(req, HEADER_IF_NONE_MATCH, v->etag, matches_weakly))
			return CONDITIONAL_NOT_MODIFIED;
	} else if (req->known[HEADER_IF_MODIFIED_SINCE]) {
		if (!is_modified_since(request_header(req, HEADER_IF_MODIFIED_SINCE), v, true))
			return CONDITIONAL_NOT_MODIFIED;
	}
	return CONDITIONAL_PROCEED;
}

bool conditional_allows_change(const struct change_conditions *c, struct span etag, int64_t modified_s)
{
	if (c->has_if_match) {
		if (!etag.ptr || !list_matches(c->if_match, etag, matches_strongly))
			return false;
	} else if (c->has_unmodified_since && etag.ptr && modified_s > c->unmodified_since_s) {
		return false;
	}
	return !c->has_if_none_match || !etag.ptr || !list_matches(c->if_none_match, etag, matches_weakly);
}

bool conditional_allows_range(const struct request *req, const struct validators *v)
{
	struct span value = request_header(req, HEADER_IF_RANGE);
	int64_t date_s;

	if (!value.ptr)
		return true;
	if (value.len && (value.ptr[0] == '"' || conditional_is_weak(value)))
		return matches_strongly(value, v->etag);
	/* RFC 9110 13.1.5: exactly our date, and only where it is a strong validator. */
	if (!v->is_strong || http_date_parse(value, &date_s))
		return false;
	return date_s == v->modified_s;
}
