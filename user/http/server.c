/* SPDX-License-Identifier: MIT */
/* What the sessions of one worker share; see server.h. */
#include "http/server.h"

#include "base/clock.h"
#include "base/err.h"
#include "http/session.h"

/* Room behind the longest head for the rest of a batch, or for pieces of a body. */
#define BUFFER_EXTRA   8192u
#define KEEP_SESSIONS  1024u
#define KEEP_EXCHANGES 128u
/* A connection that has not asked anything when the server drains may have its request on the way. */
#define DRAIN_GRACE_MS 1000u
/* The same when descriptors are short. */
#define FIRST_REQUEST_MS 1000u

void server_init(struct server *srv, const char *server_name)
{
	size_t buffer = (srv->parse.head_max + BUFFER_EXTRA + 4095) & ~(size_t)4095;
	struct span name = span_str(server_name ? server_name : "");

	pool_init(&srv->sessions, sizeof(struct session), KEEP_SESSIONS, 0);
	pool_init(&srv->exchanges, sizeof(struct exchange), KEEP_EXCHANGES, 0);
	pool_init(&srv->buffers, buffer, KEEP_EXCHANGES, 0);
	list_init(&srv->idle);
	list_init(&srv->active);
	srv->send = NULL;
	srv->given_count = 0;
	srv->spread_from_ms = srv->spread_until_ms = 0;
	timer_init(&srv->retry, server_retry_giving);
	srv->body_max = srv->parse.body_max;
	srv->session_count = 0;
	srv->refused_count = 0;
	srv->is_short = false;
	memset(srv->raised, 0, sizeof(srv->raised));
	srv->raised_next = 0;
	srv->serial = 0;
	srv->early_score = 0;
	srv->second_end_ns = 0;
	name.len = MIN(name.len, sizeof(srv->server_name) - 1);
	memcpy(srv->server_name, name.ptr, name.len);
	srv->server_name[name.len] = '\0';
}

void server_allow_body(struct server *srv, uint64_t body_max)
{
	srv->parse.body_max = MAX(srv->parse.body_max, body_max);
}

uint64_t server_memory(const struct server *srv)
{
	const struct server_limits *l = &srv->limits;
	uint64_t others = l->handler_memory ? l->handler_memory(l->memory_ctx) : 0;

	return pool_used(&srv->exchanges) + pool_used(&srv->buffers) + others;
}

static void set_short(struct server *srv, bool is_short)
{
	srv->is_short = is_short;
	pool_keep(&srv->exchanges, is_short ? 0 : KEEP_EXCHANGES);
	pool_keep(&srv->buffers, is_short ? 0 : KEEP_EXCHANGES);
	if (srv->limits.on_memory)
		srv->limits.on_memory(srv->limits.memory_ctx, is_short);
}

bool server_has_memory(struct server *srv)
{
	uint64_t used = server_memory(srv), most = srv->limits.memory;

	/* Half of it: around the limit the pools would map and unmap with each request. */
	if (srv->is_short && used < most / 2)
		set_short(srv, false);
	if (used + srv->exchanges.item_size + srv->buffers.item_size <= most)
		return true;
	if (!srv->is_short)
		set_short(srv, true);
	return false;
}

void server_fini(struct server *srv)
{
	BUG_ON(srv->session_count > 0);
	pool_fini(&srv->sessions);
	pool_fini(&srv->exchanges);
	pool_fini(&srv->buffers);
}

/* A clock that is set is seen within a second, here and in the Date of replies. */
void server_begin_second(struct server *srv)
{
	uint64_t now_ns = clock_ns(), wall_ns = clock_wall_ns();
	char date[HTTP_DATE_LEN];
	struct buf b;

	srv->wall_offset_ns = wall_ns - now_ns;
	srv->second_end_ns = now_ns + NS_PER_SEC - wall_ns % NS_PER_SEC;
	buf_init(&b, srv->ok_head, sizeof(srv->ok_head));
	buf_add_lit(&b, SERVER_OK_LINE);
	if (srv->server_name[0]) {
		buf_add_lit(&b, "Server: ");
		buf_add_span(&b, span_str(srv->server_name));
		buf_add_lit(&b, "\r\n");
	}
	http_date_print((int64_t)(wall_ns / NS_PER_SEC), date);
	buf_add_lit(&b, "Date: ");
	buf_add(&b, date, sizeof(date));
	buf_add_lit(&b, "\r\n");
	srv->ok_head_len = (unsigned)b.len;
}

int server_hand_over(struct server *srv, int (*send)(void *ctx, int fd, const struct server_guest *g),
		     void *ctx)
{
	for (struct list *node = srv->idle.prev; node != &srv->idle; node = node->prev) {
		struct session *s = container_of(node, struct session, node);
		struct server_guest guest = session_guest(s);
		int err;

		if (s->conn.is_readable || s->exchange || s->state != SESSION_IDLE)
			continue;
		err = send(ctx, s->conn.io.fd, &guest);
		if (err)
			return err;
		session_forget(s);
		return 1;
	}
	return 0;
}

/* One that has not asked yet is as good as its first request, unless it keeps us waiting for it. */
static bool is_idle_enough(const struct server *srv, const struct session *s)
{
	return s->request_count > 0 ||
	       s->timer.expires_ms + FIRST_REQUEST_MS <= srv->loop->now_ms + srv->timeouts.header;
}

unsigned server_close_idle(struct server *srv, unsigned count, enum close_reason reason)
{
	unsigned closed = 0;

	list_for_each_safe(node, next, &srv->idle)
	{
		struct session *s = container_of(node, struct session, node);

		if (closed == count)
			break;
		if (!is_idle_enough(srv, s))
			continue;
		session_close(s, reason);
		closed++;
	}
	return closed;
}

void server_drain(struct server *srv)
{
	srv->is_draining = true;
	server_stay(srv);
	list_for_each_safe(node, next, &srv->idle)
	{
		struct session *s = container_of(node, struct session, node);

		/* A request that is here already is still answered; else the session closes as it turns idle again. */
		if (s->request_count > 0) {
			s->conn.is_readable = true;
			session_run(s);
		} else {
			loop_timer_start(srv->loop, &s->timer, DRAIN_GRACE_MS);
		}
	}
}

static void close_list(struct list *sessions, enum close_reason reason)
{
	while (!list_is_empty(sessions))
		session_close(container_of(sessions->next, struct session, node), reason);
}

void server_close_all(struct server *srv, enum close_reason reason)
{
	server_stay(srv);
	close_list(&srv->idle, reason);
	close_list(&srv->active, reason);
}
