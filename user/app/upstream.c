/* SPDX-License-Identifier: MIT */
/*
 * Life of an upstream: made by the master without a loop, started in each worker.  What happens in between is in the
 * other files; upstream_internal.h says in which.
 */
#include <stdlib.h>
#include <string.h>

#include "app/upstream_internal.h"
#include "base/err.h"

const char *upstream_name(const struct upstream *u)
{
	return u->opt.name;
}

/* Endpoints lie side by side in the table: how many, or 0 when they do not, or when there is none. */
static unsigned count_endpoints(const struct upstream_options *opt)
{
	unsigned next = opt->server_count ? opt->servers[0].first_endpoint : 0;
	unsigned count = 0;

	for (unsigned i = 0; i < opt->server_count; i++) {
		const struct upstream_server_options *s = &opt->servers[i];

		/* 65,536: tried[] holds 16 bits. */
		if (s->first_endpoint != next || s->endpoint_count > 65536 - count)
			return 0;
		next += s->endpoint_count;
		count += s->endpoint_count;
	}
	return count;
}

static int copy_options(struct upstream *u, const struct upstream_options *opt)
{
	struct upstream_server_options *servers = calloc(opt->server_count, sizeof(*servers));

	u->opt = *opt;
	u->opt.servers = servers;
	u->opt.name = strdup(opt->name);
	if (!servers || !u->opt.name)
		return -ENOMEM;
	memcpy(servers, opt->servers, opt->server_count * sizeof(*servers));
	return 0;
}

static void init_peers(struct upstream *u)
{
	struct peer *p = u->peers;

	for (unsigned i = 0; i < u->opt.server_count; i++) {
		const struct upstream_server_options *s = &u->opt.servers[i];

		for (unsigned n = 0; n < s->endpoint_count; n++, p++) {
			p->server = s;
			p->sequence = 1;	/* odd: no address was read yet */
			list_init(&p->idle);
			p->health.fail_ms = u->fail_times + (size_t)(p - u->peers) * u->opt.fail_max;
		}
	}
}

int upstream_new(const struct upstream_options *opt, struct upstream **ret_upstream)
{
	unsigned count = count_endpoints(opt);
	struct upstream *u;

	if (count == 0)
		return -EINVAL;
	u = calloc(1, sizeof(*u));
	if (!u)
		return -ENOMEM;
	conns_start(u);
	queue_start(u);
	list_init(&u->deferred);
	job_init(&u->job, upstream_run_job);
	u->first_endpoint = opt->servers[0].first_endpoint;
	u->peer_count = count;
	u->peers = calloc(count, sizeof(*u->peers));
	u->fits = calloc(count, sizeof(*u->fits));
	u->candidates = calloc(count, sizeof(*u->candidates));
	u->fail_times = calloc((size_t)count * MAX(opt->fail_max, 1u), sizeof(*u->fail_times));
	if (copy_options(u, opt) || !u->peers || !u->fits || !u->candidates || !u->fail_times) {
		upstream_free(u);
		return -ENOMEM;
	}
	init_peers(u);
	*ret_upstream = u;
	return 0;
}

void upstream_free(struct upstream *u)
{
	if (!u)
		return;
	BUG_ON(u->lease_count > 0 || u->depth > 0);
	queue_stop(u);
	conns_stop(u);
	job_cancel(&u->job);
	free((char *)u->opt.name);
	free((void *)u->opt.servers);
	free(u->peers);
	free(u->fits);
	free(u->candidates);
	free(u->fail_times);
	free(u);
}

void upstream_start(struct upstream *u, struct loop *loop, const struct upstream_table *table, unsigned worker)
{
	BUG_ON(u->first_endpoint + u->peer_count > table->endpoint_count);
	u->loop = loop;
	for (unsigned i = 0; i < u->peer_count; i++) {
		u->peers[i].shared = &table->endpoints[u->first_endpoint + i];
		u->peers[i].counters = upstream_table_counters(table, worker, u->first_endpoint + i);
	}
	/* The worker before may have died with a queue. */
	upstream_totals(u)->queued = 0;
	balance_start(u);
}

void upstream_drain(struct upstream *u)
{
	u->is_draining = true;
	if (u->loop)
		conns_close_all_idle(u);
}
