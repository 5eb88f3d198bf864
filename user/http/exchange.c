/* SPDX-License-Identifier: MIT */
/*
 * The request a session is at: from bytes in the input buffer over the route's handler to a reply in the output.
 * Moves no byte from or to the socket itself; each step says what it needs next (enum step).
 *
 * Input buffer while a request is in progress:
 *
 *   0            head_end       in_start        in_end              size of the buffer
 *   | ... | head | used content | unused bytes  | room              |
 *
 * The spans of the request point into the head, so it stays where it is until the request is over.
 */
#include "base/err.h"
#include "http/session.h"

/* Pipelined replies wait for each other up to here, so that a batch leaves in one writev. */
#define BATCH_MAX  (32u * 1024)
/* A handler that stopped for want of room is asked again below this. */
#define LOW_WATER  (64u * 1024)
/* A head that begins behind this moves to the front of the buffer first, so that the rest holds it whole. */
#define START_MAX  4096u

bool exchange_begin(struct session *s)
{
	struct server *srv = s->server;
	struct exchange *x = pool_get(&srv->exchanges);

	if (!x)
		return false;
	x->in = pool_get(&srv->buffers);
	if (!x->in) {
		pool_put(&srv->exchanges, x);
		return false;
	}
	x->session = s;
	x->in_start = 0;
	x->in_end = 0;
	x->head_end = 0;
	x->is_blocked = false;
	x->blocked_ms = 0;
	x->is_logged = true;
	if (srv->limits.has_pace) {
		x->has_looked = false;
		x->delivered = 0;
		pace_init(&x->pace, srv->limits.rate_grace_ms);
	}
	x->start_ns = srv->loop->now_ns;
	output_init(&x->output, &srv->buffers);
	parser_init(&x->parser, &srv->parse);
	s->exchange = x;
	return true;
}

void exchange_end(struct session *s)
{
	struct exchange *x = s->exchange;

	if (!x)
		return;
	output_clear(&x->output);
	pool_put(&s->server->buffers, x->in);
	pool_put(&s->server->exchanges, x);
	s->exchange = NULL;
}

static void start_request(struct session *s)
{
	struct exchange *x = s->exchange;

	s->state = SESSION_ACTIVE;
	s->request_count++;
	s->close_reason = CLOSE_DONE;
	x->is_body_done = false;
	x->body_step = 0;
	x->is_aborted = false;
	x->has_sent_continue = false;
	x->is_logged = false;
	x->is_refused = false;
	x->is_paused = false;
	x->has_probed = false;
	x->detached = NULL;
	x->parser.trailers = NULL;
	x->why = NULL;
	x->route = NULL;
	x->later = NULL;
	x->reply_head_len = 0;
	x->output_before = x->output.total;
	x->request.peer = &s->conn.peer;
	reply_init(&x->reply, &http1_reply_ops, &x->request);
}

void exchange_abandon(struct session *s)
{
	struct exchange *x = s->exchange;
	const struct route *route = x->route;

	x->route = NULL;
	if (route && route->ops->on_abort && !x->reply.is_ended && !x->is_aborted)
		route->ops->on_abort(&x->request, &x->reply);
}

void exchange_refuse(struct session *s, unsigned status, const char *why)
{
	struct exchange *x = s->exchange;

	if (s->state != SESSION_ACTIVE)
		start_request(s);
	else
		/* Fields that a handler has collected do not belong to this reply. */
		reply_init(&x->reply, &http1_reply_ops, &x->request);
	x->why = why;
	x->is_refused = true;
	x->reply.must_close = true;
	s->close_reason = CLOSE_BAD_REQUEST;
	reply_status_page(&x->reply, status);
}

static void answer_options(struct reply *r)
{
	reply_set_status(r, 204);
	reply_add(r, SPAN("Allow"), SPAN("GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"));
	reply_begin(r, 0);
	reply_end(r);
}

/* What the server answers itself, before any route.  False: it is for a handler. */
static bool answer_method(struct request *req, struct reply *r)
{
	switch (req->method) {
	case METHOD_CONNECT:
		/* No tunnel here, and what the client sends next would be its content. */
		r->must_close = true;
		reply_status_page(r, 501);
		return true;
	case METHOD_TRACE:
		reply_add(r, SPAN("Allow"), SPAN("GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"));
		reply_status_page(r, 405);
		return true;
	case METHOD_OPTIONS:
		/* "http://host" without a path asks the same (RFC 9112 3.2.4). */
		if (!span_eq(req->path, SPAN("*")))
			return false;
		answer_options(r);
		return true;
	default:
		return false;
	}
}

