/* SPDX-License-Identifier: MIT */
/* Leases and connections of an upstream, on real sockets. */
#include "upstream_fixture.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>

int __real_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);

static unsigned epoll_ctl_calls;

int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	epoll_ctl_calls++;
	return __real_epoll_ctl(epfd, op, fd, event);
}

#define NO_FAILURE ((enum upstream_failure)-1)

struct asker {
	struct upstream_lease lease;
	unsigned connected_count, failed_count, ready_count;
	enum upstream_failure why;
	unsigned number;	/* the how manieth of all that were connected */
	unsigned again_count;	/* releases and acquires so many times more, from within its callbacks */
};

static struct fix f;
static struct asker askers[16];
static unsigned connected_total, nesting, deepest;

static void on_connected(struct upstream_lease *lease)
{
	struct asker *a = container_of(lease, struct asker, lease);

	a->connected_count++;
	a->number = ++connected_total;
	nesting++;
	deepest = MAX(deepest, nesting);
	if (a->again_count > 0) {
		a->again_count--;
		upstream_release(lease, OUTCOME_OK, true);
		upstream_acquire(f.u, lease);
	}
	nesting--;
}

static void on_failed(struct upstream_lease *lease, enum upstream_failure why)
{
	struct asker *a = container_of(lease, struct asker, lease);

	a->failed_count++;
	a->why = why;
	nesting++;
	deepest = MAX(deepest, nesting);
	if (a->again_count > 0) {
		a->again_count--;
		upstream_acquire(f.u, lease);
	}
	nesting--;
}

static void on_ready(struct upstream_lease *lease)
{
	container_of(lease, struct asker, lease)->ready_count++;
}

static void open_upstream(unsigned count)
{
	fix_init(&f, count);
	for (unsigned i = 0; i < count; i++)
		fix_listen(&f, i);
	connected_total = nesting = deepest = 0;
	for (unsigned i = 0; i < ARRAY_LEN(askers); i++) {
		askers[i] = (struct asker){ .why = NO_FAILURE };
		askers[i].lease.on_connected = on_connected;
		askers[i].lease.on_failed = on_failed;
		askers[i].lease.on_ready = on_ready;
		askers[i].lease.connect_ms = 5000;
		upstream_lease_init(&askers[i].lease);
	}
}

static void acquire(struct upstream *u, unsigned i)
{
	upstream_acquire(u, &askers[i].lease);
}

static void release(unsigned i)
{
	upstream_release(&askers[i].lease, OUTCOME_OK, true);
}

static struct upstream_conn *connect_asker(unsigned i)
{
	unsigned before = askers[i].connected_count;

	acquire(f.u, i);
	fix_turn_until(&f, askers[i].connected_count > before);
	assert_non_null(askers[i].lease.conn);
	return askers[i].lease.conn;
}

static struct upstream_counters *counters(unsigned i)
{
	return upstream_table_counters(&f.table, 0, i);
}

static void upstream__keeps_and_reuses_a_connection(void **state)
{
	char text[UPSTREAM_ADDRESS_TEXT], expected[SOCK_ADDR_TEXT];
	int fd;

	open_upstream(1);
	fix_start(&f, 0);
	assert_string_equal(upstream_lease_address(&askers[0].lease, text), "-");
	assert_null(upstream_lease_counters(&askers[0].lease));
	fd = connect_asker(0)->conn.io.fd;
	assert_false(upstream_is_reused(&askers[0].lease));
	sock_addr_print(&f.listeners[0].at, expected);
	assert_string_equal(upstream_lease_address(&askers[0].lease, text), expected);
	assert_ptr_equal(upstream_lease_counters(&askers[0].lease), counters(0));
	assert_true(askers[0].lease.conn->conn.is_writable);
	assert_int_equal(f.table.endpoints[0].active, 1);
	assert_int_equal(f.table.endpoints[0].connections, 1);
	assert_int_equal(counters(0)->active, 1);
	release(0);
	assert_null(askers[0].lease.conn);
	assert_int_equal(f.table.endpoints[0].active, 0);
	assert_int_equal(f.table.endpoints[0].connections, 1);
	acquire(f.u, 1);
	assert_int_equal(askers[1].connected_count, 1);
	assert_int_equal(askers[1].lease.conn->conn.io.fd, fd);
	assert_true(upstream_is_reused(&askers[1].lease));
	release(1);
	assert_int_equal(counters(0)->requests, 2);
	assert_int_equal(counters(0)->connects, 1);
	assert_int_equal(counters(0)->reuses, 1);
	fix_fini(&f);
}

