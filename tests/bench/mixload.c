/* SPDX-License-Identifier: MIT */
/*
 * Proxied requests of mixed kinds, every byte of every body compared, in both directions.
 *
 *   mixload PORT REQUESTS [CONNECTIONS [SEED]]
 *
 * Keep-alive connections, each with one request at a time, drawn from the table of kinds.  The back
 * end (backend.c) makes bodies from the seed in the target, compares and hashes those that it gets,
 * and repeats the seed, so that an answer to another request is seen too.  Now and then a client
 * goes away in the middle, as clients do, and now and then a head comes in two pieces.
 *
 * One line of JSON on standard output; the first mistakes in words on standard error.  Exit status
 * 1 when a byte was wrong, a request failed, or one hung (nothing moved for PATIENCE_S).
 */
#include "lib/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_S 20.0
#define READ_SIZE  (256u << 10)
#define TURN	   (256u << 10)
#define LARGE	   (1u << 20)
#define WEIGHTS	   10000 /* the sum of those of the kinds */
#define REPORTS	   20

enum kind {
	SMALL,
	SIZED,
	CHUNKED,
	POST_SIZED,
	POST_CHUNKED,
	HEAD,
	EMPTY,
	LAST,
	LARGE_DOWN,
	LARGE_UP,
	ABORT_DOWN,
	ABORT_UP,
	KINDS
};

static const struct {
	const char *name;
	unsigned weight;
	char path;
	enum wire_framing upload;
} kinds[KINDS] = {
	[SMALL] = {"small", 3600, 's', WIRE_NONE},
	[SIZED] = {"sized", 2000, 's', WIRE_NONE},
	[CHUNKED] = {"chunked", 1500, 'c', WIRE_NONE},
	[POST_SIZED] = {"post sized", 1000, 'e', WIRE_SIZED},
	[POST_CHUNKED] = {"post chunked", 800, 'e', WIRE_CHUNKED},
	[HEAD] = {"head", 500, 's', WIRE_NONE},
	[EMPTY] = {"204", 500, 'n', WIRE_NONE},
	[LAST] = {"connection: close", 40, 's', WIRE_NONE},
	[LARGE_DOWN] = {"large down", 15, 's', WIRE_NONE},
	[LARGE_UP] = {"large up", 15, 'e', WIRE_SIZED},
	[ABORT_DOWN] = {"aborted down", 15, 's', WIRE_NONE},
	[ABORT_UP] = {"aborted up", 15, 'e', WIRE_SIZED},
};

enum fault { CONNECT, RESET, CLOSED, STATUS, MALFORMED, OTHER_REQUEST, WRONG, HUNG, FAULTS };

static const char *const fault_names[FAULTS] = {
	"connect",     "reset", "closed early", "status", "malformed", "answer to another request",
	"wrong bytes", "hung"};

struct client {
	int fd; /* -1: none, and no request either */
	bool is_waiting, has_head;
	enum kind kind;
	uint64_t seed, size, abort_at;
	double moved; /* when bytes last went either way */
	struct wire_out out;
	struct wire_in in;
	struct wire_head head;
	char rest[WIRE_HEAD_MAX * 2]; /* a head, or the body of an echo, that is not complete */
	size_t rest_len;
};

static struct {
	struct sockaddr_in to;
	int epoll;
	struct client *clients;
	unsigned client_count;
	unsigned long wanted, started, done, connects, reports, splits;
	uint64_t seed, bytes_down, bytes_up;
	unsigned long by_kind[KINDS], faults[FAULTS];
	double now;
	char data[READ_SIZE + WIRE_HEAD_MAX * 2];
} mix;

/* --- connections --- */

static void watch(struct client *c, bool is_waiting)
{
	struct epoll_event ev = {.events = EPOLLIN | (is_waiting ? EPOLLOUT : 0), .data.ptr = c};

	if (c->is_waiting == is_waiting)
		return;
	c->is_waiting = is_waiting;
	epoll_ctl(mix.epoll, EPOLL_CTL_MOD, c->fd, &ev);
}

