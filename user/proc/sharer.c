/* SPDX-License-Identifier: MIT */
/* The sharer process; see sharer.h. */
#include "proc/sharer.h"

#include <string.h>

#include "app/limit_sync.h"
#include "base/err.h"
#include "base/log.h"
#include "proc/helper.h"
#include "proc/runtime.h"

const struct config_redis *sharer_redis(const struct config *c)
{
	for (unsigned i = 0; c->limits.redis && i < c->redis_count; i++)
		if (strcmp(c->redis[i].name, c->limits.redis) == 0)
			return &c->redis[i];
	return NULL;
}

uint64_t sharer_lease_ns(const struct config *c)
{
	const struct config_redis *r = sharer_redis(c);

	return r ? limit_sync_lease_ns(r->timeout, c->limits.sync) : 0;
}

struct process {
	struct helper helper;
	const struct sharer_options *opt;
	struct limit_sync *sync;
};

static int start(struct helper *h)
{
	struct process *p = container_of(h, struct process, helper);
	const struct config *c = p->opt->config;
	struct redis_server_options redis = runtime_redis_options(sharer_redis(c));
	struct limit_sync_options opt = {
		.redis = &redis,
		.upstreams = p->opt->upstreams,
		.share = p->opt->share,
		.table = p->opt->table,
		.prefix = c->limits.key_prefix,
		.every_ms = c->limits.sync,
		.is_open = !c->limits.is_closed,
	};

	return limit_sync_new(&h->loop, &opt, &p->sync);
}

static void stop(struct helper *h)
{
	limit_sync_free(container_of(h, struct process, helper)->sync);
}

static void on_left(void *ctx)
{
	loop_stop(ctx);
}

/* What the last worker has admitted the others are to hear too. */
static void leave(struct helper *h)
{
	limit_sync_leave(container_of(h, struct process, helper)->sync, on_left, &h->loop);
}

int sharer_run(const struct sharer_options *opt)
{
	static struct process process;	/* reachable for leak checkers */

	process = (struct process){
		.opt = opt,
		.helper = {
			.name = "sharer",
			.role = SANDBOX_SHARER,
			.channel_fd = opt->channel_fd,
			.identity = opt->identity,
			.sandbox = opt->sandbox,
			.start = start,
			.stop = stop,
			.leave = leave,
		},
	};
	return helper_run(&process.helper);
}
