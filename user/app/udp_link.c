/* SPDX-License-Identifier: MIT */
/*
 * Sockets to servers.  A session has one for itself while it lasts.  One whose session has got all it expected is
 * disconnected and rests, to be connected anew for another session, with another port: that spares opening, closing and
 * watching a socket for each question to a name server.
 *
 * Nothing of one session may come to another.  From the disconnect on no datagram finds the socket; what another CPU was
 * about to put into it is there long before it has rested, and is thrown away when it is taken.
 *
 * They are watched level-triggered: one receive a turn, none that finds nothing.
 */
#include <unistd.h>

#include "app/udp_internal.h"
#include "base/err.h"

#define REST_MS	    10u	 /* a CPU that handles a datagram is not preempted; a virtual one may be, for a while */
#define RESTING_MAX 256u /* descriptors of a worker */
#define LINKS_KEPT  64	 /* free ones, in memory */

void links_init(struct udp_server *s)
{
	pool_init(&s->links, sizeof(struct udp_link), LINKS_KEPT, 0);
	list_init(&s->resting[0]);
	list_init(&s->resting[1]);
}

void link_put(struct job *j)
{
	struct udp_link *l = container_of(j, struct udp_link, job);

	pool_put(&l->server->links, l);
}

static void discard(struct udp_link *l)
{
	struct loop *loop = l->server->opt.loop;

	loop_forget(loop, &l->io);
	close(l->io.fd);
	loop_free_later(loop, &l->job);
}

void links_fini(struct udp_server *s)
{
	for (unsigned i = 0; i < ARRAY_LEN(s->resting); i++)
		for (struct list *node; (node = list_pop_front(&s->resting[i]));)
			discard(container_of(node, struct udp_link, node));
	s->resting_count = 0;
}

static void on_ready(struct io *io, uint32_t events)
{
	struct udp_link *l = container_of(io, struct udp_link, io);

	if (l->session)
		proxy_on_ready(l->session);
	else
		(void)udp_sock_empty(io->fd);
}

/* NULL: none has rested for long enough. */
static struct udp_link *take_rested(struct udp_server *s, bool is_v6)
{
	struct list *head = &s->resting[is_v6];
	struct udp_link *l;

	if (list_is_empty(head))
		return NULL;
	l = container_of(head->next, struct udp_link, node);
	if (s->opt.loop->now_ms < l->rests_since_ms + REST_MS)
		return NULL;
	list_remove(&l->node);
	s->resting_count--;
	/* Whatever is in it is of a session that has ended. */
	if (udp_sock_empty(l->io.fd))
		return l;
	discard(l);
	return NULL;
}

static int open_new(struct udp_server *s, const struct upstream_address *a, struct udp_link **ret_link)
{
	struct udp_link *l = pool_get(&s->links);
	int fd, err;

	if (!l)
		return -ENOMEM;
	fd = udp_sock_connect((const struct sockaddr *)&a->addr, a->len);
	if (fd < 0) {
		pool_put(&s->links, l);
		return fd;
	}
	*l = (struct udp_link){ .server = s, .is_v6 = a->addr.ss_family == AF_INET6 };
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
	struct udp_link *l = take_rested(s, address->addr.ss_family == AF_INET6);
	int err = 0;

	if (!l)
		err = open_new(s, address, &l);
	else if ((err = udp_sock_reconnect(l->io.fd, (const struct sockaddr *)&address->addr, address->len)) < 0)
		discard(l);
	if (err)
		return err;
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
	l->rests_since_ms = s->opt.loop->now_ms;
	list_push_back(&s->resting[l->is_v6], &l->node);
	s->resting_count++;
}
