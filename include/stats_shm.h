/* SPDX-License-Identifier: MIT */
/*
 * The statistics segment: shared memory made by the master before it forks; each generation has one with a block for
 * each of its slots, written only by the worker of that slot, read by the master.  A worker that follows one that died
 * goes on counting where that stopped.  What the master shows of a slot is the sum over all generations, those that are
 * gone included: it only grows over the life of the server, upgrades included, so readers may compute rates.  A new
 * counter goes into the table of user/proc/stats.c too.
 */
#ifndef SLUICE_STATS_SHM_H
#define SLUICE_STATS_SHM_H

#include <stdint.h>

/* lint: the histogram has no system and no process in it, only numbers */
#include "base/hist.h"

/* Why a connection was closed; every close counts in exactly one. */
#define CLOSE_REASONS(X)                                                                           \
	X(CLOSE_DONE, "done")				/* last response sent, Connection: close */    \
	X(CLOSE_CLIENT, "client")			/* client closed between requests */           \
	X(CLOSE_CLIENT_ABORT, "client_abort")		/* client closed or reset within a request */  \
	X(CLOSE_IDLE, "idle")				/* keep-alive timeout */                       \
	X(CLOSE_HEADER_TIMEOUT, "header_timeout")	/* request head not complete in time */        \
	X(CLOSE_BODY_TIMEOUT, "body_timeout")		/* request body not in time */                 \
	X(CLOSE_WRITE_TIMEOUT, "write_timeout")	/* client does not read */                     \
	X(CLOSE_BAD_REQUEST, "bad_request")		/* 4xx/5xx of the guard or parser */           \
	X(CLOSE_MAX_REQUESTS, "max_requests")		/* requests per connection reached */          \
	X(CLOSE_MAX_AGE, "max_age")			/* age of a connection reached */              \
	X(CLOSE_REBALANCE, "rebalance")		/* asked to come back and be steered anew */   \
	X(CLOSE_DRAIN, "drain")			/* server is stopping */                       \
	X(CLOSE_MEMORY, "memory")			/* no memory for it */                         \
	X(CLOSE_IO_ERROR, "io_error")			/* other error of the socket or a file */      \
	X(CLOSE_REFUSED, "refused")			/* no descriptors are left: answered by 503, or idle */ \
	X(CLOSE_CLIENT_CONNECTIONS, "client_connections") /* its client has too many: answered by 429 */ \
	X(CLOSE_TOTAL_CONNECTIONS, "total_connections")	/* there are too many: answered by 503 */      \
	X(CLOSE_HEADER_RATE, "header_rate")		/* request head slower than the least rate */  \
	X(CLOSE_BODY_RATE, "body_rate")		/* request body slower than the least rate */  \
	X(CLOSE_WRITE_RATE, "write_rate")		/* reads slower than the least rate */         \
	X(CLOSE_PROXY_HEADER, "proxy_header")		/* no PROXY protocol header, a wrong or late one */ \
	X(CLOSE_TUNNEL, "tunnel")			/* after a 101: both sides have ended */       \
	X(CLOSE_TUNNEL_IDLE, "tunnel_idle")		/* after a 101: nothing came in time */        \
	X(CLOSE_TUNNEL_FAILED, "tunnel_failed")	/* after a 101: a side was reset */            \
	X(CLOSE_WEBSOCKET, "websocket")		/* both sides have said goodbye */             \
	X(CLOSE_WEBSOCKET_ABORT, "websocket_abort")	/* the client was gone without a goodbye */    \
	X(CLOSE_WEBSOCKET_ERROR, "websocket_error")	/* the client broke the protocol or a limit */ \
	X(CLOSE_WEBSOCKET_SILENT, "websocket_silent")	/* no answer to a ping */                      \
	X(CLOSE_EVENT_STREAM, "event_stream")		/* the client has ended a stream of events */  \
	X(CLOSE_SUBSCRIBER_SLOW, "subscriber_slow")	/* too much waited for this subscriber */      \
	X(CLOSE_SUBSCRIBER_LOST, "subscriber_lost")	/* messages were lost on their way to it */