/* What a proxied request costs the loop: bytes both ways, no epoll_ctl, for TCP and for Unix sockets. */
static void reuse_costs_no_epoll_ctl(void)
{
	uint64_t connects_before = counters(0)->connects;
	char byte;
	int fd;

	fix_start(&f, 0);
	connect_asker(0);
	fd = fix_accept(&f, 0);
	release(0);
	for (unsigned i = 0; i < 50; i++) {
		struct iovec iov = { "q", 1 };
		unsigned before = askers[0].ready_count;

		epoll_ctl_calls = 0;
		acquire(f.u, 0);
		assert_int_equal(conn_writev(&askers[0].lease.conn->conn, &iov, 1, false), 1);
		assert_int_equal(read(fd, &byte, 1), 1);
		/* Nobody is woken because the peer has read. */
		loop_turn(&f.loop, 0);
		assert_int_equal(askers[0].ready_count, before);
		assert_int_equal(write(fd, "a", 1), 1);
		fix_turn_until(&f, askers[0].ready_count > before && askers[0].lease.conn->conn.is_readable);
		assert_int_equal(conn_read(&askers[0].lease.conn->conn, (char[16]){ 0 }, 16), 1);
		release(0);
		assert_int_equal(epoll_ctl_calls, 0);
	}
	assert_int_equal(counters(0)->connects, connects_before + 1);
}

static void upstream__costs_nothing_in_steady_state(void **state)
{
	open_upstream(1);
	reuse_costs_no_epoll_ctl();
	fix_fini(&f);
}

static void listen_unix(unsigned i, const char *name)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));

	fix_close_listener(&f, i);
	memcpy(at.sun_path, name, strlen(name));
	if (at.sun_path[0] == '@')
		at.sun_path[0] = '\0';
	f.listeners[i].fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(f.listeners[i].fd, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(f.listeners[i].fd, 16), 0);
	upstream_endpoint_set(&f.table.endpoints[i], (struct sockaddr *)&at, len, 1, 0);
}

static void upstream__connects_to_unix_sockets_at_once(void **state)
{
	char text[UPSTREAM_ADDRESS_TEXT], name[64];

	open_upstream(1);
	snprintf(name, sizeof(name), "@sluice-test-%d", (int)getpid());
	listen_unix(0, name);
	fix_start(&f, 0);
	acquire(f.u, 0);
	assert_int_equal(askers[0].connected_count, 1);
	assert_int_equal(strncmp(upstream_lease_address(&askers[0].lease, text), "unix:@sluice-test-", 18), 0);
	release(0);
	upstream_free(f.u);
	reuse_costs_no_epoll_ctl();
	fix_fini(&f);
}

static void upstream__never_hands_out_a_connection_that_closed(void **state)
{
	for (unsigned how = 0; how < 3; how++) {
		struct upstream_conn *conn;
		int fd;

		open_upstream(1);
		fix_start(&f, 0);
		connect_asker(0);
		fd = fix_accept(&f, 0);
		release(0);
		assert_int_equal(f.u->idle_count, 1);
		if (how == 0)
			shutdown(fd, SHUT_WR);		/* FIN */
		else if (how == 1)
			assert_int_equal(write(fd, "HTTP/1.1 408 \r\n\r\n", 17), 17);	/* to no request */
		else
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
		if (how == 2) {
			close(fd);			/* RST */
			f.listeners[0].accepted_count = 0;
		}
		fix_turn_until(&f, f.u->idle_count == 0);
		assert_int_equal(counters(0)->idle_closed, 1);
		assert_int_equal(f.table.endpoints[0].connections, 0);
		conn = connect_asker(1);
		assert_int_equal(conn->request_count, 1);
		release(1);
		fix_fini(&f);
	}
}

/* Rows of what is left on a connection that its asker calls reusable. */
static bool has_come(int fd)
{
	return !sock_is_quiet(fd);
}

/* From one request to the next without a look at epoll: the bytes would have been the next one's answer. */
static void upstream__looks_at_a_connection_that_goes_on_at_once(void **state)
{
	static const bool is_queued[] = { false, true };

	for (unsigned i = 0; i < ARRAY_LEN(is_queued); i++) {
		int fd, peer;

		open_upstream(1);
		f.servers[0].max_connections = is_queued[i] ? 1 : 0;
		f.opt.queue_max = 1;
		fix_start(&f, 0);
		fd = connect_asker(0)->conn.io.fd;
		fix_turn_until(&f, (peer = fix_accept(&f, 0)) >= 0);
		if (is_queued[i])
			acquire(f.u, 1);
		release(0);
		if (!is_queued[i]) {
			assert_int_equal(write(peer, "HTTP/1.1 200 OK", 15), 15);
			while (!has_come(fd))
				;
			acquire(f.u, 1);
			assert_int_equal(counters(0)->idle_closed, 1);
			assert_int_equal(counters(0)->reuses, 0);
		} else {
			/* Nothing came: it was simply handed on. */
			assert_int_equal(counters(0)->reuses, 1);
		}
		fix_turn_until(&f, askers[1].connected_count == 1);
		release(1);
		fix_fini(&f);
	}
}

