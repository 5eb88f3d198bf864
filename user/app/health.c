/* SPDX-License-Identifier: MIT */
/* Active checks; see health.h.  A check has memory only while it is under way. */
#include "app/health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/random.h"
#include "http/response.h"
#include "net/sock.h"

#define BUFFER_SIZE 16384u	/* the request, then the head of the answer */
#define ERROR_TEXT  sizeof(((struct upstream_endpoint *)0)->check_error)
#define JITTER_PERCENT 10u

enum probe_state { PROBE_CONNECTING, PROBE_SENDING, PROBE_READING };

struct probe {
	struct io io;
	struct health *health;
	struct loop *loop;
	struct timer limit;
	struct job free_job;
	enum probe_state state;
	struct buf out;			/* over `buffer` */
	size_t sent_len, read_len;
	struct response_parser parser;
	struct response response;
	char buffer[BUFFER_SIZE];
};

static const struct parse_limits limits = {
	.request_line_max = 4096,
	.head_max = BUFFER_SIZE,
	.field_max = RESPONSE_FIELDS_MAX,
	.body_max = UINT64_MAX,
};

/* Verdict ------------------------------------------------------------------------------------------------------ */

static uint64_t next_delay(const struct health *h)
{
	uint64_t interval = MAX(h->opt->interval_ms, 1u);
	uint64_t jitter = MIN(interval * JITTER_PERCENT / 100, (uint64_t)UINT32_MAX / 4);
	uint64_t planned = h->begun_ms + interval - jitter + random_below(2 * (uint32_t)jitter + 1);

	return planned > h->loop->now_ms ? planned - h->loop->now_ms : 1;
}

/* Others read it at any time, so its last byte is NUL always. */
static void write_error(struct upstream_endpoint *e, const char *error)
{
	size_t len = strnlen(error, ERROR_TEXT - 1);

	for (size_t i = 0; i < ERROR_TEXT; i++)
		__atomic_store_n(&e->check_error[i], i < len ? error[i] : '\0', __ATOMIC_RELAXED);
}

static enum endpoint_health judge(struct health *h, bool is_well)
{
	struct upstream_endpoint *e = h->endpoint;
	enum endpoint_health says = is_well ? HEALTH_UP : HEALTH_DOWN;

	if (e->health == says) {
		__atomic_store_n(&e->check_streak, 0, __ATOMIC_RELAXED);
		return says;
	}
	__atomic_store_n(&e->check_streak, e->check_streak + 1, __ATOMIC_RELAXED);
	if (e->health != HEALTH_UNKNOWN && e->check_streak < (is_well ? h->opt->rise : h->opt->fall))
		return e->health;
	__atomic_store_n(&e->check_streak, 0, __ATOMIC_RELAXED);
	return says;
}

/* `error`: NULL when all is well. */
static void note_result(struct health *h, const char *error)
{
	struct upstream_endpoint *e = h->endpoint;
	enum endpoint_health before = e->health, now;

	__atomic_store_n(&e->checks, e->checks + 1, __ATOMIC_RELAXED);
	if (error) {
		__atomic_store_n(&e->check_failures, e->check_failures + 1, __ATOMIC_RELAXED);
		write_error(e, error);
	}
	loop_timer_start(h->loop, &h->timer, next_delay(h));
	now = judge(h, !error);
	if (now == before)
		return;
	/* Before the verdict: who sees it up again must see a slow start too. */
	if (now == HEALTH_UP && before == HEALTH_DOWN)
		__atomic_store_n(&e->used_since_ns, h->loop->now_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&e->health, now, __ATOMIC_RELEASE);
	h->on_change(h, before);
}

/* Check -------------------------------------------------------------------------------------------------------- */

static void free_probe(struct job *j)
{
	free(container_of(j, struct probe, free_job));
}

