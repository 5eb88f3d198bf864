/* SPDX-License-Identifier: MIT */
/*
 * One request on its way through the proxy.  Internal to app/proxy*.c.
 *
 *   ASKING     upstream_acquire was called: in a queue, or connecting
 *   HEAD       connected: the request is being sent, the response's head is awaited
 *   BODY       the reply has begun, content comes
 *   UPGRADED   101 was answered: waits for the client's connection, then becomes a tunnel
 *
 * Sending goes on in HEAD and BODY until the request is complete; a server may answer before.  A call is freed in one
 * place, call_free(), when the reply is ended, aborted or abandoned; whoever calls something that may end the call
 * returns at once.
 */
#ifndef SLUICE_APP_PROXY_INTERNAL_H
#define SLUICE_APP_PROXY_INTERNAL_H

#include "app/proxy.h"
#include "app/proxy_rules.h"
#include "base/pool.h"
#include "http/output.h"
#include "http/response.h"
#include "net/tunnel.h"

/* Bytes waiting for one side above which the other is not read, and below which it is again. */
#define PROXY_HIGH_WATER (128u * 1024)
#define PROXY_LOW_WATER	 (64u * 1024)
/*
 * Content left from which on it goes through a pipe rather than a buffer.  CPU seconds for a GB, sized content on 16
 * connections, medians of 5 to 9 runs in turn; "left" is what remains behind the first read, of 32 KB, or of the client's:
 *
 *   down  left (KB)   4     8    16    24    32    96   224   992     up  size (KB)  32    64   128   256
 *   copied          0.59  0.56  0.48  0.43  0.56  0.54  0.39  0.40               0.61  0.52  0.46  0.40
 *   by pipe         0.73  0.65  0.53  0.45  0.50  0.28  0.32  0.14               0.62  0.35  0.25  0.30
 */
#define PROXY_SPLICE_MIN (32u * 1024)
#define PROXY_TRAILERS_SIZE 1024
/* The most that a group's budget holds, in hundredths of a retry: always some, and never more than a burst. */
#define PROXY_RETRY_CREDIT 1000u

struct proxy {
	struct loop *loop;
	struct pool calls, buffers;
	struct pipe_pool pipes;
	const struct cidr_set *trusted;
	struct parse_limits limits;	/* of responses */
	struct list groups;
};

struct proxy_group {
	struct list node;
	struct proxy *proxy;
	struct upstream *upstream;
	enum proxy_hash hash;
	char *hash_name;
	enum proxy_send_header send_header;
	unsigned retry_percent;
	unsigned retry_credit;		/* hundredths of a retry */
};

struct proxy_route {
	struct proxy_group *group;
	char *prefix, *rewrite, *host;
	bool is_host_client, is_host_server;
	uint64_t connect_ms, first_byte_ms, between_ms, total_ms, tunnel_ms;
	enum proxy_repeat repeat;
	unsigned tries;
	uint64_t body_max;
	struct proxy_rules request_rules, response_rules;
};

enum call_state { CALL_ASKING, CALL_HEAD, CALL_BODY, CALL_UPGRADED };

/* A pipe with content in it, shared with the output that empties it. */
struct relay_pipe {
	struct hold hold;
	struct proxy *proxy;
	struct pipe *pipe;
};

struct proxy_call {
	struct upstream_lease lease;
	struct proxy_route *route;
	struct request *req;
	struct reply *reply;
	char *in;			/* buffer of the pool; NULL: nothing was read that is not used */
	unsigned in_start, in_end;	/* of `in`, what is not yet used */
	uint8_t state;			/* enum call_state */
	uint8_t interim_count;
	uint16_t tries;
	bool is_sent;			/* the request was given to `out` completely */
	bool has_taken_body;		/* content of the client is gone from the session: no repeating */
	bool is_send_dead;		/* the server takes no more; it may still answer */
	bool is_cut_off;		/* it was us who could not send: it waits for the rest, and so would we */
	bool is_blocked;		/* the server's connection took no more of `out` */
	bool is_held;			/* the client does not take the reply: the server is not read */
	bool has_upgrade;		/* Upgrade was passed on */
	bool is_paused;			/* the client's content is */
	bool has_retried_reused;	/* the one repetition on a fresh connection was used */
	uint64_t began_ns;
	uint64_t due_ms;		/* what is waited for must have come by then; UINT64_MAX: nothing is */
	uint64_t total_due_ms;
	const char *due_why;
	struct timer timer;
	struct job job;
	struct relay_pipe *up, *down;
	/* From here on nothing is cleared in advance: see call_new(). */
	struct output out;		/* towards the server */
	struct response_parser parser;
	struct response res;
	struct buf trailers;
	char trailer_memory[PROXY_TRAILERS_SIZE];
	struct buf request_trailers;
	char request_trailer_memory[PROXY_TRAILERS_SIZE];
};