static void upstream__keeps_no_connection_with_leftovers(void **state)
{
	static const struct {
		bool has_sent, is_read, is_ended, is_kept;
	} rows[] = {
		{ false, false, false, true },
		{ true, false, false, false },
		{ true, true, false, true },	/* a read of just so many bytes left the flag set */
		{ false, false, true, false },
	};

	for (unsigned row = 0; row < ARRAY_LEN(rows); row++) {
		struct conn *c;
		int fd;

		open_upstream(1);
		fix_start(&f, 0);
		c = &connect_asker(0)->conn;
		fd = fix_accept(&f, 0);
		if (rows[row].has_sent) {
			assert_int_equal(write(fd, "12345", 5), 5);
			fix_turn_until(&f, c->is_readable);
		}
		if (rows[row].is_read) {
			assert_int_equal(conn_read(c, (char[5]){ 0 }, 5), 5);
			assert_true(c->is_readable);
		}
		if (rows[row].is_ended) {
			shutdown(fd, SHUT_WR);
			fix_turn_until(&f, c->has_peer_closed);
		}
		release(0);
		assert_int_equal(f.u->idle_count, rows[row].is_kept);
		fix_fini(&f);
	}
}

static void upstream__bounds_the_idle_connections(void **state)
{
	struct upstream_conn *last;

	open_upstream(2);
	f.opt.keepalive_max = 2;
	fix_start(&f, 0);
	for (unsigned i = 0; i < 4; i++)
		connect_asker(i);
	for (unsigned i = 0; i < 3; i++)
		release(i);
	last = askers[3].lease.conn;
	release(3);
	assert_int_equal(f.u->idle_count, 2);
	assert_int_equal(f.table.endpoints[0].connections + f.table.endpoints[1].connections, 2);
	/* The oldest have gone. */
	acquire(f.u, 4);
	acquire(f.u, 5);
	assert_true(askers[4].lease.conn == last || askers[5].lease.conn == last);
	release(4);
	release(5);
	fix_fini(&f);
}

static void upstream__takes_what_was_used_last(void **state)
{
	struct upstream_conn *conns[3];

	open_upstream(1);
	fix_start(&f, 0);
	for (unsigned i = 0; i < 3; i++)
		conns[i] = connect_asker(i);
	for (unsigned i = 0; i < 3; i++)
		release(i);
	for (unsigned i = 0; i < 3; i++)
		assert_ptr_equal(connect_asker(i), conns[2 - i]);
	for (unsigned i = 0; i < 3; i++)
		release(i);
	fix_fini(&f);
}

static void upstream__closes_idle_connections_of_age(void **state)
{
	uint64_t released_ns;

	open_upstream(1);
	f.opt.keepalive_ms = 40;
	fix_start(&f, 0);
	connect_asker(0);
	connect_asker(1);
	released_ns = f.loop.now_ns;
	release(0);
	release(1);
	fix_turn_until(&f, f.u->idle_count == 0);
	assert_true(f.loop.now_ns - released_ns >= 39 * NS_PER_MS);
	assert_int_equal(f.loop.wheel.timer_count, 0);
	assert_int_equal(counters(0)->idle_closed, 0);
	fix_fini(&f);
}

static void upstream__bounds_the_requests_of_a_connection(void **state)
{
	open_upstream(1);
	f.opt.keepalive_requests = 3;
	fix_start(&f, 0);
	for (unsigned i = 0; i < 7; i++) {
		assert_int_equal(connect_asker(0)->request_count, i % 3 + 1);
		release(0);
	}
	assert_int_equal(counters(0)->connects, 3);
	fix_fini(&f);
}

static void upstream__gives_lone_and_fresh_connections(void **state)
{
	struct upstream_conn *kept;

	open_upstream(1);
	fix_start(&f, 0);
	kept = connect_asker(0);
	release(0);
	askers[1].lease.is_lone = true;
	assert_ptr_not_equal(connect_asker(1), kept);
	release(1);
	assert_int_equal(f.u->idle_count, 1);
	askers[2].lease.is_fresh = true;
	assert_ptr_not_equal(connect_asker(2), kept);
	release(2);
	assert_int_equal(f.u->idle_count, 2);
	upstream_drain(f.u);
	assert_int_equal(f.u->idle_count, 0);
	connect_asker(0);
	release(0);
	assert_int_equal(f.u->idle_count, 0);
	fix_fini(&f);
}