#define X(id, text) id,
enum close_reason { CLOSE_REASONS(X) CLOSE_REASON_COUNT };
#undef X

/* Why a UDP session ended; each in exactly one. */
#define UDP_ENDS(X)                                                                                \
	X(UDP_DONE, "done")		/* the expected number of replies has come */                  \
	X(UDP_IDLE, "idle")		/* nothing came for the timeout, and the last had been answered */ \
	X(UDP_NO_REPLY, "no_reply")	/* nothing came for the timeout, and the server owed a reply */ \
	X(UDP_REFUSED, "refused")	/* as no_reply; the server had sent an ICMP error */           \
	X(UDP_DRAIN, "drain")		/* the worker ended */

/* Why a client's datagram got no further; each is echoed, forwarded, or in exactly one of these. */
#define UDP_DROPS(X)                                                                               \
	X(UDP_DROP_SESSIONS, "sessions")	/* `sessions` of this worker are open */               \
	X(UDP_DROP_TOTAL, "sessions_total")	/* `sessions_total` of all workers */                  \
	X(UDP_DROP_MEMORY, "memory")		/* none for a session, or no descriptor */             \
	X(UDP_DROP_NO_SERVER, "no_server")	/* the upstream has none that is well */               \
	X(UDP_DROP_UNREACHABLE, "unreachable")	/* every server that was tried refused it */           \
	X(UDP_DROP_BUSY, "busy")		/* the socket to the server takes no more */           \
	X(UDP_DROP_TRUNCATED, "truncated")	/* larger than a datagram can be */                    \
	X(UDP_DROP_DRAIN, "drain")		/* a new flow while the server stops */

#define X(id, text) id,
enum udp_end { UDP_ENDS(X) UDP_END_COUNT };
enum udp_drop { UDP_DROPS(X) UDP_DROP_COUNT };
#undef X

/*
 * Of listen_udp, in datagrams unless it says bytes.
 * in = echoed + forwarded + all of dropped; echoed + replies = out + held_back + send_busy + send_failed.
 */
struct udp_stats {
	uint64_t in, bytes_in;			/* from clients */
	uint64_t echoed, forwarded;
	uint64_t replies;			/* from servers */
	uint64_t out, bytes_out;		/* to clients */
	uint64_t held_back;			/* by the amplification limit */
	uint64_t send_busy, send_failed;	/* the socket's buffer was full; any other error */
	uint64_t joined, segmented;		/* came joined by the kernel (UDP_GRO); left so (UDP_SEGMENT) */
	uint64_t sessions;			/* begun */
	uint64_t server_errors;			/* ICMP errors of servers */
	uint64_t strays;			/* came to a session's socket, but not from its server */
	uint64_t ended[UDP_END_COUNT];
	uint64_t dropped[UDP_DROP_COUNT];
};

/* Of WebSockets, streams of events and channels. */
#define STATS_WEBSOCKET(X)                                                                         \
	X(connections)	/* open now, streams included */                                           \
	X(opened)	/* handshakes done, streams included */                                    \
	X(streams)	/* of those, streams of events */                                          \
	X(refused)	/* handshakes and messages by POST that were not let in */                 \
	X(messages_in)	/* of clients, by WebSocket */                                             \
	X(published)	/* by POST */                                                              \
	X(messages_out)                                                                            \
	X(bytes_in)                                                                                \
	X(bytes_out)                                                                               \
	X(pings)	/* sent */                                                                 \
	X(failed)	/* connections whose client broke the protocol or a limit */               \
	X(timeouts)	/* no answer to a ping, nothing taken in time */                           \
	X(slow)		/* subscribers closed because too much waited for them */                  \
	X(lost)		/* messages of other workers that were overwritten before they were read */\
	X(told_lost)	/* subscribers closed for that */                                          \
	X(remote_channels)	/* gauge: subscribed to at Redis servers */                        \
	X(remote_in)	/* messages of other hosts, and of other programs there */                 \
	X(remote_out)	/* published there */                                                      \
	X(remote_failed)	/* not published there, or nobody knows */                         \
	X(remote_lost)	/* of other hosts, missing by their serial numbers */                      \
	X(remote_late)	/* ... that came twice, or behind a later one: dropped */                  \
	X(remote_refused)	/* ... that were too long, or no message at all */                 \
	X(remote_gaps)	/* times a subscription there was lost */

