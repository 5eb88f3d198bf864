/* SPDX-License-Identifier: MIT */
/*
 * Connections of an upstream: connecting, held by a lease, idle.
 *
 * Idle ones stay registered with epoll, so one that the server closes, resets or sends anything on is noticed and
 * closed at once; taking one costs no system call, unless it was kept so recently that epoll was not asked since.  They
 * are in two lists: of their endpoint, newest first, because what was used last is in the caches and least likely to be
 * closed; of all, oldest first, for the limits of number and age.  One timer serves them all: it is armed for the
 * connection that was the oldest when it was armed, so it fires once in keepalive_ms at most, however many are taken and
 * kept meanwhile.
 *
 * TCP sockets have EPOLLOUT in their mask for good: it tells that connecting has ended, and under edge triggering it
 * costs nothing later, for the kernel wakes a writer only after a write that fell short.  Unix sockets connect at
 * once and would be woken by every byte that the peer reads, so they go without until somebody asks.
 */
#include <string.h>

#include "app/upstream_internal.h"
#include "base/err.h"

#define CONNS_KEPT 64	/* free ones that are not given back to the system */

static struct upstream_conn *oldest_idle(const struct upstream *u)
{
	return list_is_empty(&u->idle) ? NULL : container_of(u->idle.next, struct upstream_conn, age);
}

static void on_idle_timer(struct timer *t)
{
	struct upstream *u = container_of(t, struct upstream, idle_timer);
	struct upstream_conn *uc;

	while ((uc = oldest_idle(u)) && uc->idle_until_ms <= u->loop->now_ms)
		conns_close(u, uc);
	if (uc)
		loop_timer_start(u->loop, t, uc->idle_until_ms - u->loop->now_ms);
}

void conns_start(struct upstream *u)
{
	pool_init(&u->conns, sizeof(struct upstream_conn), CONNS_KEPT, 0);
	list_init(&u->idle);
	list_init(&u->dying);
	timer_init(&u->idle_timer, on_idle_timer);
}

void conns_stop(struct upstream *u)
{
	struct list *node;

	if (u->loop) {
		conns_close_all_idle(u);
		loop_timer_stop(u->loop, &u->idle_timer);
	}
	/* Those closed in this iteration still wait for its end. */
	while ((node = list_pop_front(&u->dying))) {
		struct upstream_conn *uc = container_of(node, struct upstream_conn, node);

		job_cancel(&uc->job);
		pool_put(&u->conns, uc);
	}
	pool_fini(&u->conns);
}

static bool is_limited(const struct peer *p)
{
	return p->server->max_connections > 0;
}

bool peer_has_room(const struct upstream *u, const struct peer *p)
{
	if (!is_limited(p) || !list_is_empty(&p->idle))
		return true;
	return __atomic_load_n(&p->shared->connections, __ATOMIC_RELAXED) < p->server->max_connections &&
	       u->loop->now_ms >= p->yields_until_ms;
}

