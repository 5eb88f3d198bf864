/* SPDX-License-Identifier: MIT */
/*
 * After a 101: the head goes to the client, the client's connection leaves its session, and a tunnel joins it with the
 * server's.  What is left of the request, its buffers included, is gone then: an idle tunnel is two sockets and this.
 */
#include <stdlib.h>

#include "app/proxy_internal.h"
#include "base/err.h"
#include "stats_shm.h"

struct proxy_tunnel {
	struct tunnel tunnel;
	struct upstream_lease lease;
	struct detached client;
	struct job job;			/* to be freed */
};

static void on_free(struct job *j)
{
	free(container_of(j, struct proxy_tunnel, job));
}

/* Freed when nothing on the stack can look at it any more. */
static void retire(struct proxy_tunnel *t)
{
	job_init(&t->job, on_free);
	loop_free_later(t->tunnel.loop, &t->job);
}

/* The second way is the server's. */
static uint64_t to_client(const struct proxy_tunnel *t)
{
	return t->tunnel.ways[1].bytes;
}

static void on_end(struct tunnel *tunnel, enum tunnel_end how)
{
	static const int reasons[] = {
		[TUNNEL_DONE] = CLOSE_TUNNEL,
		[TUNNEL_IDLE] = CLOSE_TUNNEL_IDLE,
		[TUNNEL_FAILED] = CLOSE_TUNNEL_FAILED,
	};
	struct proxy_tunnel *t = container_of(tunnel, struct proxy_tunnel, tunnel);

	upstream_release(&t->lease, OUTCOME_NEUTRAL, false);
	t->client.close(t->client.handle, reasons[how], to_client(t));
	retire(t);
}

static void on_client_ready(void *ctx)
{
	tunnel_run(&((struct proxy_tunnel *)ctx)->tunnel);
}

static uint64_t on_client_abort(void *ctx)
{
	struct proxy_tunnel *t = ctx;

	tunnel_close(&t->tunnel);
	upstream_release(&t->lease, OUTCOME_NEUTRAL, false);
	retire(t);
	return to_client(t);
}

static const struct detached_ops client_ops = {
	.on_ready = on_client_ready,
	.on_abort = on_client_abort,
};

static void on_server_ready(struct upstream_lease *lease)
{
	tunnel_run(&container_of(lease, struct proxy_tunnel, lease)->tunnel);
}

/* Until the client's connection is here, nothing is done with the server's. */
static void on_server_early(struct upstream_lease *lease)
{
}

static void *on_detached(void *ctx, const struct detached *d)
{
	struct proxy_call *c = ctx;
	struct proxy_tunnel *t = malloc(sizeof(*t));
	struct span early = call_unread(c);

	if (!t) {
		upstream_cancel(&c->lease);
		call_free(c);
		d->close(d->handle, CLOSE_MEMORY, 0);
		return NULL;
	}
	t->client = *d;
	upstream_lease_move(&t->lease, &c->lease);
	t->lease.on_ready = on_server_ready;
	tunnel_init(&t->tunnel, call_proxy(c)->loop, &call_proxy(c)->pipes, d->conn, &t->lease.conn->conn,
		    c->route->tunnel_ms, on_end);
	if (tunnel_add_early(&t->tunnel, &t->lease.conn->conn, early) < 0 ||
	    tunnel_add_early(&t->tunnel, d->conn, d->early) < 0) {
		call_free(c);
		tunnel_close(&t->tunnel);
		on_end(&t->tunnel, TUNNEL_FAILED);
		return t;
	}
	call_free(c);
	/* May end it, and then it is freed when nothing refers to it any more. */
	tunnel_run(&t->tunnel);
	return t;
}

bool call_upgrade(struct proxy_call *c)
{
	struct reply *reply = c->reply;
	struct buf b = proxy_scratch();

	proxy_write_fields(c, &b);
	if (b.is_truncated)
		return false;
	c->state = CALL_UPGRADED;
	c->lease.on_ready = on_server_early;
	/* How it ends will say nothing of the server. */
	upstream_answered(&c->lease, OUTCOME_OK, true);
	reply_set_status(reply, 101);
	reply->is_relayed = true;
	reply->is_upgrade = true;
	reply->block = buf_span(&b);
	reply_begin(reply, REPLY_LENGTH_UNKNOWN);
	reply->block = span_of(NULL, 0);
	reply_detach(reply, &client_ops, c, on_detached);
	return true;
}
