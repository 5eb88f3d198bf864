/* SPDX-License-Identifier: MIT */
/* HTTP/1 sessions over real sockets, with handlers of the test's own. */
#include <arpa/inet.h>

#include "session_fixture.h"

/* Handlers ---------------------------------------------------------------------------------------------------- */

static struct {
	unsigned requests, aborts, body_bytes, body_ends;
	struct reply *pending;
} seen;

static void on_hello(struct request *req, struct reply *r, void *conf)
{
	seen.requests++;
	reply_begin(r, 5);
	reply_write(r, "hello", 5);
	reply_end(r);
}

/* Answers with the path: shows which request a reply belongs to. */
static void on_echo_path(struct request *req, struct reply *r, void *conf)
{
	seen.requests++;
	reply_add(r, SPAN("X-Path"), req->path);
	reply_begin(r, req->path.len);
	reply_write(r, req->path.ptr, req->path.len);
	reply_end(r);
}

static void on_unsized(struct request *req, struct reply *r, void *conf)
{
	reply_begin(r, REPLY_LENGTH_UNKNOWN);
	reply_write(r, "abc", 3);
	reply_write(r, "defg", 4);
	reply_end(r);
}

static void on_later(struct request *req, struct reply *r, void *conf)
{
	seen.pending = r;
}

static void on_abort(struct request *req, struct reply *r)
{
	seen.aborts++;
	seen.pending = NULL;
}

static void on_upload(struct request *req, struct reply *r, void *conf)
{
	seen.requests++;
	reply_add(r, SPAN("X-Upload"), SPAN("yes"));
	if (req->framing == BODY_NONE) {
		reply_status_page(r, 411);
		return;
	}
	seen.body_bytes = 0;
}

static void on_upload_body(struct request *req, struct reply *r, struct span data, bool is_last)
{
	seen.body_bytes += (unsigned)data.len;
	if (!is_last)
		return;
	seen.body_ends++;
	reply_addf(r, SPAN("X-Bytes"), "%u", seen.body_bytes);
	reply_begin(r, 0);
	reply_end(r);
}

static char big[1 << 22];

static void on_big(struct request *req, struct reply *r, void *conf)
{
	reply_begin(r, sizeof(big));
	reply_write_held(r, span_of(big, sizeof(big)), NULL);
	reply_end(r);
}

static void on_short(struct request *req, struct reply *r, void *conf)
{
	reply_begin(r, 100);
	reply_write(r, "only this", 9);
	reply_end(r);
}

static void on_giving_up(struct request *req, struct reply *r, void *conf)
{
	reply_begin(r, REPLY_LENGTH_UNKNOWN);
	reply_write(r, "some", 4);
	reply_abort(r);
}

static void on_endless(struct request *req, struct reply *r, void *conf)
{
	reply_begin(r, REPLY_LENGTH_UNKNOWN);
}

static void on_endless_more(struct request *req, struct reply *r)
{
	reply_write_held(r, span_of(big, sizeof(big)), NULL);
}

static const struct handler_ops hello_ops = { .name = "hello", .on_request = on_hello };
static const struct handler_ops path_ops = { .name = "path", .on_request = on_echo_path };
static const struct handler_ops unsized_ops = { .name = "unsized", .on_request = on_unsized };
static const struct handler_ops later_ops = {
	.name = "later", .on_request = on_later, .on_abort = on_abort
};
static const struct handler_ops upload_ops = {
	.name = "upload", .on_request = on_upload, .on_body = on_upload_body, .on_abort = on_abort
};
static const struct handler_ops big_ops = { .name = "big", .on_request = on_big };
static const struct handler_ops short_ops = { .name = "short", .on_request = on_short };
static const struct handler_ops giving_up_ops = {
	.name = "up", .on_request = on_giving_up, .on_abort = on_abort
};
static const struct handler_ops endless_ops = {
	.name = "endless", .on_request = on_endless, .on_writable = on_endless_more
};

/* Sends back what comes, and wants no more of it before that is gone. */
static void on_mirror(struct request *req, struct reply *r, void *conf)
{
	reply_begin(r, REPLY_LENGTH_UNKNOWN);
}

static void on_mirror_body(struct request *req, struct reply *r, struct span data, bool is_last)
{
	reply_write(r, data.ptr, data.len);
	if (is_last)
		reply_end(r);
	else
		reply_pause_body(r, true);
}

static void on_mirror_writable(struct request *req, struct reply *r)
{
	reply_pause_body(r, false);
}

static const struct handler_ops mirror_ops = {
	.name = "mirror", .on_request = on_mirror, .on_body = on_mirror_body, .on_writable = on_mirror_writable
};

/* What a handler that relays does: takes content when it likes, answers in its own words, takes the connection. */
static struct {
	struct reply *reply;
	char body[4096];
	unsigned body_len, pauses, detached_events, detached_aborts, detached_leaves;
	bool has_last;
	bool pauses_itself;	/* with each piece that it gets */
	bool closes_at_once;	/* what it was given */
	struct detached detached;
	char early[64];
	int pipe[2];
	size_t spliced;
} relay;

static void on_relay(struct request *req, struct reply *r, void *conf)
{
	relay.reply = r;
	r->wants_pause_note = true;
	reply_pause_body(r, true);
}

static void on_relay_body(struct request *req, struct reply *r, struct span data, bool is_last)
{
	assert_true(relay.body_len + data.len <= sizeof(relay.body));
	if (data.len)
		memcpy(relay.body + relay.body_len, data.ptr, data.len);
	relay.body_len += (unsigned)data.len;
	relay.has_last = is_last;
	r->wants_pause_note = true;
	if (relay.pauses_itself)
		reply_pause_body(r, true);
}

static void on_relay_pause(struct request *req, struct reply *r)
{
	relay.pauses++;
}

static void on_relay_ready(struct request *req, struct reply *r)
{
	ssize_t n = reply_splice_body(r, relay.pipe[1], 65536);

	relay.spliced += n > 0 ? (size_t)n : 0;
	if (relay.pauses_itself)
		reply_pause_body(r, true);
}

static uint64_t relay_body_max(const void *conf)
{
	return 1 << 30;
}

static void on_detached_ready(void *ctx)
{
	relay.detached_events++;
}

static uint64_t on_detached_abort(void *ctx)
{
	relay.detached_aborts++;
	return 7;
}

static const struct detached_ops detached_ops = {
	.on_ready = on_detached_ready, .on_abort = on_detached_abort
};

static void *on_detached(void *ctx, const struct detached *d)
{
	relay.detached = *d;
	snprintf(relay.early, sizeof(relay.early), "%.*s", SPAN_ARG(d->early));
	if (relay.closes_at_once)
		d->close(d->handle, CLOSE_TUNNEL, 3);
	return ctx;
}

