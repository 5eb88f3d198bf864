/* SPDX-License-Identifier: MIT */
/*
 * One connection to a Redis server: the asynchronous context of hiredis on our loop.
 *
 *   redis_link_open --> on_up --> redis_link_send ... each ends in its callback --> on_down
 *                 \--------------------------------------------------------------/
 *
 * Commands given within one iteration of the loop leave in one write, at the start of the next.  What hiredis 0.14 leaves
 * to its user is done here: it ends the process (assert) when a server sends what nobody asked for, and bounds neither
 * replies nor arrays.  Both close the connection here.
 * Must not know: what the commands mean, when to connect again; timeouts are the user's, by redis_link_close().
 */
#ifndef SLUICE_NET_REDIS_LINK_H
#define SLUICE_NET_REDIS_LINK_H

#include <hiredis/async.h>
#include <sys/socket.h>

#include "base/span.h"
#include "net/loop.h"

struct redis_link {
	struct loop *loop;
	/* The connection is made; nothing is known of the server yet.  It may not be closed here: hiredis still uses it. */
	void (*on_up)(struct redis_link *l);
	/* It is gone, or was never made; every callback has been called.  `why` lasts for the call.  May not open it anew. */
	void (*on_down)(struct redis_link *l, const char *why);
	size_t reply_max;		/* bytes of one reply as it lies in memory; more closes the connection */
	bool is_push;			/* is for subscriptions, and for nothing else */
	/* private */
	redisAsyncContext *context;	/* NULL: closed */
	struct io io;
	struct job job;
	const char *why;		/* we closed it; NULL: ask hiredis */
	size_t reply_size;
	bool is_connected, is_blocked;	/* blocked: the kernel took no more, EPOLLOUT is awaited */
	bool is_paused;			/* nothing more is read */
};

/* `why` of on_down after a reply, that to the oldest command, went beyond the limit. */
extern const char redis_link_too_large[];

/* Closed.  The callbacks and limits are to be set by the caller. */
void redis_link_init(struct redis_link *l, struct loop *loop);
/* Begins to connect.  0: on_up or on_down follows, never before it returns; -errno: neither. */
int redis_link_open(struct redis_link *l, const struct sockaddr *addr, socklen_t len);
/*
 * Calls the callbacks of all commands with NULL, then on_down with `why` (a constant); from within one of its callbacks:
 * as soon as that has returned.  Harmless when closed.
 */
void redis_link_close(struct redis_link *l, const char *why);
/*
 * While paused nothing more is read: what the server sends waits at the kernel, and then over there.  What has been read
 * is still passed on.  A connection begins unpaused; harmless when closed.
 */
void redis_link_pause(struct redis_link *l, bool is_paused);
/* Writes at once what is waiting, as far as the kernel takes it. */
void redis_link_flush(struct redis_link *l);

/* Takes commands; false while it is being closed, in callbacks that get NULL. */
static inline bool redis_link_is_usable(const struct redis_link *l)
{
	return l->context && !(l->context->c.flags & (REDIS_DISCONNECTING | REDIS_FREEING));
}

/*
 * A command in the protocol's form (redisFormatSdsCommandArgv), copied.  `fn` is called once, with the reply, which is
 * hiredis's, or NULL: it has not come, and will not.  0, or -ENOTCONN: `fn` is not called.
 */
int redis_link_send(struct redis_link *l, struct span command, redisCallbackFn *fn, void *ctx);
/* One of few, and short: its words. */
int redis_link_send_words(struct redis_link *l, unsigned count, const struct span *words, redisCallbackFn *fn, void *ctx);

#endif
