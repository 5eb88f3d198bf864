/* SPDX-License-Identifier: MIT */
/* The monitor process; see monitor.h. */
#include "proc/monitor.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "proc/helper.h"
#include "proc/monitor_impl.h"

static bool has_names(const struct config *c)
{
	for (unsigned i = 0; i < config_group_count(c); i++)
		for (unsigned k = 0; k < config_group(c, i)->server_count; k++)
			if (monitor_server_has_name(&config_group(c, i)->servers[k]))
				return true;
	return false;
}

bool monitor_is_needed(const struct config *c)
{
	for (unsigned i = 0; i < config_group_count(c); i++)
		if (config_group(c, i)->check.kind != CHECK_OFF)
			return true;
	return has_names(c);
}

/* What it does ------------------------------------------------------------------------------------------------- */

static int open_resolver(struct monitor *m)
{
	struct resolver_options opt = { .server_count = m->config->resolver_count };
	union sock_addr *servers;
	int err = 0;

	if (!has_names(m->config))
		return 0;
	servers = calloc(opt.server_count + 1, sizeof(*servers));
	if (!servers)
		return -ENOMEM;
	for (unsigned i = 0; i < opt.server_count && !err; i++)
		err = sock_addr_parse(span_str(m->config->resolvers[i]), &servers[i]);
	opt.servers = servers;
	if (!err)
		err = resolver_new(m->loop, &opt, &m->resolver);
	free(servers);
	return err;
}

static int start_servers(struct monitor *m)
{
	unsigned count = 0;
	int err = 0;

	for (unsigned i = 0; i < config_group_count(m->config); i++)
		count += config_group(m->config, i)->server_count;
	m->servers = calloc(count + 1, sizeof(*m->servers));
	if (!m->servers)
		return -ENOMEM;
	for (unsigned i = 0; i < config_group_count(m->config); i++) {
		const struct config_upstream *u = config_group(m->config, i);

		for (unsigned k = 0; k < u->server_count && !err; k++) {
			struct monitor_server *s = &m->servers[m->server_count++];

			s->monitor = m;
			s->upstream = u;
			s->conf = &u->servers[k];
			s->table = &m->table->endpoints[s->conf->first_endpoint];
			err = monitor_server_start(s);
		}
	}
	return err;
}

int monitor_new(struct loop *loop, const struct config *config, const struct upstream_table *table,
		struct monitor **ret_monitor)
{
	struct monitor *m = calloc(1, sizeof(*m));
	int err;

	*ret_monitor = NULL;
	if (!m)
		return -ENOMEM;
	m->loop = loop;
	m->config = config;
	m->table = table;
	err = open_resolver(m);
	if (!err)
		err = start_servers(m);
	if (err) {
		log_error("cannot look after the upstreams: %s", strerror(-err));
		monitor_free(m);
		return err;
	}
	*ret_monitor = m;
	return 0;
}

void monitor_free(struct monitor *m)
{
	if (!m)
		return;
	for (unsigned i = 0; i < m->server_count; i++)
		monitor_server_stop(&m->servers[i]);
	resolver_free(m->resolver);
	free(m->servers);
	free(m);
}

/* Process ------------------------------------------------------------------------------------------------------ */

struct process {
	struct helper helper;
	const struct monitor_options *opt;
	struct monitor *monitor;
};

static int start(struct helper *h)
{
	struct process *p = container_of(h, struct process, helper);

	return monitor_new(&h->loop, p->opt->config, p->opt->upstreams, &p->monitor);
}

static void stop(struct helper *h)
{
	monitor_free(container_of(h, struct process, helper)->monitor);
}

int monitor_run(const struct monitor_options *opt)
{
	static struct process process;	/* reachable for leak checkers */

	process = (struct process){
		.opt = opt,
		.helper = {
			.name = "monitor",
			.role = SANDBOX_MONITOR,
			.channel_fd = opt->channel_fd,
			.identity = opt->identity,
			.sandbox = opt->sandbox,
			.start = start,
			.stop = stop,
		},
	};
	return helper_run(&process.helper);
}