static const struct handler_ops relay_ops = {
	.name = "relay",
	.on_request = on_relay,
	.on_body = on_relay_body,
	.on_body_pause = on_relay_pause,
	.on_body_ready = on_relay_ready,
	.on_abort = on_abort,
	.body_max = relay_body_max,
	.takes_any_method = true,
	.relays_continue = true,
};

static struct site_table *sites;
static struct fixture f;

static int open_all(void **state)
{
	static const struct {
		const char *prefix;
		const struct handler_ops *ops;
	} routes[] = {
		{ "/", &path_ops },	  { "/hello", &hello_ops },   { "/unsized", &unsized_ops },
		{ "/later", &later_ops }, { "/upload", &upload_ops }, { "/big", &big_ops },
		{ "/short", &short_ops }, { "/up", &giving_up_ops },
		{ "/endless", &endless_ops }, { "/relay", &relay_ops },
		{ "/mirror", &mirror_ops },
	};
	const char *name = "*";
	struct site *site;

	memset(&seen, 0, sizeof(seen));
	memset(&relay, 0, sizeof(relay));
	sites = site_table_new();
	assert_int_equal(site_add(sites, &name, 1, &site), 0);
	for (unsigned i = 0; i < ARRAY_LEN(routes); i++)
		assert_int_equal(site_add_route(site, span_str(routes[i].prefix), routes[i].ops,
						NULL, NULL),
				 0);
	site_table_seal(sites);
	fixture_open(&f, sites);
	return 0;
}

static int close_all(void **state)
{
	fixture_close(&f);
	site_table_free(sites);
	return 0;
}

/* Transports of the test's own: what a socket does only with luck. */

static ssize_t read_endless(struct conn *c, void *to, size_t len)
{
	memset(to, 'x', len);
	return (ssize_t)len;
}

static ssize_t write_all(struct conn *c, const struct iovec *iov, int count, bool has_more)
{
	ssize_t sum = 0;

	for (int i = 0; i < count; i++)
		sum += (ssize_t)iov[i].iov_len;
	return sum;
}

static ssize_t write_nothing(struct conn *c, const struct iovec *iov, int count, bool has_more)
{
	return -EAGAIN;
}

static struct transport_ops fake;

/* The only session, which reads and writes by the socket where the test does not say otherwise. */
static struct session *fake_transport(void)
{
	struct list *node = list_is_empty(&f.server.idle) ? f.server.active.next : f.server.idle.next;
	struct session *s = container_of(node, struct session, node);

	fake = transport_plain;
	s->conn.transport = &fake;
	return s;
}

/* Turns without a pause until so much time has passed. */
static void spin_ms(uint64_t ms)
{
	uint64_t end = f.loop.now_ms + ms;

	while (f.loop.now_ms < end && f.server.session_count)
		loop_turn(&f.loop, 1);
}

#define REQUEST(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

/* Keep-alive, order, framing ---------------------------------------------------------------------------------- */

static void session__owns_nothing_while_idle(void **state)
{
	assert_true(sizeof(struct session) <= 400);
	for (unsigned i = 1; i <= 3; i++) {
		f.got_len = 0;
		client_say(&f, REQUEST("/hello"));
		run_until_replies(&f, 1);
		assert_int_equal(count_text(f.got, "hello"), 1);
		assert_non_null(strstr(f.got, "Content-Length: 5\r\n"));
		assert_null(strstr(f.got, "Connection:"));
		assert_int_equal(f.server.exchanges.used_count, 0);
		assert_int_equal(f.server.buffers.used_count, 0);
		assert_int_equal(f.logged, i);
	}
	assert_int_equal(f.stats.requests, 3);
	assert_int_equal(f.stats.latency_us.total_count, 3);
	assert_int_equal(f.stats.keepalive_reuses, 2);
}

/* The clock is read once a second only, so one that is set shows a second later at most: as if it were now. */
static void session__knows_the_time(void **state)
{
	char date[sizeof("Date: ") + HTTP_DATE_LEN] = "Date: ";

	for (unsigned i = 0; i < 2; i++) {
		uint64_t now_ns = clock_wall_ns();

		f.got_len = 0;
		client_say(&f, REQUEST("/hello"));
		run_until_replies(&f, 1);
		/* One more may have begun since. */
		http_date_print((int64_t)(now_ns / NS_PER_SEC), date + 6);
		if (!strstr(f.got, date))
			http_date_print((int64_t)(now_ns / NS_PER_SEC) + 1, date + 6);
		assert_non_null(strstr(f.got, date));
		assert_true(f.last_wall_ns >= now_ns - NS_PER_MS);
		assert_true(f.last_wall_ns <= clock_wall_ns() + NS_PER_MS);
		f.server.wall_offset_ns -= 3600 * NS_PER_SEC;
		f.server.ok_head_len = 0;
		f.server.second_end_ns = f.loop.now_ns;
	}
}

/* It is printed once; a link-local address with its scope may be longer than what is kept. */
static void session__logs_who_asked(void **state)
{
	static const struct {
		const char *address;
		unsigned scope;
		const char *text;
	} rows[] = { { "::ffff:192.0.2.1", 0, "192.0.2.1" },
		     { "2001:db8:1111:2222:3333:4444:5555:6666", 0, "2001:db8:1111:2222:3333:4444:5555:6666" },
		     { "fe80::1111:2222:3333:4444", 4294967295, "fe80::1111:2222:3333:4444%4294967295" },
		     { "fe80:1111:2222:3333:4444:5555:6666:7777", 42, "fe80:1111:2222:3333:4444:5555:6666:7777%42" } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct session *s = container_of(f.server.idle.next, struct session, node);

		s->conn.peer = (union sock_addr){ .v6 = { .sin6_family = AF_INET6, .sin6_scope_id = rows[i].scope } };
		assert_int_equal(inet_pton(AF_INET6, rows[i].address, &s->conn.peer.v6.sin6_addr), 1);
		s->peer_text_len = 0;
		for (unsigned k = 0; k < 2; k++) {
			f.got_len = 0;
			client_say(&f, REQUEST("/hello"));
			run_until_replies(&f, 1);
			assert_string_equal(f.last_peer, rows[i].text);
		}
		assert_int_equal(s->peer_text_len, strlen(rows[i].text) <= PEER_TEXT_SIZE ? strlen(rows[i].text) : 0);
	}
}