static void upstream__goes_elsewhere_after_a_refusal(void **state)
{
	open_upstream(2);
	f.opt.fail_max = 1;
	fix_close_listener(&f, 0);
	fix_start(&f, 0);
	f.table.endpoints[1].is_drained = 1;
	acquire(f.u, 0);
	fix_turn_until(&f, askers[0].failed_count == 1);
	assert_int_equal(askers[0].why, UPSTREAM_REFUSED);
	assert_int_equal(askers[0].lease.endpoint, 0);
	assert_true(f.table.endpoints[0].ejected_until_ns > 0);
	f.table.endpoints[0].ejected_until_ns = 0;
	f.table.endpoints[1].is_drained = 0;
	for (unsigned i = 0; i < 4; i++) {
		connect_asker(0);
		assert_int_equal(askers[0].lease.endpoint, 1);
		/* Says nothing of the endpoint, which so is not avoided. */
		upstream_release(&askers[0].lease, OUTCOME_NEUTRAL, false);
	}
	assert_int_equal(counters(0)->connect_failures, 1);
	assert_int_equal(counters(0)->retries, 4);
	connect_asker(0);
	upstream_release(&askers[0].lease, OUTCOME_FAILED, true);
	assert_int_equal(counters(1)->failures, 1);
	/* Both have failed it: either may be tried once more. */
	acquire(f.u, 0);
	fix_turn_until(&f, askers[0].failed_count == 2 || askers[0].connected_count == 6);
	upstream_cancel(&askers[0].lease);
	fix_fini(&f);
}

static void upstream__fails_without_a_server(void **state)
{
	open_upstream(1);
	fix_start(&f, 0);
	f.table.endpoints[0].health = HEALTH_DOWN;
	acquire(f.u, 0);
	assert_int_equal(askers[0].why, UPSTREAM_NO_SERVER);
	assert_int_equal(counters(0)->no_server, 1);
	upstream_cancel(&askers[0].lease);
	fix_fini(&f);
}

/* A listener whose queue is full: SYNs are dropped, connecting hangs. */
static void fill_backlog(unsigned i, int fds[3])
{
	assert_int_equal(listen(f.listeners[i].fd, 0), 0);
	for (unsigned n = 0; n < 3; n++) {
		bool is_connected;

		fds[n] = sock_connect(&f.listeners[i].at.any, sizeof(struct sockaddr_in), &is_connected);
		assert_true(fds[n] >= 0);
	}
}

static void upstream__gives_up_connecting_in_time(void **state)
{
	uint64_t start_ns;
	int fds[3];

	open_upstream(1);
	fix_start(&f, 0);
	fill_backlog(0, fds);
	askers[0].lease.connect_ms = 30;
	loop_turn(&f.loop, 0);
	start_ns = f.loop.now_ns;
	acquire(f.u, 0);
	assert_int_equal(f.table.endpoints[0].active, 1);
	fix_turn_until(&f, askers[0].failed_count == 1);
	assert_int_equal(askers[0].why, UPSTREAM_CONNECT_TIMEOUT);
	assert_true(f.loop.now_ns - start_ns >= 29 * NS_PER_MS);
	assert_int_equal(counters(0)->connect_failures, 1);
	/* Withdrawn while it connects. */
	acquire(f.u, 1);
	assert_int_equal(f.table.endpoints[0].connections, 1);
	upstream_cancel(&askers[1].lease);
	upstream_cancel(&askers[1].lease);
	assert_int_equal(f.table.endpoints[0].connections, 0);
	assert_int_equal(askers[1].failed_count, 0);
	for (unsigned n = 0; n < 3; n++)
		sock_close(fds[n]);
	fix_fini(&f);
}

static void open_limited(unsigned max_connections, unsigned queue_max)
{
	open_upstream(1);
	f.servers[0].max_connections = max_connections;
	f.opt.queue_max = queue_max;
}

static void upstream__serves_the_queue_in_order(void **state)
{
	struct upstream_conn *conn;

	open_limited(1, 4);
	fix_start(&f, 0);
	conn = connect_asker(0);
	for (unsigned i = 1; i < 5; i++)
		acquire(f.u, i);
	acquire(f.u, 5);
	assert_int_equal(askers[5].why, UPSTREAM_QUEUE_FULL);
	assert_int_equal(counters(0)->queued, 4);
	assert_int_equal(counters(0)->queue_full, 1);
	/* Who leaves is not waited for. */
	upstream_cancel(&askers[2].lease);
	assert_int_equal(counters(0)->queued, 3);
	for (unsigned i = 0; i < 4; i++) {
		if (i == 2)
			continue;
		release(i);
		/* Handed over directly, the very same connection. */
		assert_int_equal(askers[i == 1 ? 3 : i + 1].connected_count, 1);
		assert_ptr_equal(askers[i == 1 ? 3 : i + 1].lease.conn, conn);
		assert_int_equal(f.table.endpoints[0].connections, 1);
	}
	assert_int_equal(counters(0)->queued, 0);
	assert_int_equal(counters(0)->waits, 3);
	assert_int_equal(askers[2].connected_count + askers[2].failed_count, 0);
	/* A connection that cannot be reused makes room for a new one. */
	acquire(f.u, 6);
	upstream_release(&askers[4].lease, OUTCOME_OK, false);
	fix_turn_until(&f, askers[6].connected_count == 1);
	release(6);
	fix_fini(&f);
}

