/* SPDX-License-Identifier: MIT */
/* The monitor process; see monitor.h. */
#include "proc/monitor.h"

#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/err.h"
#include "base/log.h"
#include "net/fd_pass.h"
#include "proc/child.h"
#include "proc/monitor_impl.h"
#include "proc/worker.h"

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
	struct loop loop;
	struct io signal_io, channel_io;
	struct monitor *monitor;
};

static void on_signal(struct io *io, uint32_t events)
{
	loop_stop(&container_of(io, struct process, signal_io)->loop);
}

/* The master says nothing here; what there is to read is its end. */
static void on_channel(struct io *io, uint32_t events)
{
	struct process *p = container_of(io, struct process, channel_io);
	char byte;
	ssize_t n;

	while ((n = fd_pass_receive(io->fd, &byte, sizeof(byte), NULL)) > 0)
		;
	if (n != -EAGAIN)
		loop_stop(&p->loop);
}

static void on_turn(struct loop *l, int event_count)
{
	sandbox_tell();
}

static int start(struct process *p, const struct monitor_options *opt)
{
	int err = loop_init(&p->loop);
	int fd;

	if (err)
		return err;
	p->loop.on_turn = on_turn;
	fd = child_open_signals();
	if (fd < 0)
		return fd;
	io_init(&p->signal_io, fd, on_signal);
	err = loop_add(&p->loop, &p->signal_io, EPOLLIN, false);
	if (err)
		return err;
	io_init(&p->channel_io, opt->channel_fd, on_channel);
	err = loop_add(&p->loop, &p->channel_io, EPOLLIN, false);
	return err ? err : monitor_new(&p->loop, opt->config, opt->upstreams, &p->monitor);
}

int monitor_run(const struct monitor_options *opt)
{
	static struct process process;	/* reachable for leak checkers */
	struct process *p = &process;
	static uint64_t refused;	/* told, not shown: the monitor has no statistics */
	char ready = CHANNEL_READY;
	int err;

	log_set_name("monitor");
	err = privilege_drop(&opt->identity);
	if (err) {
		log_error("cannot give up rights: %s", strerror(-err));
		return 1;
	}
	err = start(p, opt);
	if (err) {
		log_error("cannot start: %s", strerror(-err));
		return 1;
	}
	err = sandbox_enter(opt->sandbox, SANDBOX_MONITOR, &refused);
	if (err < 0) {
		log_error("cannot enter its sandbox: %s", strerror(-err));
		return 1;
	}
	fd_pass_send(opt->channel_fd, &ready, sizeof(ready), -1);
	err = loop_run(&p->loop);
	if (err)
		log_error("event loop: %s", strerror(-err));
	monitor_free(p->monitor);
	loop_remove(&p->loop, &p->signal_io);
	loop_remove(&p->loop, &p->channel_io);
	loop_fini(&p->loop);
	return err ? 1 : 0;
}