/* A place among the connections of the host.  False: all are taken. */
static bool reserve_place(struct upstream *u, struct peer *p)
{
	uint32_t count = __atomic_load_n(&p->shared->connections, __ATOMIC_RELAXED);

	if (!is_limited(p)) {
		upstream_count_up(&p->shared->connections, &p->counters->connections);
		u->conn_count++;
		return true;
	}
	/* Not beyond the limit even for a moment: another worker would find no room where there is some. */
	do {
		if (count >= p->server->max_connections)
			return false;
	} while (!__atomic_compare_exchange_n(&p->shared->connections, &count, count + 1, true, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	/* In the order of upstream_count_up(). */
	__atomic_store_n(&p->counters->connections, p->counters->connections + 1, __ATOMIC_RELEASE);
	u->conn_count++;
	return true;
}

static void free_place(struct upstream *u, struct peer *p)
{
	upstream_count_down(&p->shared->connections, &p->counters->connections);
	u->conn_count--;
}

static void unlink_idle(struct upstream *u, struct upstream_conn *uc)
{
	list_remove(&uc->node);
	list_remove(&uc->age);
	u->idle_count--;
	if (is_limited(peer_of(u, uc->endpoint)))
		u->limited_idle_count--;
}

static void free_conn(struct job *j)
{
	struct upstream_conn *uc = container_of(j, struct upstream_conn, job);

	list_remove(&uc->node);
	pool_put(&uc->upstream->conns, uc);
}

void conns_close(struct upstream *u, struct upstream_conn *uc)
{
	if (!list_is_empty(&uc->age))
		unlink_idle(u, uc);
	loop_timer_stop(u->loop, &uc->timer);
	uc->lease = NULL;
	conn_close(&uc->conn, false);
	free_place(u, peer_of(u, uc->endpoint));
	list_push_back(&u->dying, &uc->node);
	loop_free_later(u->loop, &uc->job);
}

void conns_close_idle(struct upstream *u, struct peer *p)
{
	while (!list_is_empty(&p->idle))
		conns_close(u, container_of(p->idle.prev, struct upstream_conn, node));
}

void conns_close_all_idle(struct upstream *u)
{
	struct upstream_conn *uc;

	while ((uc = oldest_idle(u)))
		conns_close(u, uc);
}

/*
 * What a server sends behind its answer would be the answer to the next request.  An event tells of it, but not before
 * the iteration after the one at hand: a connection that goes on to the next request at once is asked itself.
 */
static bool is_spoilt(const struct upstream *u, const struct upstream_conn *uc)
{
	return u->loop->turn_count - uc->kept_turn <= 1 && !sock_is_quiet(uc->conn.io.fd);
}

struct upstream_conn *conns_take(struct upstream *u, struct peer *p)
{
	while (!list_is_empty(&p->idle)) {
		struct upstream_conn *uc = container_of(p->idle.next, struct upstream_conn, node);

		if (!is_spoilt(u, uc)) {
			unlink_idle(u, uc);
			return uc;
		}
		p->counters->idle_closed++;
		conns_close(u, uc);
	}
	return NULL;
}

/*
 * A last read that filled its buffer leaves it open whether more has come: asking costs one system call, a needless
 * reconnect several.  Whatever does come here is no answer to anything.
 */
static bool is_quiet(struct conn *c)
{
	char byte;

	if (c->has_read_end || c->has_failed || c->has_peer_closed)
		return false;
	return !c->is_readable || conn_read(c, &byte, 1) == -EAGAIN;
}

bool conns_can_keep(struct upstream *u, struct upstream_conn *uc)
{
	struct peer *p = peer_of(u, uc->endpoint);

	if (u->is_draining || u->opt.keepalive_max == 0 || u->opt.keepalive_ms == 0)
		return false;
	if (u->opt.keepalive_requests && uc->request_count >= u->opt.keepalive_requests)
		return false;
	peer_refresh(u, p);
	if (uc->address_id != p->address_id || __atomic_load_n(&p->shared->is_drained, __ATOMIC_RELAXED))
		return false;
	return is_quiet(&uc->conn);
}

void conns_keep(struct upstream *u, struct upstream_conn *uc)
{
	struct peer *p = peer_of(u, uc->endpoint);

	while (u->idle_count >= u->opt.keepalive_max)
		conns_close(u, oldest_idle(u));
	list_push_front(&p->idle, &uc->node);
	list_push_back(&u->idle, &uc->age);
	u->idle_count++;
	uc->idle_until_ms = u->loop->now_ms + u->opt.keepalive_ms;
	uc->kept_turn = u->loop->turn_count;
	if (!timer_is_active(&u->idle_timer))
		loop_timer_start(u->loop, &u->idle_timer, u->opt.keepalive_ms);
	if (is_limited(p)) {
		u->limited_idle_count++;
		queue_want_tick(u);
	}
}

/* Connecting has failed: the lease learns why. */
static void give_up(struct upstream_conn *uc, int err)
{
	struct upstream *u = uc->upstream;
	struct upstream_lease *lease = uc->lease;

	lease->connecting = NULL;
	conns_close(u, uc);
	upstream_connected(u, lease, err);
}

static void on_connect_timer(struct timer *t)
{
	give_up(container_of(t, struct upstream_conn, timer), -ETIMEDOUT);
}

static void end_connecting(struct upstream_conn *uc, uint32_t events)
{
	if (events & (EPOLLERR | EPOLLHUP)) {
		int err = sock_error(uc->conn.io.fd);

		give_up(uc, err ? err : -ECONNRESET);
	} else if (events & EPOLLOUT) {
		loop_timer_stop(uc->upstream->loop, &uc->timer);
		upstream_connected(uc->upstream, uc->lease, 0);
	}
}

/* EPOLLOUT alone, or bytes that were read between the event and now, are no reason to part. */
static void end_idle(struct upstream_conn *uc)
{
	struct upstream *u = uc->upstream;

	if (is_quiet(&uc->conn))
		return;
	peer_of(u, uc->endpoint)->counters->idle_closed++;
	conns_close(u, uc);
	if (u->queue_count > 0)
		loop_again(u->loop, &u->job);
}

static void on_ready(struct io *io, uint32_t events)
{
	struct upstream_conn *uc = container_of(io, struct upstream_conn, conn.io);

	conn_note_events(&uc->conn, events);
	if (!uc->lease) {
		end_idle(uc);
	} else if (uc->lease->state == LEASE_CONNECTING) {
		end_connecting(uc, events);
	} else {
		uc->lease->on_ready(uc->lease);
	}
}

static void open_conn(struct upstream *u, struct upstream_conn *uc, const struct peer *p, int fd)
{
	union sock_addr at = { .any.sa_family = p->address.addr.ss_family };

	if (p->address.len <= sizeof(at))
		memcpy(&at, &p->address.addr, p->address.len);
	conn_open(&uc->conn, u->loop, fd, &at, on_ready);
	uc->upstream = u;
	list_init(&uc->node);
	list_init(&uc->age);
	timer_init(&uc->timer, on_connect_timer);
	job_init(&uc->job, free_conn);
	uc->endpoint = u->first_endpoint + (unsigned)(p - u->peers);
	uc->address_id = p->address_id;
	uc->idle_until_ms = 0;
	uc->request_count = 1;
}

/* Out of descriptors, an idle connection is the first thing to do without. */
static int connect_socket(struct upstream *u, const struct peer *p, bool *ret_is_connected)
{
	const struct sockaddr *addr = (const struct sockaddr *)&p->address.addr;
	int fd = sock_connect(addr, p->address.len, ret_is_connected);

	if ((fd == -EMFILE || fd == -ENFILE) && u->idle_count > 0) {
		conns_close(u, oldest_idle(u));
		fd = sock_connect(addr, p->address.len, ret_is_connected);
	}
	return fd;
}

static int make_conn(struct upstream *u, struct peer *p, struct upstream_lease *lease, bool *ret_is_connected)
{
	struct upstream_conn *uc = pool_get(&u->conns);
	int fd = uc ? connect_socket(u, p, ret_is_connected) : -ENOMEM;
	int err;

	if (fd < 0) {
		pool_put(&u->conns, uc);
		return fd;
	}
	open_conn(u, uc, p, fd);
	uc->conn.is_writable = *ret_is_connected;
	err = *ret_is_connected ? conn_watch(&uc->conn) : conn_want_write(&uc->conn);
	if (err) {
		conn_close(&uc->conn, false);
		pool_put(&u->conns, uc);
		return err;
	}
	if (!*ret_is_connected)
		loop_timer_start(u->loop, &uc->timer, lease->connect_ms);
	uc->lease = lease;
	lease->connecting = uc;
	return 0;
}

int conns_connect(struct upstream *u, struct peer *p, struct upstream_lease *lease, bool *ret_is_connected)
{
	int err;

	/* A lease that wants a new connection, while our idle ones take all places: one of them goes. */
	if (is_limited(p) && !list_is_empty(&p->idle) &&
	    __atomic_load_n(&p->shared->connections, __ATOMIC_RELAXED) >= p->server->max_connections)
		conns_close(u, container_of(p->idle.prev, struct upstream_conn, node));
	if (!reserve_place(u, p))
		return -EBUSY;
	err = make_conn(u, p, lease, ret_is_connected);
	if (err)
		free_place(u, p);
	return err;
}
