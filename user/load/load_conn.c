/* SPDX-License-Identifier: MIT */
/*
 * One connection of a load generator.
 *
 *   CONNECTING --> BUSY --answers are there--> IDLE --> BUSY ...      keepalive
 *        |           |                     `-> HELD                   hold: nothing more is asked
 *        `-----------+-----> DEAD          `-> DEAD                   close, burst, the server's close, any fault
 *
 * What the server sends while nothing is asked ends the connection; an idle one that ends is nothing bad, a held one is.
 */
#include "load/load_impl.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/err.h"
#include "base/random.h"

static void on_free(struct job *j)
{
	struct load_conn *c = container_of(j, struct load_conn, job);

	pool_put(&c->worker->conns, c);
}

static void drop_answer(struct load_conn *c)
{
	if (c->answer)
		pool_put(&c->worker->answers, c->answer);
	c->answer = NULL;
}

void load_conn_close(struct load_conn *c, bool is_reset)
{
	struct load_worker *w = c->worker;

	if (c->state == LOAD_DEAD)
		return;
	if (c->state == LOAD_BUSY || c->state == LOAD_CONNECTING)
		w->in_flight--;
	c->state = LOAD_DEAD;
	loop_timer_stop(&w->loop, &c->timer);
	list_remove(&c->node);
	drop_answer(c);
	conn_close(&c->conn, is_reset);
	w->conn_count--;
	w->share->open--;
	loop_free_later(&w->loop, &c->job);
}

static void fail(struct load_conn *c, enum load_fault fault)
{
	struct load_worker *w = c->worker;

	load_on_fault(w, fault, c->due_ns, MAX(c->left, 1u));
	load_conn_close(c, true);
	load_on_gone(w, fault == LOAD_CONNECT);
}

static void on_timer(struct timer *t)
{
	fail(container_of(t, struct load_conn, timer), LOAD_TIMEOUT);
}

/* Sending -------------------------------------------------------------------------------------------------------- */

static const struct load_kind *choose(const struct load_options *o)
{
	uint32_t at = o->kind_count > 1 ? random_below(o->weight_sum) : 0;
	unsigned i = 0;

	while (i + 1 < o->kind_count && at >= o->kinds[i].weight)
		at -= o->kinds[i++].weight;
	return &o->kinds[i];
}

/* `left` requests of one kind follow each other; of the first of those not sent whole `unsent` bytes are to go. */
static void send_more(struct load_conn *c, unsigned requests)
{
	const struct load_kind *k = c->kind;
	struct iovec iov[LOAD_PIPELINE_MAX];
	size_t total = 0;
	unsigned i = 0;
	ssize_t n;

	do {
		size_t len = i == 0 ? c->unsent : k->len;

		iov[i] = (struct iovec){ k->bytes + k->len - len, len };
		total += len;
	} while (++i < requests);
	n = conn_writev(&c->conn, iov, (int)requests, false);
	if (n == -EAGAIN)
		n = 0;
	if (n < 0)
		return;	/* reading finds out why, and what came before it */
	total -= (size_t)n;
	c->unsent = (unsigned)total;
	if (total && conn_want_write(&c->conn) < 0)
		fail(c, LOAD_CONNECT);
}

/* What is left may be of several requests. */
static void send_rest(struct load_conn *c)
{
	unsigned len = (unsigned)c->kind->len, whole = c->unsent / len, part = c->unsent % len;

	c->unsent = part ? part : len;
	send_more(c, whole + (part != 0));
}

static void ask(struct load_conn *c)
{
	struct load_worker *w = c->worker;
	uint64_t now_ns = clock_ns();

	c->kind = choose(w->options);
	c->left = w->options->pipeline;
	c->unsent = (unsigned)c->kind->len;
	if (load_counts(w, c->due_ns))
		hist_add(&w->share->late_ns, now_ns > c->due_ns ? now_ns - c->due_ns : 0);
	loop_timer_start(&w->loop, &c->timer, w->options->timeout_ns / NS_PER_MS);
	send_more(c, c->left);
}

