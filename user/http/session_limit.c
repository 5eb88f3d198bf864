/* SPDX-License-Identifier: MIT */
/*
 * What a client may have: connections, requests in a time, a place at all.  Connections are counted for who holds the
 * other end of the socket, requests for whom trusted proxies name.  What is refused is answered at no cost in buffers,
 * counted and logged.
 */
#include "http/forwarded.h"
#include "http/session.h"

/* Refused connections that may listen for the end of their client; more of them are closed at once. */
#define REFUSED_MAX 512u
#define MS_PER_S    1000u

static bool is_in(const struct cidr_set *set, const union sock_addr *addr)
{
	return set && cidr_set_has(set, addr);
}

/* Refusing ---------------------------------------------------------------------------------------------------- */

static void log_refused(struct session *s, unsigned status, size_t sent, const char *why)
{
	struct stats_block *stats = s->server->stats;
	struct access_entry e = {
		.status = status,
		.bytes_sent = sent,
		.wall_ns = clock_wall_ns(),
		.reason = why,
		.slot = s->server->slot,
		.connection = s->serial,
		.request_number = s->request_count + 1,
	};

	stats->requests++;
	stats->status[status / 100]++;
	if (s->server->on_request_done)
		session_log(s, &e);
}

void session_refuse(struct session *s, unsigned status, enum close_reason reason, const char *why)
{
	struct server *srv = s->server;
	char text[512];
	struct iovec iov;
	struct buf b;

	buf_init(&b, text, sizeof(text));
	buf_printf(&b, "HTTP/1.1 %u %s\r\n", status, status_phrase(status));
	buf_add_span(&b, server_common_fields(srv));
	buf_add_lit(&b, "Content-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n");
	iov = (struct iovec){ text, b.len };

	list_remove(&s->node);
	list_push_back(&srv->active, &s->node);
	/* A socket that has carried nothing takes so little; if not, nobody is there. */
	if (srv->refused_count >= REFUSED_MAX || conn_writev(&s->conn, &iov, 1, false) != (ssize_t)b.len) {
		log_refused(s, 0, 0, why);
		session_close(s, reason);
		return;
	}
	srv->stats->bytes_out += b.len;
	srv->refused_count++;
	s->is_refused = true;
	log_refused(s, status, b.len, why);
	s->close_reason = (uint8_t)reason;
	session_linger(s);
}

/* Connections ------------------------------------------------------------------------------------------------- */

/* False when its client has too many. */
static bool count_client(struct session *s, uint32_t max)
{
	const struct server_limits *l = &s->server->limits;
	const union sock_addr *peer = &s->conn.transport_peer;
	struct limit_client client;

	if (l->client_connections == 0 || is_in(l->exempt, peer) || is_in(l->trusted, peer) ||
	    !limit_client_of(peer, &client))
		return true;
	return limit_table_add(l->table, l->row, client, max, &s->limit_entry) != LIMIT_REFUSED;
}

static bool count_total(struct session *s, uint64_t max)
{
	const struct server_limits *l = &s->server->limits;

	if (l->total_connections == 0)
		return true;
	/* Exempt: counted all the same, for they are connections too. */
	if (max && is_in(l->exempt, &s->conn.transport_peer))
		max = 0;
	s->is_counted = limit_table_add_any(l->table, l->row, max);
	return s->is_counted;
}

bool session_admit(struct session *s)
{
	const struct server_limits *l = &s->server->limits;

	if (!l->row.connections)
		return true;
	if (!count_total(s, l->total_connections)) {
		session_refuse(s, 503, CLOSE_TOTAL_CONNECTIONS, "total_connections");
		return false;
	}
	if (!count_client(s, l->client_connections)) {
		/* It is not one of those that are served. */
		session_uncount(s);
		session_refuse(s, 429, CLOSE_CLIENT_CONNECTIONS, "client_connections");
		return false;
	}
	return true;
}

void session_uncount(struct session *s)
{
	const struct server_limits *l = &s->server->limits;

	if (s->limit_entry)
		limit_table_drop(l->table, l->row, s->limit_entry);
	if (s->is_counted)
		limit_table_drop_any(l->table, l->row);
	s->limit_entry = 0;
	s->is_counted = false;
}

