/* SPDX-License-Identifier: MIT */
/*
 * The configuration: read from a file (libconfuse syntax) or made by the one-line commands, checked whole, then
 * immutable and replaced as a whole.  Plain data: building handlers, sockets and maps from it is others' work.
 * docs/configuration.md lists every key.
 */
#ifndef SLUICE_PROC_CONFIG_H
#define SLUICE_PROC_CONFIG_H

#include <linux/types.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "app/upstream.h"
#include "app/channel_bridge.h"
#include "app/websocket_route.h"
#include "base/log.h"
#include "net/sock.h"
#include "steer_shared.h"

struct config_place {		/* where a section or key stands, for errors found later ("cannot bind") */
	const char *file;	/* owned by the config */
	unsigned line;
};

enum sandbox_mode { SANDBOX_OFF, SANDBOX_AUTO, SANDBOX_STRICT };

enum rebalance_mode { REBALANCE_OFF, REBALANCE_AUTO };

struct config_steering {
	enum steer_policy_id policy;
	uint64_t stall_ns;		/* 0 = off */
	uint32_t choices;		/* slots that p2c looks at */
	uint32_t band;			/* connections by which cpu may prefer its slot */
	uint32_t pending_weight;	/* connections that a pending event counts as; 0 = none */
	uint64_t stall_kill_ms;		/* 0 = off */
	uint64_t reservation_ns;	/* bucket; a reservation lives for one to two of them */
	enum rebalance_mode rebalance;
	bool is_required;		/* no BPF is a start-up error */
	bool is_disabled;		/* steering { enabled = false } */
};

struct config_listen {
	struct config_place place;
	char *text;			/* as written */
	union sock_addr addr;
	struct sock_options sock;
	bool has_proxy_protocol;	/* every connection begins with a PROXY protocol header, v1 or v2 */
};

struct config_listen_udp {
	struct config_place place;
	char *text;			/* as written */
	union sock_addr addr;
	char *mode;			/* "echo", or "proxy " and the name of an upstream */
	bool is_one_way, has_gro, is_v6only;
	uint64_t timeout;		/* ms */
	unsigned replies;		/* 0: a session does not end by their number */
	unsigned amplification;		/* bytes out for each byte in; 0: no limit */
	char **verified;		/* "ADDR/BITS" or "ADDR": whom that limit is not for */
	unsigned verified_count;
	unsigned sessions, sessions_total;	/* of a worker at this address; of all at all, 0 = no limit */
	unsigned flows;			/* that the kernel remembers */
	int rcvbuf, sndbuf;		/* bytes, 0 = the kernel's default */
};

enum route_kind {
	ROUTE_FILES, ROUTE_RESPOND, ROUTE_REDIRECT, ROUTE_PROXY, ROUTE_WEBSOCKET, ROUTE_REDIS, ROUTE_STORE, ROUTE_MODULE
};

enum proxy_retry { PROXY_RETRY_OFF, PROXY_RETRY_IDEMPOTENT, PROXY_RETRY_ALL };

/* Of a route with `proxy`.  Times in ms. */
struct config_proxy {
	char *host;			/* Host sent upstream: "client" (as it came), "server" (the server's address), or a literal */
	char *rewrite;			/* replaces the route's prefix in the path; NULL: the path stays as it is */
	uint64_t connect, first_byte, between, total, tunnel;	/* timeouts; total 0 = none */
	enum proxy_retry retry;
	unsigned tries;			/* servers asked at most, the first included */
	uint64_t body;			/* bytes of a request's content; UINT64_MAX: as limits { body } */
	/* "Name: value" (remove: "Name"), checked */
	char **request_set, **request_add, **request_remove;
	unsigned request_set_count, request_add_count, request_remove_count;
	char **response_set, **response_add, **response_remove;
	unsigned response_set_count, response_add_count, response_remove_count;
};

/* Of a route with `websocket`.  Times in ms. */
struct config_websocket {
	unsigned message, frame, queue;	/* bytes */
	uint64_t ping, pong, close;	/* ping 0 = off */
	enum websocket_publish publish;
	bool has_deflate;
	char **origins;
	unsigned origins_count;
};