struct stats_websocket {
#define X(name) uint64_t name;
	STATS_WEBSOCKET(X)
#undef X
};

/* What a worker did at Redis servers; the last three are gauges, of what there is at the moment. */
#define STATS_REDIS(X)                                                                             \
	X(commands)		/* sent for requests */                                            \
	X(errors)		/* answered by an error of the server */                           \
	X(refused)		/* requests that the route does not allow */                       \
	X(timeouts)		/* no answer in time */                                            \
	X(down)			/* no connection */                                                \
	X(lost)			/* the connection was lost before the answer */                    \
	X(too_large)		/* an answer was larger than allowed */                            \
	X(queue_full)		/* too many waited */                                              \
	X(connects)		/* connections made */                                             \
	X(connect_failures)	/* not made, or not taken into use */                              \
	X(messages)		/* of channels, as they came in */                                 \
	X(streams)		/* requests that became a stream of messages */                    \
	X(streams_dropped)	/* ... that were closed because the client did not read */         \
	X(connections)		/* gauge: in use */                                                \
	X(channels)		/* gauge: subscribed to */                                         \
	X(subscribers)		/* gauge: streams that are open */

#define X(name) uint64_t name;
struct stats_redis {
	STATS_REDIS(X)
};
#undef X

struct stats_block {
	uint64_t accepted;			/* connections */
	uint64_t requests;			/* requests answered, whatever the status */
	uint64_t status[6];			/* by class: [2] counts 2xx; [0] answered by nobody (aborted) */
	uint64_t bytes_in;			/* bytes of requests read from sockets */
	uint64_t bytes_out;			/* bytes of responses written to sockets */
	uint64_t closed[CLOSE_REASON_COUNT];
	uint64_t accept_errors;			/* accept failed for want of descriptors or memory */
	uint64_t accept_pauses;			/* times accepting was paused */
	uint64_t stalls;			/* written by the master: times the worker was found stalled */
	uint64_t stall_kills;			/* written by the master: times it was killed for it */
	uint64_t rescued;			/* connections taken from the queues of stalled siblings */
	uint64_t restarts;			/* written by the master: workers of this slot that died */
	uint64_t stale_events;
	uint64_t log_lost;			/* access log lines dropped: the disk refused */
	uint64_t keepalive_reuses;		/* requests beyond the first of their connection */
	uint64_t moved_in, moved_out;		/* connections taken from and given to other workers */
	uint64_t timeouts;
	uint64_t rate_limited;			/* requests answered by 429: their client asks too often */
	uint64_t rate_unknown;			/* requests answered by 503: what other hosts let clients have is not known */
	uint64_t memory_refused;		/* requests answered by 503: the memory for buffers is used up */
	uint64_t sandbox_refused;		/* system calls that the worker's sandbox refused */
	struct stats_websocket websocket;
	struct stats_redis redis;
	struct udp_stats udp;
	uint32_t pid;
	uint32_t generation;			/* configuration the worker runs */
	uint32_t state;				/* enum worker_state */
	uint32_t confined;			/* CONFINED_... of the worker that runs */
	uint32_t connections;			/* open at this worker, at the end of its last turn */
	uint32_t udp_sessions;			/* open at this worker now */
	struct hist latency_us;			/* of answered requests: first byte read to reply complete */
} __attribute__((aligned(64)));

/* What holds a process, all of it set by itself before it serves. */
#define CONFINED_NO_NEW_PRIVS 1u
#define CONFINED_SECCOMP      2u
#define CONFINED_LANDLOCK     4u

enum worker_state { WORKER_DOWN, WORKER_STARTING, WORKER_RUNNING, WORKER_DRAINING };

#endif
