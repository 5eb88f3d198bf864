/* SPDX-License-Identifier: MIT */
/* A server and its connections, from the configuration to the end of the worker; see redis_server.h. */
#include <stdlib.h>

#include "app/redis_server_impl.h"
#include "base/err.h"
#include "base/log.h"

static void on_commands(struct redis_conn *c, const redisReply *reply)
{
	struct redis_server *s = container_of(c, struct server_conn, conn)->server;
	struct redis_commands *commands = s->has_fresh_commands ? NULL : redis_commands_new(reply);

	if (!commands)
		return;
	redis_commands_free(s->commands);
	s->commands = commands;
	s->has_fresh_commands = true;
}

static void on_ready(struct redis_conn *c)
{
	struct server_conn *sc = container_of(c, struct server_conn, conn);
	struct redis_server *s = sc->server;

	sc->is_late = false;
	/* Once a life of the server is enough. */
	c->on_commands = NULL;
	if (s->was_told_down)
		log_info("redis %s: it answers again", s->name);
	else if (!s->was_told_up)
		log_debug("redis %s: connected", s->name);
	s->was_told_down = false;
	s->was_told_up = true;
	redis_send_waiting(s, sc);
}

static void on_gone(struct redis_conn *c, bool was_ready, const char *why)
{
	struct server_conn *sc = container_of(c, struct server_conn, conn);
	struct redis_server *s = sc->server;

	loop_timer_stop(s->loop, &sc->timer);
	sc->is_late = sc->has_blamed = false;
	/* What comes next may be another one; until it has told its commands the old ones hold. */
	c->on_commands = on_commands;
	s->has_fresh_commands = false;
	if (redis_choose_conn(s))
		return;
	if (!s->was_told_down)
		log_warn("redis %s: %s%s", s->name, was_ready ? "the connection is lost: " : "cannot be reached: ", why);
	s->was_told_down = true;
	if (!redis_is_connecting(s))
		redis_fail_waiting(s, REDIS_CALL_DOWN);
}

void redis_server_start(struct redis_server *s, struct loop *loop, const struct upstream_table *table,
			struct stats_redis *stats)
{
	s->loop = loop;
	s->access.stats = stats;
	s->access.endpoints = &table->endpoints[s->first_endpoint];
	for (unsigned i = 0; i < s->conn_count; i++) {
		struct server_conn *sc = &s->conns[i];

		sc->server = s;
		redis_conn_init_flights(sc);
		redis_conn_init(&sc->conn, loop, &s->access, false);
		sc->conn.on_ready = on_ready;
		sc->conn.on_gone = on_gone;
		sc->conn.on_commands = on_commands;
	}
	for (unsigned i = 0; i < s->conn_count; i++)
		redis_conn_start(&s->conns[i].conn);
}

void redis_server_stop(struct redis_server *s)
{
	if (!s->loop)
		return;
	for (unsigned i = 0; i < s->conn_count; i++) {
		redis_conn_stop(&s->conns[i].conn);
		loop_timer_stop(s->loop, &s->conns[i].timer);
	}
	redis_fail_waiting(s, REDIS_CALL_DOWN);
	loop_timer_stop(s->loop, &s->timer);
	redis_commands_free(s->commands);
	s->commands = NULL;
	s->loop = NULL;
}

void redis_server_flush(struct redis_server *s)
{
	for (unsigned i = 0; s->loop && i < s->conn_count; i++)
		redis_link_flush(&s->conns[i].conn.link);
}

/* Made and freed ------------------------------------------------------------------------------------------------ */

static int copy_text(const char *text, char **ret_copy)
{
	*ret_copy = text ? strdup(text) : NULL;
	return text && !*ret_copy ? -ENOMEM : 0;
}

int redis_server_new(const struct redis_server_options *opt, struct redis_server **ret_server)
{
	struct redis_server *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	redis_server_init_calls(s);
	s->conns = calloc(opt->connections, sizeof(*s->conns));
	if (!s->conns || copy_text(opt->name, &s->name) || copy_text(opt->user, &s->user) ||
	    copy_text(opt->password, &s->password)) {
		redis_server_free(s);
		return -ENOMEM;
	}
	s->conn_count = opt->connections;
	s->queue_max = opt->queue_max;
	s->timeout_ms = opt->timeout_ms;
	s->first_endpoint = opt->first_endpoint;
	s->access = (struct redis_access){
		.name = s->name,
		.user = s->user,
		.password = s->password,
		.database = opt->database,
		.connect_ms = opt->connect_ms,
		.pause_max_ms = opt->pause_max_ms,
		.reply_max = opt->reply_max,
		.endpoint_count = opt->endpoint_count,
	};
	*ret_server = s;
	return 0;
}

void redis_server_free(struct redis_server *s)
{
	if (!s)
		return;
	pool_fini(&s->pendings);
	free(s->conns);
	free(s->name);
	free(s->user);
	free(s->password);
	free(s);
}

const struct redis_commands *redis_server_commands(const struct redis_server *s)
{
	return s->commands;
}

const struct redis_access *redis_server_access(const struct redis_server *s)
{
	return &s->access;
}

struct loop *redis_server_loop(const struct redis_server *s)
{
	return s->loop;
}
