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

#include "base/log.h"
#include "net/sock.h"
#include "steer_shared.h"

struct config_place {		/* where a section or key stands, for errors found later ("cannot bind") */
	const char *file;	/* owned by the config */
	unsigned line;
};

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
};

enum route_kind { ROUTE_FILES, ROUTE_RESPOND, ROUTE_REDIRECT };

struct config_route {
	struct config_place place;
	char *prefix;
	enum route_kind kind;
	char *value;			/* folder, body or target */
	unsigned status;		/* 0 = default of the kind */
	char *type;			/* respond: media type; files: default type; NULL = default */
	char **index;
	unsigned index_count;
	bool has_listing, allows_symlinks, has_precompressed, shows_hidden;
};

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
};

struct config_timeouts {		/* ms */
	uint64_t header, body, keepalive, write, linger, drain;
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
	char *server_name;		/* Server field; NULL or "" = none */
	struct config_steering steering;
	struct config_limits limits;
	struct config_timeouts timeouts;
	struct config_log log;
	struct config_cache cache;
	struct config_listen *listens;
	unsigned listen_count;
	struct config_site *sites;
	unsigned site_count;
};

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
 * For each error: "FILE:LINE: error: MESSAGE" and, on the next lines, the source line and a caret line where it
 * applies.  `out` may be an open_memstream.
 */
void config_errors_print(const struct config_errors *errors, FILE *out);
void config_errors_free(struct config_errors *errors);
/* Every key with its effective value, in the syntax of the file: parsing it gives the same configuration. */
void config_dump(const struct config *c, FILE *out);

#endif
