/* SPDX-License-Identifier: MIT */
/* What monitor.c (process, life) and monitor_server.c (one server's names and checks) share; for the unit test too. */
#ifndef SLUICE_PROC_MONITOR_IMPL_H
#define SLUICE_PROC_MONITOR_IMPL_H

#include "app/health.h"
#include "net/proxy_header.h"
#include "net/resolve.h"
#include "proc/monitor.h"

#define MONITOR_TTL_MIN_MS     1000u	/* a shorter life of an answer counts as this */
#define MONITOR_RETRY_FIRST_MS 1000u	/* after a failure; doubled with each that follows */
#define MONITOR_RETRY_LAST_MS  30000u

struct monitor_server;

struct monitor_endpoint {
	struct health health;
	struct monitor_server *server;
	bool is_checked;		/* health is started */
};

struct monitor_server {
	struct monitor *monitor;
	const struct config_upstream *upstream;
	const struct config_server *conf;
	struct upstream_endpoint *table;	/* conf->endpoint_count of them */
	struct monitor_endpoint *endpoints;
	struct health_options check;
	char host[RESOLVE_NAME_MAX + 8];	/* of check */
	char preamble[PROXY_HEADER_WRITE_MAX];	/* of check */
	struct resolve question;
	struct timer again;			/* the next question */
	unsigned failures;			/* in a row */
	int logged_err;				/* the failure that the log knows of; 0: none */
	bool was_resolved, has_warned_omitted;
};

struct monitor {
	struct loop *loop;
	const struct config *config;
	const struct upstream_table *table;
	struct resolver *resolver;		/* NULL: no names */
	struct monitor_server *servers;
	unsigned server_count;
};

/* 0 or -ENOMEM.  Nothing happens before the first turn of the loop. */
int monitor_server_start(struct monitor_server *s);
void monitor_server_stop(struct monitor_server *s);

static inline bool monitor_server_has_name(const struct config_server *s)
{
	return s->kind == SERVER_NAME || s->kind == SERVER_SRV;
}

#endif
