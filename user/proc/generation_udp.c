/* SPDX-License-Identifier: MIT */
/*
 * The UDP sockets of a generation.  They are its own (net/udp_listener.h): the one before keeps its sockets for the
 * sessions it has, and loses the master's descriptors of them when the next one is in force.
 */
#include <stdlib.h>

#include "base/err.h"
#include "proc/master_internal.h"

static bool is_same_address(const struct config_listen_udp *a, const struct config_listen_udp *b)
{
	socklen_t len = sock_addr_len(&a->addr);

	return len == sock_addr_len(&b->addr) && memcmp(&a->addr, &b->addr, len) == 0 && a->is_v6only == b->is_v6only;
}

/* By what the files say, each once; -1: none. */
static int find_old(const struct generation *before, const struct config_listen_udp *conf, const bool *is_taken)
{
	for (unsigned i = 0; before && i < before->udp_listener_count; i++)
		if (!is_taken[i] && is_same_address(&before->config->udp_listens[i], conf))
			return (int)i;
	return -1;
}

static int refuse(const struct config_listen_udp *conf, const char *step, int err)
{
	if (step && strcmp(step, "steer") == 0 && err == -EBUSY)
		log_error("%s:%u: '%s': too many generations still have sessions there", conf->place.file, conf->place.line,
			  conf->text);
	else
		log_error("%s:%u: cannot %s '%s' (UDP): %s", conf->place.file, conf->place.line, step, conf->text,
			  strerror(-err));
	return err;
}

static int check_steered(const struct generation *g, const struct udp_listener *l, const char *text, const char *step)
{
	if (!steer_is_active(g->steer) || l->is_steered)
		return 0;
	if (g->config->steering.is_required) {
		log_error("cannot steer '%s' (UDP, %s), which takes Linux 5.12", text, step ? step : "?");
		return -EOPNOTSUPP;
	}
	log_warn("'%s' (UDP) is not steered (%s), which takes Linux 5.12: the kernel's hash spreads its datagrams, and a "
		 "reload moves flows",
		 text, step ? step : "?");
	return 0;
}

static int open_one(struct generation *g, const struct config_listen_udp *conf, const struct udp_listener *old)
{
	struct udp_listener *l = &g->udp_listeners[g->udp_listener_count];
	const struct udp_listener_options opt = {
		.sock = {
			.rcvbuf = conf->rcvbuf,
			.sndbuf = conf->sndbuf,
			.is_v6only = conf->is_v6only,
			.has_gro = conf->has_gro,
		},
		.generation = g->number,
		.is_one_way = conf->is_one_way,
		.flow_max = conf->flows,
		.is_taken_over = g->master->state == MASTER_FOLLOWING,
	};
	const char *step = NULL;
	int err = udp_listener_open(l, &conf->addr, &opt, g->worker_count, g->steer, old, &step);

	if (err)
		return refuse(conf, step, err);
	g->udp_listener_count++;
	return old ? 0 : check_steered(g, l, conf->text, step);
}

int generation_open_udp(struct generation *g, const struct generation *before)
{
	const struct config *c = g->config;
	bool *is_taken = calloc((before ? before->udp_listener_count : 0) + 1, sizeof(*is_taken));
	int err = 0;

	g->udp_listeners = calloc(c->udp_listen_count + 1, sizeof(*g->udp_listeners));
	if (!g->udp_listeners || !is_taken)
		err = -ENOMEM;
	for (unsigned i = 0; i < c->udp_listen_count && !err; i++) {
		int old = find_old(before, &c->udp_listens[i], is_taken);

		if (old >= 0)
			is_taken[old] = true;
		err = open_one(g, &c->udp_listens[i], old >= 0 ? &before->udp_listeners[old] : NULL);
	}
	free(is_taken);
	return err;
}

bool generation_has_udp_twin(const struct generation *next, const struct udp_listener *l)
{
	for (unsigned i = 0; i < next->udp_listener_count; i++)
		if (sock_addr_len(&next->udp_listeners[i].addr) == sock_addr_len(&l->addr) &&
		    memcmp(&next->udp_listeners[i].addr, &l->addr, sock_addr_len(&l->addr)) == 0)
			return true;
	return false;
}

/* Where it fails new flows go on coming to the old workers, which serve them as long as they last. */
void generation_start_udp(struct generation *g)
{
	char text[SOCK_ADDR_TEXT];

	for (unsigned i = 0; i < g->udp_listener_count; i++) {
		int err = udp_listener_start(&g->udp_listeners[i]);

		if (err)
			log_error("'%s' (UDP) is no longer steered: %s", sock_addr_print(&g->udp_listeners[i].addr, text),
				  strerror(-err));
	}
}

void generation_retire_udp(struct generation *g, unsigned slot)
{
	for (unsigned i = 0; i < g->udp_listener_count; i++)
		udp_bank_retire(&g->udp_listeners[i].bank, slot);
}

void generation_close_udp_socks(struct generation *g)
{
	for (unsigned i = 0; i < g->udp_listener_count; i++)
		udp_listener_close_socks(&g->udp_listeners[i]);
}

void generation_disown_udp(struct generation *g)
{
	for (unsigned i = 0; i < g->udp_listener_count; i++)
		udp_bank_disown(&g->udp_listeners[i].bank);
}

void generation_free_udp(struct generation *g)
{
	for (unsigned i = 0; i < g->udp_listener_count; i++)
		udp_listener_fini(&g->udp_listeners[i], true);
	free(g->udp_listeners);
	g->udp_listeners = NULL;
	g->udp_listener_count = 0;
}
