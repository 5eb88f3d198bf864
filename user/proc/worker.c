/* SPDX-License-Identifier: MIT */
/* The worker process; see worker.h. */
#include "proc/worker.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/err.h"
#include "net/fd_pass.h"
#include "proc/child.h"
#include "proc/cpus.h"
#include "proc/rescue.h"
#include "proc/worker_internal.h"

/* Descriptors that are neither connections nor cached files: epoll, signals, channel, log, reserve, stdio ... */
#define FILES_APART 32u

/* WebSockets of a server that stops are closed within this time. */
#define STOP_SPREAD_MS 1000u

/* The longest message of the channel. */
union message {
	char type;
	struct rescue_order rescue;
	struct leave_order leave;
	struct {
		char type;	/* CHANNEL_STORE */
		uint8_t index;
	} store;
};

static void note_connections(const struct worker *w)
{
	__atomic_store_n(&w->opt->stats->connections, w->server.session_count, __ATOMIC_RELAXED);
}

static void on_turn(struct loop *l, int event_count)
{
	struct worker *w = l->owner;

	if (event_count < 0) {
		note_connections(w);
		steer_set_live(w->line, w->server.session_count + udp_server_session_count(w->udp));
		__atomic_store_n(&w->line->pending, 0, __ATOMIC_RELAXED);
		steer_set_waiting(w->line, true);
		return;
	}
	worker_check_slot(w);
	w->opt->stats->stale_events += l->stale_count - w->stale_noted;
	w->stale_noted = l->stale_count;
	/* In this order: awake with yesterday's stamp would look stalled. */
	steer_stamp(w->line, l->now_ns);
	steer_set_waiting(w->line, false);
	__atomic_store_n(&w->line->pending, (uint32_t)event_count, __ATOMIC_RELAXED);
	rebalancer_on_turn(&w->rebalancer);
	sandbox_tell();
	worker_tell_troubles(w);
}

/* The end ----------------------------------------------------------------------------------------------------- */

void worker_stop_if_empty(struct worker *w)
{
	/* Of a slot that is gone the inbox is read to its end. */
	bool has_parcels = w->is_leaving && w->rebalancer.inbox.generation &&
			   __atomic_load_n(&w->opt->inboxes->waiting[w->opt->slot], __ATOMIC_RELAXED);

	if ((w->is_draining || w->is_leaving) && w->server.session_count == 0 && !has_parcels && worker_is_udp_done(w))
		loop_stop(&w->loop);
}

static void on_session_closed(struct server *srv)
{
	struct worker *w = srv->owner;

	acceptor_on_closed(&w->acceptor);
	worker_stop_if_empty(w);
}

static void on_given(struct server *srv)
{
	struct worker *w = srv->owner;
	char moved = CHANNEL_MOVED;

	/* Before the word: whoever hears it looks. */
	note_connections(w);
	if (!w->has_moved)
		fd_pass_send(w->opt->channel_fd, &moved, sizeof(moved), -1);
	w->has_moved = true;
}

static void on_drain_over(struct timer *t)
{
	struct worker *w = container_of(t, struct worker, drain_timer);

	log_warn("drain limit reached with %u connections and %u UDP sessions open", w->server.session_count,
		 udp_server_session_count(w->udp));
	server_close_all(&w->server, CLOSE_DRAIN);
	if (!worker_end_udp(w))
		loop_stop(&w->loop);
}

void worker_start_limit(struct worker *w, uint64_t min_ms)
{
	const struct config_timeouts *t = &w->opt->config->timeouts;
	uint64_t limit_ms = MAX(t->drain, min_ms);

	if (timer_is_active(&w->drain_timer))
		return;
	loop_timer_start(&w->loop, &w->drain_timer, limit_ms);
	server_spread_closes(&w->server, limit_ms, t->close_spread ? t->close_spread : limit_ms / 2);
}