static void upstream__fails_at_once_where_nobody_may_wait(void **state)
{
	open_limited(1, 0);
	fix_start(&f, 0);
	connect_asker(0);
	acquire(f.u, 1);
	assert_int_equal(askers[1].why, UPSTREAM_QUEUE_FULL);
	release(0);
	/* The idle connection is the only one there may be: it makes room for a fresh one. */
	askers[1].lease.is_fresh = true;
	assert_int_equal(connect_asker(1)->request_count, 1);
	assert_int_equal(f.table.endpoints[0].connections, 1);
	release(1);
	fix_fini(&f);
}

static void upstream__waits_no_longer_than_queue_ms(void **state)
{
	uint64_t start_ns;

	open_limited(1, 4);
	f.opt.queue_ms = 30;
	fix_start(&f, 0);
	connect_asker(0);
	start_ns = f.loop.now_ns;
	acquire(f.u, 1);
	fix_turn_until(&f, askers[1].failed_count == 1);
	assert_int_equal(askers[1].why, UPSTREAM_QUEUE_TIMEOUT);
	assert_true(f.loop.now_ns - start_ns >= 29 * NS_PER_MS);
	assert_int_equal(counters(0)->queue_timeouts, 1);
	release(0);
	/* Nobody left to wait for: told at once, by the next look at the queue. */
	connect_asker(0);
	f.u->opt.queue_ms = 60000;
	acquire(f.u, 1);
	f.table.endpoints[0].is_drained = 1;
	fix_turn_until(&f, askers[1].failed_count == 2);
	assert_int_equal(askers[1].why, UPSTREAM_NO_SERVER);
	release(0);
	fix_fini(&f);
}

/* Cancelling what holds a connection serves the next one, but from the loop: cancel calls nobody back. */
static void upstream__cancel_makes_room(void **state)
{
	open_limited(1, 4);
	fix_start(&f, 0);
	connect_asker(0);
	acquire(f.u, 1);
	upstream_cancel(&askers[0].lease);
	assert_int_equal(askers[1].connected_count, 0);
	fix_turn_until(&f, askers[1].connected_count == 1);
	release(1);
	fix_fini(&f);
}

static void upstream__limits_connections_on_the_host(void **state)
{
	struct upstream *other;

	open_limited(2, 8);
	fix_start(&f, 0);
	other = fix_start(&f, 1);
	connect_asker(0);
	connect_asker(1);
	acquire(other, 2);
	acquire(other, 3);
	assert_int_equal(upstream_table_counters(&f.table, 1, 0)->queued, 2);
	assert_int_equal(f.table.endpoints[0].connections, 2);
	/* Given back by one worker, taken by the other one at its next look. */
	upstream_release(&askers[0].lease, OUTCOME_OK, false);
	fix_turn_until(&f, askers[2].connected_count == 1);
	assert_int_equal(f.table.endpoints[0].connections, 2);
	/* A newcomer does not overtake who waits, although another worker has just made room. */
	release(1);
	f.table.endpoints[0].connections--;
	acquire(other, 4);
	assert_int_equal(askers[3].lease.state, LEASE_QUEUED);
	assert_int_equal(askers[4].lease.state, LEASE_QUEUED);
	f.table.endpoints[0].connections++;
	connect_asker(1);
	upstream_cancel(&askers[4].lease);
	/* Kept idle here while the other worker has one already: it waits for that. */
	upstream_release(&askers[2].lease, OUTCOME_OK, true);
	assert_int_equal(askers[3].connected_count, 1);
	upstream_release(&askers[3].lease, OUTCOME_OK, true);
	release(1);
	fix_fini(&f);
}

/* A worker that keeps all connections, idle or busy without end, must not starve another. */
static void upstream__shares_the_limit_with_other_workers(void **state)
{
	for (unsigned is_busy = 0; is_busy < 2; is_busy++) {
		struct upstream *other;
		uint64_t limit_ns;

		open_limited(1, 8);
		fix_start(&f, 0);
		other = fix_start(&f, 1);
		connect_asker(0);
		if (!is_busy)
			release(0);
		acquire(other, 1);
		assert_int_equal(askers[1].connected_count, 0);
		limit_ns = clock_ns() + 5 * NS_PER_SEC;
		while (askers[1].connected_count == 0 && clock_ns() < limit_ns) {
			if (is_busy && askers[0].lease.conn) {
				/* There is always somebody in the queue when the connection comes free. */
				if (askers[2].lease.state == LEASE_OFF)
					acquire(f.u, 2);
				release(0);
			}
			if (is_busy && askers[2].lease.conn) {
				if (askers[0].lease.state == LEASE_OFF)
					acquire(f.u, 0);
				release(2);
			}
			loop_turn(&f.loop, 1);
			assert_true(f.table.endpoints[0].connections <= 1);
		}
		assert_int_equal(askers[1].connected_count, 1);
		/* And back again: the other one has it now, and the first one waits. */
		if (is_busy) {
			release(1);
			fix_turn_until(&f, askers[0].lease.conn || askers[2].lease.conn);
		}
		for (unsigned i = 0; i < 3; i++)
			upstream_cancel(&askers[i].lease);
		fix_fini(&f);
	}
}

