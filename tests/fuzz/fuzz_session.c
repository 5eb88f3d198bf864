/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: a whole session, from bytes of a client to bytes for it, with handlers that answer at once, late, by
 * pieces, a lot, or give up.  The first two bytes say where the pieces end and how the client behaves.
 *
 * - what comes out is a row of responses as our own parser of responses takes them, in the order of the log, with its
 *   statuses; nothing stands behind the last;
 * - the final responses, and how the connection ends, do not depend on the pieces;
 * - a session that waits has a timer, unless its handler is to move; one between requests has no exchange;
 * - nothing is left in the pools.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "http/response.h"
#include "http/session.h"

#define OUT_MAX	    (4u << 20)
#define ENTRIES_MAX 512u
#define TURNS_MAX   4000u
#define BIG_LEN	    300000u

enum { HALF_CLOSES = 1, READS_LATE = 2, LEAVES = 4 };

struct run {
	char *out;
	size_t out_len;
	bool has_ended, has_ended_itself;
	unsigned entry_count;
	struct {
		enum http_method method;
		unsigned status;
	} entries[ENTRIES_MAX];
	struct buf finals;	/* "status length crc " of each whole final response */
	char finals_memory[ENTRIES_MAX * 40];
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct parse_limits response_limits = {2000, 16384, 100, UINT64_MAX};
static char big[BIG_LEN];
static struct site_table *sites;
static struct reply *pending;
static struct loop loop;
static struct server server;
static struct stats_block stats;
static struct run whole, cut;

static void on_path(struct request *req, struct reply *r, void *conf)
{
	reply_begin(r, req->path.len);
	reply_write(r, req->path.ptr, req->path.len);
	reply_end(r);
}

static void on_later(struct request *req, struct reply *r, void *conf)
{
	pending = r;
}

static void on_abort(struct request *req, struct reply *r)
{
	pending = NULL;
}

static void on_upload(struct request *req, struct reply *r, void *conf)
{
	if (req->framing == BODY_NONE)
		reply_status_page(r, 411);
}

static void on_upload_body(struct request *req, struct reply *r, struct span data, bool is_last)
{
	r->ctx = (void *)((uintptr_t)r->ctx + data.len);
	if (!is_last)
		return;
	reply_addf(r, SPAN("X-Bytes"), "%zu", (size_t)(uintptr_t)r->ctx);
	reply_begin(r, REPLY_LENGTH_UNKNOWN);
	reply_write(r, "some", 4);
	reply_write(r, "more", 4);
	reply_end(r);
}

static void on_big(struct request *req, struct reply *r, void *conf)
{
	reply_begin(r, BIG_LEN);
	reply_write_held(r, span_of(big, BIG_LEN), NULL);
	reply_end(r);
}

static void on_giving_up(struct request *req, struct reply *r, void *conf)
{
	reply_begin(r, 100);
	reply_write(r, "only this", 9);
	reply_abort(r);
}

static const struct {
	const char *prefix;
	struct handler_ops ops;
} routes[] = {
	{"/", {.name = "path", .on_request = on_path}},
	{"/l", {.name = "later", .on_request = on_later, .on_abort = on_abort}},
	{"/u", {.name = "upload", .on_request = on_upload, .on_body = on_upload_body, .takes_any_method = true}},
	{"/b", {.name = "big", .on_request = on_big}},
	{"/g", {.name = "up", .on_request = on_giving_up}},
};

static void on_done(struct server *srv, const struct access_entry *e)
{
	struct run *r = srv->owner;

	BUG_ON(!e->reason || !*e->reason || !e->req);
	if (r->entry_count == ENTRIES_MAX)
		return;
	r->entries[r->entry_count].method = e->req->method;
	r->entries[r->entry_count++].status = e->status;
}

static void open_all(void)
{
	const char *name = "*";
	struct site *site;

	sites = site_table_new();
	BUG_ON(site_add(sites, &name, 1, &site));
	for (unsigned i = 0; i < ARRAY_LEN(routes); i++)
		BUG_ON(site_add_route(site, span_str(routes[i].prefix), &routes[i].ops, NULL, NULL));
	site_table_seal(sites);
	for (unsigned i = 0; i < BIG_LEN; i++)
		big[i] = (char)(i * 31);
	whole.out = malloc(OUT_MAX);
	cut.out = malloc(OUT_MAX);
	BUG_ON(!whole.out || !cut.out || loop_init(&loop));
	server = (struct server){
		.loop = &loop,
		.stats = &stats,
		.sites = sites,
		.parse = {.request_line_max = 300, .head_max = 1000, .field_max = 10, .body_max = 2000},
		.timeouts = {.header = 60000, .body = 60000, .keepalive = 60000, .write = 60000, .linger = 60000},
		.max_requests = 100,
		.on_request_done = on_done,
	};
	server_init(&server, "fuzz");
}

/* What was written, as a client reads it -------------------------------------------------------------------------- */

static uint32_t sum_of(uint32_t sum, struct span data)
{
	for (size_t i = 0; i < data.len; i++)
		sum = sum * 31 + (unsigned char)data.ptr[i];
	return sum;
}

/* One response off the front of *in.  False: it is not whole. */
static bool take_response(struct run *r, unsigned entry, struct span *in)
{
	static struct response res;
	struct response_parser p;
	uint32_t sum = 0;
	struct span data;
	enum parse_state state;
	size_t len, before;

	response_init(&p, &response_limits);
	do {
		response_reset(&p, &res, r->entries[entry].method);
		state = response_head(&p, in->ptr, in->len, &len);
		BUG_ON(state == PARSE_FAIL);
		if (state != PARSE_DONE)
			return false;
		*in = span_of(in->ptr + len, in->len - len);
	} while (res.status == 100);
	BUG_ON(res.status != r->entries[entry].status);
	before = in->len;
	while ((state = response_body(&p, in, &data)) == PARSE_DATA)
		sum = sum_of(sum, data);
	BUG_ON(state == PARSE_FAIL);
	/* For HTTP/1.0, where nothing can follow. */
	if (state != PARSE_DONE && res.framing == BODY_UNTIL_CLOSE)
		BUG_ON(in->len || entry + 1 != r->entry_count || !r->has_ended);
	else if (state != PARSE_DONE)
		return false;
	buf_printf(&r->finals, "%u %zu %x ", res.status, before - in->len, sum);
	return true;
}

static void check_output(struct run *r)
{
	struct span in = span_of(r->out, r->out_len);

	buf_init(&r->finals, r->finals_memory, sizeof(r->finals_memory));
	for (unsigned i = 0; i < r->entry_count; i++) {
		if (r->entries[i].status && take_response(r, i, &in))
			continue;
		/* One that was given up: nothing follows it, and the connection is gone. */
		BUG_ON(i + 1 != r->entry_count || !r->has_ended);
		return;
	}
	BUG_ON(in.len);
}

/* Running --------------------------------------------------------------------------------------------------------- */

static void check_waits(void)
{
	struct list *lists[] = {&server.idle, &server.active};

	for (unsigned i = 0; i < ARRAY_LEN(lists); i++) {
		list_for_each(node, lists[i])
		{
			struct session *s = container_of(node, struct session, node);
			bool is_handlers = pending && s->state == SESSION_ACTIVE;

			BUG_ON(s->state == SESSION_IDLE && s->exchange && list_is_empty(&s->job.node));
			BUG_ON(!is_handlers && !timer_is_active(&s->timer) && list_is_empty(&s->job.node));
		}
	}
}

static void drain(struct run *r, int client)
{
	ssize_t n;

	while ((n = recv(client, r->out + r->out_len, OUT_MAX - r->out_len, MSG_DONTWAIT)) > 0)
		r->out_len += (size_t)n;
	r->has_ended |= n == 0 || (n < 0 && errno != EAGAIN);
}

static void turn(void)
{
	BUG_ON(loop_turn(&loop, 0) < 0);
	check_waits();
	if (pending) {
		struct reply *late = pending;

		pending = NULL;
		reply_begin(late, 4);
		reply_write(late, "late", 4);
		reply_end(late);
	}
}

/* Until nothing moves any more: no answer, no event, no job. */
static void settle(struct run *r, int client, bool is_reading)
{
	for (unsigned i = 0, quiet = 0; i < TURNS_MAX && quiet < 3; i++) {
		uint64_t events = loop.event_count;
		size_t before = r->out_len;
		bool is_late = pending;

		turn();
		if (is_reading)
			drain(r, client);
		quiet = events == loop.event_count && before == r->out_len && list_is_empty(&loop.again) && !is_late ?
				quiet + 1 : 0;
	}
}

static void send_all(struct run *r, int client, const uint8_t *data, size_t size, size_t piece, unsigned flags)
{
	for (size_t at = 0; at < size;) {
		ssize_t n = send(client, data + at, MIN(piece, size - at), MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN)
			return;
		at += n > 0 ? (size_t)n : 0;
		turn();
		if (!(flags & READS_LATE) || n < 0)
			drain(r, client);
	}
}

static void run(struct run *r, const uint8_t *data, size_t size, size_t piece, unsigned flags)
{
	union sock_addr peer = {.v4 = {.sin_family = AF_INET}};
	int fds[2];

	r->out_len = r->entry_count = 0;
	r->has_ended = false;
	server.owner = r;
	pending = NULL;
	BUG_ON(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds));
	BUG_ON(server_add(&server, fds[1], &peer, false));
	send_all(r, fds[0], data, size, piece, flags);
	if (!(flags & LEAVES)) {
		settle(r, fds[0], !(flags & READS_LATE));
		if (flags & HALF_CLOSES)
			shutdown(fds[0], SHUT_WR);
		settle(r, fds[0], true);
		check_waits();
		BUG_ON(flags & HALF_CLOSES && !r->has_ended);
		r->has_ended_itself = r->has_ended;
		server_close_all(&server, CLOSE_DRAIN);
		drain(r, fds[0]);
	}
	close(fds[0]);
	settle(r, -1, false);
	server_close_all(&server, CLOSE_DRAIN);
	loop_turn(&loop, 0);
	BUG_ON(server.session_count || server.sessions.used_count || server.exchanges.used_count ||
	       server.buffers.used_count || pending);
	if (!(flags & LEAVES))
		check_output(r);
}