static void drain(struct worker *w)
{
	if (w->is_draining)
		return;
	/* Stopped between two generations: the slot is this worker's, and so is what waits there. */
	if (__atomic_load_n(w->opt->owner, __ATOMIC_ACQUIRE) == w->opt->generation)
		worker_take_slot(w);
	/* Before the server drains: what comes out of the inbox is then closed as all others are. */
	rebalancer_empty(&w->rebalancer);
	w->is_draining = true;
	__atomic_store_n(&w->opt->stats->state, WORKER_DRAINING, __ATOMIC_RELAXED);
	acceptor_drain(&w->acceptor);
	rebalancer_stop(&w->rebalancer, &w->loop);
	for (unsigned i = 0; i < w->opt->listener_count; i++)
		listener_close(&w->opt->listeners[i], NULL);
	server_drain(&w->server);
	worker_drain_udp(w);
	runtime_drain(w->opt->runtime);
	/* Clients come back at once: not all in the same moment, and with time left for the closing handshake. */
	runtime_drain_websockets(w->opt->runtime, MIN(w->opt->config->timeouts.drain / 2, STOP_SPREAD_MS));
	worker_start_limit(w, 1);
	worker_stop_if_empty(w);
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

/* The descriptor is the caller's. */
static void take_message(struct worker *w, const union message *m, size_t len, int fd)
{
	switch (m->type) {
	case CHANNEL_TAKE:
		worker_take_slot(w);
		break;
	case CHANNEL_LEAVE:
		if (len == sizeof(m->leave))
			worker_leave(w, &m->leave);
		break;
	case CHANNEL_UDP_RETIRED:
		worker_on_udp_retired(w);
		break;
	case CHANNEL_REBALANCE:
		if (w->has_slot && !w->is_draining)
			rebalancer_ask(&w->rebalancer);
		break;
	case CHANNEL_RESCUE:
		if (len == sizeof(m->rescue) && fd >= 0)
			rescue_take(&w->acceptor, &m->rescue, fd, w->opt->steer);
		break;
	}
}

static void on_channel(struct io *io, uint32_t events)
{
	struct worker *w = container_of(io, struct worker, channel_io);

	for (;;) {
		union message m = { 0 };
		int fd;
		ssize_t n = fd_pass_receive(io->fd, &m, sizeof(m), &fd);

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			loop_remove(&w->loop, io);
			drain(w);
			return;
		}
		if (m.type == CHANNEL_STORE && fd >= 0) {
			runtime_link_store(w->opt->runtime, m.store.index, fd);
			continue;
		}
		if (m.type == CHANNEL_LOG) {
			worker_replace_log(w, fd);
			continue;
		}
		take_message(w, &m, (size_t)n, fd);
		if (fd >= 0)
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
	runtime_fill_limits(w->opt->runtime, &srv->limits);
	srv->limits.table = w->opt->limits;
	srv->limits.row = w->opt->limit_row;
	srv->limits.post = w->opt->limit_post;
	srv->on_session_closed = on_session_closed;
	srv->on_given = on_given;
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

/* All but the sockets, which come with the slot. */
static void fill_acceptor(struct worker *w)
{
	w->acceptor.loop = &w->loop;
	w->acceptor.server = &w->server;
	w->acceptor.steer = w->opt->steer;
	w->acceptor.slot = w->line;
	w->acceptor.stats = w->opt->stats;
	w->acceptor.max_count = connection_limit(w->opt);
}

static void fill_rebalancer(struct worker *w)
{
	w->rebalancer.server = &w->server;
	w->rebalancer.steer = w->opt->steer;
	w->rebalancer.inboxes = w->opt->inboxes;
	w->rebalancer.stats = w->opt->stats;
	w->rebalancer.line = w->line;
	w->rebalancer.slot = w->opt->slot;
	w->rebalancer.is_auto = w->opt->config->steering.rebalance == REBALANCE_AUTO;
	rebalancer_init(&w->rebalancer);
}

static int start_runtime(struct worker *w)
{
	const struct worker_options *opt = w->opt;
	struct runtime_options runtime = {
		.loop = &w->loop,
		.stats = opt->stats,
		.table = opt->upstreams,
		.bus = opt->bus,
		.store_stats = opt->store_stats,
		.module_stats = opt->module_stats,
		.worker = opt->slot,
		.file_limit = opt->file_limit,
	};

	return runtime_start(opt->runtime, &runtime);
}

static int start(struct worker *w)
{
	int err = loop_init(&w->loop);

	if (err)
		return err;
	w->loop.owner = w;
	w->loop.on_turn = on_turn;
	timer_init(&w->drain_timer, on_drain_over);
	fill_server(w);
	fill_acceptor(w);
	fill_rebalancer(w);
	worker_start_troubles(w);
	err = start_runtime(w);
	if (!err)
		err = start_signals(w);
	if (err)
		return err;
	io_init(&w->channel_io, w->opt->channel_fd, on_channel);
	err = loop_add(&w->loop, &w->channel_io, EPOLLIN, false);
	return err ? err : worker_start_log(w);
}

static void finish(struct worker *w)
{
	acceptor_drain(&w->acceptor);
	rebalancer_stop(&w->rebalancer, &w->loop);
	server_close_all(&w->server, CLOSE_DRAIN);
	worker_stop_udp(w);
	note_connections(w);
	runtime_stop(w->opt->runtime);
	worker_stop_log(w);
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

/* The master passes the reason on to whoever waits for the start. */
static int fail(const struct worker_options *opt, const char *what, int err)
{
	char text[128];

	log_error("%s: %s", what, strerror(-err));
	snprintf(text, sizeof(text), "%c%s: %s", CHANNEL_FAILED, what, strerror(-err));
	fd_pass_send(opt->channel_fd, text, strlen(text), -1);
	return 1;
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
	log_set_level(opt->config->log.level);
	w->opt = opt;
	w->line = &w->own_line;
	if (opt->cpu >= 0) {
		err = cpus_pin((unsigned)opt->cpu);
		if (err)
			log_warn("cannot be pinned to cpu %d: %s", opt->cpu, strerror(-err));
	}
	err = privilege_drop(&opt->identity);
	if (err)
		return fail(opt, "cannot give up rights", err);
	err = start(w);
	if (err)
		return fail(opt, "cannot start", err);
	err = confine(opt);
	if (err)
		return fail(opt, "cannot enter its sandbox", err);
	fd_pass_send(opt->channel_fd, &ready, sizeof(ready), -1);
	err = loop_run(&w->loop);
	if (err)
		log_error("event loop: %s", strerror(-err));
	finish(w);
	return err ? 1 : w->exit_status;
}
