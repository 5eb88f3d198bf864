/* SPDX-License-Identifier: MIT */
/*
 * A listen address as a group of sockets.  The first socket is bound alone; the others repeat the
 * address it got, so that port 0 gives one port for the whole group.
 */
#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static void close_all(struct listener *l)
{
	for (unsigned i = 0; i < l->count; i++)
		sock_close(l->fds[i]);
	listener_release(l);
}

/* Of a user who is not ours, or at a port that is not for us. */
static bool may_not_join(int err)
{
	return err == -EADDRINUSE || err == -EACCES || err == -EPERM;
}

static int share(int fd, const char **ret_step)
{
	*ret_step = "fcntl";
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return fd < 0 ? -errno : fd;
}

static int open_next(struct listener *l, bool is_inherited, const char **ret_step)
{
	int fd = l->is_shared ? -EADDRINUSE : sock_listen(&l->addr, &l->opt, ret_step);

	if (fd >= 0 || !is_inherited || !may_not_join(fd))
		return fd;
	l->is_shared = true;
	return share(l->fds[0], ret_step);
}

static int open_all(struct listener *l, unsigned count, const char **ret_step)
{
	bool is_inherited = l->count > 0;

	for (; l->count < count; l->count++) {
		int fd = open_next(l, is_inherited, ret_step);

		if (fd < 0)
			return fd;
		l->fds[l->count] = fd;
		if (l->count == 0) {
			int r = sock_local_addr(fd, &l->addr);

			if (r) {
				*ret_step = "getsockname";
				l->count = 1; /* owned: closed by the caller's clean-up */
				return r;
			}
		}
	}
	return 0;
}

static int prepare(struct listener *l, const union sock_addr *addr, const struct sock_options *opt, unsigned count,
		   const char **ret_step)
{
	memset(l, 0, sizeof(*l));
	*ret_step = NULL;
	if (count == 0) {
		*ret_step = "count";
		return -EINVAL;
	}
	l->addr = *addr;
	l->opt = *opt;
	l->fds = calloc(count, sizeof(*l->fds));
	if (l->fds)
		return 0;
	*ret_step = "calloc";
	return -ENOMEM;
}

static int finish(struct listener *l, unsigned count, struct steer *steer, const char **ret_step)
{
	int r = open_all(l, count, ret_step);

	if (r) {
		close_all(l);
		return r;
	}
	*ret_step = NULL;
	if (!steer || !steer_is_active(steer))
		return 0;
	if (l->is_shared) {
		*ret_step = "one inherited socket for all workers";
		return 0;
	}
	/* The kernel's hash serves the group just as well: a refusal is told, not fatal. */
	if (steer_add_address(steer, l->fds, &l->steer_id) == 0)
		l->is_steered = true;
	else
		*ret_step = "steer_add_address";
	return 0;
}

int listener_open(struct listener *l, const union sock_addr *addr, const struct sock_options *opt,
		  unsigned count, struct steer *steer, const char **ret_step)
{
	int r = prepare(l, addr, opt, count, ret_step);

	if (r)
		return r;
	l->opt.has_reuseport = opt->has_reuseport || count > 1 || steer;
	return finish(l, count, steer, ret_step);
}

int listener_open_inherited(struct listener *l, int fd, const union sock_addr *addr, const struct sock_options *opt,
			    unsigned count, struct steer *steer, const char **ret_step)
{
	int r = prepare(l, addr, opt, count, ret_step);

	if (r) {
		sock_close(fd);
		return r;
	}
	l->opt.has_reuseport = true;
	l->fds[l->count++] = fd;
	r = sock_adopt(fd, &l->opt, ret_step);
	if (!r)
		return finish(l, count, steer, ret_step);
	close_all(l);
	return r;
}

static int bind_next(const struct listener *l, const struct listener *from, const char **ret_step)
{
	return l->is_shared ? share(from->fds[0], ret_step) : sock_bind(&l->addr, &l->opt, ret_step);
}

int listener_take_over(struct listener *l, const struct listener *from, const struct sock_options *opt, unsigned count,
		       const char **ret_step)
{
	*l = *from;
	l->opt = *opt;
	l->opt.has_reuseport = from->opt.has_reuseport;
	*ret_step = "calloc";
	l->fds = calloc(count, sizeof(*l->fds));
	if (!l->fds)
		return -ENOMEM;
	for (l->count = 0; l->count < count; l->count++) {
		bool is_old = l->count < from->count;
		int fd = is_old ? from->fds[l->count] : bind_next(l, from, ret_step);

		if (fd < 0) {
			listener_close_apart(l, from);
			listener_release(l);
			return fd;
		}
		l->fds[l->count] = fd;
	}
	return 0;
}

int listener_start_rest(struct listener *l, const struct listener *from)
{
	int err = 0;

	for (unsigned i = 0; i < l->count && !err; i++) {
		if (i >= from->count)
			err = sock_start_listening(l->fds[i], &l->opt);
		else if (memcmp(&l->opt, &from->opt, sizeof(l->opt)) != 0)
			err = sock_change_options(l->fds[i], &l->opt);
	}
	return err;
}

void listener_close_apart(const struct listener *l, const struct listener *keep)
{
	for (unsigned i = keep ? keep->count : 0; i < l->count; i++)
		if (l->fds[i] >= 0)
			sock_close(l->fds[i]);
}

void listener_release(struct listener *l)
{
	free(l->fds);
	l->fds = NULL;
	l->count = 0;
}

void listener_keep_only(struct listener *l, unsigned slot)
{
	for (unsigned i = 0; i < l->count; i++) {
		if (i == slot)
			continue;
		sock_close(l->fds[i]);
		l->fds[i] = -1;
	}
}

void listener_close(struct listener *l, struct steer *steer)
{
	if (steer && l->is_steered)
		steer_remove_address(steer, l->steer_id);
	l->is_steered = false;
	if (l->fds)
		close_all(l);
}
