/* SPDX-License-Identifier: MIT */
/* What a route leads to. Handlers live in app/ and never include each other. */
#ifndef SLUICE_HTTP_HANDLER_H
#define SLUICE_HTTP_HANDLER_H

#include <stdbool.h>

#include "http/message.h"
#include "http/reply.h"

struct handler_ops {
	const char *name;	/* for logs and status: "files" */
	/*
	 * The head is complete and the request was accepted.  May answer at once, or keep the pointers until it calls
	 * reply_end or reply_abort, or until on_abort.  `conf` is the route's.
	 */
	void (*on_request)(struct request *req, struct reply *reply, void *conf);
	/*
	 * Content of the request as it arrives, unchunked; is_last comes exactly once, with or without data, when the
	 * request has a body at all (framing != BODY_NONE).  NULL: the session drains it (up to limits.body) and nobody
	 * sees it.  Not called after reply_end.
	 */
	void (*on_body)(struct request *req, struct reply *reply, struct span data, bool is_last);
	/*
	 * There may be content that reply_splice_body can take; only with reply->wants_splice.  Content that is in a buffer
	 * already still comes by on_body, before it.
	 */
	void (*on_body_ready)(struct request *req, struct reply *reply);
	/* With reply->wants_pause_note: what the session had at hand has been given, so what was gathered may be sent. */
	void (*on_body_pause)(struct request *req, struct reply *reply);
	/* reply_queued() has fallen.  NULL where the handler never waits for it. */
	void (*on_writable)(struct request *req, struct reply *reply);
	/* The client is gone or the session gave up before reply_end; drop everything, call nothing. NULL: nothing held. */
	void (*on_abort)(struct request *req, struct reply *reply);
	/* Bytes of content that a request of this route may have; NULL: limits.body. */
	uint64_t (*body_max)(const void *conf);
	bool takes_any_method;	/* methods that sluice has not heard of come too; otherwise 501 */
	bool relays_continue;	/* 100 (Continue) is the handler's to send, by reply_interim */
};

#endif