/* Of a route with `redis`. */
struct config_redis_route {
	char **allow;			/* commands; "*": most */
	unsigned allow_count;
	char *key_prefix;		/* NULL: none */
	uint64_t stream;		/* bytes that may wait for a client that listens to channels */
};

enum store_names { STORE_NAMES_RANDOM, STORE_NAMES_TIME };

/* Of a route with `store`. */
struct config_store_route {
	bool requires_match;		/* a change needs If-Match or If-None-Match */
	enum store_names names;		/* of new resources */
};

/* Of a route with `module`. */
struct config_module_route {
	char *args;			/* NULL: none */
	uint64_t timeout;		/* ms; 0: none */
	char **read;			/* files and folders that it may read */
	unsigned read_count;
	unsigned index;			/* of its path among config.modules */
};

struct config_route {
	struct config_place place;
	char *prefix;
	enum route_kind kind;
	char *value;			/* folder, body, target, name of an upstream, a redis or a store, "echo" or "channel:NAME", path */
	unsigned status;		/* 0 = default of the kind */
	char *type;			/* respond: media type; files: default type; NULL = default */
	char **index;
	unsigned index_count;
	bool has_listing, allows_symlinks, has_precompressed, shows_hidden;
	uint64_t rate;			/* requests of a client per hour; 0: no limit; UINT64_MAX: as limits { rate } */
	unsigned burst;			/* 0: as limits { burst } */
	struct config_proxy proxy;	/* ROUTE_REDIS and ROUTE_MODULE have their body there too */
	struct config_websocket websocket;
	struct config_redis_route redis;
	struct config_store_route store;
	struct config_module_route module;
};

enum check_kind { CHECK_OFF, CHECK_TCP, CHECK_HTTP };

struct config_check {			/* active health checks; times in ms */
	enum check_kind kind;
	char *path;			/* http: what is asked for */
	char *host;			/* http: Host field; NULL: the server's name or address */
	unsigned status_min, status_max;/* http: what counts as well */
	uint64_t interval, timeout;
	unsigned rise, fall;		/* checks in a row that change the verdict */
};

enum server_kind { SERVER_ADDRESS, SERVER_UNIX, SERVER_NAME, SERVER_SRV };

struct config_server {
	struct config_place place;
	char *text;			/* as written: "127.0.0.1:9001", "unix:/run/app.sock", "app.internal:80", "srv:_http._tcp.app" */
	enum server_kind kind;
	union sock_addr addr;		/* SERVER_ADDRESS */
	char *name;			/* path, host name or SRV name */
	uint16_t port;			/* SERVER_NAME */
	unsigned weight, max_connections;	/* 0 connections = no limit */
	uint64_t slow_start;		/* ms, 0 = off */
	bool is_backup, is_drained;
	unsigned first_endpoint, endpoint_count;	/* in the shared table, numbered over all upstreams */
};

enum proxy_protocol { PROXY_PROTOCOL_OFF, PROXY_PROTOCOL_V1, PROXY_PROTOCOL_V2 };

struct config_upstream {		/* times in ms */
	struct config_place place;
	char *name;
	enum upstream_balance balance;
	char *hash;			/* "ip", "uri", "header:NAME", "cookie:NAME"; with BALANCE_HASH */
	unsigned keepalive;		/* idle connections of a worker */
	uint64_t keepalive_time, keepalive_requests;	/* 0 requests = no limit */
	unsigned queue;
	uint64_t queue_time;
	unsigned fails;			/* 0 = never ejected */
	uint64_t fail_window, eject_time;
	unsigned error_percent;		/* 0 = off */
	unsigned retry_percent;		/* retries at most this share of the requests (but always some) */
	enum proxy_protocol send_proxy;
	uint64_t resolve;		/* names are looked up again after this at the latest */
	struct config_check check;
	struct config_server *servers;
	unsigned server_count;
};

