/* SPDX-License-Identifier: MIT */
/* Commands of the control socket; include/ctl_proto.h describes them. */
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "proc/master_internal.h"
#include "proc/status.h"
#include "proc/version.h"
#include "proc/worker.h"

static const char *state_name(enum master_state state)
{
	static const char *const names[] = {
		[MASTER_STARTING] = "starting",
		[MASTER_SERVING] = "running",
		[MASTER_STOPPING] = "stopping",
		[MASTER_FOLLOWING] = "starting",
		[MASTER_LEAVING] = "leaving",
	};

	return names[state];
}

/* What old workers still have, the oldest generation first; how many entries. */
static unsigned list_draining(struct master *m, struct status_draining *out, unsigned room)
{
	unsigned count = 0;

	list_for_each(node, &m->generations) {
		const struct generation *g = container_of(node, struct generation, node);

		for (unsigned i = 0; g->state == GENERATION_LEAVING && i < g->worker_count && count < room; i++)
			if (g->stats[i].pid)
				out[count++] = (struct status_draining){
					.slot = i,
					.pid = g->stats[i].pid,
					.generation = g->number,
					.connections = g->stats[i].connections,
					.udp_sessions = g->stats[i].udp_sessions,
				};
	}
	return count;
}

/* Of the slots there are, and in `gone` of those there were. */
static void sum_stats(struct master *m, struct stats_block *sums, struct stats_block *gone)
{
	const struct generation *g = m->current;

	for (unsigned i = 0; i < g->worker_count; i++) {
		master_sum_stats(m, i, &sums[i]);
		sums[i].pid = g->stats[i].pid;
		sums[i].generation = g->stats[i].generation;
		sums[i].state = g->stats[i].state;
		sums[i].confined = g->stats[i].confined;
		sums[i].udp_sessions = g->stats[i].udp_sessions;
	}
	for (unsigned i = g->worker_count; i < STEER_MAX_SLOTS; i++) {
		master_sum_stats(m, i, &sums[g->worker_count]);
		stats_add(gone, &sums[g->worker_count]);
	}
}

/* NULL without memory. */
static struct status_udp_listen *list_udp(const struct generation *g)
{
	struct status_udp_listen *list = calloc(g->udp_listener_count + 1, sizeof(*list));

	for (unsigned i = 0; list && i < g->udp_listener_count; i++) {
		list[i].listener = &g->udp_listeners[i];
		list[i].mode = g->config->udp_listens[i].mode;
		list[i].is_one_way = g->config->udp_listens[i].is_one_way;
		udp_bank_read_verdicts(&g->udp_listeners[i].bank, &list[i].verdicts);
	}
	return list;
}

/* NULL without memory. */
static struct module_stats *sum_modules(const struct master *m)
{
	const struct config *c = m->current->config;
	struct module_stats *list = calloc(c->module_count + 1, sizeof(*list));

	for (unsigned i = 0; list && i < c->module_count; i++)
		generation_sum_modules(m, c->modules[i], &list[i]);
	return list;
}

static json_t *make_status(struct master *m, bool has_buckets)
{
	/* Large, and asked for once a second at most. */
	static struct status_draining draining[4 * STEER_MAX_SLOTS];
	struct generation *g = m->current;
	struct status_udp_listen *udp = list_udp(g);
	struct module_stats *modules = sum_modules(m);
	struct stats_block *sums = calloc(g->worker_count + 2, sizeof(*sums));
	struct upstream_table upstreams;
	struct status_source src = {
		.version = SLUICE_VERSION,
		.pid = (uint32_t)getpid(),
		.started_ns = m->started_ns,
		.now_ns = clock_ns(),
		.generation = g->number,
		.state = state_name(m->state),
		.config = g->config->path,
		.control = g->config->control,
		.pin = steer_is_active(g->steer) && !steer_pin_error(g->steer) ? g->config->pin : NULL,
		.stats = sums,
		.gone = sums ? &sums[g->worker_count + 1] : NULL,
		.draining = draining,
		.draining_count = list_draining(m, draining, ARRAY_LEN(draining)),
		.limits = &g->limits,
		.share = &g->limit_share,
		.share_config = &g->config->limits,
		.sharer_pid = g->sharer.count ? (uint32_t)g->sharer.workers[0].pid : 0,
		.sandbox = &g->sandbox,
		.listens = g->listeners,
		.listen_count = g->listener_count,
		.udp_listens = udp,
		.udp_listen_count = udp ? g->udp_listener_count : 0,
		.upstream_table = &upstreams,
		.stores = g->config,
		.store_stats = g->store_stats,
		.modules = g->config,
		.module_sums = modules,
		.has_buckets = has_buckets,
	};
	struct status_steering steering;
	json_t *status;

	if (!sums) {
		free(udp);
		free(modules);
		return NULL;
	}
	sum_stats(m, sums, &sums[g->worker_count + 1]);
	status_read(g->steer, src.now_ns, &steering);
	generation_sum_upstreams(m, &upstreams);
	src.upstreams = upstreams.endpoints ? g->config : NULL;
	status = status_json(&src, &steering);
	upstream_table_close(&upstreams);
	free(udp);
	free(modules);
	free(sums);
	return status;
}

static void on_status(struct ctl_request *rq, const json_t *args, void *owner)
{
	json_t *status;

	/* Before anything looks there. */
	elder_refresh_stats(owner);
	status = make_status(owner, json_is_true(json_object_get(args, "buckets")));
	ctl_reply(rq, json_pack("{s:b, s:o}", "ok", 1, "status", status));
}

/* Answered at the very end, so that the caller knows how it went. */
static void on_stop(struct ctl_request *rq, const json_t *args, void *owner)
{
	struct master *m = owner;

	bool is_hard = json_is_true(json_object_get(args, "hard"));

	if (m->stop_request_count == ARRAY_LEN(m->stop_requests)) {
		ctl_reply_error(rq, "too many clients wait for the end of this server");
		return;
	}
	m->stop_requests[m->stop_request_count++] = rq;
	/* A second client waits for the same end; only a harder one changes anything. */
	if (m->state != MASTER_STOPPING || is_hard)
		master_stop(m, is_hard);
}

static void on_reload(struct ctl_request *rq, const json_t *args, void *owner)
{
	struct master *m = owner;

	reload_ask(&m->reload, rq);
}

static void on_upgrade(struct ctl_request *rq, const json_t *args, void *owner)
{
	json_int_t limit_ms = json_integer_value(json_object_get(args, "timeout_ms"));
	struct master *m = owner;

	upgrade_ask(&m->upgrade, rq, json_string_value(json_object_get(args, "binary")),
		    limit_ms > 0 ? (uint64_t)limit_ms : 0);
}

static void on_reopen(struct ctl_request *rq, const json_t *args, void *owner)
{
	master_reopen_log(owner);
	ctl_reply(rq, json_pack("{s:b}", "ok", 1));
}

static void on_rebalance(struct ctl_request *rq, const json_t *args, void *owner)
{
	struct master *m = owner;

	for (unsigned i = 0; i < m->current->worker_count; i++)
		supervisor_tell(&m->current->workers, i, CHANNEL_REBALANCE);
	ctl_reply(rq, json_pack("{s:b}", "ok", 1));
}

const struct ctl_command master_commands[] = {
	{ "rebalance", on_rebalance },
	{ "reload", on_reload },
	{ "steer", master_on_steer },
	{ "status", on_status },
	{ "stop", on_stop },
	{ "upgrade", on_upgrade },
	{ "upstream", master_on_upstream },
	{ "reopen", on_reopen },
	{ NULL, NULL },
};
