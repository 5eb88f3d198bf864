/* SPDX-License-Identifier: MIT */
/*
 * Life of one HTTP/1 connection: events, bytes between socket and exchange, timers, the end.  States in session.h.
 *
 * Output before input: as long as replies wait and the kernel refuses them, no further request is read, so a client
 * that does not read cannot fill our memory.  The one exception is the body of the request at hand.
 */
#include "http/session.h"

#include "base/err.h"

/* What one connection may do before others have their turn. */
#define TURN_STEPS 256
#define TURN_READS 16
#define TURN_BYTES (1024u * 1024)
/* A refused client that keeps sending is listened to this many times the silence we allow. */
#define LINGER_FACTOR 15
/* Content that has to come within one body timeout, if that much is still missing. */
#define BODY_STEP 1024u
/* Early reads: see guess_ready. */
#define EARLY_PROBE	16
#define EARLY_SCORE_MAX 8

struct turn {
	unsigned steps;
	unsigned reads;
	uint64_t bytes;		/* written */
};

static const char *const reason_names[] = {
#define X(id, text) [id] = text,
	CLOSE_REASONS(X)
#undef X
};

static void on_free(struct job *j)
{
	struct session *s = container_of(j, struct session, job);

	pool_put(&s->server->sessions, s);
}

/* Replies of earlier requests may wait in the output too, while the session is at the next head. */
static bool is_reply_cut(const struct session *s, const struct exchange *x)
{
	if (!output_is_empty(&x->output) || x->output.has_failed)
		return true;
	return s->state == SESSION_ACTIVE && x->reply.is_begun &&
	       (!x->reply.is_ended || x->is_aborted);
}

/* The last steps of every end: nothing refers to the session any more, its memory goes with the turn. */
static void retire(struct session *s)
{
	struct server *srv = s->server;

	loop_timer_stop(srv->loop, &s->timer);
	list_remove(&s->node);
	session_uncount(s);
	session_leave_unsent(s);
	srv->refused_count -= s->is_refused;
	srv->session_count--;
	s->job.run = on_free;
	loop_free_later(srv->loop, &s->job);
	if (srv->on_session_closed)
		srv->on_session_closed(srv);
}

/* Made with the first line of a connection: an address takes longer to print than most of a line. */
static struct span peer_text(struct session *s, char text[SOCK_ADDR_TEXT])
{
	struct span host;

	if (s->peer_text_len)
		return span_of(s->peer_text, s->peer_text_len);
	host = span_str(sock_addr_print_host(&s->conn.peer, text));
	if (host.len <= sizeof(s->peer_text)) {
		memcpy(s->peer_text, host.ptr, host.len);
		s->peer_text_len = (uint8_t)host.len;
	}
	return host;
}

void session_log(struct session *s, struct access_entry *e)
{
	char text[SOCK_ADDR_TEXT];

	e->peer_host = peer_text(s, text);
	e->peer_port = sock_addr_port(&s->conn.peer);
	s->server->on_request_done(s->server, e);
}

void session_close(struct session *s, enum close_reason reason)
{
	struct server *srv = s->server;
	struct exchange *x = s->exchange;
	bool is_cut;

	if (s->state == SESSION_CLOSED)
		return;
	is_cut = x && is_reply_cut(s, x);
	if (s->state == SESSION_DETACHED)
		session_end_detached(s, reason_names[reason]);
	if (x && s->state == SESSION_ACTIVE)
		exchange_abandon(s);
	s->state = SESSION_CLOSED;
	srv->stats->closed[reason]++;
	if (x) {
		exchange_log(s, reason_names[reason]);
		exchange_end(s);
	}
	/* A reply cut short must not look complete to a client that reads until the end: RST instead of FIN. */
	conn_close(&s->conn, is_cut);
	retire(s);
}

