/* SPDX-License-Identifier: MIT */
/*
 * The master's part in the upstreams, beside their table (generation_upstream.c): the monitor process of a generation,
 * and the command "upstream" of the control socket.
 */
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/suggest.h"
#include "proc/master_internal.h"
#include "proc/upstream_report.h"

/* Monitor ------------------------------------------------------------------------------------------------------ */

static int run_child(void *owner, unsigned slot, int channel_fd)
{
	struct generation *g = owner;
	struct monitor_options opt = {
		.config = g->config,
		.upstreams = &g->upstreams,
		.channel_fd = channel_fd,
		.identity = g->master->identity,
		.sandbox = &g->sandbox,
	};

	master_abandon_clients(g->master, g);
	return monitor_run(&opt);
}

static const struct supervisor_ops monitor_ops = {
	.run_child = run_child,
	.on_empty = master_on_empty,
};

/* Serving goes on without it: addresses stay as they are, and nobody is found down. */
void master_start_monitor(struct generation *g)
{
	int err;

	g->monitor.name = "monitor";
	g->monitor.loop = &g->master->loop;
	g->monitor.ops = &monitor_ops;
	g->monitor.owner = g;
	if (!monitor_is_needed(g->config))
		return;
	err = supervisor_start(&g->monitor, 1);
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

static void set_drained(const struct generation *g, const struct config_server *s, bool is_drained)
{
	for (unsigned i = 0; i < s->endpoint_count; i++)
		__atomic_store_n(&g->upstreams.endpoints[s->first_endpoint + i].is_drained, is_drained,
				 __ATOMIC_RELAXED);
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
	u = find_upstream(rq, m->current->config, upstream);
	s = u ? find_server(rq, u, server) : NULL;
	if (!s)
		return false;
	set_drained(m->current, s, is_drained);
	log_info("upstream %s: server %s is %s", u->name, s->text, is_drained ? "drained" : "no longer drained");
	return true;
}

void master_on_upstream(struct ctl_request *rq, const json_t *args, void *owner)
{
	const char *action = json_string_value(json_object_get(args, "action"));
	bool is_drain = action && strcmp(action, "drain") == 0;
	struct upstream_table sum;
	struct master *m = owner;

	if (is_drain || (action && strcmp(action, "undrain") == 0)) {
		if (!change(rq, args, m, is_drain))
			return;
	} else if (action && strcmp(action, "show") != 0) {
		ctl_reply_error(rq, "unknown action '%.40s'; known: show drain undrain", action);
		return;
	}
	generation_sum_upstreams(m, &sum);
	ctl_reply(rq, json_pack("{s:b, s:o}", "ok", 1, "upstreams",
				upstream_report_json(sum.endpoints ? m->current->config : NULL, &sum, clock_ns())));
	upstream_table_close(&sum);
}
