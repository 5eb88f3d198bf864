/* SPDX-License-Identifier: MIT */
/*
 * Names by which a request is found again in the logs of every process it went through:
 * X-Request-Id and traceparent (W3C Trace Context).  What came is passed on where it is valid.
 */
#ifndef SLUICE_HTTP_TRACE_H
#define SLUICE_HTTP_TRACE_H

#include "base/buf.h"
#include "http/message.h"

#define REQUEST_ID_MAX 128

/*
 * The one X-Request-Id that came, if it is at most REQUEST_ID_MAX bytes of letters, digits and
 * "._~+/=-"; else a new one, 128 random bits in hexadecimal.
 */
void trace_print_request_id(struct buf *b, const struct request *req);

/*
 * The one traceparent that came, if it is valid; else a new one if `makes_one`.  False: nothing was
 * printed.  *ret_is_new: what came was not passed on, and a tracestate that came with it must not
 * be either (section 3.3 of the recommendation).
 */
bool trace_print_parent(struct buf *b, const struct request *req, bool makes_one, bool *ret_is_new);

bool trace_is_parent(struct span value);

#endif