void session_forget(struct session *s)
{
	BUG_ON((s->state != SESSION_IDLE && s->state != SESSION_PROXY_HEADER) || s->exchange);
	s->state = SESSION_CLOSED;
	session_lower_unsent(s);
	/* The descriptor lives on in another process, so closing ours does not take it out of epoll: removed by hand. */
	loop_remove(s->server->loop, &s->conn.io);
	conn_close(&s->conn, false);
	session_hand_on_count(s);
	retire(s);
}

void session_wake(struct session *s)
{
	if (!s->is_running && s->state < SESSION_DETACHED)
		loop_again(s->server->loop, &s->job);
}

/* Timers ------------------------------------------------------------------------------------------------------ */

static void arm(struct session *s, enum session_wait wait, uint64_t after_ms)
{
	/*
	 * A head has one time limit from its first byte on, and so has the wait for one, whatever empty lines come in it;
	 * everything else starts anew with each sign of life.
	 */
	bool has_one_limit = wait == WAIT_HEAD || wait == WAIT_REQUEST || wait == WAIT_PROXY_HEADER;
	bool goes_on = s->wait == wait && (has_one_limit || !s->has_progressed) && timer_is_active(&s->timer);

	if (s->server->limits.has_pace && session_arm_paced(s, wait, after_ms, goes_on))
		return;
	if (goes_on)
		return;
	s->wait = (uint8_t)wait;
	s->has_progressed = false;
	if (wait == WAIT_WRITE)
		s->unacked = sock_unacked(s->conn.io.fd);
	if (wait == WAIT_NONE || after_ms == 0)
		loop_timer_stop(s->server->loop, &s->timer);
	else
		loop_timer_start(s->server->loop, &s->timer, after_ms);
}

static void settle_idle(struct session *s)
{
	struct server *srv = s->server;

	BUG_ON(s->exchange && !output_is_empty(&s->exchange->output));
	exchange_end(s);
	if (session_give(s))
		return;
	if (srv->is_draining && s->request_count > 0) {
		session_close(s, CLOSE_DRAIN);
		return;
	}
	list_remove(&s->node);
	list_push_back(&srv->idle, &s->node);
	arm(s, WAIT_REQUEST, s->request_count ? srv->timeouts.keepalive : srv->timeouts.header);
}

/* One that has sent nothing yet is as idle as one between requests, and owns no buffer either. */
static void settle_proxy_header(struct session *s)
{
	struct server *srv = s->server;

	if (!s->exchange || s->exchange->in_start == s->exchange->in_end) {
		exchange_end(s);
		if (session_give(s))
			return;
		list_remove(&s->node);
		list_push_back(&srv->idle, &s->node);
	}
	arm(s, WAIT_PROXY_HEADER, srv->timeouts.header);
}

/* Arms the timer for what the session now waits for. */
static void settle(struct session *s)
{
	const struct server_timeouts *t = &s->server->timeouts;
	struct exchange *x = s->exchange;

	switch (s->state) {
	case SESSION_IDLE:
		settle_idle(s);
		break;
	case SESSION_HEAD:
		if (x->is_blocked)
			arm(s, WAIT_WRITE, t->write);
		else
			arm(s, WAIT_HEAD, t->header);
		break;
	case SESSION_ACTIVE:
		if (x->is_blocked)
			arm(s, WAIT_WRITE, t->write);
		else if (!x->is_body_done && !x->is_paused)
			arm(s, WAIT_BODY, t->body);
		else
			arm(s, WAIT_NONE, 0);
		break;
	case SESSION_LINGER:
		arm(s, WAIT_LINGER, t->linger);
		break;
	case SESSION_PROXY_HEADER:
		settle_proxy_header(s);
		break;
	default:
		break;
	}
}

/*
 * A client that sips: the kernel asks for more only when a third of its buffer is free, which may take longer than the
 * timeout, so what counts is whether it took anything.
 */
static bool is_still_reading(const struct session *s)
{
	return sock_unacked(s->conn.io.fd) < s->unacked;
}

