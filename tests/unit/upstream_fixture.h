/* SPDX-License-Identifier: MIT */
/* An upstream on a table of its own, with a loop and servers that are listening sockets of the test. */
#ifndef SLUICE_TESTS_UPSTREAM_FIXTURE_H
#define SLUICE_TESTS_UPSTREAM_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/upstream_internal.h"
#include "base/err.h"

#define FIX_SERVERS 16u
#define FIX_WORKERS 2u
#define FIX_CONNS   32u

struct fix_server {
	int fd;
	union sock_addr at;
	int accepted[FIX_CONNS];
	unsigned accepted_count;
};

struct fix {
	struct loop loop;
	struct upstream_table table;
	struct upstream_server_options servers[FIX_SERVERS];
	struct upstream_options opt;
	struct upstream *u, *other;	/* of workers 0 and 1 */
	struct fix_server listeners[FIX_SERVERS];
	unsigned count;
};

/* `count` servers of one endpoint each, without addresses; options as a small site would have them. */
static inline void fix_init(struct fix *f, unsigned count)
{
	*f = (struct fix){ .count = count };
	assert_int_equal(loop_init(&f->loop), 0);
	assert_int_equal(upstream_table_open(&f->table, count, FIX_WORKERS), 0);
	for (unsigned i = 0; i < count; i++) {
		f->servers[i] = (struct upstream_server_options){
			.weight = 1, .first_endpoint = i, .endpoint_count = 1,
		};
		f->listeners[i].fd = -1;
	}
	f->opt = (struct upstream_options){
		.name = "app",
		.balance = BALANCE_RR,
		.keepalive_max = 16,
		.keepalive_ms = 60000,
		.queue_ms = 10000,
		.fail_window_ms = 10000,
		.eject_ms = 10000,
		.servers = f->servers,
		.server_count = count,
	};
}

static inline struct upstream *fix_start(struct fix *f, unsigned worker)
{
	struct upstream *u;

	assert_int_equal(upstream_new(&f->opt, &u), 0);
	upstream_start(u, &f->loop, &f->table, worker);
	u->random_state = 42 + worker;
	if (worker == 0)
		f->u = u;
	else
		f->other = u;
	return u;
}

static inline void fix_set_address(struct fix *f, unsigned i, const union sock_addr *at)
{
	upstream_endpoint_set(&f->table.endpoints[i], &at->any, sock_addr_len(at), f->servers[i].weight, 0);
}

/* An address that nobody will ever be asked for. */
static inline void fix_set_paper_address(struct fix *f, unsigned i)
{
	union sock_addr at = { .v4 = { .sin_family = AF_INET, .sin_port = htons(80) } };

	at.v4.sin_addr.s_addr = htonl(0x0a000001 + i);
	fix_set_address(f, i, &at);
}

static inline void fix_listen(struct fix *f, unsigned i)
{
	struct fix_server *s = &f->listeners[i];
	struct sock_options opt = { 0 };
	const char *step;

	assert_int_equal(sock_addr_parse(SPAN("127.0.0.1:0"), &s->at), 0);
	s->fd = sock_listen(&s->at, &opt, &step);
	assert_true(s->fd >= 0);
	assert_int_equal(sock_local_addr(s->fd, &s->at), 0);
	fix_set_address(f, i, &s->at);
}

/* An address where nobody listens: refused. */
static inline void fix_close_listener(struct fix *f, unsigned i)
{
	sock_close(f->listeners[i].fd);
	f->listeners[i].fd = -1;
}

/* Takes what waits; the last one's descriptor. */
static inline int fix_accept(struct fix *f, unsigned i)
{
	struct fix_server *s = &f->listeners[i];
	union sock_addr peer;
	int fd;

	while ((fd = sock_accept(s->fd, &peer)) >= 0) {
		assert_true(s->accepted_count < FIX_CONNS);
		s->accepted[s->accepted_count++] = fd;
	}
	return s->accepted_count ? s->accepted[s->accepted_count - 1] : -1;
}

/* The two ends of a connection on loopback may be a turn apart. */
#define fix_turn_until(f, condition)                                                               \
	do {                                                                                       \
		uint64_t limit_ns_ = clock_ns() + 5 * NS_PER_SEC;                                  \
		while (!(condition) && clock_ns() < limit_ns_)                                     \
			loop_turn(&(f)->loop, 20);                                                 \
		assert_true(condition);                                                            \
	} while (0)

/* Everything that was counted up must have been counted down. */
static inline void fix_fini(struct fix *f)
{
	upstream_free(f->u);
	upstream_free(f->other);
	for (unsigned i = 0; i < f->count; i++) {
		for (unsigned n = 0; n < f->listeners[i].accepted_count; n++)
			sock_close(f->listeners[i].accepted[n]);
		sock_close(f->listeners[i].fd);
		assert_int_equal(f->table.endpoints[i].active, 0);
		assert_int_equal(f->table.endpoints[i].connections, 0);
		for (unsigned worker = 0; worker < FIX_WORKERS; worker++) {
			assert_int_equal(upstream_table_counters(&f->table, worker, i)->active, 0);
			assert_int_equal(upstream_table_counters(&f->table, worker, i)->connections, 0);
		}
	}
	assert_int_equal(f->loop.wheel.timer_count, 0);
	upstream_table_close(&f->table);
	loop_fini(&f->loop);
}

#endif
