/* SPDX-License-Identifier: MIT */
/* A server as routes use it, and the routes, from the configuration to the end of the worker; see redis_route.h. */
#include <stdio.h>
#include <stdlib.h>

#include "app/redis_route_internal.h"
#include "base/err.h"

int redis_service_new(const struct redis_server_options *opt, struct redis_service **ret_service)
{
	struct redis_service *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	list_init(&s->streams);
	snprintf(s->name, sizeof(s->name), "%s", opt->name);
	err = redis_sockets_init(s);
	if (!err)
		err = redis_server_new(opt, &s->server);
	if (!err)
		err = redis_hub_new(s->server, &s->hub);
	if (err)
		redis_service_free(s);
	else
		*ret_service = s;
	return err;
}

void redis_service_free(struct redis_service *s)
{
	if (!s)
		return;
	channel_hub_free(s->channels);
	redis_hub_free(s->hub);
	redis_server_free(s->server);
	free(s);
}

void redis_service_start(struct redis_service *s, struct loop *loop, const struct upstream_table *table,
			 struct stats_redis *stats)
{
	s->stats = stats;
	redis_server_start(s->server, loop, table, stats);
	redis_hub_start(s->hub);
	redis_sockets_start(s);
}

struct redis_server *redis_service_server(const struct redis_service *s)
{
	return s->server;
}

void redis_service_drain(struct redis_service *s)
{
	s->is_draining = true;
	redis_streams_end(s);
}

void redis_service_stop(struct redis_service *s)
{
	redis_sockets_stop(s);
	redis_hub_stop(s->hub);
	redis_server_stop(s->server);
}

/* Routes -------------------------------------------------------------------------------------------------------- */

void redis_route_free(void *conf)
{
	struct redis_route *r = conf;

	if (!r)
		return;
	for (unsigned i = 0; i < r->allow_count; i++)
		free((char *)r->allow[i].name.ptr);
	free(r->allow);
	free((char *)r->prefix.ptr);
	free((char *)r->key_prefix.ptr);
	free(r);
}

static bool copy_span(struct span from, struct span *ret_copy)
{
	char *copy = strndup(from.ptr ? from.ptr : "", from.len);

	*ret_copy = span_of(copy, from.len);
	return copy != NULL;
}

int redis_route_new(const struct redis_route_options *opt, void **ret_conf)
{
	struct redis_route *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->service = opt->service;
	r->body_max = opt->body_max;
	r->stream_max = opt->stream_max;
	r->endpoint = opt->endpoint;
	r->endpoint.ops = &redis_socket_ops;
	r->talk = opt->endpoint;
	r->talk.ops = &redis_talk_ops;
	r->talk.read_max = REDIS_TALK_READ;
	r->allow = calloc(opt->allow_count + 1, sizeof(*r->allow));
	if (!r->allow || !copy_span(opt->prefix, &r->prefix) || !copy_span(span_str(opt->key_prefix), &r->key_prefix))
		goto fail;
	for (unsigned i = 0; i < opt->allow_count; i++) {
		if (!copy_span(span_str(opt->allow[i]), &r->allow[i].name))
			goto fail;
		r->allow_count++;
		r->allows_most = r->allows_most || strcmp(opt->allow[i], "*") == 0;
	}
	*ret_conf = r;
	return 0;
fail:
	redis_route_free(r);
	return -ENOMEM;
}
