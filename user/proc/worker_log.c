/* SPDX-License-Identifier: MIT */
/* A worker's access log: lines are gathered in a buffer of its own and written together. */
#include <unistd.h>

#include "base/err.h"
#include "http/reply.h"
#include "proc/worker_internal.h"

static void note_lost(struct worker *w)
{
	w->opt->stats->log_lost = w->lost_before + w->log.lost_count;
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

void worker_log_udp(struct worker *w, const struct udp_ended *e)
{
	struct reply_origin origin = { .tries = 1 };
	struct access_entry entry = {
		.method = "UDP",
		.target = e->name,
		.peer_port = sock_addr_port(e->client),
		.bytes_sent = e->bytes_out,
		.body_sent = e->bytes_out,
		.duration_us = e->duration_ms * 1000,
		.reason = e->reason,
		.slot = w->opt->slot,
		.connection = e->serial,
		.request_number = e->in,
		.origin = &origin,
	};
	char host[SOCK_ADDR_TEXT];

	if (w->opt->log_fd < 0)
		return;
	entry.peer_host = span_str(sock_addr_print_host(e->client, host));
	entry.wall_ns = clock_wall_ns();
	snprintf(origin.server, sizeof(origin.server), "%s", e->server);
	on_request_done(&w->server, &entry);
}

int worker_start_log(struct worker *w)
{
	timer_init(&w->log_timer, on_log_timer);
	if (w->opt->log_fd < 0)
		return 0;
	w->server.on_request_done = on_request_done;
	w->lost_before = w->opt->stats->log_lost;
	return logfile_open_fd(&w->log, w->opt->log_fd);
}

void worker_stop_log(struct worker *w)
{
	loop_timer_stop(&w->loop, &w->log_timer);
	if (w->opt->log_fd < 0)
		return;
	logfile_close(&w->log);
	note_lost(w);
}

void worker_replace_log(struct worker *w, int fd)
{
	if (fd < 0)
		log_warn("keeps the old access log: no descriptor is free for the new one");
	else if (w->opt->log_fd >= 0)
		logfile_replace_fd(&w->log, fd);
	else
		close(fd);
}