static void disconnect(struct client *c, bool is_abortive)
{
	struct linger abort_it = {.l_onoff = 1};

	if (is_abortive)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &abort_it, sizeof(abort_it));
	close(c->fd);
	c->fd = -1;
	c->rest_len = 0;
	wire_out_fini(&c->out);
}

static int open_connection(struct client *c)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
	int on = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	c->is_waiting = false;
	mix.connects++;
	if (c->fd < 0)
		return -errno;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if ((connect(c->fd, (struct sockaddr *)&mix.to, sizeof(mix.to)) && errno != EINPROGRESS) ||
	    epoll_ctl(mix.epoll, EPOLL_CTL_ADD, c->fd, &ev))
		return -errno;
	return 0;
}

/* The request failed, and its connection with it. */
static void fail(struct client *c, enum fault fault, uint64_t at)
{
	mix.faults[fault]++;
	mix.done++;
	if (mix.reports++ < REPORTS)
		fprintf(stderr, "mixload: %s: %s of /%c/%lx/%lx at byte %lu (status %u)\n",
			fault_names[fault], kinds[c->kind].name, kinds[c->kind].path, c->seed,
			c->size, at, c->has_head ? c->head.status : 0);
	if (c->fd >= 0)
		disconnect(c, true);
}

static void fail_errno(struct client *c, int err)
{
	fail(c, err == ECONNREFUSED || err == ETIMEDOUT ? CONNECT : RESET, c->in.count);
}

/* --- requests --- */

static enum kind draw_kind(uint64_t number)
{
	unsigned at = (unsigned)(number % WEIGHTS);

	for (int i = 0; i < KINDS; i++) {
		if (at < kinds[i].weight)
			return (enum kind)i;
		at -= kinds[i].weight;
	}
	return SMALL;
}

/* Few bytes most of the time, up to 64 KiB; what is large goes through a pipe where there is one.
 */
static uint64_t draw_size(enum kind kind, uint64_t number)
{
	switch (kind) {
	case SMALL:
		return number % 200;
	case LARGE_DOWN:
	case LARGE_UP:
	case ABORT_DOWN:
	case ABORT_UP:
		return (64u << 10) + number % LARGE;
	default:
		return (number >> 8) % (UINT64_C(1) << number % 17);
	}
}

static void make_request(struct client *c)
{
	uint64_t random = wire_mix(mix.seed + 3 * mix.started);
	enum wire_framing framing;

	c->kind = draw_kind(random);
	c->seed = wire_mix(random);
	c->size = draw_size(c->kind, wire_mix(random + 1));
	c->abort_at = wire_mix(random + 2) % (c->size + 1);
	framing = kinds[c->kind].upload;
	wire_out_start(&c->out, framing, c->seed, c->size);
	wire_out_head(&c->out, "%s /%c/%lx/%lx HTTP/1.1\r\nHost: mix\r\n",
		      framing		? "POST"
		      : c->kind == HEAD ? "HEAD"
					: "GET",
		      kinds[c->kind].path, c->seed, c->size);
	if (framing == WIRE_SIZED)
		wire_out_head(&c->out, "Content-Length: %lu\r\n", c->size);
	else if (framing == WIRE_CHUNKED)
		wire_out_head(&c->out, "Transfer-Encoding: chunked\r\n");
	wire_out_head(&c->out, "%s\r\n", c->kind == LAST ? "Connection: close\r\n" : "");
	c->has_head = false;
	c->in.count = 0;
}

static void send_more(struct client *c)
{
	bool is_abort = c->kind == ABORT_UP;
	int result = wire_out_send(&c->out, c->fd, is_abort ? TURN / 16 : TURN);

	if (result < 0) {
		fail_errno(c, -result);
	} else if (is_abort && (result || c->out.at >= c->abort_at)) {
		mix.by_kind[ABORT_UP]++;
		mix.done++;
		disconnect(c, c->seed & 1);
	} else {
		watch(c, !result);
	}
}

