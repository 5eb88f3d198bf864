/* SPDX-License-Identifier: MIT */
/*
 * One connection to a Redis server that is kept: made, introduced (AUTH, SELECT), and made again when it is lost.
 *
 *   OFF --start--> CONNECTING --all of the introduction answered--> READY
 *                   ^      | refused, no answer in time               | lost
 *                   |      v                                          |
 *                   +--- PAUSING <------------------------------------+
 *
 * The first pause is short, each one after a failure twice as long up to a limit, and of each the second half is random:
 * workers that lost their server together do not come back together.
 */
#ifndef SLUICE_APP_REDIS_CONN_H
#define SLUICE_APP_REDIS_CONN_H

#include "app/upstream_table.h"
#include "net/redis_link.h"
#include "stats_shm.h"

/* Of a server, shared by its connections; texts are borrowed. */
struct redis_access {
	const char *name;		/* for the log */
	const char *user, *password;	/* NULL: none */
	unsigned database;
	uint64_t connect_ms;		/* until the server has answered the introduction */
	uint64_t pause_max_ms;
	uint64_t reply_max;		/* bytes */
	/* Addresses it may have, of which the first that is used counts; set by redis_server_start. */
	const struct upstream_endpoint *endpoints;
	unsigned endpoint_count;
	struct stats_redis *stats;
};

enum redis_conn_state { REDIS_CONN_OFF, REDIS_CONN_PAUSING, REDIS_CONN_CONNECTING, REDIS_CONN_READY };

struct redis_conn {
	struct redis_link link;
	const struct redis_access *access;
	/* The introduction is over. */
	void (*on_ready)(struct redis_conn *c);
	/* Lost, or not made; callbacks of its commands have been called.  It will be tried again. */
	void (*on_gone)(struct redis_conn *c, bool was_ready, const char *why);
	/* Answer to COMMAND, during the introduction; NULL: it is not asked. */
	void (*on_commands)(struct redis_conn *c, const redisReply *reply);
	uint8_t state;			/* enum redis_conn_state */
	/* private */
	struct timer timer;
	unsigned failures;		/* in a row */
	bool is_proven;			/* has been of use, so that the next try may be made soon */
	unsigned answers_due;		/* of the introduction */
	unsigned next_endpoint;
	char why[160];			/* the introduction failed */
};

/* Off.  Callbacks are set afterwards. */
void redis_conn_init(struct redis_conn *c, struct loop *loop, const struct redis_access *access, bool is_push);
/* Begins with the next turn of the loop.  Harmless unless off. */
void redis_conn_start(struct redis_conn *c);
/* Off again; nobody is told but the callbacks of commands.  Not from within one of them. */
void redis_conn_stop(struct redis_conn *c);

/* Of one for subscriptions: the server has taken one.  Being introduced proves nothing there, who refuses does it later. */
static inline void redis_conn_prove(struct redis_conn *c)
{
	c->is_proven = true;
}

/* Takes commands. */
static inline bool redis_conn_is_ready(const struct redis_conn *c)
{
	return c->state == REDIS_CONN_READY && redis_link_is_usable(&c->link);
}

#endif
