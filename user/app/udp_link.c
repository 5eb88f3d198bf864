/* SPDX-License-Identifier: MIT */
/*
 * Sockets to servers.  A session has one for itself while it lasts.  One whose session has got all it expected loses its
 * port and rests, to be given to another session, with another port: that spares opening, closing and watching a socket for
 * each question to a name server.
 *
 *   (none) --> NEW --its first datagram, alone--> ASKED --the next--> CONNECTED --> (none)
 *               ^ `------several at once, or joined-----------------------^ |
 *               |                                  |                        |
 *             RESTS <------all replies came--------'------------------------'
 *
 * The first datagram is sent without connecting: a flow that only asks one question costs 7 % less for it.
 *
 * Nothing may come to a session but from its server.  To a socket that is not connected anybody can send who guesses the
 * port: of each datagram it is looked at who sent it.  One that was empty when it was connected needs no look.
 *
 * Nothing of one session may come to another.  From the loss of its port on no datagram finds the socket; what another CPU
 * was about to put into it is there long before it has rested.  While it rests it is still watched, level-triggered, and
 * what comes is thrown away: so it is clean as soon as a turn that began after its rest has seen to all its events.
 *
 * Those with a session are watched level-triggered too: one receive a turn, none that finds nothing.
 */
#include <unistd.h>

#include "app/udp_internal.h"
#include "base/err.h"

#define REST_MS	    10u	  /* a CPU that handles a datagram is not preempted; a virtual one may be, for a while */
#define UNUSED_MS   1000u /* of rest: there are more than it takes */
#define RESTING_MAX 1024u /* descriptors of a worker */
#define LINKS_KEPT  64	  /* free ones, in memory */


void link_put(struct job *j)
{
	struct udp_link *l = container_of(j, struct udp_link, job);

	pool_put(&l->server->links, l);
}

static void discard(struct udp_link *l)
{
	struct loop *loop = l->server->opt.loop;

	if (l->state == LINK_RESTS) {
		list_remove(&l->node);
		l->server->resting_count--;
	}
	loop_forget(loop, &l->io);
	close(l->io.fd);
	loop_free_later(loop, &l->job);
}

/* NULL: none rests. */
static struct udp_link *longest_resting(const struct udp_server *s, bool is_v6)
{
	const struct list *head = &s->resting[is_v6];

	return list_is_empty(head) ? NULL : container_of(head->next, struct udp_link, node);
}

static void discard_rested(struct udp_server *s, uint64_t until_ms)
{
	for (unsigned i = 0; i < ARRAY_LEN(s->resting); i++)
		for (struct udp_link *l; (l = longest_resting(s, i)) && l->rests_since_ms <= until_ms;)
			discard(l);
}

static void on_unused(struct timer *t)
{
	struct udp_server *s = container_of(t, struct udp_server, unused);
	struct loop *loop = s->opt.loop;

	discard_rested(s, loop->now_ms - UNUSED_MS);
	if (s->resting_count)
		loop_timer_start(loop, &s->unused, UNUSED_MS);
}

void links_init(struct udp_server *s)
{
	pool_init(&s->links, sizeof(struct udp_link), LINKS_KEPT, 0);
	list_init(&s->resting[0]);
	list_init(&s->resting[1]);
	timer_init(&s->unused, on_unused);
}

void links_fini(struct udp_server *s)
{
	loop_timer_stop(s->opt.loop, &s->unused);
	discard_rested(s, UINT64_MAX);
}

static void on_ready(struct io *io, uint32_t events)
{
	struct udp_link *l = container_of(io, struct udp_link, io);

	if (!l->session) {
		if (events & EPOLLERR || !udp_sock_empty(io->fd))
			discard(l);
		return;
	}
	proxy_on_ready(l->session);
	/* What is left are errors of our own, a datagram too large for the way: they would wake us again and again. */
	if (events & EPOLLERR && l->session)
		udp_sock_drop_errors(io->fd);
}

/* Turn by turn: what had come to resting sockets by then has been thrown away. */
static uint64_t swept_ms(struct udp_server *s)
{
	const struct loop *l = s->opt.loop;

	if (s->turn.number == l->turn_count)
		return s->swept_ms;
	if (!s->turn.is_partial)
		s->swept_ms = s->turn.began_ms;
	s->turn = (struct udp_turn){ .number = l->turn_count, .began_ms = l->now_ms, .is_partial = l->is_batch_full };
	return s->swept_ms;
}

