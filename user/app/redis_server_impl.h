/* SPDX-License-Identifier: MIT */
/* Between redis_server.c (connections, life) and redis_call.c (calls on their way). */
#ifndef SLUICE_APP_REDIS_SERVER_IMPL_H
#define SLUICE_APP_REDIS_SERVER_IMPL_H

#include <hiredis/sds.h>

#include "app/redis_server.h"
#include "base/pool.h"

struct server_conn {
	struct redis_conn conn;
	struct redis_server *server;
	struct list flights;		/* sent, in order */
	unsigned flight_count;
	struct timer timer;		/* when the oldest is due, or was at some time before: most answers come in time */
	bool is_late;			/* an answer is overdue */
	bool has_blamed;		/* of an answer that was too large, the command is found */
};

struct redis_pending {
	struct list node;		/* in flights of its connection, or in server->waiting */
	struct redis_server *server;
	struct server_conn *conn;	/* NULL: waits for one */
	struct redis_call *call;	/* NULL: nobody waits for the answer any more */
	sds command;			/* while it waits */
	size_t size;			/* bytes of the command */
	uint64_t due_ms;
};

struct redis_server {
	struct redis_access access;
	char *name, *user, *password;
	unsigned conn_count;
	unsigned queue_max;
	uint64_t timeout_ms;
	unsigned first_endpoint;
	/* of the worker */
	struct loop *loop;		/* NULL: not started */
	struct server_conn *conns;
	struct pool pendings;
	size_t byte_count;		/* of their commands */
	struct list waiting;
	struct timer timer;		/* when the first of them is due */
	struct redis_commands *commands;
	bool has_fresh_commands;	/* of the server that is there now */
	bool was_told_down, was_told_up;
};

/* redis_call.c */
void redis_server_init_calls(struct redis_server *s);
void redis_conn_init_flights(struct server_conn *sc);
/* A connection that takes commands: the first one that is well and not full, else the emptiest; NULL: none. */
struct server_conn *redis_choose_conn(struct redis_server *s);
bool redis_is_connecting(const struct redis_server *s);
/* What waits goes over this connection, as far as it takes it. */
void redis_send_waiting(struct redis_server *s, struct server_conn *sc);
void redis_fail_waiting(struct redis_server *s, enum redis_failure why);

#endif
