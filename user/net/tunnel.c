/* SPDX-License-Identifier: MIT */
/* Two connections joined; see tunnel.h. */
#include "net/tunnel.h"

#include <stdlib.h>

#include "base/err.h"

/* What one tunnel may move before others have their turn. */
#define TURN_BYTES (1024u * 1024)
#define STACK_SIZE 16384u

enum flow { FLOW_MOVED, FLOW_STUCK, FLOW_BROKEN };

static void on_timer(struct timer *timer)
{
	struct tunnel *t = container_of(timer, struct tunnel, timer);
	uint64_t due_ms = t->moved_ms + t->idle_ms;

	if (t->loop->now_ms < due_ms) {
		loop_timer_start(t->loop, &t->timer, due_ms - t->loop->now_ms);
		return;
	}
	tunnel_close(t);
	t->on_end(t, TUNNEL_IDLE);
}

static void on_job(struct job *j)
{
	tunnel_run(container_of(j, struct tunnel, job));
}

void tunnel_init(struct tunnel *t, struct loop *loop, struct pipe_pool *pipes, struct conn *a, struct conn *b,
		 uint64_t idle_ms, void (*on_end)(struct tunnel *t, enum tunnel_end how))
{
	*t = (struct tunnel){
		.loop = loop,
		.pipes = pipes,
		.ways = { { .from = a, .to = b }, { .from = b, .to = a } },
		.idle_ms = idle_ms,
		.moved_ms = loop->now_ms,
		.on_end = on_end,
	};
	timer_init(&t->timer, on_timer);
	job_init(&t->job, on_job);
	if (idle_ms)
		loop_timer_start(loop, &t->timer, idle_ms);
}

static int keep_rest(struct tunnel_way *w, const char *bytes, size_t len)
{
	if (len == 0)
		return 0;
	w->rest = malloc(len);
	if (!w->rest)
		return -ENOMEM;
	memcpy(w->rest, bytes, len);
	w->rest_at = 0;
	w->rest_len = (unsigned)len;
	return 0;
}

int tunnel_add_early(struct tunnel *t, const struct conn *from, struct span bytes)
{
	struct tunnel_way *w = &t->ways[t->ways[0].from == from ? 0 : 1];

	BUG_ON(w->rest);
	w->bytes += bytes.len;
	return keep_rest(w, bytes.ptr, bytes.len);
}

static void give_back(struct tunnel *t, struct tunnel_way *w)
{
	pipe_put(t->pipes, w->pipe);
	w->pipe = NULL;
	free(w->rest);
	w->rest = NULL;
	w->rest_len = 0;
}

void tunnel_close(struct tunnel *t)
{
	loop_timer_stop(t->loop, &t->timer);
	job_cancel(&t->job);
	give_back(t, &t->ways[0]);
	give_back(t, &t->ways[1]);
}

/* The kernel takes no more: an event tells when it does. */
static enum flow wait_for_room(struct tunnel_way *w)
{
	return conn_want_write(w->to) == 0 ? FLOW_STUCK : FLOW_BROKEN;
}

static enum flow write_rest(struct tunnel_way *w)
{
	struct iovec iov = { w->rest + w->rest_at, w->rest_len - w->rest_at };
	ssize_t n = conn_writev(w->to, &iov, 1, false);

	if (n == -EAGAIN)
		return wait_for_room(w);
	if (n < 0)
		return FLOW_BROKEN;
	w->rest_at += (unsigned)n;
	if (w->rest_at == w->rest_len) {
		free(w->rest);
		w->rest = NULL;
		w->rest_len = 0;
	}
	return FLOW_MOVED;
}

static enum flow write_pipe(struct tunnel *t, struct tunnel_way *w)
{
	ssize_t n = conn_splice_out(w->to, w->pipe->read_fd, w->pipe->filled, false);

	if (n == -EAGAIN)
		return wait_for_room(w);
	if (n <= 0)
		return FLOW_BROKEN;
	w->pipe->filled -= (unsigned)n;
	if (w->pipe->filled == 0) {
		pipe_put(t->pipes, w->pipe);
		w->pipe = NULL;
	}
	return FLOW_MOVED;
}

static enum flow note_read(struct tunnel_way *w, ssize_t n)
{
	if (n == 0)
		w->has_ended = true;
	else if (n != -EAGAIN)
		return FLOW_BROKEN;
	w->is_bulk = false;
	return n == 0 ? FLOW_MOVED : FLOW_STUCK;
}

static enum flow read_pipe(struct tunnel *t, struct tunnel_way *w, uint64_t *moved)
{
	ssize_t n = conn_splice_in(w->from, w->pipe->write_fd, w->pipe->size);

	if (n <= 0) {
		pipe_put(t->pipes, w->pipe);
		w->pipe = NULL;
		return note_read(w, n);
	}
	w->pipe->filled = (unsigned)n;
	w->bytes += (uint64_t)n;
	*moved += (uint64_t)n;
	return FLOW_MOVED;
}

/* Few bytes: read and written at once, which costs no more calls than splicing them and touches no page of a pipe. */
static enum flow copy(struct tunnel_way *w, uint64_t *moved)
{
	char buffer[STACK_SIZE];
	ssize_t n = conn_read(w->from, buffer, sizeof(buffer)), written;
	struct iovec iov = { buffer, 0 };

	if (n <= 0)
		return note_read(w, n);
	w->is_bulk = n == sizeof(buffer);
	w->bytes += (uint64_t)n;
	*moved += (uint64_t)n;
	iov.iov_len = (size_t)n;
	written = conn_writev(w->to, &iov, 1, false);
	if (written < 0 && written != -EAGAIN)
		return FLOW_BROKEN;
	written = MAX(written, 0);
	return keep_rest(w, buffer + written, (size_t)(n - written)) ? FLOW_BROKEN : FLOW_MOVED;
}

static enum flow pass_end(struct tunnel_way *w)
{
	if (!w->is_shut) {
		w->is_shut = true;
		conn_shutdown_write(w->to);
	}
	return FLOW_STUCK;
}

static enum flow step(struct tunnel *t, struct tunnel_way *w, uint64_t *moved)
{
	if (w->rest)
		return write_rest(w);
	if (w->pipe && w->pipe->filled)
		return write_pipe(t, w);
	if (w->has_ended)
		return pass_end(w);
	if (!w->from->is_readable)
		return FLOW_STUCK;
	if (w->is_bulk && !w->pipe && conn_can_splice(w->from) && conn_can_splice(w->to))
		w->pipe = pipe_get(t->pipes);
	return w->pipe ? read_pipe(t, w, moved) : copy(w, moved);
}

/* False: it is over. */
static bool run_way(struct tunnel *t, struct tunnel_way *w)
{
	uint64_t moved = 0;

	for (;;) {
		enum flow flow = step(t, w, &moved);

		if (flow == FLOW_BROKEN)
			return false;
		t->moved_ms = moved || flow == FLOW_MOVED ? t->loop->now_ms : t->moved_ms;
		if (flow == FLOW_STUCK)
			return true;
		if (moved >= TURN_BYTES) {
			loop_again(t->loop, &t->job);
			return true;
		}
	}
}

void tunnel_run(struct tunnel *t)
{
	if (!run_way(t, &t->ways[0]) || !run_way(t, &t->ways[1])) {
		tunnel_close(t);
		t->on_end(t, TUNNEL_FAILED);
	} else if (t->ways[0].is_shut && t->ways[1].is_shut) {
		tunnel_close(t);
		t->on_end(t, TUNNEL_DONE);
	}
}