/* What a route does not take: false when that was answered. */
static bool is_welcome(struct session *s, const struct route *route)
{
	struct exchange *x = s->exchange;
	const struct request *req = &x->request;
	uint64_t body_max;

	if (req->method == METHOD_OTHER && !route->ops->takes_any_method) {
		reply_status_page(&x->reply, 501);
		return false;
	}
	body_max = route->ops->body_max ? route->ops->body_max(route->conf) : s->server->body_max;
	x->parser.body.max = body_max;
	if (req->framing == BODY_SIZED && req->content_length > body_max) {
		exchange_refuse(s, 413, "content too long");
		return false;
	}
	return true;
}

static void ask_handler(struct exchange *x, const struct route *route)
{
	x->route = route;
	x->later = NULL;
	route->ops->on_request(&x->request, &x->reply, route->conf);
	x->parser.trailers = x->reply.is_ended ? NULL : x->reply.request_trailers;
}

static void dispatch(struct session *s)
{
	struct exchange *x = s->exchange;
	struct request *req = &x->request;
	const struct limit_rate *rate;
	const struct route *route;
	const struct site *site;

	start_request(s);
	x->is_body_done = req->framing == BODY_NONE;
	if (answer_method(req, &x->reply))
		return;
	site = site_find(s->server->sites, req->host);
	route = site ? route_find(site, req->path) : NULL;
	rate = route ? route->rate : s->server->limits.rate;
	if (rate && !session_admit_request(s, rate))
		return;
	if (!route) {
		reply_status_page(&x->reply, req->method == METHOD_OTHER ? 501 : 404);
		return;
	}
	if (!is_welcome(s, route))
		return;
	/* Who takes no content answers behind it, so that content that breaks the rules still gets its own status. */
	if (x->is_body_done || route->ops->on_body)
		ask_handler(x, route);
	else
		x->later = route;
	if (req->expects_continue && !x->reply.is_begun && !x->has_sent_continue &&
	    !x->is_body_done && x->in_start == x->in_end && !route->ops->relays_continue) {
		x->has_sent_continue = true;
		output_add(&x->output, "HTTP/1.1 100 Continue\r\n\r\n", 25);
		x->output_before = x->output.total;
	}
}

static void move_to_front(struct exchange *x)
{
	memmove(x->in, x->in + x->in_start, x->in_end - x->in_start);
	x->in_end -= x->in_start;
	x->in_start = 0;
}

enum step exchange_head(struct session *s)
{
	struct exchange *x = s->exchange;
	size_t head_len;

	if (s->state == SESSION_IDLE)
		parser_reset(&x->parser, &x->request);
	s->state = SESSION_HEAD;
	if (x->in_start > START_MAX)
		move_to_front(x);
	switch (parser_head(&x->parser, x->in + x->in_start, x->in_end - x->in_start, &head_len)) {
	case PARSE_DONE:
		x->in_start += (unsigned)head_len;
		x->head_end = x->in_start;
		dispatch(s);
		return s->state == SESSION_ACTIVE ? exchange_active(s) : STEP_AGAIN;
	case PARSE_FAIL:
		exchange_refuse(s, x->parser.status, x->parser.why);
		return STEP_AGAIN;
	default:
		break;
	}
	if (parser_is_idle(&x->parser) && x->in[x->in_end - 1] == '\n' && output_is_empty(&x->output)) {
		/* Empty lines between requests are nothing (RFC 9112 2.2): who sends them is as idle as before. */
		x->in_start = x->in_end;
		s->state = SESSION_IDLE;
		return STEP_READ;
	}
	if (x->in_end < s->server->buffers.item_size)
		return STEP_READ;
	if (x->in_start > 0) {
		move_to_front(x);
		return STEP_READ;
	}
	exchange_refuse(s, 431, "head too large");
	return STEP_AGAIN;
}

static void give_body(struct exchange *x, struct span data, bool is_last)
{
	const struct handler_ops *ops = x->route ? x->route->ops : NULL;

	if (ops && ops->on_body && !x->reply.is_ended && !x->is_aborted)
		ops->on_body(&x->request, &x->reply, data, is_last);
}

