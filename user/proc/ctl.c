/* SPDX-License-Identifier: MIT */
/*
 * The listening side of the control socket: clients come, are checked and counted, and go.  What
 * happens between a question and its answer is in ctl_request.c.
 */
#include "proc/ctl_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

#define CTL_BACKLOG	    64
#define CTL_ACCEPT_RETRY_MS 100

static bool is_allowed(int fd)
{
	struct ucred peer;

	return unix_peer(fd, &peer) == 0 && (peer.uid == 0 || peer.uid == geteuid());
}

/* A new connection's socket buffer is empty, so the few bytes fit; when not, the client just sees
 * the end. */
static void refuse_client(struct ctl *c, int fd, const char *line)
{
	c->stats.refused++;
	unix_write(fd, line, strlen(line));
	close(fd);
}

static void start_request(struct ctl *c, int fd, const char *text, size_t len)
{
	if (ctl_request_start(c, fd, text, len) < 0)
		c->stats.refused++;
	else
		c->stats.accepted++;
}

static void add_client(struct ctl *c, int fd)
{
	if (!is_allowed(fd)) {
		refuse_client(c, fd, "{\"ok\":false,\"error\":\"not permitted\"}\n");
		return;
	}
	if (c->stats.client_count >= c->opt.client_max) {
		refuse_client(c, fd, "{\"ok\":false,\"error\":\"too many clients at once\"}\n");
		return;
	}
	start_request(c, fd, NULL, 0);
}

static void accept_clients(struct ctl *c)
{
	int fd;

	while ((fd = unix_accept(c->listener.fd)) >= 0)
		add_client(c, fd);
	/* The edge is spent, so somebody has to come back for who is still in the queue. */
	if (fd != -EAGAIN)
		loop_timer_start(c->loop, &c->retry, CTL_ACCEPT_RETRY_MS);
}

static void on_connection(struct io *io, uint32_t events)
{
	accept_clients(container_of(io, struct ctl, io));
}

static void on_accept_retry(struct timer *t)
{
	accept_clients(container_of(t, struct ctl, retry));
}

static void on_free_ctl(struct job *j)
{
	free(container_of(j, struct ctl, free_job));
}

static void describe(int err, const char *path, const char *step, char error[CTL_ERROR_TEXT])
{
	if (err == -EADDRINUSE)
		snprintf(error, CTL_ERROR_TEXT,
			 "another sluice answers at '%s': stop it, or give this one another "
			 "by --control PATH",
			 path);
	else if (err == -ENOTSOCK)
		snprintf(error, CTL_ERROR_TEXT,
			 "cannot open control socket '%s': another kind of file lies there", path);
	else
		snprintf(error, CTL_ERROR_TEXT, "cannot open control socket '%s': %s: %s", path,
			 step, strerror(-err));
}

static struct ctl *new_ctl(struct loop *loop, const struct ctl_options *opt)
{
	struct ctl *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->loop = loop;
	c->opt = *opt;
	c->opt.client_max = opt->client_max ? opt->client_max : CTL_CLIENT_MAX;
	c->opt.timeout_ms = opt->timeout_ms ? opt->timeout_ms : CTL_TIMEOUT_MS;
	c->listener.fd = -1;
	list_init(&c->requests);
	timer_init(&c->retry, on_accept_retry);
	job_init(&c->free_job, on_free_ctl);
	return c;
}

static int start(struct ctl *c, const char **step)
{
	io_init(&c->io, c->listener.fd, on_connection);
	*step = "epoll_ctl";
	return loop_add(c->loop, &c->io, EPOLLIN, false);
}

int ctl_open(struct loop *loop, const struct ctl_options *opt, struct ctl **ret_ctl,
	     char error[CTL_ERROR_TEXT])
{
	struct ctl *c = new_ctl(loop, opt);
	const char *step = "calloc";
	int err = c ? unix_listen(&c->listener, opt->path, CTL_BACKLOG, &step) : -ENOMEM;

	if (!err)
		err = start(c, &step);
	if (err) {
		describe(err, opt->path, step, error);
		if (c)
			unix_unlisten(&c->listener);
		free(c);
		return err;
	}
	*ret_ctl = c;
	return 0;
}

int ctl_adopt(struct loop *loop, const struct ctl_options *opt, int fd, struct ctl **ret_ctl,
	      char error[CTL_ERROR_TEXT])
{
	struct ctl *c = new_ctl(loop, opt);
	const char *step = "listen";
	int err = c ? unix_adopt(&c->listener, fd, opt->path, CTL_BACKLOG) : -ENOMEM;

	if (!err)
		err = start(c, &step);
	if (err) {
		describe(err, opt->path, step, error);
		free(c);
		return err;
	}
	*ret_ctl = c;
	return 0;
}

void ctl_leave(struct ctl *c, int (*send)(void *ctx, int fd, const char *text, size_t len), void *ctx)
{
	loop_timer_stop(c->loop, &c->retry);
	loop_remove(c->loop, &c->io);
	unix_leave(&c->listener);
	list_for_each_safe (node, tmp, &c->requests) {
		struct ctl_request *rq = container_of(node, struct ctl_request, node);

		if (rq->state != REQUEST_READING)
			continue;
		/* One that cannot go sees the end of its connection, as when a server stops. */
		send(ctx, rq->io.fd, rq->line, rq->line_len);
		ctl_request_finish(rq);
	}
}

void ctl_take(struct ctl *c, int fd, const char *text, size_t len)
{
	start_request(c, fd, text, len);
}

int ctl_fd(const struct ctl *c)
{
	return c->listener.fd;
}

void ctl_close(struct ctl *c)
{
	if (!c)
		return;
	/* The file goes first: who sees its connection end may connect anew and must not reach this
	 * socket. */
	loop_timer_stop(c->loop, &c->retry);
	loop_remove(c->loop, &c->io);
	unix_unlisten(&c->listener);
	list_for_each_safe (node, tmp, &c->requests)
		ctl_request_finish(container_of(node, struct ctl_request, node));
	loop_free_later(c->loop, &c->free_job);
}

void ctl_abandon(struct ctl *c)
{
	if (!c)
		return;
	/* loop_remove() would take them out of the epoll instance that is shared with the parent.
	 */
	unix_leave(&c->listener);
	list_for_each (node, &c->requests) {
		struct ctl_request *rq = container_of(node, struct ctl_request, node);

		if (rq->io.fd >= 0)
			close(rq->io.fd);
	}
}

const struct ctl_stats *ctl_stats(const struct ctl *c)
{
	return &c->stats;
}
