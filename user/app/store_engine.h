/* SPDX-License-Identifier: MIT */
/*
 * Between the handler of stores and what keeps the resources: the seam at which an engine is put in.  One engine for each
 * store; every question is asynchronous, though an engine may answer it before the call returns.  store_lmdb.c keeps them
 * in files of this machine, store_redis.c on a Redis server.
 *
 *   a change:    engine->ops->change ... on_changed, once
 *   a read:      engine->ops->get    ... on_value, once
 *   a listing:   engine->ops->list   ... on_item for each, on_listed, once
 *   the asker is gone: engine->ops->forget; nothing is called after it
 */
#ifndef SLUICE_APP_STORE_ENGINE_H
#define SLUICE_APP_STORE_ENGINE_H

#include "app/conditional.h"
#include "app/store_path.h"
#include "net/loop.h"
#include "store_shm.h"

#define STORE_CONDITION_MAX 16384	/* bytes of If-Match or If-None-Match, all their lines together */

/* Of one state of one resource; no other state of any resource has the same. */
struct store_version {
	uint64_t serial;
	uint32_t random;	/* a store that was put back to a copy counts from there again */
};

#define STORE_ETAG_SIZE 40
/* With its quotes; a strong one. */
struct span store_etag_print(const struct store_version *v, char out[STORE_ETAG_SIZE]);

struct store_value {		/* spans: valid during the call */
	struct store_version version;
	int64_t modified_s;
	struct span type, content;
};

enum store_change_kind { STORE_PUT = 1, STORE_CREATE, STORE_DELETE };

struct store_change {
	enum store_change_kind kind;
	struct span key, type, content;
	struct change_conditions conditions;
};

enum store_outcome {
	STORE_CREATED,
	STORE_REPLACED,
	STORE_DELETED,
	STORE_MISSING,		/* nothing there to delete */
	STORE_TAKEN,		/* STORE_CREATE: there is one of that name */
	STORE_MISMATCH,		/* a condition does not hold */
	STORE_FULL,
	STORE_FAILED,		/* the disk, or what the server says */
	STORE_DOWN,		/* there is no server that takes it now: nothing was changed */
	STORE_NO_WRITER,	/* nobody took it in time: nothing was changed */
	STORE_TIMEOUT,		/* no answer in time: changed or not */
	STORE_LOST,		/* who was to change it is gone: changed or not */
	STORE_OUTCOME_COUNT,
};

struct store_result {
	enum store_outcome outcome;
	struct store_version version;	/* CREATED, REPLACED */
	int64_t modified_s;
};

/* One question; embedded in what asks.  Set the callbacks and leave the rest to the engine. */
struct store_ask {
	void (*on_changed)(struct store_ask *a, const struct store_result *r);
	/*
	 * 0; -ENOENT; -EHOSTDOWN: nobody there to be asked for now; -ETIMEDOUT: no answer in time; or another -errno.  Without
	 * 0 `v` is NULL.
	 */
	void (*on_value)(struct store_ask *a, int err, const struct store_value *v);
	/*
	 * `name` is a segment, of a sub-collection with its '/' (`v` is NULL then).  Of the content only the length may be
	 * there.  False: no more of them.
	 */
	bool (*on_item)(struct store_ask *a, struct span name, const struct store_value *v);
	/* `err` likewise.  `has_more`: on_item said false, or the engine has had enough. */
	void (*on_listed)(struct store_ask *a, int err, bool has_more);
	struct timer timer;
	void *pending;		/* the engine's; NULL: nothing is under way */
	void *engine;		/* likewise */
};

struct store_engine;

struct store_engine_ops {
	const char *name;	/* as in the configuration */
	/* In the worker, before any request; 0 or -errno, logged. */
	int (*start)(struct store_engine *e, struct loop *loop);
	/* In the worker, when every request is gone. */
	void (*stop)(struct store_engine *e);
	void (*free)(struct store_engine *e);
	void (*get)(struct store_engine *e, struct store_ask *a, struct span key);
	/* Of the collection `key` what sorts behind `after`; on_item takes at most `limit` of it. */
	void (*list)(struct store_engine *e, struct store_ask *a, struct span key, struct span after, unsigned limit);
	/*
	 * Durable when it answers with success.  `content` is memory of malloc (or NULL) and becomes the engine's; the rest
	 * is copied.
	 */
	void (*change)(struct store_engine *e, struct store_ask *a, const struct store_change *c, char *content);
	void (*forget)(struct store_engine *e, struct store_ask *a);
	/* A new way to whoever writes; the descriptor becomes the engine's.  NULL: it needs none. */
	void (*link)(struct store_engine *e, int fd);
};

struct store_engine {
	const struct store_engine_ops *ops;
};

struct store_lmdb_options {
	const char *name;	/* of the store, for the log; copied */
	const char *path;	/* folder; copied */
	uint64_t timeout_ms;	/* of a change */
};

/* store_lmdb.c.  Opens nothing yet.  0 or -ENOMEM. */
int store_lmdb_new(const struct store_lmdb_options *opt, struct store_engine **ret_engine);

struct redis_server;

struct store_redis_options {
	const char *name;	/* of the store, for the log; copied */
	const char *prefix;	/* of all its keys there; copied */
	struct redis_server *server;	/* started before the store, stopped after its last request */
};

/* Beside the value itself: what a reply that holds one takes at most. */
#define STORE_REDIS_REPLY_EXTRA 2048

/* store_redis.c.  0 or -ENOMEM. */
int store_redis_new(const struct store_redis_options *opt, struct store_engine **ret_engine);

#endif