/* The content broke the rules in its middle: an error if nothing was answered yet, and the end in any case. */
static enum step fail_body(struct session *s, unsigned status, const char *why)
{
	struct exchange *x = s->exchange;

	x->why = why;
	if (!x->reply.is_begun) {
		exchange_abandon(s);
		exchange_refuse(s, status, why);
		return STEP_AGAIN;
	}
	if (!x->reply.is_ended) {
		session_close(s, CLOSE_BAD_REQUEST);
		return STEP_CLOSED;
	}
	/* The reply is complete already: it is delivered, then the connection ends. */
	x->reply.must_close = true;
	x->is_refused = true;
	s->close_reason = CLOSE_BAD_REQUEST;
	return STEP_AGAIN;
}

static enum step pump_body(struct session *s)
{
	struct exchange *x = s->exchange;
	struct span in = span_of(x->in + x->in_start, x->in_end - x->in_start);
	struct span data;

	while (!x->is_paused) {
		enum parse_state state = parser_body(&x->parser, &in, &data);

		x->in_start = (unsigned)(in.ptr - x->in);
		switch (state) {
		case PARSE_DATA:
			give_body(x, data, false);
			continue;
		case PARSE_DONE:
			x->is_body_done = true;
			if (x->later)
				ask_handler(x, x->later);
			else
				give_body(x, span_of(NULL, 0), true);
			return STEP_AGAIN;
		case PARSE_FAIL:
			return fail_body(s, x->parser.status, x->parser.why);
		default:
			return STEP_READ;
		}
	}
	return STEP_READ;
}

/* Content that was spliced ends without a byte to read, perhaps while the handler wanted no more. */
static bool has_body_at_hand(const struct exchange *x)
{
	return x->in_start < x->in_end || parser_is_over(&x->parser);
}

/* The session has no content at hand: the handler may send on what it has, or take more by itself. */
static enum step ask_for_body(struct session *s)
{
	struct exchange *x = s->exchange;
	const struct handler_ops *ops = x->route ? x->route->ops : NULL;

	if (x->is_paused)
		return STEP_WAIT;
	if (ops && x->reply.wants_pause_note) {
		x->reply.wants_pause_note = false;
		ops->on_body_pause(&x->request, &x->reply);
		return STEP_AGAIN;
	}
	if (ops && x->reply.wants_splice && s->conn.is_readable && conn_can_splice(&s->conn) &&
	    parser_opaque(&x->parser) > 0) {
		ops->on_body_ready(&x->request, &x->reply);
		return STEP_AGAIN;
	}
	return STEP_READ;
}

/* May the next request be looked at while this one's reply still waits? */
static bool can_batch(const struct exchange *x)
{
	return x->in_start < x->in_end && !x->reply.must_close && x->output.queued < BATCH_MAX &&
	       output_is_memory_only(&x->output);
}

/*
 * A client that has ended its side either waits for its answer or is gone for good, which the kernel tells only when
 * something is sent to it.  Where an answer is dear (a server is at work on it), an interim response finds out: a client
 * must bear with one it did not ask for (RFC 9110 15.2), and a socket nobody has any more resets.
 */
static enum step probe(struct session *s, const struct handler_ops *ops)
{
	struct exchange *x = s->exchange;

	if (x->reply.ends_with_client) {
		session_close(s, CLOSE_CLIENT_ABORT);
		return STEP_CLOSED;
	}
	if (!ops || !ops->relays_continue || x->reply.is_begun || x->has_probed)
		return STEP_WAIT;
	if (x->request.version_minor == 0) {
		session_close(s, CLOSE_CLIENT_ABORT);
		return STEP_CLOSED;
	}
	x->has_probed = true;
	output_add(&x->output, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	x->output_before = x->output.total;
	return STEP_FLUSH;
}

static enum step go_on_replying(struct session *s)
{
	struct exchange *x = s->exchange;
	const struct handler_ops *ops = x->route ? x->route->ops : NULL;