/* Too slow a client: 408 where it can still be told. */
static void cut_slow(struct session *s)
{
	enum close_reason reason = s->wait == WAIT_HEAD	  ? CLOSE_HEADER_RATE
				   : s->wait == WAIT_BODY ? CLOSE_BODY_RATE
							  : CLOSE_WRITE_RATE;

	if (reason == CLOSE_WRITE_RATE || (s->state == SESSION_ACTIVE && s->exchange->reply.is_begun)) {
		session_close(s, reason);
		return;
	}
	if (s->state == SESSION_ACTIVE)
		exchange_abandon(s);
	exchange_refuse(s, 408, reason_names[reason]);
	s->close_reason = (uint8_t)reason;
	session_run(s);
}

/* True: that was all. */
static bool judge_pace(struct session *s)
{
	if (!s->server->limits.has_pace || !session_has_pace(s, s->wait))
		return false;
	switch (session_judge_pace(s)) {
	case PACE_GOES_ON:
		return true;
	case PACE_LOOK:
		s->conn.is_readable = true;
		session_run(s);
		return true;
	case PACE_SLOW:
		s->server->stats->timeouts++;
		cut_slow(s);
		return true;
	case PACE_OVER:
		break;
	}
	return false;
}

static void on_timer(struct timer *timer)
{
	struct session *s = container_of(timer, struct session, timer);
	struct exchange *x = s->exchange;

	if (s->state == SESSION_DETACHED) {
		session_leave_detached(s);
		return;
	}
	if (judge_pace(s))
		return;
	if (s->wait == WAIT_WRITE && is_still_reading(s)) {
		s->has_progressed = true;
		arm(s, WAIT_WRITE, s->server->timeouts.write);
		return;
	}
	s->server->stats->timeouts++;
	switch (s->wait) {
	case WAIT_REQUEST:
		session_close(s, CLOSE_IDLE);
		return;
	case WAIT_PROXY_HEADER:
		session_close(s, CLOSE_PROXY_HEADER);
		return;
	case WAIT_HEAD:
		exchange_refuse(s, 408, "header timeout");
		s->close_reason = CLOSE_HEADER_TIMEOUT;
		break;
	case WAIT_BODY:
		if (x->reply.is_begun) {
			session_close(s, CLOSE_BODY_TIMEOUT);
			return;
		}
		exchange_abandon(s);
		exchange_refuse(s, 408, "body timeout");
		s->close_reason = CLOSE_BODY_TIMEOUT;
		break;
	case WAIT_WRITE:
		session_close(s, CLOSE_WRITE_TIMEOUT);
		return;
	default:
		session_close(s, (enum close_reason)s->close_reason);
		return;
	}
	session_run(s);
}

/* Bytes ------------------------------------------------------------------------------------------------------- */

static enum step flush(struct session *s, struct turn *turn)
{
	struct exchange *x = s->exchange;
	/* Nothing follows the reply but shutdown or close: its last segment carries the FIN, a packet less. */
	bool has_end = s->state == SESSION_ACTIVE && x->reply.is_ended && x->reply.must_close;
	uint64_t written = 0;
	enum close_reason reason = CLOSE_CLIENT_ABORT;
	enum flush_result result;

	if (turn->bytes >= TURN_BYTES)
		return STEP_WAIT;
	if (x->blocked_ms)
		session_judge_reader(s);
	result = output_flush(&x->output, &s->conn, TURN_BYTES - turn->bytes, has_end, &written);
	turn->bytes += written;
	s->server->stats->bytes_out += written;
	if (written)
		s->has_progressed = true;
	switch (result) {
	case FLUSH_DONE:
		x->is_blocked = false;
		return STEP_AGAIN;
	case FLUSH_BUDGET:
		return STEP_WAIT;
	case FLUSH_BLOCKED:
		x->is_blocked = true;
		x->blocked_ms = s->server->loop->now_ms;
		if (conn_want_write(&s->conn) == 0)
			return STEP_AGAIN;
		reason = CLOSE_MEMORY;
		break;
	case FLUSH_FILE:
		reason = CLOSE_IO_ERROR;
		break;
	case FLUSH_FAILED:
		if (x->output.has_failed)
			reason = CLOSE_MEMORY;
		break;
	}
	session_close(s, reason);
	return STEP_CLOSED;
}

