/* SPDX-License-Identifier: MIT */
/* A server as routes use it, from the configuration to the end of the worker; see redis_route.h. */
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
}

void redis_service_drain(struct redis_service *s)
{
	s->is_draining = true;
	redis_streams_end(s);
}

void redis_service_stop(struct redis_service *s)
{
	redis_hub_stop(s->hub);
	redis_server_stop(s->server);
}
