/* SPDX-License-Identifier: MIT */
/*
 * A Redis server as a worker uses it: a few connections that all requests share.  Commands are pipelined, each answer
 * goes to whoever asked.  Knows nothing of HTTP; for routes with `redis`, and for whatever else asks a Redis server.
 *
 *   redis_server_new (master) -> redis_server_start (worker) -> redis_server_call ... -> redis_server_stop
 *
 * A call ends in one of its two callbacks, unless it is cancelled.  While no connection is ready calls wait, as long as
 * one is being made; while all of them pause, a call fails at once.  A connection whose oldest command has had no answer
 * for twice the time a call may take is given up: whatever is wrong there, what comes over it is too late.
 */
#ifndef SLUICE_APP_REDIS_SERVER_H
#define SLUICE_APP_REDIS_SERVER_H

#include "app/redis_commands.h"
#include "app/redis_conn.h"

#define REDIS_WORDS_MAX	      1024u	/* of a command, its name included */
#define REDIS_CONNECTIONS_MAX 16u	/* of a worker to one server */

struct redis_server_options {	/* texts are copied; NULL: none */
	const char *name, *user, *password;
	unsigned database;
	unsigned connections;		/* of each worker, 1 to REDIS_CONNECTIONS_MAX */
	unsigned queue_max;		/* calls of a worker that wait, or for whose answer it waits */
	uint64_t connect_ms, timeout_ms, pause_max_ms;
	uint64_t reply_max;		/* bytes */
	unsigned first_endpoint, endpoint_count;	/* in the shared table */
};

enum redis_failure {
	REDIS_CALL_FINE,
	REDIS_CALL_DOWN,	/* there is no connection; nothing was sent */
	REDIS_CALL_LOST,	/* the connection was lost while it waited for the answer: nobody knows whether it was done */
	REDIS_CALL_TOO_LARGE,	/* the answer was */
	REDIS_CALL_TIMEOUT,	/* likewise, no answer in time */
	REDIS_CALL_FULL,	/* too many wait already */
	REDIS_CALL_MEMORY,
};

/* In words for the log: "redis_down" ... */
const char *redis_failure_name(enum redis_failure why);

struct redis_server;
struct redis_pending;

struct redis_call {		/* embedded by whoever asks, zeroed before its first use */
	/* The reply is borrowed; errors of the server are replies too. */
	void (*on_reply)(struct redis_call *c, const redisReply *reply);
	void (*on_failed)(struct redis_call *c, enum redis_failure why);
	struct redis_pending *pending;	/* private; NULL: not under way */
};

/* 0 or -ENOMEM. */
int redis_server_new(const struct redis_server_options *opt, struct redis_server **ret_server);
/* NULL is allowed. */
void redis_server_free(struct redis_server *s);
/* `stats`: where its worker counts; outlives the server. */
void redis_server_start(struct redis_server *s, struct loop *loop, const struct upstream_table *table,
			struct stats_redis *stats);
/* Every call must have ended.  Harmless when it was not started. */
void redis_server_stop(struct redis_server *s);

/*
 * Sends a command of up to REDIS_WORDS_MAX words, which are copied.  FINE: a callback follows, never before this returns;
 * else none does.
 */
enum redis_failure redis_server_call(struct redis_server *s, struct redis_call *c, unsigned count, const struct span *words);
/* Nobody is called; the command may be done all the same.  Harmless when not under way. */
void redis_call_cancel(struct redis_call *c);

/* What is to be sent leaves at once, as far as it can: before the end. */
void redis_server_flush(struct redis_server *s);

/* What the server says of its commands; NULL: nothing so far. */
const struct redis_commands *redis_server_commands(const struct redis_server *s);
/* For connections of others to the same server (redis_channel.h). */
const struct redis_access *redis_server_access(const struct redis_server *s);
struct loop *redis_server_loop(const struct redis_server *s);

#endif