static void session__answers_a_pipeline_in_order_in_one_write(void **state)
{
	char text[4096] = "";
	char *at = text;

	for (unsigned i = 0; i < 16; i++)
		at += snprintf(at, 64, "GET /r%02u HTTP/1.1\r\nHost: a\r\n\r\n", i);
	client_say(&f, text);
	/* The whole batch is in the socket: one turn takes it and answers all, so the client's first read has it all. */
	loop_turn(&f.loop, 100);
	client_read(&f);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200"), 16);
	at = f.got;
	for (unsigned i = 0; i < 16; i++) {
		snprintf(text, sizeof(text), "\r\n\r\n/r%02u", i);
		at = strstr(at, text);
		assert_non_null(at);
	}
	assert_int_equal(f.loop.event_count, 1);
}

static void session__takes_a_request_byte_by_byte(void **state)
{
	static const char text[] = "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
				   "5;x=y\r\nabcde\r\n3\r\nfgh\r\n0\r\nT: v\r\n\r\n" REQUEST("/next");

	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		client_send(&f, text + i, 1);
		loop_turn(&f.loop, 0);
	}
	run_until_replies(&f, 2);
	assert_non_null(strstr(f.got, "X-Bytes: 8\r\n"));
	assert_non_null(strstr(f.got, "X-Path: /next\r\n"));
	assert_int_equal(seen.body_ends, 1);
}

static void session__frames_what_has_no_length(void **state)
{
	client_say(&f, REQUEST("/unsized") "HEAD /unsized HTTP/1.1\r\nHost: a\r\n\r\n"
				     "GET /unsized HTTP/1.0\r\n\r\n");
	run_until_end(&f);
	assert_int_equal(count_text(f.got, "Transfer-Encoding: chunked"), 2);
	assert_int_equal(count_text(f.got, "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"), 1);
	assert_non_null(strstr(f.got, "Connection: close\r\n\r\nabcdefg"));
	assert_true(f.has_end);
}