struct config_redis {			/* times in ms */
	struct config_place place;
	char *name;
	char *server;			/* as written: as a server of an upstream, or the path of a Unix socket */
	char *user, *password;		/* NULL: none */
	unsigned database;
	unsigned connections, queue;	/* of each worker */
	uint64_t connect, timeout, backoff;
	uint64_t reply;			/* bytes */
	/* Its address is found and kept as that of any other server: "redis:NAME", with one server. */
	struct config_upstream upstream;
};

/* A channel that reaches other hosts; the others need no section. */
struct config_channel {
	struct config_place place;
	char *name;
	char *redis;			/* name of one */
	char *topic;			/* what it is called over there */
	enum channel_gap gap;
};

enum store_engine_kind { STORE_ENGINE_LMDB, STORE_ENGINE_REDIS };

struct config_store {
	struct config_place place;
	char *name;
	enum store_engine_kind engine;
	char *path;			/* lmdb: folder */
	char *redis;			/* redis: name of a redis */
	char *key_prefix;		/* redis: of all its keys; never NULL then */
	uint64_t size;			/* lmdb: bytes of all resources */
	uint64_t value;			/* bytes of one */
	uint64_t memory;		/* bytes of content a worker has in flight */
	uint64_t timeout;		/* lmdb: ms, of a change */
};

/* A process of its own writes it (storer.h). */
static inline bool config_store_has_writer(const struct config_store *s)
{
	return s->engine == STORE_ENGINE_LMDB;
}

#define CONFIG_STORES_MAX 16		/* of lmdb a process each, and a connection to it from each worker */

#define CONFIG_ENDPOINTS_MAX 65535	/* of all servers: struct upstream_lease keeps indexes in 16 bits */

struct config_site {
	struct config_place place;
	char **names;
	unsigned name_count;
	struct config_route *routes;
	unsigned route_count;
};

struct config_limits {
	uint64_t request_line;		/* bytes */
	uint64_t header;		/* bytes of the whole head */
	unsigned header_count;
	uint64_t body;			/* bytes */
	uint64_t requests;		/* per connection, 0 = no limit */
	uint64_t connections;		/* per worker, 0 = by the descriptor limit */
	uint64_t total_connections;	/* of all workers, 0 = no limit; likewise those below */
	unsigned client_connections;
	uint64_t rate;			/* requests of a client per hour */
	unsigned burst;			/* requests at once */
	unsigned clients;		/* that can be counted */
	char *redis;			/* by which hosts share rates; NULL: they do not */
	char *key_prefix;		/* there */
	uint64_t sync;			/* ms, from report to report */
	bool is_closed;			/* without word from there requests are refused; else each host counts for itself */
	char **exempt;			/* "ADDR/BITS" or "ADDR": not limited */
	unsigned exempt_count;
	uint64_t age;			/* ms, of a connection */
	uint32_t header_rate, body_rate, write_rate;	/* bytes per second, at least */
	uint64_t rate_grace;		/* ms */
	uint64_t memory;		/* bytes of buffers, per worker */
};

#define CONFIG_BURST_HOURS_MAX 12u	/* burst / rate, as LIMIT_WINDOW_MAX */
/* The same of rates that hosts share: what a client owes because of twelve of them fits into LIMIT_WINDOW_MAX. */
#define CONFIG_SHARED_BURST_HOURS_MAX 1u

struct config_timeouts {		/* ms */
	uint64_t header, body, keepalive, write, linger, drain;
	uint64_t close_spread;		/* 0 = half of drain */
};

enum log_format { LOG_FORMAT_COMBINED, LOG_FORMAT_JSON };

struct config_log {
	char *access;			/* path, "-" = stdout, NULL = off */
	enum log_format format;
	enum log_level level;
	uint64_t flush_ms;		/* the longest a line waits in a worker's buffer */
};

struct config_cache {			/* open files */
	unsigned entries;
	uint64_t memory, content;	/* bytes */
	uint64_t valid_ms;
};

