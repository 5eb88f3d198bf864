/* SPDX-License-Identifier: MIT */
/*
 * One HTTP/1 connection and the request it is at.  Internal to http/.
 *
 *   PROXY_HEADER   where the listen address wants one: nothing of HTTP happens before it is complete
 *    |
 *    v       first byte            head complete              reply sent, body read
 *   IDLE ------------------> HEAD ----------------> ACTIVE -------------------------> IDLE (or HEAD, pipelined)
 *    |                        |  bad, 4xx + close     |  must close
 *    | closed by either       +---------> ACTIVE -----+--------> LINGER (refused with input unread) or CLOSED
 *    v
 *   CLOSED   (session_close: the one place where a connection dies)
 *
 *   ACTIVE --101 sent--> DETACHED   the handler's (a tunnel), until it gives the connection back to be closed
 *
 * A session in IDLE owns no exchange: no buffer, no parser, no request.  The exchange is borrowed with the first byte.
 * Nothing in here is freed while events are walked; a closed session is freed at the end of the iteration.
 */
#ifndef SLUICE_HTTP_SESSION_H
#define SLUICE_HTTP_SESSION_H

#include "http/output.h"
#include "http/pace.h"
#include "http/server.h"
#include "net/conn.h"

enum session_state {
	SESSION_IDLE,
	SESSION_HEAD,
	SESSION_ACTIVE,
	SESSION_LINGER,
	SESSION_PROXY_HEADER,
	SESSION_DETACHED,
	SESSION_CLOSED,
};

/* What the timer waits for. */
enum session_wait { WAIT_NONE, WAIT_REQUEST, WAIT_HEAD, WAIT_BODY, WAIT_WRITE, WAIT_LINGER, WAIT_PROXY_HEADER };

/* See session_unsent.c. */
enum unsent_state { UNSENT_OWN, UNSENT_RAISED, UNSENT_FALLING };

/* The longest address but for one with a scope, which is of the same link. */
#define PEER_TEXT_SIZE 39

struct session {
	struct conn conn;
	struct server *server;
	struct exchange *exchange;	/* NULL while idle */
	struct list node;		/* in server->idle or server->active */
	struct timer timer;
	struct job job;			/* to be run again, later: to be freed */
	uint64_t serial;
	uint64_t request_count;
	union {
		uint64_t linger_until_ms;		/* LINGER */
		struct detachment *detachment;		/* DETACHED: who has the connection, what the log will say */
	};
	int unsent_limit;		/* the listener's, unless UNSENT_OWN */
	uint32_t unacked;		/* bytes in the kernel when WAIT_WRITE was armed */
	uint32_t limit_entry;		/* its client's in the table of connections; 0: not counted there */
	uint32_t opened_ms;		/* accepted, low bits of CLOCK_MONOTONIC */
	bool is_counted;		/* among all connections */
	bool is_refused;		/* lingers after session_refuse */
	uint8_t state;
	uint8_t wait;			/* enum session_wait */
	uint8_t unsent_state;		/* enum unsent_state */
	uint8_t unsent_place;		/* in server->raised, unless UNSENT_OWN */
	uint8_t close_reason;		/* enum close_reason, of a connection that closes after its reply */
	bool has_progressed;		/* bytes moved since the timer was armed */
	bool is_running;		/* session_run is on the stack */
	uint8_t peer_text_len;		/* 0: not made yet, or too long to be kept */
	char peer_text[PEER_TEXT_SIZE];	/* the client's address for the access log, no NUL */
};

