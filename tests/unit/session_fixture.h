/* SPDX-License-Identifier: MIT */
/* A server with one session over loopback TCP, and a client that speaks raw bytes. */
#ifndef SLUICE_TESTS_SESSION_FIXTURE_H
#define SLUICE_TESTS_SESSION_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "http/session.h"

#define TURNS_MAX 2000

struct fixture {
	struct loop loop;
	struct server server;
	struct stats_block stats;
	int client;
	char got[1 << 20];	/* what the client has read */
	size_t got_len;
	bool has_end, has_reset;
	unsigned logged;
	char last_reason[64];
	unsigned last_status;
	uint64_t last_body_sent;
	char last_target[64];
	char last_peer[SOCK_ADDR_TEXT];
	uint64_t last_wall_ns;
};

static inline void on_done(struct server *srv, const struct access_entry *e)
{
	struct fixture *f = srv->owner;

	f->logged++;
	f->last_status = e->status;
	f->last_body_sent = e->body_sent;
	if (e->req)
		snprintf(f->last_target, sizeof(f->last_target), "%.*s", SPAN_ARG(e->req->target));
	snprintf(f->last_peer, sizeof(f->last_peer), "%.*s", SPAN_ARG(e->peer_host));
	f->last_wall_ns = e->wall_ns;
	snprintf(f->last_reason, sizeof(f->last_reason), "%s", e->reason);
}

/* A connected pair of TCP sockets: half-close and reset behave as in life. */
static inline void tcp_pair(int fds[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&a, sizeof(a)), 0);
	fds[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	assert_true(fds[1] >= 0);
	close(listener);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	/* A byte sent is a byte on its way: Nagle's delay of 40 ms would look like a slow client. */
	assert_int_equal(setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int)), 0);
}

static inline void connect_client_as(struct fixture *f, bool has_proxy_header)
{
	union sock_addr peer = { .v4 = { .sin_family = AF_INET } };
	int fds[2];

	tcp_pair(fds);
	f->client = fds[0];
	f->got_len = 0;
	f->has_end = f->has_reset = false;
	assert_int_equal(server_add(&f->server, fds[1], &peer, has_proxy_header), 0);
}

static inline void connect_client(struct fixture *f)
{
	connect_client_as(f, false);
}

/* One handler for every host, below that prefix.  The handler stays the caller's. */
static inline struct site_table *one_handler(const char *prefix, const struct handler_ops *ops)
{
	static const char *const names[] = { "*" };
	struct site_table *sites = site_table_new();
	struct site *site;

	assert_int_equal(site_add(sites, names, 1, &site), 0);
	assert_int_equal(site_add_route(site, span_str(prefix), ops, NULL, NULL), 0);
	site_table_seal(sites);
	return sites;
}

static inline void fixture_open(struct fixture *f, const struct site_table *sites)
{
	memset(f, 0, sizeof(*f));
	assert_int_equal(loop_init(&f->loop), 0);
	f->server = (struct server){
		.loop = &f->loop,
		.stats = &f->stats,
		.sites = sites,
		.parse = { .request_line_max = 2000, .head_max = 8192, .field_max = 50,
			   .body_max = 1 << 20 },
		.timeouts = { .header = 40, .body = 40, .keepalive = 60, .write = 60, .linger = 20 },
		.on_request_done = on_done,
		.owner = f,
	};
	server_init(&f->server, "test");
	connect_client(f);
}

static inline void fixture_close(struct fixture *f)
{
	server_close_all(&f->server, CLOSE_DRAIN);
	if (f->client >= 0)
		close(f->client);
	loop_turn(&f->loop, 0);
	assert_int_equal(f->server.session_count, 0);
	assert_int_equal(f->server.exchanges.used_count, 0);
	assert_int_equal(f->server.buffers.used_count, 0);
	assert_int_equal(f->server.sessions.used_count, 0);
	loop_fini(&f->loop);
	server_fini(&f->server);
}

static inline void client_read(struct fixture *f)
{
	static char waste[65536];

	for (;;) {
		size_t room = sizeof(f->got) - 1 - f->got_len;
		char *to = room ? f->got + f->got_len : waste;
		ssize_t n = read(f->client, to, room ? room : sizeof(waste));

		if (n > 0)
			f->got_len += room ? (size_t)n : 0;
		else if (n == 0)
			f->has_end = true;
		else if (errno != EAGAIN)
			f->has_reset = true;
		if (n <= 0)
			break;
	}
	f->got[f->got_len] = '\0';
}

static inline void client_send(struct fixture *f, const void *data, size_t len)
{
	const char *from = data;

	while (len > 0) {
		ssize_t n = send(f->client, from, len, MSG_NOSIGNAL);

		if (n < 0) {
			loop_turn(&f->loop, 1);
			client_read(f);
			if (f->has_end || f->has_reset)
				return;
			continue;
		}
		from += n;
		len -= (size_t)n;
	}
}

static inline void client_say(struct fixture *f, const char *text)
{
	client_send(f, text, strlen(text));
}

static inline unsigned count_text(const char *text, const char *wanted)
{
	unsigned count = 0;

	for (const char *at = text; (at = strstr(at, wanted)); at += strlen(wanted))
		count++;
	return count;
}

/* Turns the loop until the client has that many replies, or the end. */
static inline void run_until_replies(struct fixture *f, unsigned count)
{
	for (unsigned i = 0; i < TURNS_MAX && !f->has_end && !f->has_reset; i++) {
		client_read(f);
		if (count && count_text(f->got, "HTTP/1.1 ") >= count && loop_turn(&f->loop, 0) == 0) {
			client_read(f);
			return;
		}
		loop_turn(&f->loop, 5);
	}
}

static inline void run_until_end(struct fixture *f)
{
	run_until_replies(f, 0);
	assert_true(f->has_end || f->has_reset);
	/* A session that lingers is counted when it is gone. */
	for (unsigned i = 0; i < TURNS_MAX && f->server.session_count; i++)
		loop_turn(&f->loop, 5);
}

#endif