void load_conn_ask(struct load_conn *c, uint64_t due_ns)
{
	list_remove(&c->node);
	c->state = LOAD_BUSY;
	c->due_ns = due_ns;
	c->worker->in_flight++;
	ask(c);
}

/* Reading -------------------------------------------------------------------------------------------------------- */

static bool begin_answer(struct load_conn *c)
{
	struct load_worker *w = c->worker;

	if (c->answer)
		return true;
	c->answer = pool_get(&w->answers);
	if (!c->answer)
		return false;
	c->answer->start = c->answer->end = 0;
	c->answer->has_head = false;
	response_init(&c->answer->parser, &w->limits);
	response_reset(&c->answer->parser, &c->answer->res, c->kind->method);
	return true;
}

/* The last of the requests at hand: what becomes of the connection. */
static void finish_batch(struct load_conn *c, bool is_keep_alive)
{
	struct load_worker *w = c->worker;
	enum load_mode mode = w->options->mode;
	bool is_spoilt = c->answer->start < c->answer->end;

	drop_answer(c);
	loop_timer_stop(&w->loop, &c->timer);
	if (!is_keep_alive || is_spoilt || mode == LOAD_CLOSE || mode == LOAD_BURST) {
		load_conn_close(c, false);
		load_on_gone(w, false);
		return;
	}
	w->in_flight--;
	c->state = mode == LOAD_HOLD ? LOAD_HELD : LOAD_IDLE;
	load_on_free(w, c);
}

/* False: the connection has nothing more to read. */
static bool finish_one(struct load_conn *c)
{
	struct load_answer *a = c->answer;
	bool is_keep_alive = a->res.is_keep_alive;

	load_on_answer(c->worker, c->kind, c->due_ns, a->res.status);
	c->left--;
	if (c->left > 0 && !is_keep_alive) {
		fail(c, LOAD_CLOSED);
		return false;
	}
	if (c->left == 0) {
		finish_batch(c, is_keep_alive);
		return false;
	}
	a->has_head = false;
	response_reset(&a->parser, &a->res, c->kind->method);
	return true;
}

static enum parse_state parse_head(struct load_answer *a, enum http_method method)
{
	size_t head_len;
	enum parse_state state = response_head(&a->parser, a->data + a->start, a->end - a->start, &head_len);

	if (state != PARSE_DONE)
		return state;
	a->start += (unsigned)head_len;
	if (a->res.status < 200)
		response_reset(&a->parser, &a->res, method);
	else
		a->has_head = true;
	return PARSE_DATA;
}

static enum parse_state parse_body(struct load_answer *a)
{
	struct span in = span_of(a->data + a->start, a->end - a->start), data;
	enum parse_state state = response_body(&a->parser, &in, &data);

	a->start = a->end - (unsigned)in.len;
	return state;
}

/* Takes what there is; false: the connection is done with. */
static bool take(struct load_conn *c)
{
	for (;;) {
		struct load_answer *a = c->answer;
		enum parse_state state = PARSE_MORE;

		if (a->has_head)
			state = parse_body(a);
		else if (a->start < a->end)
			state = parse_head(a, c->kind->method);
		if (state == PARSE_FAIL) {
			fail(c, LOAD_BAD);
			return false;
		}
		if (state == PARSE_MORE)
			return true;
		if (state == PARSE_DONE && !finish_one(c))
			return false;
	}
}

/* Room behind what is there; the spans of a head are not looked at any more. */
static bool make_room(struct load_answer *a)
{
	memmove(a->data, a->data + a->start, a->end - a->start);
	a->end -= a->start;
	a->start = 0;
	return a->end < LOAD_READ_SIZE;
}

static void on_end(struct load_conn *c, ssize_t n)
{
	struct load_answer *a = c->answer;

	if (n == 0 && a && a->has_head && a->res.framing == BODY_UNTIL_CLOSE) {
		finish_one(c);
		return;
	}
	fail(c, n == 0 ? LOAD_CLOSED : LOAD_RESET);
}