/* The first bytes of a head alone; the others when the socket is next found writable. */
static void send_split(struct client *c)
{
	size_t len = 1 + c->seed % (c->out.head_len - 1);
	ssize_t n = send(c->fd, c->out.head, len, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN) {
		fail_errno(c, errno);
		return;
	}
	c->out.head_at = n < 0 ? 0 : (size_t)n;
	mix.splits++;
	watch(c, true);
}

static void start_request(struct client *c)
{
	int err;

	if (mix.started >= mix.wanted) {
		if (c->fd >= 0)
			disconnect(c, false);
		return;
	}
	mix.started++;
	make_request(c);
	c->moved = mix.now;
	err = c->fd < 0 ? open_connection(c) : 0;
	if (err)
		fail_errno(c, -err);
	else if (c->seed % 64 == 0)
		send_split(c);
	else
		send_more(c);
}

/* --- answers --- */

static void finish(struct client *c)
{
	bool is_last = c->kind == LAST || c->head.is_close;

	mix.by_kind[c->kind]++;
	mix.done++;
	mix.bytes_down += c->in.count;
	mix.bytes_up += kinds[c->kind].upload ? c->size : 0;
	if (is_last)
		disconnect(c, false);
	start_request(c);
}

/* The back end says the hash and the length of what it got, and whether it was what the seed makes.
 */
static void take_echo(struct client *c, const char *data, size_t len)
{
	char want[64];
	int want_len = snprintf(want, sizeof(want), "%016lx %lx 0\n", wire_hash(c->seed, c->size),
				c->size);

	if (c->head.framing != WIRE_SIZED || len > c->head.length || c->head.length > sizeof(want))
		fail(c, MALFORMED, 0);
	else if (len < c->head.length)
		memcpy(c->rest, data, c->rest_len = len);
	else if (len != (size_t)want_len || memcmp(data, want, len))
		fail(c, WRONG, 0);
	else
		finish(c);
}

static void take_body(struct client *c, const char *data, size_t len)
{
	int result;

	c->rest_len = 0;
	if (kinds[c->kind].upload) {
		take_echo(c, data, len);
		return;
	}
	result = wire_in_take(&c->in, &data, &len);
	if (c->in.is_wrong)
		fail(c, WRONG, c->in.wrong_at);
	else if (result < 0 || (result > 0 && len))
		fail(c, MALFORMED, c->in.count);
	else if (c->kind == ABORT_DOWN && (result || c->in.count >= c->abort_at)) {
		mix.by_kind[ABORT_DOWN]++;
		mix.done++;
		disconnect(c, c->seed & 1);
	} else if (result > 0 && c->in.count != (c->kind == HEAD || c->kind == EMPTY ? 0 : c->size))
		fail(c, MALFORMED, c->in.count);
	else if (result > 0)
		finish(c);
}

/* What it should be: checked before any byte of the body. */
static bool is_right_head(struct client *c)
{
	struct wire_head *head = &c->head;
	bool is_empty = c->kind == EMPTY;

	if (head->status != (is_empty ? 204 : 200))
		fail(c, STATUS, 0);
	else if (!head->has_seed || head->seed != c->seed)
		fail(c, OTHER_REQUEST, 0);
	else if (is_empty == head->has_framing ||
		 (kinds[c->kind].path == 's' &&
		  (head->framing != WIRE_SIZED || head->length != c->size)))
		fail(c, MALFORMED, 0);
	else
		return true;
	return false;
}

static void take_head(struct client *c, const char *data, size_t len)
{
	ssize_t n;

	do {
		n = wire_parse(data, len, false, &c->head);
		if (n < 0) {
			fail(c, MALFORMED, 0);
			return;
		}
		if (n == 0) {
			memcpy(c->rest, data, c->rest_len = len);
			return;
		}
		data += n;
		len -= (size_t)n;
	} while (c->head.status < 200);
	c->has_head = true;
	if (!is_right_head(c))
		return;
	if (c->kind == HEAD)
		c->head.framing = WIRE_NONE;
	wire_in_start(&c->in, &c->head, c->seed, true);
	take_body(c, data, len);
}

