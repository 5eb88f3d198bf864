/* SPDX-License-Identifier: MIT */
/*
 * What a configuration becomes: sites with routes, handlers with their open folders, the cache of open files.  Built by
 * the master with its rights (a folder may be readable only for it), then inherited by the workers; never changed.
 */
#ifndef SLUICE_PROC_RUNTIME_H
#define SLUICE_PROC_RUNTIME_H

#include "app/redis_server.h"
#include "config/config.h"
#include "http/route.h"
#include "http/server.h"
#include "net/cidr.h"
#include "net/loop.h"

struct file_cache;
struct proxy;
struct proxy_group;
struct bus;
struct websocket_bus;
struct websockets;
struct channel_bridge;
struct redis_service;
struct stats_redis;
struct store;
struct store_stats;
struct module;
struct module_stats;

struct runtime {
	const struct config *config;	/* not owned */
	struct site_table *sites;
	struct file_cache *cache;
	struct proxy *proxy;		/* NULL: no upstream is configured */
	struct upstream **upstreams;	/* in the order of the configuration */
	struct proxy_group **groups;	/* likewise */
	unsigned upstream_count;
	struct cidr_set *verified;	/* of each listen_udp */
	struct websockets *websockets;	/* NULL: no route has one */
	struct websocket_bus *bus;	/* their way to other workers; NULL: nothing to publish */
	struct channel_bridge **bridges;	/* of channels to other hosts, one for each redis that has some */
	unsigned bridge_count;
	struct redis_service **redis;	/* in the order of the configuration */
	unsigned redis_count;
	struct store **stores;		/* likewise */
	unsigned store_count;
	struct module **modules;	/* likewise */
	struct cidr_set trusted, exempt;
	struct limit_rate *rates;	/* [0] that of all routes without one of their own */
	unsigned rate_count;
	bool is_started;
	const struct loop *loop;	/* of the worker; NULL until it has one */
};

/*
 * `file_limit`: descriptors a worker may open, of which the cache takes at most a quarter.
 * 0 or -errno; what could not be built has then been logged with its place in the file.
 */
int runtime_new(const struct config *config, unsigned file_limit, struct runtime **ret_runtime);
/* What a worker has. */
struct runtime_options {
	struct loop *loop;
	struct stats_block *stats;
	const struct upstream_table *table;
	struct bus *bus;		/* NULL: no channel is configured */
	struct store_stats *const *store_stats;	/* of each store; NULL: there is none */
	struct module_stats *module_stats;	/* of this worker, for each module; NULL: there is none */
	unsigned worker;		/* slot */
	unsigned file_limit;
};

/* In the worker, before its first connection and before the sandbox.  0, or -errno after logging why. */
int runtime_start(struct runtime *rt, const struct runtime_options *opt);
/* A connection to the writer of that store; takes the descriptor. */
void runtime_link_store(struct runtime *rt, unsigned store, int fd);
/* runtime_redis.c: what a worker's part in that server is made of, the texts borrowed. */
struct redis_server_options runtime_redis_options(const struct config_redis *conf);
/* Idle connections to servers are closed, streams of messages end, modules are told, others when their requests have ended. */
void runtime_drain(struct runtime *rt);
/* The server stops: WebSockets are told to leave, spread evenly over that time. */
void runtime_drain_websockets(struct runtime *rt, uint64_t within_ms);
/* Is there a route whose messages go from worker to worker? */
bool runtime_has_channels(const struct config *config);
/* In the worker, when every session is gone. */
void runtime_stop(struct runtime *rt);
/* The largest content that any route takes, in bytes. */
uint64_t runtime_body_max(const struct runtime *rt);
/* runtime_limits.c: all of the limits but the tables and the worker's row in them. */
void runtime_fill_limits(struct runtime *rt, struct server_limits *ret_limits);
/* Whether requests or connections are to be counted in shared memory. */
bool runtime_wants_rates(const struct runtime *rt);
bool runtime_wants_counts(const struct runtime *rt);
/* The most that any client can owe, in units of the table. */
uint64_t runtime_debt_max(const struct runtime *rt);
void runtime_free(struct runtime *rt);

#endif