struct exchange {
	struct session *session;
	char *in;			/* buffer of the pool; bytes [in_start, in_end) are not yet used */
	unsigned in_start, in_end;
	unsigned head_end;		/* head of the request at hand ends here; spans point before it */
	bool is_body_done;
	bool is_aborted;		/* the handler gave up after reply_begin */
	bool has_sent_continue;
	bool is_logged;
	bool is_refused;		/* answered by exchange_refuse */
	bool is_blocked;		/* the kernel took no more of the output */
	bool is_paused;			/* the handler wants no content now */
	bool has_probed;		/* a client that has ended its side was asked whether it is still there */
	uint64_t blocked_ms;		/* loop time when it was; 0: judged since then */
	unsigned reply_head_len;	/* bytes */
	unsigned body_step;		/* bytes of content since the body timer was armed */
	uint64_t output_before;		/* output.total when the reply began */
	uint64_t start_ns;		/* loop time of the first byte */
	struct pace pace;		/* where there is a least rate */
	uint64_t deadline_ms;		/* of the wait at hand, whatever the pace */
	int64_t delivered;		/* bytes that the client had when it was last looked at */
	bool has_looked;		/* too slow, as it seems: its socket was looked at again */
	const char *why;		/* reason for the log, of the parser or of a timeout; NULL: done */
	const struct route *route;	/* NULL: answered by the session itself, or not asked yet */
	const struct route *later;	/* asked as soon as the content is over: it takes none */
	const struct detached_ops *detached;	/* the connection is to be detached, once the output is sent */
	void *detached_ctx;
	void *(*on_detached)(void *ctx, const struct detached *d);
	struct parser parser;
	struct output output;
	struct reply reply;
	struct request request;
};

/* Ops of replies carried by HTTP/1 (http1.c). */
extern const struct reply_ops http1_reply_ops;

/* Goes on with whatever can be done now. */
void session_run(struct session *s);
/* Runs the session soon; harmless while it runs. */
void session_wake(struct session *s);
/* Ends the connection; counts the reason; harmless when closed already. */
void session_close(struct session *s, enum close_reason reason);

/*
 * Answers by `status` without a request having been read and without a buffer, then listens for a while to what the client
 * sends, so that the answer is not lost.  `why`: for the log.  May close at once.
 */
void session_refuse(struct session *s, unsigned status, enum close_reason reason, const char *why);
/* Closes once the client has ended its side, or is silent; `close_reason` is counted. */
void session_linger(struct session *s);

/* The connection goes on elsewhere: all of it is dropped here, and no reason is counted. */
void session_forget(struct session *s);

/* server_leave.c.  What another worker must know to go on with it. */
struct server_guest session_guest(const struct session *s);
/* Between two requests, and the server has a successor: true when it has gone there. */
bool session_give(struct session *s);

/* Gives the entry to the access log, with the client's address. */
void session_log(struct session *s, struct access_entry *e);

/* session_limit.c.  Counts a new connection; false: it was refused, and may be closed already. */
bool session_admit(struct session *s);
/* The connection ends, and so does its count; harmless when it was not counted. */
void session_uncount(struct session *s);
/* It has gone to another worker, and its count with it. */
void session_hand_on_count(struct session *s);
/* It has come from one. */
void session_take_over_count(struct session *s, const struct server_guest *g);
/* It would have, had there been memory: its count ends. */
void session_drop_guest(struct server *srv, const struct server_guest *g);
/* The request at hand, whose limit is not NULL; false: it was answered by 429. */
bool session_admit_request(struct session *s, const struct limit_rate *rate);

/* session_pace.c.  Is there a least rate for this wait? */
bool session_has_pace(const struct session *s, enum session_wait wait);
/* All that follows: only with limits.has_pace.  The client has sent so much. */
void session_pace_input(struct session *s, size_t len);
/*
 * Arms the timer for `wait`: after `after_ms`, as before if nothing has moved and `goes_on`, or when the client is too slow.
 * False: this wait has no least rate, and the timer is still to be armed.
 */
bool session_arm_paced(struct session *s, enum session_wait wait, uint64_t after_ms, bool goes_on);
enum pace_verdict {
	PACE_GOES_ON,	/* armed again */
	PACE_LOOK,	/* too slow, if there is nothing in the socket: run the session */
	PACE_SLOW,
	PACE_OVER,	/* not too slow, but the timeout itself is over */
};
/* The timer of a paced wait. */
enum pace_verdict session_judge_pace(struct session *s);

