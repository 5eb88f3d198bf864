/* SPDX-License-Identifier: MIT */
/* Commands of the control socket; include/ctl_proto.h describes them. */
#include <unistd.h>

#include "base/err.h"
#include "net/fd_pass.h"
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
	};

	return names[state];
}

static void on_status(struct ctl_request *rq, const json_t *args, void *owner)
{
	struct master *m = owner;
	struct status_source src = {
		.version = SLUICE_VERSION,
		.pid = (uint32_t)getpid(),
		.started_ns = m->started_ns,
		.now_ns = clock_ns(),
		.generation = MASTER_GENERATION,
		.state = state_name(m->state),
		.config = m->config->path,
		.control = m->config->control,
		.pin = steer_is_active(m->steer) && !steer_pin_error(m->steer) ? m->config->pin : NULL,
		.stats = m->stats,
		.sandbox = &m->sandbox,
		.listens = m->listeners,
		.listen_count = m->listener_count,
		.upstreams = m->config,
		.upstream_table = &m->upstreams,
		.has_buckets = json_is_true(json_object_get(args, "buckets")),
	};
	struct status_steering steering;

	status_read(m->steer, src.now_ns, &steering);
	ctl_reply(rq, json_pack("{s:b, s:o}", "ok", 1, "status", status_json(&src, &steering)));
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

static void on_reopen(struct ctl_request *rq, const json_t *args, void *owner)
{
	master_reopen_log(owner);
	ctl_reply(rq, json_pack("{s:b}", "ok", 1));
}

static void on_rebalance(struct ctl_request *rq, const json_t *args, void *owner)
{
	struct master *m = owner;
	char byte = CHANNEL_REBALANCE;

	for (unsigned i = 0; i < m->supervisor.count; i++)
		if (m->supervisor.workers[i].channel.fd >= 0)
			fd_pass_send(m->supervisor.workers[i].channel.fd, &byte, 1, -1);
	ctl_reply(rq, json_pack("{s:b}", "ok", 1));
}

const struct ctl_command master_commands[] = {
	{ "rebalance", on_rebalance },
	{ "steer", master_on_steer },
	{ "status", on_status },
	{ "stop", on_stop },
	{ "upstream", master_on_upstream },
	{ "reopen", on_reopen },
	{ NULL, NULL },
};
