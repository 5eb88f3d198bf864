/* SPDX-License-Identifier: MIT */
/* Sockets from a service manager; see inherit.h. */
#include "net/inherit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT_MAX 1024u

static uint64_t number_of(const char *name)
{
	const char *text = getenv(name);
	uint64_t value = 0;

	return text && span_to_u64(span_str(text), &value) == 0 ? value : 0;
}

static int get_int(int fd, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -1 : value;
}

static void look_at(struct inherited_sock *s)
{
	/* What a shell would pass on by mistake must not leak into what we start. */
	if (fcntl(s->fd, F_SETFD, FD_CLOEXEC) < 0) {
		/* Told of and not there.  Whatever gets that number later is not ours to close. */
		s->fd = -1;
		return;
	}
	s->is_listening = get_int(s->fd, SO_TYPE) == SOCK_STREAM && get_int(s->fd, SO_ACCEPTCONN) == 1 &&
			  sock_local_addr(s->fd, &s->addr) == 0 &&
			  (s->addr.any.sa_family == AF_INET || s->addr.any.sa_family == AF_INET6);
}

int inherit_open(struct inherited *in)
{
	uint64_t count = number_of("LISTEN_FDS");
	bool is_ours = number_of("LISTEN_PID") == (uint64_t)getpid();

	*in = (struct inherited){ 0 };
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (!is_ours || count == 0 || count > COUNT_MAX)
		return 0;
	in->socks = calloc(count, sizeof(*in->socks));
	if (!in->socks)
		return -ENOMEM;
	for (; in->count < count; in->count++) {
		in->socks[in->count].fd = INHERIT_FIRST_FD + (int)in->count;
		look_at(&in->socks[in->count]);
	}
	return 0;
}

int inherit_restore(struct inherited *in, unsigned count)
{
	inherit_close(in);
	in->socks = calloc(count + 1, sizeof(*in->socks));
	if (!in->socks)
		return -ENOMEM;
	for (; in->count < count; in->count++)
		in->socks[in->count].fd = -1;
	return 0;
}

void inherit_set(struct inherited *in, unsigned i, int fd)
{
	in->socks[i].fd = fd;
	if (fd >= 0)
		look_at(&in->socks[i]);
	/* Whether it fits any address was told by who had it first. */
	in->socks[i].is_taken = true;
}

/* Flow and scope apart: a listening socket has none but for link-local addresses. */
static bool is_same(const union sock_addr *a, const union sock_addr *b)
{
	if (a->any.sa_family != b->any.sa_family || sock_addr_port(a) != sock_addr_port(b))
		return false;
	if (a->any.sa_family == AF_INET)
		return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0 &&
	       a->v6.sin6_scope_id == b->v6.sin6_scope_id;
}

int inherit_take(struct inherited *in, const union sock_addr *addr)
{
	for (unsigned i = 0; i < in->count; i++) {
		struct inherited_sock *s = &in->socks[i];

		if (!s->is_listening || !is_same(&s->addr, addr))
			continue;
		s->is_taken = true;
		return fcntl(s->fd, F_DUPFD_CLOEXEC, INHERIT_FIRST_FD);
	}
	return -1;
}

void inherit_close(struct inherited *in)
{
	for (unsigned i = 0; i < in->count; i++)
		sock_close(in->socks[i].fd);
	free(in->socks);
	*in = (struct inherited){ 0 };
}