/* NULL: none has rested for long enough. */
static struct udp_link *take_rested(struct udp_server *s, bool is_v6)
{
	struct udp_link *l = longest_resting(s, is_v6);
	uint64_t clean_ms = swept_ms(s);

	if (!l || clean_ms < l->rests_since_ms + REST_MS)
		return NULL;
	list_remove(&l->node);
	s->resting_count--;
	return l;
}

static int open_new(struct udp_server *s, sa_family_t family, struct udp_link **ret_link)
{
	struct udp_link *l = pool_get(&s->links);
	int fd, err;

	if (!l)
		return -ENOMEM;
	fd = udp_sock_open(family);
	if (fd < 0) {
		pool_put(&s->links, l);
		return fd;
	}
	*l = (struct udp_link){ .server = s };
	list_init(&l->node);
	job_init(&l->job, link_put);
	io_init(&l->io, fd, on_ready);
	err = loop_add(s->opt.loop, &l->io, EPOLLIN, true);
	if (err) {
		close(fd);
		pool_put(&s->links, l);
		return err;
	}
	*ret_link = l;
	return 0;
}

int link_open(struct udp_session *ss, const struct upstream_address *address)
{
	struct udp_server *s = ss->service->server;
	struct udp_link *l;
	union sock_addr to;
	int err;

	memcpy(&to, &address->addr, MIN(sizeof(to), address->len));
	sock_addr_unmap(&to);
	l = take_rested(s, to.any.sa_family == AF_INET6);
	err = l ? 0 : open_new(s, to.any.sa_family, &l);
	if (err)
		return err;
	l->to = to;
	l->state = LINK_NEW;
	l->session = ss;
	ss->link = l;
	return 0;
}

void link_close(struct udp_session *ss, bool is_quiet)
{
	struct udp_server *s = ss->service->server;
	struct udp_link *l = ss->link;

	if (!l)
		return;
	ss->link = NULL;
	l->session = NULL;
	if (!is_quiet || s->resting_count == RESTING_MAX || udp_sock_disconnect(l->io.fd) < 0) {
		discard(l);
		return;
	}
	l->state = LINK_RESTS;
	/* Not the time of this turn, which may have begun long ago. */
	l->rests_since_ms = clock_ns() / NS_PER_MS;
	list_push_back(&s->resting[l->to.any.sa_family == AF_INET6], &l->node);
	if (s->resting_count++ == 0)
		loop_timer_start(s->opt.loop, &s->unused, UNUSED_MS);
}

static int connect_link(struct udp_link *l)
{
	int err = udp_sock_set_peer(l->io.fd, &l->to);

	if (err)
		return err;
	l->is_checked = l->state == LINK_ASKED && !udp_sock_is_empty(l->io.fd);
	l->state = LINK_CONNECTED;
	return 0;
}

unsigned link_send(struct udp_link *l, const struct udp_message *m, unsigned count, int *ret_err)
{
	if (l->state == LINK_NEW && count == 1 && !m->segment) {
		*ret_err = udp_send_to(l->io.fd, &l->to, m);
		if (*ret_err)
			return 0;
		l->state = LINK_ASKED;
		l->is_checked = true;
		return 1;
	}
	*ret_err = l->state == LINK_CONNECTED ? 0 : connect_link(l);
	return *ret_err ? 0 : udp_send_connected(l->io.fd, m, count, ret_err);
}

static bool is_from_server(const struct udp_link *l, const struct udp_message *m)
{
	return sock_addr_port(&m->path.peer) == sock_addr_port(&l->to) && sock_addr_is_same_host(&m->path.peer, &l->to);
}

/* Of `count` messages those of the server, side by side again; how many. */
static int keep_own(struct udp_link *l, struct udp_message *m, int count)
{
	int kept = 0;

	for (int i = 0; i < count; i++) {
		if (!is_from_server(l, &m[i]))
			l->server->stats->strays++;
		else if (kept++ < i)
			m[kept - 1] = m[i];
	}
	return kept;
}

int link_receive(struct udp_link *l, unsigned max)
{
	struct udp_receiver *r = &l->server->receiver;
	int n;

	n = max == 1 ? udp_receive_one(r, l->io.fd, l->is_checked) : udp_receive(r, l->io.fd, max);
	return n > 0 && l->is_checked ? keep_own(l, r->messages, n) : n;
}
