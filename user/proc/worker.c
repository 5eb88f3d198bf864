/* SPDX-License-Identifier: MIT */
/* The worker process; see worker.h. */
#include "proc/worker.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/logfile.h"
#include "net/fd_pass.h"
#include "proc/acceptor.h"
#include "proc/child.h"
#include "proc/cpus.h"
#include "proc/rescue.h"

struct worker {
	const struct worker_options *opt;
	struct loop loop;
	struct server server;
	struct acceptor acceptor;
	struct rebalancer rebalancer;
	struct steer_slot *slot;
	struct logfile log;
	struct timer log_timer;
	struct timer drain_timer;
	struct io signal_io;
	struct io channel_io;
	uint64_t stale_noted;		/* of loop.stale_count, in the statistics already */
	bool is_draining;
};

/* Descriptors that are neither connections nor cached files: epoll, signals, channel, log, reserve, stdio ... */
#define FILES_APART 32u

static void on_turn(struct loop *l, int event_count)
{
	struct worker *w = l->owner;

	if (event_count < 0) {
		__atomic_store_n(&w->slot->pending, 0, __ATOMIC_RELAXED);
		steer_set_waiting(w->slot, true);
		return;
	}
	w->opt->stats->stale_events += l->stale_count - w->stale_noted;
	w->stale_noted = l->stale_count;
	/* In this order: awake with yesterday's stamp would look stalled. */
	steer_stamp(w->slot, l->now_ns);
	steer_set_waiting(w->slot, false);
	__atomic_store_n(&w->slot->pending, (uint32_t)event_count, __ATOMIC_RELAXED);
	rebalancer_on_turn(&w->rebalancer);
	sandbox_tell();
}

/* Access log -------------------------------------------------------------------------------------------------- */

static void note_lost(struct worker *w)
{
	w->opt->stats->log_lost = w->log.lost_count;
}

static void on_log_timer(struct timer *t)
{
	struct worker *w = container_of(t, struct worker, log_timer);

	logfile_flush(&w->log);
	note_lost(w);
	/* A pipe that is full: the lines wait, and no later request may come to carry them. */
	if (w->log.pending_len)
		loop_timer_start(&w->loop, &w->log_timer, w->opt->config->log.flush_ms);
}

static void on_request_done(struct server *srv, const struct access_entry *e)
{
	struct worker *w = srv->owner;
	struct buf *line = logfile_line(&w->log);

	if (w->opt->config->log.format == LOG_FORMAT_JSON)
		access_format_json(line, e);
	else
		access_format_combined(line, e);
	logfile_commit(&w->log);
	if (!timer_is_active(&w->log_timer))
		loop_timer_start(&w->loop, &w->log_timer, w->opt->config->log.flush_ms);
	note_lost(w);
}

/* The end ----------------------------------------------------------------------------------------------------- */

static void stop_if_empty(struct worker *w)
{
	if (w->is_draining && w->server.session_count == 0)
		loop_stop(&w->loop);
}

static void on_session_closed(struct server *srv)
{
	struct worker *w = srv->owner;

	acceptor_on_closed(&w->acceptor);
	stop_if_empty(w);
}

static void on_drain_over(struct timer *t)
{
	struct worker *w = container_of(t, struct worker, drain_timer);

	log_warn("drain limit reached with %u connections open", w->server.session_count);
	server_close_all(&w->server, CLOSE_DRAIN);
	loop_stop(&w->loop);
}

static void drain(struct worker *w)
{
	if (w->is_draining)
		return;
	w->is_draining = true;
	__atomic_store_n(&w->opt->stats->state, WORKER_DRAINING, __ATOMIC_RELAXED);
	acceptor_drain(&w->acceptor);
	rebalancer_stop(&w->rebalancer, &w->loop);
	for (unsigned i = 0; i < w->opt->listener_count; i++)
		listener_close(&w->opt->listeners[i], NULL);
	server_drain(&w->server);
	runtime_drain(w->opt->runtime);
	loop_timer_start(&w->loop, &w->drain_timer, MAX(w->opt->config->timeouts.drain, 1u));
	stop_if_empty(w);
}

