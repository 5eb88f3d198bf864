/* SPDX-License-Identifier: MIT */
/*
 * The table of upstream servers of a generation.  A server that stays, by the names of its upstream and its own, keeps
 * what is known of it: the addresses of its name, its health, whether it is ejected or drained.  A table made from
 * nothing would refuse requests until the first name is resolved, and send others to servers known to be dead.
 * Its counters go on too: those of a generation that is gone are added to the last row of the one in force.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/err.h"
#include "proc/master_internal.h"

/* Carried over ------------------------------------------------------------------------------------------------- */

static const struct config_upstream *find_upstream(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < config_group_count(c); i++)
		if (strcmp(config_group(c, i)->name, name) == 0)
			return config_group(c, i);
	return NULL;
}

static const struct config_server *find_server(const struct config_upstream *u, const char *text)
{
	for (unsigned i = 0; i < u->server_count; i++)
		if (strcmp(u->servers[i].text, text) == 0)
			return &u->servers[i];
	return NULL;
}

static bool is_same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/* A verdict that another question led to says nothing, and without checks nobody would ever change it. */
static bool is_same_check(const struct config_check *a, const struct config_check *b)
{
	return a->kind == b->kind && a->status_min == b->status_min && a->status_max == b->status_max &&
	       is_same_text(a->path, b->path) && is_same_text(a->host, b->host);
}

static void carry(struct generation *g, const struct config_server *s, const struct generation *before,
		  const struct config_server *old, bool keeps_health)
{
	for (unsigned i = 0; i < MIN(s->endpoint_count, old->endpoint_count); i++) {
		struct upstream_endpoint *e = &g->upstreams.endpoints[s->first_endpoint + i];

		upstream_endpoint_copy(e, &before->upstreams.endpoints[old->first_endpoint + i]);
		if (!keeps_health)
			e->health = HEALTH_UNKNOWN;
		/* What the file says counts when it has changed, else what an operator has done since. */
		if (s->is_drained != old->is_drained)
			e->is_drained = s->is_drained;
		g->endpoint_from[s->first_endpoint + i] = old->first_endpoint + i;
	}
}

static void carry_upstream(struct generation *g, const struct config_upstream *u, const struct generation *before)
{
	const struct config_upstream *was = find_upstream(before->config, u->name);

	for (unsigned i = 0; was && i < u->server_count; i++) {
		const struct config_server *old = find_server(was, u->servers[i].text);

		if (old)
			carry(g, &u->servers[i], before, old, is_same_check(&u->check, &was->check));
	}
}

/* Made --------------------------------------------------------------------------------------------------------- */

static void set_drained(struct generation *g, const struct config_server *s)
{
	for (unsigned i = 0; i < s->endpoint_count; i++)
		g->upstreams.endpoints[s->first_endpoint + i].is_drained = s->is_drained;
}

/* Names are the monitor's.  In use since 0, "never": who starts with the server needs no slow start. */
static void set_literal(const struct generation *g, const struct config_server *s, uint64_t since_ns)
{
	struct upstream_endpoint *e = &g->upstreams.endpoints[s->first_endpoint];
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (s->kind == SERVER_ADDRESS) {
		upstream_endpoint_set(e, &s->addr.any, sock_addr_len(&s->addr), s->weight, since_ns);
	} else if (s->kind == SERVER_UNIX) {
		memcpy(un.sun_path, s->name, strnlen(s->name, sizeof(un.sun_path) - 1));
		upstream_endpoint_set(e, (const struct sockaddr *)&un, sizeof(un), s->weight, since_ns);
	}
}

static void fill(struct generation *g, const struct generation *before)
{
	for (unsigned i = 0; i < config_group_count(g->config); i++) {
		const struct config_upstream *u = config_group(g->config, i);
		bool is_new = before && !find_upstream(before->config, u->name);

		for (unsigned k = 0; k < u->server_count; k++)
			set_drained(g, &u->servers[k]);
		if (before)
			carry_upstream(g, u, before);
		/* One that joins others starts slowly; all of a new upstream are as old as the upstream. */
		for (unsigned k = 0; k < u->server_count; k++)
			set_literal(g, &u->servers[k], before && !is_new ? g->master->loop.now_ns : 0);
	}
}

int generation_open_upstreams(struct generation *g, const struct generation *before)
{
	unsigned count = g->config->endpoint_count;
	int err = upstream_table_open(&g->upstreams, count, g->worker_count + 1);

	g->endpoint_from = calloc(count + 1, sizeof(*g->endpoint_from));
	g->endpoint_now = calloc(count + 1, sizeof(*g->endpoint_now));
	if (err || !g->endpoint_from || !g->endpoint_now) {
		log_error("cannot map the table of upstream servers: %s", strerror(ENOMEM));
		return -ENOMEM;
	}
	for (unsigned i = 0; i < count; i++) {
		g->endpoint_from[i] = GENERATION_NO_ENDPOINT;
		g->endpoint_now[i] = i;
	}
	fill(g, before);
	return 0;
}

/* Counted over all generations --------------------------------------------------------------------------------- */

static unsigned heir_of(const struct generation *next, unsigned endpoint)
{
	for (unsigned i = 0; i < next->config->endpoint_count; i++)
		if (next->endpoint_from[i] == endpoint)
			return i;
	return GENERATION_NO_ENDPOINT;
}

void generation_follow_endpoints(struct master *m, const struct generation *next)
{
	list_for_each(node, &m->generations) {
		struct generation *g = container_of(node, struct generation, node);

		for (unsigned i = 0; g != next && i < g->config->endpoint_count; i++)
			if (g->endpoint_now[i] != GENERATION_NO_ENDPOINT)
				g->endpoint_now[i] = heir_of(next, g->endpoint_now[i]);
	}
}

static void add_counters(const struct generation *g, const struct upstream_table *to, unsigned row)
{
	for (unsigned i = 0; i < g->config->endpoint_count; i++) {
		if (g->endpoint_now[i] == GENERATION_NO_ENDPOINT)
			continue;
		for (unsigned w = 0; w < g->upstreams.worker_count; w++)
			upstream_counters_add(upstream_table_counters(to, row, g->endpoint_now[i]),
					      upstream_table_counters(&g->upstreams, w, i));
	}
}

void generation_bequeath_counters(const struct generation *g, struct generation *current)
{
	add_counters(g, &current->upstreams, current->worker_count);
}

static void add_gauges(const struct generation *g, const struct upstream_table *to)
{
	for (unsigned i = 0; i < g->config->endpoint_count; i++) {
		const struct upstream_endpoint *from = &g->upstreams.endpoints[i];
		unsigned now = g->endpoint_now[i];

		if (now == GENERATION_NO_ENDPOINT)
			continue;
		to->endpoints[now].active += __atomic_load_n(&from->active, __ATOMIC_RELAXED);
		to->endpoints[now].connections += __atomic_load_n(&from->connections, __ATOMIC_RELAXED);
	}
}

void generation_sum_upstreams(struct master *m, struct upstream_table *ret_table)
{
	const struct generation *current = m->current;
	unsigned count = current->config->endpoint_count;

	if (upstream_table_open(ret_table, count, 1) < 0)
		return;
	for (unsigned i = 0; i < count; i++)
		upstream_endpoint_copy(&ret_table->endpoints[i], &current->upstreams.endpoints[i]);
	list_for_each(node, &m->generations) {
		const struct generation *g = container_of(node, struct generation, node);

		if (g->state != GENERATION_SERVING && g->state != GENERATION_LEAVING && g != current)
			continue;
		add_counters(g, ret_table, 0);
		add_gauges(g, ret_table);
	}
}