	if (!output_is_empty(&x->output) && !x->is_blocked)
		return STEP_FLUSH;
	if (ops && ops->on_writable && x->reply.is_begun && x->output.queued < LOW_WATER) {
		uint64_t before = x->output.total;
		bool was_paused = x->is_paused;

		ops->on_writable(&x->request, &x->reply);
		/* What came before the pause lies in the buffer: reading more would not find it, nor perhaps any room. */
		if (x->output.total != before || x->reply.is_ended || x->is_aborted || (was_paused && !x->is_paused))
			return STEP_AGAIN;
	}
	if (!x->is_body_done)
		return ask_for_body(s);
	return s->conn.has_peer_closed ? probe(s, ops) : STEP_WAIT;
}

enum step exchange_active(struct session *s)
{
	struct exchange *x = s->exchange;
	bool skips_body;

	/* Whole replies to earlier requests may wait in front of the one that is given up. */
	if (x->is_aborted && !x->output.has_failed && !x->is_blocked && !output_is_empty(&x->output))
		return STEP_FLUSH;
	if (x->is_aborted || x->output.has_failed) {
		session_close(s, x->output.has_failed ? CLOSE_MEMORY : CLOSE_IO_ERROR);
		return STEP_CLOSED;
	}
	if (x->detached) {
		if (!output_is_empty(&x->output))
			return x->is_blocked ? STEP_WAIT : STEP_FLUSH;
		session_detach(s);
		return STEP_CLOSED;
	}
	/* Whoever has answered takes the rest as it comes, to be dropped. */
	if (x->reply.is_ended) {
		x->is_paused = false;
		x->parser.trailers = NULL;
	}
	skips_body = x->reply.is_ended && x->reply.must_close;
	if (!x->is_body_done && !skips_body && !x->is_paused && has_body_at_hand(x)) {
		enum step step = pump_body(s);

		if (step != STEP_READ)
			return step;
	}
	if (!x->reply.is_ended)
		return go_on_replying(s);
	if (!x->is_body_done && !skips_body)
		return output_is_empty(&x->output) || x->is_blocked ? STEP_READ : STEP_FLUSH;
	if (!output_is_empty(&x->output) && !can_batch(x))
		return x->is_blocked ? STEP_WAIT : STEP_FLUSH;
	return STEP_FINISH;
}

static uint64_t duration_us(const struct exchange *x, uint64_t now_ns)
{
	return (now_ns - x->start_ns) / 1000;
}

static struct access_entry entry_of(struct session *s, uint64_t now_ns, const char *reason)
{
	const struct exchange *x = s->exchange;
	uint64_t given = x->output.total - x->output_before;
	uint64_t sent = given - MIN(given, s->state == SESSION_CLOSED ? x->output.queued : 0);

	/* The address is added by session_log. */
	return (struct access_entry){
		.req = &x->request,
		.status = x->reply.is_begun ? x->reply.status : 0,
		.bytes_sent = sent,
		.body_sent = sent - MIN(sent, x->reply_head_len),
		.wall_ns = server_wall_ns(s->server, now_ns),
		.duration_us = duration_us(x, now_ns),
		.reason = x->reply.why ? x->reply.why : x->why ? x->why : reason,
		.slot = s->server->slot,
		.connection = s->serial,
		.request_number = s->request_count,
		.origin = &x->reply.origin,
	};
}

/* A request that has ended, or has become something else, in the counters; once. */
static void count_request(struct session *s, uint64_t now_ns)
{
	struct exchange *x = s->exchange;
	struct stats_block *stats = s->server->stats;
	unsigned class = x->reply.is_begun ? x->reply.status / 100 : 0;

	x->is_logged = true;
	stats->requests++;
	stats->status[class < ARRAY_LEN(stats->status) ? class : 0]++;
	if (s->request_count > 1)
		stats->keepalive_reuses++;
	if (x->reply.is_begun)
		hist_add(&stats->latency_us, duration_us(x, now_ns));
}

void exchange_log(struct session *s, const char *reason)
{
	struct access_entry e;
	uint64_t now_ns;

	if (s->exchange->is_logged)
		return;
	/* The loop's time would be that of the start: most requests begin and end in one turn. */
	now_ns = clock_ns();
	count_request(s, now_ns);
	if (!s->server->on_request_done)
		return;
	e = entry_of(s, now_ns, reason);
	session_log(s, &e);
}

void exchange_count(struct session *s, struct access_entry *ret_entry)
{
	uint64_t now_ns = clock_ns();

	count_request(s, now_ns);
	*ret_entry = entry_of(s, now_ns, "");
}