static void receive(struct load_conn *c)
{
	while (c->state == LOAD_BUSY && c->conn.is_readable) {
		ssize_t n;

		if (!begin_answer(c) || !make_room(c->answer)) {
			fail(c, c->answer ? LOAD_BAD : LOAD_CONNECT);
			return;
		}
		n = conn_read(&c->conn, c->answer->data + c->answer->end, LOAD_READ_SIZE - c->answer->end);
		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			on_end(c, n);
			return;
		}
		c->worker->share->bytes_in += (uint64_t)n;
		c->answer->end += (unsigned)n;
		if (!take(c))
			return;
	}
}

/* Events --------------------------------------------------------------------------------------------------------- */

static void on_connected(struct load_conn *c)
{
	struct load_worker *w = c->worker;

	w->share->connects++;
	if (load_counts(w, c->due_ns))
		hist_add(&w->share->connect_ns, clock_ns() - c->began_ns);
	c->state = LOAD_BUSY;
	ask(c);
}

static void end_connecting(struct load_conn *c, uint32_t events)
{
	if (events & (EPOLLERR | EPOLLHUP))
		fail(c, LOAD_CONNECT);
	else if (events & EPOLLOUT)
		on_connected(c);
}

static void end_unasked(struct load_conn *c)
{
	struct load_worker *w = c->worker;
	bool is_lost = c->state == LOAD_HELD && !w->is_over;
	char byte;

	if (c->conn.is_readable && conn_read(&c->conn, &byte, 1) == -EAGAIN)
		return;
	if (is_lost)
		load_on_fault(w, LOAD_LOST, c->due_ns, 1);
	load_conn_close(c, false);
	load_on_gone(w, false);
}

static void on_ready(struct io *io, uint32_t events)
{
	struct load_conn *c = container_of(io, struct load_conn, conn.io);

	conn_note_events(&c->conn, events);
	if (c->state == LOAD_CONNECTING) {
		end_connecting(c, events);
		return;
	}
	if (c->state != LOAD_BUSY) {
		if (c->conn.is_readable)
			end_unasked(c);
		return;
	}
	if ((events & EPOLLOUT) && c->unsent)
		send_rest(c);
	receive(c);
}

/* Connecting ----------------------------------------------------------------------------------------------------- */

static int connect_next(struct load_worker *w, bool *ret_is_connected)
{
	const struct load_options *o = w->options;
	union sock_addr source = { .v4 = { .sin_family = AF_INET } };
	uint64_t at = w->slice + w->connected_count++ * o->processes;

	if (o->sources <= 1)
		return sock_connect_from(NULL, &o->server, ret_is_connected);
	source.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(at % o->sources));
	return sock_connect_from(&source, &o->server, ret_is_connected);
}

bool load_conn_open(struct load_worker *w, uint64_t due_ns)
{
	struct load_conn *c = pool_get(&w->conns);
	uint64_t began_ns = clock_ns();
	bool is_connected;
	int fd = c ? connect_next(w, &is_connected) : -ENOMEM;

	if (fd < 0) {
		pool_put(&w->conns, c);
		load_on_fault(w, LOAD_CONNECT, due_ns, 1);
		return false;
	}
	memset(c, 0, sizeof(*c));
	c->worker = w;
	c->state = LOAD_CONNECTING;
	c->due_ns = due_ns;
	c->began_ns = began_ns;
	list_init(&c->node);
	timer_init(&c->timer, on_timer);
	job_init(&c->job, on_free);
	conn_open(&c->conn, &w->loop, fd, &w->options->server, on_ready);
	w->conn_count++;
	w->in_flight++;
	w->share->open++;
	loop_timer_start(&w->loop, &c->timer, w->options->timeout_ns / NS_PER_MS);
	if (conn_want_write(&c->conn) < 0)
		fail(c, LOAD_CONNECT);
	return true;
}
