/* SPDX-License-Identifier: MIT */
/* What RFC 9112 and 9110 demand of a message whose grammar is right: framing, Host, target,
 * Connection, Expect of a request; framing, Connection, Upgrade of a response. */
#ifndef SLUICE_HTTP_RULES_H
#define SLUICE_HTTP_RULES_H

#include "http/guard.h"

/*
 * Fills everything of *req that the guard did not: method, framing, content_length, host,
 * authority, the target's parts and the flags.  `duplicates` is the guard's.  0, or the status to
 * answer and *ret_why, a short constant.
 */
unsigned rules_apply(struct request *req, uint32_t duplicates, const struct parse_limits *limits,
		     const char **ret_why);

/*
 * The same for a response: framing, content_length, is_keep_alive and has_upgrade.  NULL, or what
 * is wrong with it.
 */
const char *rules_apply_response(struct response *res, uint32_t duplicates, bool is_to_head,
				 const struct parse_limits *limits);

#endif
