/* SPDX-License-Identifier: MIT */
/*
 * A session whose client must keep up a least rate: the timer strikes when it has fallen behind, or at the timeout of the
 * wait, whichever comes first.  What the client sends counts as it is read; what it reads counts as its kernel
 * acknowledges it, since what lies in ours is no sign of life.
 */
#include "base/err.h"
#include "http/session.h"

static uint32_t rate_of(const struct session *s, enum session_wait wait)
{
	const struct server_limits *l = &s->server->limits;

	switch (wait) {
	case WAIT_HEAD:
		return l->header_rate;
	case WAIT_BODY:
		return l->body_rate;
	case WAIT_WRITE:
		return l->write_rate;
	default:
		return 0;
	}
}

bool session_has_pace(const struct session *s, enum session_wait wait)
{
	return s->exchange && rate_of(s, wait);
}

/* Nobody waits for the client. */
static void rest(struct session *s)
{
	if (s->exchange && s->exchange->pace.is_waiting)
		pace_rest(&s->exchange->pace, s->server->loop->now_ms);
}

static void add(struct session *s, uint64_t bytes, uint32_t rate)
{
	struct exchange *x = s->exchange;

	pace_add(&x->pace, bytes, rate, s->server->limits.rate_grace_ms, s->server->loop->now_ms);
	x->has_looked = false;
}

void session_pace_input(struct session *s, size_t len)
{
	uint32_t rate = rate_of(s, s->state == SESSION_ACTIVE ? WAIT_BODY : WAIT_HEAD);

	if (rate)
		add(s, len, rate);
}

/* Bytes that the client's kernel has, since the exchange began; less than 0 while it lacks some of before. */
static int64_t delivered(const struct session *s)
{
	const struct output *o = &s->exchange->output;

	return (int64_t)(o->total - o->queued) - (int64_t)sock_unacked(s->conn.io.fd);
}

static void note_delivered(struct session *s)
{
	struct exchange *x = s->exchange;
	int64_t now = delivered(s);

	if (s->wait == WAIT_WRITE && now > x->delivered)
		add(s, (uint64_t)(now - x->delivered), s->server->limits.write_rate);
	x->delivered = now;
}

bool session_arm_paced(struct session *s, enum session_wait wait, uint64_t after_ms, bool goes_on)
{
	struct exchange *x = s->exchange;
	uint64_t now_ms = s->server->loop->now_ms;
	uint64_t at_ms;

	if (!session_has_pace(s, wait)) {
		rest(s);
		return false;
	}

	if (wait == WAIT_WRITE)
		note_delivered(s);
	if (!goes_on) {
		x->deadline_ms = after_ms ? now_ms + after_ms : UINT64_MAX;
		if (wait == WAIT_WRITE)
			s->unacked = sock_unacked(s->conn.io.fd);
	}
	s->wait = (uint8_t)wait;
	s->has_progressed = false;
	pace_wait(&x->pace, now_ms);
	at_ms = MIN(x->deadline_ms, now_ms + pace_left(&x->pace, now_ms));
	loop_timer_start(s->server->loop, &s->timer, at_ms > now_ms ? at_ms - now_ms : 1);
	return true;
}

enum pace_verdict session_judge_pace(struct session *s)
{
	struct exchange *x = s->exchange;
	uint64_t now_ms = s->server->loop->now_ms;

	if (s->wait == WAIT_WRITE)
		note_delivered(s);
	if (pace_left(&x->pace, now_ms) > 0) {
		if (now_ms >= x->deadline_ms)
			return PACE_OVER;
		session_arm_paced(s, s->wait, 0, true);
		return PACE_GOES_ON;
	}
	/* This process may have been the slow one: what has come meanwhile counts. */
	if (s->wait != WAIT_WRITE && !x->has_looked) {
		x->has_looked = true;
		/* Active, so that the wait goes on as it was, its deadline included. */
		loop_timer_start(s->server->loop, &s->timer, 1);
		return PACE_LOOK;
	}
	return PACE_SLOW;
}