struct config {
	char *path;			/* NULL: made by a one-line command */
	unsigned workers;		/* 0 = auto */
	char *user;
	char *control;			/* path of the control socket */
	char *pin;			/* folder in bpffs; NULL = no pins */
	bool is_control_given, is_pin_given;	/* not by the file: the command line has replaced what it says */
	char *server_name;		/* Server field; NULL or "" = none */
	enum sandbox_mode sandbox;
	struct config_steering steering;
	struct config_limits limits;
	struct config_timeouts timeouts;
	struct config_log log;
	struct config_cache cache;
	struct config_listen *listens;
	unsigned listen_count;
	struct config_listen_udp *udp_listens;
	unsigned udp_listen_count;
	struct config_site *sites;
	unsigned site_count;
	struct config_upstream *upstreams;
	unsigned upstream_count;
	struct config_redis *redis;
	unsigned redis_count;
	struct config_channel *channels;
	unsigned channel_count;
	unsigned endpoint_count;	/* of all servers */
	struct config_store *stores;
	unsigned store_count;
	const char **modules;		/* paths of all routes with one, each once; the texts are the routes' */
	unsigned module_count;
	char **trusted_proxies;		/* "ADDR/BITS" or "ADDR": whose X-Forwarded-... fields are believed */
	unsigned trusted_proxy_count;
	char **resolvers;		/* "ADDR:PORT" of name servers; none: the system's (/etc/resolv.conf) */
	unsigned resolver_count;
};

/* The upstream that the datagrams of an address go to; NULL: echo, or there is none of that name. */
const struct config_upstream *config_udp_upstream(const struct config *c, const struct config_listen_udp *l);

#define CONFIG_ERRORS_MAX 100

struct config_error {
	char *file;
	unsigned line;		/* 0: the file as a whole */
	unsigned column;	/* byte of `source` the caret points at, from 1; 0: no caret */
	char *source;		/* text of that line, without its end; a part of a very long one */
	char *message;		/* what is wrong and what was expected; valid UTF-8 */
};

struct config_errors {		/* sorted by line */
	unsigned count;
	unsigned omitted;	/* faults beyond CONFIG_ERRORS_MAX */
	struct config_error items[CONFIG_ERRORS_MAX];
};

/* Everything at its default; one listener-less, site-less configuration.  NULL without memory. */
struct config *config_new(void);
void config_free(struct config *c);
/* The upstreams, and behind them those of redis, which are none to routes: whatever has servers with addresses. */
unsigned config_group_count(const struct config *c);
const struct config_upstream *config_group(const struct config *c, unsigned i);
/* The Host field of requests to the server: the port only where it is not the usual one. */
void config_server_host(const struct config_server *s, char *out, size_t size);
/*
 * Reads and checks the file; all faults are collected.  0, or -EINVAL with at least one error and
 * *ret_config NULL.  `errors` need not be initialised; it wants config_errors_free() in both cases.
 */
int config_load(const char *path, struct config **ret_config, struct config_errors *errors);
/* The same of text in memory; `name` stands for the file in errors. */
int config_parse(const char *name, const char *text, struct config **ret_config,
		 struct config_errors *errors);
/*
 * `sluice files DIR [-l ADDR]`: one address (NULL: CONFIG_FILES_LISTEN), one site, folders listed.
 * 0, -EINVAL (address), -ENOENT, -ENOTDIR, -EACCES, -ENOMEM.
 */
#define CONFIG_FILES_LISTEN "127.0.0.1:8080"
int config_for_files(const char *folder, const char *listen, struct config **ret_config);
/*
 * `sluice proxy TO [-l ADDR]`: one address (NULL: CONFIG_FILES_LISTEN), one site, everything to the server TO: a port of
 * this machine, or what a `server` may be called.  Behind http:// it may lack the port, which is 80 then, and may have a
 * final slash.  0, -EINVAL (listen), -EDOM (TO), -ENOMEM.
 */
int config_for_proxy(const char *to, const char *listen, struct config **ret_config);
/*
 * For each error: "FILE:LINE: error: MESSAGE" and, on the next lines, the source line and a caret line where it
 * applies.  `out` may be an open_memstream.
 */
void config_errors_print(const struct config_errors *errors, FILE *out);
void config_errors_free(struct config_errors *errors);
/* Every key with its effective value, in the syntax of the file: parsing it gives the same configuration. */
void config_dump(const struct config *c, FILE *out);

#endif