static void upstream__nests_callbacks_no_deeper_than_a_few(void **state)
{
	char name[64];

	open_upstream(1);
	fix_start(&f, 0);
	connect_asker(0);
	release(0);
	/* Connected at once each time, from the pool. */
	askers[0].again_count = 1000;
	acquire(f.u, 0);
	fix_turn_until(&f, askers[0].again_count == 0 && askers[0].lease.conn);
	assert_int_equal(askers[0].connected_count, 1002);
	assert_true(deepest <= 5);
	release(0);
	/* Fails at once each time. */
	f.table.endpoints[0].is_drained = 1;
	askers[0].again_count = 1000;
	acquire(f.u, 0);
	fix_turn_until(&f, askers[0].failed_count == 1001);
	assert_true(deepest <= 5);
	/* Cancelled while deferred. */
	askers[0].again_count = 1000;
	acquire(f.u, 0);
	assert_int_equal(askers[0].lease.state, LEASE_DEFERRED);
	upstream_cancel(&askers[0].lease);
	fix_fini(&f);
	/* All of a queue, each of whom asks again. */
	open_limited(1, 16);
	snprintf(name, sizeof(name), "@sluice-nest-%d", (int)getpid());
	listen_unix(0, name);
	fix_start(&f, 0);
	acquire(f.u, 0);
	assert_int_equal(askers[0].connected_count, 1);
	for (unsigned i = 1; i < 8; i++) {
		askers[i].again_count = 100;
		acquire(f.u, i);
	}
	release(0);
	for (unsigned i = 1; i < 8; i++) {
		fix_turn_until(&f, askers[i].connected_count == 101 || askers[i].lease.conn);
		if (askers[i].lease.conn)
			release(i);
	}
	for (unsigned i = 1; i < 8; i++) {
		if (askers[i].connected_count < 101)
			fix_turn_until(&f, askers[i].connected_count == 101);
		if (askers[i].lease.conn)
			release(i);
	}
	assert_true(deepest <= 5);
	fix_fini(&f);
}

static void on_connected_and_gone(struct upstream_lease *lease)
{
	upstream_release(lease, OUTCOME_OK, true);
	connected_total++;
	free(container_of(lease, struct asker, lease));
}

static void on_failed_and_gone(struct upstream_lease *lease, enum upstream_failure why)
{
	connected_total++;
	free(container_of(lease, struct asker, lease));
}

/* Leases that are freed by their callbacks, in every way to get there (a sanitizer looks on). */
static void upstream__looks_at_no_lease_after_its_callback(void **state)
{
	open_limited(1, 2);
	fix_start(&f, 0);
	for (unsigned i = 0; i < 12; i++) {
		struct asker *a = calloc(1, sizeof(*a));

		assert_non_null(a);
		a->lease.on_connected = on_connected_and_gone;
		a->lease.on_failed = on_failed_and_gone;
		a->lease.on_ready = on_ready;
		a->lease.connect_ms = 5000;
		upstream_lease_init(&a->lease);
		if (i == 8)
			fix_turn_until(&f, connected_total == 8);
		upstream_acquire(f.u, &a->lease);
	}
	fix_turn_until(&f, connected_total == 12);
	fix_fini(&f);
}

static void check_address(unsigned asker, const union sock_addr *at)
{
	char text[UPSTREAM_ADDRESS_TEXT], expected[SOCK_ADDR_TEXT];

	sock_addr_print(at, expected);
	assert_string_equal(upstream_lease_address(&askers[asker].lease, text), expected);
}

static void upstream__leaves_connections_to_an_old_address(void **state)
{
	union sock_addr old;

	open_upstream(2);
	f.table.endpoints[1].is_drained = 1;
	fix_start(&f, 0);
	connect_asker(0);
	connect_asker(1);
	release(0);
	old = f.listeners[0].at;
	check_address(1, &old);
	fix_set_address(&f, 0, &f.listeners[1].at);
	assert_int_equal(connect_asker(2)->request_count, 1);
	/* What is told of a connection is where it goes, not where it would go now. */
	check_address(1, &old);
	check_address(2, &f.listeners[1].at);
	fix_turn_until(&f, fix_accept(&f, 1) >= 0);
	assert_int_equal(f.u->idle_count, 0);
	/* Released after the change. */
	release(1);
	assert_int_equal(f.u->idle_count, 0);
	release(2);
	assert_int_equal(f.u->idle_count, 1);
	/* Another weight is no other address. */
	upstream_endpoint_set(&f.table.endpoints[0], &f.listeners[1].at.any, sizeof(struct sockaddr_in), 7, 0);
	assert_int_equal(connect_asker(2)->request_count, 2);
	release(2);
	/* Drained: kept connections go at the next choice. */
	f.table.endpoints[0].is_drained = 1;
	f.table.endpoints[1].is_drained = 0;
	connect_asker(2);
	assert_int_equal(f.u->idle_count, 0);
	release(2);
	fix_fini(&f);
}

