/* SPDX-License-Identifier: MIT */
/* A proxied request without its surroundings: from the client's bytes to those that the server gets. */
#ifndef SLUICE_TESTS_PROXY_HEAD_DRIVER_H
#define SLUICE_TESTS_PROXY_HEAD_DRIVER_H

#include <stdlib.h>

#include "app/proxy_internal.h"
#include "base/err.h"
#include "http/parse.h"

struct head_driver {
	struct cidr_set trusted;
	struct proxy proxy;
	struct proxy_group group;
	struct proxy_route *route;
	union sock_addr peer;
	struct parser parser;
	struct request req;
	struct reply reply;
	struct proxy_call call;
};

static const struct parse_limits head_limits = {
	.request_line_max = 16384, .head_max = 65536, .field_max = REQUEST_FIELDS_MAX, .body_max = UINT64_MAX
};

/* What a field of `opt` says nothing of is as in a small configuration; 0 or -errno. */
static inline int head_driver_open(struct head_driver *d, const struct proxy_route_options *opt)
{
	struct proxy_route_options all = *opt;
	void *route;
	int err;

	memset(d, 0, sizeof(*d));
	cidr_set_init(&d->trusted);
	d->proxy.trusted = &d->trusted;
	d->proxy.limits = head_limits;
	d->group.proxy = &d->proxy;
	all.group = &d->group;
	all.host = opt->host ? opt->host : "client";
	if (!all.prefix.ptr)
		all.prefix = SPAN("/");
	err = proxy_route_new(&all, &route);
	d->route = err ? NULL : route;
	d->peer.v4.sin_family = AF_INET;
	d->peer.v4.sin_addr.s_addr = htonl(0xc0000207); /* 192.0.2.7 */
	d->call.route = d->route;
	d->call.req = &d->req;
	d->call.reply = &d->reply;
	d->call.lease.endpoint = UPSTREAM_NO_ENDPOINT;
	return err;
}

static inline void head_driver_close(struct head_driver *d)
{
	proxy_route_free(d->route);
	cidr_set_fini(&d->trusted);
}

/* False: that is no head of a request. */
static inline bool head_driver_parse(struct head_driver *d, struct span text)
{
	size_t len;

	parser_init(&d->parser, &head_limits);
	parser_reset(&d->parser, &d->req);
	if (parser_head(&d->parser, text.ptr, text.len, &len) != PARSE_DONE)
		return false;
	d->req.peer = &d->peer;
	reply_init(&d->reply, NULL, &d->req);
	/* What is random is not, so that the whole head can be compared. */
	memcpy(d->reply.origin.request_id, "id", 3);
	return true;
}

#endif
