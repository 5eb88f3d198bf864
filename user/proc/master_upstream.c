/* SPDX-License-Identifier: MIT */
/*
 * The master's part in the upstreams: the shared table with the addresses that the configuration names, the monitor
 * process that fills in the others, and the command "upstream" of the control socket.
 */
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/suggest.h"
#include "proc/master_internal.h"
#include "proc/upstream_report.h"

/* Table -------------------------------------------------------------------------------------------------------- */

static void set_drained(struct master *m, const struct config_server *s, bool is_drained)
{
	for (unsigned i = 0; i < s->endpoint_count; i++)
		__atomic_store_n(&m->upstreams.endpoints[s->first_endpoint + i].is_drained, is_drained,
				 __ATOMIC_RELAXED);
}

/* Names are the monitor's.  In use since 0, "never": who starts with the server needs no slow start. */
static void set_literal(struct upstream_endpoint *e, const struct config_server *s)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (s->kind == SERVER_ADDRESS) {
		upstream_endpoint_set(e, &s->addr.any, sock_addr_len(&s->addr), s->weight, 0);
	} else if (s->kind == SERVER_UNIX) {
		memcpy(un.sun_path, s->name, strnlen(s->name, sizeof(un.sun_path) - 1));
		upstream_endpoint_set(e, (const struct sockaddr *)&un, sizeof(un), s->weight, 0);
	}
}

int master_open_upstreams(struct master *m)
{
	int err = upstream_table_open(&m->upstreams, m->config->endpoint_count, m->worker_count);

	if (err) {
		log_error("cannot map the table of upstream servers: %s", strerror(-err));
		return err;
	}
	for (unsigned i = 0; i < m->config->upstream_count; i++) {
		const struct config_upstream *u = &m->config->upstreams[i];

		for (unsigned k = 0; k < u->server_count; k++) {
			const struct config_server *s = &u->servers[k];

			set_drained(m, s, s->is_drained);
			set_literal(&m->upstreams.endpoints[s->first_endpoint], s);
		}
	}
	return 0;
}

/* Monitor ------------------------------------------------------------------------------------------------------ */

static void on_start(void *owner, unsigned slot)
{
}

static void on_started(void *owner, unsigned slot, pid_t pid)
{
	log_debug("monitor has pid %d", (int)pid);
}

static int run_child(void *owner, unsigned slot, int channel_fd)
{
	struct master *m = owner;
	struct monitor_options opt = {
		.config = m->config,
		.upstreams = &m->upstreams,
		.channel_fd = channel_fd,
		.identity = m->identity,
		.sandbox = &m->sandbox,
	};

	supervisor_abandon(&m->supervisor);
	master_abandon(m);
	/* It has nothing to do with clients: a socket kept here would take connections that nobody serves. */
	for (unsigned i = 0; i < m->listener_count; i++)
		listener_close(&m->listeners[i], NULL);
	inboxes_close(&m->inboxes);
	runtime_free(m->runtime);
	m->runtime = NULL;
	if (m->log_fd >= 0)
		close(m->log_fd);
	m->log_fd = -1;
	return monitor_run(&opt);
}

static void on_ready(void *owner, unsigned slot, bool all_ready)
{
	const struct master *m = owner;

	if (m->monitor.workers[slot].restarts)
		log_info("the monitor works again");
}

static void on_gone(void *owner, unsigned slot, pid_t pid, const char *how, long will_restart_ms)
{
	if (will_restart_ms >= 0)
		log_error("monitor (pid %d) %s; another starts in %ld ms", (int)pid, how, will_restart_ms);
}

static void on_empty(void *owner)
{
	struct master *m = owner;

	loop_stop(&m->loop);
}

static const struct supervisor_ops monitor_ops = {
	.on_start = on_start,
	.on_started = on_started,
	.run_child = run_child,
	.on_ready = on_ready,
	.on_gone = on_gone,
	.on_empty = on_empty,
};

/* Serving goes on without it: addresses stay as they are, and nobody is found down. */
void master_start_monitor(struct master *m)
{
	int err;

	m->monitor.loop = &m->loop;
	m->monitor.ops = &monitor_ops;
	m->monitor.owner = m;
	if (!monitor_is_needed(m->config))
		return;
	err = supervisor_start(&m->monitor, 1);
	if (err)
		log_error("cannot start the monitor, names do not resolve and health is not checked: %s",
			  strerror(-err));
}

/* Command ------------------------------------------------------------------------------------------------------ */

static const struct config_upstream *find_upstream(struct ctl_request *rq, const struct config *c, const char *name)
{
	struct suggest near;

	suggest_init(&near, name);
	for (unsigned i = 0; i < c->upstream_count; i++) {
		if (strcmp(c->upstreams[i].name, name) == 0)
			return &c->upstreams[i];
		suggest_offer(&near, c->upstreams[i].name);
	}
	ctl_reply_error(rq, "there is no upstream '%.60s'%s%.60s", name, near.best ? ", did you mean " : "",
			near.best ? near.best : "");
	return NULL;
}

static const struct config_server *find_server(struct ctl_request *rq, const struct config_upstream *u,
					       const char *name)
{
	struct suggest near;

	suggest_init(&near, name);
	for (unsigned i = 0; i < u->server_count; i++) {
		if (strcmp(u->servers[i].text, name) == 0)
			return &u->servers[i];
		suggest_offer(&near, u->servers[i].text);
	}
	if (near.best)
		ctl_reply_error(rq, "upstream '%.40s' has no server '%.60s', did you mean %.60s", u->name, name,
				near.best);
	else
		ctl_reply_error(rq, "upstream '%.40s' has no server '%.60s'; its first is %.60s", u->name, name,
				u->servers[0].text);
	return NULL;
}

/* False: the fault is answered. */
static bool change(struct ctl_request *rq, const json_t *args, struct master *m, bool is_drained)
{
	const char *upstream = json_string_value(json_object_get(args, "upstream"));
	const char *server = json_string_value(json_object_get(args, "server"));
	const struct config_upstream *u;
	const struct config_server *s;

	if (!upstream || !server) {
		ctl_reply_error(rq, "an upstream and one of its servers must be named");
		return false;
	}
	u = find_upstream(rq, m->config, upstream);
	s = u ? find_server(rq, u, server) : NULL;
	if (!s)
		return false;
	set_drained(m, s, is_drained);
	log_info("upstream %s: server %s is %s", u->name, s->text, is_drained ? "drained" : "no longer drained");
	return true;
}

void master_on_upstream(struct ctl_request *rq, const json_t *args, void *owner)
{
	const char *action = json_string_value(json_object_get(args, "action"));
	bool is_drain = action && strcmp(action, "drain") == 0;
	struct master *m = owner;

	if (is_drain || (action && strcmp(action, "undrain") == 0)) {
		if (!change(rq, args, m, is_drain))
			return;
	} else if (action && strcmp(action, "show") != 0) {
		ctl_reply_error(rq, "unknown action '%.40s'; known: show drain undrain", action);
		return;
	}
	ctl_reply(rq, json_pack("{s:b, s:o}", "ok", 1, "upstreams",
				upstream_report_json(m->config, &m->upstreams, clock_ns())));
}