/* The client has ended its side.  What it asked for completely is still answered (half-close). */
static enum step on_end(struct session *s)
{
	struct exchange *x = s->exchange;

	switch (s->state) {
	case SESSION_IDLE:
		session_close(s, CLOSE_CLIENT);
		return STEP_CLOSED;
	case SESSION_PROXY_HEADER:
		session_proxy_end(s);
		return STEP_CLOSED;
	case SESSION_HEAD:
		exchange_refuse(s, 400, "head cut short");
		s->close_reason = CLOSE_CLIENT_ABORT;
		return STEP_AGAIN;
	default:
		break;
	}
	if (x->is_body_done)
		return STEP_WAIT;
	if (x->reply.is_begun && !x->reply.is_ended) {
		session_close(s, CLOSE_CLIENT_ABORT);
		return STEP_CLOSED;
	}
	x->why = "body cut short";
	s->close_reason = CLOSE_CLIENT_ABORT;
	if (x->reply.is_ended) {
		x->reply.must_close = true;
		return STEP_AGAIN;
	}
	exchange_abandon(s);
	exchange_refuse(s, 400, "body cut short");
	return STEP_AGAIN;
}

static bool begin_input(struct session *s)
{
	if (s->exchange)
		return true;
	if ((s->server->limits.memory == 0 || server_has_memory(s->server)) && exchange_begin(s)) {
		list_remove(&s->node);
		list_push_back(&s->server->active, &s->node);
		return true;
	}
	s->server->stats->memory_refused++;
	session_refuse(s, 503, CLOSE_MEMORY, reason_names[CLOSE_MEMORY]);
	return false;
}

/* A drip of single bytes must not hold a connection for days: content counts as a sign of life by the kibibyte. */
static void note_input(struct session *s, unsigned len)
{
	struct exchange *x = s->exchange;

	if (s->server->limits.has_pace)
		session_pace_input(s, len);
	if (s->state == SESSION_ACTIVE) {
		x->body_step += len;
		if (x->body_step < BODY_STEP)
			return;
		x->body_step = 0;
	}
	s->has_progressed = true;
}

void session_note_body(struct session *s, size_t len)
{
	s->server->stats->bytes_in += len;
	note_input(s, (unsigned)MIN(len, (size_t)INT32_MAX));
}

static enum step read_input(struct session *s, struct turn *turn)
{
	struct exchange *x;
	ssize_t n;

	if (!s->conn.is_readable)
		return s->conn.has_read_end ? on_end(s) : STEP_WAIT;
	if (turn->reads++ >= TURN_READS) {
		loop_again(s->server->loop, &s->job);
		return STEP_WAIT;
	}
	if (!begin_input(s))
		return s->state == SESSION_CLOSED ? STEP_CLOSED : STEP_AGAIN;
	x = s->exchange;
	if (x->in_start == x->in_end) {
		x->in_start = s->state == SESSION_ACTIVE ? x->head_end : 0;
		x->in_end = x->in_start;
	}
	n = conn_read(&s->conn, x->in + x->in_end, s->server->buffers.item_size - x->in_end);
	if (n > 0) {
		if (s->state == SESSION_IDLE)
			x->start_ns = s->server->loop->now_ns;
		x->in_end += (unsigned)n;
		s->server->stats->bytes_in += (uint64_t)n;
		note_input(s, (unsigned)n);
		return STEP_AGAIN;
	}
	if (n == 0)
		return on_end(s);
	return n == -EAGAIN ? STEP_WAIT : STEP_AGAIN;
}

/* The end of a connection ------------------------------------------------------------------------------------- */

void session_linger(struct session *s)
{
	struct server *srv = s->server;

	exchange_end(s);
	s->state = SESSION_LINGER;
	s->linger_until_ms = srv->loop->now_ms + srv->timeouts.linger * LINGER_FACTOR;
	s->has_progressed = true;
	conn_shutdown_write(&s->conn);
}

