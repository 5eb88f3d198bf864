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

/* Step 5: may Range be followed?  True without If-Range. */
bool conditional_allows_range(const struct request *req, const struct validators *v);

#endif
