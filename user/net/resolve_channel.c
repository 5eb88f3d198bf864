/* SPDX-License-Identifier: MIT */
/* The channel of c-ares: its sockets are watched by our loop, its timeouts are one timer of it. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "net/resolve_impl.h"

#define TIMEOUT_MS 1500u
#define TRIES	   2u
/* c-ares counts in microseconds; a timer that is early by a part of a tick would only make it look and find nothing. */
#define TICK_MS 1u

struct ares_socket {		/* of c-ares, which opens and closes it */
	struct io io;
	struct list node;
	struct job free_job;
	struct resolver *resolver;
};

void resolver_arm(struct resolver *r)
{
	struct timeval wait;

	if (!ares_timeout(r->channel, NULL, &wait))
		loop_timer_stop(r->loop, &r->timer);
	else
		loop_timer_start(r->loop, &r->timer,
				 (uint64_t)wait.tv_sec * 1000 + (uint64_t)wait.tv_usec / 1000 + TICK_MS);
}

static void on_timer(struct timer *t)
{
	struct resolver *r = container_of(t, struct resolver, timer);

	ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	resolver_arm(r);
}

static void on_socket(struct io *io, uint32_t events)
{
	struct resolver *r = container_of(io, struct ares_socket, io)->resolver;
	ares_socket_t readable = events & (EPOLLIN | EPOLLERR | EPOLLHUP) ? io->fd : ARES_SOCKET_BAD;
	ares_socket_t writable = events & EPOLLOUT ? io->fd : ARES_SOCKET_BAD;

	ares_process_fd(r->channel, readable, writable);
	resolver_arm(r);
}

static void free_socket(struct job *j)
{
	free(container_of(j, struct ares_socket, free_job));
}

static void forget_socket(struct ares_socket *s)
{
	loop_remove(s->resolver->loop, &s->io);
	list_remove(&s->node);
	loop_free_later(s->resolver->loop, &s->free_job);
}

static struct ares_socket *find_socket(struct resolver *r, int fd)
{
	list_for_each(node, &r->sockets) {
		struct ares_socket *s = container_of(node, struct ares_socket, node);

		if (s->io.fd == fd)
			return s;
	}
	return NULL;
}

/*
 * c-ares tells what it waits for at one of its sockets; nothing: it is about to close it.  A socket that cannot be
 * watched is like a server that does not answer: the timeout goes on to the next one.
 */
static void on_socket_state(void *data, ares_socket_t fd, int is_read, int is_write)
{
	struct resolver *r = data;
	uint32_t events = (is_read ? (uint32_t)EPOLLIN : 0) | (is_write ? (uint32_t)EPOLLOUT : 0);
	struct ares_socket *s = find_socket(r, fd);

	if (!events) {
		if (s)
			forget_socket(s);
		return;
	}
	/* Level: how much c-ares reads at a time is its own business. */
	if (s) {
		loop_modify(r->loop, &s->io, events, true);
		return;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return;
	s->resolver = r;
	io_init(&s->io, fd, on_socket);
	job_init(&s->free_job, free_socket);
	list_push_back(&r->sockets, &s->node);
	if (loop_add(r->loop, &s->io, events, true) < 0)
		forget_socket(s);
}

static int set_servers(struct resolver *r, const struct resolver_options *opt)
{
	struct ares_addr_port_node *nodes = calloc(opt->server_count, sizeof(*nodes));
	int status;

	if (!nodes)
		return -ENOMEM;
	for (unsigned i = 0; i < opt->server_count; i++) {
		const union sock_addr *a = &opt->servers[i];

		nodes[i].next = i + 1 < opt->server_count ? &nodes[i + 1] : NULL;
		nodes[i].family = a->any.sa_family;
		nodes[i].udp_port = nodes[i].tcp_port = sock_addr_port(a);
		if (a->any.sa_family == AF_INET6)
			memcpy(&nodes[i].addr.addr6, &a->v6.sin6_addr, sizeof(a->v6.sin6_addr));
		else
			nodes[i].addr.addr4 = a->v4.sin_addr;
	}
	status = ares_set_servers_ports(r->channel, nodes);
	free(nodes);
	return status == ARES_SUCCESS ? 0 : -EIO;
}

int resolver_open_channel(struct resolver *r, const struct resolver_options *opt)
{
	struct ares_options options = {
		.flags = opt->server_count ? ARES_FLAG_NOSEARCH : 0,
		.timeout = (int)(opt->timeout_ms ? opt->timeout_ms : TIMEOUT_MS),
		.tries = (int)(opt->tries ? opt->tries : TRIES),
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = r,
	};
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
	int status = ares_init_options(&r->channel, &options, mask);
	int err;

	timer_init(&r->timer, on_timer);
	if (status != ARES_SUCCESS)
		return status == ARES_ENOMEM ? -ENOMEM : -EIO;
	err = opt->server_count ? set_servers(r, opt) : 0;
	if (err)
		ares_destroy(r->channel);
	return err;
}