/*
 * Reads and drops what a refused client still sends: closing with unread input would make the kernel answer with a
 * reset, which destroys the reply on its way (RFC 9112 9.6).
 */
static enum step linger(struct session *s, struct turn *turn)
{
	static char waste[16384];
	bool is_over = s->server->loop->now_ms >= s->linger_until_ms;

	while (s->conn.is_readable && !is_over) {
		ssize_t n;

		if (turn->reads++ >= TURN_READS) {
			loop_again(s->server->loop, &s->job);
			return STEP_WAIT;
		}
		n = conn_read(&s->conn, waste, sizeof(waste));
		if (n > 0) {
			s->has_progressed = true;
			s->server->stats->bytes_in += (uint64_t)n;
		} else if (n != -EAGAIN) {
			break;
		}
	}
	if (s->conn.has_read_end || s->conn.has_failed || is_over) {
		session_close(s, (enum close_reason)s->close_reason);
		return STEP_CLOSED;
	}
	return STEP_WAIT;
}

/* The request is over: next one, lingering, or the end. */
static enum step finish(struct session *s)
{
	struct exchange *x = s->exchange;
	/* The client that asked for the close has promised to send no more; one that did not may have sent already. */
	bool has_input_left = !x->is_body_done || x->is_refused || x->in_start < x->in_end ||
			      s->conn.is_readable || x->request.is_keep_alive;

	exchange_log(s, "done");
	if (x->reply.must_close) {
		if (has_input_left && !s->conn.has_read_end) {
			session_linger(s);
			return STEP_AGAIN;
		}
		session_close(s, (enum close_reason)s->close_reason);
		return STEP_CLOSED;
	}
	s->state = SESSION_IDLE;
	s->wait = WAIT_NONE;
	x->start_ns = s->server->loop->now_ns;
	return x->in_start < x->in_end ? STEP_AGAIN : STEP_READ;
}

static enum step next_step(struct session *s, struct turn *turn)
{
	const struct exchange *x = s->exchange;

	switch (s->state) {
	case SESSION_IDLE:
	case SESSION_HEAD:
		return x && x->in_start < x->in_end ? exchange_head(s) : STEP_READ;
	case SESSION_ACTIVE:
		return exchange_active(s);
	case SESSION_LINGER:
		return linger(s, turn);
	case SESSION_PROXY_HEADER:
		return session_proxy_header(s);
	default:
		return STEP_CLOSED;
	}
}

/* Between requests replies go out before the next request is read. */
static enum step read_or_flush(struct session *s, struct turn *turn)
{
	struct exchange *x = s->exchange;

	if (s->state != SESSION_ACTIVE && x && !output_is_empty(&x->output)) {
		if (x->is_blocked)
			return STEP_WAIT;
		return flush(s, turn);
	}
	return read_input(s, turn);
}

static void close_failed(struct session *s)
{
	bool is_idle = (s->state == SESSION_IDLE || s->state == SESSION_PROXY_HEADER) && !s->exchange;

	if (s->state == SESSION_LINGER)
		session_close(s, (enum close_reason)s->close_reason);
	else
		session_close(s, is_idle ? CLOSE_CLIENT : CLOSE_CLIENT_ABORT);
}

static void run_steps(struct session *s)
{
	struct turn turn = { 0 };

	for (;;) {
		enum step step;

		if (s->conn.has_failed) {
			close_failed(s);
			return;
		}
		step = next_step(s, &turn);
		if (step == STEP_FLUSH)
			step = flush(s, &turn);
		else if (step == STEP_FINISH)
			step = finish(s);
		if (step == STEP_READ)
			step = read_or_flush(s, &turn);
		if (step == STEP_CLOSED)
			return;
		if (step == STEP_WAIT)
			break;
		if (++turn.steps >= TURN_STEPS)
			break;
	}
	if (s->state == SESSION_CLOSED)
		return;
	if (turn.steps >= TURN_STEPS || turn.bytes >= TURN_BYTES) {
		/* It waits for nothing but its turn: a timer of an earlier wait must not strike in between. */
		arm(s, WAIT_NONE, 0);
		loop_again(s->server->loop, &s->job);
	} else {
		settle(s);
	}
}

