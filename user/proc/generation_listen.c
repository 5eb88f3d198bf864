/* SPDX-License-Identifier: MIT */
/*
 * The listening sockets of a generation.  An address that stays keeps its sockets, so that whoever waits in a queue is
 * served by the next worker; where the number of slots grows there are new ones, which do not listen before the
 * generation is in force.
 */
#include <stdlib.h>

#include "base/err.h"
#include "proc/master_internal.h"

static bool is_same_address(const struct config_listen *a, const struct config_listen *b)
{
	socklen_t len = sock_addr_len(&a->addr);

	return len == sock_addr_len(&b->addr) && memcmp(&a->addr, &b->addr, len) == 0 &&
	       sock_can_change_options(&a->sock, &b->sock);
}

/*
 * By what the files say: with port 0 the kernel's choice stays.  `is_taken`: listeners of `before` that have gone to
 * another line already.  -1: none.
 */
static int find_old(const struct generation *before, const struct config_listen *conf, const bool *is_taken)
{
	for (unsigned i = 0; before && i < before->listener_count; i++)
		if (!is_taken[i] && is_same_address(&before->config->listens[i], conf))
			return (int)i;
	return -1;
}

static int refuse(const struct config_listen *conf, const char *step, int err)
{
	if (conf->place.file)
		log_error("%s:%u: cannot %s '%s': %s", conf->place.file, conf->place.line, step, conf->text,
			  strerror(-err));
	else
		log_error("cannot %s '%s': %s", step, conf->text, strerror(-err));
	return err;
}

static int check_steered(const struct generation *g, const struct listener *l, const char *text, const char *step)
{
	if (!steer_is_active(g->steer) || l->is_steered)
		return 0;
	if (g->config->steering.is_required) {
		log_error("cannot steer '%s' (%s)", text, step ? step : "?");
		return -EOPNOTSUPP;
	}
	log_warn("'%s' is not steered (%s): the kernel's hash spreads its connections", text, step ? step : "?");
	return 0;
}

static int open_listener(struct generation *g, const struct config_listen *conf, const struct listener *old)
{
	struct listener *l = &g->listeners[g->listener_count];
	const char *step = NULL;
	int fd = old ? -1 : inherit_take(&g->master->inherited, &conf->addr);
	int err;

	if (old)
		err = listener_take_over(l, old, &conf->sock, g->worker_count, &step);
	else if (fd >= 0)
		err = listener_open_inherited(l, fd, &conf->addr, &conf->sock, g->worker_count, g->steer, &step);
	else
		err = listener_open(l, &conf->addr, &conf->sock, g->worker_count, g->steer, &step);

	if (err)
		return refuse(conf, step, err);
	l->has_proxy_header = conf->has_proxy_protocol;
	g->listener_count++;
	return old ? 0 : check_steered(g, l, conf->text, step);
}

int generation_open_listeners(struct generation *g, const struct generation *before)
{
	const struct config *c = g->config;
	bool *is_taken = calloc((before ? before->listener_count : 0) + 1, sizeof(*is_taken));
	int err = 0;

	g->listeners = calloc(c->listen_count, sizeof(*g->listeners));
	if (!g->listeners || !is_taken)
		err = -ENOMEM;
	for (unsigned i = 0; i < c->listen_count && !err; i++) {
		int old = find_old(before, &c->listens[i], is_taken);

		if (old >= 0)
			is_taken[old] = true;
		err = open_listener(g, &c->listens[i], old >= 0 ? &before->listeners[old] : NULL);
	}
	free(is_taken);
	return err;
}

const struct listener *generation_twin(const struct generation *other, const struct listener *l)
{
	for (unsigned i = 0; other && l->count && i < other->listener_count; i++)
		if (other->listeners[i].count && other->listeners[i].fds[0] == l->fds[0])
			return &other->listeners[i];
	return NULL;
}

void generation_release_listeners(struct generation *g, const struct generation *heir, struct steer *steer)
{
	for (unsigned i = 0; i < g->listener_count; i++) {
		struct listener *l = &g->listeners[i];
		const struct listener *twin = generation_twin(heir, l);

		if (!twin) {
			listener_close(l, steer);
			continue;
		}
		listener_close_apart(l, twin);
		listener_release(l);
	}
	free(g->listeners);
	g->listeners = NULL;
	g->listener_count = 0;
}

/* Where it fails the address goes on, by the kernel's hash: nobody is refused for that. */
static void start_one(struct generation *g, const struct generation *before, struct listener *l,
		      const struct listener *old)
{
	char text[SOCK_ADDR_TEXT];
	int err = listener_start_rest(l, old);

	if (err)
		log_error("cannot change '%s': %s", sock_addr_print(&l->addr, text), strerror(-err));
	if (!l->is_steered || g->steer == before->steer)
		return;
	err = steer_take_address(g->steer, l->steer_id, l->fds, old->count);
	if (!err)
		return;
	log_error("'%s' is no longer steered: %s", sock_addr_print(&l->addr, text), strerror(-err));
	steer_remove_address(g->steer, l->steer_id);
	l->is_steered = false;
}

void generation_start_listening(struct generation *g, struct generation *before)
{
	for (unsigned i = 0; i < g->listener_count; i++) {
		const struct listener *old = generation_twin(before, &g->listeners[i]);

		if (old)
			start_one(g, before, &g->listeners[i], old);
	}
	if (g->steer != before->steer)
		steer_take_over(g->steer, before->steer);
}
