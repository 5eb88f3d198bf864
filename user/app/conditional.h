/* SPDX-License-Identifier: MIT */
/* Conditional requests (RFC 9110 section 13), as pure functions. */
#ifndef SLUICE_APP_CONDITIONAL_H
#define SLUICE_APP_CONDITIONAL_H

#include "http/message.h"

/* What identifies the selected representation. */
struct validators {
	struct span etag;     /* with its quotes, and W/ where it is weak */
	struct span modified; /* as sent in Last-Modified */
	int64_t modified_s;   /* the same, seconds since the epoch */
	bool is_strong; /* the representation cannot have changed within the second of `modified` */
};

enum conditional {
	CONDITIONAL_PROCEED,
	CONDITIONAL_NOT_MODIFIED, /* 304 */
	CONDITIONAL_FAILED,	  /* 412 */
};

/* Is there any precondition at all (If-Range aside)? */
static inline bool conditional_is_asked(const struct request *req)
{
	return req->known[HEADER_IF_MATCH] | req->known[HEADER_IF_NONE_MATCH] |
	       req->known[HEADER_IF_MODIFIED_SINCE] | req->known[HEADER_IF_UNMODIFIED_SINCE];
}

/* Steps 1 to 4 of RFC 9110 13.2.2 for an existing representation and GET or HEAD. */
enum conditional conditional_check(const struct request *req, const struct validators *v);

/* What a request that changes something asks for, taken out of the request: it may be decided elsewhere. */
struct change_conditions {
	struct span if_match, if_none_match; /* lists of entity tags, or "*" */
	bool has_if_match, has_if_none_match, has_unmodified_since;
	int64_t unmodified_since_s;
};

/*
 * Takes the next entity tag off a list.  False at its end or where it is malformed: what follows matches nothing.
 */
bool conditional_next_etag(struct span *list, struct span *ret_etag);

static inline bool conditional_is_weak(struct span etag)
{
	return etag.len >= 2 && etag.ptr[0] == 'W' && etag.ptr[1] == '/';
}

/* Without W/. */
static inline struct span conditional_opaque(struct span etag)
{
	return conditional_is_weak(etag) ? span_of(etag.ptr + 2, etag.len - 2) : etag;
}

/*
 * Steps 1 to 3 of RFC 9110 13.2.2 for other methods: may the change be made?  `etag` and `modified_s` are of what is
 * there; nothing is: the etag's ptr is NULL.  False: 412.
 */
bool conditional_allows_change(const struct change_conditions *c, struct span etag, int64_t modified_s);

/* Step 5: may Range be followed?  True without If-Range. */
bool conditional_allows_range(const struct request *req, const struct validators *v);

#endif