static void on_signal(struct io *io, uint32_t events)
{
	struct worker *w = container_of(io, struct worker, signal_io);
	struct signalfd_siginfo info;

	while (read(io->fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGTERM) {
			drain(w);
		} else if (info.ssi_signo == SIGQUIT) {
			server_close_all(&w->server, CLOSE_DRAIN);
			loop_stop(&w->loop);
		}
	}
}

static void on_channel(struct io *io, uint32_t events)
{
	struct worker *w = container_of(io, struct worker, channel_io);

	for (;;) {
		struct rescue_order m = { 0 };	/* the longest message */
		int fd;
		ssize_t n = fd_pass_receive(io->fd, &m, sizeof(m), &fd);

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			loop_remove(&w->loop, io);
			drain(w);
			return;
		}
		if (m.type == CHANNEL_REBALANCE && !w->is_draining)
			rebalancer_ask(&w->rebalancer);
		if (m.type == CHANNEL_RESCUE && n == sizeof(m) && fd >= 0)
			rescue_take(&w->acceptor, &m, fd, w->opt->steer);
		if (m.type == CHANNEL_LOG && fd >= 0)
			logfile_replace_fd(&w->log, fd);
		else if (m.type == CHANNEL_LOG)
			log_warn("keeps the old access log: no descriptor is free for the new one");
		else if (fd >= 0)
			close(fd);
	}
}

/* Start ------------------------------------------------------------------------------------------------------- */

static int start_signals(struct worker *w)
{
	int fd = child_open_signals();

	if (fd < 0)
		return fd;
	io_init(&w->signal_io, fd, on_signal);
	return loop_add(&w->loop, &w->signal_io, EPOLLIN, false);
}

static void fill_server(struct worker *w)
{
	const struct config *c = w->opt->config;
	struct server *srv = &w->server;

	srv->loop = &w->loop;
	srv->stats = w->opt->stats;
	srv->sites = w->opt->runtime->sites;
	srv->slot = w->opt->slot;
	srv->owner = w;
	srv->parse = (struct parse_limits){
		.request_line_max = c->limits.request_line,
		.head_max = c->limits.header,
		.field_max = c->limits.header_count,
		.body_max = c->limits.body,
	};
	srv->timeouts = (struct server_timeouts){
		.header = c->timeouts.header,
		.body = c->timeouts.body,
		.keepalive = c->timeouts.keepalive,
		.write = c->timeouts.write,
		.linger = c->timeouts.linger,
	};
	srv->max_requests = c->limits.requests;
	srv->on_session_closed = on_session_closed;
	srv->on_request_done = w->opt->log_fd >= 0 ? on_request_done : NULL;
	server_init(srv, c->server_name);
	server_allow_body(srv, runtime_body_max(w->opt->runtime));
}

static unsigned connection_limit(const struct worker_options *opt)
{
	unsigned apart = FILES_APART + opt->file_limit / 4;
	unsigned by_files = opt->file_limit > 2 * apart ? opt->file_limit - apart : opt->file_limit / 2;

	if (opt->config->limits.connections)
		return (unsigned)MIN(opt->config->limits.connections, (uint64_t)UINT32_MAX);
	return by_files;
}

static int start_acceptor(struct worker *w)
{
	const struct worker_options *opt = w->opt;
	struct acceptor_source *sources = calloc(opt->listener_count, sizeof(*sources));
	int err;

	if (!sources)
		return -ENOMEM;
	for (unsigned i = 0; i < opt->listener_count; i++) {
		sources[i].fd = opt->listeners[i].fds[opt->slot];
		sources[i].has_proxy_header = opt->listeners[i].has_proxy_header;
	}
	w->acceptor.loop = &w->loop;
	w->acceptor.server = &w->server;
	w->acceptor.steer = w->opt->steer;
	w->acceptor.slot = w->slot;
	w->acceptor.stats = opt->stats;
	w->acceptor.max_count = connection_limit(opt);
	err = acceptor_start(&w->acceptor, sources, opt->listener_count);
	free(sources);
	return err;
}