/*
 * A client that waits for 100 (Continue) and gets an error is not waited for: the connection ends, unless its content has
 * come already (RFC 9110 10.1.1).  So how much of the stream is answered depends on the pieces then.
 */
static bool has_expectation(const uint8_t *data, size_t size)
{
	static const char word[] = "expect";

	for (size_t at = 0; at + sizeof(word) - 1 <= size; at++)
		if (strncasecmp((const char *)data + at, word, sizeof(word) - 1) == 0)
			return true;
	return false;
}

static bool is_the_same(const uint8_t *data, size_t size)
{
	struct span a = buf_span(&whole.finals), b = buf_span(&cut.finals);

	if (has_expectation(data, size))
		return span_starts_with(a, b) || span_starts_with(b, a);
	return span_eq(a, b) && whole.has_ended_itself == cut.has_ended_itself;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned flags;

	if (size < 3 || size > 4096)
		return 0;
	if (!sites)
		open_all();
	flags = data[0] & 7;
	run(&whole, data + 2, size - 2, size, flags & HALF_CLOSES);
	run(&cut, data + 2, size - 2, 1 + data[1], flags);
	if (flags & LEAVES)
		return 0;
	if (!is_the_same(data + 2, size - 2)) {
		fprintf(stderr, "whole: %.*s\ncut:   %.*s\n", SPAN_ARG(buf_span(&whole.finals)),
			SPAN_ARG(buf_span(&cut.finals)));
		abort();
	}
	return 0;
}
