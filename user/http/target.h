/* SPDX-License-Identifier: MIT */
/*
 * Request targets (RFC 9112 3.2) and paths (RFC 3986): the four forms, percent-decoding, removal of
 * dot segments. Pure functions.
 */
#ifndef SLUICE_HTTP_TARGET_H
#define SLUICE_HTTP_TARGET_H

#include <sys/types.h>

#include "http/message.h"

/*
 * Fills target's parts of the request (raw_path, path, query, and authority/host for the absolute
 * and the authority form) from req->target and req->method.  `path` uses req->scratch only when
 * decoding changes something. 0, or the status to answer: 400 (bad form, bad escape, NUL, a path
 * that climbs above its root), 414.
 */
unsigned target_parse(struct request *req);

/*
 * Decodes and normalises a path into `to` (as long as `raw` is enough): %XX, then "." and "..",
 * then merged slashes. Length, or -EINVAL: malformed escape, %00, or ".." above the root.
 */
ssize_t path_normalize(struct span raw, char *to);

/* "host[:port]" of a Host field or an authority; 0 or -EINVAL (empty, user information, bad
 * characters or port). */
int authority_split(struct span authority, struct span *ret_host, struct span *ret_port);

#endif