static int start_rebalancer(struct worker *w)
{
	w->rebalancer.server = &w->server;
	w->rebalancer.steer = w->opt->steer;
	w->rebalancer.inboxes = w->opt->inboxes;
	w->rebalancer.stats = w->opt->stats;
	w->rebalancer.slot = w->opt->slot;
	w->rebalancer.is_auto = w->opt->config->steering.rebalance == REBALANCE_AUTO;
	return rebalancer_start(&w->rebalancer, &w->loop);
}

static int start(struct worker *w)
{
	int err = loop_init(&w->loop);

	if (err)
		return err;
	w->loop.owner = w;
	w->loop.on_turn = on_turn;
	runtime_start(w->opt->runtime, &w->loop, w->opt->upstreams, w->opt->slot, w->opt->file_limit);
	timer_init(&w->log_timer, on_log_timer);
	timer_init(&w->drain_timer, on_drain_over);
	fill_server(w);
	err = start_signals(w);
	if (err)
		return err;
	io_init(&w->channel_io, w->opt->channel_fd, on_channel);
	err = loop_add(&w->loop, &w->channel_io, EPOLLIN, false);
	if (err)
		return err;
	if (w->opt->log_fd >= 0) {
		err = logfile_open_fd(&w->log, w->opt->log_fd);
		if (err)
			return err;
	}
	err = start_rebalancer(w);
	return err ? err : start_acceptor(w);
}

static void finish(struct worker *w)
{
	acceptor_drain(&w->acceptor);
	rebalancer_stop(&w->rebalancer, &w->loop);
	server_close_all(&w->server, CLOSE_DRAIN);
	runtime_stop(w->opt->runtime);
	if (w->opt->log_fd >= 0) {
		logfile_close(&w->log);
		note_lost(w);
	}
	loop_timer_stop(&w->loop, &w->log_timer);
	loop_timer_stop(&w->loop, &w->drain_timer);
	loop_remove(&w->loop, &w->signal_io);
	loop_remove(&w->loop, &w->channel_io);
	/* Runs the frees that the closes above queued, before the pools look for leftovers. */
	loop_fini(&w->loop);
	server_fini(&w->server);
}

/* Last of all, so that what a start needs and serving does not is on no list. */
static int confine(const struct worker_options *opt)
{
	int bits = sandbox_enter(opt->sandbox, SANDBOX_WORKER, &opt->stats->sandbox_refused);

	opt->stats->confined = bits > 0 ? (uint32_t)bits : 0;
	return bits < 0 ? bits : 0;
}

int worker_run(const struct worker_options *opt)
{
	static struct worker worker;	/* large, and reachable for leak checkers */
	struct worker *w = &worker;
	char ready = CHANNEL_READY;
	char name[24];
	int err;

	snprintf(name, sizeof(name), "worker %u", opt->slot);
	log_set_name(name);
	w->opt = opt;
	w->slot = steer_slot(opt->steer, opt->slot);
	if (opt->cpu >= 0) {
		err = cpus_pin((unsigned)opt->cpu);
		if (err)
			log_warn("cannot be pinned to cpu %d: %s", opt->cpu, strerror(-err));
	}
	err = privilege_drop(&opt->identity);
	if (err) {
		log_error("cannot give up rights: %s", strerror(-err));
		return 1;
	}
	err = start(w);
	if (err) {
		log_error("cannot start: %s", strerror(-err));
		return 1;
	}
	err = confine(opt);
	if (err) {
		log_error("cannot enter its sandbox: %s", strerror(-err));
		return 1;
	}
	__atomic_store_n(&opt->stats->state, WORKER_RUNNING, __ATOMIC_RELAXED);
	fd_pass_send(opt->channel_fd, &ready, sizeof(ready), -1);
	err = loop_run(&w->loop);
	if (err)
		log_error("event loop: %s", strerror(-err));
	finish(w);
	return err ? 1 : 0;
}
