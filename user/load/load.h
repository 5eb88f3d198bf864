/* SPDX-License-Identifier: MIT */
/*
 * `sluice load`: requests at a server, and how long they took.  Several processes, each with an epoll loop of its own, write
 * what they count into shared memory; the parent shows it and sums it up.
 *
 * With a rate the loop is open: each request is due at an instant that does not depend on how the server does, and its time
 * counts from then, so what waits for a free connection is not left out (coordinated omission).  Without, the loop is
 * closed: each connection asks again when it has its answer.
 */
#ifndef SLUICE_PROC_LOAD_H
#define SLUICE_PROC_LOAD_H

#include <jansson.h>
#include <stdio.h>

#include "base/hist.h"
#include "http/message.h"

#define LOAD_KINDS_MAX	   16	/* kinds of request */
#define LOAD_PROCESSES_MAX 64
#define LOAD_PIPELINE_MAX  64
#define LOAD_HEADERS_MAX   16
#define LOAD_ERROR_TEXT	   200

enum load_mode {
	LOAD_KEEPALIVE,
	LOAD_CLOSE,	/* a connection for each request */
	LOAD_HOLD,	/* each connection asks once and stays open to the end */
	LOAD_BURST,	/* all connect in one moment, ask once and close */
};

/* Why a request has no answer; each counts in one. */
#define LOAD_FAULTS(X)                                                                             \
	X(LOAD_CONNECT, "connect")		/* refused, unreachable, no descriptor or port left */     \
	X(LOAD_CLOSED, "closed")		/* the connection ended before the answer did */           \
	X(LOAD_RESET, "reset")			/* it was reset */                                         \
	X(LOAD_TIMEOUT, "timeout")                                                                 \
	X(LOAD_BAD, "bad_answer")		/* it breaks RFC 9112 */                                   \
	X(LOAD_UNSENT, "unsent")		/* due, and no connection was free until long after the end */        \
	X(LOAD_LOST, "lost")			/* held connections that the server ended */

#define X(id, text) id,
enum load_fault { LOAD_FAULTS(X) LOAD_FAULT_COUNT };
#undef X

struct load_kind {
	char *name;		/* "GET /path" */
	char *bytes;		/* the request as it is sent */
	size_t len;
	enum http_method method;
	unsigned weight;	/* its share of the requests */
};

struct load_options {
	char *url;
	char *host, *target;	/* parts of the URL; host with port as given */
	union sock_addr server;
	enum load_mode mode;
	unsigned connections;	/* open at a time, of all processes */
	unsigned processes;	/* 0: one for each usable CPU */
	unsigned pipeline;	/* requests sent together; 1 with a rate */
	unsigned sources;	/* client addresses, 127.0.0.1 and up; 1: the kernel's choice */
	double rate;		/* requests a second of all processes, 0: closed loop */
	bool is_even;		/* due at even distances, else at random ones (Poisson) */
	uint64_t duration_ns, warmup_ns, timeout_ns;
	struct load_kind kinds[LOAD_KINDS_MAX];
	unsigned kind_count, weight_sum;
	/* What kinds are made of; the texts stay the caller's. */
	const char *method, *mix, *headers[LOAD_HEADERS_MAX];
	unsigned header_count;
	uint64_t body;		/* bytes */
};

/* What one process counts: shared memory, one writer. */
struct load_share {
	uint64_t answered, statuses[6];	/* within the measured time */
	uint64_t faults[LOAD_FAULT_COUNT];
	uint64_t measured_ns;		/* the time that counts: less than wanted when it was interrupted */
	uint64_t bytes_in;
	uint64_t connects;		/* connections made */
	uint64_t all_answered;		/* warm-up included, for the progress */
	uint64_t kind_answered[LOAD_KINDS_MAX];
	uint64_t open;			/* connections at the moment */
	struct hist latency_ns, connect_ns;
	struct hist late_ns;		/* from due to sent: waiting for a connection, and our own delay */
	struct hist kind_ns[LOAD_KINDS_MAX];
};

extern const char *const load_fault_names[LOAD_FAULT_COUNT];

/* load_keys.c */
void load_options_init(struct load_options *o);
void load_options_fini(struct load_options *o);
/* "http://HOST[:PORT][/PATH]".  This and the next: 0, or -errno with a sentence in `error`. */
int load_options_url(struct load_options *o, const char *url, char error[LOAD_ERROR_TEXT]);
int load_options_set(struct load_options *o, const char *assignment, char error[LOAD_ERROR_TEXT]);
/* Everything is set: checks what belongs together, makes the requests. */
int load_options_finish(struct load_options *o, char error[LOAD_ERROR_TEXT]);
void load_keys_print(FILE *out);
const char *load_mode_name(enum load_mode mode);

/* load_worker.c: one process, until all is over; `slice` is its number. */
int load_worker_run(const struct load_options *o, unsigned slice, uint64_t start_ns, struct load_share *share);

/* load_run.c: `progress` gets a line each second; NULL: none.  0, or -errno with a sentence. */
int load_run(const struct load_options *o, FILE *progress, struct load_share *ret_sum, char error[LOAD_ERROR_TEXT]);

/* load_report.c */
void load_print(const struct load_options *o, const struct load_share *sum, FILE *out);
/* NULL without memory. */
json_t *load_json(const struct load_options *o, const struct load_share *sum);
void load_plot(const struct load_options *o, const struct load_share *sum, FILE *out);

#endif