/*
 * session_unsent.c: how much of a reply the kernel takes that it cannot send yet.  To be called when
 * output that was blocked goes on, before anything is written.
 */
void session_judge_reader(struct session *s);
/* The listener's limit again, for whoever goes on with the connection. */
void session_lower_unsent(struct session *s);
/* Its place is free; harmless when it has none. */
void session_leave_unsent(struct session *s);

/* session_detach.c.  The connection leaves HTTP: exchange->on_detached gets it, the exchange ends. */
void session_detach(struct session *s);
/* An event of a detached connection. */
void session_run_detached(struct session *s);
/* Its instant has come: it ends, or whoever has it ends it in its own way. */
void session_leave_detached(struct session *s);
/* Where the server spreads the ends of such connections: draws the instant of this one. */
void session_limit_detached(struct session *s);
/* It is being closed: whoever has it lets go of it, and the log has its line. */
void session_end_detached(struct session *s, const char *reason);
/* Content came in that the session did not read itself. */
void session_note_body(struct session *s, size_t len);

/* exchange.c: one step of a request.  */
enum step {
	STEP_AGAIN,	/* something was done: go on */
	STEP_READ,	/* needs input */
	STEP_WAIT,	/* nothing to do until an event, a timer or the handler */
	STEP_FLUSH,	/* the output must be written before anything else */
	STEP_FINISH,	/* the request is over, its reply written or queued */
	STEP_CLOSED,	/* the session is gone */
};

/* Borrows the exchange and its input buffer; false without memory. */
bool exchange_begin(struct session *s);
/* Gives back everything borrowed. */
void exchange_end(struct session *s);
/* Tries to find a complete head in the input, of which there is some, and dispatches it.  IDLE: it is a new one. */
enum step exchange_head(struct session *s);
/* Goes on with body and reply of the request at hand. */
enum step exchange_active(struct session *s);
/* Answers by a status page and closes after it. `why`: for the log. */
void exchange_refuse(struct session *s, unsigned status, const char *why);
/* Tells the handler that nobody waits for it any more: once, and not when it is done by itself. */
void exchange_abandon(struct session *s);
/* The counters of a request whose connection goes on as something else; its entry, for later. */
void exchange_count(struct session *s, struct access_entry *ret_entry);
/* The access log's entry and the counters of the request at hand, once. */
void exchange_log(struct session *s, const char *reason);

/* session_proxy.c: a PROXY protocol header in front of the first request. */
enum step session_proxy_header(struct session *s);
/* The client has ended its side before the header was complete: the connection is closed. */
void session_proxy_end(struct session *s);

/* server.c.  With a limit: room for another exchange and its buffer?  Keeps less of what is free where there is none. */
bool server_has_memory(struct server *srv);
/* Reads the wall clock, for those below. */
void server_begin_second(struct server *srv);

#define SERVER_OK_LINE "HTTP/1.1 200 OK\r\n"

/* The status line of 200, and what every head has besides (Server, Date). */
static inline struct span server_ok_head(struct server *srv)
{
	if (srv->loop->now_ns >= srv->second_end_ns)
		server_begin_second(srv);
	return span_of(srv->ok_head, srv->ok_head_len);
}

/* The same without the status line. */
static inline struct span server_common_fields(struct server *srv)
{
	struct span head = server_ok_head(srv);
	size_t skipped = sizeof(SERVER_OK_LINE) - 1;

	return span_of(head.ptr + skipped, head.len - skipped);
}

/* CLOCK_REALTIME, of an instant of CLOCK_MONOTONIC that has just been. */
static inline uint64_t server_wall_ns(struct server *srv, uint64_t now_ns)
{
	if (now_ns >= srv->second_end_ns)
		server_begin_second(srv);
	return now_ns + srv->wall_offset_ns;
}

/* server_leave.c */
void server_retry_giving(struct timer *t);

#endif