void session_run(struct session *s)
{
	if (s->state >= SESSION_DETACHED || s->is_running)
		return;
	/* This run does what a wake-up of the session was for: another would cost a turn of the loop that does not sleep. */
	job_cancel(&s->job);
	s->is_running = true;
	run_steps(s);
	s->is_running = false;
}

static void on_job(struct job *j)
{
	session_run(container_of(j, struct session, job));
}

static void on_ready(struct io *io, uint32_t events)
{
	struct session *s = container_of(io, struct session, conn.io);

	conn_note_events(&s->conn, events);
	if (s->state == SESSION_DETACHED) {
		session_run_detached(s);
		return;
	}
	if ((events & EPOLLOUT) && s->exchange)
		s->exchange->is_blocked = false;
	session_run(s);
}

/*
 * Is it worth to try reading from a connection that has just been accepted?  When its request is there already, a round
 * through epoll is saved, and for a connection that closes after one reply epoll is never told of it.  When it is not,
 * a read is wasted.  So: as long as it mostly succeeds, and once in a while to find out.
 */
static bool guess_ready(struct server *srv)
{
	return srv->early_score > 0 || srv->serial % EARLY_PROBE == 0;
}

static void note_guess(struct server *srv, bool is_right)
{
	if (is_right)
		srv->early_score = MIN(srv->early_score + 1, EARLY_SCORE_MAX);
	else
		srv->early_score = MAX(srv->early_score - 2, 0);
}

static void try_early(struct session *s)
{
	struct server *srv = s->server;
	uint64_t before = srv->stats->bytes_in;

	s->conn.is_readable = true;
	session_run(s);
	note_guess(srv, srv->stats->bytes_in != before);
}

/* NULL without memory; the descriptor is closed then. */
static struct session *session_new(struct server *srv, int fd, const union sock_addr *peer)
{
	struct session *s = pool_get(&srv->sessions);

	if (!s) {
		sock_close(fd);
		return NULL;
	}
	memset(s, 0, sizeof(*s));
	s->server = srv;
	s->serial = ++srv->serial;
	s->opened_ms = (uint32_t)srv->loop->now_ms;
	timer_init(&s->timer, on_timer);
	job_init(&s->job, on_job);
	list_init(&s->node);
	conn_open(&s->conn, srv->loop, fd, peer, on_ready);
	srv->session_count++;
	return s;
}

static void watch(struct session *s)
{
	if (s->state != SESSION_CLOSED && conn_watch(&s->conn) < 0)
		session_close(s, CLOSE_MEMORY);
}

int server_add(struct server *srv, int fd, const union sock_addr *peer, bool has_proxy_header)
{
	struct session *s = session_new(srv, fd, peer);

	if (!s)
		return -ENOMEM;
	if (has_proxy_header)
		s->state = SESSION_PROXY_HEADER;
	if (!session_admit(s))
		session_run(s);
	else if (guess_ready(srv))
		try_early(s);
	else
		settle(s);
	watch(s);
	return 0;
}

int server_adopt(struct server *srv, int fd, const struct server_guest *guest)
{
	struct session *s = session_new(srv, fd, &guest->peer);

	if (!s) {
		session_drop_guest(srv, guest);
		return -ENOMEM;
	}
	s->conn.transport_peer = guest->transport_peer;
	s->conn.announced_local = guest->announced_local;
	s->request_count = guest->request_count;
	s->opened_ms = guest->opened_ms;
	session_take_over_count(s, guest);
	s->state = guest->has_proxy_header ? SESSION_PROXY_HEADER : SESSION_IDLE;
	settle(s);
	watch(s);
	return 0;
}
