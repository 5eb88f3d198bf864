/* SPDX-License-Identifier: MIT */
/*
 * How much of a reply the kernel takes that it cannot send yet: TCP_NOTSENT_LOWAT, which accepted
 * sockets have from their listener (`unsent`), so that a client that does not read holds little.
 * One that reads fast costs more with it, for its socket asks for the next piece again and again:
 * a fifth more for each MiB.  So who reads fast is allowed more, until found to be slow:
 *
 *   OWN       the listener's limit
 *    | blocked, and half of it was gone within FAST_MS; there is a place
 *    v
 *   RAISED    RAISE times as much, RAISED_TOP at most
 *    | blocked for longer than SLOW_MS
 *    v
 *   FALLING   the listener's limit again, but the kernel may still have more
 *    | blocked, and half of it is gone
 *    v
 *   OWN
 *
 * Whoever is not OWN has one of SERVER_RAISED_MAX places, so that those who first read fast and then
 * not at all hold a bounded amount together.  It is kept between requests.  Who wants one looks at
 * a single place, each time at the next: it is free, or its owner rests and has received everything.
 */
#include "base/err.h"
#include "http/session.h"

#define FAST_MS	   50u
#define SLOW_MS	   1000u
#define RAISE	   8
#define RAISED_TOP (1 << 20)

static bool is_at_rest(const struct session *s)
{
	bool is_waiting = (s->state == SESSION_IDLE && !s->exchange) || s->state == SESSION_DETACHED;

	return is_waiting && sock_unacked(s->conn.io.fd) == 0;
}

static bool take_place(struct session *s)
{
	struct server *srv = s->server;
	unsigned place = srv->raised_next++ % SERVER_RAISED_MAX;
	struct session *owner = srv->raised[place];

	if (owner && !is_at_rest(owner))
		return false;
	if (owner)
		session_lower_unsent(owner);
	srv->raised[place] = s;
	s->unsent_place = (uint8_t)place;
	return true;
}

static void raise_limit(struct session *s)
{
	int fd = s->conn.io.fd;
	int own;

	if (!take_place(s))
		return;
	own = sock_unsent_limit(fd);
	s->unsent_limit = own;
	s->unsent_state = UNSENT_RAISED;
	/* Nothing is to be raised where there is no limit, or a high one. */
	if (own <= 0 || own >= RAISED_TOP ||
	    sock_set_unsent_limit(fd, MIN(own * RAISE, RAISED_TOP)) < 0)
		session_leave_unsent(s);
}

void session_judge_reader(struct session *s)
{
	struct exchange *x = s->exchange;
	uint64_t took_ms = s->server->loop->now_ms - x->blocked_ms;

	x->blocked_ms = 0;
	switch ((enum unsent_state)s->unsent_state) {
	case UNSENT_OWN:
		if (took_ms <= FAST_MS)
			raise_limit(s);
		break;
	case UNSENT_RAISED:
		if (took_ms <= SLOW_MS)
			break;
		(void)sock_set_unsent_limit(s->conn.io.fd, s->unsent_limit);
		s->unsent_state = UNSENT_FALLING;
		break;
	case UNSENT_FALLING:
		session_leave_unsent(s);
		break;
	}
}

void session_lower_unsent(struct session *s)
{
	if (s->unsent_state == UNSENT_RAISED)
		(void)sock_set_unsent_limit(s->conn.io.fd, s->unsent_limit);
	session_leave_unsent(s);
}

void session_leave_unsent(struct session *s)
{
	if (s->unsent_state == UNSENT_OWN)
		return;
	BUG_ON(s->server->raised[s->unsent_place] != s);
	s->server->raised[s->unsent_place] = NULL;
	s->unsent_state = UNSENT_OWN;
}
