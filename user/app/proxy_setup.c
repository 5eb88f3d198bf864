/* SPDX-License-Identifier: MIT */
/* What proxied requests share: made by the master out of the configuration, started in each worker. */
#include <stdlib.h>

#include "app/proxy_internal.h"
#include "base/err.h"

/* Two buffers a request that is under way; fewer kept ones are mapped and unmapped all the time. */
#define KEEP_CALLS   256u
#define KEEP_BUFFERS 512u
#define BUFFER_SIZE  32768u
#define PIPE_SIZE    (256u * 1024)
#define KEEP_PIPES   32u

/* Pipes --------------------------------------------------------------------------------------------------------- */

static void on_pipe_release(struct hold *h)
{
	struct relay_pipe *r = container_of(h, struct relay_pipe, hold);

	pipe_put(&r->proxy->pipes, r->pipe);
	free(r);
}

struct relay_pipe *relay_pipe_new(struct proxy *p)
{
	struct relay_pipe *r = malloc(sizeof(*r));

	if (!r)
		return NULL;
	r->proxy = p;
	r->pipe = pipe_get(&p->pipes);
	if (!r->pipe) {
		free(r);
		return NULL;
	}
	hold_init(&r->hold, on_pipe_release);
	return r;
}

/* Set-up -------------------------------------------------------------------------------------------------------- */

int proxy_new(size_t head_max, const struct cidr_set *trusted, struct proxy **ret_proxy)
{
	struct proxy *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->trusted = trusted;
	p->limits = (struct parse_limits){
		.request_line_max = 8192,
		.head_max = MIN(head_max, (size_t)BUFFER_SIZE),
		.field_max = RESPONSE_FIELDS_MAX,
		.body_max = UINT64_MAX,
	};
	list_init(&p->groups);
	pool_init(&p->calls, sizeof(struct proxy_call), KEEP_CALLS, 0);
	pool_init(&p->buffers, BUFFER_SIZE, KEEP_BUFFERS, 0);
	*ret_proxy = p;
	return 0;
}

void proxy_free(struct proxy *p)
{
	struct list *node;

	if (!p)
		return;
	while ((node = list_pop_front(&p->groups))) {
		struct proxy_group *g = container_of(node, struct proxy_group, node);

		free(g->hash_name);
		free(g);
	}
	pool_fini(&p->calls);
	pool_fini(&p->buffers);
	free(p);
}

uint64_t proxy_memory(const struct proxy *p)
{
	return pool_used(&p->calls) + pool_used(&p->buffers);
}

void proxy_on_memory(struct proxy *p, bool is_short)
{
	pool_keep(&p->calls, is_short ? 0 : KEEP_CALLS);
	pool_keep(&p->buffers, is_short ? 0 : KEEP_BUFFERS);
}

int proxy_group_new(struct proxy *p, const struct proxy_group_options *opt, struct proxy_group **ret_group)
{
	struct proxy_group *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	g->proxy = p;
	g->upstream = opt->upstream;
	g->hash = opt->hash;
	g->send_header = opt->send_header;
	g->retry_percent = opt->retry_percent;
	g->retry_credit = PROXY_RETRY_CREDIT;
	g->hash_name = opt->hash_name ? strdup(opt->hash_name) : NULL;
	if (opt->hash_name && !g->hash_name) {
		free(g);
		return -ENOMEM;
	}
	list_push_back(&p->groups, &g->node);
	*ret_group = g;
	return 0;
}

void proxy_start(struct proxy *p, struct loop *loop, unsigned pipe_max)
{
	p->loop = loop;
	pipe_pool_init(&p->pipes, PIPE_SIZE, KEEP_PIPES, pipe_max);
}

void proxy_stop(struct proxy *p)
{
	pipe_pool_fini(&p->pipes);
}

int proxy_route_new(const struct proxy_route_options *opt, void **ret_conf)
{
	struct proxy_route *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->group = opt->group;
	r->prefix = strndup(opt->prefix.ptr, opt->prefix.len);
	r->rewrite = opt->rewrite ? strdup(opt->rewrite) : NULL;
	r->host = strdup(opt->host);
	r->is_host_client = strcmp(opt->host, "client") == 0;
	r->is_host_server = strcmp(opt->host, "server") == 0;
	r->connect_ms = opt->connect_ms;
	r->first_byte_ms = opt->first_byte_ms;
	r->between_ms = opt->between_ms;
	r->total_ms = opt->total_ms;
	r->tunnel_ms = opt->tunnel_ms;
	r->repeat = opt->repeat;
	r->tries = opt->tries;
	r->body_max = opt->body_max;
	err = proxy_rules_init(&r->request_rules, &opt->request_set, &opt->request_add, &opt->request_remove);
	if (!err)
		err = proxy_rules_init(&r->response_rules, &opt->response_set, &opt->response_add,
				       &opt->response_remove);
	if (!err && (!r->prefix || !r->host || (opt->rewrite && !r->rewrite)))
		err = -ENOMEM;
	if (err)
		proxy_route_free(r);
	else
		*ret_conf = r;
	return err;
}

void proxy_route_free(void *conf)
{
	struct proxy_route *r = conf;

	if (!r)
		return;
	free(r->prefix);
	free(r->rewrite);
	free(r->host);
	proxy_rules_fini(&r->request_rules);
	proxy_rules_fini(&r->response_rules);
	free(r);
}
