/* SPDX-License-Identifier: MIT */
/*
 * The PROXY protocol header in front of the first request, where the listen address wants one.
 *
 * It is read into the buffer that the first request will be parsed in, for the two mostly come in
 * one segment: a header costs no system call.  Nothing is answered to a wrong one, since nobody
 * speaks HTTP on this connection yet; the close has its own reason.
 */
#include "http/session.h"
#include "net/proxy_header.h"

static void announce(struct conn *c, const struct proxy_header *h)
{
	/* The sender speaks for itself: a health check. */
	if (h->is_local)
		return;
	c->peer = h->source;
	c->announced_local = h->destination;
}

enum step session_proxy_header(struct session *s)
{
	struct exchange *x = s->exchange;
	struct proxy_header h;

	if (!x || x->in_start == x->in_end)
		return STEP_READ;
	switch (proxy_header_parse(x->in + x->in_start, x->in_end - x->in_start, &h)) {
	case PROXY_HEADER_MORE:
		return STEP_READ;
	case PROXY_HEADER_FAIL:
		session_close(s, CLOSE_PROXY_HEADER);
		return STEP_CLOSED;
	case PROXY_HEADER_DONE:
		break;
	}
	announce(&s->conn, &h);
	x->in_start += (unsigned)h.len;
	x->start_ns = s->server->loop->now_ns;
	s->state = SESSION_IDLE;
	return STEP_AGAIN;
}

/* Balancers look whether a port is open by connecting and closing: that is no fault. */
void session_proxy_end(struct session *s)
{
	bool has_begun = s->exchange && s->exchange->in_start < s->exchange->in_end;

	session_close(s, has_begun ? CLOSE_PROXY_HEADER : CLOSE_CLIENT);
}