static inline struct proxy *call_proxy(const struct proxy_call *c)
{
	return c->route->group->proxy;
}

/* proxy.c: life of a call.  All of these end it: */
/* Answers with a status page, or aborts a reply that has begun; the connection to the server is closed. */
void call_fail(struct proxy_call *c, unsigned status, const char *why, enum upstream_outcome outcome);
/* The response is complete. */
void call_finish(struct proxy_call *c);
/*
 * Another server, or a fresh connection, if that is allowed: true, and the call is at ASKING again, or further: it may
 * have ended, its answer be sent and its session gone.
 */
bool call_try_again(struct proxy_call *c, const char *why, enum upstream_outcome outcome);
void call_free(struct proxy_call *c);
/* What the call waits for now. */
void call_settle(struct proxy_call *c);
/* A pipe to move content through; NULL: copy. */
struct relay_pipe *relay_pipe_new(struct proxy *p);
static inline unsigned relay_pipe_room(const struct relay_pipe *p)
{
	return p->pipe->size - p->pipe->filled;
}

/* proxy_send.c */
/* False: the call has ended. */
bool call_send_head(struct proxy_call *c);
/* Whether the client's content comes; harmless when there is none. */
void call_pause_client(struct proxy_call *c, bool is_paused);
void call_flush(struct proxy_call *c);
void proxy_on_body(struct request *req, struct reply *reply, struct span data, bool is_last);
void proxy_on_body_ready(struct request *req, struct reply *reply);
void proxy_on_body_pause(struct request *req, struct reply *reply);

/* proxy_receive.c: reads and passes on what there is. */
enum received {
	RECEIVED,		/* the call goes on */
	RECEIVED_END,		/* it has ended */
	RECEIVED_ANEW,		/* it began anew, and may have ended since, as may its session: look at neither */
};
enum received call_receive(struct proxy_call *c);
/* What was read and not used. */
static inline struct span call_unread(const struct proxy_call *c)
{
	return c->in ? span_of(c->in + c->in_start, c->in_end - c->in_start) : span_of("", 0);
}
/* Gives the buffer back; what is in it is dropped. */
void call_drop_input(struct proxy_call *c);

/* proxy_head.c */
/* The request's head as the server gets it.  `is_last_try`... false: it does not fit. */
bool proxy_write_request(struct proxy_call *c, struct buf *b);
/* The end-to-end fields of a response, and what is added to them; Upgrade too, of a 101. */
void proxy_write_fields(const struct proxy_call *c, struct buf *b);
/* Those of a trailer section that may be passed on. */
void proxy_filter_trailers(struct span in, struct buf *out);
/* proxy_forward.c: what the server is told about the client; whom a request belongs to. */
/* Has it come by here so often that it will for ever? */
bool proxy_goes_round(const struct request *req);
bool proxy_trusts(const struct proxy_call *c, const union sock_addr *peer);
void proxy_write_forwarded(const struct proxy_call *c, struct buf *b);
uint64_t proxy_hash_key(const struct proxy_group *g, const struct request *req);

/* Memory of the process for a head that is being made; overwritten by the next one. */
struct buf proxy_scratch(void);

/* proxy_tunnel.c: after a 101.  False: its head is too large, nothing was done. */
bool call_upgrade(struct proxy_call *c);

#endif
