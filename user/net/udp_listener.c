/* SPDX-License-Identifier: MIT */
/* See udp_listener.h. */
#include "net/udp_listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

void udp_listener_close_socks(struct udp_listener *l)
{
	for (unsigned i = 0; i < l->count; i++) {
		sock_close(l->fds[i]);
		l->fds[i] = -1;
	}
}

void udp_listener_fini(struct udp_listener *l, bool is_owner)
{
	if (l->fds)
		udp_listener_close_socks(l);
	free(l->fds);
	l->fds = NULL;
	l->count = 0;
	if (is_owner)
		udp_bank_close(&l->bank);
	else
		udp_bank_disown(&l->bank);
}

static int open_next(const struct udp_listener *l, const struct udp_listener *before, const char **ret_step)
{
	int fd;

	if (!l->is_shared || l->count >= before->count)
		return udp_sock_bind(&l->addr, &l->opt.sock, ret_step);
	*ret_step = "fcntl";
	fd = fcntl(before->fds[l->count], F_DUPFD_CLOEXEC, 3);
	return fd < 0 ? -errno : fd;
}

static int open_all(struct udp_listener *l, const struct udp_listener *before, unsigned count, const char **ret_step)
{
	for (; l->count < count; l->count++) {
		int fd = open_next(l, before, ret_step);
		int r;

		if (fd < 0)
			return fd;
		l->fds[l->count] = fd;
		if (l->count > 0)
			continue;
		/* The others repeat the port that the first one got. */
		r = sock_local_addr(fd, &l->addr);
		if (r) {
			*ret_step = "getsockname";
			l->count = 1;
			return r;
		}
	}
	return 0;
}

/* A refusal at a new address leaves the kernel's hash; one at an address that is steered would mix up its flows. */
static int steer(struct udp_listener *l, const struct steer *s, const struct udp_listener *before, const char **ret_step)
{
	int r;

	if (!s || !steer_is_active(s) || (before && !before->is_steered))
		return 0;
	r = udp_bank_open(&l->bank, s, before ? &before->bank : NULL, l->fds, l->count, l->opt.generation,
			  l->opt.is_one_way, l->opt.flow_max);
	*ret_step = r ? "steer" : NULL;
	l->is_steered = !r;
	return before ? r : 0;
}

int udp_listener_open(struct udp_listener *l, const union sock_addr *addr, const struct udp_listener_options *opt,
		      unsigned count, const struct steer *s, const struct udp_listener *before, const char **ret_step)
{
	int r;

	*l = (struct udp_listener){ .addr = before ? before->addr : *addr, .opt = *opt };
	l->bank.prog_fd = -1;
	l->is_shared = before && !before->is_steered;
	*ret_step = "calloc";
	l->fds = calloc(count, sizeof(*l->fds));
	if (!l->fds)
		return -ENOMEM;
	r = open_all(l, before, count, ret_step);
	if (!r) {
		*ret_step = NULL;
		r = steer(l, s, before, ret_step);
	}
	/*
	 * Of an address that is new nobody has flows yet: its program may run at once.  Of one that another master serves
	 * it would take that one's flows, and they would be lost should this one not come to serve.
	 */
	if (!r && !before && l->is_steered && !opt->is_taken_over && udp_bank_attach(&l->bank, l->fds[0]) < 0) {
		*ret_step = "SO_ATTACH_REUSEPORT_EBPF";
		udp_bank_close(&l->bank);
		l->is_steered = false;
	}
	if (r)
		udp_listener_fini(l, true);
	return r;
}

int udp_listener_start(struct udp_listener *l)
{
	/* The old worker and the new one share them, and the new one's options hold. */
	for (unsigned i = 0; i < l->count && l->is_shared; i++)
		(void)udp_sock_change(l->fds[i], &l->opt.sock);
	return l->is_steered ? udp_bank_attach(&l->bank, l->fds[0]) : 0;
}

void udp_listener_keep_only(struct udp_listener *l, unsigned slot)
{
	for (unsigned i = 0; i < l->count; i++) {
		if (i == slot)
			continue;
		sock_close(l->fds[i]);
		l->fds[i] = -1;
	}
}
