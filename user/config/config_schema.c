/* SPDX-License-Identifier: MIT */
/* The tables, one for each section, and look-ups in them. */
#include "config/config_schema.h"

#include <limits.h>
#include <stddef.h>

#include "app/redis_server.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "config/config_units.h"
#include "http/message.h"

/* A head is parsed where it lies, in one buffer of the pool. */
#define HEAD_MAX 16384

#define FIELD(type, member)                                                                        \
	.offset = offsetof(struct type, member), .width = sizeof(((struct type *)0)->member)
#define BOOL(type, member, def) .kind = KIND_BOOL, FIELD(type, member), .initial = def
#define COUNT(type, member, lo, hi, word, def)                                                     \
	.kind = KIND_COUNT, FIELD(type, member), .min = lo, .max = hi, .zero = word, .initial = def
#define SIZE(type, member, lo, hi, word, def)                                                      \
	.kind = KIND_SIZE, FIELD(type, member), .min = lo, .max = hi, .zero = word, .initial = def
/* lo and hi in the unit of the field. */
#define DURATION(type, member, unit, lo, hi, word, def)                                            \
	.kind = KIND_DURATION, FIELD(type, member), .unit_ns = unit, .min = lo, .max = hi,         \
	.zero = word, .initial = def
#define RATE(type, member, def)                                                                    \
	.kind = KIND_RATE, FIELD(type, member), .min = 1, .max = LIMIT_RATE_MAX, .zero = "off",    \
	.initial = def
#define CHOICE(type, member, names, def)                                                           \
	.kind = KIND_CHOICE, FIELD(type, member), .choices = names, .initial = def
#define TEXT(type, member, word, fn, def)                                                          \
	.kind = KIND_TEXT, FIELD(type, member), .zero = word, .check = fn, .initial = def
