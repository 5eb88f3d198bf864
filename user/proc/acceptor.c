/* SPDX-License-Identifier: MIT */
/* Accepting; see acceptor.h. */
#include "proc/acceptor.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"

/* Accepted in one go, before the connections that exist have their turn. */
#define BATCH	   64
#define PAUSE_MS   100
#define SHED_COUNT 16

static int open_reserve(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void pause_accepting(struct acceptor *a, bool is_starved)
{
	if (!a->is_paused)
		a->stats->accept_pauses++;
	a->is_paused = true;
	a->is_starved = is_starved;
	loop_timer_start(a->loop, &a->timer, PAUSE_MS);
}

static bool is_starvation(int err)
{
	return err == -EMFILE || err == -ENFILE || err == -ENOBUFS || err == -ENOMEM;
}

/* Errors of the connection that was to be accepted, which is off the queue (accept(2)): the next one may be well. */
static bool is_of_connection(int err)
{
	switch (-err) {
	case ECONNABORTED:
	case EPROTO:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ENETDOWN:
	case ENETUNREACH:
	case ENONET:
	case EOPNOTSUPP:
	case ETIMEDOUT:
		return true;
	default:
		return false;
	}
}

static void note_error(struct acceptor *a, int err)
{
	a->stats->accept_errors++;
	a->error = err;
}

static void take(struct acceptor *a, int fd, const union sock_addr *peer, bool has_proxy_header)
{
	a->stats->accepted++;
	steer_accepted(a->steer, a->slot, a->loop->now_ns);
	if (server_add(a->server, fd, peer, has_proxy_header) < 0) {
		note_error(a, -ENOMEM);
		a->stats->closed[CLOSE_MEMORY]++;
		steer_closed(a->slot);
	}
}

/* True when the queue may hold more. */
static bool accept_batch(struct acceptor *a, const struct acceptor_socket *s)
{
	for (unsigned i = 0; i < BATCH; i++) {
		union sock_addr peer;
		int fd;

		if (a->server->session_count >= a->max_count) {
			pause_accepting(a, false);
			return false;
		}
		fd = sock_accept(s->io.fd, &peer);
		if (fd >= 0) {
			take(a, fd, &peer, s->has_proxy_header);
		} else if (is_starvation(fd)) {
			note_error(a, fd);
			pause_accepting(a, true);
			return false;
		} else if (fd == -EAGAIN || fd == -EINVAL || fd == -EBADF) {
			return false;
		} else if (!is_of_connection(fd)) {
			/* A security module, say, that refuses before it takes one off the queue: trying on would spin. */
			note_error(a, fd);
			pause_accepting(a, false);
			return false;
		}
	}
	return true;
}

static void accept_all(struct acceptor *a)
{
	bool has_more = false;

	for (unsigned i = 0; i < a->socket_count && !a->is_paused; i++)
		if (a->sockets[i].io.generation)
			has_more |= accept_batch(a, &a->sockets[i]);
	if (has_more)
		loop_again(a->loop, &a->job);
}

static void on_job(struct job *j)
{
	struct acceptor *a = container_of(j, struct acceptor, job);

	if (!a->is_paused)
		accept_all(a);
}

static void on_ready(struct io *io, uint32_t events)
{
	struct acceptor_socket *s = container_of(io, struct acceptor_socket, io);

	/* Under a pause the edge is not lost: resuming tries every socket. */
	if (!s->acceptor->is_paused && accept_batch(s->acceptor, s))
		loop_again(s->acceptor->loop, &s->acceptor->job);
}

static void resume(struct acceptor *a)
{
	a->is_paused = false;
	loop_timer_stop(a->loop, &a->timer);
	loop_again(a->loop, &a->job);
}

/* One waiting client learns that there is no room, instead of waiting for nothing. */
static void refuse_one(struct acceptor *a)
{
	static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
				   "Retry-After: 1\r\nConnection: close\r\n\r\n";
	union sock_addr peer;
	char waste[4096];

	/* Another process may have snatched the descriptor the last time. */
	if (a->reserve_fd < 0)
		a->reserve_fd = open_reserve();
	if (a->reserve_fd < 0)
		return;
	close(a->reserve_fd);
	for (unsigned i = 0; i < a->socket_count; i++) {
		struct iovec iov = { (void *)text, sizeof(text) - 1 };
		int fd = sock_accept(a->sockets[i].io.fd, &peer);

		if (fd < 0)
			continue;
		a->stats->accepted++;
		a->stats->closed[CLOSE_REFUSED]++;
		a->stats->status[5]++;
		steer_accepted(a->steer, a->slot, a->loop->now_ns);
		steer_closed(a->slot);
		/* What has arrived is read away first, or closing would reset and destroy the answer. */
		sock_read(fd, waste, sizeof(waste));
		sock_writev(fd, &iov, 1, false);
		sock_shutdown_write(fd);
		sock_close(fd);
		break;
	}
	a->reserve_fd = open_reserve();
}

static void on_timer(struct timer *t)
{
	struct acceptor *a = container_of(t, struct acceptor, timer);

	if (!a->is_starved) {
		if (a->server->session_count < a->max_count)
			resume(a);
		else
			loop_timer_start(a->loop, &a->timer, PAUSE_MS);
		return;
	}
	if (server_close_idle(a->server, SHED_COUNT, CLOSE_REFUSED) == 0)
		refuse_one(a);
	resume(a);
}

void acceptor_on_closed(struct acceptor *a)
{
	steer_closed(a->slot);
	if (a->is_paused && !a->is_stopped && a->server->session_count < a->max_count)
		resume(a);
}

int acceptor_start(struct acceptor *a, const struct acceptor_source *sources, unsigned count)
{
	int err = 0;

	a->is_paused = false;
	a->is_starved = false;
	a->is_stopped = false;
	a->socket_count = 0;
	job_init(&a->job, on_job);
	timer_init(&a->timer, on_timer);
	a->reserve_fd = open_reserve();
	a->sockets = calloc(count, sizeof(*a->sockets));
	if (!a->sockets)
		return -ENOMEM;
	for (unsigned i = 0; i < count && !err; i++) {
		a->sockets[i].acceptor = a;
		a->sockets[i].has_proxy_header = sources[i].has_proxy_header;
		io_init(&a->sockets[i].io, sources[i].fd, on_ready);
		err = loop_add(a->loop, &a->sockets[i].io, EPOLLIN, false);
		if (!err)
			a->socket_count++;
	}
	return err;
}

void acceptor_stop(struct acceptor *a)
{
	if (!a->sockets || a->is_stopped)
		return;
	for (unsigned i = 0; i < a->socket_count; i++)
		loop_remove(a->loop, &a->sockets[i].io);
	loop_timer_stop(a->loop, &a->timer);
	job_cancel(&a->job);
	a->is_stopped = true;
	a->is_paused = false;
}

/* Bounded: whoever connects meanwhile may be served too, but it must end. */
void acceptor_take(struct acceptor *a, unsigned i)
{
	if (!a->sockets || i >= a->socket_count)
		return;
	for (unsigned n = 0; n < BATCH && accept_batch(a, &a->sockets[i]); n++)
		;
}

void acceptor_close(struct acceptor *a)
{
	if (!a->sockets)
		return;
	acceptor_stop(a);
	loop_timer_stop(a->loop, &a->timer);
	if (a->reserve_fd >= 0)
		close(a->reserve_fd);
	free(a->sockets);
	a->sockets = NULL;
	a->socket_count = 0;
	a->reserve_fd = -1;
	a->is_paused = false;
}

void acceptor_drain(struct acceptor *a)
{
	/* Stopped: what waits is somebody else's. */
	for (unsigned i = 0; i < a->socket_count && !a->is_stopped; i++)
		acceptor_take(a, i);
	acceptor_close(a);
}