static void session__closes_and_keeps_as_the_version_says(void **state)
{
	client_say(&f, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	run_until_replies(&f, 1);
	assert_non_null(strstr(f.got, "Connection: keep-alive\r\n"));
	assert_false(f.has_end);
	client_say(&f, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	run_until_end(&f);
	assert_non_null(strstr(f.got, "Connection: close\r\n"));
	assert_int_equal(f.stats.closed[CLOSE_DONE], 1);
}

/* Empty lines behind a request: old clients send them after a body.  They make no request and cost no memory. */
static void session__is_idle_between_empty_lines(void **state)
{
	client_say(&f, REQUEST("/hello") "\r\n\r\n");
	run_until_replies(&f, 1);
	assert_int_equal(f.server.exchanges.used_count, 0);
	client_say(&f, "\r");
	loop_turn(&f.loop, 10);
	client_say(&f, "\n" REQUEST("/hello"));
	run_until_replies(&f, 2);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200"), 2);
	client_say(&f, "\r\n");
	shutdown(f.client, SHUT_WR);
	run_until_end(&f);
	assert_int_equal(f.logged, 2);
	assert_int_equal(f.stats.closed[CLOSE_CLIENT], 1);
}

static void session__is_not_kept_by_empty_lines(void **state)
{
	uint64_t end = f.loop.now_ms + 1000;

	while (f.loop.now_ms < end && !f.has_end) {
		client_say(&f, "\r\n");
		loop_turn(&f.loop, 5);
		client_read(&f);
	}
	assert_true(f.has_end);
	assert_int_equal(f.stats.closed[CLOSE_IDLE], 1);
}

/* Bodies ------------------------------------------------------------------------------------------------------ */

static void session__drains_a_body_nobody_wants(void **state)
{
	char body[70000];

	memset(body, 'b', sizeof(body));
	client_say(&f, "POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n");
	client_send(&f, body, sizeof(body));
	client_say(&f, REQUEST("/after"));
	run_until_replies(&f, 2);
	assert_non_null(strstr(f.got, "X-Path: /after\r\n"));
}

static void session__continues_who_waits_for_it(void **state)
{
	client_say(&f, "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
		       "Expect: 100-continue\r\n\r\n");
	run_until_replies(&f, 1);
	assert_string_equal(f.got, "HTTP/1.1 100 Continue\r\n\r\n");
	client_say(&f, "data");
	run_until_replies(&f, 2);
	assert_non_null(strstr(f.got, "X-Bytes: 4\r\n"));
	assert_false(f.has_end);
}

static void session__refuses_a_body_that_is_too_long(void **state)
{
	client_say(&f, "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n");
	run_until_end(&f);
	assert_non_null(strstr(f.got, "HTTP/1.1 413 "));
	assert_int_equal(seen.requests, 0);
	assert_int_equal(f.stats.closed[CLOSE_BAD_REQUEST], 1);
}

/* The reply to an upload that goes on must arrive, not be destroyed by a reset. */
static void session__lingers_for_an_upload_it_refused(void **state)
{
	char chunk[65536];

	memset(chunk, 'x', sizeof(chunk));
	client_say(&f, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n");
	for (unsigned i = 0; i < 20; i++) {
		client_send(&f, chunk, sizeof(chunk));
		loop_turn(&f.loop, 0);
	}
	run_until_end(&f);
	assert_non_null(strstr(f.got, "HTTP/1.1 400 "));
	assert_true(f.has_end);
	assert_false(f.has_reset);
}

/* All of it is here, with the end of the client's side behind it: still no reset. */
static void session__lingers_for_a_client_that_has_ended(void **state)
{
	static char text[600000];

	memset(text, 'x', sizeof(text));
	memcpy(text, "no http\r\n", 9);
	client_send(&f, text, sizeof(text));
	shutdown(f.client, SHUT_WR);
	run_until_end(&f);
	assert_non_null(strstr(f.got, "HTTP/1.1 400 "));
	assert_true(f.has_end);
	assert_false(f.has_reset);
	assert_int_equal(f.stats.closed[CLOSE_BAD_REQUEST], 1);
	assert_int_equal(f.stats.bytes_in, sizeof(text));
}

/* A client that floods without end is not listened to for ever. */
static void session__lingers_only_so_long(void **state)
{
	f.server.timeouts.linger = 2;
	client_say(&f, "no http\r\n");
	fake_transport();
	fake.read = read_endless;
	spin_ms(1000);
	assert_int_equal(f.server.session_count, 0);
	assert_int_equal(f.stats.closed[CLOSE_BAD_REQUEST], 1);
}

static void session__refuses_broken_chunks_after_the_handler_began(void **state)
{
	client_say(&f, "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		       "5\r\nabcdeXX");
	run_until_end(&f);
	assert_non_null(strstr(f.got, "HTTP/1.1 400 "));
	assert_int_equal(seen.aborts, 1);
	assert_int_equal(seen.body_ends, 0);
}

/* The client's end --------------------------------------------------------------------------------------------- */

static void session__answers_after_a_half_close(void **state)
{
	client_say(&f, REQUEST("/hello") REQUEST("/big"));
	shutdown(f.client, SHUT_WR);
	run_until_end(&f);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200"), 2);
	assert_int_equal(f.server.session_count, 0);
}

static void session__tells_the_handler_once_that_the_client_is_gone(void **state)
{
	struct linger hard = { 1, 0 };

	client_say(&f, REQUEST("/later"));
	for (unsigned i = 0; i < 10 && !seen.pending; i++)
		loop_turn(&f.loop, 10);
	assert_non_null(seen.pending);
	setsockopt(f.client, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(f.client);
	f.client = -1;
	for (unsigned i = 0; i < 10 && f.server.session_count; i++)
		loop_turn(&f.loop, 10);
	assert_int_equal(seen.aborts, 1);
	assert_int_equal(f.server.session_count, 0);
	assert_int_equal(f.stats.closed[CLOSE_CLIENT_ABORT], 1);
	assert_string_equal(f.last_reason, "client_abort");
}

static void session__sends_what_a_handler_answers_later(void **state)
{
	client_say(&f, REQUEST("/later") REQUEST("/hello"));
	for (unsigned i = 0; i < 10 && !seen.pending; i++)
		loop_turn(&f.loop, 10);
	loop_turn(&f.loop, 0);
	assert_int_equal(seen.requests, 0);
	reply_begin(seen.pending, 4);
	reply_write(seen.pending, "late", 4);
	reply_end(seen.pending);
	run_until_replies(&f, 2);
	assert_non_null(strstr(f.got, "\r\n\r\nlateHTTP/1.1 200"));
}

/* A handler that answered and ran the session has woken it too: a loop that did not sleep then would run it for nothing. */
static void session__leaves_no_wake_up_behind_a_run(void **state)
{
	client_say(&f, REQUEST("/later"));
	for (unsigned i = 0; i < 10 && !seen.pending; i++)
		loop_turn(&f.loop, 10);
	reply_begin(seen.pending, 4);
	reply_write(seen.pending, "late", 4);
	reply_end(seen.pending);
	assert_false(list_is_empty(&f.loop.again));
	reply_run(seen.pending);
	assert_true(list_is_empty(&f.loop.again));
	client_read(&f);
	assert_non_null(strstr(f.got, "\r\n\r\nlate"));
}

static void session__refuses_a_head_cut_short(void **state)
{
	client_say(&f, "GET / HTTP/1.1\r\nHos");
	shutdown(f.client, SHUT_WR);
	run_until_end(&f);
	assert_non_null(strstr(f.got, "HTTP/1.1 400 "));
	assert_int_equal(f.stats.closed[CLOSE_CLIENT_ABORT], 1);
}

/* Replies that break ------------------------------------------------------------------------------------------- */

static void session__resets_when_a_reply_is_cut(void **state)
{
	client_say(&f, REQUEST("/short"));
	run_until_end(&f);
	assert_true(f.has_reset);
	assert_int_equal(f.stats.closed[CLOSE_IO_ERROR], 1);
	close(f.client);
	connect_client(&f);
	client_say(&f, REQUEST("/up"));
	run_until_end(&f);
	assert_true(f.has_reset);
	/* Who gave up by itself is not told again: it may have freed all it had. */
	assert_int_equal(seen.aborts, 0);
}

/* Replies of a batch leave together; one that is given up must not take those in front of it along. */
static void session__sends_whole_replies_before_one_that_is_cut(void **state)
{
	client_say(&f, REQUEST("/hello") REQUEST("/up"));
	run_until_end(&f);
	assert_true(f.has_reset);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200"), 2);
	assert_non_null(strstr(f.got, "\r\n\r\nhello"));
	assert_null(strstr(f.got, "\r\n0\r\n"));
}

/* Replies of a batch wait while the session is at the next head already: cut like any other. */
static void session__resets_when_a_batch_is_cut(void **state)
{
	client_say(&f, REQUEST("/hello") REQUEST("/hello") "GET /half");
	fake_transport();
	fake.writev = write_nothing;
	loop_turn(&f.loop, 100);
	assert_int_equal(f.logged, 2);
	server_close_all(&f.server, CLOSE_DRAIN);
	run_until_end(&f);
	assert_true(f.has_reset);
}

/* Timeouts ----------------------------------------------------------------------------------------------------- */

static void session__times_out_a_slow_head(void **state)
{
	client_say(&f, "GET / HTTP/1.1\r\n");
	for (unsigned i = 0; i < 20 && !f.has_end; i++) {
		loop_turn(&f.loop, 5);
		client_send(&f, "A", 1);
		client_read(&f);
	}
	run_until_end(&f);
	assert_non_null(strstr(f.got, "HTTP/1.1 408 "));
	assert_int_equal(f.stats.closed[CLOSE_HEADER_TIMEOUT], 1);
}

/* Who uses up its turn each time never waits: the timer of an earlier wait must not strike in the middle of the reply. */
static void session__sends_on_past_the_limit_of_its_head(void **state)
{
	client_say(&f, "GET /endless HTTP/1.1\r\n");
	loop_turn(&f.loop, 100);
	fake_transport();
	fake.writev = write_all;
	client_say(&f, "Host: a\r\n\r\n");
	spin_ms(3 * f.server.timeouts.header);
	assert_int_equal(f.server.session_count, 1);
	assert_int_equal(f.stats.timeouts, 0);
	assert_true(f.stats.bytes_out > sizeof(big));
}

static void session__sends_on_past_the_limit_of_idling(void **state)
{
	client_say(&f, REQUEST("/hello"));
	run_until_replies(&f, 1);
	fake_transport();
	fake.writev = write_all;
	client_say(&f, REQUEST("/endless"));
	spin_ms(3 * f.server.timeouts.keepalive);
	assert_int_equal(f.server.session_count, 1);
	assert_int_equal(f.stats.timeouts, 0);
}

static void session__times_out_a_slow_body(void **state)
{
	client_say(&f, "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
	run_until_end(&f);
	assert_non_null(strstr(f.got, "HTTP/1.1 408 "));
	assert_int_equal(seen.aborts, 1);
	/* What the handler had collected is not the error's. */
	assert_null(strstr(f.got, "X-Upload"));
	assert_int_equal(f.stats.closed[CLOSE_BODY_TIMEOUT], 1);
}

/* One byte after the other, each well within the timeout: still cut after one timeout. */
static void session__times_out_a_body_that_drips(void **state)
{
	client_say(&f, "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
	for (unsigned i = 0; i < 100 && !f.has_end && f.got_len == 0; i++) {
		struct pollfd answer = { f.client, POLLIN, 0 };

		client_send(&f, "x", 1);
		loop_turn(&f.loop, 5);
		/* A byte each 5 ms, or the answer: 100 of them outlast the timeout by far. */
		poll(&answer, 1, 5);
		client_read(&f);
	}
	run_until_end(&f);
	assert_non_null(strstr(f.got, "HTTP/1.1 408 "));
	assert_true(seen.body_bytes < 90);
	assert_int_equal(f.stats.closed[CLOSE_BODY_TIMEOUT], 1);
}

static void session__closes_the_idle_without_a_word(void **state)
{
	client_say(&f, REQUEST("/hello"));
	run_until_replies(&f, 1);
	f.got_len = 0;
	run_until_end(&f);
	assert_int_equal(f.got_len, 0);
	assert_int_equal(f.stats.closed[CLOSE_IDLE], 1);
}

static void session__gives_up_a_client_that_does_not_read(void **state)
{
	for (unsigned i = 0; i < 4; i++)
		client_say(&f, REQUEST("/big"));
	for (unsigned i = 0; i < TURNS_MAX && f.server.session_count; i++)
		loop_turn(&f.loop, 5);
	assert_int_equal(f.server.session_count, 0);
	assert_int_equal(f.stats.closed[CLOSE_WRITE_TIMEOUT], 1);
	/* Back-pressure: only the first was looked at. */
	assert_int_equal(f.logged, 1);
	client_read(&f);
	while (!f.has_end && !f.has_reset && f.got_len > 0) {
		f.got_len = 0;
		client_read(&f);
	}
	assert_true(f.has_reset);
}

/* Limits and the end ------------------------------------------------------------------------------------------- */

static void session__closes_after_its_last_request(void **state)
{
	f.server.max_requests = 2;
	client_say(&f, REQUEST("/1") REQUEST("/2") REQUEST("/3"));
	run_until_end(&f);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200"), 2);
	assert_int_equal(count_text(f.got, "Connection: close"), 1);
	assert_int_equal(f.stats.closed[CLOSE_MAX_REQUESTS], 1);
	assert_false(f.has_reset);
}

/* A request that crosses the end on the wire must not turn the last reply into a reset. */
static void session__hears_out_who_asks_after_the_last_reply(void **state)
{
	f.server.max_requests = 1;
	client_say(&f, REQUEST("/1"));
	for (unsigned i = 0; i < 10 && f.stats.requests == 0; i++)
		loop_turn(&f.loop, 10);
	client_say(&f, REQUEST("/2"));
	run_until_end(&f);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200"), 1);
	assert_true(f.has_end);
	assert_false(f.has_reset);
	assert_int_equal(f.stats.closed[CLOSE_MAX_REQUESTS], 1);
}

static void session__answers_what_is_here_when_the_server_drains(void **state)
{
	client_say(&f, REQUEST("/1"));
	run_until_replies(&f, 1);
	client_say(&f, REQUEST("/2"));
	server_drain(&f.server);
	run_until_end(&f);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200"), 2);
	assert_int_equal(count_text(f.got, "Connection: close"), 1);
	assert_false(f.has_reset);
	assert_int_equal(f.stats.closed[CLOSE_DRAIN], 1);
}

static void session__is_closed_by_a_drain_while_idle(void **state)
{
	client_say(&f, REQUEST("/1"));
	run_until_replies(&f, 1);
	server_drain(&f.server);
	assert_int_equal(f.server.session_count, 0);
	run_until_end(&f);
	assert_false(f.has_reset);
}

static void session__leaves_when_the_server_drains(void **state)
{
	client_say(&f, REQUEST("/later"));
	for (unsigned i = 0; i < 10 && !seen.pending; i++)
		loop_turn(&f.loop, 10);
	server_drain(&f.server);
	assert_int_equal(f.server.session_count, 1);
	reply_begin(seen.pending, 0);
	reply_end(seen.pending);
	run_until_end(&f);
	assert_non_null(strstr(f.got, "Connection: close"));
	assert_int_equal(f.stats.closed[CLOSE_DRAIN], 1);
}

static void session__survives_bad_bytes_after_good_requests(void **state)
{
	client_say(&f, REQUEST("/hello") REQUEST("/hello") "\x16\x03\x01\x02 no http");
	run_until_end(&f);
	assert_int_equal(count_text(f.got, "HTTP/1.1 200"), 2);
	assert_int_equal(count_text(f.got, "HTTP/1.1 400"), 1);
	assert_int_equal(f.stats.status[4], 1);
}

/* Relaying ---------------------------------------------------------------------------------------------------- */

static void session__leaves_content_to_who_wants_none_now(void **state)
{
	client_say(&f, "POST /relay HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
	spin_ms(20);
	assert_int_equal(relay.body_len, 0);
	/* Paused for longer than a body may take: it is not the client who is slow. */
	spin_ms(60);
	assert_int_equal(f.stats.timeouts, 0);
	reply_pause_body(relay.reply, false);
	spin_ms(10);
	assert_int_equal(relay.body_len, 3);
	assert_int_equal(relay.pauses, 1);
	client_say(&f, "def");
	spin_ms(10);
	assert_memory_equal(relay.body, "abcdef", 6);
	assert_true(relay.has_last);
	reply_begin(relay.reply, 0);
	reply_end(relay.reply);
	run_until_replies(&f, 1);
	assert_int_equal(f.last_status, 200);
}

static void session__tells_once_that_no_more_is_at_hand(void **state)
{
	client_say(&f, "POST /relay HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n");
	spin_ms(5);
	reply_pause_body(relay.reply, false);
	spin_ms(10);
	/* Nothing came at all: whoever holds a head back for the content sends it now. */
	assert_int_equal(relay.pauses, 1);
	client_say(&f, "abcdef");
	spin_ms(10);
	reply_begin(relay.reply, 0);
	reply_end(relay.reply);
	run_until_replies(&f, 1);
}

static void session__sends_interim_responses_first(void **state)
{
	client_say(&f, "POST /relay HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
	spin_ms(10);
	/* Not by itself: the handler relays it. */
	assert_int_equal(f.got_len, 0);
	reply_interim(relay.reply, 103, SPAN("Link: </x>\r\n"));
	reply_interim(relay.reply, 100, span_of("", 0));
	reply_interim(relay.reply, 100, span_of("", 0));
	reply_pause_body(relay.reply, false);
	run_until_replies(&f, 2);
	assert_string_equal(f.got, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
				   "HTTP/1.1 100 Continue\r\n\r\n");
	client_say(&f, "abc");
	spin_ms(10);
	reply_begin(relay.reply, 2);
	reply_write(relay.reply, "ok", 2);
	reply_end(relay.reply);
	run_until_replies(&f, 3);
	assert_non_null(strstr(f.got, "HTTP/1.1 200 OK\r\n"));
	assert_null(strstr(f.got, "Connection: close"));
}

static void session__keeps_interim_responses_from_1_0(void **state)
{
	client_say(&f, "GET /relay HTTP/1.0\r\n\r\n");
	spin_ms(5);
	reply_interim(relay.reply, 103, span_of("", 0));
	reply_begin(relay.reply, 0);
	reply_end(relay.reply);
	run_until_end(&f);
	assert_int_equal(count_text(f.got, "HTTP/1.1"), 1);
}

static void session__relays_a_head_in_the_words_of_another(void **state)
{
	client_say(&f, REQUEST("/relay"));
	spin_ms(5);
	relay.reply->is_relayed = true;
	relay.reply->block = SPAN("Server: other\r\nX-A: 1\r\n");
	relay.reply->trailers = SPAN("X-Sum: 5\r\n");
	reply_begin(relay.reply, REPLY_LENGTH_UNKNOWN);
	reply_write(relay.reply, "hello", 5);
	reply_end(relay.reply);
	run_until_replies(&f, 1);
	assert_string_equal(f.got, "HTTP/1.1 200 OK\r\nServer: other\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
				   "5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n");
}

static void session__relays_a_head_larger_than_a_buffer(void **state)
{
	static char block[40000];

	memset(block, 'v', sizeof(block));
	memcpy(block, "X-Large: ", 9);
	memcpy(block + sizeof(block) - 2, "\r\n", 2);
	client_say(&f, REQUEST("/relay"));
	spin_ms(5);
	relay.reply->block = span_of(block, sizeof(block));
	reply_begin(relay.reply, 0);
	reply_end(relay.reply);
	run_until_replies(&f, 1);
	assert_true(f.got_len > sizeof(block));
	assert_non_null(strstr(f.got, "v\r\nContent-Length: 0\r\n\r\n"));
}

static void session__splices_content_where_it_is_wanted(void **state)
{
	static char content[200000];
	char text[128];
	static char got[200000];
	size_t taken = 0;

	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (char)(i * 7 >> 2);
	assert_int_equal(pipe2(relay.pipe, O_NONBLOCK), 0);
	snprintf(text, sizeof(text), "PUT /relay HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", sizeof(content));
	client_say(&f, text);
	spin_ms(5);
	relay.reply->wants_splice = true;
	reply_pause_body(relay.reply, false);
	for (size_t sent = 0; taken < sizeof(content);) {
		ssize_t n = send(f.client, content + sent, MIN(sizeof(content) - sent, (size_t)30000), MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		loop_turn(&f.loop, 1);
		n = read(relay.pipe[0], got + taken, sizeof(got) - taken);
		taken += n > 0 ? (size_t)n : 0;
		if (sent == sizeof(content) && relay.body_len + relay.spliced == sizeof(content) && taken == relay.spliced)
			break;
	}
	spin_ms(5);
	assert_true(relay.has_last);
	/* What stood in the buffer behind the head came as ever, before the rest. */
	assert_memory_equal(relay.body, content, relay.body_len);
	assert_memory_equal(got, content + relay.body_len, taken);
	assert_true(taken > sizeof(content) / 2);
	reply_begin(relay.reply, 0);
	reply_end(relay.reply);
	run_until_replies(&f, 1);
	close(relay.pipe[0]);
	close(relay.pipe[1]);
}

/* The proxy pauses while its server is slow: the end, which brings no byte, was never told to it then. */
static void ends_after_a_pause(bool is_spliced)
{
	relay.pauses_itself = true;
	assert_int_equal(pipe2(relay.pipe, O_NONBLOCK), 0);
	client_say(&f, "PUT /relay HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n");
	spin_ms(5);
	relay.reply->wants_splice = is_spliced;
	relay.reply->wants_pause_note = false;
	reply_pause_body(relay.reply, false);
	client_say(&f, "abcdef");
	for (unsigned i = 0; i < TURNS_MAX && relay.body_len + relay.spliced < 6; i++)
		loop_turn(&f.loop, 1);
	assert_int_equal(is_spliced ? relay.spliced : relay.body_len, 6);
	assert_false(relay.has_last);
	reply_pause_body(relay.reply, false);
	spin_ms(5);
	assert_true(relay.has_last);
	/* It is the server that is waited for from now on. */
	spin_ms(60);
	assert_int_equal(f.stats.timeouts, 0);
	reply_begin(relay.reply, 0);
	reply_end(relay.reply);
	run_until_replies(&f, 1);
	assert_int_equal(f.last_status, 200);
	close(relay.pipe[0]);
	close(relay.pipe[1]);
}

static void session__ends_content_after_a_pause(void **state)
{
	ends_after_a_pause(false);
}

static void session__ends_spliced_content_after_a_pause(void **state)
{
	ends_after_a_pause(true);
}

/*
 * Who went on when there was room again left what had come before in the buffer, and the session read on behind it: for
 * bytes that would never come, or, with the buffer full, for none at all, which it took for the end of the client.
 */
static void session__finds_what_came_before_a_pause(void **state)
{
	client_say(&f, "POST /mirror HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		       "3\r\nabc\r\n4\r\ndefg\r\n1\r\nh\r\n0\r\n\r\n");
	for (unsigned i = 0; i < TURNS_MAX && !strstr(f.got, "0\r\n\r\n") && !f.has_end && !f.has_reset; i++) {
		loop_turn(&f.loop, 1);
		client_read(&f);
	}
	assert_non_null(strstr(f.got, "3\r\nabc\r\n4\r\ndefg\r\n1\r\nh\r\n0\r\n\r\n"));
	assert_int_equal(f.stats.timeouts, 0);
}

static void session__sends_what_is_in_a_pipe(void **state)
{
	struct pipe_pool pool;
	struct pipe *pipe;

	pipe_pool_init(&pool, 65536, 1, 1);
	pipe = pipe_get(&pool);
	assert_int_equal(write(pipe->write_fd, "through a pipe", 14), 14);
	pipe->filled = 14;
	client_say(&f, REQUEST("/relay") REQUEST("/hello"));
	spin_ms(5);
	reply_begin(relay.reply, 14);
	reply_write_pipe(relay.reply, pipe, 14, NULL);
	reply_end(relay.reply);
	run_until_replies(&f, 2);
	assert_non_null(strstr(f.got, "\r\n\r\nthrough a pipeHTTP/1.1 200 OK"));
	assert_int_equal(pipe->filled, 0);
	pipe_put(&pool, pipe);
	pipe_pool_fini(&pool);
}

/* Half-closed and waiting, or gone: found out by a 100 that the one passes over and the other's kernel resets. */
static void session__finds_out_whether_a_client_is_still_there(void **state)
{
	client_say(&f, REQUEST("/relay"));
	shutdown(f.client, SHUT_WR);
	spin_ms(10);
	client_read(&f);
	assert_string_equal(f.got, "HTTP/1.1 100 Continue\r\n\r\n");
	assert_int_equal(seen.aborts, 0);
	reply_begin(relay.reply, 2);
	reply_write(relay.reply, "ok", 2);
	reply_end(relay.reply);
	run_until_end(&f);
	assert_non_null(strstr(f.got, "\r\n\r\nok"));
	close(f.client);
	connect_client(&f);
	client_say(&f, REQUEST("/relay"));
	spin_ms(5);
	close(f.client);
	f.client = -1;
	spin_ms(10);
	assert_int_equal(seen.aborts, 1);
	assert_int_equal(f.stats.closed[CLOSE_CLIENT_ABORT], 1);
}

static void upgrade_with(const struct detached_ops *ops)
{
	client_say(&f, "GET /relay HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly");
	spin_ms(5);
	reply_set_status(relay.reply, 101);
	relay.reply->is_upgrade = true;
	reply_add(relay.reply, SPAN("Upgrade"), SPAN("x"));
	reply_begin(relay.reply, REPLY_LENGTH_UNKNOWN);
	reply_detach(relay.reply, ops, &relay, on_detached);
	run_until_replies(&f, 1);
	spin_ms(5);
	assert_non_null(strstr(f.got, "Upgrade: x\r\nConnection: Upgrade\r\n\r\n"));
	assert_string_equal(relay.early, "early");
	assert_int_equal(f.stats.status[1], 1);
	assert_int_equal(f.logged, 0);
	/* Nothing of HTTP is left of it. */
	assert_int_equal(f.server.exchanges.used_count, 0);
	assert_int_equal(f.server.buffers.used_count, 0);
	assert_int_equal(f.server.session_count, 1);
}

static void upgrade(void)
{
	upgrade_with(&detached_ops);
}

static void session__gives_its_connection_away(void **state)
{
	char got[16];

	upgrade();
	relay.detached_events = 0;
	client_say(&f, "GET / is no request now");
	spin_ms(5);
	assert_true(relay.detached_events > 0);
	assert_int_equal(conn_read(relay.detached.conn, got, sizeof(got)), sizeof(got));
	assert_memory_equal(got, "GET / is no requ", sizeof(got));
	/* Longer than every timeout of a session. */
	spin_ms(100);
	assert_int_equal(f.stats.timeouts, 0);
	relay.detached.close(relay.detached.handle, CLOSE_TUNNEL, 1000);
	assert_int_equal(f.last_status, 101);
	assert_string_equal(f.last_reason, "tunnel");
	assert_string_equal(f.last_target, "/relay");
	assert_int_equal(f.last_body_sent, 1000);
	assert_int_equal(f.stats.closed[CLOSE_TUNNEL], 1);
	assert_int_equal(relay.detached_aborts, 0);
	assert_int_equal(seen.aborts, 0);
	assert_int_equal(f.server.session_count, 0);
}

/* A stream whose end is that of its connection: no chunks, though the client speaks 1.1. */
static void session__gives_away_an_answer_without_length(void **state)
{
	client_say(&f, "GET /relay HTTP/1.1\r\nHost: a\r\n\r\n");
	spin_ms(5);
	relay.reply->is_until_close = true;
	reply_begin(relay.reply, REPLY_LENGTH_UNKNOWN);
	reply_detach(relay.reply, &detached_ops, &relay, on_detached);
	run_until_replies(&f, 1);
	spin_ms(5);
	assert_non_null(strstr(f.got, "HTTP/1.1 200 OK\r\n"));
	assert_non_null(strstr(f.got, "Connection: close\r\n\r\n"));
	assert_null(strstr(f.got, "Transfer-Encoding"));
	assert_int_equal(f.server.exchanges.used_count, 0);
	relay.detached.close(relay.detached.handle, CLOSE_EVENT_STREAM, 5);
	assert_int_equal(f.last_status, 200);
	assert_string_equal(f.last_reason, "event_stream");
	assert_int_equal(f.last_body_sent, 5);
	assert_int_equal(f.server.session_count, 0);
}

static void session__may_be_closed_as_it_is_given_away(void **state)
{
	relay.closes_at_once = true;
	client_say(&f, "GET /relay HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
	spin_ms(5);
	reply_set_status(relay.reply, 101);
	relay.reply->is_upgrade = true;
	reply_begin(relay.reply, REPLY_LENGTH_UNKNOWN);
	reply_detach(relay.reply, &detached_ops, &relay, on_detached);
	run_until_end(&f);
	assert_int_equal(f.stats.closed[CLOSE_TUNNEL], 1);
	assert_int_equal(f.last_body_sent, 3);
	assert_int_equal(relay.detached_aborts, 0);
	assert_int_equal(f.server.session_count, 0);
}

static void session__takes_its_connection_back_when_it_must(void **state)
{
	upgrade();
	server_close_all(&f.server, CLOSE_DRAIN);
	assert_int_equal(relay.detached_aborts, 1);
	assert_int_equal(f.last_body_sent, 7);
	assert_string_equal(f.last_reason, "drain");
	assert_int_equal(seen.aborts, 0);
	assert_int_equal(f.stats.closed[CLOSE_DRAIN], 1);
}

static const struct session *detached_session(void)
{
	return relay.detached.handle;
}

/* Each tunnel ends at a random instant of the last part of the limit: many, all over it. */
static void session__spreads_the_ends_of_what_was_given_away(void **state)
{
	static const struct {
		uint64_t limit_ms, spread_ms, from_ms;
	} cases[] = {
		{ 10000, 4000, 6000 }, { 10000, 10000, 0 }, { 10000, 60000, 0 }, { 10000, 10, 9990 },
	};

	upgrade();
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t room_ms = cases[i].limit_ms - cases[i].from_ms;
		uint64_t first = UINT64_MAX, last = 0;

		for (unsigned n = 0; n < 500; n++) {
			uint64_t at_ms;

			f.server.spread_until_ms = 0;
			server_spread_closes(&f.server, cases[i].limit_ms, cases[i].spread_ms);
			at_ms = detached_session()->timer.expires_ms - f.loop.now_ms;
			first = MIN(first, at_ms);
			last = MAX(last, at_ms);
		}
		assert_in_range(first, MAX(cases[i].from_ms, 1u), cases[i].from_ms + room_ms / 10);
		assert_in_range(last, cases[i].limit_ms - room_ms / 10, cases[i].limit_ms);
	}
}

static void session__ends_a_tunnel_when_its_time_has_come(void **state)
{
	upgrade();
	server_spread_closes(&f.server, 20, 10);
	/* A second order comes with each further reload: it delays nothing. */
	server_spread_closes(&f.server, 1000000, 10);
	spin_ms(40);
	assert_int_equal(f.server.session_count, 0);
	assert_int_equal(relay.detached_aborts, 1);
	assert_string_equal(f.last_reason, "drain");
	assert_int_equal(f.stats.closed[CLOSE_DRAIN], 1);
	assert_int_equal(f.stats.timeouts, 0);
}

static void on_detached_leave(void *ctx)
{
	relay.detached_leaves++;
}

/* Who can say goodbye is asked to, and stays until it has. */
static void session__lets_say_goodbye_when_the_time_has_come(void **state)
{
	static const struct detached_ops polite = {
		.on_ready = on_detached_ready, .on_abort = on_detached_abort, .on_leave = on_detached_leave
	};

	upgrade_with(&polite);
	server_spread_closes(&f.server, 20, 10);
	spin_ms(40);
	assert_int_equal(relay.detached_leaves, 1);
	assert_int_equal(relay.detached_aborts, 0);
	assert_int_equal(f.server.session_count, 1);
	relay.detached.close(relay.detached.handle, CLOSE_DRAIN, 9);
	assert_int_equal(f.server.session_count, 0);
	assert_int_equal(f.last_body_sent, 9);
}

/* Its request was under way when the server began to leave. */
static void session__limits_a_tunnel_that_begins_late(void **state)
{
	server_spread_closes(&f.server, 10000, 4000);
	upgrade();
	assert_in_range(detached_session()->timer.expires_ms, f.loop.now_ms + 5000,
			f.loop.now_ms + 10000);
}

static void session__passes_methods_it_has_not_heard_of(void **state)
{
	client_say(&f, "PROPFIND /relay HTTP/1.1\r\nHost: a\r\n\r\n");
	spin_ms(5);
	assert_non_null(relay.reply);
	reply_begin(relay.reply, 0);
	reply_end(relay.reply);
	client_say(&f, "PROPFIND /hello HTTP/1.1\r\nHost: a\r\n\r\n");
	run_until_replies(&f, 2);
	assert_int_equal(count_text(f.got, "HTTP/1.1 501"), 1);
}

static void session__has_a_limit_of_content_for_each_route(void **state)
{
	char text[128];

	server_allow_body(&f.server, 1 << 30);
	snprintf(text, sizeof(text), "POST /relay HTTP/1.1\r\nHost: a\r\nContent-Length: %u\r\n\r\n", (1 << 20) + 1);
	client_say(&f, text);
	spin_ms(5);
	assert_non_null(relay.reply);
	reply_set_status(relay.reply, 500);
	relay.reply->must_close = true;
	reply_begin(relay.reply, 0);
	reply_end(relay.reply);
	run_until_end(&f);
	assert_non_null(strstr(f.got, "HTTP/1.1 500"));
	close(f.client);
	connect_client(&f);
	snprintf(text, sizeof(text), "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: %u\r\n\r\n", (1 << 20) + 1);
	client_say(&f, text);
	run_until_end(&f);
	assert_non_null(strstr(f.got, "HTTP/1.1 413"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

static const struct CMUnitTest tests[] = {
	TEST(session__owns_nothing_while_idle),
	TEST(session__knows_the_time),
	TEST(session__logs_who_asked),
	TEST(session__answers_a_pipeline_in_order_in_one_write),
	TEST(session__takes_a_request_byte_by_byte),
	TEST(session__frames_what_has_no_length),
	TEST(session__closes_and_keeps_as_the_version_says),
	TEST(session__is_idle_between_empty_lines),
	TEST(session__is_not_kept_by_empty_lines),
	TEST(session__drains_a_body_nobody_wants),
	TEST(session__continues_who_waits_for_it),
	TEST(session__refuses_a_body_that_is_too_long),
	TEST(session__lingers_for_an_upload_it_refused),
	TEST(session__lingers_for_a_client_that_has_ended),
	TEST(session__lingers_only_so_long),
	TEST(session__refuses_broken_chunks_after_the_handler_began),
	TEST(session__answers_after_a_half_close),
	TEST(session__tells_the_handler_once_that_the_client_is_gone),
	TEST(session__sends_what_a_handler_answers_later),
	TEST(session__leaves_no_wake_up_behind_a_run),
	TEST(session__refuses_a_head_cut_short),
	TEST(session__resets_when_a_reply_is_cut),
	TEST(session__sends_whole_replies_before_one_that_is_cut),
	TEST(session__resets_when_a_batch_is_cut),
	TEST(session__times_out_a_slow_head),
	TEST(session__sends_on_past_the_limit_of_its_head),
	TEST(session__sends_on_past_the_limit_of_idling),
	TEST(session__times_out_a_slow_body),
	TEST(session__times_out_a_body_that_drips),
	TEST(session__closes_the_idle_without_a_word),
	TEST(session__gives_up_a_client_that_does_not_read),
	TEST(session__closes_after_its_last_request),
	TEST(session__hears_out_who_asks_after_the_last_reply),
	TEST(session__leaves_when_the_server_drains),
	TEST(session__answers_what_is_here_when_the_server_drains),
	TEST(session__is_closed_by_a_drain_while_idle),
	TEST(session__survives_bad_bytes_after_good_requests),
	TEST(session__leaves_content_to_who_wants_none_now),
	TEST(session__tells_once_that_no_more_is_at_hand),
	TEST(session__sends_interim_responses_first),
	TEST(session__keeps_interim_responses_from_1_0),
	TEST(session__relays_a_head_in_the_words_of_another),
	TEST(session__relays_a_head_larger_than_a_buffer),
	TEST(session__splices_content_where_it_is_wanted),
	TEST(session__ends_content_after_a_pause),
	TEST(session__ends_spliced_content_after_a_pause),
	TEST(session__finds_what_came_before_a_pause),
	TEST(session__sends_what_is_in_a_pipe),
	TEST(session__finds_out_whether_a_client_is_still_there),
	TEST(session__gives_its_connection_away),
	TEST(session__gives_away_an_answer_without_length),
	TEST(session__may_be_closed_as_it_is_given_away),
	TEST(session__takes_its_connection_back_when_it_must),
	TEST(session__spreads_the_ends_of_what_was_given_away),
	TEST(session__lets_say_goodbye_when_the_time_has_come),
	TEST(session__ends_a_tunnel_when_its_time_has_come),
	TEST(session__limits_a_tunnel_that_begins_late),
	TEST(session__passes_methods_it_has_not_heard_of),
	TEST(session__has_a_limit_of_content_for_each_route),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