#define LIST(type, member, fn, def)                                                                \
	.kind = KIND_LIST, FIELD(type, member),                                                    \
	.count_offset = offsetof(struct type, member##_count), .check = fn, .initial = def
#define HANDLER(id, fn) .kind = KIND_HANDLER, FIELD(config_route, value), .handler = id, .check = fn

#define HOUR_MS UINT64_C(3600000)
#define DAY_MS	(24 * HOUR_MS)
#define KIB	UINT64_C(1024)
#define MIB	(KIB * KIB)
#define GIB	(KIB * MIB)
#define PIB	(GIB * MIB)

/* Per hour: a request then costs a hundred units of the table, so that a rate is exact to a percent. */
#define LIMIT_RATE_MAX (100000 * UINT64_C(3600))

#define FOR_FILES   (1u << ROUTE_FILES)
#define FOR_RESPOND (1u << ROUTE_RESPOND)
#define FOR_REPLIES (FOR_RESPOND | 1u << ROUTE_REDIRECT)
#define FOR_PROXY   (1u << ROUTE_PROXY)
#define FOR_SOCKET  (1u << ROUTE_WEBSOCKET)
#define FOR_REDIS   (1u << ROUTE_REDIS)
#define FOR_SOCKETS (FOR_SOCKET | FOR_REDIS)
#define FOR_STORE   (1u << ROUTE_STORE)
#define FOR_MODULE  (1u << ROUTE_MODULE)

static const char *const policies[] = {[STEER_HASH] = "hash",
				       [STEER_LEAST] = "least",
				       [STEER_RR] = "rr",
				       [STEER_P2C] = "p2c",
				       [STEER_WEIGHTED] = "weighted",
				       [STEER_CPU] = "cpu",
				       [STEER_BUSY] = "busy",
				       NULL};
static const char *const rebalance_modes[] = {
	[REBALANCE_OFF] = "off", [REBALANCE_AUTO] = "auto", NULL};
static const char *const sandbox_modes[] = {
	[SANDBOX_OFF] = "off", [SANDBOX_AUTO] = "auto", [SANDBOX_STRICT] = "strict", NULL};
static const char *const formats[] = {
	[LOG_FORMAT_COMBINED] = "combined", [LOG_FORMAT_JSON] = "json", NULL};
static const char *const levels[] = {[LOG_ERROR] = "error",
				     [LOG_WARN] = "warn",
				     [LOG_INFO] = "info",
				     [LOG_DEBUG] = "debug",
				     NULL};

static const char *const balances[] = {[BALANCE_RR] = "rr",
				       [BALANCE_LEAST] = "least",
				       [BALANCE_P2C] = "p2c",
				       [BALANCE_RANDOM] = "random",
				       [BALANCE_WEIGHTED] = "weighted",
				       [BALANCE_HASH] = "hash",
				       NULL};
static const char *const proxy_versions[] = {[PROXY_PROTOCOL_OFF] = "off",
					     [PROXY_PROTOCOL_V1] = "v1",
					     [PROXY_PROTOCOL_V2] = "v2",
					     NULL};
static const char *const check_types[] = {
	[CHECK_OFF] = "off", [CHECK_TCP] = "tcp", [CHECK_HTTP] = "http", NULL};
static const char *const retries[] = {[PROXY_RETRY_OFF] = "off",
				      [PROXY_RETRY_IDEMPOTENT] = "idempotent",
				      [PROXY_RETRY_ALL] = "all",
				      NULL};

static const char *const publishers[] = {[WEBSOCKET_PUBLISH_OFF] = "off",
					 [WEBSOCKET_PUBLISH_LOCAL] = "local",
					 [WEBSOCKET_PUBLISH_ANY] = "any",
					 NULL};
static const char *const gaps[] = {
	[CHANNEL_GAP_KEEP] = "keep", [CHANNEL_GAP_CLOSE] = "close", NULL};
static const char *const store_engines[] = {
	[STORE_ENGINE_LMDB] = "lmdb", [STORE_ENGINE_REDIS] = "redis", NULL};
static const char *const store_names[] = {
	[STORE_NAMES_RANDOM] = "random", [STORE_NAMES_TIME] = "time", NULL};

static const struct config_key root_keys[] = {
	{"workers", COUNT(config, workers, 1, STEER_MAX_SLOTS, "auto", "auto")},
	{"user", TEXT(config, user, NULL, config_check_user, "nobody")},
	{"control", TEXT(config, control, NULL, config_check_control, "/run/sluice/control.sock")},
	{"pin", TEXT(config, pin, "off", config_check_pin, "/sys/fs/bpf/sluice")},
	{"server_name", TEXT(config, server_name, "off", config_check_server, "sluice")},
	{"sandbox", CHOICE(config, sandbox, sandbox_modes, "auto")},
	{"trusted_proxies", .kind = KIND_LIST, FIELD(config, trusted_proxies),
	 .count_offset = offsetof(struct config, trusted_proxy_count),
	 .check = config_check_network},
	{"resolvers", .kind = KIND_LIST, FIELD(config, resolvers),
	 .count_offset = offsetof(struct config, resolver_count), .check = config_check_resolver},
};

static const struct config_key steering_keys[] = {
	{"enabled", BOOL(config, steering.is_disabled, "true"), .is_inverted = true},
	{"required", BOOL(config, steering.is_required, "false")},
	{"policy", CHOICE(config, steering.policy, policies, "least")},
	{"choices", COUNT(config, steering.choices, 1, STEER_MAX_CHOICES, NULL, "2")},
	{"band", COUNT(config, steering.band, 0, STEER_MAX_BAND, NULL, "8")},
	{"pending_weight",
	 COUNT(config, steering.pending_weight, 0, STEER_MAX_PENDING_WEIGHT, NULL, "0")},
	{"stall",
	 DURATION(config, steering.stall_ns, CONFIG_NS, CONFIG_MS, 60 * CONFIG_SEC, "off", "20ms")},
	{"stall_kill",
	 DURATION(config, steering.stall_kill_ms, CONFIG_MS, 100, DAY_MS, "off", "off")},
	{"reservation", DURATION(config, steering.reservation_ns, CONFIG_NS, 10 * CONFIG_MS,
				 60 * CONFIG_SEC, "off", "500ms")},
	{"rebalance", CHOICE(config, steering.rebalance, rebalance_modes, "off")},
};

static const struct config_key listen_keys[] = {
	{"backlog", COUNT(config_listen, sock.backlog, 1, 1 << 20, NULL, "4096")},
	{"nodelay", BOOL(config_listen, sock.has_nodelay, "true")},
	{"defer_accept",
	 DURATION(config_listen, sock.defer_accept_s, CONFIG_SEC, 1, 3600, "off", "off")},
	{"keepalive",
	 DURATION(config_listen, sock.keepalive_s, CONFIG_SEC, 1, 32767, "off", "off")},
	{"fastopen", COUNT(config_listen, sock.fastopen, 1, 65535, "off", "off")},
	{"busy_poll",
	 DURATION(config_listen, sock.busy_poll_us, CONFIG_US, 1, 1000000, "off", "off")},
	{"v6only", BOOL(config_listen, sock.is_v6only, "false")},
	{"rcvbuf", SIZE(config_listen, sock.rcvbuf, 2 * KIB, GIB, "auto", "auto")},
	{"sndbuf", SIZE(config_listen, sock.sndbuf, 4 * KIB, GIB, "auto", "auto")},
	{"unsent", SIZE(config_listen, sock.unsent, 4 * KIB, GIB, "off", "128k")},
	{"proxy_protocol", BOOL(config_listen, has_proxy_protocol, "false")},
};

static const struct config_key listen_udp_keys[] = {
	{"udp", TEXT(config_listen_udp, mode, NULL, config_check_udp, NULL)},
	{"timeout", DURATION(config_listen_udp, timeout, CONFIG_MS, 10, DAY_MS, NULL, "60s")},
	{"replies", COUNT(config_listen_udp, replies, 1, 65535, "off", "off")},
	{"one_way", BOOL(config_listen_udp, is_one_way, "false")},
	{"amplification", COUNT(config_listen_udp, amplification, 1, 65535, "off", "off")},
	{"verified", LIST(config_listen_udp, verified, config_check_network, NULL)},
	{"sessions", COUNT(config_listen_udp, sessions, 1, 1 << 20, NULL, "4096")},
	{"sessions_total", COUNT(config_listen_udp, sessions_total, 1, 1 << 24, "off", "off")},
	{"flows", COUNT(config_listen_udp, flows, 1024, 1 << 24, NULL, "65536")},
	{"gro", BOOL(config_listen_udp, has_gro, "true")},
	{"v6only", BOOL(config_listen_udp, is_v6only, "false")},
	{"rcvbuf", SIZE(config_listen_udp, rcvbuf, 4 * KIB, GIB, "auto", "auto")},
	{"sndbuf", SIZE(config_listen_udp, sndbuf, 4 * KIB, GIB, "auto", "auto")},
};

static const struct config_key upstream_keys[] = {
	{"balance", CHOICE(config_upstream, balance, balances, "least")},
	{"hash", TEXT(config_upstream, hash, NULL, config_check_hash, NULL)},
	{"keepalive", COUNT(config_upstream, keepalive, 1, 65536, "off", "64")},
	{"keepalive_time",
	 DURATION(config_upstream, keepalive_time, CONFIG_MS, 10, DAY_MS, NULL, "60s")},
	{"keepalive_requests",
	 COUNT(config_upstream, keepalive_requests, 1, UINT32_MAX, "off", "off")},
	{"queue", COUNT(config_upstream, queue, 1, 65536, "off", "off")},
	{"queue_time", DURATION(config_upstream, queue_time, CONFIG_MS, 10, HOUR_MS, NULL, "5s")},
	{"fails", COUNT(config_upstream, fails, 1, 65535, "off", "3")},
	{"fail_window",
	 DURATION(config_upstream, fail_window, CONFIG_MS, 10, HOUR_MS, NULL, "10s")},
	{"eject_time", DURATION(config_upstream, eject_time, CONFIG_MS, 10, DAY_MS, NULL, "10s")},
	{"error_percent", COUNT(config_upstream, error_percent, 1, 100, "off", "off")},
	{"retry_percent", COUNT(config_upstream, retry_percent, 0, 1000, NULL, "20")},
	{"send_proxy", CHOICE(config_upstream, send_proxy, proxy_versions, "off")},
	{"resolve", DURATION(config_upstream, resolve, CONFIG_MS, 100, DAY_MS, NULL, "30s")},
};

static const struct config_key server_keys[] = {
	{"weight", COUNT(config_server, weight, 1, 65535, NULL, "1")},
	{"max_connections", COUNT(config_server, max_connections, 1, 1 << 24, "off", "off")},
	{"slow_start", DURATION(config_server, slow_start, CONFIG_MS, 10, DAY_MS, "off", "off")},
	{"backup", BOOL(config_server, is_backup, "false")},
	{"drain", BOOL(config_server, is_drained, "false")},
};

static const struct config_key check_keys[] = {
	{"type", CHOICE(config_check, kind, check_types, "http")},
	{"path", TEXT(config_check, path, NULL, config_check_target, "/")},
	{"host", TEXT(config_check, host, NULL, config_check_host, NULL)},
	{"status", .kind = KIND_RANGE, FIELD(config_check, status_min),
	 .count_offset = offsetof(struct config_check, status_max), .min = 100, .max = 599,
	 .initial = "200-399"},
	{"interval", DURATION(config_check, interval, CONFIG_MS, 10, DAY_MS, NULL, "2s")},
	{"timeout", DURATION(config_check, timeout, CONFIG_MS, 10, HOUR_MS, NULL, "1s")},
	{"rise", COUNT(config_check, rise, 1, 1000, NULL, "2")},
	{"fall", COUNT(config_check, fall, 1, 1000, NULL, "3")},
};

static const struct config_key redis_keys[] = {
	{"server", TEXT(config_redis, server, NULL, NULL, "127.0.0.1:6379")},
	{"user", TEXT(config_redis, user, NULL, config_check_secret, NULL)},
	{"password", TEXT(config_redis, password, NULL, config_check_secret, NULL)},
	{"database", COUNT(config_redis, database, 0, 65535, NULL, "0")},
	{"connections", COUNT(config_redis, connections, 1, REDIS_CONNECTIONS_MAX, NULL, "2")},
	{"queue", COUNT(config_redis, queue, 1, 65536, NULL, "4096")},
	{"connect_timeout", DURATION(config_redis, connect, CONFIG_MS, 10, HOUR_MS, NULL, "1s")},
	{"timeout", DURATION(config_redis, timeout, CONFIG_MS, 10, HOUR_MS, NULL, "1s")},
	{"backoff", DURATION(config_redis, backoff, CONFIG_MS, 10, HOUR_MS, NULL, "500ms")},
	{"reply", SIZE(config_redis, reply, KIB, GIB, NULL, "16m")},
};

static const struct config_key channel_keys[] = {
	{"redis", TEXT(config_channel, redis, NULL, NULL, NULL)},
	{"topic", TEXT(config_channel, topic, NULL, config_check_topic, NULL)},
	{"on_gap", CHOICE(config_channel, gap, gaps, "keep")},
};

#define FOR_LMDB     .store_engines = 1u << STORE_ENGINE_LMDB
#define FOR_REDIS_DB .store_engines = 1u << STORE_ENGINE_REDIS

/* `path` has no default: two stores may not have the same. */
static const struct config_key store_keys[] = {
	{"path", TEXT(config_store, path, NULL, config_check_store_path, NULL), FOR_LMDB},
	{"redis", TEXT(config_store, redis, NULL, config_check_upstream_name, NULL), FOR_REDIS_DB},
	{"key_prefix", TEXT(config_store, key_prefix, NULL, config_check_key_prefix, NULL), FOR_REDIS_DB},
	{"engine", CHOICE(config_store, engine, store_engines, "lmdb")},
	{"size", SIZE(config_store, size, MIB, 1024 * GIB, NULL, "1g"), FOR_LMDB},
	{"value", SIZE(config_store, value, KIB, 16 * MIB, NULL, "1m")},
	{"memory", SIZE(config_store, memory, MIB, 64 * GIB, NULL, "64m")},
	{"timeout", DURATION(config_store, timeout, CONFIG_MS, 10, HOUR_MS, NULL, "10s"), FOR_LMDB},
};

#define WAIT(member, hi, word, def)                                                                \
	DURATION(config_route, proxy.member, CONFIG_MS, 10, hi, word, def), .route_kinds = FOR_PROXY
#define FIELDS(member, fn) LIST(config_route, proxy.member, fn, NULL), .route_kinds = FOR_PROXY

static const struct config_key route_keys[] = {
	{"files", HANDLER(ROUTE_FILES, config_check_folder)},
	{"respond", HANDLER(ROUTE_RESPOND, NULL)},
	{"redirect", HANDLER(ROUTE_REDIRECT, config_check_redirect)},
	{"proxy", HANDLER(ROUTE_PROXY, NULL)},
	{"websocket", HANDLER(ROUTE_WEBSOCKET, config_check_websocket)},
	{"redis", HANDLER(ROUTE_REDIS, NULL)},
	{"store", HANDLER(ROUTE_STORE, NULL)},
	{"module", HANDLER(ROUTE_MODULE, config_check_module)},
	{"status", COUNT(config_route, status, 200, 599, NULL, NULL), .route_kinds = FOR_REPLIES},
	{"type", TEXT(config_route, type, NULL, config_check_type, NULL),
	 .route_kinds = FOR_FILES | FOR_RESPOND},
	{"index", LIST(config_route, index, config_check_file_name, "index.html"),
	 .route_kinds = FOR_FILES},
	{"listing", BOOL(config_route, has_listing, "false"), .route_kinds = FOR_FILES},
	{"symlinks", BOOL(config_route, allows_symlinks, "false"), .route_kinds = FOR_FILES},
	{"precompressed", BOOL(config_route, has_precompressed, "false"), .route_kinds = FOR_FILES},
	{"hidden", BOOL(config_route, shows_hidden, "false"), .route_kinds = FOR_FILES},
	{"host", TEXT(config_route, proxy.host, NULL, config_check_host, "client"),
	 .route_kinds = FOR_PROXY},
	{"rewrite", TEXT(config_route, proxy.rewrite, NULL, config_check_rewrite, NULL),
	 .route_kinds = FOR_PROXY},
	{"connect_timeout", WAIT(connect, DAY_MS, NULL, "5s")},
	{"first_byte_timeout", WAIT(first_byte, DAY_MS, NULL, "60s")},
	{"between_timeout", WAIT(between, DAY_MS, NULL, "60s")},
	{"total_timeout", WAIT(total, DAY_MS, "off", "off")},
	{"tunnel_timeout", WAIT(tunnel, 30 * DAY_MS, NULL, "1h")},
	{"retry", CHOICE(config_route, proxy.retry, retries, "idempotent"),
	 .route_kinds = FOR_PROXY},
	{"tries", COUNT(config_route, proxy.tries, 1, UPSTREAM_TRIED_MAX, NULL, "2"),
	 .route_kinds = FOR_PROXY},
	{"body", SIZE(config_route, proxy.body, 0, PIB, NULL, NULL),
	 .route_kinds = FOR_PROXY | FOR_REDIS | FOR_MODULE},
	{"rate", RATE(config_route, rate, NULL)},
	{"burst", COUNT(config_route, burst, 1, 1000000, NULL, NULL)},
	{"request_set", FIELDS(request_set, config_check_field_line)},
	{"request_add", FIELDS(request_add, config_check_field_line)},
	{"request_remove", FIELDS(request_remove, config_check_field_name)},
	{"response_set", FIELDS(response_set, config_check_field_line)},
	{"response_add", FIELDS(response_add, config_check_field_line)},
	{"response_remove", FIELDS(response_remove, config_check_field_name)},
	{"message", SIZE(config_route, websocket.message, WEBSOCKET_MESSAGE_MIN,
			 WEBSOCKET_MESSAGE_MAX, NULL, "64k"), .route_kinds = FOR_SOCKETS},
	{"frame", SIZE(config_route, websocket.frame, WEBSOCKET_MESSAGE_MIN, WEBSOCKET_MESSAGE_MAX,
		       NULL, "64k"), .route_kinds = FOR_SOCKETS},
	{"queue", SIZE(config_route, websocket.queue, 1, GIB, NULL, "256k"),
	 .route_kinds = FOR_SOCKET},
	{"ping", DURATION(config_route, websocket.ping, CONFIG_MS, 10, DAY_MS, "off", "30s"),
	 .route_kinds = FOR_SOCKETS},
	{"pong_timeout", DURATION(config_route, websocket.pong, CONFIG_MS, 10, DAY_MS, NULL, "10s"),
	 .route_kinds = FOR_SOCKETS},
	{"close_timeout", DURATION(config_route, websocket.close, CONFIG_MS, 10, HOUR_MS, NULL, "5s"),
	 .route_kinds = FOR_SOCKETS},
	{"deflate", BOOL(config_route, websocket.has_deflate, "false"), .route_kinds = FOR_SOCKETS},
	{"publish", CHOICE(config_route, websocket.publish, publishers, "local"),
	 .route_kinds = FOR_SOCKET},
	{"origins", LIST(config_route, websocket.origins, config_check_origin, NULL),
	 .route_kinds = FOR_SOCKETS},
	{"allow", LIST(config_route, redis.allow, config_check_command, NULL),
	 .route_kinds = FOR_REDIS},
	{"key_prefix", TEXT(config_route, redis.key_prefix, NULL, config_check_key_prefix, NULL),
	 .route_kinds = FOR_REDIS},
	{"stream_buffer", SIZE(config_route, redis.stream, 4 * KIB, GIB, NULL, "256k"),
	 .route_kinds = FOR_REDIS},
	{"require_match", BOOL(config_route, store.requires_match, "false"), .route_kinds = FOR_STORE},
	{"names", CHOICE(config_route, store.names, store_names, "random"), .route_kinds = FOR_STORE},
	{"module_args", TEXT(config_route, module.args, NULL, NULL, NULL), .route_kinds = FOR_MODULE},
	{"module_timeout", DURATION(config_route, module.timeout, CONFIG_MS, 10, DAY_MS, "off", "60s"),
	 .route_kinds = FOR_MODULE},
	{"module_read", LIST(config_route, module.read, config_check_module_read, NULL),
	 .route_kinds = FOR_MODULE},
};

static const struct config_key log_keys[] = {
	{"access", TEXT(config, log.access, "off", config_check_access, "off")},
	{"format", CHOICE(config, log.format, formats, "combined")},
	{"level", CHOICE(config, log.level, levels, "info")},
	{"flush", DURATION(config, log.flush_ms, CONFIG_MS, 1, 60000, NULL, "1s")},
};

static const struct config_key timeouts_keys[] = {
	{"header", DURATION(config, timeouts.header, CONFIG_MS, 10, DAY_MS, NULL, "10s")},
	{"body", DURATION(config, timeouts.body, CONFIG_MS, 10, DAY_MS, NULL, "30s")},
	{"keepalive", DURATION(config, timeouts.keepalive, CONFIG_MS, 10, DAY_MS, NULL, "75s")},
	{"write", DURATION(config, timeouts.write, CONFIG_MS, 10, DAY_MS, NULL, "30s")},
	{"linger", DURATION(config, timeouts.linger, CONFIG_MS, 10, 60000, NULL, "2s")},
	{"drain", DURATION(config, timeouts.drain, CONFIG_MS, 10, DAY_MS, "off", "30s")},
	{"close_spread", DURATION(config, timeouts.close_spread, CONFIG_MS, 10, DAY_MS, "auto", "auto")},
};

static const struct config_key limits_keys[] = {
	{"request_line", SIZE(config, limits.request_line, 64, REQUEST_SCRATCH_SIZE, NULL, "8k")},
	{"header", SIZE(config, limits.header, 256, HEAD_MAX, NULL, "16k")},
	{"header_count", COUNT(config, limits.header_count, 1, REQUEST_FIELDS_MAX, NULL, "100")},
	{"body", SIZE(config, limits.body, 0, PIB, NULL, "1m")},
	{"requests", COUNT(config, limits.requests, 1, UINT32_MAX, "off", "off")},
	{"connections", COUNT(config, limits.connections, 1, 1 << 24, "off", "off")},
	{"total_connections", COUNT(config, limits.total_connections, 1, 1 << 30, "off", "off")},
	{"client_connections", COUNT(config, limits.client_connections, 1, 1000000, "off", "off")},
	{"rate", RATE(config, limits.rate, "off")},
	{"burst", COUNT(config, limits.burst, 1, 1000000, NULL, "1")},
	{"clients", COUNT(config, limits.clients, 64, 1 << 24, NULL, "65536")},
	{"redis", TEXT(config, limits.redis, NULL, config_check_upstream_name, NULL)},
	{"key_prefix", TEXT(config, limits.key_prefix, NULL, config_check_key_prefix, "sluice:rate:")},
	{"sync", DURATION(config, limits.sync, CONFIG_MS, 5, 1000, NULL, "50ms")},
	{"fail_open", BOOL(config, limits.is_closed, "true"), .is_inverted = true},
	{"exempt", LIST(config, limits.exempt, config_check_network, NULL)},
	{"age", DURATION(config, limits.age, CONFIG_MS, 10, 30 * DAY_MS, "off", "off")},
	{"header_rate", SIZE(config, limits.header_rate, 1, MIB, "off", "off")},
	{"body_rate", SIZE(config, limits.body_rate, 1, GIB, "off", "off")},
	{"write_rate", SIZE(config, limits.write_rate, 1, GIB, "off", "off")},
	{"rate_grace", DURATION(config, limits.rate_grace, CONFIG_MS, 10, HOUR_MS, NULL, "5s")},
	{"memory", SIZE(config, limits.memory, MIB, 1024 * GIB, "off", "off")},
};

static const struct config_key files_cache_keys[] = {
	{"entries", COUNT(config, cache.entries, 1, 1 << 20, NULL, "1024")},
	{"memory", SIZE(config, cache.memory, 4 * KIB, 1024 * GIB, NULL, "32m")},
	{"content", SIZE(config, cache.content, 1, GIB, NULL, "64k")},
	{"valid", DURATION(config, cache.valid_ms, CONFIG_MS, 1, 3600000, NULL, "1s")},
};

#define KEYS(table) .keys = table, .key_count = ARRAY_LEN(table)

const struct config_section config_sections[CONFIG_SECTION_COUNT] = {
	[CONFIG_ROOT] = {"", KEYS(root_keys)},
	[CONFIG_STEERING] = {"steering", KEYS(steering_keys)},
	[CONFIG_LISTEN] = {"listen", .title = "\"ADDR:PORT\"", .title_word = "an address",
			   KEYS(listen_keys)},
	[CONFIG_LISTEN_UDP] = {"listen_udp", .title = "\"ADDR:PORT\"", .title_word = "an address",
			       KEYS(listen_udp_keys)},
	[CONFIG_UPSTREAM] = {"upstream", .title = "\"NAME\"", .title_word = "a name",
			     KEYS(upstream_keys)},
	[CONFIG_SERVER] = {"server", .parent = CONFIG_UPSTREAM, .title = "\"ADDR:PORT\"",
			   .title_word = "an address", KEYS(server_keys)},
	[CONFIG_CHECK] = {"check", .parent = CONFIG_UPSTREAM, KEYS(check_keys)},
	[CONFIG_REDIS] = {"redis", .title = "\"NAME\"", .title_word = "a name", KEYS(redis_keys)},
	[CONFIG_CHANNEL] = {"channel", .title = "\"NAME\"", .title_word = "a name",
			    KEYS(channel_keys)},
	[CONFIG_STORE] = {"store", .title = "\"NAME\"", .title_word = "a name", KEYS(store_keys)},
	[CONFIG_SITE] = {"site", .title = "\"NAME ...\"", .title_word = "a name"},
	[CONFIG_ROUTE] = {"route", .parent = CONFIG_SITE, .title = "\"/PREFIX\"",
			  .title_word = "a prefix", KEYS(route_keys)},
	[CONFIG_LOG] = {"log", KEYS(log_keys)},
	[CONFIG_TIMEOUTS] = {"timeouts", KEYS(timeouts_keys)},
	[CONFIG_LIMITS] = {"limits", KEYS(limits_keys)},
	[CONFIG_FILES_CACHE] = {"files_cache", KEYS(files_cache_keys)},
};

const struct config_key *config_key_find(enum config_section_id section, struct span name)
{
	const struct config_section *s = &config_sections[section];

	for (unsigned i = 0; i < s->key_count; i++) {
		if (span_eq(name, span_str(s->keys[i].name)))
			return &s->keys[i];
	}
	return NULL;
}

enum config_section_id config_section_find(enum config_section_id parent, struct span name)
{
	for (unsigned id = CONFIG_ROOT + 1; id < CONFIG_SECTION_COUNT; id++) {
		if (config_sections[id].parent == parent &&
		    span_eq(name, span_str(config_sections[id].name)))
			return (enum config_section_id)id;
	}
	return CONFIG_ROOT;
}

bool config_is_known(enum config_section_id section, struct span name)
{
	return config_key_find(section, name) || config_section_find(section, name) != CONFIG_ROOT;
}

const char *config_section_where(enum config_section_id section)
{
	static const char *const where[CONFIG_SECTION_COUNT] = {
		[CONFIG_ROOT] = "at top level",
		[CONFIG_STEERING] = "in steering",
		[CONFIG_LISTEN] = "in listen",
		[CONFIG_LISTEN_UDP] = "in listen_udp",
		[CONFIG_UPSTREAM] = "in upstream",
		[CONFIG_SERVER] = "in server",
		[CONFIG_CHECK] = "in check",
		[CONFIG_REDIS] = "in redis",
		[CONFIG_CHANNEL] = "in channel",
		[CONFIG_STORE] = "in store",
		[CONFIG_SITE] = "in site",
		[CONFIG_ROUTE] = "in route",
		[CONFIG_LOG] = "in log",
		[CONFIG_TIMEOUTS] = "in timeouts",
		[CONFIG_LIMITS] = "in limits",
		[CONFIG_FILES_CACHE] = "in files_cache",
	};

	return where[section];
}
