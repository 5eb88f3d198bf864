/* SPDX-License-Identifier: MIT */
/* The tables, one for each section, and look-ups in them. */
#include "proc/config_schema.h"

#include <limits.h>
#include <stddef.h>

#include "base/err.h"
#include "base/log.h"
#include "http/message.h"
#include "proc/config.h"
#include "proc/config_units.h"

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
#define CHOICE(type, member, names, def)                                                           \
	.kind = KIND_CHOICE, FIELD(type, member), .choices = names, .initial = def
#define TEXT(type, member, word, fn, def)                                                          \
	.kind = KIND_TEXT, FIELD(type, member), .zero = word, .check = fn, .initial = def
#define HANDLER(id, fn) .kind = KIND_HANDLER, FIELD(config_route, value), .handler = id, .check = fn

#define DAY_MS UINT64_C(86400000)
#define KIB    UINT64_C(1024)
#define MIB    (KIB * KIB)
#define GIB    (KIB * MIB)
#define PIB    (GIB * MIB)

#define FOR_FILES   (1u << ROUTE_FILES)
#define FOR_RESPOND (1u << ROUTE_RESPOND)
#define FOR_REPLIES (FOR_RESPOND | 1u << ROUTE_REDIRECT)

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
static const char *const formats[] = {
	[LOG_FORMAT_COMBINED] = "combined", [LOG_FORMAT_JSON] = "json", NULL};
static const char *const levels[] = {[LOG_ERROR] = "error",
				     [LOG_WARN] = "warn",
				     [LOG_INFO] = "info",
				     [LOG_DEBUG] = "debug",
				     NULL};

static const struct config_key root_keys[] = {
	{"workers", COUNT(config, workers, 1, STEER_MAX_SLOTS, "auto", "auto")},
	{"user", TEXT(config, user, NULL, config_check_user, "nobody")},
	{"control", TEXT(config, control, NULL, config_check_control, "/run/sluice/control.sock")},
	{"pin", TEXT(config, pin, "off", config_check_pin, "/sys/fs/bpf/sluice")},
	{"server_name", TEXT(config, server_name, "off", config_check_server, "sluice")},
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
};

static const struct config_key route_keys[] = {
	{"files", HANDLER(ROUTE_FILES, config_check_folder)},
	{"respond", HANDLER(ROUTE_RESPOND, NULL)},
	{"redirect", HANDLER(ROUTE_REDIRECT, config_check_redirect)},
	{"status", COUNT(config_route, status, 200, 599, NULL, NULL), .route_kinds = FOR_REPLIES},
	{"type", TEXT(config_route, type, NULL, config_check_type, NULL),
	 .route_kinds = FOR_FILES | FOR_RESPOND},
	{"index", .kind = KIND_LIST, FIELD(config_route, index),
	 .count_offset = offsetof(struct config_route, index_count),
	 .check = config_check_file_name, .initial = "index.html", .route_kinds = FOR_FILES},
	{"listing", BOOL(config_route, has_listing, "false"), .route_kinds = FOR_FILES},
	{"symlinks", BOOL(config_route, allows_symlinks, "false"), .route_kinds = FOR_FILES},
	{"precompressed", BOOL(config_route, has_precompressed, "false"), .route_kinds = FOR_FILES},
	{"hidden", BOOL(config_route, shows_hidden, "false"), .route_kinds = FOR_FILES},
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
};

static const struct config_key limits_keys[] = {
	{"request_line", SIZE(config, limits.request_line, 64, REQUEST_SCRATCH_SIZE, NULL, "8k")},
	{"header", SIZE(config, limits.header, 256, HEAD_MAX, NULL, "16k")},
	{"header_count", COUNT(config, limits.header_count, 1, REQUEST_FIELDS_MAX, NULL, "100")},
	{"body", SIZE(config, limits.body, 0, PIB, NULL, "1m")},
	{"requests", COUNT(config, limits.requests, 1, UINT32_MAX, "off", "off")},
	{"connections", COUNT(config, limits.connections, 1, 1 << 24, "off", "off")},
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
		[CONFIG_SITE] = "in site",
		[CONFIG_ROUTE] = "in route",
		[CONFIG_LOG] = "in log",
		[CONFIG_TIMEOUTS] = "in timeouts",
		[CONFIG_LIMITS] = "in limits",
		[CONFIG_FILES_CACHE] = "in files_cache",
	};

	return where[section];
}