static void drop_probe(struct probe *p)
{
	p->health->probe = NULL;
	loop_timer_stop(p->loop, &p->limit);
	if (p->io.fd >= 0) {
		loop_forget(p->loop, &p->io);
		sock_close(p->io.fd);
	}
	p->io.fd = -1;
	loop_free_later(p->loop, &p->free_job);
}

static void finish(struct probe *p, const char *error)
{
	struct health *h = p->health;

	drop_probe(p);
	note_result(h, error);
}

/* Short, and what it means here; of the others the system's words. */
static const char *error_text(int err)
{
	switch (-err) {
	case ECONNREFUSED:
		return "refused";
	case ECONNRESET:
	case EPIPE:
		return "reset";
	case ETIMEDOUT:
		return "timed out";
	case ENOENT:
		return "found no such socket";
	case EACCES:
	case EPERM:
		return "not permitted";
	case EAGAIN:
		return "found the queue full";
	default:
		return strerror(-err);
	}
}

static void finish_errno(struct probe *p, const char *what, int err)
{
	char text[ERROR_TEXT];

	snprintf(text, sizeof(text), "%s %s", what, error_text(err));
	finish(p, text);
}

static void on_limit(struct timer *t)
{
	struct probe *p = container_of(t, struct probe, limit);

	finish(p, p->state == PROBE_CONNECTING ? "connect timed out" : "no answer in time");
}

static void judge_status(struct probe *p)
{
	const struct health_options *opt = p->health->opt;
	char text[ERROR_TEXT];

	snprintf(text, sizeof(text), "status %u", p->response.status);
	finish(p, p->response.status >= opt->status_min && p->response.status <= opt->status_max ? NULL : text);
}

static void fail_malformed(struct probe *p)
{
	char text[ERROR_TEXT];

	snprintf(text, sizeof(text), "bad answer: %.24s", p->parser.why ? p->parser.why : "malformed");
	finish(p, text);
}

/* True: the check has ended.  Interim answers are passed over. */
static bool parse(struct probe *p)
{
	for (;;) {
		size_t head_len = 0;
		enum parse_state state = response_head(&p->parser, p->buffer, p->read_len, &head_len);

		if (state == PARSE_FAIL) {
			fail_malformed(p);
			return true;
		}
		if (state != PARSE_DONE)
			return false;
		if (p->response.status >= 200 || p->response.status == 101) {
			judge_status(p);
			return true;
		}
		p->read_len -= head_len;
		memmove(p->buffer, p->buffer + head_len, p->read_len);
		response_reset(&p->parser, &p->response, METHOD_GET);
	}
}

static void read_answer(struct probe *p)
{
	for (;;) {
		size_t room = sizeof(p->buffer) - p->read_len;
		ssize_t n = room ? sock_read(p->io.fd, p->buffer + p->read_len, room) : -EMSGSIZE;

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			if (n == 0)
				finish(p, "closed before an answer");
			else if (n == -EMSGSIZE)
				finish(p, "head of the answer too long");
			else
				finish_errno(p, "connection", (int)n);
			return;
		}
		p->read_len += (size_t)n;
		if (parse(p))
			return;
	}
}

static void send_request(struct probe *p)
{
	while (p->sent_len < p->out.len) {
		struct iovec iov = { p->out.ptr + p->sent_len, p->out.len - p->sent_len };
		ssize_t n = sock_writev(p->io.fd, &iov, 1, false);

		if (n == -EAGAIN)
			return;
		if (n < 0) {
			finish_errno(p, "connection", (int)n);
			return;
		}
		p->sent_len += (size_t)n;
	}
	if (!p->health->opt->is_http) {
		finish(p, NULL);
		return;
	}
	/* The buffer is the answer's now. */
	p->state = PROBE_READING;
	response_init(&p->parser, &limits);
	response_reset(&p->parser, &p->response, METHOD_GET);
	read_answer(p);
}

static void on_connected(struct probe *p)
{
	int err = sock_error(p->io.fd);

	if (err) {
		finish_errno(p, "connect", err);
		return;
	}
	p->state = PROBE_SENDING;
	send_request(p);
}