void session_hand_on_count(struct session *s)
{
	struct limit_row row = s->server->limits.row;

	if (s->limit_entry)
		limit_row_leave(row, s->limit_entry);
	if (s->is_counted)
		limit_row_leave(row, 0);
	s->limit_entry = 0;
	s->is_counted = false;
}

static void join(const struct session *s)
{
	struct limit_row row = s->server->limits.row;

	if (s->limit_entry)
		limit_row_join(row, s->limit_entry);
	if (s->is_counted)
		limit_row_join(row, 0);
}

/* Another process says so, and what it says is no reason to write beyond the table. */
static bool is_counted_here(const struct server_limits *l, const struct server_guest *g)
{
	return g->limit_id && l->table && l->table->header && g->limit_id == l->table->header->id &&
	       (g->limit_entry == 0 || limit_table_has(l->table, g->limit_entry));
}

void session_drop_guest(struct server *srv, const struct server_guest *g)
{
	struct session gone = { .server = srv };

	if (!is_counted_here(&srv->limits, g))
		return;
	gone.limit_entry = g->limit_entry;
	gone.is_counted = g->is_counted;
	join(&gone);
	session_uncount(&gone);
}

void server_lose(struct server *srv, const struct server_guest *guest)
{
	session_drop_guest(srv, guest);
}

void session_take_over_count(struct session *s, const struct server_guest *g)
{
	const struct server_limits *l = &s->server->limits;

	/* This generation counts no more; the table goes on for rates, and perhaps for the next one's connections. */
	if (!l->row.connections) {
		session_drop_guest(s->server, g);
		return;
	}
	if (is_counted_here(l, g)) {
		s->limit_entry = g->limit_entry;
		s->is_counted = g->is_counted;
		join(s);
	}
	/* From a generation that counted elsewhere, or not at all: it is let in, whatever the limit. */
	if (!s->limit_entry)
		count_client(s, 0);
	if (!s->is_counted)
		count_total(s, 0);
}

/* Requests ---------------------------------------------------------------------------------------------------- */

static bool is_trusted(void *ctx, const union sock_addr *addr)
{
	return is_in(ctx, addr);
}

static void find_client(const struct session *s, union sock_addr *ret_client)
{
	const struct cidr_set *trusted = s->server->limits.trusted;
	struct forwarded_trust trust = { .is_trusted = is_trusted, .ctx = (void *)trusted };

	if (trusted && trusted->count)
		forwarded_client(&s->exchange->request, &s->conn.peer, &trust, ret_client);
	else
		*ret_client = s->conn.peer;
}

static void refuse_request(struct exchange *x, unsigned status, const char *why, uint64_t wait_ms)
{
	x->reply.why = why;
	/* What it would send on is not waited for. */
	if (!x->is_body_done)
		x->reply.must_close = true;
	reply_addf(&x->reply, SPAN("Retry-After"), "%llu",
		   (unsigned long long)((wait_ms + MS_PER_S - 1) / MS_PER_S));
	reply_status_page(&x->reply, status);
}

bool session_admit_request(struct session *s, const struct limit_rate *rate)
{
	struct server *srv = s->server;
	const struct limit_post *post = &srv->limits.post;
	struct limit_client client;
	union sock_addr addr;
	uint64_t wait_ms;

	find_client(s, &addr);
	if (is_in(srv->limits.exempt, &addr) || !limit_client_of(&addr, &client))
		return true;
	if (!limit_post_is_well(post, srv->loop->now_ns)) {
		srv->stats->rate_unknown++;
		refuse_request(s->exchange, 503, "rate_unknown", MS_PER_S);
		return false;
	}
	wait_ms = limit_table_take(srv->limits.table, rate, client, srv->loop->now_ns);
	if (wait_ms) {
		srv->stats->rate_limited++;
		refuse_request(s->exchange, 429, "rate_limited", wait_ms);
		return false;
	}
	/* Other hosts hear of it later. */
	if (post->ring)
		limit_post_put(post, rate, client);
	return true;
}