static void upstream__survives_a_lack_of_memory(void **state)
{
	open_upstream(1);
	f.opt.fail_max = 1;
	fix_start(&f, 0);
	f.u->conns.max_count = 1;
	connect_asker(0);
	acquire(f.u, 1);
	assert_int_equal(askers[1].why, UPSTREAM_NO_MEMORY);
	/* Not the server's fault. */
	assert_int_equal(f.table.endpoints[0].ejected_until_ns, 0);
	assert_int_equal(counters(0)->connect_failures, 0);
	assert_int_equal(f.table.endpoints[0].connections, 1);
	release(0);
	fix_fini(&f);
}

static void upstream__survives_a_lack_of_descriptors(void **state)
{
	struct rlimit limit, low;
	struct upstream_conn *held;

	open_upstream(2);
	f.opt.fail_max = 1;
	fix_start(&f, 0);
	held = connect_asker(0);
	connect_asker(1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	low.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	acquire(f.u, 2);
	assert_int_equal(askers[2].why, UPSTREAM_NO_MEMORY);
	assert_int_equal(f.table.endpoints[0].connections + f.table.endpoints[1].connections, 2);
	assert_int_equal(f.table.endpoints[0].ejection_count + f.table.endpoints[1].ejection_count, 0);
	/* An idle one, even if it is another server's, is given up for a request. */
	low.rlim_cur = (rlim_t)MAX(held->conn.io.fd, askers[1].lease.conn->conn.io.fd) + 1;
	release(0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	askers[2].lease.is_fresh = true;
	connect_asker(2);
	assert_int_equal(f.u->idle_count, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	release(1);
	release(2);
	fix_fini(&f);
}

static uint64_t dice_state;

static unsigned dice(unsigned sides)
{
	dice_state = dice_state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(dice_state >> 33) % sides;
}

/* Servers that close, send rubbish, hold on; connections they keep are closed when their place is needed. */
static void serve_rudely(unsigned i)
{
	struct fix_server *s = &f.listeners[i];
	union sock_addr peer;
	int fd;

	while ((fd = sock_accept(s->fd, &peer)) >= 0) {
		unsigned place = dice(8);

		if (s->accepted_count < 8)
			place = s->accepted_count++;
		else
			sock_close(s->accepted[place]);
		s->accepted[place] = fd;
		if (dice(4) == 0)
			(void)send(fd, "x", 1, MSG_NOSIGNAL);
		else if (dice(4) == 0)
			shutdown(fd, SHUT_WR);
	}
}

static void do_anything(struct upstream *u, struct asker *a)
{
	if (a->lease.state == LEASE_OFF) {
		a->again_count = dice(8) == 0 ? dice(20) : 0;
		a->lease.is_fresh = dice(8) == 0;
		a->lease.is_lone = dice(8) == 0;
		a->lease.key = dice(4);
		if (dice(2))
			upstream_lease_init(&a->lease);
		upstream_acquire(u, &a->lease);
	} else if (a->lease.state == LEASE_HELD && dice(4)) {
		upstream_release(&a->lease, (enum upstream_outcome)dice(5), dice(8) != 0);
	} else if (dice(3) == 0) {
		upstream_cancel(&a->lease);
	}
}

/* Whatever comes in whatever order: no memory touched that is free, no count that stays (fix_fini looks). */
static void upstream__survives_anything_in_any_order(void **state)
{
	for (unsigned seed = 0; seed < 12; seed++) {
		char name[64];

		open_upstream(4);
		snprintf(name, sizeof(name), "@sluice-any-%d-%u", (int)getpid(), seed);
		listen_unix(1, name);
		fix_close_listener(&f, 2);
		dice_state = seed;
		f.servers[0].max_connections = 2;
		f.servers[1].max_connections = 1 + seed % 2;
		f.servers[3].is_backup = true;
		f.opt.balance = (enum upstream_balance)(seed % 6);
		f.opt.queue_max = seed % 3 * 4;
		f.opt.queue_ms = 5;
		f.opt.keepalive_max = 1 + seed % 4;
		f.opt.fail_max = seed % 4;
		f.opt.error_percent = seed % 2 * 30;
		f.opt.eject_ms = 2;
		fix_start(&f, 0);
		for (unsigned step = 0; step < 3000; step++) {
			struct upstream_endpoint *e = &f.table.endpoints[dice(4)];

			do_anything(f.u, &askers[dice(ARRAY_LEN(askers))]);
			if (dice(50) == 0)
				e->is_drained = dice(4) == 0;
			if (dice(50) == 0)
				e->health = dice(3);
			if (dice(100) == 0)
				fix_set_address(&f, 3, &f.listeners[dice(2) * 3].at);
			if (dice(3) == 0) {
				loop_turn(&f.loop, 0);
				serve_rudely(0);
				serve_rudely(1);
				serve_rudely(3);
			}
			assert_true(f.table.endpoints[0].connections <= 2);
			assert_true(f.u->idle_count <= f.opt.keepalive_max);
		}
		assert_true(connected_total > 50);
		for (unsigned i = 0; i < ARRAY_LEN(askers); i++)
			upstream_cancel(&askers[i].lease);
		assert_int_equal(f.u->lease_count, 0);
		assert_int_equal(f.u->queue_count + f.u->queue_untried_count, 0);
		fix_fini(&f);
	}
}

/* Without a connection: counted where it is, and what becomes of it is known to all. */
static void upstream__claims_a_server_for_datagrams(void **state)
{
	struct upstream_lease lease = { 0 };
	struct upstream_address address;

	fix_init(&f, 2);
	f.opt.fail_max = 2;
	fix_set_paper_address(&f, 0);
	fix_start(&f, 0);
	upstream_lease_init(&lease);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(upstream_claim(f.u, &lease, &address), 0);
		assert_int_equal(address.len, sizeof(struct sockaddr_in));
		assert_int_equal(lease.endpoint, 0);
		assert_int_equal(f.table.endpoints[0].active, 1);
		upstream_unclaim(&lease, OUTCOME_FAILED);
	}
	assert_int_equal(f.table.endpoints[0].active, 0);
	assert_int_equal(f.table.endpoints[0].ejections, 1);
	assert_int_equal(upstream_lease_counters(&lease)->failures, 2);
	/* Another one, as soon as there is one; withdrawn it says nothing. */
	fix_set_paper_address(&f, 1);
	assert_int_equal(upstream_claim(f.u, &lease, &address), 0);
	assert_int_equal(lease.endpoint, 1);
	upstream_cancel(&lease);
	upstream_cancel(&lease);
	assert_int_equal(f.table.endpoints[1].active, 0);
	f.table.endpoints[0].is_drained = f.table.endpoints[1].is_drained = 1;
	assert_int_equal(upstream_claim(f.u, &lease, &address), -ENOENT);
	fix_fini(&f);
}

static void upstream__dies_without_a_worker(void **state)
{
	struct upstream *u;

	fix_init(&f, 3);
	assert_int_equal(upstream_new(&f.opt, &u), 0);
	assert_string_equal(upstream_name(u), "app");
	upstream_drain(u);
	upstream_free(u);
	upstream_free(NULL);
	assert_string_equal(upstream_failure_name(UPSTREAM_REFUSED), "connect_refused");
	fix_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(upstream__keeps_and_reuses_a_connection),
		cmocka_unit_test(upstream__costs_nothing_in_steady_state),
		cmocka_unit_test(upstream__connects_to_unix_sockets_at_once),
		cmocka_unit_test(upstream__never_hands_out_a_connection_that_closed),
		cmocka_unit_test(upstream__looks_at_a_connection_that_goes_on_at_once),
		cmocka_unit_test(upstream__keeps_no_connection_with_leftovers),
		cmocka_unit_test(upstream__bounds_the_idle_connections),
		cmocka_unit_test(upstream__takes_what_was_used_last),
		cmocka_unit_test(upstream__closes_idle_connections_of_age),
		cmocka_unit_test(upstream__bounds_the_requests_of_a_connection),
		cmocka_unit_test(upstream__gives_lone_and_fresh_connections),
		cmocka_unit_test(upstream__goes_elsewhere_after_a_refusal),
		cmocka_unit_test(upstream__fails_without_a_server),
		cmocka_unit_test(upstream__gives_up_connecting_in_time),
		cmocka_unit_test(upstream__serves_the_queue_in_order),
		cmocka_unit_test(upstream__fails_at_once_where_nobody_may_wait),
		cmocka_unit_test(upstream__waits_no_longer_than_queue_ms),
		cmocka_unit_test(upstream__cancel_makes_room),
		cmocka_unit_test(upstream__limits_connections_on_the_host),
		cmocka_unit_test(upstream__shares_the_limit_with_other_workers),
		cmocka_unit_test(upstream__nests_callbacks_no_deeper_than_a_few),
		cmocka_unit_test(upstream__looks_at_no_lease_after_its_callback),
		cmocka_unit_test(upstream__leaves_connections_to_an_old_address),
		cmocka_unit_test(upstream__survives_a_lack_of_memory),
		cmocka_unit_test(upstream__survives_a_lack_of_descriptors),
		cmocka_unit_test(upstream__survives_anything_in_any_order),
		cmocka_unit_test(upstream__claims_a_server_for_datagrams),
		cmocka_unit_test(upstream__dies_without_a_worker),
	};

	return cmocka_run_group_tests_name("upstream", tests, NULL, NULL);
}