static void on_ready(struct io *io, uint32_t events)
{
	struct probe *p = container_of(io, struct probe, io);

	if (p->state == PROBE_CONNECTING && events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
		on_connected(p);
	else if (p->state == PROBE_SENDING)
		send_request(p);
	else if (p->state == PROBE_READING)
		read_answer(p);
}

/* False: it does not fit. */
static bool build_request(struct probe *p)
{
	const struct health_options *opt = p->health->opt;

	buf_init(&p->out, p->buffer, sizeof(p->buffer));
	buf_add_span(&p->out, opt->preamble);
	if (opt->is_http) {
		buf_add_lit(&p->out, "GET ");
		buf_add_span(&p->out, span_str(opt->path));
		buf_add_lit(&p->out, " HTTP/1.1\r\nHost: ");
		buf_add_span(&p->out, span_str(opt->host));
		buf_add_lit(&p->out, "\r\nUser-Agent: sluice-check\r\nAccept: */*\r\nConnection: close\r\n\r\n");
	}
	return !p->out.is_truncated;
}

/* Ours, not the server's fault: it says nothing of the server, and is tried again as usual. */
static void skip(struct health *h)
{
	loop_timer_start(h->loop, &h->timer, next_delay(h));
}

static bool is_ours(int err)
{
	static const int errors[] = { EMFILE, ENFILE, ENOMEM, ENOBUFS, ENOSPC, EADDRNOTAVAIL };

	for (unsigned i = 0; i < ARRAY_LEN(errors); i++)
		if (err == -errors[i])
			return true;
	return false;
}

static void fail_connect(struct probe *p, int err)
{
	struct health *h = p->health;

	if (!is_ours(err)) {
		finish_errno(p, "connect", err);
		return;
	}
	drop_probe(p);
	skip(h);
}

static void connect_probe(struct probe *p, const struct upstream_address *to)
{
	bool is_connected = false;
	int fd = sock_connect((const struct sockaddr *)&to->addr, to->len, &is_connected);
	int err;

	if (fd < 0) {
		fail_connect(p, fd);
		return;
	}
	io_init(&p->io, fd, on_ready);
	err = loop_add(p->loop, &p->io, EPOLLIN | EPOLLOUT | EPOLLRDHUP, false);
	if (err)
		fail_connect(p, err);
	else if (is_connected)
		on_connected(p);
}

static void on_timer(struct timer *t)
{
	struct health *h = container_of(t, struct health, timer);
	struct upstream_address to;
	struct probe *p;

	h->begun_ms = h->loop->now_ms;
	upstream_endpoint_get(h->endpoint, &to);
	p = to.len ? malloc(sizeof(*p)) : NULL;
	if (!p) {
		skip(h);
		return;
	}
	memset(p, 0, offsetof(struct probe, buffer));
	p->health = h;
	p->loop = h->loop;
	p->io.fd = -1;
	timer_init(&p->limit, on_limit);
	job_init(&p->free_job, free_probe);
	h->probe = p;
	loop_timer_start(h->loop, &p->limit, MAX(h->opt->timeout_ms, 1u));
	if (build_request(p))
		connect_probe(p, &to);
	else
		finish(p, "request too long");
}

void health_start(struct health *h, struct loop *loop, uint64_t spread_ms)
{
	uint32_t spread = (uint32_t)MIN(spread_ms, (uint64_t)UINT32_MAX - 1);

	BUG_ON(h->probe);
	h->loop = loop;
	timer_init(&h->timer, on_timer);
	loop_timer_start(loop, &h->timer, random_below(spread + 1));
}

void health_stop(struct health *h)
{
	if (!h->loop)
		return;
	loop_timer_stop(h->loop, &h->timer);
	if (h->probe)
		drop_probe(h->probe);
	h->loop = NULL;
}
