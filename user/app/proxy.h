/* SPDX-License-Identifier: MIT */
/*
 * Routes with `proxy`: a request goes to a server of an upstream, its answer comes back.  Heads are parsed, decided on
 * and written anew; content streams both ways with back-pressure, through pipes where nothing has to look at it.
 *
 *   proxy_new -> proxy_group_new, proxy_route_new ... (master) -> proxy_start (worker)
 */
#ifndef SLUICE_APP_PROXY_H
#define SLUICE_APP_PROXY_H

#include "app/upstream.h"
#include "http/handler.h"
#include "net/cidr.h"

enum proxy_send_header { PROXY_SEND_NONE, PROXY_SEND_V1, PROXY_SEND_V2 };
enum proxy_hash { PROXY_HASH_IP, PROXY_HASH_URI, PROXY_HASH_HEADER, PROXY_HASH_COOKIE };
enum proxy_repeat { PROXY_REPEAT_NEVER, PROXY_REPEAT_IDEMPOTENT, PROXY_REPEAT_ALWAYS };

/* An upstream as HTTP routes use it. */
struct proxy_group_options {
	struct upstream *upstream;	/* borrowed */
	enum proxy_hash hash;
	const char *hash_name;		/* of the header or cookie; copied */
	enum proxy_send_header send_header;
	unsigned retry_percent;		/* retries at most this share of the requests, but always some */
};

/* "Name: value" or, to remove, "Name". */
struct proxy_rule_list {
	char *const *texts;
	unsigned count;
};

struct proxy_route_options {		/* all copied; times in ms, 0 = none */
	struct proxy_group *group;
	struct span prefix;		/* of the route */
	const char *rewrite;		/* in place of the prefix; NULL: the path stays */
	const char *host;		/* "client", "server", or what is sent as Host */
	uint64_t connect_ms, first_byte_ms, between_ms, total_ms, tunnel_ms;
	enum proxy_repeat repeat;
	unsigned tries;			/* servers asked at most */
	uint64_t body_max;		/* bytes */
	struct proxy_rule_list request_set, request_add, request_remove;
	struct proxy_rule_list response_set, response_add, response_remove;
};

struct proxy;
struct proxy_group;

/* `head_max`: bytes of a response's head.  `trusted`: whose X-Forwarded-... are believed, borrowed; NULL: nobody. */
int proxy_new(size_t head_max, const struct cidr_set *trusted, struct proxy **ret_proxy);
/* Frees the groups too; the routes are freed by the site table, before. */
void proxy_free(struct proxy *p);
/* Bytes of buffers in use. */
uint64_t proxy_memory(const struct proxy *p);
/* Keeps nothing of what is free, as long as memory is short. */
void proxy_on_memory(struct proxy *p, bool is_short);
int proxy_group_new(struct proxy *p, const struct proxy_group_options *opt, struct proxy_group **ret_group);
/* In the worker, before any request.  `pipe_max`: pipes that may be open. */
void proxy_start(struct proxy *p, struct loop *loop, unsigned pipe_max);
/* Every request and tunnel must be gone. */
void proxy_stop(struct proxy *p);

extern const struct handler_ops proxy_ops;
/* The conf of a route.  0, -ENOMEM. */
int proxy_route_new(const struct proxy_route_options *opt, void **ret_conf);
void proxy_route_free(void *conf);

#endif