static void receive(struct client *c)
{
	size_t had = c->rest_len;
	ssize_t n;

	if (had)
		memcpy(mix.data, c->rest, had);
	n = recv(c->fd, mix.data + had, READ_SIZE, 0);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		if (n < 0)
			fail_errno(c, errno);
		else
			fail(c, CLOSED, c->in.count);
		return;
	}
	if (c->has_head)
		take_body(c, mix.data, had + (size_t)n);
	else
		take_head(c, mix.data, had + (size_t)n);
}

/* --- the run --- */

static void serve_event(struct client *c, uint32_t events)
{
	c->moved = mix.now;
	if (c->fd >= 0 && c->is_waiting && events & EPOLLOUT)
		send_more(c);
	if (c->fd >= 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		receive(c);
}

/* Now and then: those that lost their connection begin anew, those that hang are given up. */
static void look_after(void)
{
	for (unsigned i = 0; i < mix.client_count; i++) {
		struct client *c = &mix.clients[i];

		if (c->fd >= 0 && mix.now - c->moved > PATIENCE_S)
			fail(c, HUNG, c->in.count);
		if (c->fd < 0)
			start_request(c);
	}
}

static void run(void)
{
	struct epoll_event events[256];
	double next = 0;

	while (mix.done < mix.wanted) {
		int n;

		mix.now = wire_now_s();
		if (mix.now >= next) {
			look_after();
			next = mix.now + 0.05;
		}
		n = epoll_wait(mix.epoll, events, 256, 50);
		mix.now = wire_now_s();
		for (int i = 0; i < n; i++)
			serve_event(events[i].data.ptr, events[i].events);
	}
}

static unsigned long report(double seconds)
{
	unsigned long failed = 0;

	printf("{\"requests\": %lu, \"seconds\": %.3f, \"per_second\": %.0f, \"connects\": %lu, "
	       "\"splits\": %lu, "
	       "\"bytes_down\": %lu, \"bytes_up\": %lu, \"kinds\": {",
	       mix.done, seconds, (double)mix.done / seconds, mix.connects, mix.splits,
	       mix.bytes_down, mix.bytes_up);
	for (int i = 0; i < KINDS; i++)
		printf("%s\"%s\": %lu", i ? ", " : "", kinds[i].name, mix.by_kind[i]);
	printf("}, \"faults\": {");
	for (int i = 0; i < FAULTS; i++) {
		printf("%s\"%s\": %lu", i ? ", " : "", fault_names[i], mix.faults[i]);
		failed += mix.faults[i];
	}
	printf("}, \"failed\": %lu}\n", failed);
	return failed;
}

int main(int argc, char **argv)
{
	double began;

	if (argc < 3) {
		fprintf(stderr, "mixload PORT REQUESTS [CONNECTIONS [SEED]]\n");
		return 2;
	}
	mix.to.sin_family = AF_INET;
	mix.to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	mix.to.sin_port = htons((uint16_t)atoi(argv[1]));
	mix.wanted = strtoul(argv[2], NULL, 10);
	mix.client_count = argc > 3 ? (unsigned)atoi(argv[3]) : 300;
	mix.seed = wire_mix(argc > 4 ? strtoull(argv[4], NULL, 10) : (uint64_t)getpid());
	mix.clients = calloc(mix.client_count, sizeof(*mix.clients));
	mix.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!mix.clients || mix.epoll < 0 ||
	    wire_raise_files(mix.client_count + 100) < mix.client_count + 20)
		return 3;
	for (unsigned i = 0; i < mix.client_count; i++)
		mix.clients[i].fd = -1;
	wire_init();
	began = wire_now_s();
	run();
	return report(wire_now_s() - began) ? 1 : 0;
}
